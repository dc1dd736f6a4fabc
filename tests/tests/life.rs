//! Tokens in use: hand-outs, refreshes that fail, races, budgets on the wire, and what is never written (contract sections 8 and 9,
//! design sections 3 to 6).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use local::aws::{Call, Fault, Ruling, Service};
use local::provision::loopback_sdk_config;
use serde_json::{Value, json};
use tests::faults::Rule;
use tests::provider::{Mood, Provider};
use tests::{Caller, Calls, Expect as _, World};
use time::Duration;
use url::Url;

/// A world with an authorization at the demonstration, bound to `fl_1`.
async fn bound(world: &World) -> (Caller, String) {
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    world.bind(&olivia, "fl_1", &id).await;
    (olivia, id)
}

/// The same at a scripted provider.
async fn scripted() -> (Provider, World, Caller, String) {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let id = world.authorize_at(&provider, &olivia).await;
    world.bind(&olivia, "fl_1", &id).await;
    (provider, world, olivia, id)
}

fn fl_1() -> Value {
    json!({ "workflow_id": "fl_1" })
}

#[tokio::test]
async fn a_token_lives_at_least_as_long_as_asked_for() {
    let world = World::start().await;
    let (olivia, id) = bound(&world).await;
    let generation = async |min_ttl: u64| {
        let token = olivia.token(&id, json!({ "workflow_id": "fl_1", "min_ttl": min_ttl })).await.is(200);
        assert!(token["expires_in"].as_u64().unwrap() >= min_ttl && token["degraded"] == false, "{token}");
        token["generation"].as_u64().unwrap()
    };
    assert_eq!(generation(3600).await, 1);
    world.pass(Duration::SECOND);
    assert_eq!(generation(3599).await, 1);
    assert_eq!(generation(3600).await, 2);
    world.pass(Duration::HOUR - Duration::seconds(60));
    assert_eq!(olivia.token(&id, fl_1()).await.is(200)["generation"], 2, "60 s are enough where nothing is said");
    world.pass(Duration::seconds(59));
    assert_eq!(generation(0).await, 2, "one second is more than none");
    world.pass(Duration::SECOND);
    assert_eq!(generation(0).await, 3, "an expired one is never handed out");
    assert_eq!(world.provider().refreshes, 2);
}

#[tokio::test]
async fn a_rejected_generation_is_refreshed_once_however_often_it_is_reported() {
    let world = World::start().await;
    let (olivia, id) = bound(&world).await;
    let report = async |generation: u64| {
        olivia.token(&id, json!({ "workflow_id": "fl_1", "rejected_generation": generation })).await.is(200)["generation"].clone()
    };
    assert_eq!(report(0).await, 1, "not the stored one");
    assert_eq!(report(99).await, 1, "not the stored one");
    assert_eq!(world.provider().refreshes, 0);
    assert_eq!(report(1).await, 2);
    for _ in 0..3 {
        assert_eq!(report(1).await, 2);
    }
    assert_eq!(world.provider().refreshes, 1);
    assert_eq!(report(2).await, 3);
    assert_eq!(world.provider().refreshes, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_who_report_one_generation_cause_one_refresh() {
    let world = World::start().await;
    let (olivia, id) = bound(&world).await;
    let body = json!({ "workflow_id": "fl_1", "rejected_generation": 1 });
    for answer in join_all((0..20).map(|_| olivia.token(&id, body.clone()))).await {
        assert_eq!(answer.is(200)["generation"], 2);
    }
    assert_eq!(world.provider().refreshes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_callers_at_expiry_cause_one_refresh_and_all_get_its_token() {
    let world = World::start().await;
    let (olivia, id) = bound(&world).await;
    olivia.token(&id, fl_1()).await.is(200);
    world.pass(Duration::HOUR);
    let tokens: Vec<Value> = join_all((0..50).map(|_| olivia.token(&id, fl_1()))).await.iter().map(|answer| answer.is(200)).collect();
    assert_eq!((world.provider().refreshes, world.provider().token_requests), (1, 2));
    for token in &tokens {
        assert_eq!((&token["access_token"], &token["generation"]), (&tokens[0]["access_token"], &json!(2)));
        assert_eq!((&token["degraded"], &token["expires_in"]), (&json!(false), &json!(3600)));
    }
}

#[tokio::test]
async fn a_provider_that_is_down_costs_nothing_while_the_token_is_valid_and_503_after() {
    let (provider, world, olivia, id) = scripted().await;
    provider.feels(Mood::Down);
    world.pass(Duration::HOUR - Duration::seconds(10));
    let token = olivia.token(&id, fl_1()).await.is(200);
    assert_eq!((&token["degraded"], &token["expires_in"], &token["generation"]), (&json!(true), &json!(10), &json!(1)));
    assert_eq!(provider.seen().refreshes, 1);
    world.pass(Duration::seconds(10));
    let refused = olivia.token(&id, fl_1()).await.refused(503, "provider_unavailable");
    assert_eq!(refused["type"], "provider_error");
    let entry = olivia.one(&id).await;
    assert_eq!((&entry["status"], &entry["reason"]), (&json!("active"), &Value::Null));
    let check = olivia.post(&format!("/workflows/authorization/{id}/check"), json!({})).await.is(200);
    assert_eq!((&check["ok"], &check["status"], &check["reason"]), (&json!(false), &json!("active"), &json!("provider_unavailable")));

    provider.feels(Mood::Well);
    let token = olivia.token(&id, fl_1()).await.is(200);
    assert_eq!((&token["degraded"], &token["generation"]), (&json!(false), &json!(2)));
}

#[tokio::test]
async fn the_operators_faults_at_the_provider_end_no_authorization() {
    let (provider, world, olivia, id) = scripted().await;
    world.pass(Duration::HOUR);
    for fault in ["invalid_client", "unauthorized_client", "temporarily_unavailable", "slow_down"] {
        provider.feels(Mood::Refusing(fault));
        olivia.token(&id, fl_1()).await.refused(503, "provider_unavailable");
        assert_eq!(olivia.one(&id).await["status"], "active", "{fault}");
    }
    provider.feels(Mood::Well);
    // An incident of the connection may keep its refreshes back for a while.
    world.pass(Duration::HOUR);
    assert_eq!(olivia.token(&id, fl_1()).await.is(200)["generation"], 2);
}

#[tokio::test]
async fn s88_a_grant_that_ended_at_the_provider_is_told_once_and_not_tried_again() {
    let (provider, world, olivia, id) = scripted().await;
    provider.end_grants();
    assert_eq!(olivia.token(&id, fl_1()).await.is(200)["generation"], 1, "the access token is still good");
    world.pass(Duration::HOUR);
    let refused = olivia.token(&id, fl_1()).await.refused(409, "needs_reauthorization");
    assert_eq!(refused["reason"], "invalid_grant");
    let asked = provider.seen().refreshes;
    let entry = olivia.one(&id).await;
    assert_eq!((&entry["status"], &entry["reason"]), (&json!("needs_reauthorization"), &json!("invalid_grant")));
    assert_eq!(olivia.get("/workflows/authorization?status=needs_reauthorization").await.is(200), json!([entry]));

    olivia.token(&id, fl_1()).await.refused(409, "needs_reauthorization");
    olivia.token(&id, json!({ "workflow_id": "fl_1", "rejected_generation": 1 })).await.refused(409, "needs_reauthorization");
    olivia.put("/workflows/fl_2/authorization", json!({ "authorization_id": id })).await.refused(409, "authorization_not_active");
    let check = olivia.post(&format!("/workflows/authorization/{id}/check"), json!({})).await.is(200);
    assert_eq!((&check["ok"], &check["reason"]), (&json!(false), &json!("invalid_grant")));
    world.pass(Duration::days(20));
    assert_eq!(world.run_schedule().await["due"], 0);
    assert_eq!(provider.seen().refreshes, asked, "no endless retry");

    let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to(), "authorization_id": id });
    let back = world.open(&provider.come_back(&world.url(&olivia, body).await)).await;
    assert_eq!(olivia.complete(json!({ "code": back.sent("code") })).await.is(201)["status"], "active");
    assert_eq!(olivia.token(&id, fl_1()).await.is(200)["degraded"], false, "no workflow had to be bound again");
}

#[tokio::test]
async fn the_schedule_finds_out_about_an_ended_grant_too() {
    let (provider, world, olivia, id) = scripted().await;
    olivia.token(&id, fl_1()).await.is(200);
    provider.end_grants();
    world.pass(Duration::HOUR);
    let report = world.run_schedule().await;
    assert_eq!((&report["due"], &report["needs_reauthorization"], &report["refreshed"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(olivia.one(&id).await["reason"], "invalid_grant");
}

#[tokio::test]
async fn an_answer_that_was_lost_is_followed_up_once_and_then_a_person_is_asked() {
    let (provider, world, olivia, id) = scripted().await;
    olivia.token(&id, fl_1()).await.is(200);
    provider.feels(Mood::Garbled);
    world.pass(Duration::HOUR);
    olivia.token(&id, fl_1()).await.refused(503, "provider_unavailable");
    assert_eq!(olivia.one(&id).await["status"], "active", "its fate is unknown");
    provider.feels(Mood::Well);
    world.pass(Duration::HOUR);
    assert_eq!(world.run_schedule().await["needs_reauthorization"], 1);
    let entry = olivia.one(&id).await;
    assert_eq!((&entry["status"], &entry["reason"]), (&json!("needs_reauthorization"), &json!("outcome_unknown")));
}

#[tokio::test]
async fn s40_an_untold_or_senseless_lifetime_is_the_connections_default() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    for told in [None, Some(json!(-5)), Some(json!("soon")), Some(json!(1e300)), Some(Value::Null)] {
        provider.script(|script| script.expires_in.clone_from(&told));
        let id = world.authorize_at(&provider, &olivia).await;
        world.bind(&olivia, "fl_1", &id).await;
        assert_eq!(olivia.token(&id, fl_1()).await.is(200)["expires_in"], 3600, "{told:?}");
    }
    for (told, expected) in [(json!(120.9), 120), (json!("240"), 240)] {
        provider.script(|script| script.expires_in = Some(told));
        let id = world.authorize_at(&provider, &olivia).await;
        world.bind(&olivia, "fl_1", &id).await;
        assert_eq!(olivia.token(&id, fl_1()).await.is(200)["expires_in"], expected);
        // Nor does a token without a word of its own live as long as the one before it.
        provider.script(|script| script.expires_in = None);
        let again = json!({ "workflow_id": "fl_1", "rejected_generation": 1 });
        assert_eq!(olivia.token(&id, again).await.is(200)["expires_in"], 3600);
    }
}

#[tokio::test]
async fn s41_scopes_that_were_not_granted_are_seen_and_not_promised() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    provider.script(|script| script.scope = Some("openid email".to_owned()));
    let id = world.authorize_at(&provider, &olivia).await;
    assert_eq!(olivia.one(&id).await["scopes"], json!(["email", "openid"]));
    let body = json!({ "authorization_id": id, "required_scopes": ["offline_access"] });
    let refused = olivia.put("/workflows/fl_1/authorization", body).await.refused(409, "scopes_insufficient");
    assert_eq!(refused["missing_scopes"], json!(["offline_access"]));
}

#[tokio::test]
async fn s60_no_answer_holds_a_refresh_token_or_an_id_token() {
    let (provider, world, olivia, id) = scripted().await;
    let path = format!("/workflows/authorization/{id}");
    let mut answers = vec![olivia.token(&id, fl_1()).await.text];
    world.pass(Duration::HOUR);
    answers.push(olivia.token(&id, fl_1()).await.text);
    let handed_out: Vec<String> =
        answers.iter().map(|a| serde_json::from_str::<Value>(a).unwrap()["access_token"].as_str().unwrap().to_owned()).collect();
    answers.push(olivia.list().await.to_string());
    answers.push(olivia.one(&id).await.to_string());
    answers.push(olivia.post(&format!("{path}/check"), json!({})).await.text);
    answers.push(olivia.delete(&format!("{path}?dry_run=true")).await.text);
    answers.push(olivia.get("/workflows/fl_1/authorization").await.text);
    answers.push(world.run_schedule().await.to_string());
    let issued = provider.issued();
    assert!(issued.len() >= 6);
    for token in issued.iter().filter(|token| !handed_out.contains(token)) {
        assert!(answers.iter().all(|answer| !answer.contains(token)), "{token}");
    }
    assert!(answers.iter().all(|answer| !answer.contains("eyJ")), "an id_token");
    assert!(answers[2..].iter().all(|answer| handed_out.iter().all(|token| !answer.contains(token))), "only the hand-out shows a token");
}

#[tokio::test]
async fn a_revoke_stands_even_if_the_provider_is_down_and_the_schedule_finishes_it() {
    let (provider, world, olivia, id) = scripted().await;
    let path = format!("/workflows/authorization/{id}");
    provider.feels(Mood::Down);
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    olivia.delete(&path).await.is(204);
    assert_eq!(provider.seen().revocations, 1);
    let entry = olivia.one(&id).await;
    assert_eq!(entry["status"], "revoking");
    olivia.token(&id, fl_1()).await.refused(404, "workflow_not_bound");
    olivia.put("/workflows/fl_1/authorization", json!({ "authorization_id": id })).await.refused(409, "authorization_not_active");
    olivia.delete(&path).await.is(204);
    assert_eq!(provider.seen().revocations, 1, "repeating is harmless");

    world.pass(Duration::hours(1));
    let report = world.run_schedule().await;
    assert_eq!((&report["due"], &report["deferred"], &report["revoked"]), (&json!(1), &json!(1), &json!(0)));
    provider.feels(Mood::Well);
    world.pass(Duration::hours(1));
    assert_eq!(world.run_schedule().await["revoked"], 1);
    assert_eq!(olivia.list().await, json!([]));
    olivia.delete(&path).await.is(204);
    assert_eq!(provider.seen().refreshes, 0);
}

#[tokio::test]
async fn the_next_scheduled_run_asks_a_provider_again_that_was_down() {
    let (provider, world, olivia, id) = scripted().await;
    provider.feels(Mood::Down);
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
    provider.feels(Mood::Well);
    assert_eq!(world.run_schedule().await["revoked"], 1);
    assert_eq!((provider.seen().revocations, olivia.list().await), (2, json!([])));
}

#[tokio::test]
async fn a_provider_that_never_answers_is_given_up_after_seven_days() {
    let (provider, world, olivia, id) = scripted().await;
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    provider.feels(Mood::Down);
    olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
    world.pass(Duration::days(6));
    assert_eq!(world.run_schedule().await["deferred"], 1);
    assert_eq!(olivia.one(&id).await["status"], "revoking");
    world.pass(Duration::days(1));
    assert_eq!(world.run_schedule().await["revoked"], 1);
    assert_eq!(olivia.list().await, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s85_a_revoke_among_binds_wins_alone_or_not_at_all() {
    let world = World::start().await;
    let olivia = world.olivia();
    for round in 0..25 {
        let id = world.authorize(&olivia, "usr_olivia").await;
        let path = format!("/workflows/authorization/{id}");
        let names: Vec<String> = (0..6).map(|n| format!("fl_{round}_{n}")).collect();
        let bind = async |name: &String| olivia.put(&format!("/workflows/{name}/authorization"), json!({ "authorization_id": id })).await;
        let (binds, revoke) = match round % 3 {
            0 => tokio::join!(join_all(names.iter().map(bind)), olivia.delete(&path)),
            1 => {
                let (revoke, binds) = tokio::join!(olivia.delete(&path), join_all(names.iter().map(bind)));
                (binds, revoke)
            }
            _ => {
                let (first, (revoke, rest)) =
                    tokio::join!(bind(&names[0]), async { tokio::join!(olivia.delete(&path), join_all(names[1..].iter().map(bind))) });
                (std::iter::once(first).chain(rest).collect(), revoke)
            }
        };
        let succeeded = binds.iter().filter(|answer| answer.status == 200).count();
        for refused in binds.iter().filter(|answer| answer.status != 200) {
            assert!(
                ["authorization_not_active", "authorization_not_found", "write_conflict"]
                    .contains(&refused.json()["code"].as_str().unwrap())
            );
        }
        let mut found = 0;
        for name in &names {
            found += usize::from(olivia.get(&format!("/workflows/{name}/authorization")).await.status == 200);
        }
        assert_eq!(found, succeeded, "every acknowledged bind is there, and no other");
        world.records().await.are_counted_exactly();
        if revoke.status == 204 {
            assert_eq!(succeeded, 0, "no bind succeeds beside a revoke");
            olivia.get(&path).await.refused(404, "authorization_not_found");
        } else {
            let seen = revoke.refused(409, "authorization_in_use")["workflow_count"].as_u64().unwrap();
            assert!((1..=6).contains(&seen) && usize::try_from(seen).unwrap() <= succeeded, "{seen} of {succeeded}");
            assert_eq!(olivia.one(&id).await["workflow_count"], json!(succeeded), "the count is exact");
            for name in &names {
                olivia.delete(&format!("/workflows/{name}/authorization")).await;
            }
            olivia.delete(&path).await.is(204);
        }
        world.pass(Duration::SECOND);
    }
}

#[tokio::test]
async fn every_operation_keeps_its_budget_of_requests_on_the_wire() {
    let world = World::start().await;
    let (olivia, id) = bound(&world).await;
    olivia.token(&id, fl_1()).await.is(200);
    let other = {
        world.pass(Duration::SECOND);
        world.authorize(&olivia, "usr_olivia").await
    };
    let path = format!("/workflows/authorization/{id}");
    let spent = |before: Calls| world.calls() - before;

    let before = world.calls();
    let url = world.url(&olivia, json!({})).await;
    let by_redirect = world.url(&olivia, json!({ "redirect_uri": world.return_to() })).await;
    assert_eq!(spent(before), Calls::default(), "create a URL");

    let (back, by_redirect) = (world.allowed(&url, "usr_olivia").await, world.allowed(&by_redirect, "usr_olivia").await);
    let (before, asked) = (world.calls(), world.provider().token_requests);
    world.open(&back).await.page(200);
    assert_eq!((spent(before), world.provider().token_requests - asked), (Calls::dynamodb(2), 1), "callback, direct mode");
    let before = world.calls();
    let code = world.open(&by_redirect).await.sent("code").unwrap();
    assert_eq!(spent(before), Calls::default(), "callback, redirect mode");
    let (before, asked) = (world.calls(), world.provider().token_requests);
    olivia.complete(json!({ "code": code })).await.is(201);
    assert_eq!((spent(before), world.provider().token_requests - asked), (Calls::dynamodb(2), 1), "complete");

    let before = world.calls();
    olivia.list().await;
    assert_eq!(spent(before), Calls::dynamodb(1), "list");
    let before = world.calls();
    olivia.token(&id, fl_1()).await.is(200);
    assert_eq!(spent(before), Calls::dynamodb(1), "hand-out, fresh");
    world.pass(Duration::SECOND);
    let (before, asked) = (world.calls(), world.provider());
    let token = olivia.token(&id, json!({ "workflow_id": "fl_1", "min_ttl": 3600 })).await.is(200);
    assert_eq!(token["generation"], 2);
    assert_eq!((spent(before), world.provider().token_requests - asked.token_requests), (Calls::dynamodb(3), 1), "hand-out, stale");

    let before = world.calls();
    world.bind(&olivia, "fl_2", &id).await;
    assert_eq!(spent(before), Calls::dynamodb(1), "bind");
    let before = world.calls();
    world.bind(&olivia, "fl_2", &other).await;
    assert_eq!(spent(before), Calls::dynamodb(2), "re-bind");

    let before = world.calls();
    olivia.delete(&path).await.refused(409, "authorization_in_use");
    assert_eq!(spent(before), Calls::dynamodb(2), "revoke, blocked");
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    let (before, asked) = (world.calls(), world.provider().revocations);
    olivia.delete(&path).await.is(204);
    let revocations = world.provider().revocations - asked;
    assert_eq!(spent(before), Calls::dynamodb(2), "revoke");
    assert!((1..=2).contains(&revocations), "{revocations}");
}

#[tokio::test]
async fn a_scheduled_refresh_costs_two_writes_and_one_token_request() {
    let world = World::start().await;
    world.stack.sign_in().set_access_lifetime(120);
    let (olivia, id) = bound(&world).await;
    let before = world.calls();
    assert_eq!(world.run_schedule().await["due"], 0);
    let idle = world.calls() - before;
    olivia.token(&id, fl_1()).await.is(200);
    world.pass(Duration::seconds(60));
    let (before, asked) = (world.calls(), world.provider().token_requests);
    assert_eq!(world.run_schedule().await["refreshed"], 1);
    let spent = world.calls() - before;
    assert_eq!((spent.dynamodb - idle.dynamodb, spent.kms, spent.secrets), (2, 0, 0));
    assert_eq!(world.provider().token_requests - asked, 1);
}

#[tokio::test]
async fn kms_down_for_ten_minutes_does_not_stop_warm_hand_outs() {
    let world = World::start().await;
    let (olivia, id) = bound(&world).await;
    olivia.token(&id, fl_1()).await.is(200);
    let down = |call: &Call<'_>| match call.service {
        Service::Kms | Service::SecretsManager => Ruling::Refuse(Fault::new(500, "KMSInternalException", "down")),
        Service::DynamoDb | Service::Sqs | Service::EventBridge => Ruling::Pass,
    };
    world.aws().observe(Some(Arc::new(Rule(down))));
    for _ in 0..10 {
        world.pass(Duration::MINUTE);
        assert_eq!(olivia.token(&id, fl_1()).await.is(200)["generation"], 1);
    }
}

/// Every value in an item, however deep, as bytes.
fn values(value: &AttributeValue, into: &mut Vec<Vec<u8>>) {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => into.push(text.clone().into_bytes()),
        AttributeValue::B(bytes) => into.push(bytes.clone().into_inner()),
        AttributeValue::Ss(texts) | AttributeValue::Ns(texts) => into.extend(texts.iter().map(|text| text.clone().into_bytes())),
        AttributeValue::Bs(many) => into.extend(many.iter().cloned().map(Blob::into_inner)),
        AttributeValue::L(list) => list.iter().for_each(|value| values(value, into)),
        AttributeValue::M(map) => map.iter().for_each(|(name, value)| {
            into.push(name.clone().into_bytes());
            values(value, into);
        }),
        _ => {}
    }
}

/// A secret as it could appear: plain, in hexadecimal, and in base64 at each of the three alignments.
fn disguises(secret: &str) -> Vec<Vec<u8>> {
    let hex = secret.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let mut all = vec![secret.to_owned(), hex.to_uppercase(), hex];
    for skipped in 0..3 {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&secret.as_bytes()[skipped..]);
            // The last characters depend on what follows.
            all.push(text[..text.len() - 4].to_owned());
        }
    }
    all.into_iter().map(String::into_bytes).collect()
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

async fn items(world: &World) -> Vec<HashMap<String, AttributeValue>> {
    let table = aws_sdk_dynamodb::Client::new(&loopback_sdk_config(world.stack.aws_endpoint()));
    table.scan().table_name(&world.stack.provisioned().table).send().await.unwrap().items.unwrap()
}

/// How many binary attributes the item of an authorization has.
fn ciphertexts(items: &[HashMap<String, AttributeValue>], id: &str) -> usize {
    let item = items.iter().find(|item| item["pk"].as_s().unwrap().ends_with(&format!("#AUTH#{id}"))).unwrap();
    item.values().filter(|value| matches!(value, AttributeValue::B(_))).count()
}

#[tokio::test]
async fn s87_nothing_of_the_tokens_is_left_after_a_revoke() {
    let (provider, world, olivia, id) = scripted().await;
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    assert_eq!(ciphertexts(&items(&world).await, &id), 2);
    provider.feels(Mood::Down);
    olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
    assert_eq!(ciphertexts(&items(&world).await, &id), 1, "the access token is gone; the refresh token is still to be revoked");
    provider.feels(Mood::Well);
    world.pass(Duration::HOUR);
    assert_eq!(world.run_schedule().await["revoked"], 1);
    assert_eq!(ciphertexts(&items(&world).await, &id), 0);
    let tombstone = items(&world).await.into_iter().find(|item| item["pk"].as_s().unwrap().ends_with(&id)).unwrap();
    let mut left = Vec::new();
    for value in tombstone.values() {
        values(value, &mut left);
    }
    assert!(!left.iter().any(|value| value == b"ops@example.com"), "no e-mail either");
}

#[tokio::test]
async fn s65_no_token_code_or_state_is_ever_in_the_table_or_in_a_request_to_aws() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&requests);
    world.aws().observe(Some(Arc::new(Rule(move |call: &Call<'_>| {
        heard.lock().unwrap().push(call.request.to_string().into_bytes());
        Ruling::Pass
    }))));

    let mut secrets = vec![tests::provider::CLIENT_SECRET.to_owned()];
    let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to(), "state": "the-applications-own-state" });
    let url = world.url(&olivia, body).await;
    let back = provider.come_back(&url);
    let returned = world.open(&back).await;
    for (url, name) in [(&url, "state"), (&url, "nonce"), (&url, "code_challenge"), (&back, "code")] {
        secrets.push(Url::parse(url).unwrap().query_pairs().find(|(n, _)| n == name).unwrap().1.into_owned());
    }
    let completion = returned.sent("code").unwrap();
    secrets.push(completion.clone());
    secrets.push("the-applications-own-state".to_owned());
    let stored = olivia.complete(json!({ "code": completion })).await.is(201);
    let id = stored["id"].as_str().unwrap();
    world.bind(&olivia, "fl_1", id).await;
    secrets.push(olivia.token(id, fl_1()).await.is(200)["access_token"].as_str().unwrap().to_owned());
    world.pass(Duration::HOUR);
    olivia.token(id, fl_1()).await.is(200);
    world.pass(Duration::HOUR);
    world.run_schedule().await;
    secrets.push(olivia.authorization().unwrap().split_off("Bearer ".len()));
    secrets.extend(provider.issued());
    assert!(secrets.len() >= 15, "{}", secrets.len());

    let items = items(&world).await;
    let mut written = Vec::new();
    for item in &items {
        for (name, value) in item {
            written.push(name.clone().into_bytes());
            values(value, &mut written);
        }
    }
    assert!(written.iter().any(|value| value == b"scripted-olivia"), "the scan sees the authorization");
    let requests = requests.lock().unwrap();
    assert!(requests.len() > 15);
    for secret in &secrets {
        for disguise in disguises(secret) {
            let found = written.iter().chain(requests.iter()).find(|value| holds(value, &disguise));
            assert!(found.is_none(), "{secret} is in {:?}", found.map(|f| String::from_utf8_lossy(f)));
        }
    }
    assert_eq!(ciphertexts(&items, id), 2, "both tokens, as ciphertext");
}
