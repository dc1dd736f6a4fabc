//! The userinfo endpoint (OpenID Connect Core section 5.3), and its likes at providers without `id_tokens`.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use url::Url;

use super::Provider;
use super::classify::{classify, retry_after};
use super::dialects::{error_of, github, slack};
use super::fetch::{get, object, refusal};
use super::identity::identity;
use super::token_endpoint::dialect;
use crate::domain::authorization::Identity;
use crate::domain::connection::{Connection, Dialect};
use crate::domain::secret::Secret;
use crate::ports::provider::{ProviderError, TokenAnswer};

impl Provider {
    /// Asks who an access token belongs to. A token that is not accepted is [`ProviderError::InvalidGrant`].
    pub(super) async fn ask_userinfo(
        &self,
        connection: &Connection,
        endpoint: &Url,
        access_token: &Secret,
    ) -> Result<Map<String, Value>, ProviderError> {
        let answer = get(&self.http, endpoint, Some(access_token)).await?;
        match answer.status {
            StatusCode::OK => {}
            // `invalid_token` (RFC 6750 section 3.1).
            StatusCode::UNAUTHORIZED => return Err(ProviderError::InvalidGrant),
            StatusCode::FORBIDDEN if !(dialect(connection) == Dialect::GitHub && github::is_rate_limited(&answer.headers)) => {
                return Err(ProviderError::Refused { code: "insufficient_scope".to_owned() });
            }
            _ => return Err(refusal(&answer, self.clock.now())),
        }
        if is_jwt(&answer.headers) {
            return Err(ProviderError::AnswerInvalid { why: "its userinfo is signed or encrypted, which nobody asked for" });
        }
        let claims = object(&answer)?;
        let wait = retry_after(&answer.headers, self.clock.now());
        match (dialect(connection), error_of(dialect(connection), &claims)) {
            (Dialect::Slack, Some(code)) if slack::is_token_gone(code) => Err(ProviderError::InvalidGrant),
            (Dialect::Slack, Some(code)) => match classify(answer.status.as_u16(), Some(code), wait, Dialect::Slack) {
                Some(passing @ ProviderError::Unavailable { .. }) => Err(passing),
                _ => Err(ProviderError::Refused { code: "userinfo_error".to_owned() }),
            },
            (_, Some(_)) => Err(ProviderError::Refused { code: "userinfo_error".to_owned() }),
            (_, None) => Ok(claims),
        }
    }

    /// The identity at the userinfo endpoint; `None` where there is none.
    pub(super) async fn identity_of(&self, connection: &Connection, access_token: &Secret) -> Result<Option<Identity>, ProviderError> {
        let endpoints = self.discovery.endpoints(connection).await?;
        let Some(endpoint) = &endpoints.userinfo else { return Ok(None) };
        let claims = self.ask_userinfo(connection, endpoint, access_token).await?;
        identity(connection, &claims).map(Some)
    }

    /// Adds to the claims of an `id_token` what only userinfo tells, if an e-mail was asked for and is not there. It has to speak of
    /// the same subject (section 5.3.2). A provider that is down or talks nonsense is an error; one that tells nothing is not.
    pub(super) async fn complete_claims(
        &self,
        connection: &Connection,
        userinfo: Option<&Url>,
        tokens: &TokenAnswer,
        claims: &mut Map<String, Value>,
    ) -> Result<(), ProviderError> {
        let may_tell =
            tokens.scopes.as_ref().map_or_else(|| connection.allowed_scopes.contains("email"), |granted| granted.contains("email"));
        let Some(endpoint) = userinfo.filter(|_| may_tell && !claims.contains_key(&connection.claims.email)) else { return Ok(()) };
        let mut told = match self.ask_userinfo(connection, endpoint, &tokens.access_token).await {
            Ok(told) => told,
            Err(error @ (ProviderError::Unavailable { .. } | ProviderError::AnswerInvalid { .. })) => return Err(error),
            Err(_) => return Ok(()),
        };
        if told.get("sub").is_none() || told.get("sub") != claims.get("sub") {
            return Err(ProviderError::IdentityInvalid { why: "its userinfo speaks of another subject" });
        }
        // The id_token has the last word about everything that it says.
        told.append(claims);
        *claims = told;
        Ok(())
    }

    /// The identity of a provider without `id_tokens`: from userinfo, or for Slack from the token answer itself. Where Slack tells
    /// both, they have to speak of one person, and userinfo has the last word about everything else.
    pub(super) async fn plain_identity(
        &self,
        connection: &Connection,
        userinfo: Option<&Url>,
        tokens: &TokenAnswer,
        rest: &Map<String, Value>,
    ) -> Result<Identity, ProviderError> {
        match (userinfo, dialect(connection)) {
            (Some(endpoint), Dialect::GitHub) => identity(connection, &self.github_claims(connection, endpoint, tokens).await?),
            (Some(endpoint), Dialect::Slack) => {
                let mut told = self.ask_userinfo(connection, endpoint, &tokens.access_token).await?;
                if slack::is_of_another(rest, &told) {
                    return Err(ProviderError::IdentityInvalid { why: "its userinfo speaks of another subject" });
                }
                let mut claims = rest.clone();
                claims.append(&mut told);
                identity(connection, &claims)
            }
            (Some(endpoint), Dialect::Standard) => {
                identity(connection, &self.ask_userinfo(connection, endpoint, &tokens.access_token).await?)
            }
            (None, Dialect::Slack) => identity(connection, rest),
            (None, Dialect::Standard | Dialect::GitHub) => {
                Err(ProviderError::IdentityInvalid { why: "the connection has no userinfo endpoint" })
            }
        }
    }
}

/// Whether an answer is a JWT (OpenID Connect Core section 5.3.2), which the client would have had to register for.
fn is_jwt(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/jwt")
}
