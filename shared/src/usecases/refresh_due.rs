//! The scheduled run (design section 5, "The sweep").
//!
//! 1. What the rescue queue holds is repaired first: those tokens exist nowhere else. Only then is the work of somebody who died taken
//!    over, for the token that is presented once more may have its successor there.
//! 2. The due items of each shard are taken oldest first, and those of all shards are worked on with bounded concurrency: a shard
//!    with little to do leaves its room to the others.
//! 3. What an item still has to have announced is announced first, and whatever else is due of it is done then.
//! 4. An item's failure is its own: it is counted, and the run goes on.
//! 5. The run stops while the remaining time still covers what is in flight, and reports counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use futures_util::stream::{self, Stream, StreamExt as _};
use time::{Duration, OffsetDateTime};

use super::Call;
use super::refresh::{LEASE, REFRESH_TIME, Refreshed, Refresher, failing, may_claim};
use super::revoke::{Revoker, Settled};
use crate::domain::authorization::{Authorization, Lease, Reason, Status};
use crate::domain::directory::Directory;
use crate::domain::schedule::{self, SHARDS};
use crate::ports::Unavailable;
use crate::ports::clock::Clock;
use crate::ports::store::{DueClaim, DueItem, DueQueue, RefreshFailure, RefreshStore, Repair, RescueDrain, Rescued};

/// How many items are in flight at most. An item spends its time waiting for the provider: 400 of them are 1,000 a second where
/// that and the two writes take 0.4 s. Each is a few kilobytes. A connection sets a limit of its own.
const AT_ONCE: usize = 400;
/// So long after the end of its lease a refresh that lives has put what it got into the rescue queue.
const RESCUED_BY: Duration = Duration::seconds(10);
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
    /// How long the most overdue item had waited when the run found it.
    pub backlog: Duration,
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
    backlog_seconds: AtomicI64,
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
        let (rescued, drained_at) = self.drain(call, directory).await;
        let counts = Counts::default();
        let due = shards.of_table().map(|shard| Box::pin(self.due(call, shard, &counts)));
        stream::select_all(due)
            .for_each_concurrent(AT_ONCE, |item| {
                let counts = &counts;
                async move { counts.count(call, self.work(call, directory, &item, drained_at).await) }
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
            refresh_backlog_seconds = report.backlog.whole_seconds(),
            metrics = "due deferred failed rescued refresh_backlog_seconds",
            "scheduled run"
        );
        report
    }

    /// Step 1: how many commits were stored, and when the queue held nothing any more, if that is so. What could not be repaired, or is
    /// in the hands of another run, comes again later.
    async fn drain(&self, call: &Call, directory: &Directory) -> (u64, Option<OffsetDateTime>) {
        let mut repaired = 0;
        while call.has(REFRESH_TIME, self.clock.now()) {
            let looked_at = self.clock.now();
            let batch = match self.rescued.receive_rescued().await {
                Ok(batch) if batch.is_empty() => return (repaired, self.holds_nothing(call).await.then_some(looked_at)),
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
        (repaired, None)
    }

    async fn holds_nothing(&self, call: &Call) -> bool {
        self.rescued.holds_nothing().await.unwrap_or_else(|error| {
            log(call, "it is not known what the rescue queue holds", &error);
            false
        })
    }

    /// Whether the commit was stored. If the authorization was revoked meanwhile, its tokens are revoked, and only then forgotten.
    async fn repair(&self, call: &Call, directory: &Directory, rescued: &Rescued) -> Result<bool, Unavailable> {
        match self.store.repair_refresh(rescued, self.clock.now()).await? {
            Repair::Stored(mut repaired) => {
                self.refresher.announcer.changed(call, &mut repaired, Some(rescued.commit.due_at)).await;
                Ok(true)
            }
            Repair::Superseded => Ok(false),
            // It stays in the queue, and comes again after the lease has ended.
            Repair::Busy => Err(Unavailable::new("repair a refresh", "somebody else is at the authorization")),
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
                    if let Some(oldest) = batch.first() {
                        counts.backlog_seconds.fetch_max((now - oldest.due_at).whole_seconds(), Ordering::Relaxed);
                    }
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

    async fn work(
        &self,
        call: &Call,
        directory: &Directory,
        item: &DueItem,
        drained_at: Option<OffsetDateTime>,
    ) -> Result<Done, Unavailable> {
        let now = self.clock.now();
        if !call.has(REFRESH_TIME, now) {
            return Ok(Done::Deferred);
        }
        let lease = self.refresher.lease()?;
        match self.store.claim_due(item, &lease, now).await? {
            DueClaim::Claimed(mut claimed) => {
                if let Some(done) = self.tell_claimed(call, directory, &mut claimed).await {
                    return Ok(done);
                }
                self.refresh(call, directory, &claimed, false).await
            }
            DueClaim::Otherwise(Some(record)) if record.due_at.is_some_and(|due| due <= now) => {
                self.work_unclaimed(call, directory, *record, lease, drained_at).await
            }
            DueClaim::Otherwise(_) => Ok(Done::Skipped),
        }
    }

    /// What is due, and is not active or not free.
    async fn work_unclaimed(
        &self,
        call: &Call,
        directory: &Directory,
        mut record: Authorization,
        lease: Lease,
        drained_at: Option<OffsetDateTime>,
    ) -> Result<Done, Unavailable> {
        let now = self.clock.now();
        match record.status {
            Status::Active if is_abandoned(directory, &record, drained_at, now) => {
                match self.store.claim_refresh(&record, &lease, now).await? {
                    Some(claimed) => self.refresh(call, directory, &claimed, true).await,
                    None => Ok(Done::Skipped),
                }
            }
            Status::Active => Ok(Done::Skipped),
            Status::Revoking => {
                self.refresher.announcer.announce_again(call, &mut record).await;
                Ok(match self.revoker.settle(call, directory, &record).await? {
                    Settled::Gone => Done::Revoked,
                    Settled::Postponed => Done::Deferred,
                })
            }
            // Nothing but an announcement makes these due.
            Status::NeedsReauthorization(_) | Status::Deleted => {
                self.refresher.announcer.announce_again(call, &mut record).await;
                Ok(self.noted(call, &record, None).await)
            }
        }
    }

    /// Step 3 for an active record; whether there was nothing else to do. Otherwise what follows writes what is left of it. A record whose
    /// last refresh failed is due for that, too, whatever its credential says.
    async fn tell_claimed(&self, call: &Call, directory: &Directory, claimed: &mut Authorization) -> Option<Done> {
        if claimed.unannounced.is_empty() {
            return None;
        }
        self.refresher.announcer.announce_again(call, claimed).await;
        let sound = claimed.failed_attempts == 0 && claimed.outcome_unknown_since.is_none();
        let due_at = claimed.credential_due(directory.connection(&claimed.connection).filter(|_| sound)?);
        if due_at <= self.clock.now() {
            return None;
        }
        Some(self.noted(call, claimed, Some(due_at)).await)
    }

    /// Nothing was due of this record but what it still had to have announced.
    async fn noted(&self, call: &Call, record: &Authorization, otherwise: Option<OffsetDateTime>) -> Done {
        self.refresher.announcer.note(call, record, otherwise).await;
        if record.unannounced.is_empty() { Done::Skipped } else { Done::Deferred }
    }

    async fn refresh(&self, call: &Call, directory: &Directory, claimed: &Authorization, taken_over: bool) -> Result<Done, Unavailable> {
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
        match self.refresher.refresh(call, connection, claimed, false, taken_over).await {
            Ok(refreshed) => Ok(ended(&refreshed)),
            Err(error) => Err(Unavailable::new("open or seal the tokens of a due authorization", error)),
        }
    }

    async fn put_off(&self, claimed: &Authorization, due_at: OffsetDateTime) -> Result<(), Unavailable> {
        let due_at = failing(claimed, due_at, self.clock.now());
        self.store.release_refresh(claimed, &RefreshFailure { due_at, outcome_unknown_since: None }).await
    }
}

/// Whether a lease may be taken over that ended by itself: when nothing in the rescue queue belongs to it, or where presenting the
/// refresh token once more does no harm.
fn is_abandoned(directory: &Directory, record: &Authorization, drained_at: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
    let Some(held) = &record.lease else { return false };
    let due = record.status == Status::Active && record.due_at.is_some_and(|due| due <= now);
    let nothing_rescued = drained_at.is_some_and(|at| held.until + RESCUED_BY <= at);
    let harmless = directory.connection(&record.connection).is_some_and(|connection| may_claim(connection, record, now));
    due && (nothing_rescued || harmless)
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
            backlog: Duration::seconds(self.backlog_seconds.load(Ordering::Relaxed)),
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
