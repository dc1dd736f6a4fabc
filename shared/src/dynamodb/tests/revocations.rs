use time::Duration;

use super::support::*;
use crate::domain::authorization::Status;
use crate::domain::schedule::shard;
use crate::dynamodb::keys::Key;
use crate::ports::store::*;

#[tokio::test]
async fn s84_a_revocation_waits_for_the_last_binding() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let bound = binding(&read, "fl_1", "read");
    table.bind(&bound, None).await.unwrap();
    let refused = table.begin_revocation(&read.organization, &read.id, "a", NOW).await.unwrap();
    assert!(matches!(refused, RevocationStart::InUse { binding_count: 1 }));
    assert!(table.unbind(&bound).await.unwrap());

    table.claim_refresh(&read, &lease("a"), NOW).await.unwrap();
    let RevocationStart::Begun(begun) = table.begin_revocation(&read.organization, &read.id, "a", NOW).await.unwrap() else {
        panic!("not begun")
    };
    assert_eq!((begun.status, begun.version, begun.revoked_at), (Status::Revoking, 2, Some(NOW)));
    assert_eq!((&begun.credential, &begun.lease), (&read.credential, &None));
    let lost_answer = table.begin_revocation(&read.organization, &read.id, "a", NOW).await.unwrap();
    assert!(matches!(lost_answer, RevocationStart::Begun(_)), "an own beginning is recognized");
    let again = table.begin_revocation(&read.organization, &read.id, "b", NOW).await.unwrap();
    assert!(matches!(again, RevocationStart::AlreadyRevoked { tombstone_until: None }));
    let unknown = table.begin_revocation(&organization("org_2"), &read.id, "a", NOW).await.unwrap();
    assert!(matches!(unknown, RevocationStart::Missing));
    // Should this process die, the sweep finishes.
    let due = table.due(shard(&read.id), NOW + Duration::minutes(5), 10, None).await.unwrap();
    assert_eq!(due.len(), 1);
}

#[tokio::test]
async fn s87_after_a_revocation_no_ciphertext_is_left_and_the_audit_fields_are() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let RevocationStart::Begun(mut begun) = table.begin_revocation(&read.organization, &read.id, "a", NOW).await.unwrap() else {
        panic!("not begun")
    };
    begun.unannounced.clear();
    let page = PageQuery { after: None, limit: 10, bindings_each: 25 };
    assert_eq!(table.page(&read.organization, &page).await.unwrap().entries[0].status, Status::Revoking);

    table.postpone_revocation(&begun, Kept::Both, NOW + Duration::minutes(5)).await.unwrap();
    assert_eq!(reread(&table, &read).await.credential, read.credential);
    table.postpone_revocation(&begun, Kept::RefreshToken, NOW + Duration::HOUR).await.unwrap();
    let kept = reread(&table, &read).await;
    assert_eq!(kept.credential.as_ref().map(|c| (c.access.is_some(), c.refresh.is_some())), Some((false, true)));
    assert_eq!(kept.due_at, Some(NOW + Duration::HOUR));

    table.finish_revocation(&begun, NOW).await.unwrap();
    table.finish_revocation(&begun, NOW).await.unwrap();
    table.postpone_revocation(&begun, Kept::RefreshToken, NOW).await.unwrap();
    let tombstone = reread(&table, &read).await;
    assert_eq!((tombstone.status, &tombstone.credential, tombstone.due_at), (Status::Deleted, &None, None));
    assert_eq!((&tombstone.identity.email, &tombstone.identity.person), (&None, &read.identity.person));
    let row = table.get("look", Key::authorization(&read.organization, &read.id)).await.unwrap().unwrap();
    assert!(!format!("{row:?}").contains("sealed_"));
    assert!(table.page(&read.organization, &page).await.unwrap().entries.is_empty());

    let again = table.begin_revocation(&read.organization, &read.id, "a", NOW).await.unwrap();
    assert!(matches!(again, RevocationStart::AlreadyRevoked { tombstone_until: Some(until) } if until == NOW + Duration::days(30)));
    let refused = table.bind(&binding(&read, "fl_1", "read"), None).await.unwrap();
    assert!(matches!(refused, BindOutcome::Refused(Some(BindObstacle { status: Status::Deleted, .. }))));
    assert!(table.finish_revocation(&stored(&table, authorization("org_1", 2)).await, NOW).await.is_err());
}
