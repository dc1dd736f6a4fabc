//! The audit trail: one line per act, with `"audit": true` (contract section 11). Who, what, when, outcome, on what; never a
//! token, code, state or e-mail.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::domain::caller::Person;
use crate::domain::ids::{AuthorizationId, OrganizationId, WorkflowId};

use super::Call;
use crate::domain::authorization::Authorization;
use crate::ports::provider::{Revocation, Revoked};
use crate::ports::store::OrganizationIndex;

/// How many workflows an announcement names.
const WORKFLOWS_NAMED: usize = 100;

/// One act. Fields that do not apply stay empty and are left out of the line.
#[derive(Debug, Clone, Copy, Default)]
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

/// Announces a change of status, with the owner and the bound workflows (contract section 11). Whoever made the change calls it,
/// once. The workflows come from the index; if it does not answer, their number must do.
pub async fn announce(call: &Call, index: &dyn OrganizationIndex, changed: &Authorization, status: &str, reason: Option<&str>) {
    tell(call, index, changed, "status_change", status, reason).await;
}

/// Warns that a person has to sign in again by `reauthorize_by`, however often the token is renewed.
pub async fn warn_of_end(call: &Call, index: &dyn OrganizationIndex, ending: &Authorization) {
    tell(call, index, ending, "reauthorization_due", ending.status.as_str(), None).await;
}

/// Tells that the tokens of an authorization do not open. Its status is as it was.
pub async fn announce_quarantine(call: &Call, index: &dyn OrganizationIndex, broken: &Authorization) {
    tell(call, index, broken, "quarantine", broken.status.as_str(), Some("undecryptable")).await;
}

async fn tell(
    call: &Call,
    index: &dyn OrganizationIndex,
    changed: &Authorization,
    action: &'static str,
    status: &str,
    reason: Option<&str>,
) {
    let bindings = match changed.binding_count {
        0 => Ok(Vec::new()),
        _ => index.bindings_of(&changed.organization, &changed.id, None, WORKFLOWS_NAMED).await,
    };
    let workflows = bindings.unwrap_or_default().iter().map(|b| b.workflow.to_string()).collect::<Vec<_>>().join(" ");
    tracing::info!(
        audit = true,
        action,
        outcome = status,
        reason,
        reauthorize_by = changed.reauthorize_by.map(OffsetDateTime::unix_timestamp),
        organization = changed.organization.as_str(),
        authorization = changed.id.as_str(),
        owner.issuer = changed.created_by.issuer.as_str(),
        owner.subject = changed.created_by.subject.as_str(),
        user_id = changed.identity.person.subject.as_str(),
        workflow_count = changed.binding_count,
        workflows,
        request_id = call.request_id.as_str(),
        "audit"
    );
}
