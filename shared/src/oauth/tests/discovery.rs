//! What providers say about themselves (OpenID Connect Discovery 1.0, RFC 8414), and what is made of what they do not say.

use std::sync::Arc;

use serde_json::{Value, json};
use time::Duration;

use super::log::Log;
use super::provider::request_url;
use super::scripted::{Reply, Scripted};
use super::world::{HandClock, Listed, Sevens, World, connection, exchange, http, metadata, secrets};
use crate::domain::connection::{Connection, Kind};
use crate::domain::scopes::Scopes;
use crate::oauth::{Egress, Http, Provider};
use crate::ports::provider::{CodeExchanges, Hints, ProviderError, ProviderMetadata};

const OPENID: &str = "/.well-known/openid-configuration";

fn at(issuer: &str) -> (Provider, Connection) {
    let provider = Provider::new(http(), HandClock::new(), Arc::new(Sevens), Arc::new(Listed(secrets(&["secret one"]))));
    (provider, connection(Kind::Oidc { issuer: issuer.to_owned(), revocation_endpoint: None }))
}

/// What a provider below a server says.
fn document(server: &Scripted, issuer: &str) -> Value {
    let mut document = metadata(&server.base);
    document["issuer"] = json!(issuer);
    document
}

fn paths(server: &Scripted) -> Vec<String> {
    server.all().into_iter().map(|seen| seen.path).collect()
}

#[tokio::test]
async fn s54_the_document_is_looked_for_below_the_issuer_and_then_before_its_path() {
    for (path, first, second) in [
        ("", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"),
        ("/", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"),
        ("/tenant/a", "/tenant/a/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/tenant/a"),
        ("/tenant/a/", "/tenant/a/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/tenant/a"),
    ] {
        let server = Scripted::start(|_, _| None).await;
        let issuer = format!("{}{path}", server.base);
        let (provider, connection) = at(&issuer);
        server.once(first, Reply::Json(200, document(&server, &issuer)));
        assert_eq!(provider.issuer_parameter(&connection).await.unwrap().issuer.as_deref(), Some(issuer.as_str()));
        assert_eq!(paths(&server), [first]);

        let server = Scripted::start(|_, _| None).await;
        let issuer = format!("{}{path}", server.base);
        let (provider, connection) = at(&issuer);
        server.once(second, Reply::Json(200, document(&server, &issuer)));
        assert!(provider.issuer_parameter(&connection).await.is_ok(), "{path}");
        assert_eq!(paths(&server), [first, second]);
    }
}

#[tokio::test]
async fn s54_only_an_absent_document_is_looked_for_elsewhere() {
    for reply in [
        Reply::Text(500, "", Vec::new()),
        Reply::Text(403, "", Vec::new()),
        Reply::Text(301, "", vec![("location", "/.well-known/oauth-authorization-server".to_owned())]),
        Reply::Text(200, "<html>", Vec::new()),
        Reply::Text(200, r#"{"issuer":"a","issuer":"b"}"#, Vec::new()),
        Reply::Json(200, json!({"issuer": "https://evil.example"})),
        Reply::Silence,
        Reply::Drip,
        Reply::Endless,
    ] {
        let server = Scripted::start(|_, _| None).await;
        let (provider, connection) = at(&server.base);
        server.once(OPENID, reply);
        assert!(provider.issuer_parameter(&connection).await.is_err());
        assert_eq!(paths(&server), [OPENID]);
    }
    // And nowhere else: the one of RFC 8414 has to be right, too.
    let server = Scripted::start(|_, _| None).await;
    let (provider, connection) = at(&server.base);
    let other = format!("{}/", server.base);
    server.once("/.well-known/oauth-authorization-server", Reply::Json(200, document(&server, &other)));
    assert!(
        matches!(provider.issuer_parameter(&connection).await, Err(ProviderError::AnswerInvalid { .. })),
        "a slash makes another issuer"
    );
}

#[tokio::test]
async fn s12_s54_in_production_every_endpoint_has_tls_and_a_public_address() {
    // Read with the eyes of staging, judged with those of production.
    let strict = Http::new(Egress::new(false)).unwrap();
    for name in [
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "userinfo_endpoint",
        "revocation_endpoint",
        "pushed_authorization_request_endpoint",
    ] {
        for hostile in
            ["http://idp.example/x", "https://127.0.0.1/x", "https://169.254.169.254/x", "https://idp.example:9001/x", "javascript:1"]
        {
            let refused = url::Url::parse(hostile).is_ok_and(|url| strict.judge(&url).is_err());
            assert!(refused, "{hostile}");
            let world = World::new().await;
            let mut document = metadata(&world.server.base);
            // What is hostile even in staging.
            document[name] = json!(hostile.replace("https://127.0.0.1", "https://10.0.0.1"));
            world.server.once(OPENID, Reply::Json(200, document));
            let judged = world.provider.issuer_parameter(&world.connection).await;
            assert!(matches!(judged, Err(ProviderError::AnswerInvalid { .. })), "{name} {hostile}");
        }
    }
}

#[tokio::test]
async fn s06_a_provider_that_does_not_speak_of_pkce_gets_it_and_is_warned_of_once_per_document() {
    for (told, warned) in [
        (None, true),
        (Some(json!(["plain"])), true),
        (Some(json!([])), true),
        (Some(json!("S256")), true),
        (Some(json!(["S256"])), false),
        (Some(json!(["plain", "S256"])), false),
    ] {
        let log = Log::begin();
        let server = Scripted::start(|_, _| None).await;
        let (provider, mut connection) = at(&server.base);
        connection.scopes = Scopes::parse("openid").unwrap();
        let mut document = metadata(&server.base);
        if let Some(methods) = &told {
            document["code_challenge_methods_supported"] = methods.clone();
        }
        server.once(OPENID, Reply::Json(200, document));
        for _ in 0..3 {
            let made = request_url(&provider, &connection, "openid", &Hints::default()).await.unwrap();
            for part in
                ["code_challenge=DksyTyvjKJMTgEpPXzLiaCJ1P325hYFdr6STK5uo-WM", "code_challenge_method=S256", "state=st.a-te", "nonce="]
            {
                assert!(made.url.as_str().contains(part), "{part} {told:?}");
            }
        }
        let lines = log.with("PKCE");
        assert_eq!(lines.len(), usize::from(warned), "{told:?} {lines:?}");
        assert!(lines.iter().all(|line| line.starts_with("WARN") && line.contains(&server.base)));
    }
}

#[tokio::test]
async fn s06_each_new_document_is_warned_of() {
    let log = Log::begin();
    let world = World::new().await;
    for hours in 1..=3 {
        assert!(world.provider.issuer_parameter(&world.connection).await.is_ok());
        assert_eq!(log.with("PKCE").len(), hours);
        world.clock.advance(Duration::hours(1));
    }
}

/// A connection without `openid` at the world's provider.
fn plain(world: &World) -> Connection {
    let scopes = Scopes::parse("sites:read").unwrap();
    Connection { scopes: scopes.clone(), allowed_scopes: scopes, ..world.connection.clone() }
}

fn tokens() -> Reply {
    Reply::Json(200, json!({"access_token": "at-1", "token_type": "Bearer"}))
}

#[tokio::test]
async fn without_openid_the_identity_is_whom_userinfo_names() {
    let world = World::new().await;
    let connection = plain(&world);
    world.server.once("/token", tokens());
    world.server.once("/userinfo", Reply::Json(200, json!({"sub": "person-1", "email": "a@b.example", "email_verified": true})));
    let identity = exchange(&world.provider, &connection).await.unwrap().identity.unwrap();
    assert_eq!((identity.person.issuer.as_str(), identity.person.subject.as_str()), (world.server.base.as_str(), "person-1"));
    assert_eq!((identity.email.as_deref(), identity.email_verified), (Some("a@b.example"), true));
    assert_eq!(world.server.seen("/userinfo")[0].authorization.as_deref(), Some("Bearer at-1"));
    assert!(world.server.seen("/jwks").is_empty());
    world.server.once("/token", tokens());
    world.server.once("/userinfo", Reply::Text(403, "", Vec::new()));
    assert!(exchange(&world.provider, &connection).await.unwrap().identity.is_err(), "nobody is nobody");
}

#[tokio::test]
async fn without_openid_and_without_userinfo_no_code_is_spent() {
    let world = World::new().await;
    let mut document = metadata(&world.server.base);
    document["userinfo_endpoint"] = Value::Null;
    world.server.once(OPENID, Reply::Json(200, document));
    let Err(ProviderError::Misconfigured { code }) = world.provider.prepare_exchange(&plain(&world)).await else { panic!("refused") };
    assert_eq!(code, "identity_without_openid_and_userinfo");
    assert!(world.server.seen("/token").is_empty());
}

#[tokio::test]
async fn with_openid_an_answer_without_an_id_token_is_not_made_good_by_userinfo() {
    let world = World::new().await;
    world.server.once("/token", tokens());
    let refused = world.exchange().await.unwrap().identity.unwrap_err();
    assert_eq!(refused.to_string(), "identity is not proved: it sent no id_token");
    assert!(world.server.seen("/userinfo").is_empty());
}

#[tokio::test]
async fn plain_oauth_metadata_needs_no_keys_unless_there_are_id_tokens_to_verify() {
    let server = Scripted::start(|_, _| None).await;
    let mut document = metadata(&server.base);
    document["jwks_uri"] = Value::Null;
    let (provider, openid) = at(&server.base);
    let scopes = Scopes::parse("sites:read").unwrap();
    let plain = Connection { scopes: scopes.clone(), allowed_scopes: scopes, ..openid.clone() };
    server.once("/.well-known/oauth-authorization-server", Reply::Json(200, document));
    assert!(provider.prepare_exchange(&plain).await.is_ok());
    assert!(matches!(provider.prepare_exchange(&openid).await, Err(ProviderError::AnswerInvalid { .. })));
}
