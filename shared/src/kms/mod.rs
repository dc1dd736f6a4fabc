//! Tokens sealed under a branch key per organization, which KMS keeps wrapped (design section 4).
//!
//! 1. The first token of an organization makes its branch key: `GenerateDataKeyWithoutPlaintext`, then a put if absent. Who loses
//!    that race reads the winner's.
//! 2. A branch key is unwrapped by `Decrypt` and kept: fresh for five minutes, fetched again from the fourth on by whoever
//!    notices, used for up to an hour while KMS or the table is down (I9).
//! 3. Version 1 of an organization's keys says which version seals; every message names the version that opens it.
//! 4. Each message has a key of its own, derived with a random salt, and is bound to its place (I8).

mod cache;
mod message;
mod wrapping;

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_kms::Client;

use self::cache::Cache;
use self::message::Message;
use self::wrapping::{KmsWrapping, UnwrapError, Wrapping};
use crate::aead::MasterKey;
use crate::domain::ids::OrganizationId;
use crate::domain::secret::Secret;
use crate::ports::Unavailable;
use crate::ports::cipher::{BranchKeys, CipherError, Salt, SealContext, Sealer, TokenCipher, WrappedBranchKey};
use crate::ports::clock::{Clock, Entropy, random};

const LOAD: &str = "load a branch key";
/// The version that is made first, and says which version is in use.
const FIRST: u32 = 1;

/// The branch keys of all organizations, as far as they are in use here.
pub struct Keyring {
    keys: Arc<dyn BranchKeys>,
    wrapping: Box<dyn Wrapping>,
    cache: Cache,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// A branch key, unwrapped.
struct BranchKey {
    key: MasterKey,
    /// The version that seals, as this version's item says it; only version 1's counts.
    active: u32,
}

/// Why a branch key is not there.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The organization has no such version.
    #[error("no such branch key")]
    Missing,
    /// The wrapped key is not what KMS wrapped for this organization and version.
    #[error("the branch key does not unwrap for its place")]
    Broken,
}

impl Keyring {
    /// A keyring over the service's KMS key.
    pub fn new(
        client: Client,
        key_id: impl Into<String>,
        keys: Arc<dyn BranchKeys>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self::over(Box::new(KmsWrapping::new(client, key_id.into())), keys, clock, entropy)
    }

    fn over(wrapping: Box<dyn Wrapping>, keys: Arc<dyn BranchKeys>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { keys, wrapping, cache: Cache::default(), clock, entropy }
    }

    async fn branch_key(&self, organization: &OrganizationId, version: u32) -> Result<Arc<BranchKey>, KeyError> {
        self.cache.get(organization, version, &*self.clock, || self.load(organization, version)).await
    }

    async fn load(&self, organization: &OrganizationId, version: u32) -> Result<BranchKey, KeyError> {
        let stored = self.keys.branch_key(organization, version).await?.ok_or(KeyError::Missing)?;
        match self.wrapping.unwrap(organization, version, &stored.wrapped).await {
            Ok(key) => Ok(BranchKey { key, active: stored.active }),
            Err(UnwrapError::Unavailable(error)) => Err(KeyError::Unavailable(error)),
            Err(UnwrapError::Refused) => Err(KeyError::Broken),
        }
    }

    /// Makes the first branch key of an organization, unless somebody else is faster.
    async fn make_first(&self, organization: &OrganizationId) -> Result<(), Unavailable> {
        let wrapped = self.wrapping.generate(organization, FIRST).await?;
        let key = WrappedBranchKey { version: FIRST, wrapped, created_at: self.clock.now(), active: FIRST };
        self.keys.put_branch_key(organization, &key).await.map(|_| ())
    }
}

#[async_trait]
impl TokenCipher for Keyring {
    async fn sealer(&self, organization: &OrganizationId) -> Result<Arc<dyn Sealer>, CipherError> {
        let unusable = |error: KeyError| match error {
            KeyError::Unavailable(error) => error,
            KeyError::Missing | KeyError::Broken => Unavailable::new(LOAD, error),
        };
        let first = match self.branch_key(organization, FIRST).await {
            Err(KeyError::Missing) => {
                self.make_first(organization).await?;
                self.branch_key(organization, FIRST).await
            }
            known => known,
        };
        let first = first.map_err(unusable)?;
        let version = first.active;
        let key = if version == FIRST { first } else { self.branch_key(organization, version).await.map_err(unusable)? };
        Ok(Arc::new(BranchSealer { key, version, entropy: Arc::clone(&self.entropy) }))
    }

    async fn open(&self, context: SealContext<'_>, ciphertext: &[u8]) -> Result<Secret, CipherError> {
        // Tampering, a record that was moved, or a key that is gone: it does not happen by itself.
        let broken = || {
            tracing::error!(
                metric = "decrypt_failures",
                organization = context.organization.as_str(),
                authorization = context.authorization.as_str(),
                field = context.field.as_str(),
                generation = context.generation,
                "a stored token does not open"
            );
            CipherError::Broken { field: context.field.as_str() }
        };
        let message = Message::parse(ciphertext).ok_or_else(broken)?;
        let key = self.branch_key(context.organization, message.version).await.map_err(|error| match error {
            KeyError::Unavailable(error) => CipherError::Unavailable(error),
            KeyError::Missing | KeyError::Broken => broken(),
        })?;
        message.open(&key.key, context).ok_or_else(broken)
    }
}

/// A branch key at hand.
struct BranchSealer {
    key: Arc<BranchKey>,
    version: u32,
    entropy: Arc<dyn Entropy>,
}

impl Sealer for BranchSealer {
    fn seal(&self, context: SealContext<'_>, token: &Secret, salt: Salt) -> Result<Vec<u8>, CipherError> {
        message::seal(&self.key.key, self.version, context, token, salt.0).ok_or(CipherError::Broken { field: context.field.as_str() })
    }

    fn reserve(&self) -> Result<Salt, CipherError> {
        Ok(Salt(random(&*self.entropy)?))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests;
