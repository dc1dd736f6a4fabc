//! `GET` or `POST userinfo`: who an access token is about (OpenID Connect Core 5.3, RFC 6750).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::minted::Minted;
use super::people::Person;
use super::{SignIn, digest, id_token};

pub(super) async fn tell(State(sign_in): State<Arc<SignIn>>, headers: HeaderMap) -> Response {
    let Some(token) = bearer(&headers) else {
        // without any credentials the challenge has no error code (RFC 6750 section 3.1)
        return refuse(StatusCode::UNAUTHORIZED, "Bearer");
    };
    let now = sign_in.now();
    let found = Minted::grant_id(token).and_then(|grant_id| {
        sign_in.keeper.read(|ledger| {
            let grant = ledger.grant(grant_id)?;
            let access = grant.live_access(&digest::of(token), now)?;
            Some((Person::by_id(&grant.consent.person)?, access.scopes.contains("openid")))
        })
    });
    match found {
        Some((person, true)) => ([(header::CACHE_CONTROL, "no-store")], Json(id_token::about(person))).into_response(),
        Some((_, false)) => refuse(StatusCode::FORBIDDEN, "Bearer error=\"insufficient_scope\", scope=\"openid\""),
        None => refuse(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\""),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refuse(status: StatusCode, challenge: &'static str) -> Response {
    (status, [(header::WWW_AUTHENTICATE, challenge), (header::CACHE_CONTROL, "no-store")]).into_response()
}
