//! What is still to be announced: noted by the write that changes a status, and taken away by whichever write comes next anyway; where
//! none does, by this one.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::Table;
use super::change::Change;
use super::items::{REVOCATION, unannounced, unannounced_revocation};
use super::keys::{self, Key};
use super::values::{millis, n, s, seconds};
use crate::domain::authorization::{Authorization, StatusChange};
use crate::ports::Unavailable;
use crate::ports::store::AnnouncementStore;

const NOTE: &str = "note that changes of status are announced";

#[async_trait]
impl AnnouncementStore for Table {
    async fn note_announced(&self, record: &Authorization, due_at: Option<OffsetDateTime>) -> Result<(), Unavailable> {
        let change = keeping(as_read(record), &record.unannounced)
            .set_or_remove(REVOCATION, unannounced_revocation(&record.unannounced))
            .set_or_remove("due_shard", due_at.map(|_| keys::due_shard(&record.id)))
            .set_or_remove("due_at", due_at.map(seconds));
        // Refused: the record has gone on, and what it still says of announcements leads to another.
        self.update_at_once(NOTE, change).await.map(|_| ())
    }
}

/// Nobody has changed what the due time depends on; or could, while the record holds a lease.
fn as_read(record: &Authorization) -> Change {
    let change = Change::of(Key::authorization(&record.organization, &record.id));
    if let Some(lease) = &record.lease {
        return change.remove(&["lease_owner", "lease_until"]).when("#lease_owner = :owner").value(":owner", s(&lease.owner));
    }
    let change = change.when("#version = :read_version AND attribute_not_exists(#lease_owner)").value(":read_version", n(record.version));
    let change = match record.due_at {
        Some(due_at) => change.when("#due_at = :read_due").value(":read_due", seconds(due_at)),
        None => change.when("attribute_not_exists(#due_at)"),
    };
    match record.last_used_at {
        Some(used_at) => change.when("#last_used_at = :read_used").value(":read_used", millis(used_at)),
        None => change.when("attribute_not_exists(#last_used_at)"),
    }
}

/// What is left to be announced, written along.
pub(super) fn keeping(change: Change, left: &[StatusChange]) -> Change {
    change.set_or_remove("unannounced", unannounced(left))
}
