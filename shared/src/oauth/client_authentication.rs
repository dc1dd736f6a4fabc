//! How the client proves itself (RFC 6749 section 2.3, RFC 7523, OpenID Connect Core section 9). Never in a URL.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use jsonwebtoken::EncodingKey;
use serde_json::json;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::Provider;
use super::jwt::Alg;
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
    /// The proofs of a connection's client, in the order in which they are tried; at least one.
    pub(super) async fn proofs(&self, connection: &Connection, audience: &str) -> Result<Vec<Proof>, ProviderError> {
        let missing = || ProviderError::Misconfigured { code: "client_secret_missing".to_owned() };
        let method = connection.client_authentication;
        if method == ClientAuthentication::None {
            return Ok(vec![Proof::Public]);
        }
        let credentials = self.secrets.as_ref().ok_or_else(missing)?.client_secrets(&connection.id).await?;
        let mut proofs = Vec::new();
        for credential in credentials.iter() {
            match (method, credential) {
                (ClientAuthentication::ClientSecretBasic, ClientCredential::Secret(secret)) => proofs.push(Proof::Basic(secret.clone())),
                (ClientAuthentication::ClientSecretPost, ClientCredential::Secret(secret)) => proofs.push(Proof::Post(secret.clone())),
                (ClientAuthentication::PrivateKeyJwt, ClientCredential::Key { kid, pem }) => {
                    proofs.push(Proof::Assertion(self.assertion(&connection.client_id, audience, kid, pem)?));
                }
                _ => {} // a credential of another method is none
            }
        }
        if proofs.is_empty() { Err(missing()) } else { Ok(proofs) }
    }

    /// A client assertion: issuer and subject are the client, the audience is one text, and it is used once (RFC 7523 section 3).
    fn assertion(&self, client_id: &str, audience: &str, kid: &str, pem: &Secret) -> Result<Secret, ProviderError> {
        let unusable = || ProviderError::Misconfigured { code: "client_key_unusable".to_owned() };
        let (alg, name, key) = signing_key(pem).ok_or_else(unusable)?;
        let jti = BASE64_URL_SAFE_NO_PAD.encode(random::<16>(self.entropy.as_ref())?);
        let now = self.clock.now().unix_timestamp();
        let header = json!({ "alg": name, "kid": kid, "typ": "JWT" });
        let claims =
            json!({ "iss": client_id, "sub": client_id, "aud": audience, "jti": jti, "iat": now, "exp": now + ASSERTION_LIFETIME });
        let part = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, alg.algorithm()).map_err(|_| unusable())?;
        Ok(Secret::new(format!("{signed}.{signature}")))
    }
}

/// A PKCS#8 key, with the algorithm that it signs by.
fn signing_key(pem: &Secret) -> Option<(Alg, &'static str, EncodingKey)> {
    let pem = pem.expose().as_bytes();
    if let Ok(key) = EncodingKey::from_rsa_pem(pem) {
        return Some((Alg::Rs256, "RS256", key));
    }
    if let Ok(key) = EncodingKey::from_ec_pem(pem) {
        return Some((Alg::Es256, "ES256", key));
    }
    EncodingKey::from_ed_pem(pem).ok().map(|key| (Alg::EdDsa, "EdDSA", key))
}

/// A form POST with the client's proof: revocation (RFC 7009) and pushed authorization requests (RFC 9126) look like this.
pub(super) fn form_request(
    endpoint: &Url,
    client_id: &str,
    proof: &Proof,
    parameters: &[(&str, &str)],
) -> Result<Request<Vec<u8>>, ProviderError> {
    let unusable = || ProviderError::Misconfigured { code: "endpoint_not_a_url".to_owned() };
    let mut form = Serializer::new(String::new());
    for (name, value) in parameters.iter().filter(|(name, _)| *name != "client_id") {
        form.append_pair(name, value);
    }
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(endpoint.as_str())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    match proof {
        Proof::Basic(secret) => request = request.header(AUTHORIZATION, basic(client_id, secret).ok_or_else(unusable)?),
        Proof::Post(secret) => {
            form.append_pair("client_id", client_id).append_pair("client_secret", secret.expose());
        }
        Proof::Assertion(assertion) => {
            form.append_pair("client_id", client_id)
                .append_pair("client_assertion_type", ASSERTION_TYPE)
                .append_pair("client_assertion", assertion.expose());
        }
        Proof::Public => {
            form.append_pair("client_id", client_id);
        }
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
