//! Branch keys in the table.

use time::Duration;

use super::support::*;
use crate::domain::ids::OrganizationId;
use crate::domain::schedule::BRANCH_KEY_SEALS_FOR;
use crate::ports::cipher::{BranchKeys as _, KeyDue, Sealing, WrappedBranchKey};
use crate::ports::store::DueQueue as _;

fn org(name: &str) -> OrganizationId {
    OrganizationId::try_from(name).unwrap()
}

fn key(version: u32) -> WrappedBranchKey {
    WrappedBranchKey { version, wrapped: Some(vec![1, 2, 3]), created_at: NOW, sealing: Sealing { version, since: NOW } }
}

#[tokio::test]
async fn a_branch_key_is_put_once() {
    let (table, _) = table().await;
    let org = org("org_1");
    assert_eq!(table.branch_key(&org, 1).await.unwrap(), None);
    assert!(table.put_branch_key(&org, &key(1)).await.unwrap());
    assert!(!table.put_branch_key(&org, &WrappedBranchKey { wrapped: Some(vec![9]), ..key(1) }).await.unwrap());
    assert_eq!(table.branch_key(&org, 1).await.unwrap(), Some(key(1)));
    assert_eq!(table.branch_key(&org, 2).await.unwrap(), None);
}

#[tokio::test]
async fn one_version_seals_and_the_change_is_made_from_the_one_that_did() {
    let (table, calls) = table().await;
    let org = org("org_1");
    let later = NOW + Duration::DAY;
    let second = Sealing { version: 2, since: later };
    assert!(!table.let_seal(&org, 1, second).await.unwrap(), "there is no key at all");
    table.put_branch_key(&org, &key(1)).await.unwrap();
    table.put_branch_key(&org, &key(2)).await.unwrap();
    calls.take();
    assert!(table.let_seal(&org, 1, second).await.unwrap());
    assert_eq!(calls.take(), 1);
    assert_eq!(table.branch_key(&org, 1).await.unwrap().unwrap().sealing, second);
    assert!(table.let_seal(&org, 1, second).await.unwrap(), "done before, by whomever");
    assert!(!table.let_seal(&org, 1, Sealing { version: 3, since: later }).await.unwrap(), "it is 2 that seals");
    assert_eq!(table.branch_key(&org, 1).await.unwrap().unwrap().sealing, second);
}

#[tokio::test]
async fn a_destroyed_version_is_never_made_again() {
    let (table, _) = table().await;
    let org = org("org_1");
    table.put_branch_key(&org, &key(1)).await.unwrap();
    for _ in 0..2 {
        table.destroy_branch_key(&org, 1, NOW).await.unwrap();
        let destroyed = table.branch_key(&org, 1).await.unwrap().unwrap();
        assert_eq!(destroyed, WrappedBranchKey { wrapped: None, ..key(1) });
        assert!(!table.put_branch_key(&org, &key(1)).await.unwrap());
    }
    table.destroy_branch_key(&org, 7, NOW).await.unwrap();
    assert_eq!(table.branch_key(&org, 7).await.unwrap(), None, "nothing is made by destroying it");
}

#[tokio::test]
async fn the_schedule_finds_each_organization_once_and_the_longest_due_first() {
    let (table, calls) = table().await;
    let mut expected = Vec::new();
    for number in 0..5 {
        let (org, since) = (org(&format!("org_{number}")), NOW - Duration::minutes(number));
        let first = WrappedBranchKey { sealing: Sealing { version: 1, since }, ..key(1) };
        table.put_branch_key(&org, &first).await.unwrap();
        table.put_branch_key(&org, &key(2)).await.unwrap();
        expected.push(KeyDue { organization: org, due_at: since + BRANCH_KEY_SEALS_FOR });
    }
    expected.reverse();
    let day = NOW + BRANCH_KEY_SEALS_FOR;
    assert_eq!(table.keys_due(day - Duration::minutes(5), 10, None).await.unwrap(), []);
    assert_eq!(table.keys_due(day - Duration::minutes(3), 10, None).await.unwrap(), expected[..2]);
    calls.take();
    let first = table.keys_due(day, 3, None).await.unwrap();
    assert_eq!(first, expected[..3]);
    assert_eq!(calls.take(), 1);
    assert_eq!(table.keys_due(day, 3, first.last()).await.unwrap(), expected[3..]);
    // One whose key was rotated is due a quarter of a year later.
    table.let_seal(&org("org_4"), 1, Sealing { version: 2, since: day }).await.unwrap();
    assert_eq!(table.keys_due(day, 10, None).await.unwrap(), expected[1..]);
    assert_eq!(table.keys_due(day + BRANCH_KEY_SEALS_FOR, 10, None).await.unwrap().len(), 5);
    assert_eq!(table.due(0, day, 10, None).await.unwrap(), [], "no shard of the sweep has them");
}
