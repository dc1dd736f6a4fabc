//! All there is in one schedule: the table, the queue, the provider, and what was seen of them.

use std::collections::{BTreeMap, BTreeSet};

use shared::domain::ids::AuthorizationId;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::executor::{Events, Rng};
use crate::judge::Judge;
use crate::provider::Provider;
use crate::store::Store;

/// When every schedule begins.
pub const BEGINNING: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

/// A moment of the world's own time.
#[must_use]
pub fn moment(millis: i64) -> OffsetDateTime {
    BEGINNING + Duration::milliseconds(millis)
}

/// What a message is on its way to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The table.
    Table,
    /// The rescue queue.
    Queue,
    /// The identity provider.
    Provider,
    /// The key service.
    Keys,
    /// The event bus.
    Bus,
}

/// What goes wrong in a schedule, and how often: in thousandths of all messages.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    /// Until when anything goes wrong at all.
    pub until: i64,
    /// Messages that are refused at once: throttled, or no connection.
    pub refused: i64,
    /// Requests that never arrive.
    pub requests_lost: i64,
    /// Answers that never arrive.
    pub answers_lost: i64,
    /// Messages that take seconds.
    pub slow: i64,
    /// Requests that arrive twice.
    pub duplicated: i64,
    /// Parts that are down for a while.
    pub outages: Vec<(Part, i64, i64)>,
    /// How often a worker dies where it would go on.
    pub crashes: i64,
}

/// A condition of a port that a broken implementation would forget. `None` of them is missing in a real run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// A claim refuses a live lease of another.
    ClaimLease,
    /// A claim refuses a record that has changed since it was read.
    ClaimVersion,
    /// A claim recognizes its own earlier effect.
    ClaimOwn,
    /// A takeover leaves the doubt behind that the dead worker may have spent the token.
    TakeoverDoubt,
    /// Leases are kept in the table's time, not in the workers'.
    LeaseTime,
    /// A commit needs the lease, the version and the status; each alone catches what the others miss.
    Commit,
    /// A commit recognizes its own earlier effect.
    CommitOwn,
    /// A repair needs the generation.
    RepairGeneration,
    /// A repair needs an authorization that has not been revoked.
    RepairStatus,
    /// A repair lets whoever holds the lease go first.
    RepairBusy,
    /// Giving back needs the lease.
    ReleaseLease,
    /// A doubt that is given back stays.
    ReleaseDoubt,
    /// The end of an authorization needs the version and the lease (I10).
    EndAsRead,
    /// The rescue queue keeps what it is given until it is told to forget it.
    RescueKeeps,
    /// What begins a revocation takes the lease away.
    RevokeLease,
    /// What changes a status notes in the same write that this is to be announced.
    NoteChange,
    /// What was announced is taken away from the record only as it was read.
    NoteAsRead,
}

/// The world of one schedule.
pub struct World {
    /// What happens next.
    pub events: Events,
    /// What the seed decides.
    pub rng: Rng,
    /// What goes wrong.
    pub weather: Weather,
    /// The guard that is missing, to see the judge notice.
    pub without: Option<Guard>,
    /// The table and the rescue queue.
    pub store: Store,
    /// The identity provider.
    pub provider: Provider,
    /// Who watches.
    pub judge: Judge,
    /// Whether a request arrives for the second time, which is nobody's fault.
    pub repeating: bool,
    /// Tasks that are under way.
    pub alive: BTreeSet<u64>,
    /// How often each corner was reached.
    pub seen: BTreeMap<&'static str, u64>,
    /// What happened, if somebody wants to read it.
    pub trace: Option<Vec<String>>,
}

impl World {
    /// Now, in the world's own time.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        moment(self.events.now)
    }

    /// Whether a guard stands.
    #[must_use]
    pub fn guards(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Counts a corner.
    pub fn saw(&mut self, corner: &'static str) {
        *self.seen.entry(corner).or_default() += 1;
    }

    /// Writes down what happened.
    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at = self.events.now;
            trace.push(format!("{:>10.3} {}", f64::from(i32::try_from(at).unwrap_or(0)) / 1000.0, what()));
        }
    }

    /// Whether this part is down.
    #[must_use]
    pub fn is_down(&self, part: Part) -> bool {
        let now = self.events.now;
        self.weather.outages.iter().any(|(of, from, until)| *of == part && *from <= now && now < *until)
    }

    /// Which authorization.
    #[must_use]
    pub fn index_of(&self, id: &AuthorizationId) -> usize {
        self.store.records.iter().position(|record| record.is.id == *id).unwrap_or(0)
    }
}
