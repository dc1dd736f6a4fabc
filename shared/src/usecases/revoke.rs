//! Revoke an authorization that no workflow needs any more (contract section 8).
//!
//! 1. One conditional update makes it `revoking`, if nothing is bound. From its answer on nothing is handed out (I11).
//! 2. The provider is asked to revoke, refresh token first (RFC 7009). The audit trail keeps the receipt.
//! 3. The ciphertext is destroyed and a tombstone stays. A provider that fails does not stop the deletion: the schedule asks again
//!    for seven days.

use std::sync::Arc;

use time::Duration;

use super::announce::Announcer;
use super::audit::{Act, receipt};
use super::refresh::{context, failing};
use super::{Call, attempt, within};
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
use crate::ports::provider::{ProviderError, ProviderMetadata, Revocation, Revocations, Revoked};
use crate::ports::store::{Kept, OrganizationIndex, RevocationStart, RevocationStore};

/// How many workflows a refusal names.
const WORKFLOWS_NAMED: usize = 100;
/// What must remain of the function's time before the provider is asked.
const REVOCATION_TIME: Duration = Duration::seconds(12);
/// What must remain of it when the provider's answer is waited for no longer: the record is still to be settled.
const SETTLE_TIME: Duration = Duration::seconds(3);

/// The use case with what it needs.
pub struct Revoke {
    /// Which workflows stand in the way.
    pub index: Arc<dyn OrganizationIndex>,
    /// Tells of changes.
    pub announcer: Arc<Announcer>,
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
        let result = self.revoke_noting(call, caller, directory, id).await;
        let outcome = match &result {
            Ok(()) => "ok",
            Err(RevokeError::NotFound) => "authorization_not_found",
            Err(RevokeError::InUse { .. }) => "authorization_in_use",
            Err(RevokeError::Unavailable(_)) => "unavailable",
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

    async fn revoke_noting(&self, call: &Call, caller: &Caller, directory: &Directory, id: &AuthorizationId) -> Result<(), RevokeError> {
        let now = self.revoker.clock.now();
        let attempt = attempt(self.entropy.as_ref())?;
        match self.revoker.store.begin_revocation(&caller.organization, id, &attempt, now).await? {
            RevocationStart::Begun(mut record) => {
                self.announcer.announce(call, &mut record).await;
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
        }
    }

    /// Tells what a DELETE would do, and changes nothing. A provider that does not answer is no reason to fail here either.
    pub async fn forecast(
        &self,
        call: &Call,
        caller: &Caller,
        directory: &Directory,
        id: &AuthorizationId,
    ) -> Result<Forecast, RevokeError> {
        let found = self.revoker.store.authorization_to_revoke(&caller.organization, id).await?;
        let record = found.filter(|a| a.status != Status::Deleted).ok_or(RevokeError::NotFound)?;
        let workflows = if record.binding_count == 0 {
            Vec::new()
        } else {
            self.index.bindings_of(&caller.organization, id, None, WORKFLOWS_NAMED).await?
        };
        let provider_revocation = match directory.connection(&record.connection) {
            None => false,
            Some(connection) => self.metadata.supports_revocation(connection).await.unwrap_or_else(|error| {
                log(call, "the provider's metadata does not say whether it revokes", &error);
                false
            }),
        };
        Ok(Forecast { deletable: record.binding_count == 0, workflows, workflow_count: record.binding_count, provider_revocation })
    }
}

impl Revoker {
    /// Steps 2 and 3. The receipt is recorded whatever becomes of the record, and what is left to be announced stays in it.
    pub async fn settle(&self, call: &Call, directory: &Directory, record: &Authorization) -> Result<Settled, Unavailable> {
        let asked = self.ask(call, directory, record).await;
        let now = self.clock.now();
        let revoked_at = record.revoked_at.unwrap_or(now);
        let patience_ends = revoked_at.saturating_add(REVOCATION_PATIENCE);
        let settled = if matches!(asked, Asked { revocation: Some(Revocation { outcome: Ok(_), .. }), .. }) || now >= patience_ends {
            self.store.finish_revocation(record, now).await.map(|()| Settled::Gone)
        } else {
            let retry_at = schedule::revoke_again(&record.id, revoked_at, now, asked.retry_after());
            self.store.postpone_revocation(record, asked.kept, failing(record, retry_at, now)).await.map(|()| Settled::Postponed)
        };
        Act {
            action: "provider_revocation",
            outcome: match settled {
                Ok(Settled::Gone) => "gone",
                Ok(Settled::Postponed) => "postponed",
                Err(_) => "not_stored",
            },
            organization: Some(&record.organization),
            authorization: Some(&record.id),
            detail: Some(&asked.told(call)),
            ..Act::default()
        }
        .record(call);
        settled
    }

    /// Step 2, for as long as there is time.
    async fn ask(&self, call: &Call, directory: &Directory, record: &Authorization) -> Asked {
        let nothing_asked = |outcome| Some(Revocation { receipts: Vec::new(), outcome });
        // A connection that was removed from the directory cannot be asked any more.
        let Some(connection) = directory.connection(&record.connection) else {
            return Asked { revocation: nothing_asked(Ok(Revoked::Unsupported)), kept: Kept::RefreshToken };
        };
        let kept = if connection.revokes_by_access_token() { Kept::Both } else { Kept::RefreshToken };
        if !call.has(REVOCATION_TIME, self.clock.now()) {
            return Asked { revocation: None, kept };
        }
        let revocation = match self.tokens(record).await {
            Ok((None, None)) => nothing_asked(Ok(Revoked::Done)),
            Ok((refresh, access)) => {
                let limit = call.deadline - SETTLE_TIME - self.clock.now();
                within(self.clock.as_ref(), limit, self.revocations.revoke_tokens(connection, refresh.as_ref(), access.as_ref())).await
            }
            Err(CipherError::Unavailable(unavailable)) => nothing_asked(Err(unavailable.into())),
            Err(CipherError::Broken { .. }) => nothing_asked(Err(ProviderError::AnswerInvalid { why: "the stored tokens do not open" })),
        };
        Asked { revocation, kept }
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

/// What came of step 2.
struct Asked {
    /// Absent if there was no time, or not enough for an answer.
    revocation: Option<Revocation>,
    /// What the next try needs.
    kept: Kept,
}

impl Asked {
    fn retry_after(&self) -> Option<Duration> {
        match &self.revocation.as_ref()?.outcome {
            Err(ProviderError::Unavailable { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }

    /// The receipt.
    fn told(&self, call: &Call) -> String {
        const WHOSE: &str = "stored tokens";
        let Some(revocation) = &self.revocation else { return format!("{WHOSE}: no time to ask, or for the answer") };
        if let Err(error) = &revocation.outcome {
            log(call, "the provider did not revoke", error);
        }
        receipt(WHOSE, revocation)
    }
}

fn log(call: &Call, what: &'static str, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(request_id = call.request_id.as_str(), error, "{what}");
}
