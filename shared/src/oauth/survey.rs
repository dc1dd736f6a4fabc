//! What an operator wants to know of a provider before anybody signs in: whether the service could use it as the directory says.
//!
//! The provider is asked the way the service asks it, by the same way out and with the same rules; only here its whole document is
//! looked at, and what is wrong is told by name.

use serde_json::{Map, Value};
use url::Url;

use super::Provider;
use super::discovery::{Endpoints, announces_pkce, strings};
use crate::domain::connection::{ClientAuthentication, Connection, Kind};
use crate::domain::directory::{ApiKeys, ApiTokens};
use crate::ports::provider::ProviderError;

/// How much of a provider's own text is shown.
const SHOWN: usize = 200;

/// What was found out about the provider of one connection.
#[derive(Debug)]
pub struct Survey {
    /// Where it does what, by the names of its metadata.
    pub endpoints: Vec<(&'static str, Url)>,
    /// Whether sign-in requests will be pushed to it (RFC 9126) by a client that has to prove itself.
    pub pushes_with_proof: bool,
    /// What is wrong, and what is only worth a look.
    pub findings: Vec<Finding>,
}

/// One thing that was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nobody will be able to sign in, or no token can be kept alive.
    Fault(String),
    /// It will work, and yet.
    Note(String),
}

impl Provider {
    /// Asks the provider of a connection about itself.
    pub async fn survey(&self, connection: &Connection) -> Result<Survey, ProviderError> {
        let Kind::Oidc { issuer, .. } = &connection.kind else {
            // Nothing is discovered; the endpoints of the directory are held to the rules of the way out.
            let endpoints = self.discovery.endpoints(connection).await?;
            let findings = self.judged(&endpoints);
            return Ok(Survey { endpoints: listed(&endpoints), pushes_with_proof: false, findings });
        };
        let (document, openid) = self.discovery.document(issuer).await?;
        if let Some(finding) = another_issuer(issuer, &document) {
            return Ok(Survey { endpoints: Vec::new(), pushes_with_proof: false, findings: vec![finding] });
        }
        let discovered = self.discovery.read(issuer, &document, openid)?;
        let mut findings = promises(connection, &discovered, &document);
        if let (true, Some(jwks)) = (connection.is_openid(), &discovered.jwks)
            && let Err(error) = self.jwks.warm(jwks).await
        {
            findings.push(Finding::Fault(format!("its keys cannot be had from {jwks}: {}", told(&error))));
        }
        let endpoints = self.discovery.endpoints(connection).await?;
        findings.extend(self.judged(&endpoints));
        if endpoints.revocation.is_none() {
            findings.push(Finding::Note("it names no revocation_endpoint: a revoked authorization ends here, and not there".to_owned()));
        }
        let pushes = endpoints.requires_pushed_authorization || connection.pushed_authorization_requests;
        let pushes_with_proof = pushes && connection.client_authentication != ClientAuthentication::None;
        Ok(Survey { endpoints: listed(&endpoints), pushes_with_proof, findings })
    }

    /// Fetches the keys that API tokens are verified by, where they are a JWKS.
    pub async fn survey_api_keys(&self, tokens: &ApiTokens) -> Option<Finding> {
        let ApiKeys::Jwks(url) = &tokens.keys else { return None };
        let error = self.jwks.warm(url).await.err()?;
        Some(Finding::Fault(format!("the keys of API tokens cannot be had from {url}: {}", told(&error))))
    }

    /// The endpoints that requests, or browsers, may not go to.
    fn judged(&self, endpoints: &Endpoints) -> Vec<Finding> {
        let judge = |(name, url): (&str, Url)| self.http.judge(&url).err().map(|why| Finding::Fault(format!("{name} {url}: {why}")));
        listed(endpoints).into_iter().filter_map(judge).collect()
    }
}

/// What the metadata promises, against what the connection needs.
fn promises(connection: &Connection, endpoints: &Endpoints, document: &Map<String, Value>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fault = |text: String| findings.push(Finding::Fault(text));
    let announced = |list: &str, value: &str| strings(document, list).is_none_or(|values| values.iter().any(|it| it == value));
    if connection.is_openid() && endpoints.jwks.is_none() {
        fault("its metadata lacks a jwks_uri, which id_tokens are verified by".to_owned());
    }
    if !connection.is_openid() && endpoints.userinfo.is_none() {
        fault("without the scope openid the identity comes from userinfo, and its metadata lacks a userinfo_endpoint".to_owned());
    }
    if connection.is_openid() && endpoints.id_token_algs.is_empty() {
        fault("it signs id_tokens with none of RS256, ES256, PS256, EdDSA".to_owned());
    }
    if !announced("response_types_supported", "code") {
        fault("it does not offer the response type code".to_owned());
    }
    let method = method_name(connection.client_authentication);
    if !announced("token_endpoint_auth_methods_supported", method) {
        fault(format!("its token endpoint does not take {method}, which is this connection's token_endpoint_auth_method"));
    }
    let pushes = endpoints.requires_pushed_authorization || connection.pushed_authorization_requests;
    if pushes && endpoints.pushed_authorization.is_none() {
        fault("sign-in requests have to be pushed, and its metadata lacks a pushed_authorization_request_endpoint".to_owned());
    }
    for scope in connection.scopes.iter().filter(|scope| !announced("scopes_supported", scope)) {
        findings.push(Finding::Note(format!("it does not announce the scope {scope}")));
    }
    if !announces_pkce(document) {
        findings.push(Finding::Note("it does not say that it supports PKCE with S256; it is sent all the same".to_owned()));
    }
    if !announced("grant_types_supported", "refresh_token") {
        findings.push(Finding::Note("it does not offer refresh tokens: people will have to sign in again".to_owned()));
    }
    findings
}

/// What went wrong in one line, with its causes.
fn told(error: &ProviderError) -> String {
    crate::telemetry::chain(error)
}

/// The metadata's issuer, if it is not the configured one to the letter (RFC 8414 section 3.3). It is shown: a slash too many is
/// what this is about most often, and it cannot be guessed from "another".
fn another_issuer(issuer: &str, document: &Map<String, Value>) -> Option<Finding> {
    match document.get("issuer").and_then(Value::as_str) {
        Some(found) if found == issuer => None,
        Some(found) => {
            let shown: String = found.chars().take(SHOWN).collect();
            Some(Finding::Fault(format!("its metadata is of the issuer {shown:?}; the directory must name it to the letter")))
        }
        None => Some(Finding::Fault("its metadata names no issuer".to_owned())),
    }
}

fn method_name(method: ClientAuthentication) -> &'static str {
    match method {
        ClientAuthentication::ClientSecretBasic => "client_secret_basic",
        ClientAuthentication::ClientSecretPost => "client_secret_post",
        ClientAuthentication::PrivateKeyJwt => "private_key_jwt",
        ClientAuthentication::None => "none",
    }
}

fn listed(endpoints: &Endpoints) -> Vec<(&'static str, Url)> {
    let further = [
        ("userinfo_endpoint", &endpoints.userinfo),
        ("revocation_endpoint", &endpoints.revocation),
        ("jwks_uri", &endpoints.jwks),
        ("pushed_authorization_request_endpoint", &endpoints.pushed_authorization),
    ];
    let named = [("authorization_endpoint", endpoints.authorization.clone()), ("token_endpoint", endpoints.token.clone())];
    named.into_iter().chain(further.into_iter().filter_map(|(name, url)| Some((name, url.clone()?)))).collect()
}
