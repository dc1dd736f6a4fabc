//! The budget table of the design, as far as it is the store's.

use super::support::*;
use crate::domain::authorization::Reason;
use crate::ports::flows::Flows;
use crate::ports::store::*;

#[tokio::test]
async fn each_story_takes_the_calls_that_the_design_allows() {
    let (table, calls) = table().await;
    let to = authorization("org_1", 1);
    let flow = flow("a");
    table.claim_flow(&flow, "mine", NOW).await.unwrap();
    table.store_authorization(&to, &flow, "mine", NOW).await.unwrap();
    assert_eq!(calls.take(), 2, "complete");
    let bound = binding(&to, "fl_1", "read");
    table.bind(&bound, None).await.unwrap();
    assert_eq!(calls.take(), 1, "bind");
    let (read, _) = table.authorization_with_binding(&to.organization, &to.id, &bound.workflow).await.unwrap();
    assert_eq!(calls.take(), 1, "hand-out, fresh");
    let claimed = table.claim_refresh(&read.unwrap(), &lease("a"), NOW).await.unwrap().unwrap();
    table.commit_refresh(&claimed, &commit()).await.unwrap();
    assert_eq!(calls.take(), 2, "hand-out, stale: these beside the read");
    table.begin_revocation(&to.organization, &to.id, "a", NOW).await.unwrap();
    table.bindings_of(&to.organization, &to.id, None, 25).await.unwrap();
    assert_eq!(calls.take(), 2, "revoke, blocked");
    table.unbind(&bound).await.unwrap();
    assert_eq!(calls.take(), 1, "unbind");
    let RevocationStart::Begun(begun) = table.begin_revocation(&to.organization, &to.id, "a", NOW).await.unwrap() else {
        panic!("not begun")
    };
    table.finish_revocation(&begun, NOW).await.unwrap();
    assert_eq!(calls.take(), 2, "revoke");
}

#[tokio::test]
async fn a_renewal_takes_one_transaction() {
    let (table, calls) = table().await;
    let mut renewed = stored(&table, authorization("org_1", 1)).await;
    table.mark_needs_reauthorization(&renewed, Reason::InvalidGrant, NOW).await.unwrap();
    renewed.version = 3;
    let flow = flow("b");
    table.claim_flow(&flow, "mine", NOW).await.unwrap();
    calls.take();
    table.renew_authorization(&renewed, &flow, "mine", NOW).await.unwrap();
    assert_eq!(calls.take(), 1);
}
