//! Bearer tokens of callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

use super::keys::{Key, hmac};
use super::scripted::{Reply, Scripted};
use super::world::{HandClock, NOW, http};
use crate::domain::caller::Principal;
use crate::domain::directory::{ApiKeys, ApiTokens, Directory};
use crate::domain::redirect_uri::{Environment, RedirectUris};
use crate::oauth::{ApiTokenVerifier, Jwks};
use crate::ports::Unavailable;
use crate::ports::configuration::{BearerError, BearerVerifier, Directories, StaticApiKey, StaticApiKeys};

struct Settings {
    directory: Arc<Directory>,
    material: Arc<StaticApiKey>,
}

#[async_trait]
impl Directories for Settings {
    async fn directory(&self) -> Result<Arc<Directory>, Unavailable> {
        Ok(self.directory.clone())
    }
}

#[async_trait]
impl StaticApiKeys for Settings {
    async fn static_api_key(&self, secret_id: &str) -> Result<Arc<StaticApiKey>, Unavailable> {
        assert_eq!(secret_id, "api-key");
        Ok(self.material.clone())
    }
}

fn verifier(keys: ApiKeys, token_type: Option<&str>, material: StaticApiKey) -> ApiTokenVerifier {
    verifier_with(HandClock::new(), keys, token_type, material)
}

fn verifier_with(clock: Arc<HandClock>, keys: ApiKeys, token_type: Option<&str>, material: StaticApiKey) -> ApiTokenVerifier {
    let api_tokens = ApiTokens {
        issuer: "https://signin.example.com/".to_owned(),
        audience: "https://api.example.com".to_owned(),
        keys,
        organization_claim: "org_id".to_owned(),
        email_claim: "email".to_owned(),
        email_verified_claim: "email_verified".to_owned(),
        token_type: token_type.map(str::to_owned),
    };
    let directory = Arc::new(Directory {
        environment: Environment::Production,
        public_url: Url::parse("https://mandate.example.com").unwrap(),
        error_doc_base: String::new(),
        api_tokens,
        redirect_uris: RedirectUris::register(Environment::Production, &[]).unwrap(),
        default_connection: None,
        connections: Vec::new(),
    });
    let settings = Arc::new(Settings { directory, material: Arc::new(material) });
    ApiTokenVerifier::new(settings.clone(), settings, Arc::new(Jwks::new(http(), clock.clone())), clock)
}

fn secret() -> StaticApiKey {
    StaticApiKey::Hmac(Zeroizing::new(b"0123456789abcdef0123456789abcdef".to_vec()))
}

fn claims() -> Value {
    let now = NOW.unix_timestamp();
    json!({"iss": "https://signin.example.com/", "aud": ["x", "https://api.example.com"], "sub": "usr_1", "exp": now + 300, "iat": now, "org_id": "org_1",
           "email": "a@b.example", "email_verified": true, "scope": "workflow_authorization:view openid"})
}

async fn judged(verifier: &ApiTokenVerifier, header: &Value, changes: &Value) -> Result<Principal, BearerError> {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        if *value == json!("absent") {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    verifier.verify(&hmac(b"0123456789abcdef0123456789abcdef", header, &claims)).await
}

fn stated() -> ApiKeys {
    ApiKeys::Static("api-key".to_owned())
}

#[tokio::test]
async fn s56_a_good_token_says_who_calls() {
    let verifier = verifier(stated(), None, secret());
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let principal = judged(&verifier, &header, &json!({"workflow_id": "fl_1"})).await.unwrap();
    assert_eq!((principal.person.subject.as_str(), principal.verified_email.as_deref()), ("usr_1", Some("a@b.example")));
    assert_eq!(principal.organization.unwrap().as_str(), "org_1");
    assert_eq!(
        (principal.scopes.to_text(), principal.workflow.unwrap().as_str()),
        ("openid workflow_authorization:view".to_owned(), "fl_1")
    );
    let unverified = judged(&verifier, &header, &json!({"email_verified": false, "org_id": 5})).await.unwrap();
    assert!(unverified.verified_email.is_none() && unverified.organization.is_none());
    for (changes, expected) in [
        (json!({"scopes": ["a"], "permissions": ["p"]}), "a"),
        (json!({"permissions": ["p"]}), "openid workflow_authorization:view"),
        (json!({"scope": "absent", "permissions": ["p"]}), "p"),
        (json!({"scope": "absent"}), ""),
        (json!({"scope": "a  b\"c d"}), "a d"),
    ] {
        assert_eq!(judged(&verifier, &header, &changes).await.unwrap().scopes.to_text(), expected, "{changes}");
    }
}

#[tokio::test]
async fn s46_s56_a_token_that_is_not_right_in_everything_is_refused() {
    let now = NOW.unix_timestamp();
    let header = json!({"alg": "HS256"});
    let verifier_of_any = verifier(stated(), None, secret());
    for changes in [
        json!({"iss": "https://signin.example.com"}),
        json!({"aud": "https://api.example.com/"}),
        json!({"aud": "absent"}),
        json!({"exp": "absent"}),
        json!({"exp": (now + 300).to_string()}),
        json!({"exp": now - 60}),
        json!({"nbf": now + 61}),
        json!({"nbf": "0"}),
        json!({"iat": now + 61}),
        json!({"sub": "absent"}),
        json!({"sub": ""}),
        json!({"sub": "x".repeat(256)}),
        json!({"workflow_id": "fl 1"}),
        json!({"workflow_id": 1}),
        json!({"nonce": "n"}),
        json!({"at_hash": "h"}),
    ] {
        assert!(matches!(judged(&verifier_of_any, &header, &changes).await, Err(BearerError::Refused { .. })), "{changes}");
    }
    // Clocks may disagree by a minute, and not by more.
    for changes in [json!({"exp": now - 59}), json!({"nbf": now + 60}), json!({"iat": now + 60})] {
        assert!(judged(&verifier_of_any, &header, &changes).await.is_ok(), "{changes}");
    }
    let typed = verifier(stated(), Some("at+jwt"), secret());
    for (typ, accepted) in [
        (json!("at+jwt"), true),
        (json!("application/AT+JWT"), true),
        (json!("application+at+jwt"), false),
        (json!("JWT"), false),
        (Value::Null, false),
        (json!(5), false),
    ] {
        let header = if typ.is_null() { json!({"alg": "HS256"}) } else { json!({"alg": "HS256", "typ": typ}) };
        assert_eq!(judged(&typed, &header, &json!({})).await.is_ok(), accepted, "{typ}");
    }
    for token in ["", ".", "..", "a.b.c", "a.b.c.d", &"x".repeat(20_000)] {
        assert!(matches!(verifier_of_any.verify(token).await, Err(BearerError::Refused { .. })));
    }
}

#[tokio::test]
async fn s46_the_longest_token_has_16_kib() {
    let verifier = verifier(stated(), None, secret());
    let token = |kid: usize, padding: usize| {
        let claims = with(claims(), "padding", json!("x".repeat(padding)));
        hmac(b"0123456789abcdef0123456789abcdef", &json!({"alg": "HS256", "kid": "k".repeat(kid)}), &claims)
    };
    let lengths = (0..3).flat_map(|kid| (11_000..12_500).map(move |padding| (kid, padding)));
    let of_length = |length: usize| lengths.clone().map(|(kid, padding)| token(kid, padding)).find(|token| token.len() == length).unwrap();
    assert!(verifier.verify(&of_length(16 * 1024)).await.is_ok());
    assert!(matches!(verifier.verify(&of_length(16 * 1024 + 1)).await, Err(BearerError::Refused { .. })));
}

#[tokio::test]
async fn s52_keys_that_cannot_be_had_are_asked_for_again_after_three_seconds() {
    let key = Key::ec();
    let token = key.sign(&json!({"alg": "ES256", "kid": "k1"}), &claims());
    let server = Scripted::start(|_, _| Some(Reply::Text(500, "", Vec::new()))).await;
    let clock = HandClock::new();
    let keys = ApiKeys::Jwks(Url::parse(&format!("{}/jwks", server.base)).unwrap());
    let verifier = verifier_with(clock.clone(), keys, None, secret());
    for (after, asked) in [(0, 1), (0, 1), (2, 1), (1, 2), (0, 2)] {
        clock.advance(time::Duration::seconds(after));
        assert!(matches!(verifier.verify(&token).await, Err(BearerError::Unavailable(_))));
        assert_eq!(server.seen("/jwks").len(), asked);
    }
}

#[tokio::test]
async fn s44_the_algorithm_follows_from_the_material() {
    let (rsa, ec) = (Key::rsa(), Key::ec());
    for (key, algorithm) in [(&rsa, "RS256"), (&ec, "ES256"), (&Key::ed(), "EdDSA")] {
        let pem = key.public_pem();
        let verifier = verifier(stated(), None, StaticApiKey::PublicKey { algorithm: algorithm.to_owned(), pem: pem.clone() });
        assert!(verifier.verify(&key.sign(&json!({"alg": algorithm}), &claims())).await.is_ok(), "{algorithm}");
        let confused = hmac(pem.as_bytes(), &json!({"alg": "HS256"}), &claims());
        assert!(matches!(verifier.verify(&confused).await, Err(BearerError::Refused { .. })));
        let unsigned = key.sign(&json!({"alg": "none"}), &claims());
        assert!(matches!(verifier.verify(&unsigned).await, Err(BearerError::Refused { .. })));
    }
    let short = verifier(stated(), None, StaticApiKey::Hmac(Zeroizing::new(vec![1; 31])));
    assert!(matches!(short.verify("a.b.c").await, Err(BearerError::Unavailable(_))));
}

#[tokio::test]
async fn s52_api_keys_come_from_a_jwks_that_junk_cannot_wear_out() {
    let key = Arc::new(Key::ec());
    let published = key.jwk("k1");
    let server = Scripted::start(move |_, request| (request.path == "/jwks").then(|| Reply::Json(200, json!({"keys": [published]})))).await;
    let keys = ApiKeys::Jwks(Url::parse(&format!("{}/jwks", server.base)).unwrap());
    let verifier = verifier(keys, None, secret());
    for number in 0..100 {
        let invented = key.sign(&json!({"alg": "ES256", "kid": format!("x{number}")}), &claims());
        assert!(matches!(verifier.verify(&invented).await, Err(BearerError::Refused { .. })));
    }
    assert_eq!(server.seen("/jwks").len(), 1, "a cold cache asks once, whatever the kids");
    assert!(verifier.verify(&key.sign(&json!({"alg": "ES256", "kid": "k1"}), &claims())).await.is_ok());
    assert!(matches!(judged(&verifier, &json!({"alg": "HS256"}), &json!({})).await, Err(BearerError::Refused { .. })));
    let down = ApiKeys::Jwks(Url::parse("http://127.0.0.1:1/jwks").unwrap());
    let down = self::verifier(down, None, secret());
    let token = key.sign(&json!({"alg": "ES256", "kid": "k1"}), &claims());
    assert!(matches!(down.verify(&token).await, Err(BearerError::Unavailable(_))));
}

#[tokio::test]
async fn s52_a_token_that_was_accepted_before_is_judged_anew() {
    let key = Arc::new(Key::ec());
    let published = key.jwk("k1");
    let withdrawn = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&withdrawn);
    let answer = move || if gone.load(Ordering::SeqCst) { json!([]) } else { json!([published]) };
    let server = Scripted::start(move |_, request| (request.path == "/jwks").then(|| Reply::Json(200, json!({ "keys": answer() })))).await;
    let keys = || ApiKeys::Jwks(Url::parse(&format!("{}/jwks", server.base)).unwrap());
    let token = key.sign(&json!({"alg": "ES256", "kid": "k1"}), &claims());

    let clock = HandClock::new();
    let until_its_end = verifier_with(clock.clone(), keys(), None, secret());
    assert!(until_its_end.verify(&token).await.is_ok() && until_its_end.verify(&token).await.is_ok());
    let other = key.sign(&json!({"alg": "ES256", "kid": "k1"}), &with(claims(), "sub", json!("usr_2")));
    let (message, signature) = (other.rsplit_once('.').unwrap().0, token.rsplit_once('.').unwrap().1);
    assert!(until_its_end.verify(&format!("{message}.{signature}")).await.is_err(), "the signature of another token");
    clock.advance(time::Duration::minutes(6));
    assert!(until_its_end.verify(&token).await.is_err(), "it has expired");

    let clock = HandClock::new();
    let until_its_key_goes = verifier_with(clock.clone(), keys(), None, secret());
    let long = key.sign(&json!({"alg": "ES256", "kid": "k1"}), &with(claims(), "exp", json!(NOW.unix_timestamp() + 3600)));
    assert!(until_its_key_goes.verify(&long).await.is_ok() && until_its_key_goes.verify(&long).await.is_ok());
    withdrawn.store(true, Ordering::SeqCst);
    clock.advance(time::Duration::minutes(11));
    assert!(until_its_key_goes.verify(&long).await.is_err(), "its key was withdrawn");
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}
