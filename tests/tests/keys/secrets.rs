//! State keys and client secrets are rotated while people sign in and tokens are renewed: nobody notices (security requirement 70).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use local::provision::loopback_sdk_config;
use serde_json::{Value, json};
use tests::provider::{CLIENT_SECRET, Provider};
use tests::{Caller, Expect as _, Verifier, World};
use time::Duration;

/// For so long a sandbox may go on with the secret that it has read.
const CACHED: Duration = Duration::minutes(5);

/// Changes a secret as an operator does.
async fn put(world: &World, secret_id: &str, value: &Value) {
    let client = aws_sdk_secretsmanager::Client::new(&loopback_sdk_config(world.stack.aws_endpoint()));
    client.put_secret_value().secret_id(secret_id).secret_string(value.to_string()).send().await.unwrap();
}

/// State keys of these ids, the first of which seals; each id has a key of its own.
fn state_keys(kids: &[&str]) -> Value {
    let key = |kid: &str| match kid {
        "demonstration" => b"demonstration-state-key-32-bytes".to_vec(),
        other => other.bytes().cycle().take(32).collect(),
    };
    json!({ "keys": kids.iter().map(|kid| json!({ "kid": kid, "key": URL_SAFE_NO_PAD.encode(key(kid)) })).collect::<Vec<_>>() })
}

fn state_of(url: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned()
}

#[tokio::test]
async fn s70_state_keys_rotate_between_all_steps_of_a_sign_in() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let body = json!({
        "connection_id": "conn_scripted", "redirect_uri": world.return_to(), "state": "s",
        "code_challenge": Verifier::CHALLENGE, "code_challenge_method": "S256",
    });
    let direct = json!({ "connection_id": "conn_scripted" });
    let (first, kept, also_direct) =
        (world.url(&olivia, body.clone()).await, world.url(&olivia, body.clone()).await, world.url(&olivia, direct).await);
    assert!(state_of(&first).starts_with("demonstration."));

    // Between URL and callback.
    put(&world, "mandate/state-keys", &state_keys(&["second", "demonstration"])).await;
    world.pass(CACHED);
    assert!(state_of(&world.url(&olivia, body.clone()).await).starts_with("second."));
    let back = world.open(&provider.come_back(&first)).await;
    let code = back.sent("code").unwrap();
    assert!(code.starts_with("second."));
    world.open(&provider.come_back(&also_direct)).await.page(200);

    // Between callback and completion, and before the completion is repeated.
    put(&world, "mandate/state-keys", &state_keys(&["third", "second", "demonstration"])).await;
    world.pass(CACHED - Duration::SECOND);
    let complete = json!({ "code": code, "code_verifier": Verifier::VERIFIER });
    let stored = olivia.complete(complete.clone()).await.is(201);
    put(&world, "mandate/state-keys", &state_keys(&["fourth", "third", "second", "demonstration"])).await;
    world.pass(CACHED);
    assert_eq!(olivia.complete(complete).await.is(200)["id"], stored["id"], "the first outcome, again");
    // Half an hour after it sealed last nothing needs the first key: its states, their codes and those codes' repetitions have ended.
    world.pass(Duration::minutes(20));
    put(&world, "mandate/state-keys", &state_keys(&["fourth", "third"])).await;
    world.pass(CACHED);
    let late = world.open(&provider.come_back(&kept)).await;
    assert_eq!(late.status, 400);
    world.open(&provider.come_back(&world.url(&olivia, body).await)).await.sent("code").unwrap();
    assert_eq!(provider.seen().exchanges, 2);
}

#[tokio::test]
async fn s70_state_keys_rotate_between_the_pages_of_a_list() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    for _ in 0..3 {
        world.authorize_at(&provider, &olivia).await;
    }
    let mut seen = Vec::new();
    let mut next = "/workflows/authorization?limit=1".to_owned();
    for (number, kids) in [["a", "demonstration"], ["b", "a"], ["c", "b"]].into_iter().enumerate() {
        let page = olivia.get(&next).await;
        seen.push(page.clone().is(200)[0]["id"].as_str().unwrap().to_owned());
        if number < 2 {
            let link = page.header("link");
            let url = url::Url::parse(link.split(['<', '>']).nth(1).unwrap()).unwrap();
            next = format!("{}?{}", url.path(), url.query().unwrap());
            put(&world, "mandate/state-keys", &state_keys(&kids)).await;
            world.pass(CACHED);
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

/// The client secrets of the demonstration and of the scripted provider.
fn client_secrets(scripted: &[&str]) -> Value {
    json!({ "conn_demo": ["demonstration-client-secret"], "conn_scripted": scripted })
}

fn takes(provider: &Provider, secrets: &[&str]) {
    let secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    provider.script(|script| script.client_secrets = Some(secrets));
}

async fn completed(world: &World, olivia: &Caller, provider: &Provider, url: &str) -> String {
    let back = world.open(&provider.come_back(url)).await;
    assert_eq!(back.status, 303, "{}", back.text);
    olivia.complete(json!({ "code": back.sent("code") })).await.is(201)["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn s70_a_client_secret_rotates_between_all_steps_of_a_sign_in_and_amid_a_refresh() {
    for order in [["new", CLIENT_SECRET], [CLIENT_SECRET, "new"]] {
        let provider = Provider::start().await;
        let world = World::with_provider(&provider).await;
        let olivia = world.olivia();
        takes(&provider, &[CLIENT_SECRET]);
        let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to() });
        let url = world.url(&olivia, body.clone()).await;

        // Between URL and callback our secret gets both; the provider still takes the old one only.
        put(&world, "mandate/client-secrets", &client_secrets(&order)).await;
        world.pass(CACHED);
        let id = completed(&world, &olivia, &provider, &url).await;
        world.bind(&olivia, "fl_1", &id).await;

        // Between callback and completion the provider changes over, at once.
        let url = world.url(&olivia, body.clone()).await;
        let back = world.open(&provider.come_back(&url)).await;
        takes(&provider, &["new"]);
        olivia.complete(json!({ "code": back.sent("code") })).await.is(201);

        // And back, while a refresh is on its way: what was sent was sent with the secret of before.
        takes(&provider, &[CLIENT_SECRET, "new"]);
        world.pass(Duration::minutes(61));
        let hold = provider.hold();
        let refresh = async {
            let token = olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.is(200);
            assert_eq!((&token["degraded"], &token["generation"]), (&json!(false), &json!(2)), "{order:?}");
        };
        let change_over = async {
            hold.arrival().await;
            takes(&provider, &["new"]);
            hold.let_go();
        };
        futures_util::future::join(refresh, change_over).await;

        // At last our secret has the new one only.
        put(&world, "mandate/client-secrets", &client_secrets(&["new"])).await;
        world.pass(Duration::minutes(61));
        let token = olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.is(200);
        assert_eq!((&token["degraded"], &token["generation"]), (&json!(false), &json!(3)), "{order:?}");
        let statuses: BTreeMap<_, _> =
            olivia.list().await.as_array().unwrap().iter().map(|a| (a["id"].to_string(), a["status"].clone())).collect();
        assert_eq!(statuses.into_values().collect::<Vec<_>>(), ["active"; 2]);
    }
}

#[tokio::test]
async fn s70_a_secret_that_is_broken_or_gone_is_not_taken_and_the_last_good_one_serves() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to() });
    let url = world.url(&olivia, body.clone()).await;
    completed(&world, &olivia, &provider, &url).await;
    put(&world, "mandate/state-keys", &json!({ "keys": [] })).await;
    put(&world, "mandate/client-secrets", &json!({ "conn_scripted": "not a list" })).await;
    world.pass(CACHED);
    let url = world.url(&olivia, body).await;
    completed(&world, &olivia, &provider, &url).await;
}
