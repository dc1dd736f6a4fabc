use time::Duration;

use super::support::*;
use crate::domain::authorization::{Authorization, Reason, Status, StatusChange};
use crate::domain::schedule::{announced_by, shard};
use crate::dynamodb::Table;
use crate::ports::flows::{Flows, Renewal};
use crate::ports::store::*;

/// One that has ended, as the table has it.
async fn ended(table: &Table, number: u16) -> Authorization {
    let read = stored(table, authorization("org_1", number)).await;
    *table.mark_needs_reauthorization(&read, Reason::InvalidGrant, NOW).await.unwrap().unwrap()
}

/// One that is active again, and says so.
async fn revived(table: &Table, number: u16) -> Authorization {
    let due_at = Some(NOW + Duration::MINUTE);
    let unannounced = vec![StatusChange::revived(3, NOW)];
    stored(table, Authorization { version: 3, due_at, unannounced, ..authorization("org_1", number) }).await
}

async fn is_due(table: &Table, record: &Authorization) -> bool {
    let due = table.due(shard(&record.id), NOW + Duration::minutes(65), 100, None).await.unwrap();
    due.iter().any(|item| item.authorization == record.id)
}

fn left(record: &Authorization) -> Vec<(&'static str, Status, u64)> {
    record.unannounced.iter().map(|change| (change.from, change.to, change.version)).collect()
}

#[tokio::test]
async fn whatever_changes_a_status_notes_in_the_same_write_that_this_is_to_be_announced() {
    let (table, calls) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    calls.take();
    let ended = *table.mark_needs_reauthorization(&read, Reason::InvalidGrant, NOW).await.unwrap().unwrap();
    assert_eq!(calls.take(), 1);
    let end = ("active", Status::NeedsReauthorization(Reason::InvalidGrant), 2);
    assert_eq!(left(&ended), [end]);
    assert_eq!(ended.due_at, Some(announced_by(&read.id, NOW, NOW).replace_nanosecond(0).unwrap()));
    assert_eq!(format!("{ended:?}"), format!("{:?}", reread(&table, &read).await));
    assert!(is_due(&table, &ended).await);

    // A second change does not take the first one's place, nor does a third.
    let mut renewed = Authorization { status: Status::Active, version: 3, ..ended.clone() };
    renewed.unannounced.push(StatusChange::revived(3, NOW + Duration::MINUTE));
    let flow = flow("renew");
    table.claim_flow(&flow, "mine", NOW).await.unwrap();
    assert!(matches!(table.renew_authorization(&renewed, &flow, "mine", NOW).await.unwrap(), Renewal::Stored));
    let back = ("needs_reauthorization", Status::Active, 3);
    assert_eq!(left(&reread(&table, &read).await), [end, back]);
    let later = NOW + Duration::HOUR;
    let RevocationStart::Begun(begun) = table.begin_revocation(&read.organization, &read.id, "a", later).await.unwrap() else {
        panic!("not begun")
    };
    assert_eq!(left(&begun), [end, back, ("active", Status::Revoking, 4)]);
    assert_eq!(begun.unannounced.iter().map(|change| change.at).collect::<Vec<_>>(), [NOW, NOW + Duration::MINUTE, later]);
    assert!(is_due(&table, &begun).await);

    // What had ended says so when it is revoked.
    let read = stored(&table, authorization("org_1", 2)).await;
    table.mark_needs_reauthorization(&read, Reason::OutcomeUnknown, NOW).await.unwrap().unwrap();
    let begun = table.begin_revocation(&read.organization, &read.id, "a", later).await.unwrap();
    assert!(matches!(begun, RevocationStart::Begun(begun) if begun.unannounced[1].from == "needs_reauthorization"));
}

#[tokio::test]
async fn a_rescued_credential_is_news_where_the_authorization_had_ended_and_else_keeps_what_there_is() {
    let (table, _) = table().await;
    let ended = ended(&table, 1).await;
    let rescued = |of: &Authorization| Rescued {
        organization: of.organization.clone(),
        authorization: of.id.clone(),
        generation: of.generation,
        owner: "a".to_owned(),
        connection: of.connection.clone(),
        commit: commit(),
    };
    let Repair::Stored(repaired) = table.repair_refresh(&rescued(&ended), NOW).await.unwrap() else { panic!("not stored") };
    assert_eq!(left(&repaired).len(), 2);
    assert_eq!(left(&repaired)[1], ("needs_reauthorization", Status::Active, 3));
    assert!(is_due(&table, &repaired).await);
    let Repair::Stored(again) = table.repair_refresh(&rescued(&repaired), NOW).await.unwrap() else { panic!("not stored") };
    assert_eq!((left(&again), again.version), (left(&repaired), 4));
    assert!(is_due(&table, &again).await);

    let read = stored(&table, authorization("org_1", 2)).await;
    let Repair::Stored(plain) = table.repair_refresh(&rescued(&read), NOW).await.unwrap() else { panic!("not stored") };
    assert_eq!((left(&plain), plain.due_at), (Vec::new(), Some(commit().due_at)));
}

#[tokio::test]
async fn what_is_announced_is_taken_away_and_the_record_is_due_as_it_would_be_without() {
    let (table, calls) = table().await;
    let mut ended = ended(&table, 1).await;
    ended.unannounced.clear();
    calls.take();
    table.note_announced(&ended, None).await.unwrap();
    assert_eq!(calls.take(), 1);
    let found = reread(&table, &ended).await;
    assert_eq!((left(&found), found.due_at), (Vec::new(), None));
    assert!(!is_due(&table, &ended).await);

    let mut revived = revived(&table, 2).await;
    revived.unannounced.clear();
    let due_at = NOW + Duration::DAY;
    table.note_announced(&revived, Some(due_at)).await.unwrap();
    let found = reread(&table, &revived).await;
    assert_eq!((left(&found), found.due_at, found.version), (Vec::new(), Some(due_at), 3));
}

#[tokio::test]
async fn whoever_has_announced_undoes_nothing_that_others_have_done_meanwhile() {
    let (table, _) = table().await;
    let told = |record: &Authorization| Authorization { unannounced: Vec::new(), ..record.clone() };
    let due_at = Some(NOW + Duration::DAY);

    // Somebody is refreshing it: whoever dies at that is followed up by the schedule.
    let record = revived(&table, 1).await;
    table.claim_refresh(&record, &lease("a"), NOW).await.unwrap().unwrap();
    let before = format!("{:?}", reread(&table, &record).await);
    table.note_announced(&told(&record), due_at).await.unwrap();
    assert_eq!(format!("{:?}", reread(&table, &record).await), before);
    // Not even if it is due at that very second.
    let same = Authorization { due_at: reread(&table, &record).await.due_at, ..told(&record) };
    table.note_announced(&same, due_at).await.unwrap();
    assert_eq!(format!("{:?}", reread(&table, &record).await), before);

    // Somebody has failed to, and tries again soon.
    let record = revived(&table, 2).await;
    let claimed = table.claim_refresh(&record, &lease("a"), NOW).await.unwrap().unwrap();
    let failure = RefreshFailure { due_at: NOW + Duration::seconds(30), outcome_unknown_since: Some(NOW) };
    table.release_refresh(&claimed, &failure).await.unwrap();
    table.note_announced(&told(&record), due_at).await.unwrap();
    let found = reread(&table, &record).await;
    assert_eq!((found.due_at, left(&found).len()), (Some(failure.due_at), 1));

    // Somebody has used it, and it is due at that very second, or was used before.
    for (number, noted) in [(3, None), (4, Some(NOW - Duration::HOUR))] {
        let record = revived(&table, number).await;
        if let Some(before) = noted {
            table.mark_used(&record, before, None).await.unwrap();
        }
        let record = reread(&table, &record).await;
        table.mark_used(&record, NOW + Duration::MINUTE, record.due_at).await.unwrap();
        table.note_announced(&told(&record), due_at).await.unwrap();
        assert_eq!(left(&reread(&table, &record).await).len(), 1, "{number}");
    }

    // It has ended again, or is revoked.
    let record = revived(&table, 5).await;
    table.mark_needs_reauthorization(&record, Reason::InvalidGrant, NOW).await.unwrap().unwrap();
    let same = Authorization { due_at: reread(&table, &record).await.due_at, ..told(&record) };
    table.note_announced(&same, due_at).await.unwrap();
    assert_eq!(left(&reread(&table, &record).await).len(), 2);
}

#[tokio::test]
async fn whoever_holds_the_lease_writes_what_is_left_and_gives_it_back() {
    let (table, _) = table().await;
    let due_at = NOW + Duration::DAY;
    let failure = RefreshFailure { due_at, outcome_unknown_since: None };
    for told in [false, true] {
        let claimed = async |number| {
            let record = revived(&table, number).await;
            let mut claimed = table.claim_refresh(&record, &lease("a"), NOW).await.unwrap().unwrap();
            assert_eq!(left(&claimed).len(), 1);
            claimed.unannounced.retain(|_| !told);
            claimed
        };
        let at = 10 * u16::from(told);
        let one = claimed(at + 1).await;
        table.commit_refresh(&one, &commit()).await.unwrap();
        let two = claimed(at + 2).await;
        table.release_refresh(&two, &failure).await.unwrap();
        let three = claimed(at + 3).await;
        assert!(table.quarantine(&three, NOW, due_at).await.unwrap());
        let four = claimed(at + 4).await;
        table.note_announced(&four, Some(due_at)).await.unwrap();
        for record in [one, two, three, four] {
            let found = reread(&table, &record).await;
            assert_eq!((left(&found).is_empty(), found.lease), (told, None), "{}", record.id);
        }
        // Whose lease was taken over has nothing to write.
        let taken = claimed(at + 5).await;
        let other = table.claim_refresh(&taken, &lease("b"), NOW + Duration::MINUTE).await.unwrap().unwrap();
        table.note_announced(&taken, Some(due_at)).await.unwrap();
        assert_eq!((left(&reread(&table, &taken).await).len(), reread(&table, &taken).await.lease), (1, other.lease));
    }
}

#[tokio::test]
async fn a_tombstone_stays_due_for_as_long_as_it_has_something_to_tell() {
    let (table, _) = table().await;
    let begun = async |number| {
        let read = stored(&table, authorization("org_1", number)).await;
        match table.begin_revocation(&read.organization, &read.id, "a", NOW).await.unwrap() {
            RevocationStart::Begun(begun) => *begun,
            other => panic!("{other:?}"),
        }
    };
    let silent = begun(1).await;
    table.finish_revocation(&silent, NOW).await.unwrap();
    let mut tombstone = reread(&table, &silent).await;
    assert_eq!(left(&tombstone), [("active", Status::Revoking, 2)]);
    assert!(is_due(&table, &tombstone).await);
    assert_eq!((tombstone.status, &tombstone.credential), (Status::Deleted, &None));
    tombstone.unannounced.clear();
    table.note_announced(&tombstone, None).await.unwrap();
    let tombstone = reread(&table, &silent).await;
    assert_eq!((left(&tombstone), tombstone.due_at), (Vec::new(), None));

    // What the bus has taken goes with the next write, which comes anyway.
    let mut told = begun(2).await;
    told.unannounced.clear();
    table.postpone_revocation(&told, Kept::Both, NOW + Duration::minutes(2)).await.unwrap();
    assert_eq!(left(&reread(&table, &told).await), []);
    table.finish_revocation(&told, NOW).await.unwrap();
    assert_eq!(reread(&table, &told).await.due_at, None);
    let kept = begun(3).await;
    table.postpone_revocation(&kept, Kept::Both, NOW + Duration::minutes(2)).await.unwrap();
    assert_eq!(left(&reread(&table, &kept).await).len(), 1);
}
