//! Configuration, and the verification of callers that follows from it.

use std::sync::Arc;

use async_trait::async_trait;

use super::Unavailable;
use crate::domain::caller::Principal;
use crate::domain::directory::Directory;
use crate::domain::ids::ConnectionId;
use crate::domain::secret::Secret;

/// The directory, at most five minutes old, or older while Secrets Manager is down.
#[async_trait]
pub trait Directories: Send + Sync {
    /// The current directory.
    async fn directory(&self) -> Result<Arc<Directory>, Unavailable>;
}

/// What proves a client at its token endpoint.
#[derive(Debug, Clone)]
pub enum ClientCredential {
    /// A client secret.
    Secret(Secret),
    /// A signing key for `private_key_jwt` (RFC 7523).
    Key {
        /// Its key id.
        kid: String,
        /// The private key in PEM.
        pem: Secret,
    },
}

/// The client secrets: a list per connection, tried in order, so that a secret can be rotated without downtime.
#[async_trait]
pub trait ClientSecrets: Send + Sync {
    /// The credentials of a connection; empty for a public client.
    async fn client_secrets(&self, connection: &ConnectionId) -> Result<Arc<[ClientCredential]>, Unavailable>;
}

/// Verifies the bearer JWT of a caller (contract section 2).
#[async_trait]
pub trait BearerVerifier: Send + Sync {
    /// Who the token speaks for.
    async fn verify(&self, token: &str) -> Result<Principal, BearerError>;
}

/// Why a bearer token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum BearerError {
    /// The token is not acceptable. The reason is for the log; a caller learns only that it is so.
    #[error("bearer token refused: {why}")]
    Refused {
        /// Which check refused it.
        why: &'static str,
    },
    /// The keys to judge it by could not be had.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Static material that verifies API tokens, instead of a JWKS (contract section 2).
pub enum StaticApiKey {
    /// HS256 with a shared secret of at least 32 bytes, base64url-decoded.
    Hmac(zeroize::Zeroizing<Vec<u8>>),
    /// A public key.
    PublicKey {
        /// `RS256`, `PS256`, `ES256` or `EdDSA`.
        algorithm: String,
        /// `SubjectPublicKeyInfo` in PEM.
        pem: String,
    },
}

impl std::fmt::Debug for StaticApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hmac(_) => f.write_str("Hmac([redacted])"),
            Self::PublicKey { algorithm, .. } => write!(f, "PublicKey({algorithm})"),
        }
    }
}

/// The static material, from the secret that `static_key_secret` names.
#[async_trait]
pub trait StaticApiKeys: Send + Sync {
    /// The key in that secret, at most five minutes old.
    async fn static_api_key(&self, secret_id: &str) -> Result<Arc<StaticApiKey>, Unavailable>;
}
