//! The scheduled run (design section 5, "The sweep").
//!
//! 1. What the rescue queue holds is repaired first: those tokens exist nowhere else.
//! 2. The due items of each shard are taken oldest first, and those of all shards are worked on with bounded concurrency: a shard
//!    with little to do leaves its room to the others.
//! 3. An item's failure is its own: it is counted, and the run goes on.
//! 4. The run stops while the remaining time still covers what is in flight, and reports counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::{self, Stream, StreamExt as _};

use super::Call;
use super::audit::announce;
use super::refresh::{LEASE, REFRESH_TIME, Refreshed, Refresher};
use super::revoke::{Revoker, Settled};
use crate::domain::authorization::{Authorization, Reason, Status};
use crate::domain::directory::Directory;
use crate::domain::schedule::{self, SHARDS};
use crate::ports::Unavailable;
use crate::ports::clock::Clock;
use crate::ports::store::{DueClaim, DueItem, DueQueue, RefreshFailure, RefreshStore, Repair, RescueDrain, Rescued};

/// How many items are in flight at most. An item spends its time waiting for the provider: 400 of them are 1,000 a second where
/// that and the two writes take 0.4 s. Each is a few kilobytes. A connection sets a limit of its own.
const AT_ONCE: usize = 400;
/// How many items are read from a shard at a time.
const BATCH: usize = 100;

/// The use case with what it needs.
pub struct RefreshDue {
    /// The queue.
    pub queue: Arc<dyn DueQueue>,
    /// Claims.
    pub store: Arc<dyn RefreshStore>,
    /// Refreshes.
    pub refresher: Arc<Refresher>,
    /// Finishes revocations.
    pub revoker: Revoker,
    /// The rescue queue.
    pub rescued: Arc<dyn RescueDrain>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Which shards a run owns: those of the table's 32 whose number modulo `of` is among `shards`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shards {
    of: u32,
    shards: Vec<u32>,
}

/// The shards of an event make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`of` must divide {SHARDS}, and `shards` must be different numbers below it")]
pub struct InvalidShards;

/// What a run did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Items that were due.
    pub due: u64,
    /// Refreshed.
    pub refreshed: u64,
    /// Ended: a person has to sign in again.
    pub needs_reauthorization: u64,
    /// Failed in passing, or left for lack of time; due again later.
    pub deferred: u64,
    /// Somebody else was at it, or had done it.
    pub skipped: u64,
    /// Revocations finished.
    pub revoked: u64,
    /// Commits repaired from the rescue queue.
    pub rescued: u64,
    /// Could not be worked on: a part of ours failed.
    pub failed: u64,
}

enum Done {
    Refreshed,
    Ended,
    Deferred,
    Skipped,
    Revoked,
}

#[derive(Default)]
struct Counts {
    due: AtomicU64,
    refreshed: AtomicU64,
    ended: AtomicU64,
    deferred: AtomicU64,
    skipped: AtomicU64,
    revoked: AtomicU64,
    failed: AtomicU64,
}

impl Shards {
    /// All of them.
    #[must_use]
    pub fn all() -> Self {
        Self { of: 1, shards: vec![0] }
    }

    /// Those of an event `{"shards": […], "of": n}`.
    pub fn new(shards: Vec<u32>, of: u32) -> Result<Self, InvalidShards> {
        let distinct = shards.iter().collect::<std::collections::BTreeSet<_>>().len() == shards.len();
        if of == 0 || !SHARDS.is_multiple_of(of) || !distinct || shards.iter().any(|s| *s >= of) {
            return Err(InvalidShards);
        }
        Ok(Self { of, shards })
    }

    fn of_table(&self) -> impl Iterator<Item = u32> {
        (0..SHARDS).filter(|s| self.shards.contains(&(s % self.of)))
    }
}

impl RefreshDue {
    /// One run.
    pub async fn run(&self, call: &Call, directory: &Directory, shards: &Shards) -> Report {
        let rescued = self.drain(call, directory).await;
        let counts = Counts::default();
        let due = shards.of_table().map(|shard| Box::pin(self.due(call, shard, &counts)));
        stream::select_all(due)
            .for_each_concurrent(AT_ONCE, |item| {
                let counts = &counts;
                async move { counts.count(call, self.work(call, directory, &item).await) }
            })
            .await;
        let report = Report { rescued, ..counts.report() };
        tracing::info!(
            request_id = call.request_id.as_str(),
            due = report.due,
            refreshed = report.refreshed,
            needs_reauthorization = report.needs_reauthorization,
            deferred = report.deferred,
            skipped = report.skipped,
            revoked = report.revoked,
            rescued = report.rescued,
            failed = report.failed,
            "scheduled run"
        );
        report
    }

    /// Step 1.
    async fn drain(&self, call: &Call, directory: &Directory) -> u64 {
        let mut repaired = 0;
        while call.has(REFRESH_TIME, self.clock.now()) {
            let batch = match self.rescued.receive_rescued().await {
                Ok(batch) if batch.is_empty() => break,
                Ok(batch) => batch,
                Err(error) => {
                    log(call, "the rescue queue was not read", &error);
                    break;
                }
            };
            for (rescued, receipt) in batch {
                match self.repair(call, directory, &rescued).await {
                    Ok(stored) => {
                        repaired += u64::from(stored);
                        if let Err(error) = self.rescued.forget_rescued(&receipt).await {
                            log(call, "a repaired commit stays in the rescue queue; repairing it again is harmless", &error);
                        }
                    }
                    Err(error) => log(call, "a rescued commit was not repaired", &error),
                }
            }
        }
        repaired
    }

    /// Whether the commit was stored. If the authorization was revoked meanwhile, its tokens are revoked, and only then forgotten.
    async fn repair(&self, call: &Call, directory: &Directory, rescued: &Rescued) -> Result<bool, Unavailable> {
        let before = self.store.authorization(&rescued.organization, &rescued.authorization).await?;
        match self.store.repair_refresh(rescued, self.clock.now()).await? {
            Repair::Stored => {
                if let Some(ended) = before.filter(|before| before.status != Status::Active) {
                    announce(call, self.refresher.index.as_ref(), &ended, "active", None).await;
                }
                Ok(true)
            }
            Repair::Superseded => Ok(false),
            // It stays in the queue, and comes again after the lease has ended.
            Repair::Busy => Err(Unavailable::new("repair a refresh", "somebody else is refreshing the authorization")),
            Repair::Revoked => {
                let Some(connection) = directory.connection(&rescued.connection) else { return Ok(false) };
                let revoked = self.refresher.revoke_rescued(call, connection, rescued).await;
                revoked.map(|()| false).map_err(|e| Unavailable::new("revoke rescued tokens", e))
            }
        }
    }

    /// What is due in one shard, oldest first, read as it is worked on; until the remaining time is too short to begin anything.
    fn due<'a>(&'a self, call: &'a Call, shard: u32, counts: &'a Counts) -> impl Stream<Item = DueItem> + 'a {
        let now = self.clock.now();
        let batches = stream::unfold(Some(None::<DueItem>), move |position| async move {
            let after = position?;
            if !call.has(REFRESH_TIME, self.clock.now()) {
                return None;
            }
            match self.queue.due(shard, now, BATCH, after.as_ref()).await {
                Ok(batch) => {
                    counts.due.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    let next = batch.last().filter(|_| batch.len() == BATCH).cloned();
                    Some((stream::iter(batch), next.map(Some)))
                }
                Err(error) => {
                    log(call, "a shard's due items were not read", &error);
                    counts.failed.fetch_add(1, Ordering::Relaxed);
                    None
                }
            }
        });
        batches.flatten()
    }

    async fn work(&self, call: &Call, directory: &Directory, item: &DueItem) -> Result<Done, Unavailable> {
        let now = self.clock.now();
        if !call.has(REFRESH_TIME, now) {
            return Ok(Done::Deferred);
        }
        match self.store.claim_due(item, &self.refresher.lease()?, now).await? {
            DueClaim::Claimed(claimed) => self.refresh(call, directory, &claimed).await,
            DueClaim::Otherwise(Some(record)) if record.status == Status::Revoking && record.due_at.is_some_and(|due| due <= now) => {
                Ok(match self.revoker.settle(call, directory, &record).await? {
                    Settled::Gone => Done::Revoked,
                    Settled::Postponed => Done::Deferred,
                })
            }
            DueClaim::Otherwise(_) => Ok(Done::Skipped),
        }
    }

    async fn refresh(&self, call: &Call, directory: &Directory, claimed: &Authorization) -> Result<Done, Unavailable> {
        if !claimed.is_refreshable() {
            return Ok(if claimed.access_expires_at <= self.clock.now() {
                ended(&self.refresher.end(call, claimed, Reason::NoRefreshToken).await)
            } else {
                self.put_off(claimed, claimed.access_expires_at).await?;
                Done::Deferred
            });
        }
        let Some(connection) = directory.connection(&claimed.connection) else {
            let due_at = schedule::retry_at(&claimed.id, self.clock.now(), claimed.failed_attempts, None);
            self.put_off(claimed, due_at).await?;
            return Ok(Done::Deferred);
        };
        debug_assert!(REFRESH_TIME < LEASE);
        match self.refresher.refresh(call, connection, claimed, false).await {
            Ok(refreshed) => Ok(ended(&refreshed)),
            Err(error) => Err(Unavailable::new("open or seal the tokens of a due authorization", error)),
        }
    }

    async fn put_off(&self, claimed: &Authorization, due_at: time::OffsetDateTime) -> Result<(), Unavailable> {
        self.store.release_refresh(claimed, &RefreshFailure { due_at, outcome_unknown_since: None }).await
    }
}

fn ended(refreshed: &Refreshed) -> Done {
    match refreshed {
        Refreshed::Renewed(..) => Done::Refreshed,
        Refreshed::Ended(_) => Done::Ended,
        Refreshed::Passing { .. } => Done::Deferred,
        Refreshed::Superseded => Done::Skipped,
    }
}

impl Counts {
    fn count(&self, call: &Call, done: Result<Done, Unavailable>) {
        let counter = match done {
            Ok(Done::Refreshed) => &self.refreshed,
            Ok(Done::Ended) => &self.ended,
            Ok(Done::Deferred) => &self.deferred,
            Ok(Done::Skipped) => &self.skipped,
            Ok(Done::Revoked) => &self.revoked,
            Err(error) => {
                log(call, "a due item was not worked on", &error);
                &self.failed
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn report(&self) -> Report {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Report {
            due: of(&self.due),
            refreshed: of(&self.refreshed),
            needs_reauthorization: of(&self.ended),
            deferred: of(&self.deferred),
            skipped: of(&self.skipped),
            revoked: of(&self.revoked),
            rescued: 0,
            failed: of(&self.failed),
        }
    }
}

fn log(call: &Call, what: &'static str, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(request_id = call.request_id.as_str(), error, "{what}");
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    #[test]
    fn rules_divide_the_shards_without_gap_or_overlap() {
        assert_eq!(Shards::all().of_table().count(), 32);
        let mut seen: Vec<u32> = (0..4).flat_map(|n| Shards::new(vec![n], 4).unwrap().of_table().collect::<Vec<_>>()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..32).collect::<Vec<_>>());
        assert!(Shards::new(vec![0], 3).is_err());
        assert!(Shards::new(vec![32], 32).is_err());
        assert!(Shards::new(vec![1, 1], 32).is_err());
        assert!(Shards::new(vec![], 0).is_err());
    }
}
