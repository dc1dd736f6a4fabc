//! GitHub: tokens are not revoked by RFC 7009 but deleted at `/applications/{client_id}/token`, with the client's Basic credentials
//! and the access token in a JSON body.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::json;
use url::Url;

use crate::domain::connection::Dialect;
use crate::domain::secret::Secret;
use crate::oauth::Provider;
use crate::oauth::classify::{classify, is_wrong_secret, retry_after};
use crate::oauth::client_authentication::{Proof, basic};
use crate::ports::provider::{ProviderError, Receipt, Revoked, RevokedToken};

impl Provider {
    /// Deletes a token, and with it the refresh token of the same pair.
    pub(in crate::oauth) async fn delete_token(
        &self,
        endpoint: &Url,
        client_id: &str,
        proofs: &[Proof],
        access_token: &Secret,
        receipts: &mut Vec<Receipt>,
    ) -> Result<Revoked, ProviderError> {
        let mut refused = ProviderError::Misconfigured { code: "client_secret_missing".to_owned() };
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
                // 404 and 422 say that there is no such token, which is what was asked for.
                (_, None) | (404 | 422, _) => return Ok(Revoked::Done),
                (_, Some(error)) if is_wrong_secret(&error) => refused = error,
                (_, Some(error)) => return Err(error),
            }
        }
        Err(refused)
    }
}
