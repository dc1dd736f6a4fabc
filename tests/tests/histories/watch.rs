//! What must be true of the table after every write, and of tokens and records at the end (design, invariants).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shared::domain::ids::AuthorizationId;
use shared::domain::schedule;
use shared::dynamodb::keys::parse_authorization;

use super::expression::{Item, canonical, number};
use super::hub::{World, at};
use super::provider::{Provider, token_in};
use super::table::{Changes, Place, Table};

/// How far clocks may be apart.
const SKEW: i64 = 2_000;
/// What changes of a record while it is being revoked.
const CHANGES_AT_THE_END: [&str; 13] = [
    "status",
    "expires_at",
    "sealed_access",
    "sealed_refresh",
    "lease_owner",
    "lease_until",
    "due_shard",
    "due_at",
    "org_pk",
    "org_sk",
    "email",
    "unannounced",
    "unannounced_revocation",
];
/// What changes of a tombstone, once what it had to tell is told.
const CHANGES_AFTER_THE_END: [&str; 4] = ["unannounced", "unannounced_revocation", "due_shard", "due_at"];

#[derive(Debug, Default)]
pub struct Watch {
    pub violations: Vec<String>,
    /// Which task took each lease.
    owners: BTreeMap<String, usize>,
    /// Authorizations that were ended at some time.
    pub ended: BTreeSet<String>,
    pub rescues: usize,
    pub rescue_lost: bool,
    /// Receipts of rescued commits that were shown to somebody who has not forgotten them yet.
    pub shown: BTreeSet<String>,
    pub notes: usize,
    /// Authorizations that were used, with their versions then.
    used_since: BTreeSet<(String, i64)>,
    /// When the credential that each authorization has now was due, at any time.
    due: BTreeMap<String, BTreeSet<i64>>,
    /// What was changed by requests that arrived when nobody waited for them any more.
    pub late: Changes,
    /// The names of changes of status that the bus was told of.
    pub announced: BTreeSet<String>,
}

/// Who wrote.
pub struct Written<'a> {
    pub names: &'a [&'static str],
    pub task: usize,
    pub sweeps: bool,
    /// The lease that the write names as its own.
    pub owner: Option<&'a str>,
    /// The version that the write says it has read.
    pub read_version: Option<i64>,
    pub now: i64,
    pub step: usize,
}

pub fn text<'a>(item: &'a Item, attribute: &str) -> &'a str {
    item.get(attribute).and_then(|value| value["S"].as_str()).unwrap_or_default()
}

pub fn integer(item: &Item, attribute: &str) -> Option<i64> {
    item.get(attribute).and_then(number).map(|number| i64::try_from(number).unwrap())
}

/// The number in `auth_…`, as the set-up gave it.
fn id_of(place: &Place) -> AuthorizationId {
    parse_authorization(&place.0).unwrap().1
}

fn is_revoked(item: &Item) -> bool {
    matches!(text(item, "status"), "revoking" | "deleted")
}

fn scopes(value: Option<&Value>, kind: &str) -> BTreeSet<String> {
    let members = value.and_then(|value| value[kind].as_array()).into_iter().flatten();
    members.map(|member| member.as_str().or_else(|| member["S"].as_str()).unwrap().to_owned()).collect()
}

impl Watch {
    pub fn violate(&mut self, what: String) {
        self.violations.push(what);
    }

    pub fn look(&mut self, table: &Table, changes: &Changes, by: &Written<'_>) {
        let mut complaints = counted_exactly(table);
        for (place, before, after) in changes {
            match (place.1.as_str(), before, after) {
                ("AUTH", Some(before), Some(after)) => self.look_at_authorization(place, before, after, by, &mut complaints),
                ("AUTH", _, _) => complaints.push("an authorization came out of nothing, or vanished".to_owned()),
                (_, before, Some(after)) => look_at_binding(table, place, before.as_ref(), after, &mut complaints),
                (_, _, None) => {}
            }
        }
        self.violations.extend(complaints.into_iter().map(|what| format!("step {}, {}: {what}", by.step, by.names.join(", "))));
    }

    fn look_at_authorization(&mut self, place: &Place, before: &Item, after: &Item, by: &Written<'_>, complaints: &mut Vec<String>) {
        let changed = |attribute: &str| before.get(attribute).map(canonical) != after.get(attribute).map(canonical);
        let of = |attribute: &str| (integer(before, attribute), integer(after, attribute));
        if of("version").1 < of("version").0 {
            complaints.push("the version went back".to_owned());
        }
        let (generation_before, generation_after) = (of("generation").0.unwrap(), of("generation").1.unwrap());
        if generation_after != generation_before && generation_after != generation_before + 1 {
            complaints.push(format!("the generation went from {generation_before} to {generation_after}"));
        }
        let due = self.due.entry(place.0.clone()).or_default();
        if generation_after != generation_before {
            due.clear();
        }
        due.extend(integer(before, "due_at").filter(|_| generation_after == generation_before));
        if text(after, "status") == "needs_reauthorization" {
            self.ended.insert(place.0.clone());
        }
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        if is_revoked(before) {
            let all: Vec<_> = names.iter().filter(|name| changed(name)).map(|name| name.as_str()).collect();
            let allowed: &[&str] = if text(before, "status") == "revoking" { &CHANGES_AT_THE_END } else { &CHANGES_AFTER_THE_END };
            let allowed = all.iter().all(|name| allowed.contains(name));
            let forward =
                matches!((text(before, "status"), text(after, "status")), ("revoking", "revoking" | "deleted") | ("deleted", "deleted"));
            if changed("lease_owner") && after.contains_key("lease_owner") {
                complaints.push("a lease on what is revoked".to_owned());
            }
            if !(all.is_empty() || allowed && forward) {
                complaints.push(format!("a revoked authorization changed its {}", all.join(", ")));
            }
            self.look_at_news(place, before, after, by, complaints);
            return;
        }
        if changed("status") && of("version").1 == of("version").0 {
            complaints.push("the status changed, and the version did not".to_owned());
        }
        self.look_at_news(place, before, after, by, complaints);
        self.look_at_lease(before, after, by, complaints);
        let ends_somehow = text(before, "reason");
        if text(after, "status") == "active"
            && text(before, "status") == "needs_reauthorization"
            && !matches!(ends_somehow, "outcome_unknown" | "invalid_grant")
        {
            complaints.push(format!("{ends_somehow} was undone by a rescued credential"));
        }
        if changed("last_used_at") && generation_after == generation_before {
            self.notes += 1;
            self.used_since.extend(integer(after, "version").map(|version| (place.0.clone(), version)));
            let ends = integer(after, "access_expires_at").unwrap();
            let begun = ends - integer(after, "access_lifetime").unwrap() * 1000;
            if let (Some(noted), Some(now)) = of("last_used_at")
                && now - noted < 3_600_000
                && noted >= begun
            {
                complaints.push("a use of the same token was noted twice within an hour".to_owned());
            }
            if text(after, "status") != "active" {
                complaints.push("a use was noted of what is not active".to_owned());
            }
            // It brings forward what is due later, and leaves what was due before.
            let ahead = schedule::ahead_of(&id_of(place), at(begun), at(ends)).unix_timestamp();
            let before = &self.due[&place.0];
            if changed("due_at") && integer(after, "due_at").is_none_or(|due| due != ahead && !before.contains(&due)) {
                complaints.push("the schedule was set by a token that is not the stored one".to_owned());
            }
        }
    }

    /// A change of status is noted by the write that makes it, the note goes only if the bus was told, and until then the record is due.
    /// Whoever takes the note away puts off nothing that somebody else has planned.
    fn look_at_news(&self, place: &Place, before: &Item, after: &Item, by: &Written<'_>, complaints: &mut Vec<String>) {
        let (had, has) = (news(before), news(after));
        let untold = |version: &i64| !self.announced.contains(&format!("{}.{version}", id_of(place)));
        let changes = text(before, "status") != text(after, "status") && text(after, "status") != "deleted";
        if changes && integer(after, "version").is_none_or(|version| !has.contains(&version)) {
            complaints.push("the status changed, and nobody will be told".to_owned());
        }
        if had.difference(&has).any(untold) {
            complaints.push("a change of status was forgotten before anybody was told".to_owned());
        }
        if !has.is_empty() && !after.contains_key("due_at") {
            complaints.push("there is something to tell, and the record is not due".to_owned());
        }
        let notes = by.names.contains(&"note an announcement");
        let (due_before, due_after) = (integer(before, "due_at"), integer(after, "due_at"));
        if notes && text(before, "status") == "active" && due_before != due_after {
            let planned = before.contains_key("lease_owner") || before.contains_key("failed_attempts");
            let used = had.iter().any(|version| self.used_since.contains(&(place.0.clone(), *version)));
            if planned || used || by.read_version != integer(before, "version") {
                complaints.push("a note of an announcement put off what somebody else had planned".to_owned());
            }
        }
    }

    /// A living lease belongs to its owner: only a revocation takes it away.
    fn look_at_lease(&mut self, before: &Item, after: &Item, by: &Written<'_>, complaints: &mut Vec<String>) {
        let (had, has) = (text(before, "lease_owner"), text(after, "lease_owner"));
        let until = integer(before, "lease_until").unwrap_or_default();
        if had != has && !had.is_empty() && until > by.now + SKEW && by.owner != Some(had) && !is_revoked(after) {
            complaints.push("a living lease was taken from its owner".to_owned());
        }
        if had != has && !has.is_empty() {
            self.owners.insert(has.to_owned(), by.task);
            if text(after, "status") != "active" {
                complaints.push("a lease on what is not active".to_owned());
            }
            if !had.is_empty() && !after.contains_key("outcome_unknown_since") {
                complaints.push("a lease was taken over without a doubt about the refresh token".to_owned());
            }
            let due = integer(before, "due_at").unwrap_or(i64::MAX);
            if by.sweeps && due > (by.now + SKEW) / 1000 {
                complaints.push("the schedule refreshes what is not due".to_owned());
            }
        }
    }

    /// At the end of what happened at once: nobody has a lease in a history without faults, and no token is lost silently.
    pub fn end_of_concurrency(world: &mut World) {
        let mut complaints = Vec::new();
        let eventless = !world.faults.happened;
        for item in world.table.items.values().filter(|item| text(item, "sk") == "AUTH" && text(item, "status") == "active") {
            if eventless && item.contains_key("lease_owner") {
                complaints.push("a lease was left behind though nothing went wrong".to_owned());
            }
            let Some(stored) = item.get("sealed_refresh").map(|value| token_in(value["B"].as_str().unwrap())) else { continue };
            let (of, number) = Provider::parse(&stored);
            let doubted = item.contains_key("lease_owner") || item.contains_key("outcome_unknown_since");
            let rescued = world.rescued.iter().any(|(rescued, _)| text(item, "pk").ends_with(rescued.authorization.as_str()));
            let grant = &world.provider.grants[of];
            if !(grant.withdrawn || doubted || rescued || world.watch.rescue_lost || world.provider.lives(&stored)) {
                let successors = grant.refresh.len() - 1 - number;
                complaints.push(format!("a refresh token was lost silently: {stored} is stored, with {successors} after it"));
            }
        }
        world.watch.violations.extend(complaints);
    }

    /// When the schedule has finished: no refresh token of a revoked authorization lives, unless whoever had it died with it (I12).
    /// What a provider gave for somebody else is given back to it once; a request that is lost then is not repeated by anybody.
    pub fn end_of_all(world: &mut World) {
        let mut complaints = Vec::new();
        for item in world.table.items.values().filter(|item| text(item, "sk") == "AUTH" && is_revoked(item)) {
            if !news(item).is_empty() {
                complaints.push("a revoked authorization has something left to tell".to_owned());
            }
            if text(item, "status") == "deleted"
                && ["sealed_access", "sealed_refresh", "due_at", "org_sk"].iter().any(|a| item.contains_key(*a))
            {
                complaints.push("a tombstone has kept what was to go".to_owned());
            }
            let of: usize = text(item, "user_id").parse().unwrap();
            let grant = &world.provider.grants[of];
            for (number, token) in grant.refresh.iter().enumerate().filter(|(_, token)| token.chain == grant.chain) {
                let with_the_dead = token.lost || token.holder.is_some_and(|task| world.tasks[task].crashed) || world.watch.rescue_lost;
                if token.spent_at.is_none() && !token.revoked && !token.anothers && !with_the_dead {
                    complaints.push(format!("rt-{of}-{number} of a revoked authorization was not revoked"));
                }
            }
        }
        world.watch.violations.extend(complaints);
    }
}

/// The versions whose change of status is still to be told.
pub fn news(item: &Item) -> BTreeSet<i64> {
    let listed = item.get("unannounced").and_then(|value| value["L"].as_array()).into_iter().flatten();
    let listed = listed.filter_map(|change| number(&change["M"]["version"])).map(|version| i64::try_from(version).unwrap());
    let revocation = item.get("unannounced_revocation").and_then(|_| integer(item, "version"));
    listed.chain(revocation).collect()
}

/// The refresh token that is stored for the grant of this one.
pub fn stored_refresh_token(table: &Table, presented: &str) -> Option<String> {
    let mut stored = table.items.values().filter_map(|item| item.get("sealed_refresh")).map(|value| token_in(value["B"].as_str().unwrap()));
    stored.find(|stored| Provider::parse(stored).0 == Provider::parse(presented).0)
}

/// I3, and no authorization is revoked while something is bound to it.
fn counted_exactly(table: &Table) -> Vec<String> {
    let mut counted: BTreeMap<&str, (i64, BTreeMap<String, i64>)> = BTreeMap::new();
    for binding in table.items.values().filter(|item| text(item, "sk") == "BINDING") {
        let of = counted.entry(text(binding, "auth_id")).or_default();
        of.0 += 1;
        for scope in scopes(binding.get("required_scopes"), "L") {
            *of.1.entry(scope).or_default() += 1;
        }
    }
    let mut complaints = Vec::new();
    for (place, item) in table.items.iter().filter(|(place, _)| place.1 == "AUTH") {
        let expected = counted.remove(id_of(place).as_str()).unwrap_or_default();
        let required = item.get("required_scopes").and_then(|value| value["M"].as_object()).into_iter().flatten();
        let required: BTreeMap<String, i64> = required
            .map(|(scope, count)| (scope.clone(), i64::try_from(number(count).unwrap()).unwrap()))
            .filter(|(_, n)| *n != 0)
            .collect();
        let count = integer(item, "binding_count").unwrap_or_default();
        if is_revoked(item) && expected.0 > 0 {
            complaints.push("a revoked authorization is bound".to_owned());
        }
        if (count, &required) != (expected.0, &expected.1) {
            complaints.push(format!("counted {count} {required:?}, bound {expected:?}"));
        }
    }
    if !counted.is_empty() {
        complaints.push("bindings of nobody".to_owned());
    }
    complaints
}

/// Whoever takes a binding on is active and grants what it requires.
fn look_at_binding(table: &Table, place: &Place, before: Option<&Item>, after: &Item, complaints: &mut Vec<String>) {
    let same = before.is_some_and(|before| {
        text(before, "auth_id") == text(after, "auth_id") && before.get("required_scopes") == after.get("required_scopes")
    });
    if same {
        return;
    }
    let organization = place.0.split("#WF#").next().unwrap();
    let owner = (format!("{organization}#AUTH#{}", text(after, "auth_id")), "AUTH".to_owned());
    let Some(owner) = table.items.get(&owner) else { return complaints.push("bound to nothing".to_owned()) };
    if text(owner, "status") != "active" {
        complaints.push(format!("bound to what is {}", text(owner, "status")));
    }
    if !scopes(owner.get("scopes"), "SS").is_superset(&scopes(after.get("required_scopes"), "L")) {
        complaints.push("bound to what does not grant the required scopes".to_owned());
    }
}
