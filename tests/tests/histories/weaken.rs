//! The clauses of every conditional write, found in the requests themselves, and what remains of a condition without one of them.

use super::expression::Condition;
use super::table::Write;

/// A requirement of a write: `write`, and what it requires.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clause {
    pub write: &'static str,
    pub requires: String,
}

/// Every requirement of a write, each with the condition that remains without it: the clauses that the outermost `AND` separates,
/// and every part of an `AND` inside of one of them.
pub fn clauses_of(write: &'static str, clauses: &[Condition]) -> Vec<(Clause, Vec<Condition>)> {
    let mut all: Vec<(Clause, Vec<Condition>)> = Vec::new();
    for (at, clause) in clauses.iter().enumerate() {
        let mut rest = clauses.to_vec();
        rest.remove(at);
        all.push((Clause { write, requires: clause.to_string() }, rest));
        for (requires, weaker) in clause.weaker() {
            let mut rest = clauses.to_vec();
            rest[at] = weaker;
            all.push((Clause { write, requires }, rest));
        }
    }
    // A write may require several scopes: they are one clause, and all of them go.
    let scopes = |condition: &Condition| matches!(condition, Condition::Contains(..));
    for (clause, rest) in &mut all {
        if clause.requires.starts_with("contains(") {
            rest.retain(|condition| !scopes(condition));
        }
    }
    all.dedup_by(|a, b| a.0 == b.0);
    all
}

/// What a write is for. A write that is not known here is a new one: it has to be named, and its clauses shown to matter.
pub fn name_of(write: &Write<'_>) -> &'static str {
    let (sets, removes) = write.update.split_once("REMOVE ").unwrap_or((write.update, ""));
    let sets = |text: &str| sets.contains(text);
    match (write.verb, write.place.1.as_str()) {
        ("Put", "BINDING") => "bind: the binding",
        ("Delete", "BINDING") => "unbind: the binding",
        ("Update", "BINDING") => "replace: a binding",
        ("Update", "AUTH") if sets("#binding_count + :more") => "bind: the authorization that gains it",
        ("Update", "AUTH") if sets("#binding_count - :one") => "bind, unbind: the authorization that loses it",
        ("Update", "AUTH") if sets("#binding_count + :many") => "replace: the authorization that gains them",
        ("Update", "AUTH") if sets("#binding_count - :many") => "replace: the authorization that loses them",
        ("Update", "AUTH") if sets("#revoked_at = ") => "begin a revocation",
        ("Update", "AUTH") if sets("#expires_at = ") => "finish a revocation",
        ("Update", "AUTH") if sets("#generation = ") && sets("#committed_by = ") => "commit a refresh",
        ("Update", "AUTH") if sets("#generation = ") => "repair a refresh",
        ("Update", "AUTH") if sets("#status = ") && sets("#reason = ") => {
            if write.placeholders.values.contains_key(":owner") {
                "end, with a lease"
            } else {
                "end, without a lease"
            }
        }
        ("Update", "AUTH") if sets("#lease_owner = ") => {
            if write.placeholders.values.contains_key(":now_seconds") {
                "claim a due refresh"
            } else if write.placeholders.values.contains_key(":stale") {
                "take a refresh over"
            } else {
                "claim a refresh"
            }
        }
        ("Update", "AUTH") if sets("#failed_attempts = ") && removes.contains("#lease_owner") => "release a refresh",
        ("Update", "AUTH") if sets("#last_used_at = ") => "note a use",
        ("Update", "AUTH") if write.placeholders.values.contains_key(":revoking") => "postpone a revocation",
        ("Update", "AUTH") if removes.contains("#lease_owner") => "note an announcement, with a lease",
        ("Update", "AUTH") if write.placeholders.values.contains_key(":read_version") => "note an announcement",
        _ => panic!("a write without a name: {} {:?} {}", write.verb, write.place, write.update),
    }
}
