//! The bearer tokens of callers (contract section 2, RFC 6750, RFC 9068 section 4).

use std::sync::Arc;

use async_trait::async_trait;
use jsonwebtoken::DecodingKey;
use serde_json::Value;

use super::id_token::is_subject;
use super::identity::{email_text, is_true};
use super::jwks::{Jwks, Unverified};
use super::jwt::{Alg, Claims, Jwt};
use crate::domain::caller::{Person, Principal};
use crate::domain::directory::{ApiKeys, ApiTokens};
use crate::domain::ids::{OrganizationId, WorkflowId};
use crate::domain::scopes::Scopes;
use crate::ports::Unavailable;
use crate::ports::clock::Clock;
use crate::ports::configuration::{BearerError, BearerVerifier, Directories, StaticApiKey, StaticApiKeys};

/// Verifies the bearer tokens of callers, as the directory says.
pub struct ApiTokenVerifier {
    directories: Arc<dyn Directories>,
    static_keys: Arc<dyn StaticApiKeys>,
    jwks: Arc<Jwks>,
    clock: Arc<dyn Clock>,
}

impl ApiTokenVerifier {
    /// Reads its settings anew for each token, so that a changed directory counts at once.
    #[must_use]
    pub fn new(directories: Arc<dyn Directories>, static_keys: Arc<dyn StaticApiKeys>, jwks: Arc<Jwks>, clock: Arc<dyn Clock>) -> Self {
        Self { directories, static_keys, jwks, clock }
    }
}

#[async_trait]
impl BearerVerifier for ApiTokenVerifier {
    async fn verify(&self, token: &str) -> Result<Principal, BearerError> {
        let directory = self.directories.directory().await?;
        let settings = &directory.api_tokens;
        let refused = |why| BearerError::Refused { why };
        let jwt = match &settings.keys {
            ApiKeys::Jwks(uri) => {
                let jwt = Jwt::read(token, &Alg::ASYMMETRIC).map_err(refused)?;
                // What the claims rule out costs no request, so that junk cannot cause any.
                accept(&jwt, settings, self.clock.as_ref()).map_err(refused)?;
                self.jwks.verify(uri, &jwt).await.map_err(|error| match error {
                    Unverified::Refused(why) => refused(why),
                    Unverified::NoKeys(error) => Unavailable::new("fetch the keys of API tokens", error).into(),
                })?;
                jwt
            }
            ApiKeys::Static(secret_id) => {
                let key = self.static_keys.static_api_key(secret_id).await?;
                let (alg, key) = decoding_key(&key)?;
                let jwt = Jwt::read(token, &[alg]).map_err(refused)?;
                accept(&jwt, settings, self.clock.as_ref()).map_err(refused)?;
                if !jwt.is_signed_by(&key) {
                    return Err(refused("its signature does not hold"));
                }
                jwt
            }
        };
        principal(&jwt.claims, settings).map_err(refused)
    }
}

/// The one algorithm that follows from the material (RFC 8725 section 3.1), and the key.
fn decoding_key(material: &StaticApiKey) -> Result<(Alg, DecodingKey), BearerError> {
    let unusable = |source: &'static str| BearerError::Unavailable(Unavailable::new("use the static key of API tokens", source));
    match material {
        StaticApiKey::Hmac(secret) if secret.len() >= 32 => Ok((Alg::Hs256, DecodingKey::from_secret(secret))),
        StaticApiKey::Hmac(_) => Err(unusable("the secret is shorter than 32 bytes")),
        StaticApiKey::PublicKey { algorithm, pem } => {
            let alg = Alg::parse(algorithm).ok_or_else(|| unusable("the algorithm is not known"))?;
            let key = match alg {
                Alg::Rs256 | Alg::Ps256 => DecodingKey::from_rsa_pem(pem.as_bytes()),
                Alg::Es256 => DecodingKey::from_ec_pem(pem.as_bytes()),
                Alg::EdDsa => DecodingKey::from_ed_pem(pem.as_bytes()),
                Alg::Hs256 => return Err(unusable("a public key cannot serve HS256")),
            };
            Ok((alg, key.map_err(|_| unusable("the public key is not one of its algorithm"))?))
        }
    }
}

/// Everything but the signature. An `id_token` must not pass (security item 56): it says so by what only `id_tokens` carry.
fn accept(jwt: &Jwt<'_>, settings: &ApiTokens, clock: &dyn Clock) -> Result<(), &'static str> {
    let claims = &jwt.claims;
    if let Some(required) = &settings.token_type
        && !jwt.typ.as_deref().is_some_and(|typ| media_type(typ).eq_ignore_ascii_case(media_type(required)))
    {
        return Err("its typ is not that of access tokens");
    }
    if claims.get("nonce").is_some() || claims.get("at_hash").is_some() || claims.get("c_hash").is_some() {
        return Err("it is an id_token");
    }
    if claims.text("iss") != Some(settings.issuer.as_str()) {
        return Err("it is of another issuer");
    }
    if !claims.is_for(&settings.audience) {
        return Err("it is for another audience");
    }
    claims.hold_at(clock.now())
}

/// `application/` may be left out (RFC 7515 section 4.1.9).
fn media_type(typ: &str) -> &str {
    match typ.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => typ,
    }
}

fn principal(claims: &Claims, settings: &ApiTokens) -> Result<Principal, &'static str> {
    let subject = claims.text("sub").filter(|subject| is_subject(subject)).ok_or("it has no sub of 1–255 ASCII characters")?;
    let workflow = match claims.get("workflow_id") {
        None => None,
        // A restriction that is not understood must not be dropped.
        Some(value) => Some(value.as_str().and_then(|id| WorkflowId::try_from(id).ok()).ok_or("its workflow_id is not one")?),
    };
    let email = claims.text(&settings.email_claim).and_then(email_text);
    Ok(Principal {
        person: Person { issuer: settings.issuer.clone(), subject: subject.to_owned() },
        verified_email: email.filter(|_| is_true(claims.get(&settings.email_verified_claim))),
        organization: claims.text(&settings.organization_claim).and_then(|id| OrganizationId::try_from(id).ok()),
        scopes: scopes(claims),
        workflow,
    })
}

/// `scopes` array, else `scope` text, else `permissions` array. What is not a scope token grants nothing.
fn scopes(claims: &Claims) -> Scopes {
    let listed = |name: &str| -> Option<Vec<String>> {
        Some(claims.get(name)?.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    };
    let written = || claims.text("scope").map(|text| text.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let found = listed("scopes").or_else(written).or_else(|| listed("permissions")).unwrap_or_default();
    let valid = found.into_iter().filter(|scope| Scopes::try_from(vec![scope.clone()]).is_ok()).collect::<Vec<_>>();
    Scopes::try_from(valid).unwrap_or_default()
}
