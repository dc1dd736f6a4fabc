//! Doors for the fuzz targets, and for nobody else: what is private to this adapter, called in the order in which it calls it.

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::dialects::workos;
use super::egress::Answer;
use super::jwks::{Key, judge};
use super::jwt::{Alg, Jwt};
use super::{id_token, identity, token_answer, token_endpoint};
use crate::domain::authorization::Identity;
use crate::domain::connection::{Connection, Dialect};
use crate::domain::secret::Secret;
use crate::ports::provider::{ProviderError, TokenAnswer};

/// What an `id_token` must agree with.
pub struct Expected<'a> {
    /// The issuer.
    pub issuer: &'a str,
    /// The client.
    pub client_id: &'a str,
    /// The nonce of the flow; none at a refresh.
    pub nonce: Option<&'a Secret>,
    /// The access token beside it.
    pub access_token: &'a Secret,
    /// The time.
    pub now: OffsetDateTime,
}

/// The claims of an `id_token` whose signature is by one of these keys and which holds in every other respect.
pub fn read_id_token(token: &str, keys: &[Value], expected: &Expected<'_>) -> Result<Map<String, Value>, &'static str> {
    let jwt = Jwt::read(token, &Alg::ASYMMETRIC)?;
    let keys: Vec<Key> = keys.iter().filter_map(Value::as_object).filter_map(Key::read).collect();
    judge(&keys, &jwt)?;
    let Expected { issuer, client_id, nonce, access_token, now } = *expected;
    id_token::hold_to(&jwt, &id_token::Expected { issuer, client_id, nonce, access_token, now })?;
    Ok(jwt.claims.into_object())
}

/// Who the claims speak of, by the names of the connection.
pub fn read_identity(connection: &Connection, claims: &Map<String, Value>) -> Result<Identity, ProviderError> {
    identity::identity(connection, claims)
}

/// A token endpoint's answer.
pub struct Told<'a> {
    /// The HTTP status.
    pub status: StatusCode,
    /// The header `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
    /// When it came.
    pub now: OffsetDateTime,
}

impl Told<'_> {
    fn answer(&self) -> Answer {
        let wait = self.retry_after.and_then(|text| HeaderValue::from_str(text).ok());
        let headers = HeaderMap::from_iter(wait.map(|value| (RETRY_AFTER, value)));
        Answer { status: self.status, headers, body: self.body.to_vec().into() }
    }
}

/// The tokens of an answer in the terms of RFC 6749, and what it says besides.
pub fn read_token_answer(told: &Told<'_>, dialect: Dialect) -> Result<(TokenAnswer, Map<String, Value>), ProviderError> {
    let members = token_answer::read(&told.answer(), dialect, told.now)?;
    let answer: token_endpoint::Response =
        serde_json::from_value(Value::Object(members)).map_err(|_| ProviderError::AnswerInvalid { why: "it is not a token answer" })?;
    let redeemed = token_endpoint::redeemed(&answer, told.now);
    Ok((redeemed.tokens, redeemed.rest))
}

/// The same of WorkOS, with who signed in.
pub fn read_workos_answer(
    told: &Told<'_>,
    connection: &Connection,
) -> Result<(TokenAnswer, Result<Identity, ProviderError>), ProviderError> {
    let redeemed = workos::redeemed(workos::members(&told.answer(), told.now)?, told.now);
    let identity = workos::identity(connection, &redeemed.rest);
    Ok((redeemed.tokens, identity))
}
