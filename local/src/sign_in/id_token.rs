//! The `id_token` (OpenID Connect Core 2 and 12.2): who signed in, to the client that asked.

use serde_json::{Value, json};

use super::ledger::Consent;
use super::people::Person;
use super::{digest, signing};

/// It is read once, on arrival.
const LIFETIME_SECONDS: i64 = 600;

/// A refreshed one has no nonce: the nonce belongs to the authorization request.
pub(super) fn sign(
    issuer: &str,
    consent: &Consent,
    person: &Person,
    access_token: &str,
    nonce: Option<&str>,
    now: i64,
) -> jsonwebtoken::errors::Result<String> {
    let mut claims = json!({
        "iss": issuer,
        "aud": consent.client_id,
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
        "auth_time": consent.auth_time,
        "at_hash": digest::left_half(access_token),
    });
    if let (Value::Object(claims), Value::Object(person)) = (&mut claims, about(person)) {
        claims.extend(person);
        if let Some(nonce) = nonce {
            claims.insert("nonce".to_owned(), json!(nonce));
        }
    }
    signing::sign("JWT", &claims)
}

/// What `id_token` and userinfo both say about a person.
pub(super) fn about(person: &Person) -> Value {
    json!({
        "sub": person.id,
        "name": person.name,
        "email": person.email,
        "email_verified": true,
        "org_id": person.organization,
    })
}
