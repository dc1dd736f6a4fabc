//! The way out, and how its failures are told apart.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use super::scripted::Reply;
use super::world::{World, http};
use crate::oauth::{Egress, Http};
use crate::ports::provider::{ProviderError, ProviderMetadata};

fn production() -> Http {
    Http::new(Egress::new(false)).unwrap()
}

async fn get(http: &Http, url: &str) -> Result<u16, ProviderError> {
    let request = ::http::Request::get(url).body(Vec::new()).unwrap();
    http.send(request).await.map(|answer| answer.status.as_u16()).map_err(ProviderError::from)
}

#[tokio::test]
async fn s75_s76_hostile_endpoints_are_refused_before_anything_is_sent() {
    let production = production();
    for url in [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:a00:1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://169.254.170.2/v2/credentials",
        "https://[fd00:ec2::254]/",
        "https://10.0.0.1/",
        "https://192.168.0.1/",
        "https://172.16.9.9/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://0/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://[fe80::1]/",
        "https://[ff02::1]/",
        "https://localhost/",
        "https://LOCALHOST/",
        "https://user@example.com/",
        "https://:p@example.com/",
        "https://example.com:9001/",
        "https://127.0.0.1:9001/",
        "http://127.0.0.1/",
        "http://localhost/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[2002:7f00:1::]/",
        "https://198.18.0.1/",
    ] {
        let refused = get(&production, url).await;
        assert!(matches!(refused, Err(ProviderError::Misconfigured { .. })), "{url}: {refused:?}");
    }
    let staging = http();
    for url in [
        "http://127.0.0.1:9001/",
        "http://localhost:9001/",
        "http://example.com/",
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "http://127.0.0.1.nip.io/",
    ] {
        assert!(matches!(get(&staging, url).await, Err(ProviderError::Misconfigured { .. })), "{url}");
    }
    assert!(staging.judge(&Url::parse("http://localhost:5000/x").unwrap()).is_ok());
    assert!(production.judge(&Url::parse("https://signin.example.com/").unwrap()).is_ok());
}

#[tokio::test]
async fn s76_a_name_that_resolves_to_this_machine_is_refused_at_connect_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let Err(ProviderError::Misconfigured { code }) = get(&production(), &url).await else { panic!("refused") };
    assert_eq!(code, "endpoint_address_forbidden");
}

#[tokio::test]
async fn s32_a_lost_answer_is_told_from_one_that_was_never_asked_for() {
    let world = World::new().await;
    world.server.once("/token", Reply::Silence);
    assert!(matches!(world.exchange().await, Err(ProviderError::AnswerLost { .. })));
    world.server.once("/token", Reply::HangUp);
    assert!(matches!(world.exchange().await, Err(ProviderError::AnswerLost { .. })));
    assert_eq!(world.server.seen("/token").len(), 2, "and never sent again");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(matches!(get(&http(), &format!("http://{closed}/")).await, Err(ProviderError::Unavailable { status: None, .. })));
}

#[tokio::test]
async fn s38_redirects_are_not_followed_and_bodies_end() {
    let world = World::new().await;
    for status in [301, 302, 303, 307, 308] {
        let away = vec![("location", format!("{}/elsewhere", world.server.base))];
        world.server.once("/token", Reply::Text(status, "", away));
        assert!(matches!(world.exchange().await, Err(ProviderError::AnswerInvalid { .. })), "{status}");
    }
    world.server.once("/token", Reply::Endless);
    assert!(matches!(world.exchange().await, Err(ProviderError::AnswerInvalid { why: "it is larger than 256 KiB" })));
    assert!(world.server.seen("/elsewhere").is_empty());
    let other = World::new().await;
    other.server.once("/.well-known/openid-configuration", Reply::Text(302, "", vec![("location", "/elsewhere".to_owned())]));
    assert!(other.provider.issuer_parameter(&other.connection).await.is_err());
    assert!(other.server.seen("/elsewhere").is_empty());
    assert_eq!(Egress::new(false).connect_timeout, Duration::from_secs(3));
    assert_eq!(Egress::new(false).total_timeout, Duration::from_secs(10));
}

#[tokio::test]
async fn s54_metadata_of_another_issuer_or_with_strange_endpoints_is_refused() {
    let good = |base: &str| super::world::metadata(base);
    for (name, value) in [
        ("issuer", json!("https://evil.example")),
        ("issuer", Value::Null),
        ("token_endpoint", json!("http://evil.example/token")),
        ("token_endpoint", json!("https://169.254.169.254/")),
        ("token_endpoint", json!("https://user@idp.example/")),
        ("jwks_uri", Value::Null),
        ("userinfo_endpoint", json!(5)),
    ] {
        let world = World::new().await;
        let mut document = good(&world.server.base);
        document[name] = value;
        world.server.once("/.well-known/openid-configuration", Reply::Json(200, document));
        let refused = world.provider.issuer_parameter(&world.connection).await;
        assert!(matches!(refused, Err(ProviderError::AnswerInvalid { .. })), "{name} {refused:?}");
        assert!(world.server.seen("/token").is_empty());
    }
    let world = World::new().await;
    let mut document = good(&world.server.base);
    document["issuer"] = json!(format!("{}/", world.server.base));
    world.server.once("/.well-known/openid-configuration", Reply::Json(200, document));
    assert!(world.provider.issuer_parameter(&world.connection).await.is_err(), "a slash makes another issuer");
}

#[tokio::test]
async fn metadata_is_fetched_once_and_serves_stale() {
    let world = World::new().await;
    let ask = || world.provider.issuer_parameter(&world.connection);
    let (a, b, c) = tokio::join!(ask(), ask(), ask());
    let parameter = a.unwrap();
    assert!(parameter.advertised && parameter.issuer.as_deref() == Some(world.server.base.as_str()) && b.is_ok() && c.is_ok());
    assert_eq!(world.server.seen("/.well-known/openid-configuration").len(), 1);
    world.clock.advance(time::Duration::hours(2));
    world.server.once("/.well-known/openid-configuration", Reply::Text(500, "", Vec::new()));
    assert!(ask().await.is_ok() && ask().await.is_ok());
    assert_eq!(world.server.seen("/.well-known/openid-configuration").len(), 2);
    world.clock.advance(time::Duration::hours(23));
    world.server.once("/.well-known/openid-configuration", Reply::Text(500, "", Vec::new()));
    assert!(matches!(ask().await, Err(ProviderError::Unavailable { status: Some(500), .. })));
}
