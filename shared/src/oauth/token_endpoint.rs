//! Redeeming codes and refresh tokens (RFC 6749 sections 4.1.3 and 6).
//!
//! 1. The request is made by the `oauth2` crate, and sent by [`Http`].
//! 2. Its answer is judged and normalised by [`token_answer`](super::token_answer) before that crate reads it.
//! 3. Only a client that was not recognized is tried again, with its next secret: then nothing was consumed. All tries share the time
//!    of one, for a lease covers no more.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use oauth2::basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType};
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, EndpointNotSet, EndpointSet, ExtraTokenFields, HttpRequest,
    HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, StandardRevocableToken, StandardTokenResponse,
    TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};
use url::Url;

use super::classify::is_wrong_secret;
use super::client_authentication::{ASSERTION_TYPE, Proof};
use super::egress::Http;
use super::{Provider, jwt, token_answer};
use crate::domain::connection::{Connection, Dialect, Kind};
use crate::domain::scopes::Scopes;
use crate::domain::secret::Secret;
use crate::ports::clock::Clock;
use crate::ports::provider::{CodeExchange, ProviderError, TokenAnswer};

/// What is redeemed.
#[derive(Clone, Copy)]
pub(super) enum Grant<'a> {
    Code(&'a CodeExchange<'a>),
    Refresh(&'a Secret),
}

/// What came of it.
pub(super) struct Redeemed {
    pub(super) tokens: TokenAnswer,
    /// The members that RFC 6749 does not describe: `id_token`, or who the person is.
    pub(super) rest: Map<String, Value>,
}

pub(super) type Response = StandardTokenResponse<Rest, BasicTokenType>;
type Client<Token> = oauth2::Client<
    BasicErrorResponse,
    Response,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    Token,
>;

/// The further members of a token answer. They may be tokens: `Debug` shows none.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Rest(Map<String, Value>);

impl ExtraTokenFields for Rest {}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Provider {
    /// Redeems a grant at a token endpoint of RFC 6749.
    pub(super) async fn redeem(
        &self,
        connection: &Connection,
        endpoint: &Url,
        proofs: &[Proof],
        grant: Grant<'_>,
    ) -> Result<Redeemed, ProviderError> {
        let mut refused = ProviderError::Misconfigured { code: "client_secret_missing".to_owned() };
        let until = self.clock.now() + self.http.time_limit();
        for proof in proofs {
            let Some(left) = self.left(until) else { break };
            match self.redeem_once(connection, endpoint, proof, grant, left).await {
                Err(error) if is_wrong_secret(&error) => refused = error,
                other => return other,
            }
        }
        Err(refused)
    }

    /// What is left until then; `None` if nothing is.
    pub(super) fn left(&self, until: OffsetDateTime) -> Option<StdDuration> {
        StdDuration::try_from(until - self.clock.now()).ok().filter(|left| !left.is_zero())
    }

    async fn redeem_once(
        &self,
        connection: &Connection,
        endpoint: &Url,
        proof: &Proof,
        grant: Grant<'_>,
        left: StdDuration,
    ) -> Result<Redeemed, ProviderError> {
        let client = client(connection, endpoint, proof);
        let sender = Sender { http: self.http.clone(), clock: self.clock.clone(), dialect: dialect(connection), left };
        let requested_at = self.clock.now();
        let answer = match grant {
            Grant::Code(exchange) => {
                let redirect_uri = RedirectUrl::from_url(exchange.redirect_uri.clone());
                let mut request = client
                    .exchange_code(AuthorizationCode::new(exchange.code.expose().to_owned()))
                    .set_pkce_verifier(PkceCodeVerifier::new(exchange.secrets.code_verifier.expose().to_owned()))
                    .set_redirect_uri(Cow::Owned(redirect_uri));
                if let Proof::Assertion(assertion) = proof {
                    request = request
                        .add_extra_param("client_assertion_type", ASSERTION_TYPE)
                        .add_extra_param("client_assertion", assertion.expose());
                }
                request.request_async(&sender).await
            }
            Grant::Refresh(token) => {
                let token = RefreshToken::new(token.expose().to_owned());
                let mut request = client.exchange_refresh_token(&token);
                if let Proof::Assertion(assertion) = proof {
                    request = request
                        .add_extra_param("client_assertion_type", ASSERTION_TYPE)
                        .add_extra_param("client_assertion", assertion.expose());
                }
                request.request_async(&sender).await
            }
        };
        match answer {
            Ok(answer) => Ok(redeemed(&answer, requested_at)),
            Err(RequestTokenError::Request(Judged(error))) => Err(error),
            Err(_) => Err(ProviderError::AnswerInvalid { why: "it is not a token answer" }),
        }
    }
}

fn client(connection: &Connection, endpoint: &Url, proof: &Proof) -> Client<EndpointSet> {
    let client: Client<EndpointNotSet> = oauth2::Client::new(ClientId::new(connection.client_id.clone()));
    let client = client.set_token_uri(TokenUrl::from_url(endpoint.clone()));
    match proof {
        Proof::Basic(secret) => client.set_auth_type(AuthType::BasicAuth).set_client_secret(ClientSecret::new(secret.expose().to_owned())),
        Proof::Post(secret) => client.set_auth_type(AuthType::RequestBody).set_client_secret(ClientSecret::new(secret.expose().to_owned())),
        Proof::Assertion(_) | Proof::Public => client.set_auth_type(AuthType::RequestBody),
    }
}

/// Which departures from the RFC to expect.
pub(super) fn dialect(connection: &Connection) -> Dialect {
    match connection.kind {
        Kind::OAuth2 { dialect, .. } => dialect,
        Kind::Oidc { .. } | Kind::WorkOs { .. } => Dialect::Standard,
    }
}

pub(super) fn redeemed(answer: &Response, requested_at: OffsetDateTime) -> Redeemed {
    let access_token = answer.access_token().secret();
    let told = answer.expires_in().and_then(|lifetime| Duration::try_from(lifetime).ok());
    let scopes = answer.scopes().map(|scopes| granted(scopes.iter().map(|scope| scope.as_str())));
    Redeemed {
        tokens: TokenAnswer {
            expires_in: told.or_else(|| lifetime_of(access_token, requested_at)),
            access_token: Secret::new(access_token.clone()),
            refresh_token: answer.refresh_token().map(|token| Secret::new(token.secret().clone())),
            scopes,
            requested_at,
        },
        rest: answer.extra_fields().0.clone(),
    }
}

/// The scopes of an answer; what is not a scope token grants nothing.
fn granted<'s>(scopes: impl Iterator<Item = &'s str>) -> Scopes {
    let valid = scopes.filter(|scope| !scope.is_empty()).filter(|scope| Scopes::try_from(vec![(*scope).to_owned()]).is_ok());
    Scopes::try_from(valid.map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default()
}

/// How long an access token lives by its own `exp`, if it is a JWT and that lies ahead.
pub(super) fn lifetime_of(access_token: &str, requested_at: OffsetDateTime) -> Option<Duration> {
    let lifetime = Duration::seconds(jwt::unverified_exp(access_token)? - requested_at.unix_timestamp());
    lifetime.is_positive().then_some(lifetime)
}

/// Sends the requests of the `oauth2` crate, and lets it see nothing but successes in the form of the RFC.
struct Sender {
    http: Http,
    clock: Arc<dyn Clock>,
    dialect: Dialect,
    left: StdDuration,
}

/// Our judgement of an answer, on its way through the `oauth2` crate.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Judged(ProviderError);

impl<'c> AsyncHttpClient<'c> for Sender {
    type Error = Judged;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Judged>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer = self.http.send_within(request, self.left).await.map_err(|undelivered| Judged(undelivered.into()))?;
            let members = token_answer::read(&answer, self.dialect, self.clock.now()).map_err(Judged)?;
            Ok(HttpResponse::new(Value::Object(members).to_string().into_bytes()))
        })
    }
}
