//! Bearer tokens of any shape, signed with the demonstration key or not at all.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// The demonstration's private key: the API tokens of the stack are signed with it.
pub const KEY: &str = include_str!("../../local/src/sign_in/demonstration_key.pem");
/// The `kid` under which the demonstration publishes it.
pub const KEY_ID: &str = "demonstration-1";

/// A token of this header and these claims, signed with the demonstration key whatever the header says.
#[must_use]
pub fn es256(header: &Value, claims: &Value) -> String {
    signed(header, claims, &EncodingKey::from_ec_pem(KEY.as_bytes()).unwrap(), Algorithm::ES256)
}

/// A token of this header and these claims under an HMAC secret, whatever the header says.
#[must_use]
pub fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    signed(header, claims, &EncodingKey::from_secret(secret), Algorithm::HS256)
}

/// A token without a signature.
#[must_use]
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}.", part(header), part(claims))
}

/// The header of a good token.
#[must_use]
pub fn header() -> Value {
    json!({ "alg": "ES256", "typ": "at+jwt", "kid": KEY_ID })
}

/// The public half of the demonstration key as a JWK set.
#[must_use]
pub fn public_keys() -> JwkSet {
    let mut jwk = Jwk::from_encoding_key(&EncodingKey::from_ec_pem(KEY.as_bytes()).unwrap(), Algorithm::ES256).unwrap();
    jwk.common.key_id = Some(KEY_ID.to_owned());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    JwkSet { keys: vec![jwk] }
}

/// The public half of the demonstration key in PEM (RFC 5480: `SubjectPublicKeyInfo` of a P-256 point).
#[must_use]
pub fn public_pem() -> String {
    const PREFIX: [u8; 27] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01,
        0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let jwk = serde_json::to_value(&public_keys().keys[0]).unwrap();
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let der = [PREFIX.as_slice(), &coordinate("x"), &coordinate("y")].concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", base64::engine::general_purpose::STANDARD.encode(der))
}

fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
