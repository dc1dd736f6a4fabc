//! How the client proves itself (RFC 6749 section 2.3, RFC 7523, OpenID Connect Core section 9). Never in a URL.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use serde_json::json;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::Provider;
use super::discovery::Endpoints;
use crate::client_key::ClientKey;
use crate::domain::connection::{ClientAuthentication, Connection};
use crate::domain::secret::Secret;
use crate::ports::clock::random;
use crate::ports::configuration::ClientCredential;
use crate::ports::provider::ProviderError;

/// How long a client assertion lives, in seconds.
const ASSERTION_LIFETIME: i64 = 60;
/// The type of a client assertion (RFC 7523 section 2.2).
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What proves the client in one request.
pub(super) enum Proof {
    /// HTTP Basic.
    Basic(Secret),
    /// The secret in the body.
    Post(Secret),
    /// A signed assertion in the body.
    Assertion(Secret),
    /// Nothing: a public client.
    Public,
}

impl Provider {
    /// The proofs of a connection's client at its provider's endpoints, in the order in which they are tried; at least one.
    ///
    /// An assertion is addressed to the issuer, as a single text, and never to an endpoint: a server that names another's endpoint as
    /// its own would otherwise be handed an assertion that the other accepts (RFC 7523bis, audience injection; security item 37).
    pub(super) async fn proofs_at(&self, connection: &Connection, endpoints: &Endpoints) -> Result<Vec<Proof>, ProviderError> {
        self.proofs_for(connection, endpoints.issuer.as_deref(), endpoints.assertion_algs.as_deref()).await
    }

    /// Whether the client proves nothing.
    pub(super) async fn is_public(&self, connection: &Connection) -> Result<bool, ProviderError> {
        Ok(match (connection.client_authentication, &self.secrets) {
            (ClientAuthentication::None, _) => true,
            (_, None) => false,
            (method, Some(secrets)) => is_public(method, &secrets.client_secrets(&connection.id).await?),
        })
    }

    /// The same for a provider without metadata.
    pub(super) async fn proofs(&self, connection: &Connection, audience: &str) -> Result<Vec<Proof>, ProviderError> {
        self.proofs_for(connection, Some(audience), None).await
    }

    /// `algorithms` is what the provider accepts of an assertion, if it says so.
    async fn proofs_for(
        &self,
        connection: &Connection,
        audience: Option<&str>,
        algorithms: Option<&[String]>,
    ) -> Result<Vec<Proof>, ProviderError> {
        let missing = || ProviderError::Misconfigured { code: "client_secret_missing".to_owned() };
        let method = connection.client_authentication;
        if method == ClientAuthentication::None {
            return Ok(vec![Proof::Public]);
        }
        let credentials = self.secrets.as_ref().ok_or_else(missing)?.client_secrets(&connection.id).await?;
        if is_public(method, &credentials) {
            return Ok(vec![Proof::Public]);
        }
        let mut proofs = Vec::new();
        let mut unusable = None;
        for credential in credentials.iter() {
            match (method, credential) {
                (ClientAuthentication::ClientSecretBasic, ClientCredential::Secret(secret)) => proofs.push(Proof::Basic(secret.clone())),
                (ClientAuthentication::ClientSecretPost, ClientCredential::Secret(secret)) => proofs.push(Proof::Post(secret.clone())),
                (ClientAuthentication::PrivateKeyJwt, ClientCredential::Key { kid, pem }) => {
                    match self.assertion(&connection.client_id, audience, algorithms, kid, pem) {
                        Ok(assertion) => proofs.push(Proof::Assertion(assertion)),
                        // Another key of the list may do.
                        Err(error @ ProviderError::Misconfigured { .. }) => unusable = Some(error),
                        Err(error) => return Err(error),
                    }
                }
                _ => {} // a credential of another method is none
            }
        }
        if proofs.is_empty() { Err(unusable.unwrap_or_else(missing)) } else { Ok(proofs) }
    }

    /// A client assertion: issuer and subject are the client, the audience is one text, and it is used once (RFC 7523 section 3).
    fn assertion(
        &self,
        client_id: &str,
        audience: Option<&str>,
        algorithms: Option<&[String]>,
        kid: &str,
        pem: &Secret,
    ) -> Result<Secret, ProviderError> {
        let misconfigured = |code: &str| ProviderError::Misconfigured { code: code.to_owned() };
        let audience = audience.ok_or_else(|| misconfigured("client_assertion_without_issuer"))?;
        let key = ClientKey::from_pem(pem).ok_or_else(|| misconfigured("client_key_unusable"))?;
        let accepted = |alg: &&&str| algorithms.is_none_or(|accepted| accepted.iter().any(|name| name == **alg));
        let alg = key.algorithms().iter().find(accepted).ok_or_else(|| misconfigured("client_key_algorithm_unsupported"))?;
        let jti = BASE64_URL_SAFE_NO_PAD.encode(random::<16>(self.entropy.as_ref())?);
        let now = self.clock.now().unix_timestamp();
        let header = json!({ "alg": alg, "kid": kid, "typ": "JWT" });
        let claims =
            json!({ "iss": client_id, "sub": client_id, "aud": audience, "jti": jti, "iat": now, "exp": now + ASSERTION_LIFETIME });
        let part = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = key.sign(alg, signed.as_bytes()).ok_or_else(|| misconfigured("client_key_unusable"))?;
        Ok(Secret::new(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))))
    }
}

/// Whether a client with these credentials proves nothing: the directory says so, or there are none of it. One that has to sign is never
/// public; its key is missing.
fn is_public(method: ClientAuthentication, credentials: &[ClientCredential]) -> bool {
    match method {
        ClientAuthentication::None => true,
        ClientAuthentication::PrivateKeyJwt => false,
        ClientAuthentication::ClientSecretBasic | ClientAuthentication::ClientSecretPost => credentials.is_empty(),
    }
}

/// A form POST with the client's proof: revocation (RFC 7009) and pushed authorization requests (RFC 9126) look like this. The
/// latter name the client in any case (RFC 9126 section 2.1).
pub(super) fn form_request(
    endpoint: &Url,
    client_id: &str,
    proof: &Proof,
    parameters: &[(&str, &str)],
) -> Result<Request<Vec<u8>>, ProviderError> {
    let unusable = || ProviderError::Misconfigured { code: "endpoint_not_a_url".to_owned() };
    let mut form = Serializer::new(String::new());
    form.extend_pairs(parameters);
    let name_client = |form: &mut Serializer<'_, String>| {
        if !parameters.iter().any(|(name, _)| *name == "client_id") {
            form.append_pair("client_id", client_id);
        }
    };
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(endpoint.as_str())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    match proof {
        Proof::Basic(secret) => request = request.header(AUTHORIZATION, basic(client_id, secret).ok_or_else(unusable)?),
        Proof::Post(secret) => {
            name_client(&mut form);
            form.append_pair("client_secret", secret.expose());
        }
        Proof::Assertion(assertion) => {
            name_client(&mut form);
            form.append_pair("client_assertion_type", ASSERTION_TYPE).append_pair("client_assertion", assertion.expose());
        }
        Proof::Public => name_client(&mut form),
    }
    request.body(form.finish().into_bytes()).map_err(|_| unusable())
}

/// Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1).
pub(super) fn basic(client_id: &str, secret: &Secret) -> Option<HeaderValue> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encoded(client_id), encoded(secret.expose())));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes()))).ok()?;
    value.set_sensitive(true);
    Some(value)
}
