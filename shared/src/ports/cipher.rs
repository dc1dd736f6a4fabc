//! Sealing tokens under the organization's branch key (design section 4).

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::Unavailable;
use crate::domain::ids::{AuthorizationId, OrganizationId};
use crate::domain::secret::Secret;

/// What a ciphertext is bound to (I8): moved anywhere else, it does not open.
#[derive(Debug, Clone, Copy)]
pub struct SealContext<'a> {
    /// The tenant.
    pub organization: &'a OrganizationId,
    /// The record.
    pub authorization: &'a AuthorizationId,
    /// Which of its tokens.
    pub field: TokenField,
    /// The record's generation at which the token was stored.
    pub generation: u64,
}

/// The sealed fields of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenField {
    /// The access token.
    Access,
    /// The refresh token.
    Refresh,
}

impl TokenField {
    /// The name that is bound into the ciphertext.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access_token",
            Self::Refresh => "refresh_token",
        }
    }
}

/// Opens tokens, and fetches the key that seals them.
#[async_trait]
pub trait TokenCipher: Send + Sync {
    /// The organization's current key, unwrapped and at hand: sealing with it needs nobody any more (I7).
    async fn sealer(&self, organization: &OrganizationId) -> Result<Arc<dyn Sealer>, CipherError>;
    /// Opens a ciphertext.
    async fn open(&self, context: SealContext<'_>, ciphertext: &[u8]) -> Result<Secret, CipherError>;
}

/// A key at hand.
pub trait Sealer: Send + Sync {
    /// Seals a token. Only a failing source of randomness stands in the way; [`Sealer::reserve`] asks it beforehand.
    fn seal(&self, context: SealContext<'_>, token: &Secret, salt: Salt) -> Result<Vec<u8>, CipherError>;
    /// Random salts for messages that will be sealed later, after a provider's answer.
    fn reserve(&self) -> Result<Salt, CipherError>;
}

/// A random salt that makes the key of one message; used once.
#[derive(Debug)]
pub struct Salt(pub [u8; 32]);

/// Why a token was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum CipherError {
    /// The key could not be had.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The ciphertext is not what was stored here: altered, moved, or of a lost key. A security signal.
    #[error("ciphertext of {field} does not open for its record")]
    Broken {
        /// The field.
        field: &'static str,
    },
}

/// A wrapped branch key as the table keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedBranchKey {
    /// 1, 2, 3 …
    pub version: u32,
    /// The key, wrapped by KMS.
    pub wrapped: Vec<u8>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// On version 1 only: the version that seals at present.
    pub active: u32,
}

/// Where wrapped branch keys are kept: `KEY#<org>`, `v<n>`.
#[async_trait]
pub trait BranchKeys: Send + Sync {
    /// One version.
    async fn branch_key(&self, organization: &OrganizationId, version: u32) -> Result<Option<WrappedBranchKey>, Unavailable>;
    /// Stores a version unless it exists; `false` if it does.
    async fn put_branch_key(&self, organization: &OrganizationId, key: &WrappedBranchKey) -> Result<bool, Unavailable>;
}
