//! The audit trail: one line per act, with `"audit": true` (contract section 11). Who, what, when, outcome, on what; never a
//! token, code, state or e-mail.

use time::format_description::well_known::Rfc3339;

use crate::domain::caller::Person;
use crate::domain::ids::{AuthorizationId, OrganizationId, WorkflowId};

use super::Call;
use crate::ports::provider::{Revocation, Revoked};

/// One act. Fields that do not apply stay empty and are left out of the line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Act<'a> {
    /// What was done, e.g. `hand_out`.
    pub action: &'static str,
    /// How it ended, e.g. `ok` or an error code.
    pub outcome: &'a str,
    /// Who did it, if it is not whoever the call is on behalf of; the schedule if neither is.
    pub actor: Option<&'a Person>,
    /// The tenant.
    pub organization: Option<&'a OrganizationId>,
    /// On which authorization.
    pub authorization: Option<&'a AuthorizationId>,
    /// For which workflow.
    pub workflow: Option<&'a WorkflowId>,
    /// What else is worth keeping: a receipt, a reason, a count.
    pub detail: Option<&'a str>,
    /// A metric that counts it.
    pub metric: Option<&'static str>,
}

impl Act<'_> {
    /// Writes the line.
    pub fn record(&self, call: &Call) {
        let actor = self.actor.or(call.actor.as_ref());
        tracing::info!(
            audit = true,
            action = self.action,
            outcome = self.outcome,
            actor.issuer = actor.map(|p| p.issuer.as_str()),
            actor.subject = actor.map(|p| p.subject.as_str()),
            organization = self.organization.map(OrganizationId::as_str),
            authorization = self.authorization.map(AuthorizationId::as_str),
            workflow = self.workflow.or(call.workflow.as_ref()).map(WorkflowId::as_str),
            detail = self.detail,
            metric = self.metric,
            request_id = call.request_id.as_str(),
            "audit"
        );
    }
}

/// The receipt of a revocation: which token, what the provider answered, when (RFC 7009). `why` says whose tokens they were.
#[must_use]
pub fn receipt(why: &str, revocation: &Revocation) -> String {
    let verdict = match &revocation.outcome {
        Ok(Revoked::Done) => "provider revoked",
        Ok(Revoked::Unsupported) => "provider cannot revoke",
        Err(_) => "provider did not revoke",
    };
    let asked = revocation.receipts.iter().map(|receipt| {
        let status = receipt.status.map_or("no answer".to_owned(), |status| status.to_string());
        format!("{} {status} at {}", receipt.token.as_str(), receipt.at.format(&Rfc3339).unwrap_or_default())
    });
    let asked = asked.collect::<Vec<_>>().join(", ");
    format!("{why}: {verdict}: {}", if asked.is_empty() { "nothing was asked" } else { &asked })
}

/// Records the revocation of tokens that were never stored, or not for long: `by` names who and where.
pub fn tokens_given_back(call: &Call, by: Act<'_>, why: &str, revocation: &Revocation) {
    let outcome = match &revocation.outcome {
        Ok(Revoked::Done) => "revoked",
        Ok(Revoked::Unsupported) => "unsupported",
        Err(_) => "not_revoked",
    };
    Act { action: "provider_revocation", outcome, detail: Some(&receipt(why, revocation)), ..by }.record(call);
}
