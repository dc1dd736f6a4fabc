//! Branch keys rotate on a schedule and by command, and retire when nothing is sealed with them any more.

use serde_json::{Value, json};
use tests::provider::Provider;
use tests::{Caller, Expect as _, World};
use time::Duration;

use crate::{ORGANIZATION, branch_key, logged, sealed, version};

async fn ask(world: &World, event: Value) -> Value {
    world.stack.functions().invoke("refresh", event).await.unwrap()
}

async fn retire(world: &World, number: u32) -> Value {
    ask(world, json!({ "retire_branch_key": { "organization": ORGANIZATION, "version": number } })).await
}

async fn versions(world: &World, id: &str) -> [u32; 2] {
    let records = world.records().await;
    ["sealed_access", "sealed_refresh"].map(|attribute| version(&sealed(&records, id, attribute)))
}

async fn with_one() -> (Provider, World, Caller, String) {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let id = world.authorize_at(&provider, &olivia).await;
    world.bind(&olivia, "fl_1", &id).await;
    (provider, world, olivia, id)
}

#[tokio::test]
async fn s69_a_command_rotates_and_the_next_refresh_seals_anew_while_the_old_version_opens() {
    let (_provider, world, olivia, id) = with_one().await;
    let body = json!({ "workflow_id": "fl_1" });
    assert_eq!(versions(&world, &id).await, [1, 1]);
    let none = ask(&world, json!({ "rotate_branch_keys": { "organization": "org_without_tokens" } })).await;
    assert_eq!(none, json!({ "organization": "org_without_tokens", "from": null, "to": null }));
    let rotated = ask(&world, json!({ "rotate_branch_keys": { "organization": ORGANIZATION } })).await;
    assert_eq!(rotated, json!({ "organization": ORGANIZATION, "from": 1, "to": 2 }));

    // What was sealed before is handed out, and stays as it is until it is refreshed.
    let before = olivia.token(&id, body.clone()).await.is(200);
    assert_eq!((&before["generation"], versions(&world, &id).await), (&json!(1), [1, 1]));
    world.pass(Duration::minutes(61));
    let after = olivia.token(&id, body.clone()).await.is(200);
    assert_eq!((&after["generation"], versions(&world, &id).await), (&json!(2), [2, 2]));
    assert_eq!(olivia.token(&id, body).await.is(200)["access_token"], after["access_token"]);
    let audited = logged("rotate_branch_key").into_iter().any(|line| line["audit"] == true && line["detail"] == "v1 to v2");
    assert!(audited, "{:?}", logged("rotate_branch_key"));
}

#[tokio::test]
async fn the_schedule_rotates_each_key_once_in_ninety_days() {
    let (_provider, world, olivia, id) = with_one().await;
    world.authorize(&world.mallory(), "usr_mallory").await;
    let scheduled = || ask(&world, json!({ "rotate_branch_keys": {} }));
    world.pass(Duration::days(89));
    assert_eq!(scheduled().await, json!({ "rotated": 0, "failed": 0 }));
    world.pass(Duration::days(1));
    // The sweep has nothing to do with it: its report is as ever.
    let report = world.run_schedule().await;
    assert_eq!(report.as_object().unwrap().len(), 8);
    assert!(branch_key(&world.records().await, 2).is_none());
    assert_eq!(scheduled().await, json!({ "rotated": 2, "failed": 0 }), "two organizations");
    assert_eq!(scheduled().await, json!({ "rotated": 0, "failed": 0 }), "not again");
    world.pass(Duration::minutes(61));
    olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.is(200);
    assert_eq!(versions(&world, &id).await, [2, 2]);
    world.pass(Duration::days(90));
    assert_eq!(scheduled().await, json!({ "rotated": 2, "failed": 0 }));
    assert!(branch_key(&world.records().await, 3).is_some());
}

#[tokio::test]
async fn a_version_that_anything_names_is_not_retired_and_one_that_nothing_names_opens_nothing_afterwards() {
    let (provider, world, olivia, first) = with_one().await;
    let second = world.authorize_at(&provider, &olivia).await;
    let refused = |reason: &str| json!({ "organization": ORGANIZATION, "version": 1, "retired": false, "reason": reason });
    assert_eq!(retire(&world, 1).await, refused("version_seals"));
    ask(&world, json!({ "rotate_branch_keys": { "organization": ORGANIZATION } })).await;
    let mut early = refused("too_early");
    early["not_before"] = json!(shared::http::views::timestamp(world.now() + Duration::days(15)));
    assert_eq!(retire(&world, 1).await, early, "a sandbox may seal on, and the rescue queue keeps what it has");
    for unknown in [0, 3] {
        assert_eq!(retire(&world, unknown).await["reason"], "unknown_version");
    }

    // The first is refreshed, the second still lies there as it was.
    world.pass(Duration::days(15));
    olivia.token(&first, json!({ "workflow_id": "fl_1" })).await.is(200);
    let mut in_use = refused("in_use");
    in_use["authorizations"] = json!([second]);
    assert_eq!((versions(&world, &first).await, versions(&world, &second).await), ([2, 2], [1, 1]));
    assert_eq!(retire(&world, 1).await, in_use);
    assert!(branch_key(&world.records().await, 1).unwrap().contains_key("wrapped"));

    // What one ciphertext of it names counts, whatever its times say.
    olivia.post(&format!("/workflows/authorization/{second}/check"), json!({})).await.is(200);
    let old_times = aws_sdk_dynamodb::types::AttributeValue::N((world.now() - Duration::days(30)).unix_timestamp().to_string() + "000");
    world.tamper(ORGANIZATION, &second, "last_refreshed_at", old_times).await;
    assert_eq!(retire(&world, 1).await, json!({ "organization": ORGANIZATION, "version": 1, "retired": true }), "the item decides");

    let records = world.records().await;
    let retired = branch_key(&records, 1).unwrap();
    assert!(!retired.contains_key("wrapped") && retired.contains_key("retired_at") && retired["active"].as_n().unwrap() == "2");
    assert_eq!(retire(&world, 1).await["retired"], true, "again");
    world.pass(Duration::minutes(61));
    assert_eq!(olivia.token(&first, json!({ "workflow_id": "fl_1" })).await.is(200)["degraded"], false);
    world.authorize_at(&provider, &olivia).await;
}

#[tokio::test]
async fn a_rotation_that_fails_changes_nothing_and_is_tried_again() {
    use local::aws::{Call, Fault, Ruling};
    use tests::faults::Rule;

    let (_provider, world, olivia, id) = with_one().await;
    world.pass(Duration::days(90));
    for broken in ["GenerateDataKeyWithoutPlaintext", "Decrypt", "PutItem", "UpdateItem"] {
        let fault = Fault::new(400, "AccessDeniedException", "not allowed");
        let rule = move |call: &Call<'_>| if call.operation == broken { Ruling::Refuse(fault.clone()) } else { Ruling::Pass };
        world.aws().observe(Some(std::sync::Arc::new(Rule(rule))));
        assert_eq!(ask(&world, json!({ "rotate_branch_keys": {} })).await, json!({ "rotated": 0, "failed": 1 }), "{broken}");
        world.aws().observe(None);
        assert_eq!(branch_key(&world.records().await, 1).unwrap()["active"].as_n().unwrap(), "1", "{broken}");
    }
    assert!(logged("branch_key_rotation_failed").iter().any(|line| line["organization"] == ORGANIZATION));
    assert_eq!(ask(&world, json!({ "rotate_branch_keys": {} })).await, json!({ "rotated": 1, "failed": 0 }));
    assert_eq!(olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.is(200)["degraded"], false);
    assert_eq!(versions(&world, &id).await, [2, 2]);
}

#[tokio::test]
async fn a_command_that_is_not_understood_does_nothing() {
    let world = World::start().await;
    let calls = world.calls();
    for event in [
        json!({ "rotate_branch_keys": true }),
        json!({ "rotate_branch_keys": { "organization": "" } }),
        json!({ "rotate_branch_keys": { "organization": 7 } }),
        json!({ "rotate_branch_keys": { "organisation": "org_demo" } }),
        json!({ "rotate_branch_keys": {}, "shards": [0], "of": 32 }),
        json!({ "retire_branch_key": { "organization": "org_demo" } }),
        json!({ "retire_branch_key": { "organization": "org_demo", "version": "1" } }),
        json!({ "retire_branch_key": { "organization": "org_demo", "version": -1 } }),
        json!({ "retire_branch_key": { "organization": "org_demo", "version": 1, "force": true } }),
        json!({ "rotate_branch_keys": {}, "retire_branch_key": {} }),
    ] {
        assert!(world.stack.functions().invoke("refresh", event.clone()).await.is_err(), "{event}");
    }
    assert_eq!(world.calls(), calls);
}
