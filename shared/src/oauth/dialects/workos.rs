//! WorkOS User Management (contract section 10).
//!
//! * The scopes at the provider behind it are one parameter, separated by commas; there is no `scope`, no `nonce` and no `id_token`.
//! * Requests are JSON. The API key is the client secret; it goes into the body, and ends sessions as a bearer token.
//! * The identity is the member `user`, its organization `organization_id`. The access token is a JWT that names its session.
//! * Errors have `error` where OAuth has a word for them, else `code`, and sometimes nothing but a `message`.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};
use url::Url;

use crate::domain::authorization::Identity;
use crate::domain::caller::Person;
use crate::domain::connection::{Connection, Dialect, Kind, WorkOsSelector};
use crate::domain::scopes::Scopes;
use crate::domain::secret::Secret;
use crate::json;
use crate::oauth::authorization_url::Parameters;
use crate::oauth::classify::{INVALID_CLIENT, classify, is_wrong_secret, retry_after};
use crate::oauth::client_authentication::Proof;
use crate::oauth::discovery::below;
use crate::oauth::egress::Answer;
use crate::oauth::id_token::is_subject;
use crate::oauth::identity::{email_text, is_true};
use crate::oauth::token_endpoint::{Grant, Redeemed, lifetime_of};
use crate::oauth::{Provider, jwt, token_answer};
use crate::ports::provider::{ProviderError, Receipt, Revoked, RevokedToken, TokenAnswer};

/// What a refresh is answered with when only a new sign-in helps, besides `invalid_grant`.
const SIGN_IN_AGAIN: [&str; 2] = ["mfa_enrollment", "sso_required"];

/// Exactly one of `provider`, `connection_id` and `organization_id`, and the scopes at the provider behind it, separated by commas.
pub(in crate::oauth) fn add_selection(all: &mut Parameters, selector: &WorkOsSelector, scopes: &Scopes) {
    match selector {
        WorkOsSelector::Provider(name) => all.add("provider", name),
        WorkOsSelector::Connection(id) => all.add("connection_id", id),
        WorkOsSelector::Organization(id) => all.add("organization_id", id),
    };
    all.add("provider_scopes", &scopes.iter().collect::<Vec<_>>().join(","));
}

/// Who signed in: `user`, of `organization_id`.
pub(in crate::oauth) fn identity(connection: &Connection, answer: &Map<String, Value>) -> Result<Identity, ProviderError> {
    let user = answer.get("user").and_then(Value::as_object).ok_or(ProviderError::IdentityInvalid { why: "the answer has no user" })?;
    let subject = user.get("id").and_then(Value::as_str).filter(|id| is_subject(id));
    let subject = subject.ok_or(ProviderError::IdentityInvalid { why: "the user has no id" })?.to_owned();
    let email = user.get("email").and_then(Value::as_str).and_then(email_text);
    Ok(Identity {
        person: Person { issuer: connection.identity_issuer(), subject },
        email_verified: email.is_some() && is_true(user.get("email_verified")),
        email,
        organization: organization(answer).map(str::to_owned),
    })
}

fn organization(answer: &Map<String, Value>) -> Option<&str> {
    answer.get("organization_id").and_then(Value::as_str).filter(|id| !id.is_empty())
}

/// Whether the answer to a refresh is the stored person's, in the organization of whose connection it is. Where the answer has no
/// `user`, the access token says whose it is.
pub(in crate::oauth) fn hold_to_person(connection: &Connection, redeemed: &Redeemed, person: &Person) -> Result<(), ProviderError> {
    let user = redeemed.rest.get("user").and_then(|user| user.get("id")).and_then(Value::as_str).map(str::to_owned);
    let subject = user.or_else(|| jwt::unverified_text(redeemed.tokens.access_token.expose(), "sub"));
    let subject = subject.ok_or(ProviderError::IdentityInvalid { why: "the answer does not say whose it is" })?;
    let moved = match (&connection.organization, organization(&redeemed.rest)) {
        (Some(ours), Some(told)) => !connection.admits(ours, Some(told)),
        _ => false,
    };
    if subject == person.subject && !moved { Ok(()) } else { Err(ProviderError::IdentityChanged) }
}

/// A refresh that will not succeed until the person has signed in again is refused for good.
pub(in crate::oauth) fn refused_refresh(error: ProviderError) -> ProviderError {
    match error {
        ProviderError::Refused { code } if SIGN_IN_AGAIN.contains(&code.as_str()) => ProviderError::InvalidGrant,
        other => other,
    }
}

impl Provider {
    /// Redeems a grant at `authenticate`.
    pub(in crate::oauth) async fn authenticate(
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
            let request = post(endpoint, None, &grant_body(&connection.client_id, proof, grant))?;
            let requested_at = self.clock.now();
            let answer = self.http.send_within(request, left).await?;
            match members(&answer, self.clock.now()) {
                Err(error) if is_wrong_secret(&error) => refused = error,
                Err(error) => return Err(error),
                Ok(rest) => return Ok(redeemed(rest, requested_at)),
            }
        }
        Err(refused)
    }

    /// Ends the session that the access token belongs to. Where only a refresh token is left, it is used once more to learn which. A
    /// client without an API key cannot end sessions.
    pub(in crate::oauth) async fn end_session(
        &self,
        connection: &Connection,
        refresh_token: Option<&Secret>,
        access_token: Option<&Secret>,
        receipts: &mut Vec<Receipt>,
    ) -> Result<Revoked, ProviderError> {
        let Kind::WorkOs { base_url, .. } = &connection.kind else { return Ok(Revoked::Unsupported) };
        let proofs = self.proofs(connection, base_url.as_str()).await?;
        if matches!(proofs[..], [Proof::Public]) {
            return Ok(Revoked::Unsupported);
        }
        let mut session = access_token.and_then(|token| jwt::unverified_text(token.expose(), "sid"));
        if session.is_none() {
            let Some(refresh_token) = refresh_token else { return Ok(Revoked::Unsupported) };
            let endpoint = below(base_url, "user_management/authenticate");
            match self.authenticate(connection, &endpoint, &proofs, Grant::Refresh(refresh_token)).await {
                Ok(redeemed) => session = jwt::unverified_text(redeemed.tokens.access_token.expose(), "sid"),
                Err(ProviderError::InvalidGrant) => return Ok(Revoked::Done),
                Err(error) => return Err(error),
            }
        }
        let session = session.ok_or(ProviderError::AnswerInvalid { why: "its access token names no session" })?;
        let endpoint = below(base_url, "user_management/sessions/revoke");
        let mut refused = ProviderError::Misconfigured { code: "client_secret_missing".to_owned() };
        for proof in &proofs {
            let request = post(&endpoint, secret_of(proof), &json!({ "session_id": session }))?;
            let answer = self.send_for_receipt(request, RevokedToken::Session, receipts).await?;
            // A success has no body.
            let body = json::parse_object(&answer.body).unwrap_or_default();
            match refusal(&answer, &body, self.clock.now()) {
                None => return Ok(Revoked::Done),
                // A session that is not there any more is what was asked for; but only WorkOS itself can say so.
                Some(ProviderError::Refused { .. }) if matches!(answer.status.as_u16(), 400 | 404) => return Ok(Revoked::Done),
                Some(error) if is_wrong_secret(&error) => refused = error,
                Some(error) => return Err(error),
            }
        }
        Err(refused)
    }
}

fn secret_of(proof: &Proof) -> Option<&Secret> {
    match proof {
        Proof::Basic(secret) | Proof::Post(secret) => Some(secret),
        Proof::Assertion(_) | Proof::Public => None,
    }
}

fn grant_body(client_id: &str, proof: &Proof, grant: Grant<'_>) -> Value {
    let mut body = match grant {
        Grant::Code(exchange) => json!({
            "client_id": client_id,
            "grant_type": "authorization_code",
            "code": exchange.code.expose(),
            "code_verifier": exchange.secrets.code_verifier.expose(),
        }),
        Grant::Refresh(token) => json!({ "client_id": client_id, "grant_type": "refresh_token", "refresh_token": token.expose() }),
    };
    if let Some(secret) = secret_of(proof) {
        body["client_secret"] = secret.expose().into();
    }
    body
}

fn post(endpoint: &Url, bearer: Option<&Secret>, body: &Value) -> Result<Request<Vec<u8>>, ProviderError> {
    let unusable = || ProviderError::Misconfigured { code: "endpoint_not_a_url".to_owned() };
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(endpoint.as_str())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/json");
    if let Some(secret) = bearer {
        let mut value = HeaderValue::try_from(format!("Bearer {}", secret.expose())).map_err(|_| unusable())?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    request.body(body.to_string().into_bytes()).map_err(|_| unusable())
}

/// A success names no token type: it is Bearer.
pub(in crate::oauth) fn members(answer: &Answer, now: OffsetDateTime) -> Result<Map<String, Value>, ProviderError> {
    let mut object = json::parse_object(&answer.body).unwrap_or_default();
    if let Some(error) = refusal(answer, &object, now) {
        return Err(error);
    }
    object.entry("token_type").or_insert_with(|| "Bearer".into());
    token_answer::normalized(object)
}

/// The error of an answer; `None` if it is a success. The word for it is `error` or, outside OAuth, `code`. A client error with a
/// `message` alone is a refusal by WorkOS all the same; without even that it comes from something in front of it, and may pass.
fn refusal(answer: &Answer, body: &Map<String, Value>, now: OffsetDateTime) -> Option<ProviderError> {
    let status = answer.status.as_u16();
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let word = text("error").or_else(|| text("code").filter(|_| !answer.status.is_success()));
    let error = classify(status, word, retry_after(&answer.headers, now), Dialect::Standard)?;
    Some(match (&error, status) {
        // Whatever the word, 401 is about the API key.
        (ProviderError::Refused { .. }, 401) => ProviderError::Misconfigured { code: INVALID_CLIENT.to_owned() },
        (ProviderError::Unavailable { .. }, 400 | 403 | 404 | 422) if word.is_none() && text("message").is_some() => {
            ProviderError::Refused { code: format!("http_{status}") }
        }
        _ => error,
    })
}

pub(in crate::oauth) fn redeemed(rest: Map<String, Value>, requested_at: OffsetDateTime) -> Redeemed {
    let text = |name: &str| rest.get(name).and_then(Value::as_str).map(str::to_owned);
    let access_token = text("access_token").unwrap_or_default();
    let told = rest.get("expires_in").and_then(Value::as_i64).map(Duration::seconds);
    let tokens = TokenAnswer {
        expires_in: told.or_else(|| lifetime_of(&access_token, requested_at)),
        access_token: Secret::new(access_token),
        refresh_token: text("refresh_token").map(Secret::new),
        scopes: None,
        requested_at,
    };
    Redeemed { tokens, rest }
}
