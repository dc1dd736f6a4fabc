//! What the use cases ask of an identity provider. How it speaks is the adapter's business (contract section 10).

use std::collections::BTreeMap;

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};
use url::Url;

use crate::domain::authorization::Identity;
use crate::domain::caller::Person;
use crate::domain::connection::Connection;
use crate::domain::flow::FlowSecrets;
use crate::domain::scopes::Scopes;
use crate::domain::secret::Secret;

/// What the caller adds to an authorization request (contract section 4).
#[derive(Debug, Clone, Default)]
pub struct Hints {
    /// Who will sign in.
    pub login_hint: Option<String>,
    /// Which domain they belong to.
    pub domain_hint: Option<String>,
    /// OpenID Connect `prompt`.
    pub prompt: Option<String>,
    /// OpenID Connect `max_age`, in seconds.
    pub max_age: Option<u64>,
    /// `AuthKit`: `sign-in` or `sign-up`.
    pub screen_hint: Option<String>,
    /// Whatever else this provider understands; no reserved name.
    pub query_params: BTreeMap<String, String>,
}

/// One authorization request (RFC 6749 section 4.1.1).
#[derive(Debug)]
pub struct AuthorizationRequest<'a> {
    /// This service's callback for the connection.
    pub redirect_uri: &'a Url,
    /// The sealed flow.
    pub state: &'a str,
    /// The PKCE verifier, sent as its S256 challenge, and the nonce.
    pub secrets: &'a FlowSecrets,
    /// What is asked for.
    pub scopes: &'a Scopes,
    /// What the caller adds.
    pub hints: &'a Hints,
}

/// A URL that a browser opens.
#[derive(Debug)]
pub struct AuthorizationUrl {
    /// The provider's authorization endpoint with all parameters, or with the name of those that were pushed.
    pub url: Url,
    /// For how long the provider keeps what was pushed to it (RFC 9126 section 2.2).
    pub pushed_for: Option<Duration>,
}

/// Makes authorization URLs.
#[async_trait]
pub trait AuthorizationUrls: Send + Sync {
    /// The URL that a browser opens.
    async fn authorization_url(
        &self,
        connection: &Connection,
        request: &AuthorizationRequest<'_>,
    ) -> Result<AuthorizationUrl, ProviderError>;
}

/// What the metadata says about the `iss` parameter of an authorization response (RFC 9207).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerParameter {
    /// What it must equal, if the provider has an issuer.
    pub issuer: Option<String>,
    /// Whether the provider advertises that it always sends it.
    pub advertised: bool,
}

impl IssuerParameter {
    /// Exact comparison; missing where advertised and present where not advertised are both refused (RFC 9207 section 2.4).
    #[must_use]
    pub fn accepts(&self, received: Option<&str>) -> bool {
        match received {
            Some(received) => self.advertised && self.issuer.as_deref() == Some(received),
            None => !self.advertised,
        }
    }
}

/// What a provider says about itself.
#[async_trait]
pub trait ProviderMetadata: Send + Sync {
    /// How to judge the `iss` parameter of a callback.
    async fn issuer_parameter(&self, connection: &Connection) -> Result<IssuerParameter, ProviderError>;
    /// Whether it can be asked to revoke tokens.
    async fn supports_revocation(&self, connection: &Connection) -> Result<bool, ProviderError>;
}

/// A successful answer of a token endpoint (RFC 6749 section 5.1).
#[derive(Debug)]
pub struct TokenAnswer {
    /// The access token, of type Bearer.
    pub access_token: Secret,
    /// The refresh token, if one came.
    pub refresh_token: Option<Secret>,
    /// `expires_in`, or what the token's own `exp` says.
    pub expires_in: Option<Duration>,
    /// The granted scopes, if the answer names them; otherwise they are the requested ones.
    pub scopes: Option<Scopes>,
    /// When the request was sent.
    pub requested_at: OffsetDateTime,
}

/// A code exchanged. The tokens are there even when the identity is not to be trusted: somebody has to revoke them.
#[derive(Debug)]
pub struct Exchanged {
    /// What the provider gave.
    pub tokens: TokenAnswer,
    /// Who signed in, validated; or which check failed.
    pub identity: Result<Identity, ProviderError>,
}

/// A refresh token redeemed. The tokens are there even when the `id_token` beside them does not hold: the old refresh token may be
/// spent.
#[derive(Debug)]
pub struct RefreshAnswer {
    /// What the provider gave.
    pub tokens: TokenAnswer,
    /// Whether they are the stored person's, as far as the answer tells.
    pub identity: Result<(), ProviderError>,
}

/// One code exchange (RFC 6749 section 4.1.3).
#[derive(Debug)]
pub struct CodeExchange<'a> {
    /// The provider's code.
    pub code: &'a Secret,
    /// The same redirect URI as in the authorization request.
    pub redirect_uri: &'a Url,
    /// The PKCE verifier and the nonce.
    pub secrets: &'a FlowSecrets,
}

/// Redeems codes.
#[async_trait]
pub trait CodeExchanges: Send + Sync {
    /// Makes everything ready that an exchange needs besides the code: metadata, keys, client credentials. What fails here costs
    /// no code.
    async fn prepare_exchange(&self, connection: &Connection) -> Result<(), ProviderError>;
    /// Exchanges a code, once. It is never repeated after it may have been sent.
    async fn exchange_code(&self, connection: &Connection, exchange: &CodeExchange<'_>) -> Result<Exchanged, ProviderError>;
}

/// Redeems refresh tokens.
#[async_trait]
pub trait Refreshes: Send + Sync {
    /// Makes everything ready that a refresh needs besides the refresh token.
    async fn prepare_refresh(&self, connection: &Connection) -> Result<(), ProviderError>;
    /// Refreshes (RFC 6749 section 6). If the answer holds an `id_token` it is held to `person` (OpenID Connect Core section 12.2).
    async fn refresh(&self, connection: &Connection, refresh_token: &Secret, person: &Person) -> Result<RefreshAnswer, ProviderError>;
}

/// Asks who a token belongs to.
#[async_trait]
pub trait UserInfo: Send + Sync {
    /// Proves an access token at the userinfo endpoint; `Ok(None)` where there is none.
    async fn userinfo(&self, connection: &Connection, access_token: &Secret) -> Result<Option<Identity>, ProviderError>;
}

/// Revokes tokens.
#[async_trait]
pub trait Revocations: Send + Sync {
    /// Revokes the tokens, refresh token first (RFC 7009), and tells what came of it.
    async fn revoke_tokens(&self, connection: &Connection, refresh_token: Option<&Secret>, access_token: Option<&Secret>) -> Revocation;
}

/// What came of asking a provider to revoke.
#[derive(Debug)]
pub struct Revocation {
    /// Every request that was made, in order.
    pub receipts: Vec<Receipt>,
    /// What it comes to.
    pub outcome: Result<Revoked, ProviderError>,
}

/// One request to revoke, for the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// What it was about.
    pub token: RevokedToken,
    /// The HTTP status of the answer; absent if none came.
    pub status: Option<u16>,
    /// When the answer came, or was given up.
    pub at: OffsetDateTime,
}

/// What a request to revoke is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokedToken {
    /// The refresh token.
    Refresh,
    /// The access token.
    Access,
    /// The session that both belong to (WorkOS).
    Session,
}

impl RevokedToken {
    /// The word of RFC 7009 section 2.1, where it has one.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refresh => "refresh_token",
            Self::Access => "access_token",
            Self::Session => "session",
        }
    }
}

/// What a provider did about a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// It revoked, or the token was unknown to it.
    Done,
    /// It has no way to revoke.
    Unsupported,
}

/// Why a provider did not do what it was asked, classified by what follows from it (design section 5).
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// `invalid_grant` in whatever dialect: the code or refresh token is refused for good.
    #[error("provider refused the grant")]
    InvalidGrant,
    /// Another OAuth error about this request.
    #[error("provider answered with the OAuth error {code}")]
    Refused {
        /// The error code, cut and cleaned.
        code: String,
    },
    /// The operator's fault: `invalid_client`, `unauthorized_client`, a redirect mismatch, a missing client secret.
    #[error("provider refused this client: {code}")]
    Misconfigured {
        /// The error code or what is missing.
        code: String,
    },
    /// Passing: unreachable, 408, 429, 5xx.
    #[error("provider is not available")]
    Unavailable {
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// What `Retry-After` asked for.
        retry_after: Option<Duration>,
        /// How the connection failed, if it did.
        #[source]
        source: Option<super::Source>,
    },
    /// The request was sent, and its answer never came, or only a gateway's word that there is none: what it did is unknown.
    #[error("provider's answer was lost")]
    AnswerLost {
        /// How it was lost.
        #[source]
        source: Option<super::Source>,
    },
    /// A success that makes no sense.
    #[error("provider's answer is not usable: {why}")]
    AnswerInvalid {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The `id_token` or userinfo does not hold.
    #[error("identity is not proved: {why}")]
    IdentityInvalid {
        /// Which check failed.
        why: &'static str,
    },
    /// A refresh answered for another identity than the stored one.
    #[error("provider answered for another identity")]
    IdentityChanged,
    /// A part of ours was down before anything was sent.
    #[error(transparent)]
    Ours(#[from] super::Unavailable),
}

/// What it means for an authorization that its refresh brought no token (design section 5). Nothing but [`Verdict::Terminal`] ever
/// changes a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The grant is over: only a person helps.
    Terminal,
    /// Our client is refused, and every authorization of the connection with it: the operator's fault.
    Operator,
    /// It passes, and the refresh token is as it was.
    Passing,
    /// It passes, but the refresh token may have been spent.
    Unclear,
}

impl ProviderError {
    /// What follows for the authorization whose refresh failed like this.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::InvalidGrant | Self::IdentityChanged => Verdict::Terminal,
            Self::Misconfigured { .. } => Verdict::Operator,
            // A refusal of this one request says nothing about the grant.
            Self::Refused { .. } | Self::Unavailable { .. } | Self::Ours(_) => Verdict::Passing,
            // A success that cannot be read may have spent the refresh token, too.
            Self::AnswerLost { .. } | Self::AnswerInvalid { .. } | Self::IdentityInvalid { .. } => Verdict::Unclear,
        }
    }

    /// When the provider wants to be asked again, if it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
