use time::Duration;

use super::support::*;
use crate::domain::authorization::{Reason, SealedCredential, Status};
use crate::domain::flow::{FlowFailure, FlowOutcome};
use crate::domain::scopes::Scopes;
use crate::ports::flows::{FlowClaim, Flows, Renewal};
use crate::ports::store::{BindingStore, RefreshStore, RevocationStore};

#[tokio::test]
async fn s26_a_flow_is_claimed_once_and_its_own_claim_is_recognized() {
    let (table, _) = table().await;
    let flow = flow("a");
    assert!(table.flow_outcome(&flow).await.unwrap().is_none());
    assert!(matches!(table.claim_flow(&flow, "mine", NOW).await.unwrap(), FlowClaim::Claimed));
    assert!(matches!(table.claim_flow(&flow, "mine", NOW).await.unwrap(), FlowClaim::Claimed), "an answer was lost");
    let later = NOW + Duration::minutes(1);
    assert!(matches!(table.claim_flow(&flow, "other", later).await.unwrap(), FlowClaim::UnderWay { claimed_at } if claimed_at == NOW));

    let outcome = FlowOutcome::Failed(FlowFailure::AccessDenied);
    assert!(table.finish_flow(&flow, "other", &outcome, NOW).await.is_err());
    table.finish_flow(&flow, "mine", &outcome, NOW).await.unwrap();
    table.finish_flow(&flow, "mine", &outcome, NOW).await.unwrap();
    assert!(table.finish_flow(&flow, "mine", &FlowOutcome::Failed(FlowFailure::Internal), NOW).await.is_err());
    for attempt in ["mine", "other"] {
        let claim = table.claim_flow(&flow, attempt, NOW).await.unwrap();
        assert!(matches!(claim, FlowClaim::Finished { outcome: found, claimed_at } if found == outcome && claimed_at == NOW));
    }
    assert!(matches!(table.flow_outcome(&flow).await.unwrap(), Some(FlowClaim::Finished { .. })));
}

#[tokio::test]
async fn a_stored_authorization_reads_back_as_it_was_and_finishes_its_flow() {
    let (table, _) = table().await;
    let mut first = authorization("org_1", 1);
    first.last_used_at = Some(NOW + Duration::milliseconds(7));
    first.identity.organization = Some("acme".to_owned());
    first.status = Status::NeedsReauthorization(Reason::OutcomeUnknown);
    first.lease = Some(lease("x"));
    first.failed_attempts = 3;
    first.outcome_unknown_since = Some(NOW);
    let flow = flow("a");
    table.claim_flow(&flow, "mine", NOW).await.unwrap();
    assert!(table.store_authorization(&first, &flow, "other", NOW).await.is_err());
    table.store_authorization(&first, &flow, "mine", NOW).await.unwrap();
    table.store_authorization(&first, &flow, "mine", NOW).await.unwrap();
    assert_eq!(format!("{:?}", reread(&table, &first).await), format!("{first:?}"));
    assert!(table.flow_authorization(&organization("org_2"), &first.id).await.unwrap().is_none());

    let claim = table.claim_flow(&flow, "later", NOW).await.unwrap();
    assert!(matches!(claim, FlowClaim::Finished { outcome: FlowOutcome::Stored(id), .. } if id == first.id));
    // Another flow cannot take the id.
    let other = super::support::flow("b");
    table.claim_flow(&other, "mine", NOW).await.unwrap();
    assert!(table.store_authorization(&first, &other, "mine", NOW).await.is_err());
}

#[tokio::test]
async fn a_renewal_replaces_the_credential_and_keeps_bindings_and_origin() {
    let (table, _) = table().await;
    let old = stored(&table, authorization("org_1", 1)).await;
    table.bind(&binding(&old, "fl_1", "read"), None).await.unwrap();
    let read = reread(&table, &old).await;
    assert!(table.mark_needs_reauthorization(&read, Reason::InvalidGrant, NOW).await.unwrap().is_some());
    let read = reread(&table, &old).await;

    let mut renewed = read.clone();
    renewed.status = Status::Active;
    renewed.version += 1;
    renewed.generation += 1;
    renewed.scopes = Scopes::parse("read").unwrap();
    renewed.identity.email = None;
    renewed.credential = Some(SealedCredential { access: Some(vec![7]), refresh: None });
    renewed.due_at = Some(NOW + Duration::HOUR);
    let flow = flow("renew");
    table.claim_flow(&flow, "mine", NOW).await.unwrap();
    assert!(table.renew_authorization(&renewed, &flow, "other", NOW).await.is_err());
    assert!(matches!(table.renew_authorization(&renewed, &flow, "mine", NOW).await.unwrap(), Renewal::Stored));
    assert!(matches!(table.renew_authorization(&renewed, &flow, "mine", NOW).await.unwrap(), Renewal::Stored), "an answer was lost");
    let found = reread(&table, &old).await;
    assert_eq!(format!("{found:?}"), format!("{renewed:?}"));
    assert_eq!((found.binding_count, required(&found).as_str()), (1, "read:1"));
}

#[tokio::test]
async fn a_renewal_does_not_drop_a_scope_that_a_binding_requires_even_one_of_a_moment_ago() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let mut renewed = read.clone();
    renewed.version += 1;
    renewed.generation += 1;
    renewed.scopes = Scopes::parse("read").unwrap();
    let flow = flow("renew");
    table.claim_flow(&flow, "mine", NOW).await.unwrap();

    table.bind(&binding(&read, "fl_1", "read"), None).await.unwrap();
    let writing = binding(&read, "fl_2", "write");
    table.bind(&writing, None).await.unwrap();
    let refused = table.renew_authorization(&renewed, &flow, "mine", NOW).await.unwrap();
    assert!(matches!(refused, Renewal::Changed(Some(present)) if present.required().to_text() == "read write" && present.version == 1));
    // Known at the read: refused too, without a write.
    renewed.required_scopes = reread(&table, &read).await.required_scopes;
    assert!(matches!(table.renew_authorization(&renewed, &flow, "mine", NOW).await.unwrap(), Renewal::Changed(Some(_))));
    // Once the binding is gone, the counts have moved again, but nothing is in the way.
    assert!(table.unbind(&writing).await.unwrap());
    assert!(matches!(table.renew_authorization(&renewed, &flow, "mine", NOW).await.unwrap(), Renewal::Stored));
    assert_eq!(reread(&table, &read).await.binding_count, 1);
}

#[tokio::test]
async fn s85_a_renewal_loses_against_a_change_and_against_a_revocation() {
    let (table, _) = table().await;
    let read = stored(&table, authorization("org_1", 1)).await;
    let mut renewed = read.clone();
    renewed.version = 3;
    let flow = flow("renew");
    table.claim_flow(&flow, "mine", NOW).await.unwrap();
    let changed = table.renew_authorization(&renewed, &flow, "mine", NOW).await.unwrap();
    assert!(matches!(changed, Renewal::Changed(Some(present)) if present.version == 1));
    table.begin_revocation(&read.organization, &read.id, "a", NOW).await.unwrap();
    let changed = table.renew_authorization(&renewed, &flow, "mine", NOW).await.unwrap();
    assert!(matches!(changed, Renewal::Changed(Some(present)) if present.status == Status::Revoking));
    let mut unknown = renewed.clone();
    unknown.id = id(9);
    assert!(matches!(table.renew_authorization(&unknown, &flow, "mine", NOW).await.unwrap(), Renewal::Changed(None)));
    assert!(matches!(table.flow_outcome(&flow).await.unwrap(), Some(FlowClaim::UnderWay { .. })));
}
