//! The way out, and how its failures are told apart.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use super::provider::text;
use super::scripted::Reply;
use super::world::{World, http};
use crate::oauth::{Egress, Http};
use crate::ports::provider::{ProviderError, ProviderMetadata, Revocations, UserInfo};

/// Where no request of production may go.
const HOSTILE: &[&str] = &[
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
    // The same addresses in the spellings that parsers know.
    "https://127.0.0.1./",
    "https://127.0.1/",
    "https://0x7f000001/",
    "https://017700000001/",
    "https://0x7f.0x0.0x0.0x1/",
    "https://127.255.255.254/",
    "https://%31%32%37.0.0.1/",
    "https://１２７.0.0.1/",
    "https://①②⑦.0.0.1/",
    "https://127。0。0。1/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:127.0.0.1]/",
    "https://[::]/",
    "https://0x0/",
    "https://00000000/",
    "https://169.254.169.254.:443/",
    "https://0xa9fea9fe/",
    "https://2852039166/",
    "https://0251.0376.0251.0376/",
    "https://169.254.43518/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[64:ff9b::10.0.0.1]/",
    "https://[64:ff9b:1::a9fe:a9fe]/",
    "https://[2001:0:7f00:1::]/",
    "https://[2001:db8::1]/",
    "https://[fec0::1]/",
    "https://[fc00::1]/",
    "https://[fd12:3456:789a::1]/",
    "https://[100::1]/",
    "https://[4000::1]/",
    "https://[5f00::1]/",
    "https://[ff0e::1]/",
    "https://10.255.255.255/",
    "https://0xa.0.0.1/",
    "https://012.0.0.1/",
    "https://167772161/",
    "https://172.31.255.255/",
    "https://192.168.255.255/",
    "https://192.0.0.170/",
    "https://192.0.2.1/",
    "https://192.88.99.1/",
    "https://198.51.100.1/",
    "https://203.0.113.1/",
    "https://100.127.255.255/",
    "https://233.252.0.1/",
    "https://240.0.0.1/",
    // Without TLS, with credentials, with the port of the Lambda runtime.
    "http://example.com:443/",
    "http://[2606:4700::1111]/",
    "http://8.8.8.8/",
    "ftp://example.com/",
    "ws://example.com/",
    "https://a:b@example.com/",
    "https://token@8.8.8.8/",
    "https://example.com:09001/",
    "https://8.8.8.8:9001/",
    "https://[2606:4700::1111]:9001/",
];

/// Addresses that are not plainly public, one or more of each network that is set aside.
const SET_ASIDE: [[u8; 4]; 22] = [
    [0, 0, 0, 0],
    [0, 1, 2, 3],
    [10, 0, 0, 1],
    [10, 255, 255, 255],
    [100, 64, 0, 1],
    [100, 127, 255, 255],
    [127, 0, 0, 1],
    [127, 8, 8, 8],
    [127, 255, 255, 254],
    [169, 254, 169, 254],
    [169, 254, 170, 2],
    [172, 16, 0, 1],
    [172, 31, 255, 255],
    [192, 0, 0, 170],
    [192, 0, 2, 1],
    [192, 88, 99, 1],
    [192, 168, 0, 1],
    [192, 168, 255, 255],
    [198, 18, 0, 1],
    [198, 51, 100, 1],
    [203, 0, 113, 1],
    [224, 0, 0, 251],
];

/// How an address can be written in a URL: as browsers read it, and inside of an IPv6 address that leads to it.
fn spellings([a, b, c, d]: [u8; 4]) -> Vec<String> {
    let number = u32::from_be_bytes([a, b, c, d]);
    let last = u32::from_be_bytes([0, b, c, d]);
    let [high, low] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
    let host = [
        format!("{a}.{b}.{c}.{d}"),
        format!("{a}.{b}.{c}.{d}."),
        format!("{number}"),
        format!("{number:#x}"),
        format!("0{number:o}"),
        format!("{a}.{last}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("{a}%2e{b}%2e{c}%2e{d}"),
        format!("[::ffff:{high:x}:{low:x}]"),
        format!("[::{high:x}:{low:x}]"),
        format!("[64:ff9b::{high:x}:{low:x}]"),
        format!("[2002:{high:x}:{low:x}::]"),
    ];
    host.into_iter().map(|host| format!("https://{host}/token")).collect()
}

fn production() -> Http {
    Http::new(Egress::new(false)).unwrap()
}

async fn get(http: &Http, url: &str) -> Result<u16, ProviderError> {
    let url = Url::parse(url).map_err(|_| ProviderError::Misconfigured { code: "endpoint_not_a_url".to_owned() })?;
    let request = ::http::Request::get(url.as_str()).body(Vec::new()).unwrap();
    http.send(request).await.map(|answer| answer.status.as_u16()).map_err(ProviderError::from)
}

#[tokio::test]
async fn s75_s76_hostile_endpoints_are_refused_before_anything_is_sent() {
    let production = production();
    let spelled: Vec<String> = SET_ASIDE.into_iter().flat_map(spellings).collect();
    let all: BTreeSet<&str> = HOSTILE.iter().copied().chain(spelled.iter().map(String::as_str)).collect();
    assert!(all.len() >= 300, "{}", all.len());
    for url in all {
        let refused = get(&production, url).await;
        assert!(matches!(refused, Err(ProviderError::Misconfigured { .. })), "{url}: {refused:?}");
    }
    for url in &spelled {
        // Where a browser is sent, and what metadata names, is judged by the same rule before anybody goes there.
        assert!(Url::parse(url).is_ok_and(|url| production.judge(&url).is_err()), "{url}");
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

/// A server that answers nonsense at one of a provider's endpoints, and what is then said of it. Nothing is believed, nothing lasts.
#[tokio::test]
async fn s38_every_endpoint_is_held_to_the_same_limits() {
    type Nonsense = fn() -> Reply;
    let away = || Reply::Text(302, "", vec![("location", "/elsewhere".to_owned())]);
    let table: [(Nonsense, &str, &str); 4] = [
        (|| Reply::Drip, "provider is not available", "provider's answer was lost"),
        (|| Reply::Silence, "provider is not available", "provider's answer was lost"),
        (|| Reply::Endless, "it is larger than 256 KiB", "it is larger than 256 KiB"),
        (away, "it is a redirect", "it is a redirect"),
    ];
    for (nonsense, read, redeemed) in table {
        for path in ["/.well-known/openid-configuration", "/jwks", "/userinfo", "/token", "/revoke"] {
            let world = World::new().await;
            world.server.once(path, nonsense());
            let told = match path {
                "/userinfo" => world.provider.userinfo(&world.connection, &text("at")).await.unwrap_err().to_string(),
                "/revoke" => {
                    world.provider.revoke_tokens(&world.connection, Some(&text("rt")), None).await.outcome.unwrap_err().to_string()
                }
                _ => world.exchange().await.unwrap_err().to_string(),
            };
            let expected = if matches!(path, "/token" | "/revoke") { redeemed } else { read };
            assert!(told.contains(expected), "{path}: {told}");
            assert_eq!(world.server.seen(path).len(), 1, "{path} is asked once");
            assert!(world.server.seen("/elsewhere").is_empty());
        }
    }
}

/// `{"access_token":"a","token_type":"Bearer"}`, compressed by gzip.
const GZIPPED: [u8; 57] = [
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 74, 76, 78, 78, 45, 46, 142, 47, 201, 207, 78, 205, 83, 178, 82, 74, 84, 210, 81, 2, 179,
    227, 75, 42, 11, 82, 129, 2, 78, 169, 137, 69, 169, 69, 74, 181, 0, 149, 97, 115, 43, 42, 0, 0, 0,
];

#[tokio::test]
async fn s38_nothing_is_decompressed_and_nothing_compressed_is_asked_for() {
    let world = World::new().await;
    for encoding in ["gzip", "x-gzip", "deflate", "br", "zstd", "gzip, gzip"] {
        world.server.once("/token", Reply::Bytes(GZIPPED.to_vec(), vec![("content-encoding", encoding.to_owned())]));
        let told = world.exchange().await.unwrap_err().to_string();
        assert_eq!(told, "provider's answer is not usable: it is not a strict JSON object", "{encoding}");
    }
    for seen in world.server.all() {
        let head = seen.head.to_lowercase();
        assert!(!head.contains("accept-encoding") && !head.contains("\r\ncookie:") && !head.contains("\r\nreferer:"), "{head}");
    }
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
