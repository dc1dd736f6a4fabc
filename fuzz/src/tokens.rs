//! Tokens that were really signed, and a key that can sign more.

use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::fakes::NOW;

/// The issuer of every token.
pub const ISSUER: &str = "https://signin.example.com/";
/// The client that `id_tokens` are for.
pub const CLIENT_ID: &str = "client one";
/// The nonce of the flow.
pub const NONCE: &str = "nonce-of-this-flow";
/// The access token that came with the `id_token`.
pub const ACCESS_TOKEN: &str = "access-token-1";

/// Good `id_tokens` by RSA and ECDSA, with the public keys. The private keys were thrown away: nobody can sign by them.
static SIGNED: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("signed.json")).expect("JSON"));
static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key"));

/// The key set of the issuer.
pub fn jwks() -> Map<String, Value> {
    let mut keys = SIGNED["keys"].as_array().cloned().unwrap_or_default();
    keys.push(json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": encode(KEY.public_key().as_ref()) }));
    Map::from_iter([("keys".to_owned(), Value::Array(keys))])
}

/// Tokens that hold: by Ed25519, RSA (PKCS #1 and PSS) and ECDSA.
pub fn good() -> Vec<String> {
    let claims = json!({
        "iss": ISSUER, "aud": CLIENT_ID, "sub": "usr_olivia", "exp": NOW.unix_timestamp() + 300, "iat": NOW.unix_timestamp(),
        "nonce": NONCE, "email": "ops@example.com", "email_verified": true,
    });
    let own = sign(r#"{"alg":"EdDSA","kid":"ed","typ":"JWT"}"#, &claims.to_string());
    let others = SIGNED["tokens"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    std::iter::once(own).chain(others).collect()
}

/// A token of this header and these claims, by the Ed25519 key, whatever the header says.
pub fn sign(header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let signature = encode(KEY.sign(signed.as_bytes()).as_ref());
    format!("{signed}.{signature}")
}

/// The same by HMAC, with the issuer's public key for a secret (RFC 8725 section 2.1).
pub fn confuse(header: &str, claims: &str) -> String {
    use aws_lc_rs::hmac;
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.public_key().as_ref());
    format!("{signed}.{}", encode(hmac::sign(&key, signed.as_bytes()).as_ref()))
}

/// Base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A part of a token.
pub fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// The public key of the Ed25519 key in PEM (RFC 8410).
pub fn public_pem() -> String {
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let der = [prefix.as_slice(), KEY.public_key().as_ref()].concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", base64::engine::general_purpose::STANDARD.encode(der))
}
