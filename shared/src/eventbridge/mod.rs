//! Announcements over Amazon EventBridge: one event each, for rules to pick by source, detail type and detail.

use async_trait::async_trait;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::ports::Unavailable;
use crate::ports::announcements::{Announcement, Announcements, News, UNDECRYPTABLE};

const PUT: &str = "put an event";
/// Who speaks. The functions' roles may put events of this source only.
pub const SOURCE: &str = "mandate";
/// What a rule matches on for changes of status.
pub const STATUS_CHANGE: &str = "Workflow Authorization Status Change";
/// What a rule matches on for the warning that an authorization will end.
pub const ENDS_SOON: &str = "Workflow Authorization Ends Soon";

/// What a rule matches on for tokens that do not open.
pub const QUARANTINED: &str = "Workflow Authorization Quarantined";

/// One event bus.
#[derive(Clone)]
pub struct EventBus {
    client: Client,
    bus: String,
}

/// EventBridge answers success and says entry by entry what it did not take.
#[derive(Debug, thiserror::Error)]
#[error("the event was not taken: {0}")]
struct NotTaken(String);

impl EventBus {
    /// The bus of this name or ARN.
    pub fn new(client: Client, bus: impl Into<String>) -> Self {
        Self { client, bus: bus.into() }
    }
}

#[async_trait]
impl Announcements for EventBus {
    async fn put(&self, announcement: &Announcement) -> Result<(), Unavailable> {
        let entry = PutEventsRequestEntry::builder()
            .source(SOURCE)
            .detail_type(match announcement.news {
                News::StatusChanged { .. } => STATUS_CHANGE,
                News::EndsSoon => ENDS_SOON,
                News::Quarantined { .. } => QUARANTINED,
            })
            .detail(detail(announcement).to_string())
            .time(DateTime::from_secs(announcement.at.unix_timestamp()))
            .event_bus_name(&self.bus)
            .build();
        let answer = self.client.put_events().entries(entry).send().await.map_err(|error| Unavailable::new(PUT, error))?;
        match answer.entries().iter().find_map(|entry| entry.error_code()) {
            Some(code) => Err(Unavailable::new(PUT, NotTaken(code.to_owned()))),
            None if answer.failed_entry_count() > 0 => Err(Unavailable::new(PUT, NotTaken("without a reason".to_owned()))),
            None => Ok(()),
        }
    }
}

/// What consumers read. Additive changes only.
fn detail(announcement: &Announcement) -> Value {
    let (old, new, reason) = match announcement.news {
        News::StatusChanged { from, to, reason } => (Some(from), to, reason),
        News::EndsSoon => (None, "active", None),
        News::Quarantined { status } => (None, status, Some(UNDECRYPTABLE)),
    };
    json!({
        "id": announcement.id,
        "occurred_at": rfc3339(announcement.at),
        "organization_id": announcement.organization.as_str(),
        "authorization_id": announcement.authorization.as_str(),
        "connection_id": announcement.connection.as_str(),
        "old_status": old,
        "status": new,
        "reason": reason,
        "owner": { "issuer": announcement.owner.issuer, "subject": announcement.owner.subject },
        "user_id": announcement.user_id,
        "workflows": announcement.workflows.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "workflow_count": announcement.workflow_count,
        "reauthorize_by": announcement.reauthorize_by.map(rfc3339),
        "request_id": announcement.request_id.as_str(),
    })
}

fn rfc3339(at: OffsetDateTime) -> String {
    let whole = at.replace_nanosecond(0).unwrap_or(at);
    whole.format(&Rfc3339).unwrap_or_default()
}
