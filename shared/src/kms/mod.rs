//! Tokens sealed under a branch key per organization, which KMS keeps wrapped (design section 4).
//!
//! 1. The first token of an organization makes its branch key: `GenerateDataKeyWithoutPlaintext`, then a put if absent. Who loses
//!    that race reads the winner's.
//! 2. A branch key is unwrapped by `Decrypt` and kept: fresh for five minutes, fetched again from the fourth on by whoever
//!    notices, used for up to an hour while KMS or the table is down (I9).
//! 3. Version 1 of an organization's keys says which version seals; every message names the version that opens it.
//! 4. Each message has a key of its own, derived with a random salt, and is bound to its place (I8).
//! 5. A rotation makes the next version and then lets it seal. Sandboxes notice within five minutes, or within the hour that they go
//!    on with what they have. A retired version has no key any more; version 1 still says which version seals.

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
use crate::ports::cipher::{
    BranchKeyLife, BranchKeys, CipherError, Rotated, Salt, SealContext, Sealer, Sealing, TokenCipher, WrappedBranchKey,
};
use crate::ports::clock::{Clock, Entropy, random};

const LOAD: &str = "load a branch key";
const ROTATE: &str = "rotate a branch key";
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
    /// Absent if the version is retired.
    key: Option<MasterKey>,
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
        let active = stored.sealing.version;
        let Some(wrapped) = stored.wrapped else { return Ok(BranchKey { key: None, active }) };
        match self.wrapping.unwrap(organization, version, &wrapped).await {
            Ok(key) => Ok(BranchKey { key: Some(key), active }),
            Err(UnwrapError::Unavailable(error)) => Err(KeyError::Unavailable(error)),
            Err(UnwrapError::Refused) => Err(KeyError::Broken),
        }
    }

    /// Makes the first branch key of an organization, unless somebody else is faster.
    async fn make_first(&self, organization: &OrganizationId) -> Result<(), Unavailable> {
        self.make(organization, FIRST).await.map(|_| ())
    }

    /// Makes a version, unless it is there.
    async fn make(&self, organization: &OrganizationId, version: u32) -> Result<Sealing, Unavailable> {
        let wrapped = Some(self.wrapping.generate(organization, version).await?);
        let now = self.clock.now();
        let sealing = Sealing { version, since: now };
        self.keys.put_branch_key(organization, &WrappedBranchKey { version, wrapped, created_at: now, sealing }).await?;
        Ok(sealing)
    }
}

#[async_trait]
impl BranchKeyLife for Keyring {
    async fn rotate(&self, organization: &OrganizationId) -> Result<Option<Rotated>, CipherError> {
        let Some(first) = self.keys.branch_key(organization, FIRST).await? else { return Ok(None) };
        let from = first.sealing.version;
        let to = from.checked_add(1).ok_or_else(|| Unavailable::new(ROTATE, "there are no more versions"))?;
        // One that is there already was made by a rotation that stopped half-way, or by one beside this one: it is as good.
        let sealing = self.make(organization, to).await?;
        // Nothing is sealed with a key that does not open.
        match self.load(organization, to).await {
            Ok(BranchKey { key: Some(_), .. }) => {}
            Ok(BranchKey { key: None, .. }) | Err(KeyError::Missing) => return Err(Unavailable::new(ROTATE, KeyError::Missing).into()),
            Err(KeyError::Unavailable(error)) => return Err(error.into()),
            Err(error @ KeyError::Broken) => return Err(Unavailable::new(ROTATE, error).into()),
        }
        let done = self.keys.let_seal(organization, from, sealing).await?;
        self.cache.forget(organization, FIRST);
        if done { Ok(Some(Rotated { from, to })) } else { Err(Unavailable::new(ROTATE, "others have rotated it further meanwhile").into()) }
    }

    fn version_of(&self, ciphertext: &[u8]) -> Option<u32> {
        Message::parse(ciphertext).map(|message| message.version)
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
        if key.key.is_none() {
            return Err(Unavailable::new(LOAD, KeyError::Missing).into());
        }
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
        key.key.as_ref().and_then(|key| message.open(key, context)).ok_or_else(broken)
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
        let sealed = self.key.key.as_ref().and_then(|key| message::seal(key, self.version, context, token, salt.0));
        sealed.ok_or(CipherError::Broken { field: context.field.as_str() })
    }

    fn reserve(&self) -> Result<Salt, CipherError> {
        Ok(Salt(random(&*self.entropy)?))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]
mod tests;
