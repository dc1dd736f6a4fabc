//! GitHub: the verified e-mail addresses of a person are a list of their own (`/user/emails`), and tokens are not revoked by RFC 7009
//! but deleted at `/applications/{client_id}/token`, with the client's Basic credentials and the access token in a JSON body.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Method, Request};
use serde_json::{Map, Value, json};
use url::Url;

use crate::domain::connection::{Connection, Dialect};
use crate::domain::scopes::Scopes;
use crate::domain::secret::Secret;
use crate::json;
use crate::oauth::Provider;
use crate::oauth::classify::{classify, is_wrong_secret, retry_after};
use crate::oauth::client_authentication::{Proof, basic};
use crate::oauth::discovery::Endpoints;
use crate::oauth::fetch::{get, refusal};
use crate::oauth::token_endpoint::Grant;
use crate::ports::provider::{ProviderError, Receipt, Revoked, RevokedToken, TokenAnswer};

/// As many addresses as GitHub lists at once; nobody's primary one is beyond them.
const PAGE: &str = "per_page=100";

/// Whether a refusal is a limit that passes: GitHub answers `403` to both (REST API, rate limits).
pub(in crate::oauth) fn is_rate_limited(headers: &HeaderMap) -> bool {
    headers.contains_key(RETRY_AFTER) || headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0")
}

/// Whether a token may list addresses. A GitHub App's has no scopes but permissions, which its answer does not tell.
fn may_list_emails(granted: Option<&Scopes>) -> bool {
    granted.is_none_or(|scopes| scopes.is_empty() || scopes.contains("user:email") || scopes.contains("user"))
}

impl Provider {
    /// Who a token belongs to: `/user`, and the address that GitHub has verified. The one in `/user` is what a person chose to show,
    /// and is often null. Where the list is refused there is no verified address.
    pub(in crate::oauth) async fn github_claims(
        &self,
        connection: &Connection,
        endpoint: &Url,
        tokens: &TokenAnswer,
    ) -> Result<Map<String, Value>, ProviderError> {
        let mut claims = self.ask_userinfo(connection, endpoint, &tokens.access_token).await?;
        claims.remove("email_verified");
        if may_list_emails(tokens.scopes.as_ref())
            && let Some(email) = self.primary_email(endpoint, &tokens.access_token).await?
        {
            claims.insert(connection.claims.email.clone(), email.into());
            claims.insert("email_verified".to_owned(), true.into());
        }
        Ok(claims)
    }

    async fn primary_email(&self, endpoint: &Url, access_token: &Secret) -> Result<Option<String>, ProviderError> {
        let mut url = endpoint.clone();
        url.set_path(&format!("{}/emails", endpoint.path().trim_end_matches('/')));
        url.set_query(Some(PAGE));
        let answer = get(&self.http, &url, Some(access_token)).await?;
        match answer.status.as_u16() {
            200 => {}
            // The scope or permission is not there: GitHub says so by either.
            403 | 404 if !is_rate_limited(&answer.headers) => return Ok(None),
            401 => return Err(ProviderError::InvalidGrant),
            _ => return Err(refusal(&answer, self.clock.now())),
        }
        let Ok(Value::Array(listed)) = json::parse(&answer.body) else {
            return Err(ProviderError::AnswerInvalid { why: "its list of e-mail addresses is not one" });
        };
        let is = |entry: &Value, name: &str| entry.get(name) == Some(&Value::Bool(true));
        let primary = listed.iter().find(|entry| is(entry, "primary") && is(entry, "verified"));
        Ok(primary.and_then(|entry| entry.get("email")).and_then(Value::as_str).map(str::to_owned))
    }

    /// Deletes the access token, and with it what its pair could still do. An access token that has ended cannot be deleted while its
    /// refresh token lives on: it is renewed once more, to have one that can.
    pub(in crate::oauth) async fn delete_pair(
        &self,
        connection: &Connection,
        endpoints: &Endpoints,
        endpoint: &Url,
        refresh_token: Option<&Secret>,
        access_token: Option<&Secret>,
        receipts: &mut Vec<Receipt>,
    ) -> Result<Revoked, ProviderError> {
        let proofs = &self.proofs_at(connection, endpoints).await?;
        if matches!(proofs[..], [Proof::Public]) {
            return Ok(Revoked::Unsupported); // it is the client's secret that deletes
        }
        if let Some(token) = access_token
            && (self.delete_token(endpoint, &connection.client_id, proofs, token, receipts).await? || refresh_token.is_none())
        {
            return Ok(Revoked::Done);
        }
        let Some(refresh_token) = refresh_token else { return Ok(Revoked::Unsupported) };
        let renewed = match self.redeem(connection, &endpoints.token, proofs, Grant::Refresh(refresh_token)).await {
            Ok(renewed) => renewed.tokens.access_token,
            Err(ProviderError::InvalidGrant) => return Ok(Revoked::Done),
            Err(error) => return Err(error),
        };
        // Nobody keeps this pair: if the first attempt fails in passing, there is no later one than the next.
        let deleted = match self.delete_token(endpoint, &connection.client_id, proofs, &renewed, receipts).await {
            Err(ProviderError::Unavailable { .. } | ProviderError::AnswerLost { .. }) => {
                self.delete_token(endpoint, &connection.client_id, proofs, &renewed, receipts).await?
            }
            other => other?,
        };
        if deleted { Ok(Revoked::Done) } else { Err(ProviderError::AnswerInvalid { why: "it does not know the token that it just gave" }) }
    }

    /// Deletes a token; whether there was one.
    async fn delete_token(
        &self,
        endpoint: &Url,
        client_id: &str,
        proofs: &[Proof],
        access_token: &Secret,
        receipts: &mut Vec<Receipt>,
    ) -> Result<bool, ProviderError> {
        let mut refused = Some(ProviderError::Misconfigured { code: "client_secret_missing".to_owned() });
        for proof in proofs {
            let (Proof::Basic(secret) | Proof::Post(secret)) = proof else { continue };
            let unusable = || ProviderError::Misconfigured { code: "endpoint_not_a_url".to_owned() };
            let request = Request::builder()
                .method(Method::DELETE)
                .uri(endpoint.as_str())
                .header(ACCEPT, "application/json")
                .header(CONTENT_TYPE, "application/json")
                .header(AUTHORIZATION, basic(client_id, secret).ok_or_else(unusable)?);
            let body = json!({ "access_token": access_token.expose() }).to_string().into_bytes();
            let request = request.body(body).map_err(|_| unusable())?;
            let answer = self.send_for_receipt(request, RevokedToken::Access, receipts).await?;
            let wait = retry_after(&answer.headers, self.clock.now());
            match (answer.status.as_u16(), classify(answer.status.as_u16(), None, wait, Dialect::GitHub)) {
                (_, None) => return Ok(true),
                // There is no such token; or not for this secret, so the next one has a look, too.
                (404 | 422, _) => refused = None,
                (_, Some(error)) if is_wrong_secret(&error) => refused = refused.map(|_| error),
                (_, Some(error)) => return Err(error),
            }
        }
        refused.map_or(Ok(false), Err)
    }
}
