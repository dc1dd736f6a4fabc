use futures_util::future::join_all;

use super::support::*;
use crate::domain::authorization::Status;
use crate::ports::flows::{FlowClaim, Flows};
use crate::ports::store::*;

#[tokio::test]
async fn of_32_parallel_claims_one_wins() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let owners: Vec<_> = (0..32).map(|n| lease(&format!("owner-{n}"))).collect();
    let claims = join_all(owners.iter().map(|lease| table.claim_refresh(&read, lease, NOW))).await;
    assert_eq!(claims.into_iter().filter(|claim| claim.as_ref().unwrap().is_some()).count(), 1);
}

#[tokio::test]
async fn s26_of_16_parallel_claims_of_a_flow_one_wins() {
    let (table, _) = table().await;
    let (flow, attempts) = (flow("race"), (0..16).map(|n| format!("attempt-{n}")).collect::<Vec<_>>());
    let claims = join_all(attempts.iter().map(|attempt| table.claim_flow(&flow, attempt, NOW))).await;
    assert_eq!(claims.into_iter().filter(|claim| matches!(claim, Ok(FlowClaim::Claimed))).count(), 1);
}

#[tokio::test]
async fn s85_binds_against_a_revocation_come_in_one_order_and_the_count_is_exact() {
    let (table, _) = table().await;
    for round in 0..25_u16 {
        let to = stored(&table, authorization("org_1", round)).await;
        let bindings: Vec<_> = (0..6).map(|n| binding(&to, &format!("fl_{round}_{n}"), "read")).collect();
        let binds = join_all(bindings.iter().map(|bound| table.bind(bound, None)));
        let revoke = async {
            for _ in 0..round % 5 {
                tokio::task::yield_now().await;
            }
            table.begin_revocation(&to.organization, &to.id, "a", NOW).await.unwrap()
        };
        let (outcomes, revoked) = tokio::join!(binds, revoke);
        let bound = outcomes.into_iter().filter(|outcome| matches!(outcome, Ok(BindOutcome::Bound))).count();
        let found = reread(&table, &to).await;
        assert_eq!(found.binding_count, u64::try_from(bound).unwrap(), "round {round}");
        let rows = join_all(bindings.iter().map(|bound| table.binding(&bound.organization, &bound.workflow))).await;
        assert_eq!(rows.into_iter().filter(|row| row.as_ref().unwrap().is_some()).count(), bound, "round {round}");
        match revoked {
            RevocationStart::Begun { .. } => assert_eq!((bound, found.status), (0, Status::Revoking), "round {round}"),
            RevocationStart::InUse { binding_count } => assert!(binding_count > 0 && found.status == Status::Active, "round {round}"),
            RevocationStart::AlreadyRevoked { .. } | RevocationStart::Missing => panic!("round {round}: {revoked:?}"),
        }
    }
}

#[tokio::test]
async fn six_parallel_rebinds_of_a_workflow_leave_one_owner_and_exact_counts() {
    let (table, _) = table().await;
    let first = stored(&table, authorization("org_1", 0)).await;
    let previous = binding(&first, "fl_1", "read");
    table.bind(&previous, None).await.unwrap();
    let mut targets = Vec::new();
    for number in 1..=6 {
        targets.push(stored(&table, authorization("org_1", number)).await);
    }
    let wanted: Vec<_> = targets.iter().map(|to| binding(to, "fl_1", "write")).collect();
    let outcomes = join_all(wanted.iter().map(|bound| table.bind(bound, Some(&previous)))).await;
    assert_eq!(outcomes.into_iter().filter(|outcome| matches!(outcome, Ok(BindOutcome::Bound))).count(), 1);
    let mut counts = vec![reread(&table, &first).await.binding_count];
    for to in &targets {
        counts.push(reread(&table, to).await.binding_count);
    }
    assert_eq!((counts[0], counts.iter().sum::<u64>()), (0, 1), "{counts:?}");
}
