//! Authorization requests (RFC 6749 section 4.1.1, RFC 7636, OpenID Connect Core section 3.1.2.1).
//!
//! 1. The parameters are listed in a fixed order; the first to set a name keeps it, so nobody can override what comes before.
//! 2. They go into the URL, or are pushed to the provider (RFC 9126), and the URL names what it gave for them. A request that is to
//!    be pushed and cannot be is an error: its parameters never go through the browser instead.

use http::StatusCode;
use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use serde_json::{Map, Value};
use time::Duration;
use url::Url;

use super::classify::{classify, is_wrong_secret, retry_after};
use super::client_authentication::form_request;
use super::dialects::{error_of, slack, workos};
use super::discovery::Endpoints;
use super::{Provider, fetch};
use crate::domain::connection::{ClientAuthentication, Connection, Dialect, Kind};
use crate::json;
use crate::ports::provider::{AuthorizationRequest, AuthorizationUrl, ProviderError};

/// No `request_uri` is longer.
const MAX_REQUEST_URI: usize = 1024;

/// Names and values, each name once.
#[derive(Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Adds a parameter unless it is empty or its name is taken.
    pub(super) fn add(&mut self, name: &str, value: &str) -> &mut Self {
        if !value.is_empty() && !self.has(name) {
            self.0.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(taken, _)| taken == name)
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// The endpoint with these parameters behind those of its own query that none of them takes the place of (RFC 6749 section 3.1).
    fn on(&self, endpoint: &Url) -> Url {
        let mut url = endpoint.clone();
        let own: Vec<(String, String)> =
            endpoint.query_pairs().filter(|(name, _)| !self.has(name)).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        let query =
            own.iter().chain(&self.0).map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect::<Vec<_>>().join("&");
        url.set_query(Some(&query));
        url
    }
}

/// Everything but unreserved characters (RFC 3986 section 2.3) is percent-encoded: also the space, which both ways of reading a
/// query understand so.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 0x0f] {
                out.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    out
}

impl Provider {
    pub(super) async fn make_url(
        &self,
        connection: &Connection,
        request: &AuthorizationRequest<'_>,
    ) -> Result<AuthorizationUrl, ProviderError> {
        let endpoints = self.discovery.endpoints(connection).await?;
        let parameters = parameters(connection, request)?;
        if !endpoints.requires_pushed_authorization && !connection.pushed_authorization_requests {
            return Ok(AuthorizationUrl { url: parameters.on(&endpoints.authorization), pushed_for: None });
        }
        let (request_uri, pushed_for) = self.push(connection, &endpoints, &parameters).await?;
        let mut named = Parameters::default();
        named.add("client_id", &connection.client_id).add("request_uri", &request_uri);
        Ok(AuthorizationUrl { url: named.on(&endpoints.authorization), pushed_for: Some(pushed_for) })
    }

    /// Pushes the request, and gets the name under which the browser refers to it, and for how long (RFC 9126 section 2).
    async fn push(
        &self,
        connection: &Connection,
        endpoints: &Endpoints,
        parameters: &Parameters,
    ) -> Result<(String, Duration), ProviderError> {
        let misconfigured = |code: &str| ProviderError::Misconfigured { code: code.to_owned() };
        let missing = || misconfigured("pushed_authorization_endpoint_missing");
        let endpoint = endpoints.pushed_authorization.as_ref().ok_or_else(missing)?;
        if self.secrets.is_none() && connection.client_authentication != ClientAuthentication::None {
            return Err(misconfigured("pushed_authorization_request_without_client_secrets"));
        }
        let mut refused = missing();
        for proof in self.proofs_at(connection, endpoints).await? {
            let request = form_request(endpoint, &connection.client_id, &proof, &parameters.pairs())?;
            // A request that was pushed and not heard of again is used by nobody, and ends by itself.
            let answer = self.http.send(request).await.map_err(fetch::unlost)?;
            let body = json::parse_object(&answer.body).unwrap_or_default();
            let wait = retry_after(&answer.headers, self.clock.now());
            match classify(answer.status.as_u16(), error_of(Dialect::Standard, &body), wait, Dialect::Standard) {
                Some(error) if is_wrong_secret(&error) => refused = error,
                Some(error) => return Err(error),
                None if !matches!(answer.status, StatusCode::CREATED | StatusCode::OK) => {
                    return Err(fetch::refusal(&answer, self.clock.now()));
                }
                None => return pushed(&body),
            }
        }
        Err(refused)
    }
}

/// The answer of a pushed authorization request (RFC 9126 section 2.2).
fn pushed(answer: &Map<String, Value>) -> Result<(String, Duration), ProviderError> {
    let usable = |name: &&str| (1..=MAX_REQUEST_URI).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    let name = answer.get("request_uri").and_then(Value::as_str).filter(usable);
    let name = name.ok_or(ProviderError::AnswerInvalid { why: "it has no usable request_uri" })?;
    let seconds = answer.get("expires_in").and_then(Value::as_u64).filter(|seconds| *seconds > 0);
    let seconds = seconds.ok_or(ProviderError::AnswerInvalid { why: "its expires_in is not a positive number of seconds" })?;
    Ok((name.to_owned(), Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX))))
}

fn parameters(connection: &Connection, request: &AuthorizationRequest<'_>) -> Result<Parameters, ProviderError> {
    let verifier = request.secrets.code_verifier.expose();
    if !(43..=128).contains(&verifier.len()) {
        return Err(ProviderError::Misconfigured { code: "code_verifier_length".to_owned() });
    }
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier.to_owned()));
    let workos = if let Kind::WorkOs { selector, .. } = &connection.kind { Some(selector) } else { None };
    let mut all = Parameters::default();
    all.add("response_type", "code").add("client_id", &connection.client_id).add("redirect_uri", request.redirect_uri.as_str());
    match &connection.kind {
        Kind::WorkOs { .. } => {}
        Kind::OAuth2 { authorization_endpoint, dialect: Dialect::Slack, .. } => {
            let name = slack::scope_parameter(authorization_endpoint, &connection.extra_authorization_params);
            all.add(name, &slack::scope_text(request.scopes));
        }
        Kind::Oidc { .. } | Kind::OAuth2 { .. } => drop(all.add("scope", &request.scopes.to_text())),
    }
    all.add("state", request.state).add("code_challenge", challenge.as_str()).add("code_challenge_method", challenge.method().as_str());
    let hints = request.hints;
    if let Some(selector) = workos {
        workos::add_selection(&mut all, selector, request.scopes);
    } else if request.scopes.contains("openid") {
        all.add("nonce", request.secrets.nonce.expose());
    }
    let max_age = hints.max_age.map(|seconds| seconds.to_string());
    for (name, value) in [
        ("login_hint", &hints.login_hint),
        ("domain_hint", &hints.domain_hint),
        ("prompt", &hints.prompt),
        ("max_age", &max_age),
        ("screen_hint", &hints.screen_hint),
    ] {
        all.add(name, value.as_deref().unwrap_or_default());
    }
    for (name, value) in &connection.extra_authorization_params {
        all.add(name, value);
    }
    for (name, value) in &hints.query_params {
        if workos.is_some() {
            all.add(&format!("provider_query_params[{name}]"), value)
        } else {
            all.add(name, value)
        };
    }
    Ok(all)
}
