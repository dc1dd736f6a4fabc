//! Create an authorization URL (contract section 4).
//!
//! 1. The redirect URI must be registered; without a valid one nothing is ever sent there.
//! 2. The selector must name one linked connection of this organization.
//! 3. What is asked for must be within what the connection allows.
//! 4. The flow is sealed into `state`, and the provider's URL is made. Nothing is stored.

use std::sync::Arc;

use time::OffsetDateTime;
use url::Url;

use super::Call;
use super::audit::Act;
use crate::domain::caller::Caller;
use crate::domain::directory::{Directory, Selector, SelectorError};
use crate::domain::flow::{Flow, ReturnTo, URL_LIFETIME};
use crate::domain::ids::{AuthorizationId, FlowId};
use crate::domain::scopes::Scopes;
use crate::ports::Unavailable;
use crate::ports::clock::{Clock, Entropy, random};
use crate::ports::flows::FlowSealer;
use crate::ports::provider::{AuthorizationRequest, AuthorizationUrls, Hints, ProviderError};

/// The use case with what it needs.
pub struct CreateUrl {
    /// Seals the flow.
    pub sealer: Arc<dyn FlowSealer>,
    /// Makes the provider's URL.
    pub urls: Arc<dyn AuthorizationUrls>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// What a caller asks for; already of the right shapes.
#[derive(Debug)]
pub struct Request {
    /// Which connection; several or an empty selector are an error that may still be answered by `url`.
    pub selector: Result<Selector, SelectorError>,
    /// Where the browser returns.
    pub redirect_uri: Option<String>,
    /// The caller's own state.
    pub state: Option<String>,
    /// The caller's own S256 challenge.
    pub code_challenge: Option<String>,
    /// What to ask of the provider; the connection's scopes if absent.
    pub provider_scopes: Option<Scopes>,
    /// What is passed on.
    pub hints: Hints,
    /// Which authorization to renew.
    pub authorization_id: Option<AuthorizationId>,
}

/// A URL that lives ten minutes, or as long as the provider keeps a pushed request if that is shorter, and works once.
#[derive(Debug)]
pub struct Created {
    /// The provider's authorization endpoint with all parameters.
    pub url: Url,
    /// When it ends.
    pub expires_at: OffsetDateTime,
}

/// Why there is no URL.
#[derive(Debug, thiserror::Error)]
pub enum CreateUrlError {
    /// The redirect URI is not registered.
    #[error("redirect URI is not registered")]
    RedirectUri,
    /// The selector names no connection. With a valid redirect URI there is a way to tell the browser.
    #[error("failed to select a connection")]
    Selector {
        /// Why.
        #[source]
        error: SelectorError,
        /// The redirect URI and state to answer to.
        return_to: Option<ReturnTo>,
    },
    /// A scope is not among the connection's allowed ones.
    #[error("scopes are not allowed at this connection")]
    Scopes,
    /// `screen_hint` is for `AuthKit` only.
    #[error("screen hint is not understood by this connection")]
    ScreenHint,
    /// The provider could not be asked for its metadata.
    #[error("failed to make the provider's URL")]
    Provider(#[source] ProviderError),
    /// A part of ours is down.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl CreateUrl {
    /// Makes a URL for the caller.
    pub async fn create(&self, call: &Call, caller: &Caller, directory: &Directory, request: Request) -> Result<Created, CreateUrlError> {
        let return_to = match &request.redirect_uri {
            None => None,
            Some(uri) => Some(ReturnTo {
                redirect_uri: directory.redirect_uris.resolve(uri).map_err(|_| CreateUrlError::RedirectUri)?.into(),
                state: request.state,
                code_challenge: request.code_challenge,
            }),
        };
        let selected = request.selector.and_then(|selector| directory.select(&selector, &caller.organization));
        let connection = selected.map_err(|error| CreateUrlError::Selector { error, return_to: return_to.clone() })?;
        if request.hints.screen_hint.is_some() && !connection.has_screens() {
            return Err(CreateUrlError::ScreenHint);
        }
        let mut scopes = request.provider_scopes.filter(|s| !s.is_empty()).unwrap_or_else(|| connection.scopes.clone());
        if connection.is_openid() {
            scopes = scopes.with("openid");
        }
        if !connection.allowed_scopes.covers(&scopes) {
            return Err(CreateUrlError::Scopes);
        }
        let now = self.clock.now();
        let expires_at = now + URL_LIFETIME;
        let flow = Flow {
            id: FlowId::new(random(self.entropy.as_ref())?),
            organization: caller.organization.clone(),
            initiator: caller.person.clone(),
            initiator_email: caller.verified_email.clone(),
            connection: connection.id.clone(),
            return_to,
            scopes,
            reauthorize: request.authorization_id,
            expires_at: expires_at.unix_timestamp(),
        };
        let (state, secrets) = self.sealer.seal_state(&flow).await?;
        let redirect_uri = directory.callback(&connection.id);
        let asked = AuthorizationRequest {
            redirect_uri: &redirect_uri,
            state: &state,
            secrets: &secrets,
            scopes: &flow.scopes,
            hints: &request.hints,
        };
        let made = self.urls.authorization_url(connection, &asked).await.map_err(CreateUrlError::Provider)?;
        // A provider may forget a pushed request before our state ends: then the URL ends with it.
        let expires_at = made.pushed_for.map_or(expires_at, |kept| expires_at.min(now.saturating_add(kept)));
        Act {
            action: "create",
            outcome: "ok",
            actor: Some(&caller.person),
            organization: Some(&caller.organization),
            authorization: flow.reauthorize.as_ref(),
            detail: Some(connection.id.as_str()),
            ..Act::default()
        }
        .record(call);
        Ok(Created { url: made.url, expires_at })
    }
}
