//! Every clause of every condition that the adapter sends in these stories, and what shows that it matters: a history that goes red
//! without it. What another clause implies has its reason instead. The clauses are found in the requests themselves
//! (`weaken`), so a new one fails here until it is listed, and one that is no longer sent fails until it is taken off the list.

use std::collections::{BTreeMap, BTreeSet};

use super::scene::{Theme, play};
use super::theme_of;
use super::weaken::Clause;

/// So many histories reach every clause.
pub const LOOKED_THROUGH: u64 = 480;

/// What is known of a clause.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    /// Without it, this history has a violation.
    Matters(Theme, u64),
    /// It is about too narrow a moment for chance; the model shows that it matters, by this guard.
    InModel(&'static str),
    /// It says what others say already.
    Implied(&'static str),
}

use Theme::{Bindings, Crossings, Endings, Refreshes, Takeovers, Uses};
use Verdict::{Implied, InModel, Matters};

const COUNTED: &str = "the same transaction requires the binding as it was read, and what is bound is counted (I3)";
const STATUS_BY_VERSION: &str = "every change of the status raises the version";
const LEASE_ENDS: &str = "whatever raises the version or changes the status ends the lease, too";

const OTHERS_LAST: &str = "a lease that has ended by now is the one that was read: another's would have begun later, and lasts";
const NOT_EXTENDED: &str = "the lease is the one that was read, which had ended, and no lease is ever extended";
const REASONED: &str = "only what has ended has a reason";

#[rustfmt::skip]
const CLAUSES: &[(&str, &str, Verdict)] = &[
    ("begin a revocation", "#binding_count = :zero", Matters(Bindings, 6)),
    ("begin a revocation", "#status IN (:active, :waiting)", Matters(Endings, 4)),
    ("begin a revocation", "#status IN (:active, :waiting) AND #binding_count = :zero", Matters(Endings, 4)),
    ("bind, unbind: the authorization that loses it", "#binding_count >= :one", Implied(COUNTED)),
    ("bind: the authorization that gains it", "#status = :active", Matters(Bindings, 0)),
    ("bind: the authorization that gains it", "contains(#scopes, :scope)", Matters(Bindings, 6)),
    ("bind: the binding", "#auth_id = :previous", Matters(Bindings, 210)),
    ("bind: the binding", "#auth_id = :previous AND #required_scopes = :previous_scopes", Matters(Bindings, 96)),
    ("bind: the binding", "#required_scopes = :previous_scopes", Matters(Bindings, 96)),
    ("bind: the binding", "attribute_not_exists(#pk)", Matters(Bindings, 0)),
    ("claim a due refresh", "#due_at <= :now_seconds", Matters(Takeovers, 2)),
    ("claim a due refresh", "#due_at <= :now_seconds AND attribute_not_exists(#lease_owner)", Matters(Takeovers, 2)),
    ("claim a due refresh", "#status = :active", Matters(Endings, 4)),
    ("claim a due refresh", "attribute_not_exists(#lease_owner)", Matters(Takeovers, 32)),
    ("claim a refresh", "#status = :active", Implied(STATUS_BY_VERSION)),
    ("claim a refresh", "#version = :read_version", Matters(Uses, 849)),
    ("claim a refresh", "attribute_not_exists(#lease_owner)", Matters(Uses, 63)),
    ("commit a refresh", "#lease_owner = :owner", Matters(Takeovers, 1244)),
    ("commit a refresh", "#status = :active", Implied(LEASE_ENDS)),
    ("commit a refresh", "#version = :read_version", Implied(LEASE_ENDS)),
    ("commit a refresh", "#version = :read_version AND #status = :active", Implied(LEASE_ENDS)),
    ("end, with a lease", "#lease_owner = :owner", InModel("EndByOwner")),
    ("end, with a lease", "#status = :active", Implied(LEASE_ENDS)),
    ("end, with a lease", "#version = :read_version", Implied(LEASE_ENDS)),
    ("end, with a lease", "#version = :read_version AND #status = :active", Implied(LEASE_ENDS)),
    ("end, without a lease", "#status = :active", Implied(STATUS_BY_VERSION)),
    ("end, without a lease", "#version = :read_version", Matters(Refreshes, 121)),
    ("end, without a lease", "#version = :read_version AND #status = :active", Matters(Refreshes, 121)),
    ("end, without a lease", "attribute_not_exists(#lease_owner) OR #lease_until <= :now", Matters(Crossings, 59)),
    ("finish a revocation", "#status = :revoking", Matters(Endings, 136)),
    ("note a use", "#status = :active", Matters(Crossings, 623)),
    ("note a use", "#status = :active AND (attribute_not_exists(#last_used_at) OR #last_used_at <= :noted_before)", Matters(Crossings, 11)),
    ("note a use", "#version = :read_version", Matters(Crossings, 347)),
    ("note a use", "attribute_not_exists(#last_used_at) OR #last_used_at <= :noted_before", Matters(Crossings, 11)),
    ("note an announcement", "#due_at = :read_due", Matters(Crossings, 17309)),
    ("note an announcement", "#last_used_at = :read_used", Matters(Crossings, 9053)),
    ("note an announcement", "#version = :read_version", Matters(Takeovers, 3818)),
    ("note an announcement", "#version = :read_version AND attribute_not_exists(#lease_owner)", Matters(Takeovers, 3818)),
    ("note an announcement", "attribute_not_exists(#last_used_at)", Matters(Crossings, 3971)),
    ("note an announcement", "attribute_not_exists(#lease_owner)", Matters(Crossings, 7571)),
    ("note an announcement, with a lease", "#lease_owner = :owner", Matters(Crossings, 11999)),
    ("postpone a revocation", "#status = :revoking", Matters(Endings, 688)),
    ("release a refresh", "#lease_owner = :owner", Matters(Refreshes, 91)),
    ("repair a refresh", "#generation = :read_generation", Matters(Takeovers, 206)),
    ("repair a refresh", "#reason IN (:unknown, :refused)", Matters(Takeovers, 44)),
    ("repair a refresh", "#status = :active OR (#status = :ended AND #reason IN (:unknown, :refused))", Matters(Takeovers, 44)),
    ("repair a refresh", "#status = :ended", Implied(REASONED)),
    ("repair a refresh", "#version = :read_version", Matters(Takeovers, 200)),
    ("repair a refresh", "attribute_not_exists(#lease_owner) OR #lease_owner = :owner OR #lease_until <= :now", InModel("RepairUnleased")),
    ("replace: a binding", "#auth_id = :previous", Matters(Bindings, 102)),
    ("replace: a binding", "#auth_id = :previous AND #required_scopes = :previous_scopes", Matters(Uses, 57)),
    ("replace: a binding", "#required_scopes = :previous_scopes", Matters(Bindings, 90)),
    ("replace: the authorization that gains them", "#status = :active", Matters(Refreshes, 445)),
    ("replace: the authorization that gains them", "contains(#scopes, :scope)", Matters(Crossings, 83)),
    ("replace: the authorization that loses them", "#binding_count >= :many", Implied(COUNTED)),
    ("take a refresh over", "#lease_owner = :stale", Implied(OTHERS_LAST)),
    ("take a refresh over", "#lease_owner = :stale AND #lease_until <= :now", Matters(Crossings, 1241)),
    ("take a refresh over", "#lease_until <= :now", Implied(NOT_EXTENDED)),
    ("take a refresh over", "#status = :active", Implied(STATUS_BY_VERSION)),
    ("take a refresh over", "#version = :read_version", Implied(LEASE_ENDS)),
    ("unbind: the binding", "#auth_id = :previous", Matters(Bindings, 162)),
    ("unbind: the binding", "#auth_id = :previous AND #required_scopes = :previous_scopes", Matters(Bindings, 24)),
    ("unbind: the binding", "#required_scopes = :previous_scopes", Matters(Bindings, 24)),
];

fn listed() -> BTreeMap<Clause, Verdict> {
    let of = |(write, requires, verdict): &(&'static str, &str, Verdict)| (Clause { write, requires: (*requires).to_owned() }, *verdict);
    CLAUSES.iter().map(of).collect()
}

/// A clause that is sent and not listed is new; one that is listed and not sent is gone.
pub fn are_all_listed(sent: &BTreeSet<Clause>) {
    let listed: BTreeSet<Clause> = listed().into_keys().collect();
    assert_eq!(sent, &listed);
}

/// What goes wrong in a history without a clause.
fn red(theme: Theme, seed: u64, clause: &Clause) -> Option<String> {
    play(theme, seed, Some(clause), false).violations.into_iter().next()
}

/// A history that goes red without the clause, among those in which it alone stood in a write's way.
fn found(clause: &Clause, seeds: impl Iterator<Item = u64>) -> Option<(Theme, u64, String)> {
    seeds.into_iter().find_map(|seed| {
        let theme = theme_of(seed);
        let decided = play(theme, seed, None, false).decisive.contains(clause);
        decided.then(|| red(theme, seed, clause)).flatten().map(|what| (theme, seed, what))
    })
}

#[test]
fn without_any_one_clause_a_history_goes_red() {
    let mut unseen = Vec::new();
    for (clause, verdict) in listed() {
        let Matters(theme, seed) = verdict else { continue };
        assert_eq!(play(theme, seed, None, false).violations, Vec::<String>::new(), "{theme:?} {seed}");
        let what = red(theme, seed, &clause).map(|what| (theme, seed, what)).or_else(|| found(&clause, 0..LOOKED_THROUGH));
        match what {
            Some((theme, seed, what)) => {
                println!("{} / {}: {theme:?} {seed}: {}", clause.write, clause.requires, what.lines().next().unwrap_or_default());
            }
            None => unseen.push(clause),
        }
    }
    assert!(unseen.is_empty(), "no history goes red without {unseen:?}; see `seeds_of_clauses`");
}

#[test]
fn what_is_implied_never_decides_alone() {
    let implied: BTreeSet<Clause> =
        listed().into_iter().filter(|(_, verdict)| matches!(verdict, Implied(_))).map(|(clause, _)| clause).collect();
    for seed in 0..LOOKED_THROUGH / 2 {
        let theme = theme_of(seed);
        for clause in play(theme, seed, None, false).decisive.intersection(&implied) {
            // It may be in the way of a write that others are in the way of as well, in the same transaction.
            assert_eq!(red(theme, seed, clause), None, "{clause:?} is needed: {theme:?} {seed}");
        }
    }
}

#[test]
#[ignore = "makes the list anew: cargo test -p tests --test histories -- --ignored seeds_of_clauses --nocapture"]
fn seeds_of_clauses() {
    let mut known: BTreeMap<Clause, (Theme, u64)> = BTreeMap::new();
    let mut sent = BTreeSet::new();
    let most = super::from_environment("MANDATE_HISTORIES").map_or(2_000, |count| count.parse().unwrap());
    let only = super::from_environment("MANDATE_THEME");
    let first = super::from_environment("MANDATE_FIRST_SEED").map_or(0, |first| first.parse().unwrap());
    for seed in first..first + most {
        let theme = theme_of(seed);
        if only.as_ref().is_some_and(|only| *only != format!("{theme:?}")) {
            continue;
        }
        let history = play(theme, seed, None, false);
        assert_eq!(history.violations, Vec::<String>::new(), "{theme:?} {seed}");
        sent.extend(history.sent);
        for clause in history.decisive {
            if !known.contains_key(&clause) && red(theme, seed, &clause).is_some() {
                known.insert(clause, (theme, seed));
            }
        }
    }
    let before = listed();
    for clause in sent {
        let verdict = match (known.get(&clause), before.get(&clause)) {
            (Some((theme, seed)), _) => format!("Matters({theme:?}, {seed})"),
            (None, Some(Implied(why))) => format!("Implied({why:?})"),
            (None, Some(InModel(guard))) => format!("InModel({guard:?})"),
            (None, _) => "none goes red".to_owned(),
        };
        println!("    ({:?}, {:?}, {verdict}),", clause.write, clause.requires);
    }
}
