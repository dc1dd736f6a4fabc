//! The bearer tokens with which the demonstration calls the API.

use serde_json::{Map, Value, json};
use thiserror::Error;
use time::OffsetDateTime;

use super::{random, signing};

/// Who calls the API, and what they may do there.
#[derive(Debug, Clone)]
pub struct ApiClaims {
    /// `iss`: exactly as the directory's `api_tokens.issuer` has it.
    pub issuer: String,
    /// `aud`: exactly as the directory's `api_tokens.audience` has it.
    pub audience: String,
    /// `sub`: the user.
    pub subject: String,
    /// `org_id`; without it the API answers `organization_required`.
    pub organization: Option<String>,
    /// `email`.
    pub email: Option<String>,
    /// `email_verified`, only said along with an e-mail address.
    pub email_verified: bool,
    /// `scopes`.
    pub scopes: Vec<String>,
    /// How long the token is good for.
    pub lifetime_seconds: u32,
}

/// A bearer token could not be made.
#[derive(Debug, Error)]
pub enum MintError {
    /// No randomness for the `jti`.
    #[error("taking random bytes for the token's id")]
    Randomness(#[from] getrandom::Error),
    /// The key or the claims cannot be used.
    #[error("signing the token with the demonstration key")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

/// Signs an API bearer token with the demonstration key. Any process can: the key is part of the source.
pub fn mint_api_token(claims: &ApiClaims, now: OffsetDateTime) -> Result<String, MintError> {
    let issued = now.unix_timestamp();
    let mut body = Map::new();
    body.insert("iss".to_owned(), json!(claims.issuer));
    body.insert("aud".to_owned(), json!(claims.audience));
    body.insert("sub".to_owned(), json!(claims.subject));
    // RFC 9068 section 2.2 requires it of an at+jwt
    body.insert("client_id".to_owned(), json!("local"));
    if let Some(organization) = &claims.organization {
        body.insert("org_id".to_owned(), json!(organization));
    }
    if let Some(email) = &claims.email {
        body.insert("email".to_owned(), json!(email));
        body.insert("email_verified".to_owned(), json!(claims.email_verified));
    }
    body.insert("scopes".to_owned(), json!(claims.scopes));
    body.insert("iat".to_owned(), json!(issued));
    body.insert("exp".to_owned(), json!(issued + i64::from(claims.lifetime_seconds)));
    body.insert("jti".to_owned(), json!(random::unguessable()?));
    Ok(signing::sign("at+jwt", &Value::Object(body))?)
}
