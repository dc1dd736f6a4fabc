//! Refresh one authorization: the path that hand-outs, checks and the schedule share (design section 5).
//!
//! 1. The caller has claimed the lease by one conditional update.
//! 2. Everything of ours that the commit needs is at hand before anything is sent (I7), and enough time remains.
//! 3. The provider is asked, once; or twice where it takes a rotated token for a while and the first answer is lost. During an
//!    incident at the connection nobody is asked ([`super::traffic`]).
//! 4. The commit is the next await after the parsed answer, conditional on lease owner and version.
//! 5. If the store does not take it within seconds, the sealed tokens go to the rescue queue, well before the lease ends; if that does
//!    not take them either, both are tried until the function ends.
//! 6. If somebody revoked meanwhile, the new tokens are revoked too (I12).
//!
//! What an answer means: `invalid_grant` ends the authorization, if the record is still as it was when the token was sent (I10).
//! Everything else passes: the lease is given back, and the schedule tries again.

use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::announce::Announcer;
use super::audit::{Act, tokens_given_back};
use super::signals::Signal;
use super::traffic::{Frozen, Traffic};
use super::{Call, attempt, within};
use crate::domain::authorization::{AccessLifetime, Authorization, Lease, Reason, SealedCredential, Status, reauthorize_by};
use crate::domain::connection::Connection;
use crate::domain::schedule::{self, Life};
use crate::domain::secret::Secret;
use crate::ports::Unavailable;
use crate::ports::cipher::{CipherError, Salt, SealContext, Sealer, TokenCipher, TokenField};
use crate::ports::clock::{Clock, Entropy};
use crate::ports::provider::{ProviderError, RefreshAnswer, Refreshes, Revocations, TokenAnswer, Verdict};
use crate::ports::store::{Committed, RefreshCommit, RefreshFailure, RefreshStore, RescueQueue, Rescued};

/// How long a lease lasts: longer than the provider's time limit and a commit together, with a margin for clocks.
pub const LEASE: Duration = Duration::seconds(30);
/// What must remain of the function's time before a refresh token is sent: the provider's time limit and a commit.
pub const REFRESH_TIME: Duration = Duration::seconds(13);

/// For how long the table is asked to take refreshed tokens before the rescue queue is: far less than a lease.
const COMMIT_PATIENCE: Duration = Duration::seconds(8);
/// What the rescue queue may take of the function's time.
const RESCUE_TIME: Duration = Duration::seconds(4);
/// What must remain of a lease when a refresh token is sent: the provider's time limit, and the time to keep what it answers. Whoever
/// takes the lease over presents the same token again, so the new one has to be safe somewhere by then.
const ASKING_TIME: Duration = Duration::seconds(22);
/// What must remain of a lease after the provider was asked.
const KEEPING_TIME: Duration = Duration::seconds(12);
/// What must remain of the function's time after the provider was asked.
const COMMIT_TIME: Duration = Duration::seconds(3);
/// A second answer is not waited for any shorter than this.
const SECOND_ANSWER_TIME: Duration = Duration::seconds(2);
/// How long a request may be on its way to a provider.
const TRANSIT_TIME: Duration = Duration::seconds(2);
/// From this grace on a lost answer is asked for again at once.
const USEFUL_GRACE: Duration = Duration::seconds(5);
/// How long the first answer is waited for where it can be asked for again, at most half of the grace.
const FIRST_ANSWER_TIME: Duration = Duration::seconds(5);

/// The shared path with what it needs.
pub struct Refresher {
    /// Commits and gives up.
    pub store: Arc<dyn RefreshStore>,
    /// Redeems refresh tokens.
    pub refreshes: Arc<dyn Refreshes>,
    /// Revokes what came too late.
    pub revocations: Arc<dyn Revocations>,
    /// Opens and seals.
    pub cipher: Arc<dyn TokenCipher>,
    /// The second sink.
    pub rescue: Arc<dyn RescueQueue>,
    /// Tells of changes.
    pub announcer: Arc<Announcer>,
    /// How many refreshes at once, and none during an incident.
    pub traffic: Arc<Traffic>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// What became of a claimed refresh.
#[derive(Debug)]
pub enum Refreshed {
    /// A new access token. The record is as the commit made it.
    Renewed(Box<Authorization>, Secret),
    /// A person has to sign in again.
    Ended(Reason),
    /// It failed in passing; the stored token is what there is.
    Passing {
        /// When the provider wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Somebody else has changed the record meanwhile.
    Superseded,
}

/// Why the tokens of a rescued commit were not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeRescuedError {
    /// They do not open.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// The provider did not revoke.
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

/// Random material that the commit will need, taken before anything is sent.
struct AtHand {
    refresh_token: Secret,
    sealer: Arc<dyn Sealer>,
    salts: [Salt; 2],
}

impl Refresher {
    /// A lease for a claim.
    pub fn lease(&self) -> Result<Lease, Unavailable> {
        Ok(Lease { owner: attempt(self.entropy.as_ref())?, until: self.clock.now() + LEASE })
    }

    /// Refreshes a claimed authorization. `for_workflow` says that the token will be handed out at once; `taken_over`, that the lease
    /// was somebody else's who died. Such a lease is not given back, but ends by itself: for as long as the rescue queue may hold the
    /// successor of the refresh token, nobody is to find the record free.
    pub async fn refresh(
        &self,
        call: &Call,
        connection: &Connection,
        claimed: &Authorization,
        for_workflow: bool,
        taken_over: bool,
    ) -> Result<Refreshed, CipherError> {
        let returned = Authorization { lease: claimed.lease.clone().filter(|_| !taken_over), ..claimed.clone() };
        let at_hand = match self.at_hand(claimed).await {
            Ok(at_hand) => at_hand,
            Err(error @ CipherError::Unavailable(_)) => {
                self.release(call, &returned, None).await;
                return Err(error);
            }
            Err(error @ CipherError::Broken { .. }) => {
                self.quarantine(call, claimed, &error).await;
                return Err(error);
            }
        };
        if let Err(error) = self.refreshes.prepare_refresh(connection).await {
            self.traffic.answered::<()>(call, &connection.id, Err(&error));
            return Ok(self.failed_before(call, &returned, &error).await);
        }
        let latest = (call.deadline - REFRESH_TIME).min(lease_until(call, claimed) - ASKING_TIME);
        let under_way = match self.traffic.begin(&connection.id, connection.max_concurrent_refreshes, latest).await {
            Ok(under_way) => under_way,
            Err(frozen) => return Ok(self.put_off(call, &returned, frozen).await),
        };
        let (answer, in_doubt) = self.ask(call, connection, claimed, &at_hand.refresh_token).await;
        drop(under_way);
        self.traffic.answered(call, &connection.id, answer.as_ref());
        match answer {
            Ok(RefreshAnswer { tokens, identity: Ok(()) }) => self.commit(call, connection, claimed, tokens, at_hand, for_workflow).await,
            Ok(RefreshAnswer { tokens, identity: Err(error @ ProviderError::IdentityChanged) }) => {
                log(call, claimed, "a refresh answered for somebody else", &error);
                record(call, claimed, "refresh", "identity_revoked", None);
                self.revoke(call, connection, claimed, "tokens of another identity", &tokens).await;
                Ok(self.end(call, claimed, Reason::IdentityRevoked).await)
            }
            // The tokens came from the token endpoint over TLS, and the old refresh token may be spent: they are kept.
            Ok(RefreshAnswer { tokens, identity: Err(error) }) => {
                log(call, claimed, "the id_token of a refresh does not hold", &error);
                self.commit(call, connection, claimed, tokens, at_hand, for_workflow).await
            }
            Err(error) => {
                let doubted_since = claimed.outcome_unknown_since.or_else(|| in_doubt.then(|| self.clock.now()));
                let returned = Authorization { outcome_unknown_since: doubted_since, ..returned };
                Ok(self.failed(call, connection, claimed, &returned, &error).await)
            }
        }
    }

    /// Opens the stored access token. If it does not open, that is noted.
    pub async fn open_access_token(&self, call: &Call, read: &Authorization) -> Result<Secret, CipherError> {
        let sealed = read.credential.as_ref().and_then(|c| c.access.as_ref());
        let opened = match sealed {
            Some(sealed) => self.cipher.open(context(read, TokenField::Access, read.generation), sealed).await,
            None => Err(CipherError::Broken { field: TokenField::Access.as_str() }),
        };
        if let Err(error @ CipherError::Broken { .. }) = &opened {
            self.quarantine(call, read, error).await;
        }
        opened
    }

    /// Step 2.
    async fn at_hand(&self, claimed: &Authorization) -> Result<AtHand, CipherError> {
        let ciphertext =
            claimed.credential.as_ref().and_then(|c| c.refresh.as_ref()).ok_or(CipherError::Broken { field: "refresh_token" })?;
        let refresh_token = self.cipher.open(context(claimed, TokenField::Refresh, claimed.generation), ciphertext).await?;
        let sealer = self.cipher.sealer(&claimed.organization).await?;
        let salts = [sealer.reserve()?, sealer.reserve()?];
        Ok(AtHand { refresh_token, sealer, salts })
    }

    /// Step 3; and whether a first answer was lost, so that whatever the second is but tokens, the refresh token may be spent.
    async fn ask(
        &self,
        call: &Call,
        connection: &Connection,
        claimed: &Authorization,
        refresh_token: &Secret,
    ) -> (Result<RefreshAnswer, ProviderError>, bool) {
        let ask = || self.refreshes.refresh(connection, refresh_token, &claimed.identity.person);
        let grace = Duration::try_from(connection.rotation_grace).unwrap_or_default();
        if grace < USEFUL_GRACE {
            return (ask().await, false);
        }
        let first = within(self.clock.as_ref(), FIRST_ANSWER_TIME.min(grace / 2), ask()).await;
        let lost = match first.unwrap_or(Err(ProviderError::AnswerLost { source: None })) {
            Err(lost) if lost.verdict() == Verdict::Unclear => lost,
            answer => return (answer, false),
        };
        log(call, claimed, "the answer to a refresh is lost", &lost);
        let left = (call.deadline - COMMIT_TIME).min(lease_until(call, claimed) - KEEPING_TIME) - self.clock.now();
        if left < SECOND_ANSWER_TIME {
            return (Err(lost), true);
        }
        (within(self.clock.as_ref(), left, ask()).await.unwrap_or(Err(lost)), true)
    }

    /// Steps 4–6.
    async fn commit(
        &self,
        call: &Call,
        connection: &Connection,
        claimed: &Authorization,
        answer: TokenAnswer,
        at_hand: AtHand,
        for_workflow: bool,
    ) -> Result<Refreshed, CipherError> {
        let commit = self.sealed_commit(connection, claimed, &answer, at_hand, for_workflow)?;
        if answer.scopes.as_ref().is_some_and(|told| !claimed.scopes.covers(told)) {
            Signal::RefreshScopeGrowth.raise(call, "a refresh told of scopes that the person did not grant; they are not recorded");
        }
        let latest = call.deadline.min(lease_until(call, claimed));
        let give_up = latest.min(self.clock.now() + COMMIT_PATIENCE + RESCUE_TIME) - RESCUE_TIME;
        let mut wait = Duration::milliseconds(50);
        loop {
            let remaining = (give_up - self.clock.now()).max(wait);
            match within(self.clock.as_ref(), remaining, self.store.commit_refresh(claimed, &commit)).await {
                Some(Ok(Committed::Stored)) => break,
                Some(Ok(Committed::Superseded)) => return Ok(self.superseded(call, connection, claimed, &answer, &commit).await),
                Some(Err(error)) => log(call, claimed, "refreshed tokens are not stored yet", &error),
                None => tracing::warn!(request_id = call.request_id.as_str(), "the table takes too long to store refreshed tokens"),
            }
            // Whichever of the two takes the tokens first, until the function ends: they exist nowhere else.
            if self.clock.now() + wait >= give_up && self.rescue(call, claimed, &commit).await {
                break;
            }
            if !call.has(wait + wait, self.clock.now()) {
                lost(call, claimed);
                break;
            }
            self.clock.sleep(wait).await;
            wait = (wait * 2_i32).min(Duration::seconds(1));
        }
        record(call, claimed, "refresh", "ok", None);
        let renewed = after(claimed, &commit);
        self.warn_of_end(call, connection, claimed, &renewed).await;
        Ok(Refreshed::Renewed(Box::new(renewed), answer.access_token))
    }

    fn sealed_commit(
        &self,
        connection: &Connection,
        claimed: &Authorization,
        answer: &TokenAnswer,
        at_hand: AtHand,
        for_workflow: bool,
    ) -> Result<RefreshCommit, CipherError> {
        let AtHand { refresh_token, sealer, salts: [for_access, for_refresh] } = at_hand;
        let access = AccessLifetime::of(answer.requested_at, answer.expires_in, connection);
        let generation = claimed.generation + 1;
        // No new refresh token in the answer: the old one stays (RFC 6749 section 6), sealed anew for its generation.
        let refresh = answer.refresh_token.as_ref().unwrap_or(&refresh_token);
        let credential = SealedCredential {
            access: Some(sealer.seal(context(claimed, TokenField::Access, generation), &answer.access_token, for_access)?),
            refresh: Some(sealer.seal(context(claimed, TokenField::Refresh, generation), refresh, for_refresh)?),
        };
        let (refreshed_at, now) = (answer.requested_at, self.clock.now());
        let access_expires_at = access.expires_at();
        let life =
            Life { authorized_at: claimed.authorized_at, refreshed_at, access_expires_at, handed_out: for_workflow, refreshable: true };
        Ok(RefreshCommit {
            credential,
            // A refresh may narrow what was granted, and never widen it (RFC 6749 section 6).
            scopes: answer.scopes.as_ref().map_or_else(|| claimed.scopes.clone(), |told| claimed.scopes.common(told)),
            access_expires_at,
            access_lifetime: access.lifetime,
            reauthorize_by: reauthorize_by(connection, claimed.authorized_at, refreshed_at, access_expires_at, true),
            due_at: claimed.due_by(schedule::next_due(&claimed.id, connection, life), now),
            refreshed_at,
            used_at: for_workflow.then_some(now),
        })
    }

    /// The first refresh since the day of warning tells that the refresh token will end, however often it is renewed. That day is
    /// on the schedule, and of one day's commits only one follows an earlier day's: it is told once.
    async fn warn_of_end(&self, call: &Call, connection: &Connection, before: &Authorization, now: &Authorization) {
        let Some(warn_at) = schedule::warn_at(connection, before.authorized_at) else { return };
        let refreshed_before = before.last_refreshed_at.unwrap_or(before.authorized_at);
        if refreshed_before < warn_at && now.last_refreshed_at.is_some_and(|at| at >= warn_at) {
            self.announcer.ends_soon(call, now).await;
        }
    }

    /// Whether the second sink took the tokens.
    async fn rescue(&self, call: &Call, claimed: &Authorization, commit: &RefreshCommit) -> bool {
        let rescued = Rescued {
            organization: claimed.organization.clone(),
            authorization: claimed.id.clone(),
            generation: claimed.generation,
            owner: claimed.lease.as_ref().map(|lease| lease.owner.clone()).unwrap_or_default(),
            connection: claimed.connection.clone(),
            commit: commit.clone(),
        };
        match within(self.clock.as_ref(), RESCUE_TIME, self.rescue.rescue(&rescued)).await {
            Some(Ok(())) => {
                record(call, claimed, "rescue", "queued", None);
                return true;
            }
            Some(Err(error)) => log(call, claimed, "the rescue queue did not take refreshed tokens", &error),
            None => tracing::warn!(request_id = call.request_id.as_str(), "the rescue queue takes too long to take refreshed tokens"),
        }
        false
    }

    /// Step 6. What cannot be settled here, the rescue queue keeps until the schedule has settled it. Both are tried until the function
    /// ends.
    async fn superseded(
        &self,
        call: &Call,
        connection: &Connection,
        claimed: &Authorization,
        answer: &TokenAnswer,
        commit: &RefreshCommit,
    ) -> Refreshed {
        let mut wait = Duration::milliseconds(50);
        let detail = loop {
            if self.settle(call, connection, claimed, answer).await {
                break "settled";
            }
            if self.rescue(call, claimed, commit).await {
                break "left to the schedule";
            }
            if !call.has(RESCUE_TIME + wait, self.clock.now()) {
                lost(call, claimed);
                break "lost";
            }
            self.clock.sleep(wait).await;
            wait = (wait * 2_i32).min(Duration::seconds(1));
        };
        record(call, claimed, "refresh", "superseded", Some(detail));
        Refreshed::Superseded
    }

    /// Tokens of a record that somebody else has renewed, and nobody revoked, are left alone: revoking one could end the whole grant.
    /// Where nobody has renewed it, they are the only tokens that work, and where it is revoked they are to go.
    async fn settle(&self, call: &Call, connection: &Connection, claimed: &Authorization, answer: &TokenAnswer) -> bool {
        match self.store.authorization(&claimed.organization, &claimed.id).await {
            Ok(Some(now)) if !matches!(now.status, Status::Revoking | Status::Deleted) => now.generation > claimed.generation,
            Ok(_) => self.revoke(call, connection, claimed, "tokens of an overtaken refresh", answer).await,
            Err(error) => {
                log(call, claimed, "a superseded record was not read", &error);
                false
            }
        }
    }

    /// Revokes tokens that nobody may use; whether the provider has done so.
    async fn revoke(&self, call: &Call, connection: &Connection, claimed: &Authorization, why: &str, answer: &TokenAnswer) -> bool {
        let revocation = self.revocations.revoke_tokens(connection, answer.refresh_token.as_ref(), Some(&answer.access_token)).await;
        let by = Act { organization: Some(&claimed.organization), authorization: Some(&claimed.id), ..Act::default() };
        tokens_given_back(call, by, why, &revocation);
        match revocation.outcome {
            Ok(_) => true,
            Err(error) => {
                log(call, claimed, "tokens that nobody may use were not revoked", &error);
                false
            }
        }
    }

    /// Revokes the tokens of a rescued commit whose authorization was revoked meanwhile.
    pub async fn revoke_rescued(&self, call: &Call, connection: &Connection, rescued: &Rescued) -> Result<(), RevokeRescuedError> {
        let open = async |field, sealed: &Option<Vec<u8>>| match sealed {
            None => Ok(None),
            Some(sealed) => {
                let generation = rescued.generation + 1;
                let context = SealContext { organization: &rescued.organization, authorization: &rescued.authorization, field, generation };
                self.cipher.open(context, sealed).await.map(Some)
            }
        };
        let credential = &rescued.commit.credential;
        let refresh = open(TokenField::Refresh, &credential.refresh).await?;
        let access = open(TokenField::Access, &credential.access).await?;
        let revocation = self.revocations.revoke_tokens(connection, refresh.as_ref(), access.as_ref()).await;
        let by = Act { organization: Some(&rescued.organization), authorization: Some(&rescued.authorization), ..Act::default() };
        tokens_given_back(call, by, "tokens of a rescued refresh", &revocation);
        revocation.outcome?;
        Ok(())
    }

    /// Nothing was sent.
    async fn failed_before(&self, call: &Call, claimed: &Authorization, error: &ProviderError) -> Refreshed {
        log(call, claimed, "refresh was not begun", error);
        let retry_after = error.retry_after();
        self.release(call, claimed, retry_after).await;
        record(call, claimed, "refresh", "provider_unavailable", None);
        Refreshed::Passing { retry_after }
    }

    /// The provider did not give a token. What that means is the one table's word ([`ProviderError::verdict`]).
    async fn failed(
        &self,
        call: &Call,
        connection: &Connection,
        claimed: &Authorization,
        returned: &Authorization,
        error: &ProviderError,
    ) -> Refreshed {
        log(call, claimed, "refresh failed", error);
        let now = self.clock.now();
        let retry_after = error.retry_after();
        let outcome = match error.verdict() {
            Verdict::Terminal if self.traffic.believes_refusals(&connection.id) => {
                record(call, claimed, "refresh", "refused", None);
                return self.end(call, claimed, reason(returned, error, now)).await;
            }
            Verdict::Terminal => "refusal_not_believed",
            Verdict::Unclear => {
                self.release_unknown(call, connection, returned, now).await;
                let lost = matches!(error, ProviderError::AnswerLost { .. });
                record(call, claimed, "refresh", if lost { "answer_lost" } else { "answer_invalid" }, None);
                return Refreshed::Passing { retry_after };
            }
            Verdict::Passing if matches!(error, ProviderError::Unavailable { .. }) => "provider_unavailable",
            Verdict::Operator | Verdict::Passing => "not_refreshed",
        };
        self.release(call, returned, retry_after).await;
        record(call, claimed, "refresh", outcome, None);
        Refreshed::Passing { retry_after }
    }

    /// The one place where an authorization ends; announced by whoever made the change.
    pub async fn end(&self, call: &Call, read: &Authorization, reason: Reason) -> Refreshed {
        match self.store.mark_needs_reauthorization(read, reason, self.clock.now()).await {
            Ok(Some(mut ended)) => {
                if reason == Reason::InvalidGrant {
                    Signal::RefreshTokenRefused.raise(call, "the provider refuses the refresh token that is stored");
                }
                self.announcer.changed(call, &mut ended, None).await;
                Refreshed::Ended(reason)
            }
            Ok(None) => Refreshed::Superseded,
            Err(error) => {
                log(call, read, "the end of an authorization is not stored", &error);
                Refreshed::Passing { retry_after: None }
            }
        }
    }

    /// The tokens of a record do not open: somebody has been at the table, or a key is lost. Nothing is deleted and no status is
    /// changed, for what broke may be mended; it is reported, shown in the list, and kept from being tried every minute.
    pub async fn quarantine(&self, call: &Call, read: &Authorization, error: &CipherError) {
        log(call, read, "the tokens of an authorization do not open", error);
        let now = self.clock.now();
        let due_at = failing(read, now + schedule::UNDECRYPTABLE_AGAIN, now);
        match self.store.quarantine(read, now, due_at).await {
            Ok(true) => {
                tracing::error!(
                    metric = "quarantined",
                    request_id = call.request_id.as_str(),
                    organization = read.organization.as_str(),
                    authorization = read.id.as_str(),
                    "an authorization is quarantined"
                );
                self.announcer.quarantined(call, read).await;
            }
            // Noted before.
            Ok(false) if read.lease.is_some() => self.give_back(call, read, RefreshFailure { due_at, outcome_unknown_since: None }).await,
            Ok(false) => {}
            Err(error) => log(call, read, "it is not noted that the tokens of an authorization do not open", &error),
        }
    }

    /// Nothing is sent at present.
    async fn put_off(&self, call: &Call, claimed: &Authorization, frozen: Frozen) -> Refreshed {
        let due_at = schedule::after_freeze(&claimed.id, frozen.until);
        self.give_back(call, claimed, RefreshFailure { due_at, outcome_unknown_since: None }).await;
        Refreshed::Passing { retry_after: Some(frozen.until - self.clock.now()) }
    }

    async fn release(&self, call: &Call, claimed: &Authorization, retry_after: Option<Duration>) {
        let due_at = schedule::retry_at(&claimed.id, self.clock.now(), claimed.failed_attempts, retry_after);
        self.give_back(call, claimed, RefreshFailure { due_at, outcome_unknown_since: claimed.outcome_unknown_since }).await;
    }

    /// The stored refresh token may be spent. Where the provider still takes a rotated token for a while, the next try falls within
    /// that grace.
    async fn release_unknown(&self, call: &Call, connection: &Connection, claimed: &Authorization, now: OffsetDateTime) {
        let backed_off = schedule::retry_at(&claimed.id, now, claimed.failed_attempts, None);
        let due_at = match Duration::try_from(connection.rotation_grace / 2) {
            Ok(half) if half.is_positive() => backed_off.min(now.saturating_add(half)),
            _ => backed_off,
        };
        self.give_back(call, claimed, RefreshFailure { due_at, outcome_unknown_since: Some(now) }).await;
    }

    async fn give_back(&self, call: &Call, claimed: &Authorization, failure: RefreshFailure) {
        let failure = RefreshFailure { due_at: failing(claimed, failure.due_at, self.clock.now()), ..failure };
        if let Err(error) = self.store.release_refresh(claimed, &failure).await {
            log(call, claimed, "a lease was not given back; it ends by itself", &error);
        }
    }
}

/// When a record is due that something has failed with, and that is to be looked at by `otherwise`.
pub(super) fn failing(record: &Authorization, otherwise: OffsetDateTime, now: OffsetDateTime) -> OffsetDateTime {
    record.due_again(Some(otherwise), now).unwrap_or(otherwise)
}

/// Why an authorization ends whose refresh was refused for good.
fn reason(claimed: &Authorization, error: &ProviderError, now: OffsetDateTime) -> Reason {
    match error {
        ProviderError::IdentityChanged => Reason::IdentityRevoked,
        _ if claimed.outcome_unknown_since.is_some() => Reason::OutcomeUnknown,
        _ if claimed.reauthorize_by.is_some_and(|end| end <= now) => Reason::RefreshTokenExpired,
        _ => Reason::InvalidGrant,
    }
}

/// When the right to refresh ends.
fn lease_until(call: &Call, claimed: &Authorization) -> OffsetDateTime {
    claimed.lease.as_ref().map_or(call.deadline, |lease| lease.until)
}

/// Whether a hand-out or a check may claim a refresh. A lease that ended by itself was held by somebody who died: the refresh token may
/// be spent, and its successor may be in the rescue queue. To present it again is harmless while the provider takes it, once, for
/// nobody knows any more when it was first presented after that; then it is left to the schedule, which looks into the queue first.
#[must_use]
pub fn may_claim(connection: &Connection, read: &Authorization, now: OffsetDateTime) -> bool {
    let Some(held) = &read.lease else { return true };
    let grace = Duration::try_from(connection.rotation_grace).unwrap_or_default();
    let harmless = grace >= USEFUL_GRACE && read.outcome_unknown_since.is_none();
    held.until <= now && harmless && now + TRANSIT_TIME <= held.until - LEASE + grace
}

/// The record as a commit has made it.
fn after(claimed: &Authorization, commit: &RefreshCommit) -> Authorization {
    Authorization {
        version: claimed.version + 1,
        generation: claimed.generation + 1,
        scopes: commit.scopes.clone(),
        access_expires_at: commit.access_expires_at,
        access_lifetime: commit.access_lifetime,
        reauthorize_by: commit.reauthorize_by,
        due_at: Some(commit.due_at),
        last_refreshed_at: Some(commit.refreshed_at),
        last_used_at: commit.used_at.or(claimed.last_used_at),
        credential: Some(commit.credential.clone()),
        lease: None,
        outcome_unknown_since: None,
        failed_attempts: 0,
        ..claimed.clone()
    }
}

/// What a token of this record is bound to.
#[must_use]
pub fn context(authorization: &Authorization, field: TokenField, generation: u64) -> SealContext<'_> {
    SealContext { organization: &authorization.organization, authorization: &authorization.id, field, generation }
}

fn record(call: &Call, authorization: &Authorization, action: &'static str, outcome: &str, detail: Option<&str>) {
    Act {
        action,
        outcome,
        organization: Some(&authorization.organization),
        authorization: Some(&authorization.id),
        detail,
        metric: ((action, outcome) == ("refresh", "ok")).then_some("refreshes"),
        ..Act::default()
    }
    .record(call);
}

/// The worst that can happen here. The next refresh will find the old token spent, and the record says so then.
fn lost(call: &Call, authorization: &Authorization) {
    tracing::error!(
        request_id = call.request_id.as_str(),
        authorization = authorization.id.as_str(),
        metric = "tokens_lost",
        "refreshed tokens are lost: neither the table nor the rescue queue took them"
    );
    record(call, authorization, "rescue", "lost", None);
}

fn log(call: &Call, authorization: &Authorization, what: &'static str, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(request_id = call.request_id.as_str(), authorization = authorization.id.as_str(), error, "{what}");
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]
pub(in crate::usecases) mod tests;
