//! Announcing what becomes of an authorization: an audit line, a count, and an event for everybody else (contract section 11).
//!
//! 1. The write that changes a status notes in the record that the change is to be announced, and makes the record due.
//! 2. Whoever has made that write announces the change, and takes the note away. The change stays made whatever becomes of that.
//! 3. Whoever dies before, or finds the event bus down, leaves the note. The schedule comes by, and does the same.
//! 4. The bound workflows come from the index; if it does not answer, their number must do.
//! 5. The event's id names the change: the authorization and its version from then on. An event that is delivered twice can be told
//!    from two changes.

use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::{Call, within};
use crate::domain::authorization::{Authorization, Reason, StatusChange};
use crate::domain::ids::WorkflowId;
use crate::ports::announcements::{Announcement, Announcements, News, UNDECRYPTABLE};
use crate::ports::clock::Clock;
use crate::ports::store::{AnnouncementStore, OrganizationIndex};

/// How many workflows an announcement names.
const WORKFLOWS_NAMED: usize = 100;
/// How long announcements may hold up the answer of whoever made the change.
const TELLING_TIME: Duration = Duration::seconds(3);

/// Announces.
pub struct Announcer {
    /// Which workflows are concerned.
    pub index: Arc<dyn OrganizationIndex>,
    /// What is still to be announced.
    pub notes: Arc<dyn AnnouncementStore>,
    /// Where events go; if absent, the log is all there is.
    pub events: Option<Arc<dyn Announcements>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Who tells of a change of status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Teller {
    /// Whoever has made it.
    Maker,
    /// Whoever found that it is still to be announced.
    Finder,
}

impl Announcer {
    /// Step 2 of whoever has nothing else to write to the record. It is due at `otherwise` then.
    pub async fn changed(&self, call: &Call, changed: &mut Authorization, otherwise: Option<OffsetDateTime>) {
        let unannounced = changed.unannounced.len();
        let until = self.tell_changes(call, changed, Some(changed.version)).await;
        if changed.unannounced.len() < unannounced {
            self.note_by(call, changed, otherwise, until).await;
        }
    }

    /// Announces what a change of status has added to the record, and what was left from before. What is told is off the record then;
    /// the caller's next write takes it away.
    pub async fn announce(&self, call: &Call, changed: &mut Authorization) {
        self.tell_changes(call, changed, Some(changed.version)).await;
    }

    /// Step 3.
    pub async fn announce_again(&self, call: &Call, found: &mut Authorization) {
        self.tell_changes(call, found, None).await;
    }

    /// Takes away what is off the record, which is due at `otherwise` then, or when the rest is to be announced.
    pub async fn note(&self, call: &Call, told: &Authorization, otherwise: Option<OffsetDateTime>) {
        self.note_by(call, told, otherwise, self.clock.now() + TELLING_TIME).await;
    }

    /// If it fails, the change will be told again, under the same id.
    async fn note_by(&self, call: &Call, told: &Authorization, otherwise: Option<OffsetDateTime>, until: OffsetDateTime) {
        let now = self.clock.now();
        let (due_at, limit) = (told.due_again(otherwise, now), until - now);
        let failure: Box<dyn std::error::Error> =
            match within(self.clock.as_ref(), limit.max(Duration::ZERO), self.notes.note_announced(told, due_at)).await {
                Some(Ok(())) => return,
                Some(Err(error)) => error.into(),
                None => "it takes too long".into(),
            };
        tracing::warn!(
            request_id = call.request_id.as_str(),
            authorization = told.id.as_str(),
            error = failure.as_ref(),
            "it is not noted that a change of status was announced"
        );
    }

    /// The oldest first, and none before an older one was taken; until when there is time for them and the note of them together.
    async fn tell_changes(&self, call: &Call, about: &mut Authorization, own: Option<u64>) -> OffsetDateTime {
        let workflows = if about.unannounced.is_empty() { Vec::new() } else { self.workflows(about).await };
        let until = self.clock.now() + TELLING_TIME;
        let is_own = |change: &StatusChange| own == Some(change.version);
        if let Some(change) = about.unannounced.iter().find(|change| is_own(change)) {
            record(call, &self.of_change(call, about, change, &workflows), Teller::Maker);
        }
        while let Some(change) = about.unannounced.first().copied() {
            let announcement = self.of_change(call, about, &change, &workflows);
            if !self.put(call, &announcement, until - self.clock.now()).await {
                break;
            }
            if !is_own(&change) {
                record(call, &announcement, Teller::Finder);
            }
            about.unannounced.remove(0);
        }
        until
    }

    fn of_change(&self, call: &Call, about: &Authorization, change: &StatusChange, workflows: &[WorkflowId]) -> Announcement {
        let news = News::StatusChanged { from: change.from, to: change.to.as_str(), reason: change.to.reason().map(Reason::as_str) };
        let id = format!("{}.{}", about.id.as_str(), change.version);
        Announcement { at: change.at, ..self.announcement(call, about, id, news, workflows.to_vec()) }
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
        let announcement = self.announcement(call, about, id, news, self.workflows(about).await);
        record(call, &announcement, Teller::Maker);
        self.put(call, &announcement, TELLING_TIME).await;
    }

    async fn workflows(&self, of: &Authorization) -> Vec<WorkflowId> {
        let bindings = match of.binding_count {
            0 => Ok(Vec::new()),
            _ => self.index.bindings_of(&of.organization, &of.id, None, WORKFLOWS_NAMED).await,
        };
        bindings.unwrap_or_default().into_iter().map(|binding| binding.workflow).collect()
    }

    fn announcement(&self, call: &Call, about: &Authorization, id: String, news: News, workflows: Vec<WorkflowId>) -> Announcement {
        Announcement {
            id,
            news,
            at: self.clock.now(),
            organization: about.organization.clone(),
            authorization: about.id.clone(),
            connection: about.connection.clone(),
            owner: about.created_by.clone(),
            user_id: about.identity.person.subject.clone(),
            workflows,
            workflow_count: about.binding_count,
            reauthorize_by: about.reauthorize_by,
            request_id: call.request_id.clone(),
        }
    }

    /// Whether the event was taken. Without a bus, the audit line is the announcement.
    async fn put(&self, call: &Call, announcement: &Announcement, limit: Duration) -> bool {
        let Some(events) = &self.events else { return true };
        let failure: Box<dyn std::error::Error> =
            match within(self.clock.as_ref(), limit.max(Duration::ZERO), events.put(announcement)).await {
                Some(Ok(())) => return true,
                Some(Err(error)) => error.into(),
                None => "it takes too long".into(),
            };
        tracing::error!(
            metric = "announcements_failed",
            request_id = call.request_id.as_str(),
            authorization = announcement.authorization.as_str(),
            event_id = announcement.id,
            error = failure.as_ref(),
            "an announcement was not taken"
        );
        false
    }
}

/// The audit line: of the maker's attempt, or of a finder's success. Ends are counted, once: a wave of them has one cause.
fn record(call: &Call, announcement: &Announcement, teller: Teller) {
    let (action, outcome, before, reason) = match announcement.news {
        News::StatusChanged { from, to, reason } => ("status_change", to, Some(from), reason),
        News::EndsSoon => ("reauthorization_due", "active", None, None),
        News::Quarantined { status } => ("quarantine", status, None, Some(UNDECRYPTABLE)),
    };
    // Whoever finds a change has not made it.
    let by = Some(call).filter(|_| teller == Teller::Maker);
    let (actor, workflow) = (by.and_then(|call| call.actor.as_ref()), by.and_then(|call| call.workflow.as_ref()));
    let ended = before.and(reason).filter(|_| teller == Teller::Maker).map(|_| "needs_reauthorization");
    tracing::info!(
        audit = true,
        metric = ended,
        action,
        outcome,
        before,
        reason,
        actor.issuer = actor.map(|actor| actor.issuer.as_str()),
        actor.subject = actor.map(|actor| actor.subject.as_str()),
        workflow = workflow.map(WorkflowId::as_str),
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
