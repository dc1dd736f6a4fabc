use std::sync::Arc;

use time::Duration;

use super::super::Table;
use super::super::change::Change;
use super::super::keys::Key;
use super::super::values::{n, s};
use super::super::write::Written;
use super::support::*;
use crate::domain::authorization::{Authorization, Lease, Reason, Status};
use crate::domain::schedule::shard;
use crate::ports::clock::Clock;
use crate::ports::store::{Committed, DueClaim, DueItem, DueQueue, RefreshFailure, RefreshStore, Repair, Rescued, RevocationStore};
use crate::system::SystemClock;

#[tokio::test]
async fn a_claim_needs_the_version_as_read_and_no_live_lease() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let mut older = read.clone();
    older.version = 0;
    assert!(table.claim_refresh(&older, &lease("a"), NOW).await.unwrap().is_none());

    let claimed = table.claim_refresh(&read, &lease("a"), NOW).await.unwrap().unwrap();
    assert_eq!(claimed.lease, Some(lease("a")));
    assert_eq!((claimed.version, claimed.outcome_unknown_since), (1, None));
    let due = lease("a").until.replace_nanosecond(0).unwrap();
    assert_eq!(claimed.due_at, Some(due), "if nothing else is heard of it");
    assert!(table.claim_refresh(&read, &lease("a"), NOW).await.unwrap().is_some(), "an answer was lost");
    assert!(table.claim_refresh(&read, &lease("b"), NOW).await.unwrap().is_none());
    assert!(table.claim_refresh(&claimed, &lease("b"), NOW).await.unwrap().is_none());

    // The holder died; whoever takes over knows it.
    let later = NOW + Duration::minutes(1);
    let taken = table.claim_refresh(&claimed, &lease("b"), later).await.unwrap().unwrap();
    assert_eq!(taken.outcome_unknown_since, Some(later));
    assert!(table.claim_refresh(&claimed, &lease("c"), later).await.unwrap().is_none());
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_no_claim_of_a_record_that_has_moved_on() {
    for (name, value) in [("version", n(9)), ("status", s("revoking"))] {
        let (table, _) = table().await;
        let read = stored(&table, authorization("org_1", 1)).await;
        assert!(table.claim_refresh(&read, &lease("a"), NOW).await.unwrap().is_some());
        let moved = Change::of(Key::authorization(&read.organization, &read.id)).set(name, value).when("#lease_owner = :owner");
        assert!(matches!(table.update("move on", moved.value(":owner", s("a"))).await.unwrap(), Written::Done(_)));
        assert!(table.claim_refresh(&read, &lease("a"), NOW).await.unwrap().is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_commit_stores_everything_at_the_next_version() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let claimed = table.claim_refresh(&read, &lease("a"), NOW).await.unwrap().unwrap();
    assert!(matches!(table.commit_refresh(&claimed, &commit()).await.unwrap(), Committed::Stored));
    assert!(matches!(table.commit_refresh(&claimed, &commit()).await.unwrap(), Committed::Stored), "an answer was lost");

    let found = reread(&table, &read).await;
    let mut expected = read.clone();
    let commit = commit();
    expected.version = 2;
    expected.generation = 2;
    expected.credential = Some(commit.credential);
    expected.scopes = commit.scopes;
    expected.access_expires_at = commit.access_expires_at;
    expected.access_lifetime = commit.access_lifetime;
    expected.reauthorize_by = commit.reauthorize_by;
    expected.last_refreshed_at = Some(NOW);
    expected.due_at = Some(commit.due_at);
    assert_eq!(format!("{found:?}"), format!("{expected:?}"));
}

#[tokio::test]
async fn s66_an_old_commit_never_overwrites_a_newer_record() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let mine = table.claim_refresh(&read, &lease("a"), NOW).await.unwrap().unwrap();
    let theirs = table.claim_refresh(&mine, &lease("b"), NOW + Duration::minutes(1)).await.unwrap().unwrap();
    assert!(matches!(table.commit_refresh(&mine, &commit()).await.unwrap(), Committed::Superseded));
    assert!(matches!(table.commit_refresh(&theirs, &commit()).await.unwrap(), Committed::Stored));
    assert!(matches!(table.commit_refresh(&mine, &commit()).await.unwrap(), Committed::Superseded));
    assert_eq!(reread(&table, &read).await.generation, 2);
    assert!(matches!(table.commit_refresh(&read, &commit()).await.unwrap(), Committed::Superseded), "no lease at all");
}

#[tokio::test]
async fn s85_no_commit_after_a_revocation() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let claimed = table.claim_refresh(&read, &lease("a"), NOW).await.unwrap().unwrap();
    table.begin_revocation(&read.organization, &read.id, "a", NOW).await.unwrap();
    assert!(matches!(table.commit_refresh(&claimed, &commit()).await.unwrap(), Committed::Superseded));
    assert!(table.mark_needs_reauthorization(&claimed, Reason::InvalidGrant, NOW).await.unwrap().is_none());
    table.release_refresh(&claimed, &RefreshFailure { due_at: NOW, outcome_unknown_since: Some(NOW) }).await.unwrap();
    table.mark_used(&read, NOW, Some(NOW)).await.unwrap();
    let found = reread(&table, &read).await;
    assert_eq!((found.status, found.failed_attempts, found.last_used_at), (Status::Revoking, 0, None));
    assert_eq!(found.due_at, Some(NOW + Duration::minutes(5)));
}

#[tokio::test]
async fn a_release_counts_the_failure_once_and_keeps_the_earliest_doubt() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let claimed = table.claim_refresh(&read, &lease("a"), NOW).await.unwrap().unwrap();
    let failure = RefreshFailure { due_at: NOW + Duration::MINUTE, outcome_unknown_since: Some(NOW) };
    table.release_refresh(&claimed, &failure).await.unwrap();
    table.release_refresh(&claimed, &failure).await.unwrap();
    let found = reread(&table, &read).await;
    assert_eq!((found.failed_attempts, found.lease.is_none(), found.outcome_unknown_since), (1, true, Some(NOW)));
    assert_eq!((found.due_at, found.version), (Some(NOW + Duration::MINUTE), 1));

    let claimed = table.claim_refresh(&found, &lease("b"), NOW).await.unwrap().unwrap();
    let failure = RefreshFailure { due_at: NOW, outcome_unknown_since: Some(NOW + Duration::MINUTE) };
    table.release_refresh(&claimed, &failure).await.unwrap();
    let found = reread(&table, &read).await;
    assert_eq!((found.failed_attempts, found.outcome_unknown_since), (2, Some(NOW)));
}

#[tokio::test]
async fn s88_a_refusal_for_good_is_written_once_and_keeps_the_tokens() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let claimed = table.claim_refresh(&read, &lease("a"), NOW).await.unwrap().unwrap();
    assert!(table.mark_needs_reauthorization(&read, Reason::InvalidGrant, NOW).await.unwrap().is_none(), "somebody is refreshing it");
    assert!(table.mark_needs_reauthorization(&claimed, Reason::InvalidGrant, NOW).await.unwrap().is_some());
    assert!(table.mark_needs_reauthorization(&claimed, Reason::InvalidGrant, NOW).await.unwrap().is_some(), "an answer was lost");
    assert!(table.mark_needs_reauthorization(&claimed, Reason::OutcomeUnknown, NOW).await.unwrap().is_none());
    let found = reread(&table, &read).await;
    assert_eq!(found.status, Status::NeedsReauthorization(Reason::InvalidGrant));
    assert_eq!((found.version, &found.lease), (2, &None));
    assert_eq!(found.credential, read.credential);
    assert!(table.mark_needs_reauthorization(&found, Reason::InvalidGrant, NOW).await.unwrap().is_none());
    assert!(table.claim_refresh(&found, &lease("b"), NOW).await.unwrap().is_none());
}

#[tokio::test]
async fn a_hand_out_is_noted_once_per_hour() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let due = NOW + Duration::minutes(55);
    table.mark_used(&read, NOW, Some(due)).await.unwrap();
    let found = reread(&table, &read).await;
    assert_eq!((found.last_used_at, found.due_at), (Some(NOW), Some(due)));
    // Whoever read before does not write again.
    table.mark_used(&read, NOW + Duration::minutes(59), None).await.unwrap();
    assert_eq!(reread(&table, &read).await.last_used_at, Some(NOW));
    let later = NOW + Duration::minutes(60);
    table.mark_used(&found, later, None).await.unwrap();
    assert_eq!(reread(&table, &read).await.last_used_at, Some(later));
}

#[tokio::test]
async fn due_items_come_oldest_first_page_by_page_and_only_when_due() {
    let (table, _) = table().await;
    let of = |number: u16| (shard(&id(number)) == 7).then_some(number);
    let mine: Vec<u16> = (1..400).filter_map(of).take(5).collect();
    let mut expected = Vec::new();
    for (at, number) in mine.iter().enumerate() {
        let mut authorization = authorization("org:1/~!", *number);
        authorization.due_at = Some(NOW - Duration::minutes(i64::try_from(at).unwrap()) + Duration::MINUTE);
        let stored = stored(&table, authorization).await;
        expected.push(DueItem { organization: stored.organization, authorization: stored.id, due_at: stored.due_at.unwrap() });
    }
    expected.remove(0); // due in a minute
    expected.reverse();
    assert_eq!(table.due(7, NOW, 100, None).await.unwrap(), expected);
    let first = table.due(7, NOW, 2, None).await.unwrap();
    let rest = table.due(7, NOW, 100, first.last()).await.unwrap();
    assert_eq!([first, rest].concat(), expected);
    assert!(table.due(8, NOW, 100, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_due_item_is_claimed_without_a_read() {
    let (table, calls) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let item = DueItem { organization: read.organization.clone(), authorization: read.id.clone(), due_at: read.due_at.unwrap() };
    let not_yet = table.claim_due(&item, &lease("a"), NOW).await.unwrap();
    assert!(matches!(not_yet, DueClaim::Otherwise(Some(present)) if present.lease.is_none()));

    let then = item.due_at;
    let mut live = lease("a");
    live.until = then + Duration::MINUTE;
    calls.take();
    assert!(
        matches!(table.claim_due(&item, &live, then).await.unwrap(), DueClaim::Claimed(claimed) if claimed.lease == Some(live.clone()))
    );
    assert_eq!(calls.take(), 1);
    assert!(matches!(table.claim_due(&item, &live, then).await.unwrap(), DueClaim::Claimed(_)), "an answer was lost");
    assert!(matches!(table.claim_due(&item, &lease("b"), then).await.unwrap(), DueClaim::Otherwise(Some(_))));
    // The holder dies. That is for whoever knows what the rescue queue holds.
    let later = then + Duration::minutes(2);
    let DueClaim::Otherwise(Some(abandoned)) = table.claim_due(&item, &lease("b"), later).await.unwrap() else { panic!() };
    assert_eq!(abandoned.lease, Some(live));
    let taken = table.claim_refresh(&abandoned, &lease("b"), later).await.unwrap().unwrap();
    assert_eq!(taken.outcome_unknown_since, Some(later));

    let missing = DueItem { authorization: id(9), ..item.clone() };
    assert!(matches!(table.claim_due(&missing, &lease("b"), later).await.unwrap(), DueClaim::Otherwise(None)));
    table.begin_revocation(&read.organization, &read.id, "a", NOW).await.unwrap();
    let revoking = table.claim_due(&item, &lease("c"), later).await.unwrap();
    assert!(matches!(revoking, DueClaim::Otherwise(Some(present)) if present.status == Status::Revoking));
}

/// A commit of this attempt that the table did not take.
fn rescued(claimed: &Authorization) -> Rescued {
    Rescued {
        organization: claimed.organization.clone(),
        authorization: claimed.id.clone(),
        generation: claimed.generation,
        owner: claimed.lease.clone().unwrap().owner,
        connection: claimed.connection.clone(),
        commit: commit(),
    }
}

#[tokio::test]
async fn a_rescued_credential_is_stored_under_its_own_lease_and_once() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let claimed = table.claim_refresh(&read, &lease("a"), NOW).await.unwrap().unwrap();
    let rescued = rescued(&claimed);
    assert!(matches!(table.repair_refresh(&rescued, NOW).await.unwrap(), Repair::Stored(_)));
    assert!(matches!(table.repair_refresh(&rescued, NOW).await.unwrap(), Repair::Superseded), "the queue gives a message more than once");
    let found = reread(&table, &read).await;
    assert_eq!((found.status, found.version, found.generation), (Status::Active, 2, 2));
    assert_eq!((&found.credential, &found.lease), (&Some(commit().credential), &None));

    // A record that has gone on does not go back.
    let claimed = table.claim_refresh(&found, &lease("b"), NOW).await.unwrap().unwrap();
    table.commit_refresh(&claimed, &commit()).await.unwrap();
    assert!(matches!(table.repair_refresh(&rescued, NOW).await.unwrap(), Repair::Superseded));
    assert_eq!(reread(&table, &read).await.generation, 3);
}

#[tokio::test]
async fn a_rescued_credential_waits_for_whoever_has_taken_the_refresh_over() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let claimed = table.claim_refresh(&read, &lease("a"), NOW).await.unwrap().unwrap();
    let rescued = rescued(&claimed);
    let later = NOW + Duration::minutes(1);
    let live = Lease { owner: "b".to_owned(), until: later + Duration::seconds(30) };
    let taken = table.claim_refresh(&claimed, &live, later).await.unwrap().unwrap();
    // At a provider with a grace, b may be about to get the credential that replaces the rescued one.
    assert!(matches!(table.repair_refresh(&rescued, later).await.unwrap(), Repair::Busy));
    assert_eq!(reread(&table, &read).await.lease, Some(live));
    assert!(table.mark_needs_reauthorization(&taken, Reason::OutcomeUnknown, later).await.unwrap().is_some());
    assert!(matches!(table.repair_refresh(&rescued, later).await.unwrap(), Repair::Stored(_)));
    assert_eq!(reread(&table, &read).await.status, Status::Active);
}

#[tokio::test]
async fn a_rescued_credential_is_stored_in_doubt_if_whoever_took_over_died() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let claimed = table.claim_refresh(&read, &lease("a"), NOW).await.unwrap().unwrap();
    let later = NOW + Duration::minutes(1);
    let live = Lease { owner: "b".to_owned(), until: later + Duration::seconds(30) };
    table.claim_refresh(&claimed, &live, later).await.unwrap().unwrap();
    assert!(matches!(table.repair_refresh(&rescued(&claimed), live.until).await.unwrap(), Repair::Stored(_)));
    let found = reread(&table, &read).await;
    assert_eq!((found.generation, found.lease), (2, None));
    assert_eq!(found.outcome_unknown_since, Some(later), "b may have spent what a had rescued");
}

#[tokio::test]
async fn s85_a_rescued_credential_does_not_bring_back_what_is_revoked() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let claimed = table.claim_refresh(&read, &lease("a"), NOW).await.unwrap().unwrap();
    let rescued = rescued(&claimed);
    table.begin_revocation(&read.organization, &read.id, "a", NOW).await.unwrap();
    assert!(matches!(table.repair_refresh(&rescued, NOW).await.unwrap(), Repair::Revoked));
    let missing = Rescued { authorization: id(9), ..rescued };
    assert!(matches!(table.repair_refresh(&missing, NOW).await.unwrap(), Repair::Revoked));
    assert_eq!(reread(&table, &read).await.status, Status::Revoking);
}

#[tokio::test]
async fn a_record_that_does_not_open_is_noted_once_put_off_and_otherwise_left_as_it_is() {
    let (table, calls) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let tomorrow = NOW + Duration::DAY;
    calls.take();
    assert!(table.quarantine(&read, NOW, tomorrow).await.unwrap());
    assert_eq!(calls.take(), 1);
    let noted = reread(&table, &read).await;
    let expected = Authorization { due_at: Some(tomorrow), failed_attempts: 1, ..read.clone() };
    assert_eq!(format!("{noted:?}"), format!("{expected:?}"), "status and ciphertext stay");
    assert!(!table.quarantine(&read, NOW, tomorrow + Duration::DAY).await.unwrap(), "it is told once");
    assert_eq!(format!("{:?}", reread(&table, &read).await), format!("{noted:?}"));

    // Whoever holds the lease gives it back; and whoever does not, does not take it from others.
    let read = stored(&table, authorization("org_1", 2)).await;
    let claimed = table.claim_refresh(&read, &lease("a"), NOW).await.unwrap().unwrap();
    assert!(!table.quarantine(&Authorization { lease: Some(lease("b")), ..read.clone() }, NOW, tomorrow).await.unwrap());
    assert!(table.quarantine(&claimed, NOW, tomorrow).await.unwrap());
    assert_eq!(reread(&table, &read).await.lease, None);

    // A refresh that succeeds after all ends it, and it can be noted of the next generation.
    let claimed = table.claim_refresh(&reread(&table, &read).await, &lease("c"), NOW).await.unwrap().unwrap();
    assert!(matches!(table.commit_refresh(&claimed, &commit()).await.unwrap(), Committed::Stored));
    assert!(!table.quarantine(&read, NOW, tomorrow).await.unwrap(), "that generation is gone");
    assert!(table.quarantine(&reread(&table, &read).await, NOW, tomorrow).await.unwrap());
}

#[tokio::test]
async fn workers_whose_clocks_differ_agree_on_when_a_lease_ends() {
    let (table, _) = table().await;
    // The emulation tells the real time, so this is how far ahead or behind a worker's clock is.
    let skewed = |skew| table.clone().with_clock(Arc::new(Skewed(skew))).in_its_own_time();
    let (ahead, behind) = (skewed(Duration::minutes(5)), skewed(Duration::minutes(-5)));
    let read = stored(&ahead, authorization("org_1", 1)).await;
    reread(&behind, &read).await; // has heard the table's time by now
    let lease = |clock: &Table, owner: &str| Lease { owner: owner.to_owned(), until: clock.clock.now() + Duration::seconds(30) };
    let claimed = behind.claim_refresh(&read, &lease(&behind, "a"), behind.clock.now()).await.unwrap().unwrap();
    assert!(claimed.is_leased(behind.clock.now()));

    let seen = reread(&ahead, &read).await;
    assert!(seen.is_leased(ahead.clock.now()) && !seen.is_leased(ahead.clock.now() + Duration::minutes(1)));
    assert!(ahead.claim_refresh(&seen, &lease(&ahead, "b"), ahead.clock.now()).await.unwrap().is_none());
    let later = ahead.clock.now() + Duration::minutes(1);
    assert!(ahead.claim_refresh(&seen, &lease(&ahead, "b"), later).await.unwrap().is_some(), "a minute later it has ended");
}

/// The real time, and a bit.
struct Skewed(Duration);

#[async_trait::async_trait]
impl Clock for Skewed {
    fn now(&self) -> time::OffsetDateTime {
        SystemClock.now() + self.0
    }

    async fn sleep(&self, duration: Duration) {
        SystemClock.sleep(duration).await;
    }
}
