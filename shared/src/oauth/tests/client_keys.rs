//! Clients that prove themselves by a key (`private_key_jwt`; RFC 7523, OpenID Connect Core section 9).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::keys::{Key, pem};
use super::provider::{request_url, text};
use super::scripted::{Reply, Scripted, Seen};
use super::world::{Listed, NOW, World, exchange, http, metadata};
use crate::client_key::ClientKey;
use crate::domain::connection::{ClientAuthentication, Connection, Kind};
use crate::domain::secret::Secret;
use crate::oauth::Provider;
use crate::ports::Unavailable;
use crate::ports::clock::Entropy;
use crate::ports::configuration::ClientCredential;
use crate::ports::provider::{Hints, ProviderError, Revocations};

/// Randomness of which no two draws are alike.
struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Unavailable> {
        buffer.fill(self.0.fetch_add(1, Ordering::SeqCst));
        Ok(())
    }
}

fn key(kid: &str, pem: String) -> ClientCredential {
    ClientCredential::Key { kid: kid.to_owned(), pem: Secret::new(pem) }
}

/// A provider for a client with these keys.
fn client(world: &World, keys: Vec<ClientCredential>) -> (Provider, Connection) {
    let provider = Provider::new(http(), world.clock.clone(), Arc::new(Counting(AtomicU8::new(0))), Arc::new(Listed(keys)));
    let connection = Connection { client_authentication: ClientAuthentication::PrivateKeyJwt, ..world.connection.clone() };
    (provider, connection)
}

fn part(assertion: &str, at: usize) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(assertion.split('.').nth(at).unwrap()).unwrap()).unwrap()
}

fn assertion(request: &Seen) -> String {
    assert_eq!(request.form("client_assertion_type").as_deref(), Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
    assert_eq!((request.authorization.as_deref(), request.form("client_secret")), (None, None));
    assert_eq!(request.form("client_id").as_deref(), Some("client one"));
    request.form("client_assertion").unwrap()
}

/// Lets the provider's next document say something more.
fn announce(world: &World, more: &Value) {
    let mut document = metadata(&world.server.base);
    for (name, value) in more.as_object().unwrap() {
        document[name] = value.clone();
    }
    world.server.once("/.well-known/openid-configuration", Reply::Json(200, document));
}

#[tokio::test]
async fn s37_keys_of_every_kind_sign_for_the_issuer_alone_at_every_endpoint() {
    let world = World::new().await;
    let par = json!({ "pushed_authorization_request_endpoint": format!("{}/par", world.server.base) });
    for (client_key, older) in [(Key::rsa(), false), (Key::rsa(), true), (Key::ec(), false), (Key::ec(), true), (Key::ed(), false)] {
        let (alg, pem) = (client_key.alg(), if older { client_key.older_pem() } else { client_key.pem() });
        let (provider, mut connection) = client(&world, vec![key("c1", pem)]);
        connection.pushed_authorization_requests = true;
        announce(&world, &par);
        let before = ["/token", "/par", "/revoke"].map(|path| world.server.seen(path).len());
        world.answer_with(&world.key.sign(&world.header(), &world.claims()));
        exchange(&provider, &connection).await.unwrap().identity.unwrap();
        world.server.once("/par", Reply::Json(201, json!({"request_uri": "urn:x:1", "expires_in": 60})));
        request_url(&provider, &connection, "openid", &Hints::default()).await.unwrap();
        world.server.once("/revoke", Reply::Text(200, "", Vec::new()));
        provider.revoke_tokens(&connection, Some(&text("rt")), None).await.outcome.unwrap();
        let mut jtis = BTreeSet::new();
        for (path, seen) in ["/token", "/par", "/revoke"].into_iter().zip(before) {
            let [request] = &world.server.seen(path)[seen..] else { panic!("one request at {path}") };
            let assertion = assertion(request);
            assert!(client_key.signed(alg, &assertion), "{alg} {path}");
            assert_eq!(part(&assertion, 0), json!({"alg": alg, "kid": "c1", "typ": "JWT"}));
            let (claims, now) = (part(&assertion, 1), NOW.unix_timestamp());
            assert_eq!(claims["aud"], json!(world.server.base), "the issuer as a single text, not {path}");
            assert_eq!((&claims["iss"], &claims["sub"]), (&json!("client one"), &json!("client one")));
            assert_eq!((&claims["iat"], &claims["exp"]), (&json!(now), &json!(now + 60)));
            assert!(jtis.insert(claims["jti"].to_string()), "each is used once");
        }
    }
}

#[tokio::test]
async fn s37_the_algorithm_is_one_that_the_provider_takes() {
    let (rsa, ec) = (Key::rsa(), Key::ec());
    for (told, expected) in [
        (json!(["PS256"]), "PS256"),
        (json!(["ES256", "PS256"]), "PS256"),
        (json!(["PS256", "RS256"]), "RS256"),
        (json!("PS256"), "RS256"),
        (Value::Null, "RS256"),
    ] {
        let world = World::new().await;
        let (provider, connection) = client(&world, vec![key("c1", rsa.pem())]);
        announce(&world, &json!({ "token_endpoint_auth_signing_alg_values_supported": told }));
        world.answer_with(&world.key.sign(&world.header(), &world.claims()));
        exchange(&provider, &connection).await.unwrap();
        let assertion = assertion(&world.server.seen("/token")[0]);
        assert_eq!(part(&assertion, 0)["alg"], expected, "{told}");
        assert!(rsa.signed(expected, &assertion), "{told}");
    }
    let world = World::new().await;
    let only_ec = json!({ "token_endpoint_auth_signing_alg_values_supported": ["ES256"] });
    let (provider, connection) = client(&world, vec![key("c1", rsa.pem())]);
    announce(&world, &only_ec);
    let Err(ProviderError::Misconfigured { code }) = exchange(&provider, &connection).await else { panic!("refused") };
    assert_eq!(code, "client_key_algorithm_unsupported");
    assert!(world.server.seen("/token").is_empty(), "no code is spent on it");
    // The list of keys may hold one that does.
    let (provider, connection) = client(&world, vec![key("c1", rsa.pem()), key("c2", ec.pem())]);
    announce(&world, &only_ec);
    world.answer_with(&world.key.sign(&world.header(), &world.claims()));
    exchange(&provider, &connection).await.unwrap();
    assert_eq!(part(&assertion(&world.server.seen("/token")[0]), 0), json!({"alg": "ES256", "kid": "c2", "typ": "JWT"}));
}

#[tokio::test]
async fn s37_a_provider_that_names_anothers_token_endpoint_gets_no_assertion_for_the_other() {
    let honest = Scripted::start(|_, _| Some(Reply::Json(400, json!({"error": "invalid_request"})))).await;
    let world = World::new().await;
    let (provider, connection) = client(&world, vec![key("c1", Key::ec().pem())]);
    announce(&world, &json!({ "token_endpoint": format!("{}/token", honest.base) }));
    assert!(exchange(&provider, &connection).await.is_err());
    let [arrived] = &honest.seen("/token")[..] else { panic!("one request") };
    let audience = part(&assertion(arrived), 1)["aud"].clone();
    assert_eq!(audience, json!(world.server.base), "the one that injects it is its only audience");
    assert_ne!(audience, json!(format!("{}/token", honest.base)));
}

#[tokio::test]
async fn s37_without_an_issuer_there_is_no_assertion() {
    let world = World::new().await;
    let (provider, mut connection) = client(&world, vec![key("c1", Key::ec().pem())]);
    connection.kind = super::world::oauth2(&world.server.base, crate::domain::connection::Dialect::Standard).kind;
    assert!(matches!(connection.kind, Kind::OAuth2 { .. }));
    let Err(ProviderError::Misconfigured { code }) = exchange(&provider, &connection).await else { panic!("refused") };
    assert_eq!(code, "client_assertion_without_issuer");
    assert!(world.server.seen("/token").is_empty());
}

#[tokio::test]
async fn s70_keys_are_tried_in_order_each_with_an_assertion_of_its_own() {
    let world = World::new().await;
    let (new, old) = (Key::ec(), Key::rsa());
    let (provider, connection) = client(&world, vec![key("new", new.pem()), key("old", old.pem())]);
    world.server.once("/token", Reply::Json(401, json!({"error": "invalid_client"})));
    world.answer_with(&world.key.sign(&world.header(), &world.claims()));
    exchange(&provider, &connection).await.unwrap().identity.unwrap();
    let [first, second] = &world.server.seen("/token")[..] else { panic!("two requests") };
    let (first, second) = (assertion(first), assertion(second));
    assert_eq!((&part(&first, 0)["kid"], &part(&second, 0)["kid"]), (&json!("new"), &json!("old")));
    assert!(new.signed("ES256", &first) && old.signed("RS256", &second));
    assert_ne!(part(&first, 1)["jti"], part(&second, 1)["jti"]);
}

/// 1024 bits, made for this test and good for nothing else.
const SHORT_RSA: &str = "-----BEGIN PRIVATE KEY-----
MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBAMqv0m2lCEuet+Uw
eGeoqS6nzCJ/Jf+CPrS6B7GLH0oHrkGfED7p2lbNqlzoHWKhYZ9CSbsvgozB3yC/
UR3MS6tiEYzM4gzuNKj2+hG1z0Kt4qzlN6pOEnPUOtmf/ON/CBnW4WHBCE/n4nNS
majNJnnuPPw19GI0ZR9DaXPQaZI3AgMBAAECgYA+4xqZJnFSdSZ9l/JjxzLm5O0z
btvtUQ3/qRCmB5Jnt8ZbWe0CeDBkal+HgAVOCuBtN3YE/BK3dZezY2jZo/992g8e
XtBg69s2qqDsKZa4TeXovQMMQNyr+QyIPHQCxSdV25yh092APoe5mMN8noSZyLSP
c2wapuwxBIJEEUncMQJBAOR8HsPirv/jk3KDPl9/4vIfqi1ilfWKioYaZspHyu5/
1HoVaOuzBdS/jS1Qz57Ag9X1U4syoMHe5ZVVflEowMUCQQDjGGIM8Pey/fwwWDj0
huVnVQsxJl4/sThsNbv4BiIkr+p6TQyXzYuXZ5ZLmBiVSqNDVSC/j4v6dTRoneKR
VT7LAkBQRQrJ5ql0XI9Ae7s98b/ZMCapKyljyfhAhKX4CqDQiTgsa7kglRRHWcRP
V0SZkSi/0iA3luHDOnuNqytld9vBAkEAvTJrPezj8LO5j21wxgg8x0IK+P/GNboo
D78UwyYY/AezigD3JOGSEqmyhXhJwtdT/ZzGk9G8BQXwi9g+Ema60QJBAM4A3Xdp
QXiyCrhkoVD84M/ho3YcLx4kp1ivcDdiXp/y/IpnkcYDvXccW1RmBJCSsBkYWnWm
w6JaInWR7xe7+jw=
-----END PRIVATE KEY-----
";

#[test]
fn keys_that_cannot_sign_as_they_must_are_no_keys() {
    let (rsa, ec, ed) = (Key::rsa(), Key::ec(), Key::ed());
    for usable in [rsa.pem(), rsa.older_pem(), ec.pem(), ec.older_pem(), ed.pem(), format!("\n {}\n", ec.pem())] {
        assert!(ClientKey::from_pem(&Secret::new(usable.clone())).is_some(), "{usable}");
    }
    let p384 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    for unusable in [
        String::new(),
        "-----BEGIN PRIVATE KEY-----".to_owned(),
        pem("PRIVATE KEY", b"not a key"),
        pem("PRIVATE KEY", p384.as_ref()),
        SHORT_RSA.to_owned(),
        ec.public_pem(),
        pem("CERTIFICATE", b"not a key"),
        ec.pem().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
        ec.pem().replace("PRIVATE KEY", "RSA PRIVATE KEY"),
        rsa.pem().replace("PRIVATE KEY", "EC PRIVATE KEY"),
        rsa.pem().replace('\n', " "),
    ] {
        assert!(ClientKey::from_pem(&Secret::new(unusable.clone())).is_none(), "{unusable}");
    }
    let key = ClientKey::from_pem(&Secret::new(ec.pem())).unwrap();
    assert!(key.sign("RS256", b"x").is_none() && key.sign("none", b"x").is_none(), "a key signs by its own algorithms");
}
