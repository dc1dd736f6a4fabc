//! I9: KMS down for ten minutes, and for much of an hour, does not stop what is warm.

use std::sync::Arc;

use local::aws::{Call, Fault, Ruling, Service};
use serde_json::json;
use tests::faults::Rule;
use tests::provider::Provider;
use tests::{Expect as _, World};
use time::Duration;

#[tokio::test]
async fn with_kms_down_for_ten_minutes_every_warm_hand_out_succeeds_refreshed_ones_too() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let mut ids = Vec::new();
    for number in 0..5 {
        let id = world.authorize_at(&provider, &olivia).await;
        world.bind(&olivia, &format!("fl_{number}"), &id).await;
        ids.push(id);
    }
    // The worst moment to begin: the key at hand is as old as a key in use gets, and the tokens end amid the outage.
    world.pass(Duration::minutes(55));
    olivia.token(&ids[0], json!({ "workflow_id": "fl_0" })).await.is(200);
    world.pass(Duration::minutes(4) - Duration::seconds(1));
    let before = (world.calls().kms, provider.seen().refreshes);
    let down = Fault::new(500, "KMSInternalException", "down");
    let rule = move |call: &Call<'_>| if call.service == Service::Kms { Ruling::Refuse(down.clone()) } else { Ruling::Pass };
    world.aws().observe(Some(Arc::new(Rule(rule))));
    let mut handed_out = 0;
    for _ in 0..40 {
        world.pass(Duration::seconds(15));
        for (number, id) in ids.iter().enumerate() {
            let token = olivia.token(id, json!({ "workflow_id": format!("fl_{number}") })).await.is(200);
            assert_eq!(token["degraded"], false);
            handed_out += 1;
        }
    }
    assert_eq!(handed_out, 200, "all of them");
    assert_eq!(provider.seen().refreshes - before.1, 5, "each was renewed during the outage, and sealed");
    let asked = world.calls().kms - before.0;
    assert!((1..=90).contains(&asked), "KMS is asked now and then, with the SDK's own tries, and not by every request: {asked}");

    world.aws().observe(None);
    world.pass(Duration::minutes(1));
    olivia.token(&ids[0], json!({ "workflow_id": "fl_0" })).await.is(200);
}
