//! The table and the rescue queue: exactly the conditions that the ports demand, as operations on the world. Leases are kept in
//! the table's time: `skew` is by how much the worker's clock is ahead of it.

use shared::domain::authorization::{Authorization, Lease, Reason, SealedCredential, Status, StatusChange};
use shared::domain::flow::FlowOutcome;
use shared::domain::schedule;
use shared::ports::flows::{FlowClaim, Renewal};
use shared::ports::store::{Committed, DueClaim, DueItem, Kept, RefreshCommit, RefreshFailure, Repair, Rescued, RevocationStart};
use time::{Duration, OffsetDateTime};

use crate::provider::Loss;
use crate::world::{Guard, World};

/// What is kept.
#[derive(Default)]
pub struct Store {
    /// The authorizations.
    pub records: Vec<Record>,
    /// The rescue queue.
    pub queue: Vec<Message>,
    /// Sign-ins: whose attempt, since when, and how it ended.
    pub flows: Vec<(String, String, OffsetDateTime, Option<FlowOutcome>)>,
    /// Receipts that were given.
    pub receipts: u64,
}

/// An authorization, and whether its workflow is bound to it.
pub struct Record {
    /// The item.
    pub is: Authorization,
    /// The attempt that changed it last.
    pub committed_by: String,
    /// Whether the workflow is bound.
    pub bound: bool,
    /// When its end or revocation was acknowledged.
    pub revoked_for: Option<i64>,
}

/// A message of the rescue queue.
pub struct Message {
    /// What it says.
    pub rescued: Rescued,
    /// Since when it can be received.
    pub visible_at: i64,
    /// The last receipt.
    pub receipt: u64,
}

/// For how long a received message is hidden: longer than any run.
const HIDDEN_FOR: i64 = 330_000;

/// To whole seconds, as the table keeps when something is due.
fn seconds(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(0).unwrap_or(at)
}

impl World {
    fn table_time(&self, at: OffsetDateTime, skew: i64) -> OffsetDateTime {
        if self.guards(Guard::LeaseTime) { at - Duration::milliseconds(skew) } else { at }
    }

    /// The record as a worker sees it.
    #[must_use]
    pub fn seen_by(&self, at: usize, skew: i64) -> Authorization {
        let mut is = self.store.records[at].is.clone();
        if let (Some(lease), true) = (&mut is.lease, self.guards(Guard::LeaseTime)) {
            lease.until += Duration::milliseconds(skew);
        }
        is
    }

    /// Notes what is to be announced in the write that makes it so; the record as its writer sees it.
    fn noted(&mut self, at: usize, skew: i64, unannounced: Vec<StatusChange>) -> Box<Authorization> {
        let seen = Authorization { unannounced: unannounced.clone(), ..self.seen_by(at, skew) };
        self.store.records[at].is.unannounced = if self.guards(Guard::NoteChange) { unannounced } else { Vec::new() };
        Box::new(seen)
    }

    fn take(&mut self, at: usize, lease: &Lease, skew: i64) {
        let until = self.table_time(lease.until, skew);
        self.store.records[at].is.lease = Some(Lease { owner: lease.owner.clone(), until });
    }

    /// `claim_refresh`.
    pub fn claim(&mut self, skew: i64, read: &Authorization, lease: &Lease, now: OffsetDateTime) -> Option<Authorization> {
        let at = self.index_of(&read.id);
        let table_now = self.table_time(now, skew);
        let held = self.store.records[at].is.lease.clone();
        let record = &self.store.records[at].is;
        let unchanged = record.version == read.version || !self.guards(Guard::ClaimVersion);
        let free = match &read.lease {
            None => held.is_none(),
            Some(stale) => held.as_ref().is_some_and(|held| held.owner == stale.owner && held.until <= table_now),
        };
        let free = free || !self.guards(Guard::ClaimLease);
        if record.status == Status::Active && unchanged && free {
            if held.is_some() {
                self.saw("takeover of an abandoned lease");
                if self.guards(Guard::TakeoverDoubt) {
                    self.store.records[at].is.outcome_unknown_since.get_or_insert(now);
                }
            }
            self.take(at, lease, skew);
            let until = self.store.records[at].is.lease.as_ref().map(|lease| seconds(lease.until));
            self.store.records[at].is.due_at = until;
            self.judge_step();
            return Some(self.seen_by(at, skew));
        }
        let ours = held.is_some_and(|held| held.owner == lease.owner) && self.guards(Guard::ClaimOwn);
        let own = ours && record.status == Status::Active && record.version == read.version;
        if own {
            self.saw("an own claim whose answer was lost");
        }
        own.then(|| self.seen_by(at, skew))
    }

    /// `claim_due`, up to the point where an abandoned lease is found.
    pub fn claim_due(&mut self, skew: i64, item: &DueItem, lease: &Lease, now: OffsetDateTime) -> DueClaim {
        let at = self.index_of(&item.authorization);
        let record = &self.store.records[at].is;
        let due = record.due_at.is_some_and(|due| due <= now);
        if record.status == Status::Active && due && record.lease.is_none() {
            self.take(at, lease, skew);
            self.judge_step();
            return DueClaim::Claimed(Box::new(self.seen_by(at, skew)));
        }
        if record.status == Status::Active && record.lease.as_ref().is_some_and(|held| held.owner == lease.owner) {
            return DueClaim::Claimed(Box::new(self.seen_by(at, skew)));
        }
        DueClaim::Otherwise(Some(Box::new(self.seen_by(at, skew))))
    }

    /// `commit_refresh`.
    pub fn commit(&mut self, claimed: &Authorization, commit: &RefreshCommit) -> Committed {
        let at = self.index_of(&claimed.id);
        let Some(lease) = &claimed.lease else { return Committed::Superseded };
        let record = &self.store.records[at];
        let holds = record.is.lease.as_ref().is_some_and(|held| held.owner == lease.owner) || !self.guards(Guard::Commit);
        let unchanged = record.is.version == claimed.version || !self.guards(Guard::Commit);
        let active = record.is.status == Status::Active || !self.guards(Guard::Commit);
        if holds && unchanged && active {
            self.store_commit(at, claimed.generation, commit);
            let record = &mut self.store.records[at];
            record.is.outcome_unknown_since = None;
            record.is.version = claimed.version + 1;
            record.is.unannounced.clone_from(&claimed.unannounced);
            record.committed_by.clone_from(&lease.owner);
            self.change_status(at, Status::Active);
            self.judge_step();
            return Committed::Stored;
        }
        let ours = record.committed_by == lease.owner && record.is.version == claimed.version + 1 && record.is.status == Status::Active;
        if ours && self.guards(Guard::CommitOwn) {
            self.saw("an own commit whose answer was lost");
            return Committed::Stored;
        }
        self.saw("commit superseded");
        Committed::Superseded
    }

    fn store_commit(&mut self, at: usize, generation: u64, commit: &RefreshCommit) {
        let is = &mut self.store.records[at].is;
        is.generation = generation + 1;
        is.credential = Some(commit.credential.clone());
        is.scopes = commit.scopes.clone();
        is.access_expires_at = commit.access_expires_at;
        is.access_lifetime = Duration::seconds(commit.access_lifetime.whole_seconds());
        is.reauthorize_by = commit.reauthorize_by;
        is.last_refreshed_at = Some(commit.refreshed_at);
        is.due_at = Some(seconds(commit.due_at));
        is.lease = None;
        is.failed_attempts = 0;
        is.last_used_at = commit.used_at.or(is.last_used_at);
    }

    /// `repair_refresh`.
    pub fn repair(&mut self, skew: i64, rescued: &Rescued, now: OffsetDateTime) -> Repair {
        let at = self.index_of(&rescued.authorization);
        let table_now = self.table_time(now, skew);
        let record = &self.store.records[at].is;
        let same = record.generation == rescued.generation || !self.guards(Guard::RepairGeneration);
        let open = match record.status {
            Status::Active | Status::NeedsReauthorization(Reason::OutcomeUnknown | Reason::InvalidGrant) => true,
            Status::NeedsReauthorization(_) => false,
            Status::Revoking | Status::Deleted => !self.guards(Guard::RepairStatus),
        };
        let free = record.lease.as_ref().is_none_or(|held| held.owner == rescued.owner || held.until <= table_now)
            || !self.guards(Guard::RepairBusy);
        if same && open && free {
            let version = record.version + 1;
            let mut left = record.unannounced.clone();
            left.extend((record.status != Status::Active).then(|| StatusChange::revived(version, now)));
            self.saw("rescued commit repaired");
            let news = left.first().map(|oldest| schedule::announced_by(&rescued.authorization, oldest.at, now));
            self.store_commit(at, rescued.generation, &rescued.commit);
            let is = &mut self.store.records[at].is;
            is.version = version;
            is.due_at = news.into_iter().chain([rescued.commit.due_at]).min().map(seconds);
            self.change_status(at, Status::Active);
            self.judge_step();
            return Repair::Stored(self.noted(at, skew, left));
        }
        match record.status {
            Status::Revoking | Status::Deleted => Repair::Revoked,
            Status::Active if record.generation == rescued.generation => {
                self.saw("repair has to wait");
                Repair::Busy
            }
            Status::Active | Status::NeedsReauthorization(_) => Repair::Superseded,
        }
    }

    /// `release_refresh`.
    pub fn release(&mut self, claimed: &Authorization, failure: RefreshFailure, task: u64) {
        let at = self.index_of(&claimed.id);
        let Some(lease) = &claimed.lease else { return };
        let holds = self.store.records[at].is.lease.as_ref().is_some_and(|held| held.owner == lease.owner);
        if !holds && self.guards(Guard::ReleaseLease) {
            return;
        }
        let doubts = self.guards(Guard::ReleaseDoubt);
        // Whoever gives a lease back waits for no answer any more.
        let stored = self.stored(at);
        for (number, token) in self.provider.tokens.iter_mut().enumerate().filter(|(_, token)| token.given_to == task) {
            if self.provider.grants[token.grant].authorization == at && stored != Some(number) {
                token.lost = token.lost.or(Some(Loss::Answer));
            }
        }
        let is = &mut self.store.records[at].is;
        is.due_at = Some(seconds(failure.due_at));
        is.failed_attempts += 1;
        is.lease = None;
        is.unannounced.clone_from(&claimed.unannounced);
        if doubts && let Some(since) = failure.outcome_unknown_since {
            is.outcome_unknown_since.get_or_insert(since);
        }
        self.judge_step();
    }

    /// `mark_needs_reauthorization`.
    pub fn end(&mut self, skew: i64, read: &Authorization, reason: Reason, now: OffsetDateTime) -> Option<Box<Authorization>> {
        let at = self.index_of(&read.id);
        let table_now = self.table_time(now, skew);
        let record = &self.store.records[at];
        let unchanged = record.is.version == read.version
            && match &read.lease {
                Some(lease) => record.is.lease.as_ref().is_some_and(|held| held.owner == lease.owner),
                None => record.is.lease.as_ref().is_none_or(|held| held.until <= table_now),
            };
        if record.is.status == Status::Active && (unchanged || !self.guards(Guard::EndAsRead)) {
            let record = &mut self.store.records[at];
            record.is.version = read.version + 1;
            let mut left = read.unannounced.clone();
            left.push(StatusChange::ended(reason, record.is.version, now));
            record.is.lease = None;
            record.is.due_at = Some(seconds(schedule::announced_by(&read.id, left[0].at, now)));
            if let Some(lease) = &read.lease {
                record.committed_by.clone_from(&lease.owner);
            }
            self.change_status(at, Status::NeedsReauthorization(reason));
            self.judge_step();
            return Some(self.noted(at, skew, left));
        }
        let ended = record.is.version == read.version + 1 && record.is.status == Status::NeedsReauthorization(reason);
        let ours = ended && read.lease.as_ref().is_none_or(|lease| record.committed_by == lease.owner);
        ours.then(|| Box::new(self.seen_by(at, skew)))
    }

    /// `note_announced`.
    pub fn note_announced(&mut self, record: &Authorization, due_at: Option<OffsetDateTime>) {
        let at = self.index_of(&record.id);
        let guarded = self.guards(Guard::NoteAsRead);
        let is = &mut self.store.records[at].is;
        let as_read = match (&record.lease, &is.lease) {
            (Some(ours), Some(held)) => ours.owner == held.owner,
            (None, None) => {
                is.version == record.version && is.due_at == record.due_at.map(seconds) && is.last_used_at == record.last_used_at
            }
            (Some(_), None) | (None, Some(_)) => false,
        };
        if as_read || !guarded {
            is.unannounced.clone_from(&record.unannounced);
            is.due_at = due_at.map(seconds);
            is.lease = None;
        }
    }

    /// `mark_used`.
    pub fn mark_used(&mut self, read: &Authorization, now: OffsetDateTime, due_at: Option<OffsetDateTime>) {
        let at = self.index_of(&read.id);
        let is = &mut self.store.records[at].is;
        if is.status != Status::Active || is.use_is_noted(now) || (due_at.is_some() && is.version != read.version) {
            return;
        }
        is.last_used_at = Some(now);
        if let Some(due_at) = due_at {
            is.due_at = Some(seconds(due_at));
        }
    }

    /// `begin_revocation`.
    pub fn begin_revocation(&mut self, skew: i64, at: usize, attempt: &str, now: OffsetDateTime) -> RevocationStart {
        let record = &mut self.store.records[at];
        match record.is.status {
            Status::Active | Status::NeedsReauthorization(_) if record.is.binding_count == 0 => {}
            Status::Active | Status::NeedsReauthorization(_) => {
                return RevocationStart::InUse { binding_count: record.is.binding_count };
            }
            Status::Revoking if record.committed_by == attempt => {
                return RevocationStart::Begun(Box::new(self.seen_by(at, skew)));
            }
            Status::Revoking | Status::Deleted => return RevocationStart::AlreadyRevoked { tombstone_until: None },
        }
        let was = record.is.status.as_str();
        record.is.revoked_at = Some(now);
        record.is.version += 1;
        attempt.clone_into(&mut record.committed_by);
        record.is.due_at = Some(seconds(now + Duration::minutes(5)));
        if record.is.lease.is_some() {
            self.saw("revoked during a refresh");
        }
        if self.guards(Guard::RevokeLease) {
            self.store.records[at].is.lease = None;
        }
        self.change_status(at, Status::Revoking);
        let is = &self.store.records[at].is;
        let left = is.unannounced.iter().copied().chain([StatusChange::revoked(was, is.version, now)]).collect();
        RevocationStart::Begun(self.noted(at, skew, left))
    }

    /// `finish_revocation`; whether the record is gone now.
    pub fn finish_revocation(&mut self, revoking: &Authorization, now: OffsetDateTime) -> bool {
        let at = self.index_of(&revoking.id);
        let is = &mut self.store.records[at].is;
        match is.status {
            Status::Revoking => {
                is.status = Status::Deleted;
                (is.credential, is.lease) = (None, None);
                is.unannounced.clone_from(&revoking.unannounced);
                is.due_at = revoking.due_again(None, now).map(seconds);
                true
            }
            Status::Deleted => true,
            Status::Active | Status::NeedsReauthorization(_) => false,
        }
    }

    /// `postpone_revocation`.
    pub fn postpone_revocation(&mut self, revoking: &Authorization, kept: Kept, due_at: OffsetDateTime) {
        let at = self.index_of(&revoking.id);
        let is = &mut self.store.records[at].is;
        if is.status == Status::Revoking {
            is.unannounced.clone_from(&revoking.unannounced);
            is.due_at = Some(seconds(due_at));
            if let (Kept::RefreshToken, Some(SealedCredential { access, refresh: Some(_) })) = (kept, &mut is.credential) {
                *access = None;
            }
        }
    }

    /// `renew_authorization`.
    pub fn renew(&mut self, renewed: &Authorization, flow: &str, attempt: &str) -> Option<Renewal> {
        let at = self.index_of(&renewed.id);
        let outcome = FlowOutcome::Stored(renewed.id.clone());
        let flow = self.store.flows.iter().position(|(id, by, ..)| id == flow && by == attempt)?;
        if self.store.flows[flow].3.as_ref() == Some(&outcome) {
            return Some(Renewal::Stored);
        }
        let is = &self.store.records[at].is;
        let open = matches!(is.status, Status::Active | Status::NeedsReauthorization(_));
        if !open || is.version + 1 != renewed.version {
            return Some(Renewal::Changed(Some(Box::new(is.clone()))));
        }
        self.saw(if is.lease.is_some() { "renewed during a refresh" } else { "renewed" });
        let kept = self.store.records[at].is.clone();
        if let Some(replaced) = self.stored(at) {
            self.judge.replaced_grants.insert(self.provider.tokens[replaced].grant);
        }
        self.store.records[at].is = Authorization {
            status: kept.status,
            binding_count: kept.binding_count,
            required_scopes: kept.required_scopes,
            last_used_at: kept.last_used_at,
            due_at: renewed.due_at.map(seconds),
            ..renewed.clone()
        };
        self.store.flows[flow].3 = Some(outcome);
        self.noted(at, 0, renewed.unannounced.clone());
        self.change_status(at, Status::Active);
        self.judge_step();
        Some(Renewal::Stored)
    }

    /// `claim_flow`.
    pub fn claim_flow(&mut self, flow: &str, attempt: &str, now: OffsetDateTime) -> FlowClaim {
        match self.store.flows.iter().find(|(id, ..)| id == flow) {
            None => {
                self.store.flows.push((flow.to_owned(), attempt.to_owned(), now, None));
                FlowClaim::Claimed
            }
            Some((_, by, _, None)) if by == attempt => FlowClaim::Claimed,
            Some((_, _, claimed_at, None)) => FlowClaim::UnderWay { claimed_at: *claimed_at },
            Some((_, _, claimed_at, Some(outcome))) => FlowClaim::Finished { outcome: outcome.clone(), claimed_at: *claimed_at },
        }
    }

    /// `SendMessage`.
    pub fn rescue(&mut self, rescued: &Rescued) {
        self.saw("rescued");
        if self.guards(Guard::RescueKeeps) {
            self.store.receipts += 1;
            let (visible_at, receipt) = (self.events.now, self.store.receipts);
            self.store.queue.push(Message { rescued: rescued.clone(), visible_at, receipt });
        }
    }

    /// `ReceiveMessage`.
    pub fn receive(&mut self) -> Vec<(Rescued, String)> {
        let (now, store) = (self.events.now, &mut self.store);
        let mut received = Vec::new();
        for message in store.queue.iter_mut().filter(|message| message.visible_at <= now) {
            store.receipts += 1;
            (message.visible_at, message.receipt) = (now + HIDDEN_FOR, store.receipts);
            received.push((message.rescued.clone(), message.receipt.to_string()));
        }
        received
    }

    /// `DeleteMessage`.
    pub fn forget(&mut self, receipt: &str) {
        self.store.queue.retain(|message| message.receipt.to_string() != receipt);
    }
}
