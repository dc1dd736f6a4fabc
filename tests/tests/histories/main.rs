//! Seeded histories of the life of an authorization: the real use cases over the real adapter and the real SDK client, several
//! processes at once, with requests in every order, lost answers, requests that arrive late, processes that die, outages, and time
//! that passes in leaps.
//!
//! 1. `scene` makes a history of a seed: who does what, from where, and what goes wrong. `actor` is one process.
//! 2. `hub` runs the processes on one thread and decides what happens next; `wire` is the SDK's way to it.
//! 3. `table` evaluates the very expressions that the adapter sends; `differential` holds it to what the embedded DynamoDB answers.
//! 4. `watch` looks at every write and at the end; `spec` says whether what the callers saw fits one order of acts.
//! 5. `clauses` takes every condition away from the requests, one at a time, and shows that the histories go red.
//!
//! A violation prints its history and how to replay it. See the README for the commands.
#![expect(unreachable_pub, reason = "what modules of one test binary share")]
#![expect(clippy::print_stdout, reason = "figures and histories are what these tests are run for")]
#![expect(clippy::match_same_arms, reason = "each arm is a line of a table")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]

mod actor;
mod clauses;
mod differential;
mod expression;
mod hub;
mod provider;
mod scene;
mod spec;
mod table;
mod watch;
mod weaken;
mod wire;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use scene::{History, THEMES, Theme, play};
use weaken::Clause;

/// The theme of a seed.
pub(crate) fn theme_of(seed: u64) -> Theme {
    THEMES[usize::try_from(seed).unwrap() % THEMES.len()]
}

/// What many histories came to.
#[derive(Debug, Default)]
struct Tally {
    histories: u64,
    requests: usize,
    disturbed: u64,
    sent: BTreeSet<Clause>,
    decided: BTreeSet<Clause>,
    violated: Vec<String>,
}

impl Tally {
    fn add(&mut self, history: History) {
        self.histories += 1;
        self.requests += history.requests;
        self.disturbed += u64::from(history.disturbed);
        self.sent.extend(history.sent);
        self.decided.extend(history.decisive);
    }
}

/// What was violated, and how to see it again.
fn told(theme: Theme, seed: u64, history: &History) -> Option<String> {
    let again = format!("MANDATE_HISTORY={theme:?}:{seed} cargo test -p tests --test histories -- --ignored replay --nocapture");
    (!history.violations.is_empty()).then(|| format!("{}\n{again}", history.violations.join("\n")))
}

/// A history without a violation.
fn sound(theme: Theme, seed: u64) -> History {
    let history = play(theme, seed, None, false);
    if let Some(told) = told(theme, seed, &history) {
        panic!("{}\n{told}", history.trace.join("\n"));
    }
    history
}

#[test]
fn histories_without_a_violation() {
    let mut tally = Tally::default();
    for seed in 0..clauses::LOOKED_THROUGH {
        tally.add(sound(theme_of(seed), seed));
    }
    clauses::are_all_listed(&tally.sent);
    println!("{} histories, {} of them disturbed, {} steps", tally.histories, tally.disturbed, tally.requests);
}

#[test]
fn a_history_replays() {
    for seed in 0..12 {
        let [once, again] = [(), ()].map(|()| play(theme_of(seed), seed, None, false));
        assert_eq!(once.trace, again.trace, "{seed}");
    }
}

#[test]
#[ignore = "takes minutes: cargo test --profile bench -p tests --test histories -- --ignored a_hundred_thousand --nocapture"]
fn a_hundred_thousand_histories_without_a_violation() {
    let count = from_environment("MANDATE_HISTORIES").map_or(100_000, |count| count.parse().unwrap());
    let first = from_environment("MANDATE_FIRST_SEED").map_or(0, |first| first.parse::<u64>().unwrap());
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let work = || {
            let mut tally = Tally::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count || tally.violated.len() > 20 {
                    return tally;
                }
                let history = play(theme_of(seed), seed, None, false);
                tally.violated.extend(told(theme_of(seed), seed, &history));
                tally.add(history);
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let sent: BTreeSet<Clause> = tallies.iter().flat_map(|tally| tally.sent.clone()).collect();
    let decided: BTreeSet<Clause> = tallies.iter().flat_map(|tally| tally.decided.clone()).collect();
    let violated: Vec<&str> = tallies.iter().flat_map(|tally| &tally.violated).map(String::as_str).collect();
    assert!(violated.is_empty(), "{} of {}:\n{}", violated.len(), sum(|tally| tally.histories), violated.join("\n"));
    clauses::are_all_listed(&sent);
    println!(
        "{} histories, {} of them disturbed, {} steps, no violation; of {} clauses {} alone decided a write",
        sum(|tally| tally.histories),
        sum(|tally| tally.disturbed),
        sum(|tally| tally.requests as u64),
        sent.len(),
        decided.len()
    );
    for clause in sent.difference(&decided) {
        println!("never alone in the way: {} / {}", clause.write, clause.requires);
    }
}

#[test]
#[ignore = "prints the history that MANDATE_HISTORY=Theme:seed names"]
fn replay() {
    let Some(named) = from_environment("MANDATE_HISTORY") else { return };
    let (theme, seed) = named.split_once(':').unwrap();
    let theme = THEMES.into_iter().find(|known| format!("{known:?}") == theme).unwrap();
    let history = play(theme, seed.parse().unwrap(), None, false);
    println!("{}\n{}", history.trace.join("\n"), history.violations.join("\n"));
}

#[expect(clippy::disallowed_methods, reason = "a seed to replay, for this test alone")]
fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
