//! Refresh, simulated: the real use cases on scripted ports, in virtual time, under a scheduler that a seed decides.
//!
//! One schedule is one seed. It draws a provider (rotating or not, with a grace of 0, 5, 30 or 60 seconds, with reuse detection or
//! without), the weather (messages refused, lost, late, doubled; parts that are down for a while; workers that die), up to eight
//! workers whose clocks differ by up to five minutes, and what they are asked to do: hand-outs that come together, checks, scheduled
//! runs, a revocation, a re-authorization. When the weather is over, the schedule goes on until everything has come to rest.
//!
//! * [`world`]: all there is in one schedule, and the guards of the ports, each of which can be left out.
//! * [`scenario`]: what a seed makes of it, and how it is played. A worker can die at every await.
//! * [`wire`]: messages, and what becomes of them on the way.
//! * [`store`], [`provider`]: the table, the rescue queue and the identity provider.
//! * [`node`]: a worker, that is, every port and every use case.
//! * [`judge`]: what must hold.
//! * [`executor`]: virtual time.
//! * [`log`]: what the service says of itself.

pub mod executor;
pub mod judge;
pub mod log;
pub mod node;
pub mod provider;
pub mod scenario;
pub mod store;
pub mod wire;
pub mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

pub use scenario::{Outcome, run};
pub use world::Guard;

/// Corners that a good number of schedules has to reach, or they have shown little.
pub const CORNERS: [&str; 28] = [
    "a retired token outside its grace",
    "a retired token within its grace",
    "an id_token that does not hold",
    "an own claim whose answer was lost",
    "an own commit whose answer was lost",
    "announced more than once",
    "answer lost",
    "at the end: active",
    "at the end: needs_reauthorization",
    "at the end: revoked",
    "commit superseded",
    "ended: invalid_grant",
    "ended: outcome_unknown",
    "handed out, degraded",
    "keys unavailable",
    "killed",
    "part down",
    "provider busy",
    "provider failed after the fact",
    "refreshed without a refresh token in the answer",
    "renewed during a refresh",
    "request duplicated",
    "request lost",
    "rescued",
    "rescued commit repaired",
    "reuse detected",
    "revoked during a refresh",
    "takeover of an abandoned lease",
];

/// What many schedules came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many there were.
    pub schedules: u64,
    /// How often each corner was reached.
    pub seen: BTreeMap<&'static str, u64>,
    /// What must not be, by seed.
    pub violations: Vec<(u64, String)>,
}

impl Summary {
    /// Corners that were never reached.
    #[must_use]
    pub fn missed(&self) -> Vec<&'static str> {
        CORNERS.into_iter().filter(|corner| !self.seen.contains_key(corner)).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} schedules", self.schedules)?;
        for (corner, times) in &self.seen {
            writeln!(f, "{times:>12}  {corner}")?;
        }
        for (seed, violation) in self.violations.iter().take(20) {
            writeln!(f, "seed {seed}: {violation} (again: MANDATE_SIMULATION_SEED={seed})")?;
        }
        Ok(())
    }
}

/// Plays `count` schedules from `first` on, on so many threads. It stops early when `enough` violations were found.
#[must_use]
pub fn run_many(first: u64, count: u64, threads: usize, without: Option<Guard>, enough: usize) -> Summary {
    let (next, summary) = (AtomicU64::new(0), Mutex::new(Summary::default()));
    let play = || {
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= count {
                return;
            }
            let outcome = run(first + nth, without, false);
            let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
            summary.schedules += 1;
            for (corner, times) in outcome.seen {
                *summary.seen.entry(corner).or_default() += times;
            }
            summary.violations.extend(outcome.violations.into_iter().map(|violation| (first + nth, violation)));
            if summary.violations.len() >= enough {
                next.store(count, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(play);
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.violations.sort();
    summary
}
