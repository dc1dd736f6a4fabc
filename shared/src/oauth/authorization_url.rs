//! Authorization requests (RFC 6749 section 4.1.1, RFC 7636, OpenID Connect Core section 3.1.2.1).
//!
//! 1. The parameters are listed in a fixed order; the first to set a name keeps it, so nobody can override what comes before.
//! 2. They go into the URL, or are pushed to the provider (RFC 9126), and the URL names what it gave for them.

use http::StatusCode;
use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use serde_json::Value;
use url::Url;

use super::classify::{classify, is_wrong_secret, retry_after};
use super::client_authentication::form_request;
use super::dialects::{error_of, workos};
use super::discovery::Endpoints;
use super::{Provider, fetch};
use crate::domain::connection::{Connection, Dialect, Kind};
use crate::json;
use crate::ports::provider::{AuthorizationRequest, ProviderError};

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
    pub(super) async fn make_url(&self, connection: &Connection, request: &AuthorizationRequest<'_>) -> Result<Url, ProviderError> {
        let endpoints = self.discovery.endpoints(connection).await?;
        let parameters = parameters(connection, request)?;
        if !endpoints.requires_pushed_authorization && !connection.pushed_authorization_requests {
            return Ok(parameters.on(&endpoints.authorization));
        }
        let request_uri = self.push(connection, &endpoints, &parameters).await?;
        let mut named = Parameters::default();
        named.add("client_id", &connection.client_id).add("request_uri", &request_uri);
        Ok(named.on(&endpoints.authorization))
    }

    /// Pushes the request, and gets the name under which the browser refers to it (RFC 9126 section 2).
    async fn push(&self, connection: &Connection, endpoints: &Endpoints, parameters: &Parameters) -> Result<String, ProviderError> {
        let missing = || ProviderError::Misconfigured { code: "pushed_authorization_endpoint_missing".to_owned() };
        let endpoint = endpoints.pushed_authorization.as_ref().ok_or_else(missing)?;
        let mut refused = missing();
        for proof in self.proofs(connection, endpoints.assertion_audience()).await? {
            let answer = self.http.send(form_request(endpoint, &connection.client_id, &proof, &parameters.pairs())?).await?;
            let body = json::parse_object(&answer.body).unwrap_or_default();
            let wait = retry_after(&answer.headers, self.clock.now());
            match classify(answer.status.as_u16(), error_of(Dialect::Standard, &body), wait, Dialect::Standard) {
                Some(error) if is_wrong_secret(&error) => refused = error,
                Some(error) => return Err(error),
                None if !matches!(answer.status, StatusCode::CREATED | StatusCode::OK) => {
                    return Err(fetch::refusal(&answer, self.clock.now()));
                }
                None => {
                    let name = body.get("request_uri").and_then(Value::as_str).filter(|name| (1..=1024).contains(&name.len()));
                    return name.map(str::to_owned).ok_or(ProviderError::AnswerInvalid { why: "it has no request_uri" });
                }
            }
        }
        Err(refused)
    }
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
    if workos.is_none() {
        all.add("scope", &request.scopes.to_text());
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
