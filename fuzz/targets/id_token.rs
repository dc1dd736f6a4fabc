//! JWTs: `id_tokens` against the keys of an issuer, and bearer tokens of the API.
//!
//! The first line is one word: `raw` and the token follows; `edit` and edits (see [`fuzz::edits`]) of good tokens follow; `sign` or
//! `confuse` and a line of header and the claims follow, which are signed by a key of the issuer, or by HMAC with its public key;
//! `keys` and a key set and a token follow.
#![no_main]

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, SHA512, digest};
use fuzz::edits::edited;
use fuzz::fakes::{Fixed, NOW, Still};
use fuzz::service::SERVICE;
use fuzz::tokens::{ACCESS_TOKEN, CLIENT_ID, ISSUER, NONCE, confuse, decode, encode, good, jwks, public_pem, sign};
use fuzz::wait;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use shared::domain::directory::{ApiTokens, Directory};
use shared::domain::secret::Secret;
use shared::oauth::fuzzing::{Expected, read_id_token, read_identity};
use shared::oauth::{ApiTokenVerifier, Egress, Http, Jwks};
use shared::ports::Unavailable;
use shared::ports::configuration::{BearerVerifier as _, StaticApiKey, StaticApiKeys};

static KEYS: LazyLock<Vec<Value>> = LazyLock::new(|| jwks()["keys"].as_array().cloned().unwrap_or_default());
static GOOD: LazyLock<Vec<String>> = LazyLock::new(good);
static BEARERS: LazyLock<ApiTokenVerifier> = LazyLock::new(|| {
    let directory = &SERVICE.directory;
    let directory = Directory {
        environment: directory.environment,
        public_url: directory.public_url.clone(),
        error_doc_base: directory.error_doc_base.clone(),
        api_tokens: ApiTokens { audience: CLIENT_ID.to_owned(), ..directory.api_tokens.clone() },
        redirect_uris: directory.redirect_uris.clone(),
        default_connection: None,
        connections: Vec::new(),
    };
    let jwks = Jwks::new(Http::new(Egress::new(false)).expect("a client"), Arc::new(Still));
    ApiTokenVerifier::new(Arc::new(Fixed(Arc::new(directory))), Arc::new(PublicKey), Arc::new(jwks), Arc::new(Still))
});

struct PublicKey;

#[async_trait]
impl StaticApiKeys for PublicKey {
    async fn static_api_key(&self, _: &str) -> Result<Arc<StaticApiKey>, Unavailable> {
        Ok(Arc::new(StaticApiKey::PublicKey { algorithm: "EdDSA".to_owned(), pem: public_pem() }))
    }
}

fn judged(token: &str, keys: &[Value]) -> Result<Map<String, Value>, &'static str> {
    let (nonce, access_token) = (Secret::new(NONCE.to_owned()), Secret::new(ACCESS_TOKEN.to_owned()));
    let expected = Expected { issuer: ISSUER, client_id: CLIENT_ID, nonce: Some(&nonce), access_token: &access_token, now: NOW };
    read_id_token(token, keys, &expected)
}

/// The good ones hold: a target that refuses everything finds nothing.
fn begin() {
    assert!(GOOD.len() == 4 && GOOD.iter().all(|token| judged(token, &KEYS).is_ok()), "the good tokens do not hold");
    let exp = NOW.unix_timestamp() + 60;
    let bearer = sign(r#"{"alg":"EdDSA"}"#, &format!(r#"{{"iss":"{ISSUER}","aud":"{CLIENT_ID}","sub":"usr_olivia","exp":{exp}}}"#));
    assert!(wait(BEARERS.verify(&bearer)).is_ok(), "the good bearer token does not hold");
}

fuzz_target!(init: begin(), |text: &str| {
    let (word, rest) = fuzz::first_line(text);
    match word {
        "raw" => unsigned(rest),
        "edit" => GOOD.iter().for_each(|token| unsigned(&edited(token, rest))),
        "sign" => {
            let (header, claims) = fuzz::first_line(rest);
            signed(&sign(header, claims));
        }
        "confuse" => {
            let (header, claims) = fuzz::first_line(rest);
            let token = confuse(header, claims);
            assert!(judged(&token, &KEYS).is_err() && wait(BEARERS.verify(&token)).is_err(), "{token}");
        }
        "keys" => {
            // Whatever a key set holds, only a key in it can have signed; these signed nothing that the fuzzer knows but the good ones.
            let (set, token) = fuzz::first_line(rest);
            let keys = serde_json::from_str::<Value>(set).ok().and_then(|set| set.as_array().cloned()).unwrap_or_default();
            let _ = judged(token, &keys);
            if let Ok(claims) = judged(&GOOD[0], &keys) {
                assert_eq!(claims.get("iss").and_then(Value::as_str), Some(ISSUER));
            }
        }
        _ => unsigned(text),
    }
});

/// Nothing passes that was not signed: what is accepted says what one of the good tokens says.
fn unsigned(token: &str) {
    let one_of_ours = || {
        let body = |token: &str| token.rsplit_once('.').map(|(body, _)| body.to_owned());
        GOOD.iter().any(|good| body(good) == body(token))
    };
    if judged(token, &KEYS).is_ok() {
        assert!(one_of_ours(), "accepted, and never signed: {token}");
    }
    // The good ones have a nonce: they are no bearer tokens, and no other was signed.
    assert!(wait(BEARERS.verify(token)).is_err(), "accepted, and never signed: {token}");
}

/// Whatever the issuer signs, it must say what was asked for.
fn signed(token: &str) {
    let mut parts = token.split('.').filter_map(decode).map(|part| serde_json::from_slice::<Value>(&part).ok());
    let (header, claims) = (parts.next().flatten().unwrap_or_default(), parts.next().flatten().unwrap_or_default());
    let now = NOW.unix_timestamp() as f64;
    if let Ok(accepted) = judged(token, &KEYS) {
        assert_eq!((header["alg"].as_str(), claims["iss"].as_str()), (Some("EdDSA"), Some(ISSUER)));
        assert!(["jku", "jwk", "x5u", "x5c", "crit"].iter().all(|name| header.get(name).is_none()), "{header}");
        assert!(header.get("kid").is_none_or(|kid| kid == "ed"), "{header}");
        let audiences = claims["aud"].as_array().map_or_else(|| vec![&claims["aud"]], |all| all.iter().collect());
        assert!(audiences.iter().any(|audience| *audience == CLIENT_ID), "{claims}");
        let party = claims.get("azp");
        assert!(party.is_none_or(|party| party == CLIENT_ID), "{claims}");
        assert!(audiences.iter().all(|audience| *audience == CLIENT_ID) || party.is_some(), "{claims}");
        assert!(claims["exp"].as_f64().is_some_and(|exp| exp + 60.0 > now - 1.0), "{claims}");
        assert!(claims["iat"].as_f64().is_some_and(|iat| iat < now + 61.0), "{claims}");
        assert!(claims.get("nbf").is_none_or(|nbf| nbf.as_f64().is_some_and(|nbf| nbf < now + 61.0)), "{claims}");
        assert_eq!(claims["nonce"], NONCE);
        assert!(claims["sub"].as_str().is_some_and(|sub| (1..=255).contains(&sub.len()) && sub.is_ascii()), "{claims}");
        if let Some(hash) = claims.get("at_hash") {
            assert!(*hash == half(&SHA512) || *hash == half(&SHA256), "{claims}");
        }
        assert_eq!(Value::Object(accepted.clone()), claims, "two readers see two documents");
        for connection in &SERVICE.directory.connections {
            let Ok(identity) = read_identity(connection, &accepted) else { continue };
            assert!((1..=255).contains(&identity.person.subject.len()) && identity.person.subject.is_ascii());
            assert!(identity.email.as_ref().is_none_or(|email| !email.chars().any(char::is_control) && email.chars().count() <= 320));
            assert!(!identity.email_verified || identity.email.is_some());
        }
    }
    if let Ok(principal) = wait(BEARERS.verify(token)) {
        assert_eq!((header["alg"].as_str(), claims["iss"].as_str()), (Some("EdDSA"), Some(ISSUER)));
        assert!(claims.get("nonce").is_none() && claims.get("at_hash").is_none(), "an id_token as bearer: {claims}");
        assert!(claims["exp"].as_f64().is_some_and(|exp| exp + 60.0 > now - 1.0), "{claims}");
        assert_eq!(Some(principal.person.subject.as_str()), claims["sub"].as_str());
        assert!(principal.verified_email.is_none() || claims.get("email_verified").is_some_and(|v| v == true || v == "true"), "{claims}");
        assert!(principal.workflow.is_some() == claims.get("workflow_id").is_some(), "{claims}");
    }
}

fn half(function: &'static aws_lc_rs::digest::Algorithm) -> String {
    let hash = digest(function, ACCESS_TOKEN.as_bytes());
    encode(&hash.as_ref()[..hash.as_ref().len() / 2])
}
