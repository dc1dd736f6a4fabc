//! Ten thousand schedules hold, and each guard of the ports is needed: without it a schedule shows what it is good for.
//! `MANDATE_SIMULATION_SEED` replays one; a million are played by `cargo run --profile bench -p simulation -- 1000000`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop where it stands, and tells what it has covered")]

use simulation::{Guard, run, run_many};

/// Enough to reach every corner, and little enough for every test run.
const SCHEDULES: u64 = 10_000;

#[test]
#[expect(clippy::disallowed_methods, reason = "which seed to replay is the developer's word")]
fn nothing_is_lost_in_ten_thousand_schedules() {
    if let Ok(seed) = std::env::var("MANDATE_SIMULATION_SEED") {
        let outcome = run(seed.parse().unwrap(), None, true);
        println!("{}", outcome.trace.join("\n"));
        assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
        return;
    }
    let summary = run_many(0, SCHEDULES, 1, None, 20);
    println!("{summary}");
    assert!(summary.violations.is_empty(), "{summary}");
    assert_eq!(summary.missed(), Vec::<&str>::new(), "corners that were never reached");
}

/// The guards that nothing else stands in for.
const NEEDED: [Guard; 10] = [
    Guard::ClaimLease,
    Guard::TakeoverDoubt,
    Guard::LeaseTime,
    Guard::Commit,
    Guard::RepairGeneration,
    Guard::ReleaseLease,
    Guard::ReleaseDoubt,
    Guard::RescueKeeps,
    Guard::NoteChange,
    Guard::NoteAsRead,
];

/// What a broken line in the use case does shows within the first few, or not at all: tests/mutants/run plays these.
#[test]
fn nothing_is_lost_in_a_thousand_schedules() {
    let summary = run_many(0, SCHEDULES / 10, 1, None, 1);
    assert!(summary.violations.is_empty(), "{summary}");
}

#[test]
fn a_missing_guard_is_noticed() {
    for guard in NEEDED {
        let summary = run_many(0, SCHEDULES, 1, Some(guard), 1);
        println!("without {guard:?}: {:?}", summary.violations.first());
        assert!(!summary.violations.is_empty(), "without {guard:?} nothing was noticed");
    }
}
