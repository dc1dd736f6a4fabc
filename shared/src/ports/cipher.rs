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

/// A version of an organization's branch key, as the table keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedBranchKey {
    /// 1, 2, 3 …
    pub version: u32,
    /// The key, wrapped by KMS. A retired version has none any more.
    pub wrapped: Option<Vec<u8>>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// Counts on version 1 only.
    pub sealing: Sealing,
}

/// Which version of an organization's branch keys seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealing {
    /// The version.
    pub version: u32,
    /// Since when; the schedule makes the next one after a time.
    pub since: OffsetDateTime,
}

/// Where branch keys are kept: `KEY#<org>`, `v<n>`.
#[async_trait]
pub trait BranchKeys: Send + Sync {
    /// One version.
    async fn branch_key(&self, organization: &OrganizationId, version: u32) -> Result<Option<WrappedBranchKey>, Unavailable>;
    /// Stores a version unless it exists; `false` if it does.
    async fn put_branch_key(&self, organization: &OrganizationId, key: &WrappedBranchKey) -> Result<bool, Unavailable>;
    /// Lets another version seal, on condition that `from` does; `false` if neither does any more. An own change whose answer was
    /// lost, and the same change by somebody else, count as done.
    async fn let_seal(&self, organization: &OrganizationId, from: u32, to: Sealing) -> Result<bool, Unavailable>;
    /// Destroys a version; its item stays, so that it is never made again.
    async fn destroy_branch_key(&self, organization: &OrganizationId, version: u32, now: OffsetDateTime) -> Result<(), Unavailable>;
    /// At most `most` organizations whose keys are to be rotated, the longest due first, beginning after an earlier one.
    async fn keys_due(&self, now: OffsetDateTime, most: usize, after: Option<&KeyDue>) -> Result<Vec<KeyDue>, Unavailable>;
}

/// An organization whose branch key is to be rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDue {
    /// The organization.
    pub organization: OrganizationId,
    /// Since when.
    pub due_at: OffsetDateTime,
}

/// The life of branch keys.
#[async_trait]
pub trait BranchKeyLife: Send + Sync {
    /// Makes a further version, makes sure that it opens, and lets it seal from now on. The version that sealed before goes on
    /// opening. `None` if the organization has no key yet.
    async fn rotate(&self, organization: &OrganizationId) -> Result<Option<Rotated>, CipherError>;
    /// Which version of the organization's branch key a ciphertext names; `None` if it is none.
    fn version_of(&self, ciphertext: &[u8]) -> Option<u32>;
}

/// A rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    /// The version that sealed.
    pub from: u32,
    /// The version that seals now.
    pub to: u32,
}
