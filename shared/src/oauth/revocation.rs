//! Revocation (RFC 7009): the refresh token first, for with it most providers end the access token too; then the access token.

use url::Url;

use super::Provider;
use super::classify::{classify, is_wrong_secret, retry_after};
use super::client_authentication::{Proof, form_request};
use super::dialects::error_of;
use super::token_endpoint::dialect;
use crate::domain::connection::{Connection, Dialect, Kind};
use crate::domain::secret::Secret;
use crate::json;
use crate::ports::provider::{ProviderError, Receipt};

impl Provider {
    pub(super) async fn revoke(
        &self,
        connection: &Connection,
        refresh_token: Option<&Secret>,
        access_token: Option<&Secret>,
    ) -> Result<Receipt, ProviderError> {
        if matches!(connection.kind, Kind::WorkOs { .. }) {
            return self.end_session(connection, refresh_token, access_token).await;
        }
        let endpoints = self.discovery.endpoints(connection).await?;
        let Some(endpoint) = &endpoints.revocation else { return Ok(Receipt::Unsupported) };
        let proofs = self.proofs(connection, endpoints.assertion_audience()).await?;
        if dialect(connection) == Dialect::GitHub {
            let Some(access_token) = access_token else { return Ok(Receipt::Unsupported) };
            return self.delete_token(endpoint, &connection.client_id, &proofs, access_token).await;
        }
        if let Some(token) = refresh_token {
            self.revoke_one(connection, endpoint, &proofs, token, "refresh_token").await?;
        }
        let Some(token) = access_token else { return Ok(Receipt::Revoked) };
        match self.revoke_one(connection, endpoint, &proofs, token, "access_token").await {
            // The grant is gone; the access token goes with it, or by its own end (RFC 7009 section 2.2.1).
            Err(ProviderError::Refused { .. } | ProviderError::InvalidGrant) if refresh_token.is_some() => Ok(Receipt::Revoked),
            Err(ProviderError::Refused { code }) if code == "unsupported_token_type" => Ok(Receipt::Unsupported),
            other => other,
        }
    }

    async fn revoke_one(
        &self,
        connection: &Connection,
        endpoint: &Url,
        proofs: &[Proof],
        token: &Secret,
        hint: &str,
    ) -> Result<Receipt, ProviderError> {
        let dialect = dialect(connection);
        let mut refused = ProviderError::Misconfigured { code: "client_secret_missing".to_owned() };
        for proof in proofs {
            let parameters = [("token", token.expose()), ("token_type_hint", hint)];
            let answer = self.http.send(form_request(endpoint, &connection.client_id, proof, &parameters)?).await?;
            // A success needs no body (section 2.2).
            let body = json::parse_object(&answer.body).ok();
            let error = body.as_ref().and_then(|object| error_of(dialect, object));
            match classify(answer.status.as_u16(), error, retry_after(&answer.headers, self.clock.now()), dialect) {
                // A token that is not valid any more is what was asked for.
                None | Some(ProviderError::InvalidGrant) => return Ok(Receipt::Revoked),
                Some(error) if is_wrong_secret(&error) => refused = error,
                Some(error) => return Err(error),
            }
        }
        Err(refused)
    }
}
