//! What an operator sees: how `create-url` starts and serves as it is deployed, with and without the client secrets, and what the log
//! says of providers that misbehave. One process has one log: every test here looks for lines of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]

use std::sync::Arc;

use create_url::CreateUrlFunction;
use lambda_http::Context;
use local::provision::loopback_sdk_config;
use serde_json::{Value, json};
use shared::config::{Need, Settings};
use shared::http::event;
use shared::system::SystemEntropy;
use shared::telemetry;
use shared::wiring::Wiring;
use tests::log;
use tests::pushing::{CLIENT_SECRET, METADATA, PAR, Pushing, REVOKE, TOKEN};
use tests::script::Instead;
use tests::{Caller, Expect as _, World};
use time::Duration;

const CONNECTION: &str = "conn_pushing";

async fn world(change: impl FnOnce(&mut Value)) -> (Pushing, World, Caller) {
    let provider = Pushing::start().await;
    let mut connection = provider.connection(CONNECTION);
    change(&mut connection);
    let world = World::with_connections(vec![(connection, &[CLIENT_SECRET])], Some(provider.clock())).await;
    let olivia = world.olivia();
    (provider, world, olivia)
}

/// Wires `create-url` as its `main` does, against the AWS of this world.
async fn create_url(world: &World, with_client_secrets: bool) -> Result<CreateUrlFunction, String> {
    let [directory, client_secrets, state_keys] = &world.stack.provisioned().secret_ids[..3] else { panic!("three secrets") };
    let settings = Settings {
        directory_secret: Some(directory.clone()),
        client_secrets_secret: with_client_secrets.then(|| client_secrets.clone()),
        state_keys_secret: Some(state_keys.clone()),
        development: true,
        ..Settings::default()
    };
    let needs = [Need::Directory, Need::StateKeys, Need::ClientSecretsToPush];
    let sdk = loopback_sdk_config(world.stack.aws_endpoint());
    let wiring = Wiring::start(settings, &needs, sdk, Arc::clone(&world.clock) as _, Arc::new(SystemEntropy)).await;
    let wiring = wiring.map_err(|error| telemetry::chain(&error))?;
    Ok(CreateUrlFunction { edge: wiring.edge(), create_url: wiring.create_url() })
}

/// Sends it what API Gateway would: status and body.
async fn invoke(function: CreateUrlFunction, caller: &Caller, request_id: &str) -> (u64, Value) {
    let mut event: Value = serde_json::from_str(include_str!("../../events/create-url/minimal.json")).unwrap();
    event["headers"]["authorization"] = json!(caller.authorization().unwrap());
    event["headers"]["content-type"] = json!("application/json");
    event["headers"]["x-request-id"] = json!(request_id);
    event["body"] = json!(json!({ "connection_id": CONNECTION }).to_string());
    let answer = event::serve(Arc::new(function), &event.to_string(), Context::default()).await.unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(answer["body"].as_str().unwrap()).unwrap())
}

#[tokio::test]
async fn s15_create_url_without_client_secrets_does_not_start_with_a_directory_that_has_it_push() {
    let (_provider, world, _) = world(|connection| connection["pushed_authorization_requests"] = json!(true)).await;
    let refused = create_url(&world, false).await.map(|_| ()).unwrap_err();
    assert_eq!(
        refused,
        "failed to read the directory: connections[1].pushed_authorization_requests: needs the client secrets, which this function is not given"
    );
    assert!(create_url(&world, true).await.is_ok());
}

#[tokio::test]
async fn s15_a_push_that_turns_out_to_be_required_fails_clearly_and_sends_nothing_through_the_browser() {
    let (provider, world, olivia) = world(|_| {}).await;
    let (status, body) = invoke(create_url(&world, false).await.unwrap(), &olivia, "push-without-secrets").await;
    assert_eq!((status, &body["code"], body.get("url")), (502, &json!("oauth_failed"), None));
    assert!(provider.asked(PAR).is_empty());
    let [line] = &log::with("push-without-secrets")[..] else { panic!("one line") };
    assert_eq!(line["cause"], "provider refused this client: pushed_authorization_request_without_client_secrets");
    // Deployed with the client secrets it does as it should.
    let (status, body) = invoke(create_url(&world, true).await.unwrap(), &olivia, "push-with-secrets").await;
    assert_eq!(status, 200);
    assert!(body["url"].as_str().unwrap().contains("request_uri="));
    assert_eq!(provider.asked(PAR).len(), 1);
    // A provider that does not require it never asks for them.
    provider.script(|script| script.metadata["require_pushed_authorization_requests"] = Value::Null);
    let (status, body) = invoke(create_url(&world, false).await.unwrap(), &olivia, "no-push").await;
    assert_eq!((status, body["url"].as_str().unwrap().contains("code_challenge=")), (200, true));
}

/// The template as plain YAML: `!If`, `!Ref` and their like become maps of one member.
fn template() -> String {
    include_str!("../../template.yaml").to_owned()
}

/// The lines of a resource, without comments.
fn resource(name: &str) -> String {
    let text = template();
    let from = text.find(&format!("\n  {name}:\n")).unwrap() + 1;
    let rest = &text[from..];
    let end = rest
        .match_indices("\n  ")
        .find(|(at, _)| rest[at + 3..].starts_with(|c: char| c.is_ascii_uppercase()))
        .map_or(rest.len(), |(at, _)| at);
    rest[..end].lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
}

#[test]
fn s15_the_template_gives_create_url_the_client_secrets_only_if_it_is_told_to_push() {
    let text = template();
    let parameter = text.split("  PushedAuthorizationRequests:\n").nth(1).unwrap();
    assert!(parameter.starts_with("    Type: String\n    AllowedValues: ['true', 'false']\n    Default: 'false'\n"));
    assert!(text.contains("  PushesAuthorizationRequests: !Equals [!Ref PushedAuthorizationRequests, 'true']\n"));
    let function = resource("CreateUrlFunction");
    let given: Vec<&str> = function.lines().filter(|line| line.contains("ClientSecretsSecret")).map(str::trim).collect();
    assert_eq!(given, ["MANDATE_CLIENT_SECRETS_SECRET: !If [PushesAuthorizationRequests, !Ref ClientSecretsSecret, !Ref AWS::NoValue]"]);
    let role = resource("CreateUrlRole");
    let lines: Vec<&str> = role.lines().map(str::trim).collect();
    let at: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains("ClientSecretsSecret")).collect();
    let [at] = at[..] else { panic!("one statement") };
    assert_eq!(
        &lines[at - 5..=at + 1],
        [
            "- !If",
            "- PushesAuthorizationRequests",
            "- Sid: ProofOfPushingClients",
            "Effect: Allow",
            "Action: 'secretsmanager:GetSecretValue'",
            "Resource: !Ref ClientSecretsSecret",
            "- !Ref AWS::NoValue",
        ]
    );
    for other in ["ListFunction", "ListRole", "AssignFunction", "AssignRole"] {
        assert!(!resource(other).contains("ClientSecretsSecret"), "{other}");
    }
}

#[tokio::test]
async fn s06_a_provider_that_does_not_speak_of_pkce_is_one_warning_for_each_document() {
    let (provider, world, olivia) = world(|_| {}).await;
    let warnings = || log::with(provider.issuer()).into_iter().filter(|line| line["message"].to_string().contains("PKCE")).count();
    for _ in 0..3 {
        world.url(&olivia, json!({ "connection_id": CONNECTION })).await;
    }
    assert_eq!(warnings(), 0, "it does speak of it");
    provider.script(|script| script.metadata["code_challenge_methods_supported"] = Value::Null);
    for documents in 1..=2 {
        world.pass(Duration::HOUR);
        for _ in 0..3 {
            world.url(&olivia, json!({ "connection_id": CONNECTION })).await;
        }
        assert_eq!((warnings(), provider.asked(METADATA).len()), (documents, documents + 1));
    }
    let line = log::with(provider.issuer()).into_iter().find(|line| line["message"].to_string().contains("PKCE")).unwrap();
    assert_eq!((&line["level"], &line["issuer"]), (&json!("warn"), &json!(provider.issuer())));
}

/// What a provider may say to make a log lie, or to fill it.
fn hostile(marker: &str) -> String {
    format!("{marker}\u{1b}[31m\r\n{{\"audit\":true}}\u{0}\u{7f}\u{85}\u{2028}<script>{}", "x".repeat(20_000))
}

#[tokio::test]
async fn s78_what_providers_say_is_logged_only_if_it_looks_like_an_oauth_error() {
    let (provider, world, olivia) = world(|_| {}).await;
    let body = json!({ "connection_id": CONNECTION, "redirect_uri": world.return_to() });
    let marker = "SaidByTheProvider";
    let error = |status: u16| {
        let (code, words) = (hostile(marker), hostile("InItsOwnWords"));
        Instead::json(status, &json!({ "error": code, "error_description": words, "error_uri": words }))
            .with("www-authenticate", "Bearer error_description=\"InItsOwnWords\"")
    };
    // Wherever it can say something: pushing, exchange, refresh, revocation, and in what is no JSON.
    provider.once(PAR, error(400));
    olivia.post("/workflows/authorization", body.clone()).await.refused(502, "oauth_failed");
    provider.once(PAR, Instead::text(400, &hostile("InItsOwnWords")));
    olivia.post("/workflows/authorization", body.clone()).await.refused(503, "provider_unavailable");
    for status in [400, 403, 200] {
        provider.once(TOKEN, error(status));
        let back = world.open(&provider.come_back(&world.url(&olivia, body.clone()).await)).await;
        olivia.complete(json!({ "code": back.sent("code") })).await.refused(400, "oauth_failed");
    }
    provider.once(TOKEN, Instead::text(200, &hostile("InItsOwnWords")));
    let back = world.open(&provider.come_back(&world.url(&olivia, body.clone()).await)).await;
    olivia.complete(json!({ "code": back.sent("code") })).await.refused(502, "oauth_failed");

    let back = world.open(&provider.come_back(&world.url(&olivia, body).await)).await;
    let id = olivia.complete(json!({ "code": back.sent("code") })).await.is(201)["id"].as_str().unwrap().to_owned();
    world.bind(&olivia, "fl_1", &id).await;
    world.pass(Duration::HOUR);
    provider.once(TOKEN, error(400));
    olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.refused(503, "provider_unavailable");
    world.pass(Duration::HOUR);
    provider.once(TOKEN, Instead::json(400, &json!({ "error": "invalid_target", "error_description": hostile("InItsOwnWords") })));
    olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.refused(503, "provider_unavailable");
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    provider.once(REVOKE, error(400));
    olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);

    let text = log::text();
    assert!(!text.contains("InItsOwnWords"), "descriptions and bodies stay out");
    assert!(!text.contains(marker), "and so do codes that are none");
    let said = text.lines().filter(|line| line.contains("unknown_error")).count();
    assert!(said >= 6, "each failure has its line: {said}");
    assert!(text.lines().any(|line| line.contains("invalid_target")), "what is one helps whoever is on call");
}
