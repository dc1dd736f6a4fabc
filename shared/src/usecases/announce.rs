//! Announcing what becomes of an authorization: an audit line, a count, and an event for everybody else (contract section 11).
//!
//! 1. Whoever has committed a change announces it, once. It stays made whatever becomes of the announcement.
//! 2. The bound workflows come from the index; if it does not answer, their number must do.
//! 3. The event's id names the change: the authorization and its version from then on. An event that is delivered twice can be told
//!    from two changes.

use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::{Call, within};
use crate::domain::authorization::{Authorization, Reason, Status};
use crate::ports::announcements::{Announcement, Announcements, News, UNDECRYPTABLE};
use crate::ports::clock::Clock;
use crate::ports::store::OrganizationIndex;

/// How many workflows an announcement names.
const WORKFLOWS_NAMED: usize = 100;
/// How long an announcement may hold up the answer of whoever made the change.
const TELLING_TIME: Duration = Duration::seconds(3);

/// Announces.
pub struct Announcer {
    /// Which workflows are concerned.
    pub index: Arc<dyn OrganizationIndex>,
    /// Where events go; if absent, the log is all there is.
    pub events: Option<Arc<dyn Announcements>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A change of status, committed.
#[derive(Debug, Clone, Copy)]
pub struct StatusChange {
    /// What it was, in the contract's word.
    pub from: &'static str,
    /// What it is now.
    pub to: Status,
    /// The record's version since.
    pub version: u64,
}

impl Announcer {
    /// Announces a change of status, with the owner and the bound workflows.
    pub async fn status(&self, call: &Call, changed: &Authorization, change: StatusChange) {
        let reason = change.to.reason().map(Reason::as_str);
        let news = News::StatusChanged { from: change.from, to: change.to.as_str(), reason };
        self.tell(call, changed, format!("{}.{}", changed.id.as_str(), change.version), news).await;
    }

    /// Warns that a person has to sign in again by `reauthorize_by`, however often the token is renewed.
    pub async fn ends_soon(&self, call: &Call, ending: &Authorization) {
        let id = format!("{}.ends.{}", ending.id.as_str(), ending.authorized_at.unix_timestamp());
        self.tell(call, ending, id, News::EndsSoon).await;
    }

    /// Tells that the tokens of an authorization do not open. Its status is as it was.
    pub async fn quarantined(&self, call: &Call, broken: &Authorization) {
        let id = format!("{}.quarantine.{}", broken.id.as_str(), broken.generation);
        self.tell(call, broken, id, News::Quarantined { status: broken.status.as_str() }).await;
    }

    async fn tell(&self, call: &Call, about: &Authorization, id: String, news: News) {
        let bindings = match about.binding_count {
            0 => Ok(Vec::new()),
            _ => self.index.bindings_of(&about.organization, &about.id, None, WORKFLOWS_NAMED).await,
        };
        let announcement = Announcement {
            id,
            news,
            at: self.clock.now(),
            organization: about.organization.clone(),
            authorization: about.id.clone(),
            connection: about.connection.clone(),
            owner: about.created_by.clone(),
            user_id: about.identity.person.subject.clone(),
            workflows: bindings.unwrap_or_default().into_iter().map(|binding| binding.workflow).collect(),
            workflow_count: about.binding_count,
            reauthorize_by: about.reauthorize_by,
            request_id: call.request_id.clone(),
        };
        record(&announcement);
        let Some(events) = &self.events else { return };
        let failure: Box<dyn std::error::Error> = match within(self.clock.as_ref(), TELLING_TIME, events.put(&announcement)).await {
            Some(Ok(())) => return,
            Some(Err(error)) => error.into(),
            None => "it takes too long".into(),
        };
        // The audit line above holds all that the event would have: it can be put by hand.
        tracing::error!(
            metric = "announcements_failed",
            request_id = call.request_id.as_str(),
            authorization = about.id.as_str(),
            event_id = announcement.id,
            error = failure.as_ref(),
            "an announcement was not taken"
        );
    }
}

/// The audit line. Ends are counted: a wave of them has one cause.
fn record(announcement: &Announcement) {
    let (action, outcome, before, reason) = match announcement.news {
        News::StatusChanged { from, to, reason } => ("status_change", to, Some(from), reason),
        News::EndsSoon => ("reauthorization_due", "active", None, None),
        News::Quarantined { status } => ("quarantine", status, None, Some(UNDECRYPTABLE)),
    };
    let ended = before.and(reason).map(|_| "needs_reauthorization");
    tracing::info!(
        audit = true,
        metric = ended,
        action,
        outcome,
        before,
        reason,
        event_id = announcement.id,
        reauthorize_by = announcement.reauthorize_by.map(OffsetDateTime::unix_timestamp),
        organization = announcement.organization.as_str(),
        authorization = announcement.authorization.as_str(),
        connection = announcement.connection.as_str(),
        owner.issuer = announcement.owner.issuer.as_str(),
        owner.subject = announcement.owner.subject.as_str(),
        user_id = announcement.user_id,
        workflow_count = announcement.workflow_count,
        workflows = announcement.workflows.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        request_id = announcement.request_id.as_str(),
        "audit"
    );
}
