//! Hand a fresh access token to a workflow that is bound to the authorization (contract section 9).
//!
//! 1. Authorization and binding are read in one consistent call.
//! 2. A token that lives long enough is opened and handed out. Nothing else happens.
//! 3. Otherwise it is refreshed first. Of many callers one takes the lease; the others poll and hand out what it stored.
//! 4. If the refresh fails in passing, a token that is still valid is handed out as it is, `degraded`.

use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::audit::Act;
use super::refresh::{REFRESH_TIME, Refreshed, Refresher, may_claim};
use super::{Call, within};
use crate::domain::authorization::{Authorization, Reason, Status};
use crate::domain::caller::Caller;
use crate::domain::directory::Directory;
use crate::domain::ids::{AuthorizationId, WorkflowId};
use crate::domain::schedule;
use crate::domain::scopes::Scopes;
use crate::domain::secret::Secret;
use crate::ports::Unavailable;
use crate::ports::cipher::CipherError;
use crate::ports::clock::Clock;
use crate::ports::store::{HandOutReads, RefreshStore};

/// How long a caller with a valid token waits for another's refresh: the provider's time limit and a commit.
const WAIT_AT_MOST: Duration = Duration::seconds(11);
/// The most that a caller is asked to wait.
const RETRY_AT_MOST: Duration = Duration::minutes(1);
/// What a caller is asked to wait when nothing better is known.
const RETRY_AFTER: Duration = Duration::seconds(5);

/// How long a hand-out waits for the note of its use: a token is not kept back for it.
const NOTE_TIME: Duration = Duration::SECOND;

/// The use case with what it needs.
pub struct HandOut {
    /// Reads.
    pub reads: Arc<dyn HandOutReads>,
    /// Claims, re-reads, and the note of use.
    pub store: Arc<dyn RefreshStore>,
    /// Refreshes.
    pub refresher: Arc<Refresher>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What a workflow asks for.
#[derive(Debug)]
pub struct Request {
    /// The authorization.
    pub authorization: AuthorizationId,
    /// The workflow, which must be bound to it.
    pub workflow: WorkflowId,
    /// How long the token must live at least: 0–3600 s.
    pub min_ttl: Duration,
    /// The generation that the workflow's last call was refused with.
    pub rejected_generation: Option<u64>,
}

/// An access token, handed out.
#[derive(Debug)]
pub struct Token {
    /// The token.
    pub access_token: Secret,
    /// When it ends.
    pub expires_at: OffsetDateTime,
    /// How long it lives from now.
    pub expires_in: Duration,
    /// What it is good for.
    pub scopes: Scopes,
    /// Its number.
    pub generation: u64,
    /// Whether it lives shorter than asked for, because no new one could be had.
    pub degraded: bool,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum HandOutError {
    /// The workflow is not bound to that authorization in this organization.
    #[error("workflow is not bound to the authorization")]
    NotBound,
    /// The caller's token was made for another workflow.
    #[error("token is for another workflow")]
    OtherWorkflow,
    /// A person has to sign in again.
    #[error("a person has to sign in again: {}", .0.as_str())]
    NeedsReauthorization(Reason),
    /// The stored token has ended and a new one cannot be had at present.
    #[error("provider is not available")]
    ProviderUnavailable {
        /// When to ask again.
        retry_after: Duration,
    },
    /// A part of ours is down.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The stored token does not open.
    #[error("failed to open the stored token")]
    Cipher(#[source] CipherError),
}

impl From<CipherError> for HandOutError {
    fn from(error: CipherError) -> Self {
        match error {
            CipherError::Unavailable(unavailable) => Self::Unavailable(unavailable),
            broken @ CipherError::Broken { .. } => Self::Cipher(broken),
        }
    }
}

impl HandOut {
    /// Hands out a token to the caller's workflow.
    pub async fn hand_out(&self, call: &Call, caller: &Caller, directory: &Directory, request: &Request) -> Result<Token, HandOutError> {
        let result = self.token(call, caller, directory, request).await;
        let outcome = match &result {
            Ok(token) if token.degraded => "degraded",
            Ok(_) => "ok",
            Err(HandOutError::NotBound) => "workflow_not_bound",
            Err(HandOutError::OtherWorkflow) => "workflow_claim_mismatch",
            Err(HandOutError::NeedsReauthorization(_)) => "needs_reauthorization",
            Err(HandOutError::ProviderUnavailable { .. }) => "provider_unavailable",
            Err(HandOutError::Unavailable(_)) => "unavailable",
            Err(HandOutError::Cipher(_)) => "undecryptable",
        };
        Act {
            action: "hand_out",
            outcome,
            actor: Some(&caller.person),
            organization: Some(&caller.organization),
            authorization: Some(&request.authorization),
            workflow: Some(&request.workflow),
            ..Act::default()
        }
        .record(call);
        result
    }

    async fn token(&self, call: &Call, caller: &Caller, directory: &Directory, request: &Request) -> Result<Token, HandOutError> {
        if caller.workflow.as_ref().is_some_and(|only| *only != request.workflow) {
            return Err(HandOutError::OtherWorkflow);
        }
        let found = self.reads.authorization_with_binding(&caller.organization, &request.authorization, &request.workflow).await?;
        let (Some(mut read), Some(binding)) = found else { return Err(HandOutError::NotBound) };
        if binding.authorization != read.id {
            return Err(HandOutError::NotBound);
        }
        let (found_generation, found_failures) = (read.generation, read.failed_attempts);
        let began = self.clock.now();
        let mut wait = Duration::milliseconds(100);
        loop {
            match read.status {
                Status::Active => {}
                Status::NeedsReauthorization(reason) => return Err(HandOutError::NeedsReauthorization(reason)),
                Status::Revoking | Status::Deleted => return Err(HandOutError::NotBound),
            }
            let now = self.clock.now();
            let rejected = request.rejected_generation == Some(read.generation);
            // Whoever waited for a refresh takes its result, even where the provider's tokens live shorter than asked for: asking
            // again would not make them live longer.
            let just_refreshed = read.generation > found_generation;
            if (read.is_fresh(now, request.min_ttl) || just_refreshed) && !rejected {
                return self.open(call, &read, false).await;
            }
            if !read.is_refreshable() {
                return self.unrefreshable(&call.on_behalf_of(&caller.person, Some(&request.workflow)), &read, now).await;
            }
            // One refresh for all who came together, whichever way it went; and nobody with a valid token waits for a dead one.
            let failed_meanwhile = read.failed_attempts > found_failures;
            let waited_enough = now - began > WAIT_AT_MOST && read.access_expires_at > now;
            if failed_meanwhile || (waited_enough && !rejected) {
                return self.make_do(call, &read, read.due_at.map(|due| due - now)).await;
            }
            let Some(connection) = directory.connection(&read.connection) else { return self.make_do(call, &read, None).await };
            if !call.has(REFRESH_TIME, now) {
                return self.make_do(call, &read, None).await;
            }
            if let Some(frozen) = self.refresher.traffic.frozen(&connection.id) {
                return self.make_do(call, &read, Some(frozen.until - now)).await;
            }
            let claimable = may_claim(connection, &read, now);
            if !claimable && read.lease.is_some() && !read.is_leased(now) {
                return self.make_do(call, &read, None).await;
            }
            let claim = if claimable { self.store.claim_refresh(&read, &self.refresher.lease()?, now).await } else { Ok(None) };
            let claimed = match claim {
                Ok(claimed) => claimed,
                // A table that takes no writes does not withhold a valid token.
                Err(error) => return self.make_do(call, &read, None).await.map_err(|_| error.into()),
            };
            if let Some(claimed) = claimed {
                let on_behalf = call.on_behalf_of(&caller.person, Some(&request.workflow));
                match self.refresher.refresh(&on_behalf, connection, &claimed, true, read.lease.is_some()).await {
                    Ok(Refreshed::Renewed(authorization, access_token)) => {
                        return Ok(self.describe(&authorization, access_token, false));
                    }
                    Ok(Refreshed::Ended(reason)) => return Err(HandOutError::NeedsReauthorization(reason)),
                    Ok(Refreshed::Passing { retry_after }) => return self.make_do(call, &read, retry_after).await,
                    Ok(Refreshed::Superseded) => {}
                    Err(error) => {
                        // The refresh token could not be opened or sealed; the access token may still be.
                        return self.make_do(call, &read, None).await.map_err(|_| error.into());
                    }
                }
            } else {
                self.clock.sleep(wait).await;
                wait = (wait * 2_i32).min(Duration::seconds(1));
            }
            read = match self.store.authorization(&caller.organization, &request.authorization).await {
                Ok(again) => again.ok_or(HandOutError::NotBound)?,
                // Nor does one that cannot be read a second time.
                Err(error) => return self.make_do(call, &read, None).await.map_err(|_| error.into()),
            };
        }
    }

    /// Without a refresh token there is only the stored token, for as long as it lives.
    async fn unrefreshable(&self, call: &Call, read: &Authorization, now: OffsetDateTime) -> Result<Token, HandOutError> {
        if read.access_expires_at > now {
            return self.open(call, read, true).await;
        }
        match self.refresher.end(call, read, Reason::NoRefreshToken).await {
            Refreshed::Superseded | Refreshed::Passing { .. } => Err(HandOutError::ProviderUnavailable { retry_after: RETRY_AFTER }),
            Refreshed::Ended(_) | Refreshed::Renewed(..) => Err(HandOutError::NeedsReauthorization(Reason::NoRefreshToken)),
        }
    }

    /// Step 4.
    async fn make_do(&self, call: &Call, read: &Authorization, retry_after: Option<Duration>) -> Result<Token, HandOutError> {
        if read.access_expires_at > self.clock.now() {
            self.open(call, read, true).await
        } else {
            Err(HandOutError::ProviderUnavailable {
                retry_after: retry_after.unwrap_or(RETRY_AFTER).clamp(Duration::SECOND, RETRY_AT_MOST),
            })
        }
    }

    /// Hands out the stored token, and notes that it is in use.
    async fn open(&self, call: &Call, read: &Authorization, degraded: bool) -> Result<Token, HandOutError> {
        self.note_use(call, read, self.clock.now()).await;
        let access_token = self.refresher.open_access_token(call, read).await?;
        Ok(self.describe(read, access_token, degraded))
    }

    fn describe(&self, authorization: &Authorization, access_token: Secret, degraded: bool) -> Token {
        Token {
            access_token,
            expires_at: authorization.access_expires_at,
            expires_in: (authorization.access_expires_at - self.clock.now()).max(Duration::ZERO),
            scopes: authorization.scopes.clone(),
            generation: authorization.generation,
            degraded,
        }
    }

    /// Once for every access token, and once an hour. It tells the schedule to renew the token before it ends; if it fails, nothing is
    /// lost.
    async fn note_use(&self, call: &Call, read: &Authorization, now: OffsetDateTime) {
        if read.use_is_noted(now) {
            return;
        }
        let ahead = schedule::ahead_of(&read.id, read.issued_at(), read.access_expires_at);
        let due_at = read.is_refreshable().then(|| read.due_at.map_or(ahead, |due| due.min(ahead)));
        match within(self.clock.as_ref(), NOTE_TIME, self.store.mark_used(read, now, due_at)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(
                request_id = call.request_id.as_str(),
                error = &error as &dyn std::error::Error,
                "the use of an authorization is not noted"
            ),
            None => tracing::warn!(request_id = call.request_id.as_str(), "noting the use of an authorization takes too long"),
        }
    }
}
