//! `POST token`: a code, or a refresh token, for tokens (RFC 6749 sections 4.1.3 and 6, RFC 7636 section 4.6).
//!
//! 1. The client proves itself.
//! 2. New tokens are drawn before the ledger is touched, so that nothing can fail between taking and giving.
//! 3. Taking the code or rotating the refresh token, and remembering the new tokens, is one change of the ledger.
//! 4. The change is durable before the client hears of it.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, json};

use super::clients::{self, Client};
use super::grant::{Grant, Standing};
use super::id_token;
use super::ledger::{Code, Consent, Ledger};
use super::minted::Minted;
use super::params::Params;
use super::people::Person;
use super::refusal::Refusal;
use super::scopes::Scopes;
use super::{SignIn, digest, random};

pub(super) async fn issue(State(sign_in): State<Arc<SignIn>>, headers: HeaderMap, body: Bytes) -> Response {
    sign_in.counts.token_requests.add();
    tokens_for(&sign_in, &headers, &body).and_then(|issued| issued.into_answer(&sign_in)).unwrap_or_else(IntoResponse::into_response)
}

/// What one token request yields.
struct Issued {
    consent: Consent,
    access_token: String,
    refresh_token: Option<String>,
    scopes: Scopes,
    nonce: Option<String>,
    lifetime: u32,
}

fn tokens_for(sign_in: &SignIn, headers: &HeaderMap, body: &[u8]) -> Result<Issued, Refusal> {
    let params = Params::of_form(headers, body).ok_or(Refusal::InvalidRequest("the body is not a form"))?;
    if params.any_repeated() {
        return Err(Refusal::InvalidRequest("a parameter comes twice"));
    }
    let client = clients::authenticate(&sign_in.clients, headers, &params)?;
    match params.get("grant_type") {
        Some("authorization_code") => redeem(sign_in, client, &params),
        Some("refresh_token") => refresh(sign_in, client, &params),
        Some(_) => Err(Refusal::UnsupportedGrantType),
        None => Err(Refusal::InvalidRequest("grant_type is missing")),
    }
}

fn redeem(sign_in: &SignIn, client: &Client, params: &Params) -> Result<Issued, Refusal> {
    let secret = params.get("code").ok_or(Refusal::InvalidRequest("code is missing"))?;
    let now = sign_in.now();
    let lifetime = sign_in.access_lifetime();
    let grant_id = random::unguessable()?;
    let access = Minted::access(&grant_id)?;
    let refresh = Minted::refresh(&grant_id)?;
    let code_digest = digest::of(secret);

    sign_in.keeper.change(|ledger| {
        let code = ledger.take_code(&code_digest, &grant_id, now).ok_or(Refusal::InvalidGrant("the code is unknown, used or too old"))?;
        is_meant_for(&code, client, params)?;
        let Code { consent, nonce, .. } = code;
        let refresh = consent.scopes.contains("offline_access").then_some(refresh);
        let kept = access.kept(now, lifetime, consent.scopes.clone());
        ledger.add_grant(grant_id, Grant::new(consent.clone(), refresh.as_ref().map(Minted::digest), kept));
        Ok(Issued {
            scopes: consent.scopes.clone(),
            consent,
            access_token: access.text,
            refresh_token: refresh.map(|minted| minted.text),
            nonce,
            lifetime,
        })
    })?
}

/// A code is good only for the client, the redirect URI and the verifier of the request it answers.
fn is_meant_for(code: &Code, client: &Client, params: &Params) -> Result<(), Refusal> {
    if code.consent.client_id != client.id() {
        return Err(Refusal::InvalidGrant("the code was issued to another client"));
    }
    if params.get("redirect_uri") != Some(code.redirect_uri.as_str()) {
        return Err(Refusal::InvalidGrant("redirect_uri differs from the one of the authorization request"));
    }
    let verified = params.get("code_verifier").is_some_and(|verifier| digest::of(verifier) == code.challenge);
    if !verified {
        return Err(Refusal::InvalidGrant("code_verifier does not match the code challenge"));
    }
    Ok(())
}

fn refresh(sign_in: &SignIn, client: &Client, params: &Params) -> Result<Issued, Refusal> {
    let presented = params.get("refresh_token").ok_or(Refusal::InvalidRequest("refresh_token is missing"))?;
    let narrowed = match params.get("scope").map(Scopes::parse) {
        Some(None) => return Err(Refusal::InvalidScope("the scope is malformed")),
        Some(scopes) => scopes,
        None => None,
    };
    let grant_id = Minted::grant_id(presented).ok_or(UNKNOWN_REFRESH_TOKEN)?;
    let now = sign_in.now();
    let lifetime = sign_in.access_lifetime();
    let next = Minted::refresh(grant_id)?;
    let access = Minted::access(grant_id)?;
    let presented = digest::of(presented);

    let issued = sign_in.keeper.change(|ledger| {
        let standing = standing(ledger, grant_id, &presented, client, sign_in.rotation_grace(), now)?;
        let grant = ledger.grant_mut(grant_id).ok_or(UNKNOWN_REFRESH_TOKEN)?;
        let consent = grant.consent.clone();
        let scopes = narrowed.unwrap_or_else(|| consent.scopes.clone());
        if !scopes.is_within(&consent.scopes) {
            return Err(Refusal::InvalidScope("the scope is wider than what was granted"));
        }
        grant.rotate(standing, next.digest(), access.kept(now, lifetime, scopes.clone()), now);
        Ok(Issued { consent, access_token: access.text, refresh_token: Some(next.text), scopes, nonce: None, lifetime })
    })??;
    sign_in.counts.refreshes.add();
    Ok(issued)
}

const UNKNOWN_REFRESH_TOKEN: Refusal = Refusal::InvalidGrant("the refresh token is unknown or revoked");

/// Lets a usable refresh token of this client through; ends the grant of a used one.
fn standing(
    ledger: &mut Ledger,
    grant_id: &str,
    presented: &str,
    client: &Client,
    grace_seconds: i64,
    now: i64,
) -> Result<Standing, Refusal> {
    let grant = ledger.grant(grant_id).ok_or(UNKNOWN_REFRESH_TOKEN)?;
    if grant.consent.client_id != client.id() {
        return Err(Refusal::InvalidGrant("the refresh token was issued to another client"));
    }
    match grant.standing(presented, grace_seconds, now) {
        standing @ (Standing::Current | Standing::Again) => Ok(standing),
        Standing::Reused => {
            ledger.end_grant(grant_id);
            Err(Refusal::InvalidGrant("the refresh token was used before, so the grant ends"))
        }
        Standing::Unknown => Err(UNKNOWN_REFRESH_TOKEN),
    }
}

impl Issued {
    fn into_answer(self, sign_in: &SignIn) -> Result<Response, Refusal> {
        let person = Person::by_id(&self.consent.person).ok_or(Refusal::InvalidGrant("the person is not known any more"))?;
        let id_token = id_token::sign(sign_in.issuer(), &self.consent, person, &self.access_token, self.nonce.as_deref(), sign_in.now())?;
        let mut body = Map::new();
        body.insert("access_token".to_owned(), json!(self.access_token));
        body.insert("token_type".to_owned(), json!("Bearer"));
        body.insert("expires_in".to_owned(), json!(self.lifetime));
        body.insert("scope".to_owned(), json!(self.scopes.to_string()));
        if let Some(refresh_token) = self.refresh_token {
            body.insert("refresh_token".to_owned(), json!(refresh_token));
        }
        body.insert("id_token".to_owned(), json!(id_token));
        let headers = [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];
        Ok((headers, Json(body)).into_response())
    }
}
