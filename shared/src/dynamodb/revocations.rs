//! Revoking: `active | needs_reauthorization → revoking → gone`.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use time::{Duration, OffsetDateTime};

use super::Table;
use super::announcements::keeping;
use super::change::Change;
use super::error::Refused;
use super::items::{REVOCATION, status, unannounced_revocation};
use super::keys::{self, Key};
use super::row::Row;
use super::values::{millis, n, s, seconds};
use super::write::Written;
use crate::domain::authorization::{Authorization, Status, TOMBSTONE_LIFETIME};
use crate::domain::ids::{AuthorizationId, OrganizationId};
use crate::ports::Unavailable;
use crate::ports::store::{Kept, RevocationStart, RevocationStore};

const BEGIN: &str = "begin a revocation";
const FINISH: &str = "finish a revocation";
const POSTPONE: &str = "postpone a revocation";
/// When the sweep takes a revocation over from a process that died between the beginning and the end.
const TAKEN_OVER_AFTER: Duration = Duration::minutes(5);

#[async_trait]
impl RevocationStore for Table {
    async fn authorization_to_revoke(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
    ) -> Result<Option<Authorization>, Unavailable> {
        self.get_authorization(organization, id).await
    }

    async fn begin_revocation(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
        attempt: &str,
        now: OffsetDateTime,
    ) -> Result<RevocationStart, Unavailable> {
        let change = Change::of(Key::authorization(organization, id))
            .set("status", s(Status::Revoking.as_str()))
            .set("revoked_at", millis(now))
            .set("committed_by", s(attempt))
            .compute("#version = #version + :one")
            .compute("#revoked_from = #status")
            .set(REVOCATION, AttributeValue::Bool(true))
            .set("due_shard", keys::due_shard(id))
            .set("due_at", seconds(now + TAKEN_OVER_AFTER))
            .remove(&["lease_owner", "lease_until", "reason"])
            .when("#status IN (:active, :waiting) AND #binding_count = :zero")
            .value(":active", s("active"))
            .value(":waiting", s("needs_reauthorization"))
            .value(":zero", n(0))
            .value(":one", n(1));
        let bad = |bad| Unavailable::new(BEGIN, bad);
        match self.update(BEGIN, change).await? {
            Written::Done(row) => begun(row).map_err(bad),
            Written::Refused(None) => Ok(RevocationStart::Missing),
            Written::Refused(Some(row)) => hindrance(row, attempt).map_err(bad),
        }
    }

    async fn finish_revocation(&self, revoking: &Authorization, now: OffsetDateTime) -> Result<(), Unavailable> {
        let due_at = revoking.due_again(None, now);
        let change = while_revoking(revoking)
            .set("status", s(Status::Deleted.as_str()))
            .set("expires_at", seconds(now + TOMBSTONE_LIFETIME))
            .set_or_remove("due_shard", due_at.map(|_| keys::due_shard(&revoking.id)))
            .set_or_remove("due_at", due_at.map(seconds))
            .remove(&["sealed_access", "sealed_refresh", "lease_owner", "lease_until", "org_pk", "org_sk", "email"]);
        match self.update(FINISH, change).await? {
            // Refused without an item: TTL has taken the tombstone already.
            Written::Done(_) | Written::Refused(None) => Ok(()),
            Written::Refused(Some(mut row)) => match status(&mut row).map_err(|bad| Unavailable::new(FINISH, bad))? {
                Status::Deleted => Ok(()),
                Status::Active | Status::NeedsReauthorization(_) | Status::Revoking => {
                    Err(Unavailable::new(FINISH, Refused("the record is not being revoked")))
                }
            },
        }
    }

    async fn postpone_revocation(&self, revoking: &Authorization, kept: Kept, due_at: OffsetDateTime) -> Result<(), Unavailable> {
        let mut change = while_revoking(revoking).set("due_shard", keys::due_shard(&revoking.id)).set("due_at", seconds(due_at));
        if kept == Kept::RefreshToken && revoking.is_refreshable() {
            change = change.remove(&["sealed_access"]);
        }
        // Refused: somebody has finished it meanwhile.
        self.update(POSTPONE, change).await.map(|_| ())
    }
}

/// With what is left to be announced.
fn while_revoking(of: &Authorization) -> Change {
    keeping(Change::of(Key::authorization(&of.organization, &of.id)), &of.unannounced)
        .set_or_remove(REVOCATION, unannounced_revocation(&of.unannounced))
        .when("#status = :revoking")
        .value(":revoking", s(Status::Revoking.as_str()))
}

fn begun(row: Row) -> Result<RevocationStart, super::error::BadRow> {
    Ok(RevocationStart::Begun(Box::new(Authorization::try_from(row)?)))
}

/// Why a revocation could not begin; unless it is our own, whose answer was lost.
fn hindrance(mut row: Row, attempt: &str) -> Result<RevocationStart, super::error::BadRow> {
    if row.text("status") == Status::Revoking.as_str() && row.text("committed_by") == attempt {
        return begun(row);
    }
    Ok(match status(&mut row)? {
        Status::Active | Status::NeedsReauthorization(_) => RevocationStart::InUse { binding_count: row.required("binding_count")? },
        Status::Revoking => RevocationStart::AlreadyRevoked { tombstone_until: None },
        Status::Deleted => RevocationStart::AlreadyRevoked { tombstone_until: row.optional_seconds("expires_at")? },
    })
}
