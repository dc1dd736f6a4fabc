//! Revoke an authorization that no workflow needs any more (contract section 8).
//!
//! 1. One conditional update makes it `revoking`, if nothing is bound. From its answer on nothing is handed out (I11).
//! 2. The provider is asked to revoke, refresh token first (RFC 7009).
//! 3. The ciphertext is destroyed and a tombstone stays. A provider that fails does not stop the deletion: the schedule asks again
//!    for seven days.

use std::sync::Arc;

use time::Duration;

use super::audit::{Act, announce};
use super::refresh::context;
use super::{Call, attempt};
use crate::domain::authorization::{Authorization, REVOCATION_PATIENCE, Status};
use crate::domain::binding::Binding;
use crate::domain::caller::Caller;
use crate::domain::directory::Directory;
use crate::domain::ids::AuthorizationId;
use crate::domain::schedule;
use crate::domain::secret::Secret;
use crate::ports::Unavailable;
use crate::ports::cipher::{CipherError, TokenCipher, TokenField};
use crate::ports::clock::{Clock, Entropy};
use crate::ports::provider::{ProviderError, ProviderMetadata, Receipt, Revocations};
use crate::ports::store::{OrganizationIndex, RevocationStart, RevocationStore};

/// How many workflows a refusal names.
const WORKFLOWS_NAMED: usize = 100;
/// What must remain of the function's time before the provider is asked.
const REVOCATION_TIME: Duration = Duration::seconds(12);

/// The use case with what it needs.
pub struct Revoke {
    /// Which workflows stand in the way.
    pub index: Arc<dyn OrganizationIndex>,
    /// Whether the provider can revoke.
    pub metadata: Arc<dyn ProviderMetadata>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The part that the schedule shares.
    pub revoker: Revoker,
}

/// Steps 2 and 3, which the schedule repeats.
pub struct Revoker {
    /// The record.
    pub store: Arc<dyn RevocationStore>,
    /// The provider.
    pub revocations: Arc<dyn Revocations>,
    /// Opens the tokens.
    pub cipher: Arc<dyn TokenCipher>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What a dry run tells.
#[derive(Debug)]
pub struct Forecast {
    /// Whether a DELETE would succeed.
    pub deletable: bool,
    /// At most 100 of the workflows in the way.
    pub workflows: Vec<Binding>,
    /// How many there are.
    pub workflow_count: u64,
    /// Whether the provider can be asked to revoke.
    pub provider_revocation: bool,
}

/// Why nothing was revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// No such authorization in this organization.
    #[error("no such authorization")]
    NotFound,
    /// Workflows are bound.
    #[error("authorization is in use")]
    InUse {
        /// At most 100 of them.
        workflows: Vec<Binding>,
        /// How many there are.
        workflow_count: u64,
    },
    /// The provider could not be asked whether it revokes.
    #[error("failed to ask the provider for its metadata")]
    Provider(#[source] ProviderError),
    /// A part of ours is down.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What became of the provider's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Done, or given up after seven days: the record is a tombstone.
    Gone,
    /// To be tried again.
    Postponed,
}

impl Revoke {
    /// Revokes.
    pub async fn revoke(&self, call: &Call, caller: &Caller, directory: &Directory, id: &AuthorizationId) -> Result<(), RevokeError> {
        let now = self.revoker.clock.now();
        let attempt = attempt(self.entropy.as_ref())?;
        let result = match self.revoker.store.begin_revocation(&caller.organization, id, &attempt, now).await? {
            RevocationStart::Begun(record) => {
                announce(call, self.index.as_ref(), &record, "revoking", None).await;
                // The promise is kept already; whatever fails from here on is the schedule's to finish.
                if let Err(error) = self.revoker.settle(call, directory, &record).await {
                    log(call, "a revocation is left to the schedule", &error);
                }
                Ok(())
            }
            RevocationStart::AlreadyRevoked { tombstone_until } if tombstone_until.is_none_or(|until| now < until) => Ok(()),
            RevocationStart::AlreadyRevoked { .. } | RevocationStart::Missing => Err(RevokeError::NotFound),
            RevocationStart::InUse { binding_count } => {
                let workflows = self.index.bindings_of(&caller.organization, id, None, WORKFLOWS_NAMED).await?;
                Err(RevokeError::InUse { workflows, workflow_count: binding_count })
            }
        };
        let outcome = match &result {
            Ok(()) => "ok",
            Err(RevokeError::NotFound) => "authorization_not_found",
            Err(RevokeError::InUse { .. }) => "authorization_in_use",
            Err(RevokeError::Unavailable(_) | RevokeError::Provider(_)) => "unavailable",
        };
        Act {
            action: "revoke",
            outcome,
            actor: Some(&caller.person),
            organization: Some(&caller.organization),
            authorization: Some(id),
            ..Act::default()
        }
        .record(call);
        result
    }

    /// Tells what a DELETE would do, and changes nothing.
    pub async fn forecast(&self, caller: &Caller, directory: &Directory, id: &AuthorizationId) -> Result<Forecast, RevokeError> {
        let found = self.revoker.store.authorization_to_revoke(&caller.organization, id).await?;
        let record = found.filter(|a| a.status != Status::Deleted).ok_or(RevokeError::NotFound)?;
        let workflows = if record.binding_count == 0 {
            Vec::new()
        } else {
            self.index.bindings_of(&caller.organization, id, None, WORKFLOWS_NAMED).await?
        };
        let provider_revocation = match directory.connection(&record.connection) {
            None => false,
            Some(connection) => self.metadata.supports_revocation(connection).await.map_err(RevokeError::Provider)?,
        };
        Ok(Forecast { deletable: record.binding_count == 0, workflows, workflow_count: record.binding_count, provider_revocation })
    }
}

impl Revoker {
    /// Steps 2 and 3.
    pub async fn settle(&self, call: &Call, directory: &Directory, record: &Authorization) -> Result<Settled, Unavailable> {
        let now = self.clock.now();
        let asked = if call.has(REVOCATION_TIME, now) { self.ask(directory, record).await } else { None };
        let receipt = match &asked {
            Some(Ok(Receipt::Revoked)) => "provider revoked",
            Some(Ok(Receipt::Unsupported)) => "provider cannot revoke",
            Some(Err(error)) => {
                log(call, "the provider did not revoke", error);
                "provider did not revoke"
            }
            None => "no time to ask",
        };
        let done = matches!(asked, Some(Ok(_)));
        let patience_ends = record.revoked_at.unwrap_or(now).saturating_add(REVOCATION_PATIENCE);
        let settled = if done || now >= patience_ends {
            self.store.finish_revocation(record, now).await?;
            Settled::Gone
        } else {
            let due_at = schedule::retry_at(&record.id, now, 4, None);
            self.store.postpone_revocation(record, due_at).await?;
            Settled::Postponed
        };
        Act {
            action: "provider_revocation",
            outcome: match settled {
                Settled::Gone => "gone",
                Settled::Postponed => "postponed",
            },
            organization: Some(&record.organization),
            authorization: Some(&record.id),
            detail: Some(receipt),
            ..Act::default()
        }
        .record(call);
        Ok(settled)
    }

    async fn ask(&self, directory: &Directory, record: &Authorization) -> Option<Result<Receipt, ProviderError>> {
        // A connection that was removed from the directory cannot be asked any more.
        let Some(connection) = directory.connection(&record.connection) else { return Some(Ok(Receipt::Unsupported)) };
        let (refresh, access) = match self.tokens(record).await {
            Ok(tokens) => tokens,
            Err(CipherError::Unavailable(unavailable)) => return Some(Err(unavailable.into())),
            Err(CipherError::Broken { .. }) => return Some(Err(ProviderError::AnswerInvalid { why: "the stored tokens do not open" })),
        };
        if refresh.is_none() && access.is_none() {
            return Some(Ok(Receipt::Revoked));
        }
        Some(self.revocations.revoke_tokens(connection, refresh.as_ref(), access.as_ref()).await)
    }

    async fn tokens(&self, record: &Authorization) -> Result<(Option<Secret>, Option<Secret>), CipherError> {
        let Some(credential) = &record.credential else { return Ok((None, None)) };
        let refresh = match &credential.refresh {
            Some(sealed) => Some(self.cipher.open(context(record, TokenField::Refresh, record.generation), sealed).await?),
            None => None,
        };
        let access = match &credential.access {
            Some(sealed) => Some(self.cipher.open(context(record, TokenField::Access, record.generation), sealed).await?),
            None => None,
        };
        Ok((refresh, access))
    }
}

fn log(call: &Call, what: &'static str, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(request_id = call.request_id.as_str(), error, "{what}");
}
