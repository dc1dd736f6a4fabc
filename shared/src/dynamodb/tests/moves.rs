use super::support::*;
use crate::domain::authorization::{Reason, Status};
use crate::domain::binding::{Binding, WorkflowName};
use crate::domain::scopes::Scopes;
use crate::dynamodb::Table;
use crate::ports::store::*;

const ORGANIZATION: &str = "org_1";

/// Two authorizations, the first with so many bindings, which in turn require `read`, `write` and nothing.
async fn two(
    table: &Table,
    bindings: usize,
) -> (crate::domain::authorization::Authorization, crate::domain::authorization::Authorization, Vec<Binding>) {
    let from = stored(table, authorization(ORGANIZATION, 1)).await;
    let to = stored(table, authorization(ORGANIZATION, 2)).await;
    let all: Vec<_> = (0..bindings).map(|at| binding(&from, &format!("fl_{at:03}"), ["read", "write", ""][at % 3])).collect();
    for bound in &all {
        assert!(matches!(table.bind(bound, None).await.unwrap(), BindOutcome::Bound));
    }
    (from, to, all)
}

#[tokio::test]
async fn fifty_bindings_move_in_one_call_with_their_counts_and_their_place_in_the_list() {
    let (table, calls) = table().await;
    let (from, to, all) = two(&table, 60).await;
    calls.take();
    assert!(matches!(table.move_bindings(&all, &to.id).await.unwrap(), MoveOutcome::Moved(50)));
    assert_eq!(calls.take(), 1);
    assert!(matches!(table.move_bindings(&all[50..], &to.id).await.unwrap(), MoveOutcome::Moved(10)));
    assert!(matches!(table.move_bindings(&[], &to.id).await.unwrap(), MoveOutcome::Moved(0)));
    let (old, new) = (reread(&table, &from).await, reread(&table, &to).await);
    assert_eq!((old.binding_count, required(&old).as_str()), (0, ""));
    assert_eq!((new.binding_count, required(&new).as_str()), (60, "read:20 write:20"));
    assert_eq!((old.version, new.version), (1, 1), "a move is no change of a credential");
    for before in &all {
        let after = table.binding(&from.organization, &before.workflow).await.unwrap().unwrap();
        assert_eq!(after, Binding { authorization: to.id.clone(), ..before.clone() });
    }
    assert!(table.bindings_of(&from.organization, &from.id, None, 100).await.unwrap().is_empty());
    assert_eq!(table.bindings_of(&from.organization, &to.id, None, 100).await.unwrap().len(), 60);
}

#[tokio::test]
async fn those_that_are_bound_otherwise_keep_the_others_of_their_transaction_back_and_are_named() {
    let (table, _) = table().await;
    let (from, to, all) = two(&table, 6).await;
    let third = stored(&table, authorization(ORGANIZATION, 3)).await;
    // One is gone, one is another authorization's, one requires something else, one has another name.
    assert!(table.unbind(&all[0]).await.unwrap());
    let elsewhere = binding(&third, "fl_001", "");
    assert!(matches!(table.bind(&elsewhere, Some(&all[1])).await.unwrap(), BindOutcome::Bound));
    let otherwise = binding(&from, "fl_002", "write");
    assert!(matches!(table.bind(&otherwise, Some(&all[2])).await.unwrap(), BindOutcome::Bound));
    let renamed = Binding { name: Some(WorkflowName::try_from("New name".to_owned()).unwrap()), ..all[3].clone() };
    assert!(matches!(table.bind(&renamed, Some(&all[3])).await.unwrap(), BindOutcome::Bound));

    let MoveOutcome::Changed(places) = table.move_bindings(&all, &to.id).await.unwrap() else { panic!("not told") };
    assert_eq!(places, [0, 1, 2]);
    assert_eq!((reread(&table, &from).await.binding_count, reread(&table, &to).await.binding_count), (4, 0), "nothing moved");
    assert!(matches!(table.move_bindings(&all[3..], &to.id).await.unwrap(), MoveOutcome::Moved(3)));
    let moved = table.binding(&from.organization, &renamed.workflow).await.unwrap().unwrap();
    assert_eq!(moved.name, renamed.name, "what the index had not shown yet is not written over");
    assert_eq!(table.binding(&from.organization, &elsewhere.workflow).await.unwrap().unwrap().authorization, third.id);
    let old = reread(&table, &from).await;
    assert_eq!((old.binding_count, required(&old).as_str()), (1, "write:1"));
    assert_eq!(reread(&table, &to).await.binding_count, 3);
}

#[tokio::test]
async fn nothing_moves_to_an_authorization_that_may_not_take_it() {
    let (table, _) = table().await;
    let (from, to, all) = two(&table, 3).await;
    let mut narrow = authorization(ORGANIZATION, 3);
    narrow.scopes = Scopes::parse("read").unwrap();
    let narrow = stored(&table, narrow).await;
    let refused = table.move_bindings(&all, &narrow.id).await.unwrap();
    assert!(
        matches!(refused, MoveOutcome::Refused(Some(obstacle)) if obstacle.status == Status::Active && obstacle.scopes == narrow.scopes)
    );
    assert!(matches!(table.move_bindings(&all, &id(9)).await.unwrap(), MoveOutcome::Refused(None)));
    assert!(table.mark_needs_reauthorization(&to, Reason::InvalidGrant, NOW).await.unwrap().is_some());
    let refused = table.move_bindings(&all, &to.id).await.unwrap();
    assert!(
        matches!(refused, MoveOutcome::Refused(Some(obstacle)) if obstacle.status == Status::NeedsReauthorization(Reason::InvalidGrant))
    );
    let of_another: Vec<_> = all.iter().map(|bound| Binding { organization: organization("org_2"), ..bound.clone() }).collect();
    assert!(matches!(table.move_bindings(&of_another, &to.id).await.unwrap(), MoveOutcome::Changed(places) if places == [0, 1, 2]));
    assert_eq!(reread(&table, &from).await.binding_count, 3);
}
