//! The adapter to identity providers, and the verifier of API tokens. One sign-in, step by step:
//!
//! 1. [`Provider`] finds the endpoints (`discovery`), and makes the URL that a browser opens (`authorization_url`).
//! 2. The code comes back. Keys and client proofs are made ready first (`jwks`, `client_authentication`), so that nothing of ours is
//!    missing once the code is spent.
//! 3. The code is redeemed (`token_endpoint`); the answer is judged by one table (`classify`) and read strictly (`token_answer`, `json`).
//! 4. The identity is proved: by the `id_token` (`id_token`, `jwt`), by `userinfo`, or as the provider's own dialect has it (`dialects`).
//! 5. Later the refresh token is redeemed the same way, and in the end the tokens are revoked (`revocation`).
//!
//! Every request leaves through [`egress`]; every refusal is one of [`ProviderError`]. No text of a provider goes further than a
//! cleaned error code. [`ApiTokenVerifier`] shares the keys and the strictness.

mod address;
mod api_token;
mod authorization_url;
mod classify;
mod client_authentication;
mod dialects;
mod discovery;
pub mod egress;
mod fetch;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod id_token;
mod identity;
mod jwks;
mod jwt;
mod proven;
mod revocation;
mod survey;
mod token_answer;
mod token_endpoint;
mod userinfo;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

pub use api_token::ApiTokenVerifier;
pub use egress::{Egress, Http};
pub use jwks::Jwks;
pub use survey::{Finding, Survey};

use self::classify::is_unclear;
use self::client_authentication::Proof;
use self::discovery::{Discovery, Endpoints};
use self::jwks::Unverified;
use self::jwt::Jwt;
use self::token_endpoint::Grant;
use crate::domain::authorization::Identity;
use crate::domain::caller::Person;
use crate::domain::connection::{Connection, Dialect, Kind};
use crate::domain::secret::Secret;
use crate::ports::clock::{Clock, Entropy};
use crate::ports::configuration::ClientSecrets;
use crate::ports::provider::{
    AuthorizationRequest, AuthorizationUrl, AuthorizationUrls, CodeExchange, CodeExchanges, Exchanged, IssuerParameter, ProviderError,
    ProviderMetadata, RefreshAnswer, Refreshes, Revocation, Revocations, TokenAnswer, UserInfo,
};

/// Speaks with identity providers.
pub struct Provider {
    http: Http,
    discovery: Discovery,
    jwks: Arc<Jwks>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    secrets: Option<Arc<dyn ClientSecrets>>,
}

impl Provider {
    /// Speaks as the clients of the directory, with their secrets.
    #[must_use]
    pub fn new(http: Http, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, secrets: Arc<dyn ClientSecrets>) -> Self {
        Self { secrets: Some(secrets), ..Self::without_secrets(http, clock, entropy) }
    }

    /// Makes URLs and reads metadata; whatever a client must prove itself for is [`ProviderError::Misconfigured`].
    #[must_use]
    pub fn without_secrets(http: Http, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let discovery = Discovery::new(http.clone(), clock.clone());
        let jwks = Arc::new(Jwks::new(http.clone(), clock.clone()));
        Self { http, discovery, jwks, clock, entropy, secrets: None }
    }

    /// The keys, to be shared with an [`ApiTokenVerifier`] of the same process.
    #[must_use]
    pub fn jwks(&self) -> Arc<Jwks> {
        self.jwks.clone()
    }

    /// Proves the identity by the `id_token` of a code exchange (step 4).
    async fn id_token_identity(
        &self,
        connection: &Connection,
        endpoints: &Endpoints,
        exchange: &CodeExchange<'_>,
        tokens: &TokenAnswer,
        rest: &Map<String, Value>,
    ) -> Result<Identity, ProviderError> {
        let invalid = |why| ProviderError::IdentityInvalid { why };
        let (Some(issuer), Some(jwks)) = (&endpoints.issuer, &endpoints.jwks) else { return Err(invalid("the provider has no issuer")) };
        let token = rest.get("id_token").and_then(Value::as_str).ok_or(invalid("it sent no id_token"))?;
        let jwt = Jwt::read(token, &endpoints.id_token_algs).map_err(invalid)?;
        self.jwks.verify(jwks, &jwt).await.map_err(|error| match error {
            Unverified::Refused(why) => invalid(why),
            Unverified::NoKeys(error) => error,
        })?;
        let expected = id_token::Expected {
            issuer,
            client_id: &connection.client_id,
            nonce: Some(&exchange.secrets.nonce),
            access_token: &tokens.access_token,
            now: self.clock.now(),
        };
        id_token::hold_to(&jwt, &expected).map_err(invalid)?;
        let mut claims = jwt.claims.into_object();
        self.complete_claims(connection, endpoints.userinfo.as_ref(), tokens, &mut claims).await?;
        identity::identity(connection, &claims)
    }

    /// What every token request needs: metadata and client credentials, from their caches when they are warm.
    async fn ready(&self, connection: &Connection) -> Result<(Arc<Endpoints>, Vec<Proof>), ProviderError> {
        let endpoints = self.discovery.endpoints(connection).await?;
        let proofs = self.proofs_at(connection, &endpoints).await?;
        Ok((endpoints, proofs))
    }

    /// Step 2: a code is not spent on an identity that could not be proved.
    async fn ready_to_exchange(&self, connection: &Connection) -> Result<(Arc<Endpoints>, Vec<Proof>), ProviderError> {
        let (endpoints, proofs) = self.ready(connection).await?;
        match &endpoints.jwks {
            Some(jwks) if connection.is_openid() => self.jwks.warm(jwks).await?,
            None if connection.is_openid() => return Err(ProviderError::AnswerInvalid { why: "its metadata lacks a jwks_uri" }),
            _ if endpoints.issuer.is_some() && endpoints.userinfo.is_none() => {
                return Err(ProviderError::Misconfigured { code: "identity_without_openid_and_userinfo".to_owned() });
            }
            _ => {}
        }
        Ok((endpoints, proofs))
    }

    /// Holds the `id_token` of a refresh to the stored person (OpenID Connect Core section 12.2), without any request: between this
    /// answer and its storing nothing may fail (I7). The signature is verified if its key is at hand; if not, the token endpoint's
    /// TLS vouches for it (section 3.1.3.7, point 6).
    fn hold_to_person(
        &self,
        connection: &Connection,
        endpoints: &Endpoints,
        tokens: &TokenAnswer,
        token: &str,
        person: &Person,
    ) -> Result<(), ProviderError> {
        let invalid = |why| ProviderError::IdentityInvalid { why };
        let (Some(issuer), Some(jwks)) = (&endpoints.issuer, &endpoints.jwks) else { return Ok(()) };
        let jwt = Jwt::read(token, &endpoints.id_token_algs).map_err(invalid)?;
        self.jwks.verify_offline(jwks, &jwt).unwrap_or(Ok(())).map_err(invalid)?;
        if jwt.claims.text("iss") != Some(issuer) || person.issuer != *issuer {
            return Err(ProviderError::IdentityChanged);
        }
        let (client_id, now) = (connection.client_id.as_str(), self.clock.now());
        let expected = id_token::Expected { issuer, client_id, nonce: None, access_token: &tokens.access_token, now };
        id_token::hold_to(&jwt, &expected).map_err(invalid)?;
        let identity = identity::identity(connection, &jwt.claims.into_object())?;
        if identity.person == *person { Ok(()) } else { Err(ProviderError::IdentityChanged) }
    }
}

/// A refresh that only a gateway has answered may have been done all the same.
fn unanswered(error: ProviderError) -> ProviderError {
    if is_unclear(&error) { ProviderError::AnswerLost { source: Some(error.into()) } } else { error }
}

#[async_trait]
impl AuthorizationUrls for Provider {
    async fn authorization_url(
        &self,
        connection: &Connection,
        request: &AuthorizationRequest<'_>,
    ) -> Result<AuthorizationUrl, ProviderError> {
        self.make_url(connection, request).await
    }
}

#[async_trait]
impl ProviderMetadata for Provider {
    async fn issuer_parameter(&self, connection: &Connection) -> Result<IssuerParameter, ProviderError> {
        let endpoints = self.discovery.endpoints(connection).await?;
        Ok(IssuerParameter { issuer: endpoints.issuer.clone(), advertised: endpoints.sends_issuer })
    }

    async fn supports_revocation(&self, connection: &Connection) -> Result<bool, ProviderError> {
        match connection.kind {
            Kind::WorkOs { .. } => Ok(!self.is_public(connection).await?),
            // The operator's word needs no discovery.
            Kind::Oidc { revocation_endpoint: Some(_), .. } => Ok(true),
            Kind::Oidc { .. } | Kind::OAuth2 { .. } => Ok(self.discovery.endpoints(connection).await?.revocation.is_some()),
        }
    }
}

#[async_trait]
impl CodeExchanges for Provider {
    async fn prepare_exchange(&self, connection: &Connection) -> Result<(), ProviderError> {
        self.ready_to_exchange(connection).await.map(drop)
    }

    async fn exchange_code(&self, connection: &Connection, exchange: &CodeExchange<'_>) -> Result<Exchanged, ProviderError> {
        let (endpoints, proofs) = self.ready_to_exchange(connection).await?;
        let grant = Grant::Code(exchange);
        let (tokens, identity) = match connection.kind {
            Kind::Oidc { .. } if connection.is_openid() => {
                let redeemed = self.redeem(connection, &endpoints.token, &proofs, grant).await?;
                let identity = self.id_token_identity(connection, &endpoints, exchange, &redeemed.tokens, &redeemed.rest).await;
                (redeemed.tokens, identity)
            }
            // Without the scope `openid` there is no id_token: whoever the access token belongs to is asked for.
            Kind::Oidc { .. } | Kind::OAuth2 { .. } => {
                let redeemed = self.redeem(connection, &endpoints.token, &proofs, grant).await?;
                let identity = self.plain_identity(connection, endpoints.userinfo.as_ref(), &redeemed.tokens, &redeemed.rest).await;
                (redeemed.tokens, identity)
            }
            Kind::WorkOs { .. } => {
                let redeemed = self.authenticate(connection, &endpoints.token, &proofs, grant).await?;
                let identity = dialects::workos::identity(connection, &redeemed.rest);
                (redeemed.tokens, identity)
            }
        };
        Ok(Exchanged { tokens, identity })
    }
}

#[async_trait]
impl Refreshes for Provider {
    async fn prepare_refresh(&self, connection: &Connection) -> Result<(), ProviderError> {
        self.ready(connection).await.map(drop)
    }

    async fn refresh(&self, connection: &Connection, refresh_token: &Secret, person: &Person) -> Result<RefreshAnswer, ProviderError> {
        let (endpoints, proofs) = self.ready(connection).await?;
        let grant = Grant::Refresh(refresh_token);
        if matches!(connection.kind, Kind::WorkOs { .. }) {
            let redeemed = self.authenticate(connection, &endpoints.token, &proofs, grant).await;
            let redeemed = redeemed.map_err(dialects::workos::refused_refresh).map_err(unanswered)?;
            let identity = dialects::workos::hold_to_person(connection, &redeemed, person);
            return Ok(RefreshAnswer { tokens: redeemed.tokens, identity });
        }
        let redeemed = self.redeem(connection, &endpoints.token, &proofs, grant).await.map_err(unanswered)?;
        let identity = match redeemed.rest.get("id_token").and_then(Value::as_str) {
            Some(id_token) => self.hold_to_person(connection, &endpoints, &redeemed.tokens, id_token, person),
            None if token_endpoint::dialect(connection) == Dialect::Slack => {
                dialects::slack::hold_to_person(connection, &redeemed.rest, person)
            }
            None => Ok(()),
        };
        Ok(RefreshAnswer { tokens: redeemed.tokens, identity })
    }
}

#[async_trait]
impl UserInfo for Provider {
    async fn userinfo(&self, connection: &Connection, access_token: &Secret) -> Result<Option<Identity>, ProviderError> {
        self.identity_of(connection, access_token).await
    }
}

#[async_trait]
impl Revocations for Provider {
    async fn revoke_tokens(&self, connection: &Connection, refresh_token: Option<&Secret>, access_token: Option<&Secret>) -> Revocation {
        let mut receipts = Vec::new();
        let outcome = self.revoke(connection, refresh_token, access_token, &mut receipts).await;
        Revocation { receipts, outcome }
    }
}
