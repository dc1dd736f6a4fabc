//! The table in memory, as far as refreshing goes: the same conditions, no wire. For simulations of months, and to measure the service
//! without an emulation beside it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use shared::domain::authorization::{Authorization, Lease, Reason, Status, StatusChange};
use shared::domain::binding::Binding;
use shared::domain::ids::{AuthorizationId, OrganizationId, WorkflowId};
use shared::domain::schedule::{announced_by, shard};
use shared::domain::scopes::Scopes;
use shared::ports::Unavailable;
use shared::ports::store::{
    AnnouncementStore, Committed, DueClaim, DueItem, DueQueue, HandOutReads, IndexEntry, IndexPage, Kept, OrganizationIndex, PageQuery,
    RefreshCommit, RefreshFailure, RefreshStore, Repair, RescueDrain, RescueQueue, Rescued, RevocationStart, RevocationStore, Search,
};
use time::OffsetDateTime;

use crate::script::lock;

/// The table. Every workflow is bound to every authorization.
#[derive(Default)]
pub struct Memory(Mutex<Records>);

#[derive(Default)]
struct Records {
    all: HashMap<AuthorizationId, Authorization>,
    due: BTreeSet<(u32, OffsetDateTime, AuthorizationId)>,
}

impl Records {
    fn put(&mut self, record: Authorization) {
        if let Some(due_at) = self.all.get(&record.id).and_then(|before| before.due_at) {
            self.due.remove(&(shard(&record.id), due_at, record.id.clone()));
        }
        if let Some(due_at) = record.due_at {
            self.due.insert((shard(&record.id), due_at, record.id.clone()));
        }
        self.all.insert(record.id.clone(), record);
    }

    /// Changes a record if it is as expected; whether it did.
    fn change(
        &mut self,
        id: &AuthorizationId,
        expected: impl FnOnce(&Authorization) -> bool,
        change: impl FnOnce(&mut Authorization),
    ) -> Option<Authorization> {
        let mut record = self.all.get(id).filter(|record| expected(record))?.clone();
        change(&mut record);
        self.put(record.clone());
        Some(record)
    }
}

fn held(record: &Authorization, by: Option<&Lease>) -> bool {
    by.is_some_and(|lease| record.lease.as_ref().is_some_and(|held| held.owner == lease.owner))
}

fn no_such(what: &'static str) -> Unavailable {
    Unavailable::new(what, "the table in memory does not do that")
}

impl Memory {
    /// Stores a record.
    pub fn put(&self, record: Authorization) {
        self.records().put(record);
    }

    /// When the next item is due, and in which shard; of several shards any.
    #[must_use]
    pub fn next_due(&self) -> Option<(OffsetDateTime, u32)> {
        let records = self.records();
        let first = |shard| records.due.range((shard, OffsetDateTime::UNIX_EPOCH, least())..).next().filter(|(of, ..)| *of == shard);
        (0..shared::domain::schedule::SHARDS).filter_map(first).map(|(shard, due_at, _)| (*due_at, *shard)).min()
    }

    /// Every record.
    #[must_use]
    pub fn all(&self) -> Vec<Authorization> {
        self.records().all.values().cloned().collect()
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        lock(&self.0)
    }
}

/// No id is less.
fn least() -> AuthorizationId {
    AuthorizationId::new(OffsetDateTime::UNIX_EPOCH, [0; 10])
}

#[async_trait]
impl HandOutReads for Memory {
    async fn authorization_with_binding(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
        workflow: &WorkflowId,
    ) -> Result<(Option<Authorization>, Option<Binding>), Unavailable> {
        let found = self.records().all.get(id).cloned();
        let binding = found.as_ref().map(|record| Binding {
            organization: organization.clone(),
            workflow: workflow.clone(),
            name: None,
            authorization: id.clone(),
            required_scopes: Scopes::default(),
            created_at: record.created_at,
        });
        Ok((found, binding))
    }
}

#[async_trait]
impl RefreshStore for Memory {
    async fn authorization(&self, _: &OrganizationId, id: &AuthorizationId) -> Result<Option<Authorization>, Unavailable> {
        Ok(self.records().all.get(id).cloned())
    }

    async fn claim_refresh(&self, read: &Authorization, lease: &Lease, now: OffsetDateTime) -> Result<Option<Authorization>, Unavailable> {
        let free = |r: &Authorization| r.status == Status::Active && r.version == read.version && !r.is_leased(now);
        Ok(self.records().change(&read.id, free, |record| {
            if record.lease.is_some() {
                record.outcome_unknown_since.get_or_insert(now);
            }
            record.lease = Some(lease.clone());
        }))
    }

    async fn claim_due(&self, item: &DueItem, lease: &Lease, now: OffsetDateTime) -> Result<DueClaim, Unavailable> {
        let found = self.records().all.get(&item.authorization).cloned();
        match found {
            Some(record) if record.status == Status::Active && record.due_at.is_some_and(|due| due <= now) => {
                let claimed = self.claim_refresh(&record, lease, now).await?;
                Ok(claimed.map_or(DueClaim::Otherwise(Some(Box::new(record))), |claimed| DueClaim::Claimed(Box::new(claimed))))
            }
            other => Ok(DueClaim::Otherwise(other.map(Box::new))),
        }
    }

    async fn commit_refresh(&self, claimed: &Authorization, commit: &RefreshCommit) -> Result<Committed, Unavailable> {
        let ours = |r: &Authorization| held(r, claimed.lease.as_ref()) && r.version == claimed.version && r.status == Status::Active;
        let stored = self.records().change(&claimed.id, ours, |record| {
            record.version += 1;
            record.generation += 1;
            record.credential = Some(commit.credential.clone());
            record.scopes = commit.scopes.clone();
            record.access_expires_at = commit.access_expires_at;
            record.access_lifetime = commit.access_lifetime;
            record.reauthorize_by = commit.reauthorize_by;
            record.due_at = Some(commit.due_at);
            record.last_refreshed_at = Some(commit.refreshed_at);
            record.last_used_at = commit.used_at.or(record.last_used_at);
            record.unannounced.clone_from(&claimed.unannounced);
            (record.lease, record.outcome_unknown_since, record.failed_attempts) = (None, None, 0);
        });
        Ok(stored.map_or(Committed::Superseded, |_| Committed::Stored))
    }

    async fn repair_refresh(&self, _: &Rescued, _: OffsetDateTime) -> Result<Repair, Unavailable> {
        Err(no_such("repair a refresh"))
    }

    async fn release_refresh(&self, claimed: &Authorization, failure: &RefreshFailure) -> Result<(), Unavailable> {
        self.records().change(
            &claimed.id,
            |record| held(record, claimed.lease.as_ref()),
            |record| {
                record.due_at = Some(failure.due_at);
                record.unannounced.clone_from(&claimed.unannounced);
                record.failed_attempts += 1;
                record.lease = None;
                record.outcome_unknown_since = record.outcome_unknown_since.or(failure.outcome_unknown_since);
            },
        );
        Ok(())
    }

    async fn mark_needs_reauthorization(
        &self,
        read: &Authorization,
        reason: Reason,
        now: OffsetDateTime,
    ) -> Result<Option<Box<Authorization>>, Unavailable> {
        let as_read = |r: &Authorization| r.version == read.version && r.status == Status::Active;
        let marked = self.records().change(&read.id, as_read, |record| {
            record.version += 1;
            record.status = Status::NeedsReauthorization(reason);
            record.unannounced.push(StatusChange::ended(reason, record.version, now));
            (record.lease, record.due_at) = (None, Some(announced_by(&record.id, now, now)));
        });
        Ok(marked.map(Box::new))
    }

    /// Everything opens in a simulation.
    async fn quarantine(&self, _: &Authorization, _: OffsetDateTime, _: OffsetDateTime) -> Result<bool, Unavailable> {
        Ok(false)
    }

    async fn mark_used(&self, read: &Authorization, now: OffsetDateTime, due_at: Option<OffsetDateTime>) -> Result<(), Unavailable> {
        let unnoted = |r: &Authorization| r.status == Status::Active && r.version == read.version && !r.use_is_noted(now);
        self.records().change(&read.id, unnoted, |record| {
            record.last_used_at = Some(now);
            record.due_at = due_at.or(record.due_at);
        });
        Ok(())
    }
}

#[async_trait]
impl AnnouncementStore for Memory {
    async fn note_announced(&self, told: &Authorization, due_at: Option<OffsetDateTime>) -> Result<(), Unavailable> {
        let as_read = |r: &Authorization| r.version == told.version && r.lease == told.lease && r.due_at == told.due_at;
        self.records().change(&told.id, as_read, |record| {
            record.unannounced.clone_from(&told.unannounced);
            (record.lease, record.due_at) = (None, due_at);
        });
        Ok(())
    }
}

#[async_trait]
impl DueQueue for Memory {
    async fn due(&self, shard: u32, now: OffsetDateTime, most: usize, after: Option<&DueItem>) -> Result<Vec<DueItem>, Unavailable> {
        let from = after.map_or((shard, OffsetDateTime::UNIX_EPOCH, least()), |item| (shard, item.due_at, item.authorization.clone()));
        let records = self.records();
        let due = records.due.range(&from..).filter(|item| after.is_none() || **item != from);
        let due = due.take_while(|(of, due_at, _)| *of == shard && *due_at <= now).take(most);
        Ok(due
            .map(|(_, due_at, id)| DueItem {
                organization: records.all[id].organization.clone(),
                authorization: id.clone(),
                due_at: *due_at,
            })
            .collect())
    }
}

#[async_trait]
impl OrganizationIndex for Memory {
    async fn page(&self, _: &OrganizationId, _: &PageQuery) -> Result<IndexPage, Unavailable> {
        Err(no_such("list"))
    }
    fn behind(&self, _: &AuthorizationId) -> String {
        String::new()
    }
    async fn entry(&self, _: &OrganizationId, _: &AuthorizationId, _: usize) -> Result<Option<IndexEntry>, Unavailable> {
        Err(no_such("list"))
    }
    async fn look_for(&self, _: &OrganizationId, _: &WorkflowId, _: Option<&str>) -> Result<Search, Unavailable> {
        Err(no_such("look for a workflow"))
    }
    async fn bindings_of(
        &self,
        _: &OrganizationId,
        _: &AuthorizationId,
        _: Option<&WorkflowId>,
        _: usize,
    ) -> Result<Vec<Binding>, Unavailable> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl RevocationStore for Memory {
    async fn authorization_to_revoke(&self, _: &OrganizationId, id: &AuthorizationId) -> Result<Option<Authorization>, Unavailable> {
        Ok(self.records().all.get(id).cloned())
    }
    async fn begin_revocation(
        &self,
        _: &OrganizationId,
        _: &AuthorizationId,
        _: &str,
        _: OffsetDateTime,
    ) -> Result<RevocationStart, Unavailable> {
        Err(no_such("revoke"))
    }
    async fn finish_revocation(&self, _: &Authorization, _: OffsetDateTime) -> Result<(), Unavailable> {
        Err(no_such("revoke"))
    }
    async fn postpone_revocation(&self, _: &Authorization, _: Kept, _: OffsetDateTime) -> Result<(), Unavailable> {
        Err(no_such("revoke"))
    }
}

/// Nothing is rescued where nothing fails.
#[async_trait]
impl RescueQueue for Memory {
    async fn rescue(&self, _: &Rescued) -> Result<(), Unavailable> {
        Err(no_such("rescue"))
    }
}

#[async_trait]
impl RescueDrain for Memory {
    async fn receive_rescued(&self) -> Result<Vec<(Rescued, String)>, Unavailable> {
        Ok(Vec::new())
    }
    async fn holds_nothing(&self) -> Result<bool, Unavailable> {
        Ok(true)
    }
    async fn forget_rescued(&self, _: &str) -> Result<(), Unavailable> {
        Ok(())
    }
}
