//! What an issuer says about itself (OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3), and what the directory says about
//! providers that say nothing.
//!
//! 1. The document is fetched from a path below the issuer, where OpenID providers have it, else from the path of RFC 8414; its
//!    `issuer` must be the configured one to the letter.
//! 2. Its endpoints must be such that requests may go to them.
//! 3. A provider that does not speak of PKCE is warned of, once per document: it gets PKCE all the same (RFC 9700 section 4.8).
//! 4. It serves for an hour, and for a day while the issuer cannot be reached. Failures are forgotten after seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;
use url::Url;

use super::egress::Http;
use super::fetch::get_object;
use super::jwt::Alg;
use crate::domain::connection::{Connection, Kind};
use crate::ports::clock::Clock;
use crate::ports::provider::ProviderError;

/// For how long a document serves without another look.
const FRESH: Duration = Duration::hours(1);
/// For how long it serves when the issuer cannot be reached.
const STALE: Duration = Duration::hours(24);
/// For how long a failure is believed without asking again.
const FAILURE: Duration = Duration::seconds(3);

/// Where a provider does what.
#[derive(Debug, Clone)]
pub(super) struct Endpoints {
    /// Absent for providers that have none.
    pub(super) issuer: Option<String>,
    pub(super) authorization: Url,
    pub(super) token: Url,
    /// Always there at an OpenID provider.
    pub(super) jwks: Option<Url>,
    pub(super) userinfo: Option<Url>,
    pub(super) revocation: Option<Url>,
    /// RFC 9126.
    pub(super) pushed_authorization: Option<Url>,
    pub(super) requires_pushed_authorization: bool,
    /// RFC 9207.
    pub(super) sends_issuer: bool,
    /// By what its `id_tokens` may be signed.
    pub(super) id_token_algs: Vec<Alg>,
    /// By which algorithms a client assertion may be signed (RFC 8414 section 2); untold if absent.
    pub(super) assertion_algs: Option<Vec<String>>,
}

/// The documents of every issuer that was asked.
pub(super) struct Discovery {
    http: Http,
    clock: Arc<dyn Clock>,
    slots: SyncMutex<HashMap<String, Arc<Mutex<Slot>>>>,
}

#[derive(Default)]
struct Slot {
    document: Option<(Arc<Endpoints>, OffsetDateTime)>,
    failed: Option<(ProviderError, OffsetDateTime)>,
}

impl Discovery {
    pub(super) fn new(http: Http, clock: Arc<dyn Clock>) -> Self {
        Self { http, clock, slots: SyncMutex::default() }
    }

    /// The endpoints of a connection's provider.
    pub(super) async fn endpoints(&self, connection: &Connection) -> Result<Arc<Endpoints>, ProviderError> {
        let endpoints = match &connection.kind {
            Kind::Oidc { issuer, revocation_endpoint } => {
                let discovered = self.discovered(issuer).await?;
                let Some(revocation) = revocation_endpoint else { return Ok(discovered) };
                Endpoints { revocation: Some(revocation.clone()), ..(*discovered).clone() }
            }
            Kind::OAuth2 { authorization_endpoint, token_endpoint, userinfo_endpoint, revocation_endpoint, .. } => {
                let (userinfo, revocation) = (userinfo_endpoint.clone(), revocation_endpoint.clone());
                Endpoints { userinfo, revocation, ..Endpoints::named(authorization_endpoint.clone(), token_endpoint.clone()) }
            }
            Kind::WorkOs { base_url, .. } => {
                Endpoints::named(below(base_url, "user_management/authorize"), below(base_url, "user_management/authenticate"))
            }
        };
        self.http.judge(&endpoints.authorization).map_err(|why| ProviderError::Misconfigured { code: why.to_owned() })?;
        Ok(Arc::new(endpoints))
    }

    async fn discovered(&self, issuer: &str) -> Result<Arc<Endpoints>, ProviderError> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(issuer.to_owned()).or_default().clone()
        };
        // Held across the request: whoever comes meanwhile waits for its answer.
        let mut slot = slot.lock().await;
        let now = self.clock.now();
        if let Some(document) = slot.document_at(now, FRESH) {
            return Ok(document);
        }
        let stale = slot.document_at(now, STALE);
        if let Some((error, at)) = &slot.failed
            && now < *at + FAILURE
        {
            return stale.ok_or_else(|| again(error));
        }
        match self.fetch(issuer).await {
            Ok(endpoints) => {
                let endpoints = Arc::new(endpoints);
                *slot = Slot { document: Some((endpoints.clone(), now)), failed: None };
                Ok(endpoints)
            }
            Err(error) => {
                slot.failed = Some((again(&error), now));
                stale.ok_or(error)
            }
        }
    }

    async fn fetch(&self, issuer: &str) -> Result<Endpoints, ProviderError> {
        let (document, openid) = self.document(issuer).await?;
        let endpoints = self.read(issuer, &document, openid)?;
        if !announces_pkce(&document) {
            tracing::warn!(
                issuer,
                "the provider does not say that it supports PKCE with S256; it is sent all the same, and state and nonce are held to"
            );
        }
        Ok(endpoints)
    }

    /// The document as it is, and whether it is an OpenID provider's.
    pub(super) async fn document(&self, issuer: &str) -> Result<(Map<String, Value>, bool), ProviderError> {
        let not_a_url = || ProviderError::Misconfigured { code: "issuer_not_a_url".to_owned() };
        let parsed = Url::parse(issuer).map_err(|_| not_a_url())?;
        if parsed.query().is_some() || parsed.fragment().is_some() || parsed.cannot_be_a_base() {
            return Err(not_a_url());
        }
        let now = self.clock.now();
        match get_object(&self.http, &below(&parsed, ".well-known/openid-configuration"), now).await {
            // An authorization server that is no OpenID provider has its document elsewhere (RFC 8414 section 3.1).
            Err(ProviderError::Unavailable { status: Some(404), .. }) => Ok((get_object(&self.http, &rfc8414(&parsed), now).await?, false)),
            other => Ok((other?, true)),
        }
    }

    pub(super) fn read(&self, issuer: &str, document: &Map<String, Value>, openid: bool) -> Result<Endpoints, ProviderError> {
        let invalid = |why| ProviderError::AnswerInvalid { why };
        if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return Err(invalid("its metadata is of another issuer"));
        }
        let endpoint = |name: &str| -> Result<Option<Url>, ProviderError> {
            let Some(value) = document.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
            let url = value.as_str().and_then(|text| Url::parse(text).ok()).ok_or(invalid("an endpoint in its metadata is not a URL"))?;
            self.http.judge(&url).map_err(|_| invalid("an endpoint in its metadata is not allowed"))?;
            Ok(Some(url))
        };
        let flag = |name: &str| document.get(name) == Some(&Value::Bool(true));
        let missing = || invalid("its metadata lacks an endpoint");
        let jwks = endpoint("jwks_uri")?;
        if openid && jwks.is_none() {
            return Err(missing());
        }
        Ok(Endpoints {
            issuer: Some(issuer.to_owned()),
            authorization: endpoint("authorization_endpoint")?.ok_or_else(missing)?,
            token: endpoint("token_endpoint")?.ok_or_else(missing)?,
            jwks,
            userinfo: endpoint("userinfo_endpoint")?,
            revocation: endpoint("revocation_endpoint")?,
            pushed_authorization: endpoint("pushed_authorization_request_endpoint")?,
            requires_pushed_authorization: flag("require_pushed_authorization_requests"),
            sends_issuer: flag("authorization_response_iss_parameter_supported"),
            id_token_algs: id_token_algs(document),
            assertion_algs: strings(document, "token_endpoint_auth_signing_alg_values_supported"),
        })
    }
}

/// What the issuer announces that it signs `id_tokens` with, as far as it is allowed here; all of that if it announces nothing. A key
/// of its for other things is so none for `id_tokens` (OpenID Connect Core section 3.1.3.7, point 7; RFC 8725 section 3.1).
fn id_token_algs(document: &Map<String, Value>) -> Vec<Alg> {
    let Some(announced) = strings(document, "id_token_signing_alg_values_supported") else { return Alg::ASYMMETRIC.to_vec() };
    announced.iter().filter_map(|name| Alg::parse(name)).filter(|alg| Alg::ASYMMETRIC.contains(alg)).collect()
}

impl Endpoints {
    fn named(authorization: Url, token: Url) -> Self {
        Self {
            issuer: None,
            authorization,
            token,
            jwks: None,
            userinfo: None,
            revocation: None,
            pushed_authorization: None,
            requires_pushed_authorization: false,
            sends_issuer: false,
            assertion_algs: None,
            id_token_algs: Vec::new(),
        }
    }
}

/// Whether a provider says that it supports PKCE with S256 (RFC 8414 section 2).
pub(super) fn announces_pkce(document: &Map<String, Value>) -> bool {
    strings(document, "code_challenge_methods_supported").is_some_and(|methods| methods.iter().any(|method| method == "S256"))
}

/// The texts of a list in the metadata; `None` if it has no such list.
pub(super) fn strings(document: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    Some(document.get(name)?.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

impl Slot {
    fn document_at(&self, now: OffsetDateTime, age: Duration) -> Option<Arc<Endpoints>> {
        self.document.as_ref().filter(|(_, fetched_at)| now < *fetched_at + age).map(|(document, _)| document.clone())
    }
}

/// A path below a URL, which may or may not end in a slash.
pub(super) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// The well-known path comes before the issuer's own (RFC 8414 section 3.1).
fn rfc8414(issuer: &Url) -> Url {
    let mut url = issuer.clone();
    url.set_path(&format!("/.well-known/oauth-authorization-server{}", issuer.path().trim_end_matches('/')));
    url
}

/// The same failure for the next who asks; its cause was told to the first.
fn again(error: &ProviderError) -> ProviderError {
    match error {
        ProviderError::AnswerInvalid { why } => ProviderError::AnswerInvalid { why },
        ProviderError::Refused { code } => ProviderError::Refused { code: code.clone() },
        ProviderError::Misconfigured { code } => ProviderError::Misconfigured { code: code.clone() },
        ProviderError::Unavailable { status, retry_after, .. } => {
            ProviderError::Unavailable { status: *status, retry_after: *retry_after, source: None }
        }
        _ => ProviderError::Unavailable { status: None, retry_after: None, source: None },
    }
}
