//! JSON Web Tokens under the demonstration key (ES256).
//!
//! Two kinds are signed, and one never passes for the other: an `id_token` has `typ: JWT` and the client as audience,
//! an API bearer token has `typ: at+jwt` (RFC 9068) and the API as audience.

use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

const KEY_PEM: &str = include_str!("demonstration_key.pem");

/// There is one key and it never changes, so its id need not either.
const KEY_ID: &str = "demonstration-1";

fn key() -> jsonwebtoken::errors::Result<EncodingKey> {
    EncodingKey::from_ec_pem(KEY_PEM.as_bytes())
}

/// Signs claims as a token of the given `typ`.
pub(super) fn sign(kind: &str, claims: &impl Serialize) -> jsonwebtoken::errors::Result<String> {
    let header = Header { typ: Some(kind.to_owned()), kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::ES256) };
    jsonwebtoken::encode(&header, claims, &key()?)
}

/// The public half, as `jwks_uri` serves it (RFC 7517).
pub(super) fn public_keys() -> jsonwebtoken::errors::Result<JwkSet> {
    let mut jwk = Jwk::from_encoding_key(&key()?, Algorithm::ES256)?;
    jwk.common.key_id = Some(KEY_ID.to_owned());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(JwkSet { keys: vec![jwk] })
}
