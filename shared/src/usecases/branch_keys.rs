//! The life of branch keys: the schedule and operators rotate them, operators retire old versions (design section 4).
//!
//! A version may be retired once nothing names it any more, which is found out without reading the whole table:
//!
//! 1. It must have stopped sealing so long ago that no sandbox seals with it, and nothing that waits in the rescue queue is sealed
//!    with it. What is written after that is sealed with a later version.
//! 2. So only authorizations whose tokens were stored before can name it. The index tells which those are (I5: a hint, and for
//!    writes of weeks ago a settled one).
//! 3. Of each of those the item itself is read: its ciphertexts say which version opens them.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use time::{Duration, OffsetDateTime};

use super::Call;
use super::audit::Act;
use crate::domain::authorization::Authorization;
use crate::domain::ids::{AuthorizationId, OrganizationId};
use crate::ports::Unavailable;
use crate::ports::cipher::{BranchKeyLife, BranchKeys, CipherError, KeyDue, Rotated};
use crate::ports::clock::Clock;
use crate::ports::store::{IndexEntry, OrganizationIndex, PageQuery, RefreshStore};

/// For so long a sandbox may go on sealing with the version it knows: an hour while KMS is down, and what it has under way.
const SEALED_ON_FOR: Duration = Duration::hours(2);
/// For so long sealed tokens may wait in the rescue queue (14 days), and a day more.
const WAITED_FOR: Duration = Duration::days(15);
/// What must remain of the function's time for the next step.
const STEP_TIME: Duration = Duration::seconds(10);
/// How many organizations are read from the schedule at a time.
const BATCH: usize = 100;
/// How many authorizations are read at once, and shown of one page of the index.
const AT_ONCE: usize = 8;
const PAGE: usize = 1000;
/// How many authorizations a refusal names.
const NAMED: usize = 25;

/// The use case with what it needs.
pub struct BranchKeyCare {
    /// Makes keys.
    pub life: Arc<dyn BranchKeyLife>,
    /// Where they are kept.
    pub keys: Arc<dyn BranchKeys>,
    /// Which authorizations there are.
    pub index: Arc<dyn OrganizationIndex>,
    /// The authorizations themselves.
    pub store: Arc<dyn RefreshStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What a scheduled rotation did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Rotations {
    /// Organizations with a new version.
    pub rotated: u64,
    /// Organizations whose old version seals on, until the next run.
    pub failed: u64,
}

/// What became of a version that was to be retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retirement {
    /// It is gone, or was before.
    Retired,
    /// Nothing was done.
    Refused(Refusal),
}

/// Why a version is not retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such version.
    Unknown,
    /// It seals at present.
    Seals,
    /// It stopped sealing too short a time ago.
    TooEarly {
        /// When it may be asked again.
        not_before: OffsetDateTime,
    },
    /// Tokens are sealed with it.
    InUse {
        /// Of some of these authorizations.
        authorizations: Vec<AuthorizationId>,
    },
    /// There are too many authorizations to look through in one run.
    NotKnown,
}

impl BranchKeyCare {
    /// Rotates what is due. One organization's failure is its own.
    pub async fn rotate_due(&self, call: &Call) -> Result<Rotations, Unavailable> {
        let now = self.clock.now();
        let (mut rotations, mut after) = (Rotations::default(), None::<KeyDue>);
        loop {
            let batch = self.keys.keys_due(now, BATCH, after.as_ref()).await?;
            for due in &batch {
                if !call.has(STEP_TIME, self.clock.now()) {
                    return Ok(rotations);
                }
                match self.rotate(call, &due.organization).await {
                    Ok(_) => rotations.rotated += 1,
                    Err(_) => rotations.failed += 1,
                }
            }
            if batch.len() < BATCH {
                return Ok(rotations);
            }
            after = batch.into_iter().next_back();
        }
    }

    /// Rotates the key of one organization now. `None` if it has none yet: the first token makes one.
    pub async fn rotate(&self, call: &Call, organization: &OrganizationId) -> Result<Option<Rotated>, CipherError> {
        let result = self.life.rotate(organization).await;
        let (outcome, detail) = match &result {
            Ok(Some(Rotated { from, to })) => ("ok", Some(format!("v{from} to v{to}"))),
            Ok(None) => ("no_key", None),
            Err(error) => {
                tracing::error!(
                    metric = "branch_key_rotation_failed",
                    request_id = call.request_id.as_str(),
                    organization = organization.as_str(),
                    error = error as &dyn std::error::Error,
                    "a branch key is not rotated; the old version seals on"
                );
                ("failed", None)
            }
        };
        record(call, "rotate_branch_key", outcome, organization, detail.as_deref());
        result
    }

    /// Destroys an old version of an organization's key, unless something still needs it.
    pub async fn retire(&self, call: &Call, organization: &OrganizationId, version: u32) -> Result<Retirement, Unavailable> {
        let refusal = self.refusal(call, organization, version).await?;
        let (outcome, retirement) = match refusal {
            None => {
                self.keys.destroy_branch_key(organization, version, self.clock.now()).await?;
                ("ok", Retirement::Retired)
            }
            Some(refusal) => (refusal.as_str(), Retirement::Refused(refusal)),
        };
        record(call, "retire_branch_key", outcome, organization, Some(&format!("v{version}")));
        Ok(retirement)
    }

    async fn refusal(&self, call: &Call, organization: &OrganizationId, version: u32) -> Result<Option<Refusal>, Unavailable> {
        let Some(first) = self.keys.branch_key(organization, 1).await? else { return Ok(Some(Refusal::Unknown)) };
        let sealing = first.sealing;
        if version == 0 || version > sealing.version {
            return Ok(Some(Refusal::Unknown));
        }
        if version == sealing.version {
            return Ok(Some(Refusal::Seals));
        }
        // Step 1. When the version that seals now began to, all earlier ones had stopped.
        let not_before = sealing.since + WAITED_FOR;
        if self.clock.now() < not_before {
            return Ok(Some(Refusal::TooEarly { not_before }));
        }
        let (mut named, mut after) = (Vec::new(), None);
        loop {
            if !call.has(STEP_TIME, self.clock.now()) {
                return Ok(Some(Refusal::NotKnown));
            }
            // Step 2.
            let page = self.index.page(organization, &PageQuery { after, limit: PAGE, bindings_each: 0 }).await?;
            let stored_at = |entry: &IndexEntry| entry.last_refreshed_at.unwrap_or(entry.created_at).max(entry.created_at);
            let candidates = page.entries.into_iter().filter(|entry| stored_at(entry) < sealing.since + SEALED_ON_FOR);
            // Step 3.
            let read = stream::iter(candidates).map(|entry| async move { self.store.authorization(organization, &entry.id).await });
            let records: Vec<Option<Authorization>> = read.buffer_unordered(AT_ONCE).try_collect().await?;
            named.extend(records.into_iter().flatten().filter(|record| self.names(record, version)).map(|record| record.id));
            if named.len() >= NAMED || page.next.is_none() {
                break;
            }
            after = page.next;
        }
        named.sort();
        named.truncate(NAMED);
        Ok((!named.is_empty()).then_some(Refusal::InUse { authorizations: named }))
    }

    fn names(&self, record: &Authorization, version: u32) -> bool {
        let sealed = record.credential.iter().flat_map(|credential| [&credential.access, &credential.refresh]).flatten();
        sealed.into_iter().any(|ciphertext| self.life.version_of(ciphertext) == Some(version))
    }
}

impl Refusal {
    /// The reason in a word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown_version",
            Self::Seals => "version_seals",
            Self::TooEarly { .. } => "too_early",
            Self::InUse { .. } => "in_use",
            Self::NotKnown => "not_known",
        }
    }
}

fn record(call: &Call, action: &'static str, outcome: &str, organization: &OrganizationId, detail: Option<&str>) {
    Act { action, outcome, organization: Some(organization), detail, ..Act::default() }.record(call);
}
