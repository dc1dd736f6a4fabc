//! `POST authorize`: the person answers the page.
//!
//! A script does the same: it takes the hidden `transaction` out of the page and posts `transaction`, `person` and
//! `decision` (`allow` or `refuse`) as a form.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::authorize::Request;
use super::failure::Failure;
use super::ledger::{Code, Consent};
use super::params::Params;
use super::people::Person;
use super::{SignIn, digest, page, random};

pub(super) async fn answer(State(sign_in): State<Arc<SignIn>>, headers: HeaderMap, body: Bytes) -> Response {
    let form = Params::of_form(&headers, &body).unwrap_or_default();
    let decision = match (form.get("decision"), form.get("person").and_then(Person::by_id)) {
        (Some("allow"), Some(person)) => Some(person),
        (Some("refuse"), _) => None,
        _ => return page::refused("This answer is incomplete. Begin again where you came from."),
    };
    let taken = form.get("transaction").and_then(|id| sign_in.transactions.take(id, sign_in.now()));
    let Some(request) = taken else {
        return page::refused("This page has been answered already, or is too old. Begin again where you came from.");
    };
    match decision {
        Some(person) => allow(&sign_in, request, person).unwrap_or_else(IntoResponse::into_response),
        None => request.back.with_error("access_denied"),
    }
}

fn allow(sign_in: &SignIn, request: Request, person: &Person) -> Result<Response, Failure> {
    let now = sign_in.now();
    let secret = random::unguessable()?;
    let code = Code {
        consent: Consent { client_id: request.client_id, person: person.id.to_owned(), scopes: request.scopes, auth_time: now },
        redirect_uri: request.back.redirect_uri.clone(),
        challenge: request.challenge,
        nonce: request.nonce,
    };
    sign_in.keeper.change(|ledger| ledger.issue_code(digest::of(&secret), code, now))?;
    sign_in.counts.authorizations.add();
    Ok(request.back.with_code(&secret))
}
