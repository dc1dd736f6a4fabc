//! Tokens that do not open: nothing is handed out, nothing is deleted, no status says what is not so, and everybody is told.

use serde_json::{Value, json};
use tests::provider::Provider;
use tests::table::text;
use tests::{Caller, Expect as _, World};
use time::Duration;

use crate::{ORGANIZATION, logged, plant, sealed};

async fn with_one() -> (Provider, World, Caller, String) {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let id = world.authorize_at(&provider, &olivia).await;
    world.bind(&olivia, "fl_1", &id).await;
    (provider, world, olivia, id)
}

/// How often the metric was raised, and the quarantine told, of this authorization.
fn told(id: &str) -> (usize, Vec<Value>) {
    let lines = logged(id);
    let raised = lines.iter().filter(|line| line["quarantined"] == 1 && line["_aws"].is_object()).count();
    (raised, lines.into_iter().filter(|line| line["audit"] == true && line["action"] == "quarantine").collect())
}

#[tokio::test]
async fn s66_a_broken_access_token_is_not_handed_out_and_the_record_is_kept_and_shown() {
    let (provider, world, olivia, id) = with_one().await;
    let body = json!({ "workflow_id": "fl_1" });
    let own = sealed(&world.records().await, &id, "sealed_access");
    let mut altered = own.clone();
    *altered.last_mut().unwrap() ^= 1;
    plant(&world, ORGANIZATION, &id, "sealed_access", &altered).await;
    assert_eq!(olivia.one(&id).await.get("undecryptable_since"), None);
    for _ in 0..3 {
        olivia.token(&id, body.clone()).await.refused(500, "internal_error");
    }
    let shown = olivia.one(&id).await;
    assert_eq!(shown["undecryptable_since"], json!(shared::http::views::timestamp(world.now())));
    assert_eq!((&shown["status"], &shown["reason"]), (&json!("active"), &Value::Null), "nobody's grant has ended");
    assert_eq!(olivia.list().await[0]["undecryptable_since"], shown["undecryptable_since"]);
    let (raised, announced) = told(&id);
    assert_eq!((raised, announced.len()), (1, 1), "told once, not by every request");
    assert_eq!((&announced[0]["reason"], &announced[0]["workflows"]), (&json!("undecryptable"), &json!("fl_1")));
    assert_eq!(sealed(&world.records().await, &id, "sealed_access"), altered, "evidence is not destroyed");
    assert_eq!(provider.seen().refreshes, 0);

    // It was a prank: as soon as the own ciphertext is back, it opens.
    plant(&world, ORGANIZATION, &id, "sealed_access", &own).await;
    olivia.token(&id, body.clone()).await.is(200);
    // The next refresh ends the quarantine.
    world.pass(Duration::minutes(61));
    olivia.token(&id, body).await.is(200);
    assert_eq!(olivia.one(&id).await.get("undecryptable_since"), None);
}

#[tokio::test]
async fn s66_a_broken_refresh_token_is_looked_at_once_a_day_and_a_new_sign_in_mends_it() {
    let (provider, world, olivia, id) = with_one().await;
    let body = json!({ "workflow_id": "fl_1" });
    olivia.token(&id, body.clone()).await.is(200);
    plant(&world, ORGANIZATION, &id, "sealed_refresh", b"\x01\x00\x00\x00\x01 not ours").await;
    world.pass(Duration::minutes(58));
    assert_eq!(world.run_schedule().await["failed"], 1);
    let records = world.records().await;
    let record = records.authorization(&id).unwrap();
    assert_eq!((text(record, "status"), record.contains_key("lease_owner")), ("active", false));
    for _ in 0..20 {
        world.pass(Duration::hours(1));
        assert_eq!(world.run_schedule().await["due"], 0, "it is not tried every minute");
    }
    olivia.token(&id, body.clone()).await.refused(500, "internal_error");
    for _ in 0..3 {
        world.pass(Duration::DAY);
        assert_eq!(world.run_schedule().await["failed"], 1, "what broke it may be mended");
    }
    assert_eq!((provider.seen().refreshes, told(&id).1.len()), (0, 1));
    assert_eq!(olivia.one(&id).await["status"], "active");

    let again = json!({ "connection_id": "conn_scripted", "authorization_id": id, "redirect_uri": world.return_to() });
    let back = world.open(&provider.come_back(&world.url(&olivia, again).await)).await;
    olivia.complete(json!({ "code": back.sent("code") })).await.is(201);
    assert_eq!(olivia.one(&id).await.get("undecryptable_since"), None);
    olivia.token(&id, body).await.is(200);
}
