//! A model of the life of an authorization (design sections 5 and 6), explored exhaustively for small sizes: bind, unbind, replace,
//! revoke, hand out and refresh, with processes that die, answers that are lost, leases that end and commits that are rescued.
//!
//! 1. One action of the model is one request: everything between two requests is a process's own, and nobody sees it.
//! 2. Every condition of a write is a [`Guard`]. With all of them nothing forbidden can be reached; without any one of
//!    [`NEEDED`] something can, and the test shows what. Those of [`SPARE`] say what another guard implies already: without any one of
//!    them still nothing forbidden can be reached. The code has them all the same, for its records may be older than its rules.
//! 3. What the model leaves out (scopes, the schedule's times, the notes of use, the wire) the seeded histories have.
#![expect(clippy::print_stdout, reason = "what each guard prevents is worth reading")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]

mod life;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use life::{Cast, Guard, Job, Life, Start};
use stateright::{Checker as _, HasDiscoveries, Model as _};

/// What goes on at once. Each is explored by itself.
fn casts() -> Vec<Cast> {
    let plain = Cast {
        name: "",
        start: Start { bound: [None, None], fresh: true },
        jobs: Vec::new(),
        crashes: 1,
        lost: 1,
        grace: false,
        outages: 0,
        withdrawals: 0,
    };
    let stale = Start { bound: [Some(0), None], fresh: false };
    let unbound = Start { bound: [None, None], fresh: false };
    let refresh = Job::Refresh { of: 0 };
    vec![
        Cast {
            name: "binds, a replace and revocations",
            jobs: vec![
                Job::Bind { workflow: 0, to: 1 },
                Job::Unbind { workflow: 0 },
                Job::Replace { workflow: 0, to: 1 },
                Job::Revoke { of: 0 },
                Job::Revoke { of: 1 },
            ],
            start: Start { bound: [Some(0), None], fresh: true },
            ..plain.clone()
        },
        Cast {
            name: "two binds of one workflow",
            jobs: vec![
                Job::Bind { workflow: 1, to: 0 },
                Job::Bind { workflow: 1, to: 1 },
                Job::Unbind { workflow: 1 },
                Job::Revoke { of: 0 },
                Job::Bind { workflow: 0, to: 0 },
            ],
            start: Start { bound: [None, None], fresh: true },
            ..plain.clone()
        },
        Cast {
            name: "hand-outs and a revocation",
            jobs: vec![
                Job::HandOut { workflow: 0, of: 0 },
                Job::HandOut { workflow: 0, of: 0 },
                Job::Unbind { workflow: 0 },
                Job::Revoke { of: 0 },
            ],
            start: stale.clone(),
            lost: 0,
            ..plain.clone()
        },
        Cast {
            name: "a hand-out of what has ended",
            jobs: vec![refresh, Job::HandOut { workflow: 0, of: 0 }],
            start: stale,
            withdrawals: 1,
            ..plain.clone()
        },
        Cast {
            name: "refreshes and a revocation",
            jobs: vec![refresh, refresh, Job::Revoke { of: 0 }],
            start: unbound.clone(),
            ..plain.clone()
        },
        Cast {
            name: "refreshes at a provider with a grace",
            jobs: vec![refresh, refresh, refresh],
            start: unbound.clone(),
            grace: true,
            outages: 1,
            withdrawals: 1,
            ..plain.clone()
        },
        Cast {
            name: "a rescued commit at a provider with a grace",
            jobs: vec![refresh, refresh, Job::Drain, Job::Drain, Job::Revoke { of: 0 }],
            start: unbound.clone(),
            crashes: 0,
            lost: 0,
            grace: true,
            outages: 1,
            withdrawals: 1,
        },
        Cast {
            name: "a rescued commit at a provider without",
            jobs: vec![refresh, refresh, Job::Drain, Job::Revoke { of: 0 }],
            start: unbound.clone(),
            outages: 1,
            ..plain.clone()
        },
        Cast {
            name: "revocations that meet",
            jobs: vec![Job::Revoke { of: 0 }, Job::Revoke { of: 0 }, Job::Settle { of: 0 }, Job::Settle { of: 0 }],
            start: unbound,
            ..plain
        },
    ]
}

/// What is reached that must not be, in one cast: the rule, and the way there.
fn explored(cast: Cast, without: Option<Guard>) -> (usize, BTreeMap<&'static str, String>) {
    let checker = Life { cast, without }.checker().threads(1).finish_when(HasDiscoveries::Any).spawn_bfs().join();
    let told = checker.discoveries().into_iter().map(|(rule, path)| {
        let what = path.last_state().wrong.unwrap_or(rule);
        let way = path.into_actions().iter().map(|action| format!("{action:?}")).collect::<Vec<_>>();
        (what, way.join(", "))
    });
    (checker.unique_state_count(), told.collect())
}

#[test]
fn with_every_guard_nothing_forbidden_can_be_reached() {
    for cast in casts() {
        let name = cast.name;
        let (states, found) = explored(cast, None);
        println!("{name}: {states} states");
        assert_eq!(found, BTreeMap::new(), "{name}");
    }
}

#[test]
fn without_any_one_guard_something_forbidden_can_be_reached() {
    for guard in NEEDED {
        let found = casts().into_iter().filter(|cast| cast.jobs.iter().any(|job| guard.concerns(*job))).find_map(|cast| {
            let name = cast.name;
            let (_, found) = explored(cast, Some(guard));
            found.into_iter().next().map(|(rule, way)| format!("{rule}, in {name}: {way}"))
        });
        println!("{guard:?}: {}", found.as_deref().unwrap_or("nothing"));
        assert!(found.is_some(), "nothing forbidden is reached without {guard:?}");
    }
}

#[test]
fn what_other_guards_imply_is_implied() {
    for guard in SPARE {
        for cast in casts().into_iter().filter(|cast| cast.jobs.iter().any(|job| guard.concerns(*job))) {
            let name = cast.name;
            let (_, found) = explored(cast, Some(guard));
            assert_eq!(found, BTreeMap::new(), "{guard:?} is needed, in {name}");
        }
    }
}

#[test]
fn every_guard_is_needed_or_spare() {
    let all: BTreeSet<Guard> = NEEDED.into_iter().chain(SPARE).collect();
    assert_eq!(all.len(), NEEDED.len() + SPARE.len());
    assert_eq!(all, Guard::ALL.into_iter().collect());
}

const NEEDED: [Guard; 22] = [
    Guard::BindAsExpected,
    Guard::BindToActive,
    Guard::UnbindAsExpected,
    Guard::MoveAsExpected,
    Guard::MoveToActive,
    Guard::RevokeUnbound,
    Guard::RevokeOnce,
    Guard::FinishOnce,
    Guard::HandOutBound,
    Guard::HandOutActive,
    Guard::ClaimAsRead,
    Guard::ClaimUnleased,
    Guard::CommitByOwner,
    Guard::EndByOwner,
    Guard::ReleaseByOwner,
    Guard::RepairOfGeneration,
    Guard::RepairOfLiving,
    Guard::RepairUnleased,
    Guard::RevokeOvertaken,
    Guard::DoubtOfTakenOver,
    Guard::DoubtOfLost,
    Guard::AskWithinLease,
];
const SPARE: [Guard; 2] = [Guard::CommitAsRead, Guard::EndAsRead];
