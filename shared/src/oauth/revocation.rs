//! Revocation (RFC 7009): the refresh token first, for with it most providers end the access token too; then the access token. Every
//! request leaves a receipt.

use http::Request;
use url::Url;

use super::Provider;
use super::classify::{classify, is_wrong_secret, retry_after};
use super::client_authentication::form_request;
use super::dialects::error_of;
use super::discovery::Endpoints;
use super::egress::Answer;
use super::token_endpoint::dialect;
use crate::domain::connection::{Connection, Dialect, Kind};
use crate::domain::secret::Secret;
use crate::json;
use crate::ports::provider::{ProviderError, Receipt, Revoked, RevokedToken};

impl Provider {
    pub(super) async fn revoke(
        &self,
        connection: &Connection,
        refresh_token: Option<&Secret>,
        access_token: Option<&Secret>,
        receipts: &mut Vec<Receipt>,
    ) -> Result<Revoked, ProviderError> {
        if matches!(connection.kind, Kind::WorkOs { .. }) {
            return self.end_session(connection, refresh_token, access_token, receipts).await;
        }
        let endpoints = self.discovery.endpoints(connection).await?;
        let Some(endpoint) = &endpoints.revocation else { return Ok(Revoked::Unsupported) };
        match dialect(connection) {
            Dialect::Slack => return self.revoke_at_slack(endpoint, refresh_token, access_token, receipts).await,
            Dialect::GitHub => return self.delete_pair(connection, &endpoints, endpoint, refresh_token, access_token, receipts).await,
            Dialect::Standard => {}
        }
        if let Some(token) = refresh_token {
            self.revoke_one(connection, endpoint, &endpoints, token, RevokedToken::Refresh, receipts).await?;
        }
        let Some(token) = access_token else { return Ok(Revoked::Done) };
        match self.revoke_one(connection, endpoint, &endpoints, token, RevokedToken::Access, receipts).await {
            // The grant is gone; the access token goes with it, or by its own end (RFC 7009 section 2.2.1).
            Err(ProviderError::Refused { .. } | ProviderError::InvalidGrant) if refresh_token.is_some() => Ok(Revoked::Done),
            Err(ProviderError::Refused { code }) if code == "unsupported_token_type" => Ok(Revoked::Unsupported),
            other => other,
        }
    }

    async fn revoke_one(
        &self,
        connection: &Connection,
        endpoint: &Url,
        endpoints: &Endpoints,
        token: &Secret,
        what: RevokedToken,
        receipts: &mut Vec<Receipt>,
    ) -> Result<Revoked, ProviderError> {
        let dialect = dialect(connection);
        let mut refused = ProviderError::Misconfigured { code: "client_secret_missing".to_owned() };
        // An assertion works once, so each request has its own (RFC 7523 section 3).
        for proof in &self.proofs_at(connection, endpoints).await? {
            let parameters = [("token", token.expose()), ("token_type_hint", what.as_str())];
            let request = form_request(endpoint, &connection.client_id, proof, &parameters)?;
            let answer = self.send_for_receipt(request, what, receipts).await?;
            // A success needs no body (section 2.2).
            let body = json::parse_object(&answer.body).ok();
            let error = body.as_ref().and_then(|object| error_of(dialect, object));
            match classify(answer.status.as_u16(), error, retry_after(&answer.headers, self.clock.now()), dialect) {
                // A token that is not valid any more is what was asked for.
                None | Some(ProviderError::InvalidGrant) => return Ok(Revoked::Done),
                Some(error) if is_wrong_secret(&error) => refused = error,
                Some(error) => return Err(error),
            }
        }
        Err(refused)
    }

    /// Sends a request to revoke, and notes what came back.
    pub(super) async fn send_for_receipt(
        &self,
        request: Request<Vec<u8>>,
        token: RevokedToken,
        receipts: &mut Vec<Receipt>,
    ) -> Result<Answer, ProviderError> {
        let answer = self.http.send(request).await;
        let status = answer.as_ref().ok().map(|answer| answer.status.as_u16());
        receipts.push(Receipt { token, status, at: self.clock.now() });
        Ok(answer?)
    }
}
