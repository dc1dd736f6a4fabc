//! `POST revoke` (RFC 7009): a refresh token ends its grant, an access token ends alone, an unknown one is no error.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::grant::Standing;
use super::ledger::Ledger;
use super::minted::Minted;
use super::params::Params;
use super::refusal::Refusal;
use super::{SignIn, clients, digest};

pub(super) async fn revoke(State(sign_in): State<Arc<SignIn>>, headers: HeaderMap, body: Bytes) -> Response {
    match revoked(&sign_in, &headers, &body) {
        Ok(()) => (StatusCode::OK, [(header::CACHE_CONTROL, "no-store")]).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

fn revoked(sign_in: &SignIn, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
    let params = Params::of_form(headers, body).ok_or(Refusal::InvalidRequest("the body is not a form"))?;
    if params.any_repeated() {
        return Err(Refusal::InvalidRequest("a parameter comes twice"));
    }
    let client = clients::authenticate(&sign_in.clients, headers, &params)?;
    let token = params.get("token").ok_or(Refusal::InvalidRequest("token is missing"))?;
    // token_type_hint is not needed: a token names its grant, and the digest tells its kind
    if let Some(grant_id) = Minted::grant_id(token) {
        let (token, now) = (digest::of(token), sign_in.now());
        sign_in.keeper.change(|ledger| end(ledger, grant_id, &token, client.id(), now))??;
    }
    sign_in.counts.revocations.add();
    Ok(())
}

fn end(ledger: &mut Ledger, grant_id: &str, token: &str, client_id: &str, now: i64) -> Result<(), Refusal> {
    let Some(grant) = ledger.grant_mut(grant_id) else {
        return Ok(());
    };
    if grant.consent.client_id != client_id {
        return Err(Refusal::InvalidGrant("the token was issued to another client"));
    }
    match grant.standing(token, 0, now) {
        // a used one names the same grant, and whoever revokes it wants the grant gone
        Standing::Current | Standing::Again | Standing::Reused => ledger.end_grant(grant_id),
        Standing::Unknown => grant.drop_access(token),
    }
    Ok(())
}
