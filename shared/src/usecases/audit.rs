//! The audit trail: one line per act, with `"audit": true` (contract section 11). Who, what, when, outcome, on what; never a
//! token, code, state or e-mail.

use crate::domain::caller::Person;
use crate::domain::ids::{AuthorizationId, OrganizationId, WorkflowId};

use super::Call;

/// One act. Fields that do not apply stay empty and are left out of the line.
#[derive(Debug, Default)]
pub struct Act<'a> {
    /// What was done, e.g. `hand_out`.
    pub action: &'static str,
    /// How it ended, e.g. `ok` or an error code.
    pub outcome: &'a str,
    /// Who did it; the schedule if absent.
    pub actor: Option<&'a Person>,
    /// The tenant.
    pub organization: Option<&'a OrganizationId>,
    /// On which authorization.
    pub authorization: Option<&'a AuthorizationId>,
    /// For which workflow.
    pub workflow: Option<&'a WorkflowId>,
    /// What else is worth keeping: a receipt, a reason, a count.
    pub detail: Option<&'a str>,
}

impl Act<'_> {
    /// Writes the line.
    pub fn record(&self, call: &Call) {
        tracing::info!(
            audit = true,
            action = self.action,
            outcome = self.outcome,
            actor.issuer = self.actor.map(|p| p.issuer.as_str()),
            actor.subject = self.actor.map(|p| p.subject.as_str()),
            organization = self.organization.map(OrganizationId::as_str),
            authorization = self.authorization.map(AuthorizationId::as_str),
            workflow = self.workflow.map(WorkflowId::as_str),
            detail = self.detail,
            request_id = call.request_id.as_str(),
            "audit"
        );
    }
}
