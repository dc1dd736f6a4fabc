//! Pushed authorization requests (RFC 9126).

use std::sync::Arc;

use serde_json::{Value, json};
use time::Duration;

use super::keys::Key;
use super::provider::request_url;
use super::scripted::{Reply, Seen};
use super::world::{Listed, Sevens, World, http, metadata, secrets};
use crate::domain::connection::{ClientAuthentication, Connection};
use crate::domain::secret::Secret;
use crate::oauth::Provider;
use crate::ports::configuration::ClientCredential;
use crate::ports::provider::{AuthorizationUrl, Hints, ProviderError};

/// A provider that requires pushing, or only offers it.
async fn world(required: bool, credentials: Vec<ClientCredential>) -> World {
    let world = World::with(Key::ec(), credentials).await;
    let mut document = metadata(&world.server.base);
    document["require_pushed_authorization_requests"] = json!(required);
    document["pushed_authorization_request_endpoint"] = json!(format!("{}/par", world.server.base));
    document["authorization_endpoint"] = json!(format!("{}/authorize", world.server.base));
    world.server.once("/.well-known/openid-configuration", Reply::Json(200, document));
    world
}

async fn make(provider: &Provider, connection: &Connection) -> Result<AuthorizationUrl, ProviderError> {
    let hints = Hints { login_hint: Some("ops@example.com".to_owned()), ..Hints::default() };
    request_url(provider, connection, "openid email", &hints).await
}

fn took(name: &str) -> Reply {
    Reply::Json(201, json!({"request_uri": name, "expires_in": 90}))
}

/// How often the form names something.
fn count(request: &Seen, name: &str) -> usize {
    url::form_urlencoded::parse(request.body.as_bytes()).filter(|(n, _)| n == name).count()
}

#[tokio::test]
async fn s15_every_kind_of_client_proves_itself_and_the_browser_carries_two_names() {
    let key = Key::ec();
    for (method, credentials) in [
        (ClientAuthentication::ClientSecretBasic, secrets(&["secret one"])),
        (ClientAuthentication::ClientSecretPost, secrets(&["secret one"])),
        (ClientAuthentication::PrivateKeyJwt, vec![ClientCredential::Key { kid: "c1".to_owned(), pem: Secret::new(key.pem()) }]),
        (ClientAuthentication::None, Vec::new()),
    ] {
        for required in [true, false] {
            let mut world = world(required, credentials.clone()).await;
            world.connection.client_authentication = method;
            world.connection.pushed_authorization_requests = !required;
            world.server.once("/par", took("urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c"));
            let made = make(&world.provider, &world.connection).await.unwrap();
            assert_eq!(
                made.url.as_str().strip_prefix(&world.server.base).unwrap(),
                "/authorize?client_id=client%20one&request_uri=urn%3Aietf%3Aparams%3Aoauth%3Arequest_uri%3A6esc_11ACC5bwc014ltc14eY22c"
            );
            assert_eq!(made.pushed_for, Some(Duration::seconds(90)));
            let [pushed] = &world.server.seen("/par")[..] else { panic!("one request") };
            assert_eq!(pushed.method, "POST");
            for (name, value) in [
                ("response_type", "code"),
                ("client_id", "client one"),
                ("redirect_uri", "https://mandate.example.com/cb?a=1"),
                ("scope", "email openid"),
                ("state", "st.a-te"),
                ("code_challenge_method", "S256"),
                ("nonce", "nonce-of-this-flow"),
                ("login_hint", "ops@example.com"),
            ] {
                assert_eq!((pushed.form(name).as_deref(), count(pushed, name)), (Some(value), 1), "{name} {method:?}");
            }
            assert_eq!(count(pushed, "code_challenge") + count(pushed, "request_uri"), 1);
            let proof = (
                pushed.authorization.as_deref(),
                pushed.form("client_secret").as_deref() == Some("secret one"),
                pushed.form("client_assertion").is_some_and(|assertion| key.signed("ES256", &assertion)),
            );
            let expected = match method {
                // RFC 6749 section 2.3.1: "client+one:secret+one".
                ClientAuthentication::ClientSecretBasic => (Some("Basic Y2xpZW50K29uZTpzZWNyZXQrb25l"), false, false),
                ClientAuthentication::ClientSecretPost => (None, true, false),
                ClientAuthentication::PrivateKeyJwt => (None, false, true),
                ClientAuthentication::None => (None, false, false),
            };
            assert_eq!(proof, expected, "{method:?}");
        }
    }
}

#[tokio::test]
async fn s15_a_request_uri_is_used_once_so_each_url_is_a_push_of_its_own() {
    let world = world(true, secrets(&["secret one"])).await;
    for name in ["urn:x:1", "urn:x:2"] {
        world.server.once("/par", took(name));
        let made = make(&world.provider, &world.connection).await.unwrap();
        assert!(made.url.query_pairs().any(|(n, v)| n == "request_uri" && v == name), "{name}");
    }
    assert_eq!(world.server.seen("/par").len(), 2);
}

#[tokio::test]
async fn s15_what_the_endpoint_answers_wrongly_makes_no_url() {
    let world = world(true, secrets(&["secret one"])).await;
    let odd = |value: Value| Reply::Json(201, json!({"request_uri": "urn:x:1", "expires_in": value}));
    let lifetime = "provider's answer is not usable: its expires_in is not a positive number of seconds";
    let name = "provider's answer is not usable: it has no usable request_uri";
    for (reply, expected) in [
        (Reply::Json(400, json!({"error": "invalid_request"})), "provider answered with the OAuth error invalid_request"),
        (
            Reply::Json(400, json!({"error": "invalid_scope", "error_description": "x"})),
            "provider answered with the OAuth error invalid_scope",
        ),
        (Reply::Json(403, json!({"error": "unauthorized_client"})), "provider refused this client: unauthorized_client"),
        (Reply::Json(401, json!({"error": "invalid_client"})), "provider refused this client: invalid_client"),
        (Reply::Text(401, "", Vec::new()), "provider refused this client: invalid_client"),
        (Reply::Text(404, "", Vec::new()), "provider is not available"),
        (Reply::Text(429, "", vec![("retry-after", "9".to_owned())]), "provider is not available"),
        (Reply::Json(500, json!({"error": "server_error"})), "provider is not available"),
        (Reply::Text(503, "<html>", Vec::new()), "provider is not available"),
        (Reply::Silence, "provider is not available"),
        (Reply::HangUp, "provider is not available"),
        (Reply::Drip, "provider is not available"),
        (Reply::Endless, "provider's answer is not usable: it is larger than 256 KiB"),
        (Reply::Text(307, "", vec![("location", "/elsewhere".to_owned())]), "provider's answer is not usable: it is a redirect"),
        (Reply::Text(204, "", Vec::new()), "provider is not available"),
        (Reply::Text(201, "<html>", Vec::new()), name),
        (Reply::Text(201, "[]", Vec::new()), name),
        (Reply::Json(201, json!({"expires_in": 60})), name),
        (Reply::Json(201, json!({"request_uri": "", "expires_in": 60})), name),
        (Reply::Json(201, json!({"request_uri": 7, "expires_in": 60})), name),
        (Reply::Json(201, json!({"request_uri": "urn:a b", "expires_in": 60})), name),
        (Reply::Json(201, json!({"request_uri": "u".repeat(1025), "expires_in": 60})), name),
        (Reply::Json(201, json!({"request_uri": "urn:x:1"})), lifetime),
        (odd(json!(0)), lifetime),
        (odd(json!(-60)), lifetime),
        (odd(json!("60")), lifetime),
        (odd(json!(1.5)), lifetime),
        (odd(json!(1e300)), lifetime),
        (odd(Value::Null), lifetime),
        (odd(json!([60])), lifetime),
    ] {
        let before = world.server.seen("/par").len();
        world.server.once("/par", reply);
        assert_eq!(make(&world.provider, &world.connection).await.unwrap_err().to_string(), expected);
        assert_eq!(world.server.seen("/par").len(), before + 1, "it is asked once");
    }
    assert!(world.server.seen("/elsewhere").is_empty());
    world.server.once("/par", odd(json!(u64::MAX)));
    let made = make(&world.provider, &world.connection).await.unwrap();
    assert!(made.pushed_for.is_some_and(|kept| kept > Duration::DAY), "a very long time is one");
}

#[tokio::test]
async fn s15_the_next_secret_is_tried_where_the_first_is_not_known() {
    let world = world(true, secrets(&["new", "old"])).await;
    world.server.once("/par", Reply::Json(401, json!({"error": "invalid_client"})));
    world.server.once("/par", took("urn:x:1"));
    assert!(make(&world.provider, &world.connection).await.is_ok());
    let tried: Vec<_> = world.server.seen("/par").into_iter().map(|seen| seen.authorization.unwrap()).collect();
    assert_eq!(tried, ["Basic Y2xpZW50K29uZTpuZXc=", "Basic Y2xpZW50K29uZTpvbGQ="]);
    let retried: Vec<_> = world.server.seen("/par").into_iter().map(|seen| seen.form("state")).collect();
    assert_eq!(retried[0], retried[1]);
}

#[tokio::test]
async fn s15_a_function_without_client_secrets_never_sends_the_parameters_through_the_browser_instead() {
    for required in [true, false] {
        let mut world = world(required, Vec::new()).await;
        world.connection.pushed_authorization_requests = !required;
        let provider = Provider::without_secrets(http(), world.clock.clone(), Arc::new(Sevens));
        let Err(ProviderError::Misconfigured { code }) = make(&provider, &world.connection).await else { panic!("no URL") };
        assert_eq!(code, "pushed_authorization_request_without_client_secrets");
        assert!(world.server.seen("/par").is_empty());
        // A public client has nothing to prove.
        world.connection.client_authentication = ClientAuthentication::None;
        world.server.once("/par", took("urn:x:1"));
        assert!(make(&provider, &world.connection).await.is_ok());
    }
    // Given the secrets, but none for this connection: a public client.
    let world = world(true, Vec::new()).await;
    let provider = Provider::new(http(), world.clock.clone(), Arc::new(Sevens), Arc::new(Listed(Vec::new())));
    world.server.once("/par", took("urn:x:1"));
    assert!(make(&provider, &world.connection).await.is_ok());
    assert_eq!(world.server.seen("/par").remove(0).authorization, None);
}

#[tokio::test]
async fn s15_a_provider_that_requires_pushing_and_names_no_endpoint_gets_nobody() {
    let world = World::new().await;
    let mut document = metadata(&world.server.base);
    document["require_pushed_authorization_requests"] = json!(true);
    world.server.once("/.well-known/openid-configuration", Reply::Json(200, document));
    let Err(ProviderError::Misconfigured { code }) = make(&world.provider, &world.connection).await else { panic!("no URL") };
    assert_eq!(code, "pushed_authorization_endpoint_missing");
}
