use super::support::*;
use crate::domain::authorization::{Reason, Status};
use crate::domain::scopes::Scopes;
use crate::ports::store::*;

#[tokio::test]
async fn a_bind_counts_itself_and_its_scopes() {
    let (table, _) = table().await;
    let to = stored(&table, authorization("org_1", 1)).await;
    let bound = binding(&to, "fl_1", "read https://www.example.com/auth/x.y");
    assert!(matches!(table.bind(&bound, None).await.unwrap(), BindOutcome::Bound));
    assert_eq!(table.binding(&to.organization, &bound.workflow).await.unwrap(), Some(bound.clone()));
    assert_eq!(table.binding(&organization("org_2"), &bound.workflow).await.unwrap(), None);
    let found = reread(&table, &to).await;
    assert_eq!((found.binding_count, required(&found).as_str()), (1, "https://www.example.com/auth/x.y:1 read:1"));
    let (authorization, binding) = table.authorization_with_binding(&to.organization, &to.id, &bound.workflow).await.unwrap();
    assert_eq!((authorization.map(|a| a.id), binding), (Some(to.id.clone()), Some(bound.clone())));
    let (authorization, binding) = table.authorization_with_binding(&organization("org_2"), &to.id, &bound.workflow).await.unwrap();
    assert!(authorization.is_none() && binding.is_none());

    assert!(table.unbind(&bound).await.unwrap());
    assert!(!table.unbind(&bound).await.unwrap());
    let found = reread(&table, &to).await;
    assert_eq!((found.binding_count, required(&found).as_str()), (0, ""));
}

#[tokio::test]
async fn a_bind_is_refused_by_what_stands_in_the_way() {
    let (table, _) = table().await;
    let to = stored(&table, authorization("org_1", 1)).await;
    let too_much = table.bind(&binding(&to, "fl_1", "read admin"), None).await.unwrap();
    assert!(matches!(too_much, BindOutcome::Refused(Some(obstacle)) if obstacle.status == Status::Active && obstacle.scopes == to.scopes));
    assert!(table.mark_needs_reauthorization(&to, Reason::InvalidGrant, NOW).await.unwrap().is_some());
    let not_active = table.bind(&binding(&to, "fl_1", ""), None).await.unwrap();
    assert!(matches!(not_active, BindOutcome::Refused(Some(obstacle)) if obstacle.status.reason() == Some(Reason::InvalidGrant)));
    let mut unknown = binding(&to, "fl_1", "read");
    unknown.authorization = id(9);
    assert!(matches!(table.bind(&unknown, None).await.unwrap(), BindOutcome::Refused(None)));
    unknown.authorization = to.id.clone();
    unknown.organization = organization("org_2");
    assert!(matches!(table.bind(&unknown, None).await.unwrap(), BindOutcome::Refused(None)));
    let mut no_scopes = authorization("org_1", 2);
    no_scopes.scopes = Scopes::default();
    let no_scopes = stored(&table, no_scopes).await;
    assert!(matches!(table.bind(&binding(&no_scopes, "fl_1", "read"), None).await.unwrap(), BindOutcome::Refused(Some(_))));
    assert!(matches!(table.bind(&binding(&no_scopes, "fl_1", ""), None).await.unwrap(), BindOutcome::Bound));
    assert_eq!(table.binding(&organization("org_2"), &workflow("fl_1")).await.unwrap(), None);
}

#[tokio::test]
async fn a_refused_rebind_leaves_the_binding_and_both_counts_as_they_were() {
    let (table, _) = table().await;
    let old = stored(&table, authorization("org_1", 1)).await;
    let mut narrow = authorization("org_1", 2);
    narrow.scopes = Scopes::parse("read").unwrap();
    let narrow = stored(&table, narrow).await;
    let ended = stored(&table, authorization("org_1", 3)).await;
    assert!(table.mark_needs_reauthorization(&ended, Reason::InvalidGrant, NOW).await.unwrap().is_some());
    let before = binding(&old, "fl_1", "read write");
    table.bind(&before, None).await.unwrap();
    for to in [&narrow, &ended] {
        let wanted = binding(to, "fl_1", "read write");
        for previous in [None, Some(&before)] {
            assert!(matches!(table.bind(&wanted, previous).await.unwrap(), BindOutcome::Refused(Some(_))));
        }
        assert_eq!((reread(&table, to).await.binding_count, required(&reread(&table, to).await).as_str()), (0, ""));
    }
    assert_eq!(table.binding(&old.organization, &before.workflow).await.unwrap(), Some(before));
    let found = reread(&table, &old).await;
    assert_eq!((found.binding_count, required(&found).as_str()), (1, "read:1 write:1"));
}

#[tokio::test]
async fn a_rebind_moves_the_counts_in_two_calls() {
    let (table, calls) = table().await;
    let old = stored(&table, authorization("org_1", 1)).await;
    let new = stored(&table, authorization("org_1", 2)).await;
    let before = binding(&old, "fl_1", "read write");
    table.bind(&before, None).await.unwrap();

    let after = binding(&new, "fl_1", "read");
    calls.take();
    let BindOutcome::Changed(Some(present)) = table.bind(&after, None).await.unwrap() else { panic!("not told how it is bound") };
    assert_eq!(*present, before);
    assert!(matches!(table.bind(&after, Some(&present)).await.unwrap(), BindOutcome::Bound));
    assert_eq!(calls.take(), 2);
    let (old, new) = (reread(&table, &old).await, reread(&table, &new).await);
    assert_eq!((old.binding_count, required(&old).as_str()), (0, ""));
    assert_eq!((new.binding_count, required(&new).as_str()), (1, "read:1"));

    // What was expected is no longer so.
    assert!(matches!(table.bind(&before, Some(&before)).await.unwrap(), BindOutcome::Changed(Some(present)) if *present == after));
    assert!(!table.unbind(&before).await.unwrap());
    assert!(table.unbind(&after).await.unwrap());
    assert!(matches!(table.bind(&before, Some(&after)).await.unwrap(), BindOutcome::Changed(None)));
}

#[tokio::test]
async fn binding_the_same_authorization_again_adjusts_its_scopes_only() {
    let (table, _) = table().await;
    let to = stored(&table, authorization("org_1", 1)).await;
    let first = binding(&to, "fl_1", "read write");
    table.bind(&first, None).await.unwrap();
    assert!(matches!(table.bind(&first, Some(&first)).await.unwrap(), BindOutcome::Bound), "repeating it is harmless");
    let second = binding(&to, "fl_1", "write https://www.example.com/auth/x.y");
    assert!(matches!(table.bind(&second, Some(&first)).await.unwrap(), BindOutcome::Bound));
    let found = reread(&table, &to).await;
    assert_eq!((found.binding_count, required(&found).as_str()), (1, "https://www.example.com/auth/x.y:1 write:1"));
    assert!(matches!(table.bind(&first, Some(&first)).await.unwrap(), BindOutcome::Changed(Some(_))), "other scopes than expected");
    assert!(!table.unbind(&first).await.unwrap());
    assert!(matches!(table.bind(&binding(&to, "fl_1", "admin"), Some(&second)).await.unwrap(), BindOutcome::Refused(Some(_))));
}

#[tokio::test]
async fn s91_what_assign_reads_of_an_authorization_has_no_ciphertext() {
    let (table, _) = table().await;
    let to = stored(&table, authorization("org_1", 1)).await;
    let read = table.authorization_to_bind(&to.organization, &to.id).await.unwrap().unwrap();
    let mut expected = to.clone();
    expected.credential = None;
    assert_eq!(format!("{read:?}"), format!("{expected:?}"));
    assert!(table.authorization_to_bind(&organization("org_2"), &to.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_binding_can_require_a_hundred_scopes_and_exchange_fifty_for_another_fifty() {
    let (table, _) = table().await;
    let scopes =
        |range: std::ops::Range<u8>| range.map(|n| format!("https://www.example.com/auth/scope-number-{n}")).collect::<Vec<_>>().join(" ");
    let mut to = authorization("org_1", 1);
    to.scopes = Scopes::parse(&scopes(0..100)).unwrap();
    let to = stored(&table, to).await;
    let all = binding(&to, "fl_1", &scopes(0..100));
    assert!(matches!(table.bind(&all, None).await.unwrap(), BindOutcome::Bound));
    assert!(table.unbind(&all).await.unwrap());
    let (one, other) = (binding(&to, "fl_1", &scopes(0..50)), binding(&to, "fl_1", &scopes(50..100)));
    assert!(matches!(table.bind(&one, None).await.unwrap(), BindOutcome::Bound));
    assert!(matches!(table.bind(&other, Some(&one)).await.unwrap(), BindOutcome::Bound));
    assert_eq!(reread(&table, &to).await.required(), other.required_scopes);
}
