//! `GET authorize`: checks the request (RFC 6749 section 4.1.1, RFC 7636, OpenID Connect Core 3.1.2) and shows the page.
//!
//! As long as client and redirect URI are not known to belong together nothing is sent anywhere: the page says what is
//! wrong. From then on every error goes back to the client.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};

use super::SignIn;
use super::failure::Failure;
use super::page;
use super::params::Params;
use super::redirect::Return;
use super::scopes::Scopes;

/// An authorization request that may be put to a person.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) client_id: String,
    pub(super) back: Return,
    pub(super) scopes: Scopes,
    pub(super) challenge: String,
    pub(super) nonce: Option<String>,
    pub(super) login_hint: Option<String>,
}

pub(super) async fn show(State(sign_in): State<Arc<SignIn>>, RawQuery(query): RawQuery) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes());
    let Some(client) = params.get("client_id").and_then(|id| sign_in.client(id)) else {
        return page::refused("The application that sent you here is not known to this demonstration.");
    };
    let back = params
        .get("redirect_uri")
        .filter(|uri| client.returns_to(uri))
        .and_then(|uri| Return::new(uri, params.get("state"), sign_in.issuer()));
    let Some(back) = back else {
        return page::refused("The address to return to is not registered for this application, so you stay here.");
    };
    match check(&params) {
        Ok((scopes, challenge)) => {
            let request = Request {
                client_id: client.id().to_owned(),
                back,
                scopes,
                challenge,
                nonce: params.get("nonce").map(str::to_owned),
                login_hint: params.get("login_hint").map(str::to_owned),
            };
            put_to_person(&sign_in, request).unwrap_or_else(IntoResponse::into_response)
        }
        Err(error) => back.with_error(error),
    }
}

fn put_to_person(sign_in: &SignIn, request: Request) -> Result<Response, Failure> {
    let body = page::Question::of(&request);
    let transaction = sign_in.transactions.begin(request, sign_in.now())?;
    Ok(body.show(&transaction))
}

/// Everything but client and redirect URI. The error is the `error` parameter of the answer.
fn check(params: &Params) -> Result<(Scopes, String), &'static str> {
    if params.any_repeated() {
        return Err("invalid_request");
    }
    if params.get("request").is_some() {
        return Err("request_not_supported");
    }
    if params.get("request_uri").is_some() {
        return Err("request_uri_not_supported");
    }
    match params.get("response_type") {
        Some("code") => {}
        Some(_) => return Err("unsupported_response_type"),
        None => return Err("invalid_request"),
    }
    if params.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err("invalid_request");
    }
    let challenge = params
        .get("code_challenge")
        .filter(|challenge| is_s256(challenge) && params.get("code_challenge_method") == Some("S256"))
        .ok_or("invalid_request")?;
    let scopes = params.get("scope").and_then(Scopes::parse).filter(|scopes| scopes.contains("openid")).ok_or("invalid_scope")?;
    // nobody is ever signed in already: each sign-in is asked anew
    if params.get("prompt") == Some("none") {
        return Err("login_required");
    }
    Ok((scopes, challenge.to_owned()))
}

/// An S256 challenge is 32 bytes as base64url without padding: 43 characters.
fn is_s256(challenge: &str) -> bool {
    challenge.len() == 43 && challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
