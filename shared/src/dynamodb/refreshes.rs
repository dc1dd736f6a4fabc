//! Refreshing: claim, commit, or give up (design section 5). Each is one conditional update.

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::Table;
use super::announcements::keeping;
use super::change::Change;
use super::items::status;
use super::keys::{self, Key};
use super::row::Row;
use super::values::{b, millis, n, s, seconds, set_of};
use super::write::Written;
use crate::domain::authorization::{Authorization, Lease, Reason, Status, StatusChange};
use crate::domain::ids::{AuthorizationId, OrganizationId};
use crate::domain::schedule::{self, NOTED_EVERY};
use crate::ports::Unavailable;
use crate::ports::store::{Committed, DueClaim, DueItem, RefreshCommit, RefreshFailure, RefreshStore, Repair, Rescued};

const CLAIM: &str = "claim a refresh";
const COMMIT: &str = "store a refreshed credential";
const REPAIR: &str = "store a rescued credential";
const RELEASE: &str = "give a refresh back";
const MARK: &str = "mark an authorization as in need of re-authorization";
const QUARANTINE: &str = "note that a record does not open";
const USED: &str = "note that a token was handed out";

#[async_trait]
impl RefreshStore for Table {
    async fn authorization(&self, organization: &OrganizationId, id: &AuthorizationId) -> Result<Option<Authorization>, Unavailable> {
        self.get_authorization(organization, id).await
    }

    async fn claim_refresh(&self, read: &Authorization, lease: &Lease, now: OffsetDateTime) -> Result<Option<Authorization>, Unavailable> {
        let until = self.table_time(lease.until);
        // Whoever dies now is followed up by the schedule.
        let change = claiming(Key::authorization(&read.organization, &read.id), &lease.owner, until)
            .set("due_shard", keys::due_shard(&read.id))
            .set("due_at", seconds(until))
            .when("#version = :read_version")
            .value(":read_version", n(read.version));
        let change = match &read.lease {
            None => change.when("attribute_not_exists(#lease_owner)"),
            // Whoever held it died while asking: the fate of the refresh token is unknown.
            Some(stale) => change
                .when("#lease_owner = :stale AND #lease_until <= :now")
                .compute("#outcome_unknown_since = if_not_exists(#outcome_unknown_since, :now)")
                .value(":stale", s(&stale.owner))
                .value(":now", millis(self.table_time(now))),
        };
        let row = match self.update(CLAIM, change).await? {
            Written::Done(row) => Some(row),
            Written::Refused(row) => row.filter(|row| row.text("lease_owner") == lease.owner),
        };
        let claimed = row.map(|row| self.read(row)).transpose().map_err(|bad| Unavailable::new(CLAIM, bad))?;
        Ok(claimed.filter(|claimed| claimed.status == Status::Active && claimed.version == read.version))
    }

    async fn claim_due(&self, item: &DueItem, lease: &Lease, now: OffsetDateTime) -> Result<DueClaim, Unavailable> {
        let change = claiming(Key::authorization(&item.organization, &item.authorization), &lease.owner, self.table_time(lease.until))
            .when("#due_at <= :now_seconds AND attribute_not_exists(#lease_owner)")
            .value(":now_seconds", seconds(now));
        let (done, row) = match self.update(CLAIM, change).await? {
            Written::Done(row) => (true, Some(row)),
            Written::Refused(row) => (false, row),
        };
        let Some(row) = row else { return Ok(DueClaim::Otherwise(None)) };
        let present = self.read(row).map_err(|bad| Unavailable::new(CLAIM, bad))?;
        let owner = present.lease.as_ref().map(|lease| lease.owner.as_str());
        if done || (owner == Some(&lease.owner) && present.status == Status::Active) {
            return Ok(DueClaim::Claimed(Box::new(present)));
        }
        Ok(DueClaim::Otherwise(Some(Box::new(present))))
    }

    async fn commit_refresh(&self, claimed: &Authorization, commit: &RefreshCommit) -> Result<Committed, Unavailable> {
        let Some(lease) = &claimed.lease else { return Ok(Committed::Superseded) };
        let version = claimed.version + 1;
        let change = storing(holding(claimed, lease), &claimed.id, claimed.generation, commit)
            .remove(&["outcome_unknown_since"])
            .set("version", n(version))
            .set("committed_by", s(&lease.owner))
            .when("#version = :read_version AND #status = :active")
            .value(":read_version", n(claimed.version))
            .value(":active", s("active"));
        let ours = match self.update(COMMIT, change).await? {
            Written::Done(_) => true,
            Written::Refused(row) => committed(row, &lease.owner, version)? == Some(Status::Active),
        };
        Ok(if ours { Committed::Stored } else { Committed::Superseded })
    }

    async fn repair_refresh(&self, rescued: &Rescued, now: OffsetDateTime) -> Result<Repair, Unavailable> {
        let Some(before) = self.get_authorization(&rescued.organization, &rescued.authorization).await? else { return Ok(Repair::Revoked) };
        let version = before.version + 1;
        let mut left = before.unannounced;
        left.extend((before.status != Status::Active).then(|| StatusChange::revived(version, now)));
        let due_at = left.first().map_or(rescued.commit.due_at, |oldest| {
            schedule::announced_by(&rescued.authorization, oldest.at, now).min(rescued.commit.due_at)
        });
        let commit = RefreshCommit { due_at, ..rescued.commit.clone() };
        let key = Key::authorization(&rescued.organization, &rescued.authorization);
        // Doubt about the old credential is kept: whoever took the lease over may have spent it, and died.
        let change = storing(keeping(Change::of(key), &left), &rescued.authorization, rescued.generation, &commit)
            .set("status", s(Status::Active.as_str()))
            .set("version", n(version))
            .remove(&["reason"])
            // Whether this is a change of status, and what its event is called, depends on what was read.
            .when("#version = :read_version")
            .value(":read_version", n(before.version))
            .when("#generation = :read_generation")
            .value(":read_generation", n(rescued.generation))
            .when("#status = :active OR (#status = :ended AND #reason IN (:unknown, :refused))")
            .value(":active", s("active"))
            .value(":ended", s("needs_reauthorization"))
            .value(":unknown", s(Reason::OutcomeUnknown.as_str()))
            .value(":refused", s(Reason::InvalidGrant.as_str()))
            .when("attribute_not_exists(#lease_owner) OR #lease_owner = :owner OR #lease_until <= :now")
            .value(":owner", s(&rescued.owner))
            .value(":now", millis(self.table_time(now)));
        let (stored, row) = match self.update(REPAIR, change).await? {
            Written::Done(row) => (true, row),
            Written::Refused(Some(row)) => (false, row),
            Written::Refused(None) => return Ok(Repair::Revoked),
        };
        let present = self.read(row).map_err(|bad| Unavailable::new(REPAIR, bad))?;
        Ok(match present.status {
            _ if stored => Repair::Stored(Box::new(present)),
            Status::Revoking | Status::Deleted => Repair::Revoked,
            Status::Active | Status::NeedsReauthorization(Reason::OutcomeUnknown | Reason::InvalidGrant)
                if present.generation == rescued.generation =>
            {
                Repair::Busy
            }
            Status::Active | Status::NeedsReauthorization(_) => Repair::Superseded,
        })
    }

    async fn release_refresh(&self, claimed: &Authorization, failure: &RefreshFailure) -> Result<(), Unavailable> {
        let Some(lease) = &claimed.lease else { return Ok(()) };
        let mut change = holding(claimed, lease)
            .set("due_shard", keys::due_shard(&claimed.id))
            .set("due_at", seconds(failure.due_at))
            .compute("#failed_attempts = if_not_exists(#failed_attempts, :zero) + :one")
            .value(":zero", n(0))
            .value(":one", n(1))
            .remove(&["lease_owner", "lease_until"]);
        if let Some(since) = failure.outcome_unknown_since {
            change =
                change.compute("#outcome_unknown_since = if_not_exists(#outcome_unknown_since, :since)").value(":since", millis(since));
        }
        // Refused: the lease is gone, by our own earlier try or because somebody took over. Either way it is no longer ours.
        self.update(RELEASE, change).await.map(|_| ())
    }

    async fn mark_needs_reauthorization(
        &self,
        read: &Authorization,
        reason: Reason,
        now: OffsetDateTime,
    ) -> Result<Option<Box<Authorization>>, Unavailable> {
        let version = read.version + 1;
        let left: Vec<_> = read.unannounced.iter().copied().chain([StatusChange::ended(reason, version, now)]).collect();
        let change = keeping(Change::of(Key::authorization(&read.organization, &read.id)), &left)
            .set("status", s(Status::NeedsReauthorization(reason).as_str()))
            .set("reason", s(reason.as_str()))
            .set("version", n(version))
            // Nothing but the announcement makes it due from now on.
            .set("due_shard", keys::due_shard(&read.id))
            .set("due_at", seconds(schedule::announced_by(&read.id, left[0].at, now)))
            .remove(&["lease_owner", "lease_until"])
            .when("#version = :read_version AND #status = :active")
            .value(":read_version", n(read.version))
            .value(":active", s("active"));
        let change = if let Some(lease) = &read.lease {
            change.set("committed_by", s(&lease.owner)).when("#lease_owner = :owner").value(":owner", s(&lease.owner))
        } else {
            let now = millis(self.table_time(now));
            change.when("attribute_not_exists(#lease_owner) OR #lease_until <= :now").value(":now", now)
        };
        let (done, row) = match self.update(MARK, change).await? {
            Written::Done(row) => (true, row),
            Written::Refused(Some(row)) => (false, row),
            Written::Refused(None) => return Ok(None),
        };
        // Without a lease nothing names the attempt. If the change is there with this reason at this version, it is as good as ours: the
        // record says whether it is still to be announced.
        let named = read.lease.as_ref().is_none_or(|lease| row.text("committed_by") == lease.owner);
        let present = self.read(row).map_err(|bad| Unavailable::new(MARK, bad))?;
        let ours = named && present.version == version && present.status == Status::NeedsReauthorization(reason);
        Ok((done || ours).then(|| Box::new(present)))
    }

    async fn quarantine(&self, read: &Authorization, now: OffsetDateTime, due_at: OffsetDateTime) -> Result<bool, Unavailable> {
        let change = match &read.lease {
            Some(lease) => holding(read, lease).remove(&["lease_owner", "lease_until"]),
            None => Change::of(Key::authorization(&read.organization, &read.id)),
        };
        let change = change
            .set("undecryptable_since", millis(now))
            .set("due_shard", keys::due_shard(&read.id))
            .set("due_at", seconds(due_at))
            .compute("#failed_attempts = if_not_exists(#failed_attempts, :zero) + :one")
            .value(":zero", n(0))
            .value(":one", n(1))
            .when("#status = :active AND #generation = :read_generation AND attribute_not_exists(#undecryptable_since)")
            .value(":active", s("active"))
            .value(":read_generation", n(read.generation));
        Ok(matches!(self.update(QUARANTINE, change).await?, Written::Done(_)))
    }

    async fn mark_used(&self, read: &Authorization, now: OffsetDateTime, due_at: Option<OffsetDateTime>) -> Result<(), Unavailable> {
        // As `use_is_noted` has it, for whoever noted it since this was read.
        let noted_before = now.saturating_sub(NOTED_EVERY).max(read.issued_at() - Duration::MILLISECOND);
        let mut change = Change::of(Key::authorization(&read.organization, &read.id))
            .set("last_used_at", millis(now))
            .when("#status = :active AND (attribute_not_exists(#last_used_at) OR #last_used_at <= :noted_before)")
            .value(":active", s("active"))
            .value(":noted_before", millis(noted_before));
        if let Some(due_at) = due_at {
            change = change
                .set("due_shard", keys::due_shard(&read.id))
                .set("due_at", seconds(due_at))
                .when("#version = :read_version")
                .value(":read_version", n(read.version));
        }
        self.update_at_once(USED, change).await.map(|_| ())
    }
}

/// Takes the lease of an active record.
fn claiming(key: Key, owner: &str, until: OffsetDateTime) -> Change {
    Change::of(key).set("lease_owner", s(owner)).set("lease_until", millis(until)).when("#status = :active").value(":active", s("active"))
}

/// Stores a refreshed credential as the generation after `generation`, and ends the lease.
fn storing(change: Change, id: &AuthorizationId, generation: u64, commit: &RefreshCommit) -> Change {
    let change = change
        .set("generation", n(generation + 1))
        .set_or_remove("sealed_access", commit.credential.access.as_deref().map(b))
        .set_or_remove("sealed_refresh", commit.credential.refresh.as_deref().map(b))
        .set("refreshable", aws_sdk_dynamodb::types::AttributeValue::Bool(commit.credential.refresh.is_some()))
        .set_or_remove("scopes", set_of(&commit.scopes))
        .set("access_expires_at", millis(commit.access_expires_at))
        .set("access_lifetime", n(commit.access_lifetime.whole_seconds()))
        .set_or_remove("reauthorize_by", commit.reauthorize_by.map(millis))
        .set("last_refreshed_at", millis(commit.refreshed_at))
        .set("due_shard", keys::due_shard(id))
        .set("due_at", seconds(commit.due_at))
        .remove(&["lease_owner", "lease_until", "failed_attempts", "undecryptable_since"]);
    match commit.used_at {
        Some(used_at) => change.set("last_used_at", millis(used_at)),
        None => change,
    }
}

/// A change by whoever holds the lease. Nobody else changes meanwhile what is to be announced.
fn holding(claimed: &Authorization, lease: &Lease) -> Change {
    let change = Change::of(Key::authorization(&claimed.organization, &claimed.id));
    keeping(change, &claimed.unannounced).when("#lease_owner = :owner").value(":owner", s(&lease.owner))
}

/// The status that an earlier try of ours, whose answer was lost, left at this version.
fn committed(row: Option<Row>, owner: &str, version: u64) -> Result<Option<Status>, Unavailable> {
    let Some(mut row) = row else { return Ok(None) };
    let bad = |bad| Unavailable::new(COMMIT, bad);
    let ours = row.text("committed_by") == owner && row.required::<u64>("version").map_err(bad)? == version;
    if ours { status(&mut row).map(Some).map_err(bad) } else { Ok(None) }
}
