//! Somebody who may invoke a function directly, past the gateway, with whatever event they like (security item 58). Identity comes from
//! the bearer token alone, and nothing that is no event of the gateway does more than be refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use local::demonstration;
use local::functions::InvokeError;
use serde_json::{Value, json};
use shared::ports::flows::FlowSealer as _;
use shared::secrets::StateKeys;
use shared::system::SystemEntropy;
use tests::{Calls, World};
use url::Url;

const HTTP_FUNCTIONS: [&str; 6] = ["create-url", "callback", "list", "revoke", "assign", "token"];

/// The recorded events of a function, by their file's name.
fn events(function: &str) -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events").join(function);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap())
    };
    files.filter(|path| path.extension().is_some_and(|e| e == "json")).map(read).collect()
}

/// What came of an event: the answer's status and body, or nothing if it was refused as no event at all.
async fn outcome(world: &World, function: &str, event: Value) -> Option<(u64, String)> {
    match world.stack.functions().invoke(function, event.clone()).await {
        Ok(answer) => Some((answer["statusCode"].as_u64().unwrap(), answer["body"].as_str().unwrap_or_default().to_owned())),
        Err(InvokeError::Failed(why)) => {
            let shown: String = event.to_string().chars().take(4_000).collect();
            assert!(!why.contains("panicked"), "{function} panicked at {shown}");
            assert!(why.contains("not an HTTP API event"), "{function}: {why} at {shown}");
            None
        }
        Err(error @ InvokeError::Unknown(_)) => unreachable!("{error}"),
    }
}

/// An error of the contract, or a page that refuses.
fn refuses(function: &str, (status, body): &(u64, String)) -> bool {
    let error: Value = serde_json::from_str(body).unwrap_or_default();
    let told = ["type", "code", "message", "doc_url"].iter().all(|field| error[field].is_string());
    (400..500).contains(status) && (told || function == "callback" && body.contains("This sign-in link is not valid"))
}

/// Says in every place of an event that the caller is Olivia of `org_demo`, but not by a bearer token.
fn claiming_to_be_olivia(world: &World, mut event: Value) -> Value {
    let claims = world.raw_claims(&local::sign_in::PEOPLE[0]);
    let token = world.olivia().authorization().unwrap();
    let headers = event["headers"].as_object_mut().unwrap();
    headers.remove("authorization");
    for (name, value) in [
        ("x-user-id", "usr_olivia"),
        ("x-org-id", "org_demo"),
        ("x-amzn-oidc-identity", "usr_olivia"),
        ("x-amzn-oidc-data", token.trim_start_matches("Bearer ")),
        ("x-amzn-oidc-accesstoken", token.trim_start_matches("Bearer ")),
        ("x-forwarded-user", "usr_olivia"),
        ("x-forwarded-authorization", token.as_str()),
        ("x-original-authorization", token.as_str()),
        ("proxy-authorization", token.as_str()),
        ("x-authorization", token.as_str()),
        ("cookie", &format!("authorization={token}; session={token}")),
    ] {
        headers.insert(name.to_owned(), json!(value));
    }
    let texts: BTreeMap<String, String> =
        claims.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.to_string().trim_matches('"').to_owned())).collect();
    event["requestContext"]["authorizer"] = json!({
        "jwt": { "claims": texts, "scopes": ["workflow_authorization:*"] },
        "lambda": { "principalId": "usr_olivia", "claims": claims, "org_id": "org_demo" },
        "iam": { "userId": "usr_olivia", "accountId": "000000000000", "userArn": "arn:aws:iam::000000000000:root", "accessKey": "AKIA", "callerId": "x" },
        "principalId": "usr_olivia", "claims": claims,
    });
    event["requestContext"]["identity"] = json!({ "user": "usr_olivia" });
    event["cookies"] = json!([format!("authorization={token}"), format!("token={}", token.trim_start_matches("Bearer "))]);
    event["authorizationToken"] = json!(token);
    event["identitySource"] = json!(token);
    event["type"] = json!("TOKEN");
    event["stageVariables"] = json!({ "user": "usr_olivia", "organization": "org_demo" });
    event["queryStringParameters"] = json!({ "access_token": token.trim_start_matches("Bearer ") });
    event
}

#[tokio::test]
async fn s58_no_part_of_an_event_but_the_bearer_token_says_who_calls() {
    let world = World::start().await;
    let before = world.calls();
    let mut asked = 0;
    for function in HTTP_FUNCTIONS {
        for (name, event) in events(function) {
            let method = event["requestContext"]["http"]["method"].as_str().unwrap().to_owned();
            let path = event["rawPath"].as_str().unwrap().to_owned();
            let answer = outcome(&world, function, claiming_to_be_olivia(&world, event)).await.unwrap();
            match (function, method.as_str()) {
                ("callback", "HEAD" | "OPTIONS") => {}
                ("callback", _) if !path.ends_with("/complete") => assert!(matches!(answer.0, 400 | 404 | 503), "{name}: {answer:?}"),
                // Where a path or method means nothing, that comes first.
                _ if matches!(answer.0, 404 | 405) => assert!(refuses(function, &answer), "{function} {name}: {answer:?}"),
                _ => {
                    assert_eq!(answer.0, 401, "{function} {name}: {answer:?}");
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 70, "{asked}");
    assert_eq!(world.calls() - before, Calls::default(), "nothing is looked up for them");
}

#[tokio::test]
async fn s58_a_token_with_other_claims_beside_it_is_its_own_callers() {
    let world = World::start().await;
    let mut event = claiming_to_be_olivia(&world, events("create-url").remove("minimal").unwrap());
    event["headers"]["authorization"] = json!(world.mallory().authorization().unwrap());
    let (status, body) = outcome(&world, "create-url", event).await.unwrap();
    assert_eq!(status, 200);
    let created: Value = serde_json::from_str(&body).unwrap();
    let url = Url::parse(created["url"].as_str().unwrap()).unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let keys = StateKeys::fixed(&demonstration::state_keys(), Arc::new(SystemEntropy)).unwrap();
    let (flow, _) = keys.open_state(&state).await.unwrap().unwrap();
    assert_eq!((flow.initiator.subject.as_str(), flow.organization.as_str()), ("usr_mallory", "org_elsewhere"));
    assert_eq!(flow.initiator_email.as_deref(), Some("mallory@elsewhere.example"));
}

#[tokio::test]
async fn s58_a_function_serves_its_own_routes_and_no_other_functions() {
    let world = World::start().await;
    let before = world.calls();
    let bearer = world.olivia().authorization().unwrap();
    for function in HTTP_FUNCTIONS {
        for other in HTTP_FUNCTIONS.into_iter().filter(|other| *other != function) {
            for (name, mut event) in events(function) {
                event["headers"]["authorization"] = json!(bearer);
                let answer = outcome(&world, other, event).await.unwrap();
                // `list` is also the default route; elsewhere, too, a path that nobody has is 404 and a method is 405.
                assert!(matches!(answer.0, 404 | 405), "{other} served {function}/{name}: {answer:?}");
                assert!(refuses("", &answer), "{answer:?}");
            }
        }
    }
    assert_eq!(world.calls() - before, Calls::default(), "nothing is looked up for them");
}

#[tokio::test]
async fn s58_events_of_other_services_and_shapes_are_refused_without_a_panic() {
    let world = World::start().await;
    let before = world.calls();
    let good = events("list").remove("all").unwrap();
    let mut shapes = vec![
        json!(null),
        json!([]),
        json!(""),
        json!("2.0"),
        json!(0),
        json!(true),
        json!({}),
        json!({ "version": "2.0" }),
        json!({ "version": 2.0 }),
        json!({ "version": ["2.0"] }),
        json!([{ "version": "2.0" }]),
        json!({ "version": "1.0", "httpMethod": "GET", "path": "/workflows/authorization", "headers": {}, "requestContext": {} }),
        json!({ "version": "2.0", "routeKey": "$connect", "requestContext": { "connectionId": "x", "eventType": "CONNECT" } }),
        json!({ "httpMethod": "GET", "path": "/workflows/authorization", "requestContext": { "elb": { "targetGroupArn": "x" } } }),
        json!({ "Records": [{ "eventSource": "aws:sqs", "body": "{}" }] }),
        json!({ "source": "aws.events", "detail-type": "Scheduled Event", "detail": {} }),
        json!({ "version": "2.0", "type": "REQUEST", "methodArn": "x", "requestContext": { "http": {} } }),
        json!({ "shards": [0], "of": 32 }),
    ];
    for version in [json!("1.0"), json!("2.00"), json!("2"), json!(" 2.0"), json!(null), json!({})] {
        let mut event = good.clone();
        event["version"] = version;
        shapes.push(event);
    }
    for function in HTTP_FUNCTIONS {
        for shape in &shapes {
            assert_eq!(outcome(&world, function, shape.clone()).await, None, "{function} {shape}");
        }
    }
    assert_eq!(world.calls(), before);
}

/// Values that do not belong where they are put.
fn hostile() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!([]),
        json!({}),
        json!([[]]),
        json!({ "a": { "b": [] } }),
        json!(["x", 1, null]),
        json!(""),
        json!(" "),
        json!("\u{0}"),
        json!("\r\nx: y"),
        json!("é\u{202e}\u{feff}👾"),
        json!("%"),
        json!("%zz%00%ff"),
        json!("../../%2e%2e/etc"),
        json!("http://[::1"),
        json!("1.2.3.999"),
        json!("a b\\c\"<>{}|^`"),
        json!("//"),
        json!("?#&=;"),
        json!("x".repeat(70_000)),
        json!("AAA"),
    ]
}

/// Every place in a value.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                places(member, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(elements) => {
            for (number, element) in elements.iter().enumerate() {
                places(element, &format!("{at}/{number}"), found);
            }
        }
        _ => {}
    }
}

/// Places that the gateway fills and that nobody looks at, or only under other conditions: they are there for whoever forges.
fn furnished(mut event: Value) -> Value {
    event["cookies"] = json!(["a=b"]);
    event["stageVariables"] = json!({ "a": "b" });
    event["pathParameters"] = json!({ "connection_id": "x" });
    event["requestContext"]["authorizer"] = json!({ "jwt": { "claims": { "sub": "x" }, "scopes": ["x"] }, "lambda": { "x": "y" } });
    event["requestContext"]["authentication"] =
        json!({ "clientCert": { "clientCertPem": "x", "validity": { "notAfter": "x", "notBefore": "x" } } });
    for (name, value) in
        [("host", "localhost"), ("x-forwarded-proto", "https"), ("x-request-id", "x"), ("sec-purpose", "x"), ("cookie", "a=b")]
    {
        event["headers"][name] = json!(value);
    }
    if event["body"].is_null() {
        event["body"] = json!("{}");
    }
    event["isBase64Encoded"] = json!(false);
    event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s58_an_event_that_is_wrong_in_any_one_place_is_refused_without_a_panic() {
    let world = World::start().await;
    let (before, mut tried) = (world.calls(), 0);
    for (function, names) in [
        ("create-url", ["minimal", "body_base64"]),
        ("callback", ["code", "complete"]),
        ("list", ["all", "one"]),
        ("revoke", ["delete", "dry_run"]),
        ("assign", ["put", "replace"]),
        ("token", ["hand_out", "check"]),
    ] {
        let all = events(function);
        for name in names {
            let event = furnished(all[name].clone());
            let mut found = Vec::new();
            places(&event, "", &mut found);
            for place in found {
                let spoiled = hostile().into_iter().map(|value| {
                    let mut event = event.clone();
                    *event.pointer_mut(&place).unwrap() = value;
                    event
                });
                let encoded = hostile().into_iter().map(|value| {
                    let mut event = event.clone();
                    event["isBase64Encoded"] = json!(true);
                    *event.pointer_mut(&place).unwrap() = value;
                    event
                });
                let events: Vec<Value> = spoiled.chain(encoded.filter(|_| place == "/body" || place == "/isBase64Encoded")).collect();
                tried += events.len();
                for answer in join_all(events.into_iter().map(|event| outcome(&world, function, event))).await.into_iter().flatten() {
                    let looked_at = function == "callback" && answer.0 == 503 && answer.1.contains("Your sign-in is not lost");
                    assert!(refuses(function, &answer) || looked_at, "{function}/{name} {place}: {answer:?}");
                }
            }
        }
    }
    assert!(tried > 10_000, "{tried}");
    let calls = world.calls() - before;
    assert_eq!((calls.dynamodb, calls.kms), (0, 0), "nothing is looked up for any of them");
    assert_eq!(world.provider().token_requests, 0);
    world.olivia().list().await;
}

#[tokio::test]
async fn s58_an_event_of_a_size_that_no_gateway_sends_is_refused_without_a_panic() {
    let world = World::start().await;
    for (function, name) in [("create-url", "minimal"), ("callback", "code"), ("token", "hand_out")] {
        let event = events(function).remove(name).unwrap();
        let many: serde_json::Map<String, Value> = (0..40_000).map(|number| (format!("x-{number}"), json!("y"))).collect();
        let mut headers = event.clone();
        headers["headers"] = json!(many);
        let mut values = event.clone();
        values["headers"]["x-many"] = json!(vec!["y"; 100_000]);
        let mut query = event.clone();
        query["rawQueryString"] = json!("a=b&".repeat(100_000));
        let mut path = event.clone();
        path["rawPath"] = json!("/x".repeat(500_000));
        let mut cookies = event.clone();
        cookies["cookies"] = json!(vec!["a=b"; 100_000]);
        for event in [headers, values, query, path, cookies] {
            if let Some(answer) = outcome(&world, function, event).await {
                assert!(refuses(function, &answer), "{answer:?}");
            }
        }
    }
}
