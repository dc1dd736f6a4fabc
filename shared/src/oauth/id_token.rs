//! `id_tokens` (OpenID Connect Core section 3.1.3.7, and 12.2 for those of a refresh).

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use super::jwt::{Alg, Claims, Jwt};
use crate::domain::secret::Secret;

/// A subject is at most 255 ASCII characters (OpenID Connect Core section 2).
const MAX_SUBJECT: usize = 255;

/// What an `id_token` must agree with.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    /// The nonce of the authorization request; there is none at a refresh.
    pub(super) nonce: Option<&'a Secret>,
    /// The access token that came with it.
    pub(super) access_token: &'a Secret,
    pub(super) now: OffsetDateTime,
}

/// Checks everything that is not the signature.
pub(super) fn hold_to(jwt: &Jwt<'_>, expected: &Expected<'_>) -> Result<(), &'static str> {
    let claims = &jwt.claims;
    if claims.text("iss") != Some(expected.issuer) {
        return Err("its id_token is of another issuer");
    }
    audience(claims, expected.client_id)?;
    claims.hold_at(expected.now).map_err(|_| "its id_token has expired, is of the future, or has no proper times")?;
    if claims.seconds("iat").ok().flatten().is_none() {
        return Err("its id_token has no iat");
    }
    if !claims.text("sub").is_some_and(is_subject) {
        return Err("its id_token has no sub of 1–255 ASCII characters");
    }
    if let Some(nonce) = expected.nonce
        && !claims.text("nonce").is_some_and(|told| equal(told, nonce.expose()))
    {
        return Err("its id_token has another nonce or none");
    }
    match claims.get("at_hash") {
        None => Ok(()),
        Some(Value::String(told)) if equal(told, &at_hash(jwt.alg, expected.access_token)) => Ok(()),
        Some(_) => Err("its id_token belongs to another access token"),
    }
}

/// Points 3 to 5: the client is an audience, and where there are others, or an authorized party is named, it is that party.
fn audience(claims: &Claims, client_id: &str) -> Result<(), &'static str> {
    if !claims.is_for(client_id) {
        return Err("its id_token is for another client");
    }
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|audiences| audiences.iter().any(|a| a != client_id));
    match claims.get("azp") {
        None if several => Err("its id_token is for several and names no authorized party"),
        None => Ok(()),
        Some(party) if party == client_id => Ok(()),
        Some(_) => Err("its id_token was issued to another party"),
    }
}

/// Whether a text can be a subject.
pub(super) fn is_subject(text: &str) -> bool {
    (1..=MAX_SUBJECT).contains(&text.len()) && text.bytes().all(|b| b.is_ascii() && !b.is_ascii_control())
}

/// The left half of the access token's hash (section 3.1.3.6), by the hash function of the signature; Ed25519 has SHA-512 inside.
fn at_hash(alg: Alg, access_token: &Secret) -> String {
    let function = if alg == Alg::EdDsa { &SHA512 } else { &SHA256 };
    let hash = digest(function, access_token.expose().as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2])
}

/// Comparison in constant time (ASVS 11.2.4).
fn equal(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}
