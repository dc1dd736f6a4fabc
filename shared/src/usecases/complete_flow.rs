//! Complete a sign-in: the callback of the browser, and the completion by the caller (contract section 6).
//!
//! Callback:
//! 1. `state` must open, be alive, and name the connection of the path; `iss` must be right (RFC 9207). Otherwise nothing happens.
//! 2. Redirect mode: the provider's code is sealed into a completion code and the browser goes back to the application. No
//!    token request, no write. Step 4 follows when the application completes, with its user signed in.
//! 3. Direct mode: step 4 follows at once.
//!
//! Exchange:
//! 4. Everything of ours that the store will need is fetched first: the branch key, the salts, the id (I7).
//! 5. The flow is claimed by a conditional put (I6). Whoever comes second gets the first one's outcome.
//! 6. The code is exchanged, once.
//! 7. The identity must be one that this flow allows; otherwise the tokens are revoked and nothing is stored.
//! 8. The authorization is stored and the flow finished, in one transaction.

use std::sync::Arc;

use time::Duration;
use url::Url;

use super::audit::{Act, announce};
use super::{Call, attempt, within};
use crate::domain::authorization::{AccessLifetime, Authorization, Identity, SealedCredential, Status, reauthorize_by};
use crate::domain::caller::{Caller, Person};
use crate::domain::connection::Connection;
use crate::domain::directory::Directory;
use crate::domain::flow::{CODE_LIFETIME, Completion, Flow, FlowFailure, FlowOutcome, FlowSecrets, OUTCOME_LIFETIME, ReturnTo};
use crate::domain::ids::AuthorizationId;
use crate::domain::pkce;
use crate::domain::schedule::{self, Life};
use crate::domain::secret::Secret;
use crate::ports::Unavailable;
use crate::ports::cipher::{CipherError, Salt, SealContext, Sealer, TokenCipher, TokenField};
use crate::ports::clock::{Clock, Entropy, random};
use crate::ports::flows::{FlowClaim, FlowSealer, Flows, Renewal};
use crate::ports::provider::{CodeExchange, CodeExchanges, Exchanged, ProviderError, ProviderMetadata, Revocations, TokenAnswer};
use crate::ports::store::OrganizationIndex;

/// How long a claimed flow is believed to be under way; no function runs longer.
const CLAIM_PATIENCE: Duration = Duration::seconds(60);
/// What must remain of the function's time before a code is sent: the provider's time limit and the store's.
const EXCHANGE_TIME: Duration = Duration::seconds(12);

/// What must remain of the function's time to look whether a transaction whose answer was lost took effect.
const LOOK_TIME: Duration = Duration::seconds(2);

/// The use case with what it needs.
pub struct CompleteFlow {
    /// Opens states, seals and opens completion codes.
    pub sealer: Arc<dyn FlowSealer>,
    /// Claims flows and stores what they yield.
    pub flows: Arc<dyn Flows>,
    /// Which workflows a status change concerns.
    pub index: Arc<dyn OrganizationIndex>,
    /// Seals the tokens.
    pub cipher: Arc<dyn TokenCipher>,
    /// Judges `iss`.
    pub metadata: Arc<dyn ProviderMetadata>,
    /// Exchanges codes.
    pub exchanges: Arc<dyn CodeExchanges>,
    /// Revokes what was obtained for the wrong person.
    pub revocations: Arc<dyn Revocations>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// What the browser brings.
#[derive(Debug)]
pub struct Callback {
    /// The connection of the path.
    pub connection: String,
    /// The sealed flow.
    pub state: Option<String>,
    /// The provider's code …
    pub code: Option<Secret>,
    /// … or its error.
    pub error: Option<String>,
    /// RFC 9207.
    pub iss: Option<String>,
}

/// What the browser gets.
#[derive(Debug)]
pub enum CallbackAnswer {
    /// `303` to the application (redirect mode).
    Return {
        /// Where.
        return_to: ReturnTo,
        /// With a completion code, or why not.
        result: Result<String, FlowFailure>,
    },
    /// A page with the outcome (direct mode).
    Outcome(FlowOutcome),
    /// A page that says that this link cannot be trusted, and why in the log.
    Untrusted(&'static str),
    /// A page that says that the sign-in is still being completed elsewhere.
    UnderWay,
}

/// What the calling application brings.
#[derive(Debug)]
pub struct CompleteRequest {
    /// The completion code.
    pub code: Secret,
    /// The verifier of the caller's own PKCE.
    pub code_verifier: Option<Secret>,
}

/// Why a completion yields no authorization.
#[derive(Debug, thiserror::Error)]
pub enum CompleteError {
    /// No such flow, or somebody else's.
    #[error("no such flow")]
    NotFound,
    /// The verifier is missing or wrong; the flow stays usable.
    #[error("code verifier does not match")]
    CodeVerifier,
    /// Another completion of the flow has not finished.
    #[error("flow is under way")]
    InProgress,
    /// The flow has failed.
    #[error("flow failed: {0:?}")]
    Failed(FlowFailure),
    /// The provider could not be reached before anything was sent; the flow stays usable.
    #[error("failed to prepare the exchange")]
    Provider(#[source] ProviderError),
    /// A part of ours is down; the flow stays usable.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A completed flow.
#[derive(Debug)]
pub struct Completed {
    /// The authorization.
    pub authorization: Authorization,
    /// Whether an earlier completion had stored it.
    pub repeated: bool,
}

/// Who may be the identity of a flow (step 7).
enum Allowed<'a> {
    /// Direct mode: the person who asked for the URL.
    Initiator { api_issuer: &'a str },
    /// Redirect mode: whoever signed in, for the initiator has taken responsibility by completing.
    Anyone,
}

/// A claimed flow that yields no authorization.
struct Unfinished {
    failure: FlowFailure,
    attempt: String,
    /// Whether it is certain that nothing was stored.
    known: bool,
}

/// Tokens that were not stored.
struct Unstored {
    failure: FlowFailure,
    /// Whether that is certain.
    known: bool,
}

/// All that step 4 has fetched.
struct Prepared {
    sealer: Arc<dyn Sealer>,
    salts: [Salt; 2],
    new_id: AuthorizationId,
    attempt: String,
    renewing: Option<Authorization>,
}

impl From<CipherError> for CompleteError {
    fn from(error: CipherError) -> Self {
        match error {
            CipherError::Unavailable(unavailable) => Self::Unavailable(unavailable),
            broken @ CipherError::Broken { .. } => Self::Unavailable(Unavailable::new("seal the tokens", broken)),
        }
    }
}

impl CompleteFlow {
    /// Steps 1–3: the browser came back.
    pub async fn callback(&self, call: &Call, directory: &Directory, callback: Callback) -> Result<CallbackAnswer, Unavailable> {
        let Some(state) = callback.state else { return Ok(CallbackAnswer::Untrusted("no state")) };
        let Some((flow, secrets)) = self.sealer.open_state(&state).await? else {
            return Ok(CallbackAnswer::Untrusted("state does not open"));
        };
        if flow.connection.as_str() != callback.connection {
            return Ok(CallbackAnswer::Untrusted("state is of another connection"));
        }
        let connection = match directory.connection(&flow.connection) {
            Some(connection) if connection.linked && connection.serves(&flow.organization) => connection,
            _ => return Ok(CallbackAnswer::Untrusted("connection is gone")),
        };
        if let Some(return_to) = &flow.return_to
            && directory.redirect_uris.resolve(&return_to.redirect_uri).is_err()
        {
            return Ok(CallbackAnswer::Untrusted("redirect URI is no longer registered"));
        }
        if flow.is_expired(self.clock.now()) {
            return Ok(self.earlier_outcome(&flow).await?.unwrap_or(CallbackAnswer::Untrusted("state has expired")));
        }
        match self.metadata.issuer_parameter(connection).await {
            Ok(expected) if !expected.accepts(callback.iss.as_deref()) => {
                return Ok(CallbackAnswer::Untrusted("iss is not the connection's"));
            }
            Ok(_) => {}
            // Nothing is sent or stored, and the flow stays usable: the person may reload.
            Err(error) => return Err(Unavailable::new("ask the provider for its metadata", error)),
        }
        match (callback.code, callback.error) {
            (Some(code), None) => match &flow.return_to {
                Some(return_to) => self.hand_back(&state, &flow, return_to, code).await,
                None => self.complete_directly(call, directory, connection, &flow, &secrets, &code).await,
            },
            (None, Some(error)) => self.refused(call, &flow, &error).await,
            _ => Ok(CallbackAnswer::Untrusted("neither code nor error, or both")),
        }
    }

    /// Step 2.
    async fn hand_back(&self, state: &str, flow: &Flow, return_to: &ReturnTo, code: Secret) -> Result<CallbackAnswer, Unavailable> {
        let expires_at = (self.clock.now() + CODE_LIFETIME).unix_timestamp();
        let completion = Completion { flow: flow.clone(), provider_code: code, expires_at };
        let code = self.sealer.seal_code(state, &completion).await?;
        Ok(CallbackAnswer::Return { return_to: return_to.clone(), result: Ok(code) })
    }

    /// Step 3.
    async fn complete_directly(
        &self,
        call: &Call,
        directory: &Directory,
        connection: &Connection,
        flow: &Flow,
        secrets: &FlowSecrets,
        code: &Secret,
    ) -> Result<CallbackAnswer, Unavailable> {
        let allowed = Allowed::Initiator { api_issuer: &directory.api_tokens.issuer };
        let redirect_uri = directory.callback(&connection.id);
        let outcome = match self.exchange(call, connection, flow, secrets, code, &redirect_uri, &allowed).await {
            Ok(done) => FlowOutcome::Stored(done.authorization.id),
            Err(CompleteError::Failed(failure)) => FlowOutcome::Failed(failure),
            // Under way elsewhere, or finished with an authorization that has been revoked since: the outcome is the flow's own.
            Err(CompleteError::InProgress | CompleteError::NotFound) => match self.await_outcome(call, flow).await? {
                Some(outcome) => outcome,
                None => return Ok(CallbackAnswer::UnderWay),
            },
            Err(CompleteError::CodeVerifier) => FlowOutcome::Failed(FlowFailure::Internal),
            Err(CompleteError::Provider(ProviderError::Ours(unavailable)) | CompleteError::Unavailable(unavailable)) => {
                return Err(unavailable);
            }
            // Nothing was sent, so the outcome is not recorded: a reload tries again.
            Err(CompleteError::Provider(error)) => {
                log(call, "the exchange was not begun", &error);
                FlowOutcome::Failed(FlowFailure::ProviderUnavailable)
            }
        };
        Ok(CallbackAnswer::Outcome(outcome))
    }

    /// The second of two tabs waits for the first one's outcome.
    async fn await_outcome(&self, call: &Call, flow: &Flow) -> Result<Option<FlowOutcome>, Unavailable> {
        let mut wait = Duration::milliseconds(100);
        while call.has(wait + Duration::seconds(1), self.clock.now()) {
            if let Some(FlowClaim::Finished { outcome, .. }) = self.flows.flow_outcome(&flow.id).await? {
                return Ok(Some(outcome));
            }
            self.clock.sleep(wait).await;
            wait = (wait * 2_i32).min(Duration::seconds(2));
        }
        Ok(None)
    }

    /// A reload after the URL has ended still shows how it ended.
    async fn earlier_outcome(&self, flow: &Flow) -> Result<Option<CallbackAnswer>, Unavailable> {
        if flow.return_to.is_some() {
            return Ok(None);
        }
        match self.flows.flow_outcome(&flow.id).await? {
            Some(FlowClaim::Finished { outcome, claimed_at }) if self.clock.now() < claimed_at + OUTCOME_LIFETIME => {
                Ok(Some(CallbackAnswer::Outcome(outcome)))
            }
            _ => Ok(None),
        }
    }

    /// The provider sent an error instead of a code. The flow is consumed, and only known words are passed on.
    async fn refused(&self, call: &Call, flow: &Flow, error: &str) -> Result<CallbackAnswer, Unavailable> {
        let failure = match error {
            "access_denied" => FlowFailure::AccessDenied,
            "temporarily_unavailable" | "server_error" => FlowFailure::ProviderUnavailable,
            _ => FlowFailure::ProviderRefused,
        };
        let attempt = attempt(self.entropy.as_ref())?;
        let outcome = match self.flows.claim_flow(&flow.id, &attempt, self.clock.now()).await? {
            FlowClaim::Claimed => {
                let outcome = FlowOutcome::Failed(failure);
                self.flows.finish_flow(&flow.id, &attempt, &outcome, self.clock.now()).await?;
                audit(call, flow, None, failure_word(failure), None);
                outcome
            }
            FlowClaim::Finished { outcome, .. } => outcome,
            FlowClaim::UnderWay { .. } => FlowOutcome::Failed(failure),
        };
        Ok(match &flow.return_to {
            Some(return_to) => CallbackAnswer::Return { return_to: return_to.clone(), result: Err(failure) },
            None => CallbackAnswer::Outcome(outcome),
        })
    }

    /// The application completes the flow (contract section 6.2).
    pub async fn complete(
        &self,
        call: &Call,
        caller: &Caller,
        directory: &Directory,
        request: &CompleteRequest,
    ) -> Result<Completed, CompleteError> {
        let (completion, secrets) = self.sealer.open_code(request.code.expose()).await?.ok_or(CompleteError::NotFound)?;
        let flow = &completion.flow;
        let return_to = flow.return_to.as_ref().ok_or(CompleteError::NotFound)?;
        if !flow.was_begun_by(caller) {
            audit(call, flow, None, "other_caller", Some(&caller.person));
            return Err(CompleteError::NotFound);
        }
        if let Some(challenge) = &return_to.code_challenge
            && !request.code_verifier.as_ref().is_some_and(|verifier| pkce::verifies(verifier, challenge))
        {
            return Err(CompleteError::CodeVerifier);
        }
        if self.clock.now().unix_timestamp() >= completion.expires_at {
            return self.completed_earlier(flow, self.flows.flow_outcome(&flow.id).await?.ok_or(CompleteError::NotFound)?).await;
        }
        let connection =
            directory.connection(&flow.connection).filter(|c| c.linked && c.serves(&flow.organization)).ok_or(CompleteError::NotFound)?;
        let redirect_uri = directory.callback(&connection.id);
        self.exchange(call, connection, flow, &secrets, &completion.provider_code, &redirect_uri, &Allowed::Anyone).await
    }

    /// Steps 4–8.
    #[expect(clippy::too_many_arguments, reason = "a flow and its secrets travel apart on purpose: the secrets have no Clone and no serde")]
    async fn exchange(
        &self,
        call: &Call,
        connection: &Connection,
        flow: &Flow,
        secrets: &FlowSecrets,
        code: &Secret,
        redirect_uri: &Url,
        allowed: &Allowed<'_>,
    ) -> Result<Completed, CompleteError> {
        let prepared = match self.prepare(connection, flow).await? {
            Ok(prepared) => prepared,
            Err(failure) => return self.not_renewable(flow, failure).await,
        };
        if !call.has(EXCHANGE_TIME, self.clock.now()) {
            return Err(Unavailable::new("begin the exchange", "too little of the function's time remains").into());
        }
        match self.flows.claim_flow(&flow.id, &prepared.attempt, self.clock.now()).await? {
            FlowClaim::Claimed => {}
            claim @ (FlowClaim::UnderWay { .. } | FlowClaim::Finished { .. }) => return self.completed_earlier(flow, claim).await,
        }
        let result = self.exchange_claimed(call, connection, flow, secrets, code, redirect_uri, allowed, prepared).await;
        match result {
            Ok(authorization) => {
                audit(call, flow, Some(&authorization.id), "ok", None);
                Ok(Completed { authorization, repeated: false })
            }
            Err(Unfinished { failure, attempt, known }) => {
                audit(call, flow, None, failure_word(failure), None);
                let outcome = FlowOutcome::Failed(failure);
                if known && let Err(error) = self.flows.finish_flow(&flow.id, &attempt, &outcome, self.clock.now()).await {
                    tracing::warn!(
                        request_id = call.request_id.as_str(),
                        error = &error as &dyn std::error::Error,
                        "failed flow is not marked as finished"
                    );
                }
                Err(CompleteError::Failed(failure))
            }
        }
    }

    /// Step 4. The inner error: the authorization that was to be renewed cannot be.
    async fn prepare(&self, connection: &Connection, flow: &Flow) -> Result<Result<Prepared, FlowFailure>, CompleteError> {
        let renewing = match &flow.reauthorize {
            None => None,
            Some(id) => match self.flows.flow_authorization(&flow.organization, id).await? {
                Some(found) if !matches!(found.status, Status::Active | Status::NeedsReauthorization(_)) => {
                    return Ok(Err(FlowFailure::AuthorizationNotFound));
                }
                Some(found) if found.connection != flow.connection => return Ok(Err(FlowFailure::ConnectionMismatch)),
                Some(found) => Some(found),
                None => return Ok(Err(FlowFailure::AuthorizationNotFound)),
            },
        };
        let sealer = self.cipher.sealer(&flow.organization).await?;
        let salts = [sealer.reserve()?, sealer.reserve()?];
        let new_id = AuthorizationId::new(self.clock.now(), random(self.entropy.as_ref())?);
        let attempt = attempt(self.entropy.as_ref())?;
        self.exchanges.prepare_exchange(connection).await.map_err(CompleteError::Provider)?;
        Ok(Ok(Prepared { sealer, salts, new_id, attempt, renewing }))
    }

    /// A flow that was finished before still shows how, whatever has become of its authorization since.
    async fn not_renewable(&self, flow: &Flow, failure: FlowFailure) -> Result<Completed, CompleteError> {
        match self.flows.flow_outcome(&flow.id).await? {
            Some(claim) => self.completed_earlier(flow, claim).await,
            None => Err(CompleteError::Failed(failure)),
        }
    }

    /// Steps 6–8, with the flow claimed.
    #[expect(clippy::too_many_arguments, reason = "the continuation of `exchange`")]
    async fn exchange_claimed(
        &self,
        call: &Call,
        connection: &Connection,
        flow: &Flow,
        secrets: &FlowSecrets,
        code: &Secret,
        redirect_uri: &Url,
        allowed: &Allowed<'_>,
        prepared: Prepared,
    ) -> Result<Authorization, Unfinished> {
        let attempt = prepared.attempt.clone();
        let exchange = CodeExchange { code, redirect_uri, secrets };
        let Exchanged { tokens, identity } = match self.exchanges.exchange_code(connection, &exchange).await {
            Ok(exchanged) => exchanged,
            Err(error) => {
                log(call, "code exchange failed", &error);
                return Err(Unfinished { failure: failure_of(&error), attempt, known: true });
            }
        };
        let judged = match identity {
            Ok(identity) => judge(connection, flow, &identity, allowed, prepared.renewing.as_ref()).map(|()| identity),
            Err(error) => {
                log(call, "identity is not proved", &error);
                Err(failure_of(&error))
            }
        };
        // New tokens of the very person whose authorization is renewed are never revoked: that could end the grant that still works.
        let own = matches!((&judged, &prepared.renewing), (Ok(identity), Some(old)) if old.identity.person == identity.person);
        let stored = match judged {
            Ok(identity) => self.store(call, connection, flow, &tokens, identity, prepared).await,
            Err(failure) => Err(Unstored { failure, known: true }),
        };
        match stored {
            Ok(authorization) => Ok(authorization),
            Err(Unstored { failure, known }) => {
                if known && !own {
                    self.revoke_obtained(call, connection, &tokens).await;
                }
                Err(Unfinished { failure, attempt, known })
            }
        }
    }

    /// Step 8, retried until the function's time is up: the tokens exist nowhere else.
    async fn store(
        &self,
        call: &Call,
        connection: &Connection,
        flow: &Flow,
        tokens: &TokenAnswer,
        identity: Identity,
        prepared: Prepared,
    ) -> Result<Authorization, Unstored> {
        let Prepared { sealer, salts, new_id, attempt, renewing } = prepared;
        let unsealed = |error: CipherError| {
            log(call, "tokens were not sealed", &error);
            Unstored { failure: FlowFailure::Internal, known: true }
        };
        let mut authorization = assemble(connection, flow, tokens, identity, new_id, renewing.as_ref());
        authorization.credential = Some(seal(sealer.as_ref(), salts, &authorization, tokens).map_err(unsealed)?);
        let give_up = call.deadline - LOOK_TIME;
        let mut wait = Duration::milliseconds(50);
        loop {
            let stored = within(
                self.clock.as_ref(),
                give_up - self.clock.now(),
                self.store_once(&authorization, flow, &attempt, renewing.is_some()),
            );
            match stored.await {
                Some(Ok(Renewal::Stored)) => {
                    if let Some(old) = renewing.filter(|old| old.status != Status::Active) {
                        announce(call, self.index.as_ref(), &old, "active", None).await;
                    }
                    return Ok(authorization);
                }
                Some(Ok(Renewal::Changed(None))) => return Err(Unstored { failure: FlowFailure::AuthorizationNotFound, known: true }),
                Some(Ok(Renewal::Changed(Some(now)))) => {
                    rebase(&mut authorization, &now).map_err(|failure| Unstored { failure, known: true })?;
                    let again = sealer.reserve().and_then(|a| Ok([a, sealer.reserve()?]));
                    let sealed = again.and_then(|salts| seal(sealer.as_ref(), salts, &authorization, tokens));
                    authorization.credential = Some(sealed.map_err(unsealed)?);
                }
                Some(Err(error)) => log(call, "authorization is not stored yet", &error),
                None => tracing::warn!(request_id = call.request_id.as_str(), "the table takes too long to store an authorization"),
            }
            if self.clock.now() + wait >= give_up {
                return self.look_again(call, flow, authorization).await;
            }
            self.clock.sleep(wait).await;
            wait = (wait * 2_i32).min(Duration::seconds(1));
        }
    }

    async fn store_once(&self, authorization: &Authorization, flow: &Flow, attempt: &str, renews: bool) -> Result<Renewal, Unavailable> {
        let now = self.clock.now();
        if renews {
            return self.flows.renew_authorization(authorization, &flow.id, attempt, now).await;
        }
        self.flows.store_authorization(authorization, &flow.id, attempt, now).await.map(|()| Renewal::Stored)
    }

    /// The last answer may have been lost: only a flow that is known not to be finished has failed.
    async fn look_again(&self, call: &Call, flow: &Flow, authorization: Authorization) -> Result<Authorization, Unstored> {
        match within(self.clock.as_ref(), LOOK_TIME / 2, self.flows.flow_outcome(&flow.id)).await {
            Some(Ok(Some(FlowClaim::Finished { outcome: FlowOutcome::Stored(_), .. }))) => Ok(authorization),
            Some(Ok(_)) => Err(Unstored { failure: FlowFailure::Internal, known: true }),
            Some(Err(error)) => {
                log(call, "it is not known whether an authorization is stored", &error);
                Err(Unstored { failure: FlowFailure::Internal, known: false })
            }
            None => Err(Unstored { failure: FlowFailure::Internal, known: false }),
        }
    }

    async fn revoke_obtained(&self, call: &Call, connection: &Connection, tokens: &TokenAnswer) {
        if let Err(error) = self.revocations.revoke_tokens(connection, tokens.refresh_token.as_ref(), Some(&tokens.access_token)).await {
            log(call, "tokens of a refused sign-in were not revoked", &error);
        }
    }

    /// Somebody completed the flow before, or is about to.
    async fn completed_earlier(&self, flow: &Flow, claim: FlowClaim) -> Result<Completed, CompleteError> {
        let now = self.clock.now();
        match claim {
            FlowClaim::Finished { outcome: FlowOutcome::Stored(id), claimed_at } if now < claimed_at + OUTCOME_LIFETIME => {
                let found = self.flows.flow_authorization(&flow.organization, &id).await?;
                let authorization = found.filter(|a| a.status != Status::Deleted).ok_or(CompleteError::NotFound)?;
                Ok(Completed { authorization, repeated: true })
            }
            FlowClaim::Finished { outcome: FlowOutcome::Failed(failure), claimed_at } if now < claimed_at + OUTCOME_LIFETIME => {
                Err(CompleteError::Failed(failure))
            }
            FlowClaim::UnderWay { claimed_at } if now < claimed_at + CLAIM_PATIENCE => Err(CompleteError::InProgress),
            // Whoever claimed it died. The code may be spent, and is not sent again.
            FlowClaim::UnderWay { .. } => Err(CompleteError::Failed(FlowFailure::ProviderUnavailable)),
            FlowClaim::Finished { .. } | FlowClaim::Claimed => Err(CompleteError::NotFound),
        }
    }
}

/// Step 7.
fn judge(
    connection: &Connection,
    flow: &Flow,
    identity: &Identity,
    allowed: &Allowed<'_>,
    renewing: Option<&Authorization>,
) -> Result<(), FlowFailure> {
    if connection.claims.organization.is_some() && identity.organization.as_deref() != Some(flow.organization.as_str()) {
        return Err(FlowFailure::OrganizationMismatch);
    }
    if let Allowed::Initiator { api_issuer } = allowed {
        let same = if connection.identity_issuer() == *api_issuer {
            identity.person == flow.initiator
        } else {
            let verified = identity.email.as_ref().filter(|_| identity.email_verified);
            matches!((verified, &flow.initiator_email), (Some(theirs), Some(ours)) if theirs.eq_ignore_ascii_case(ours))
        };
        if !same {
            return Err(FlowFailure::IdentityRefused);
        }
    }
    match renewing {
        Some(authorization) if authorization.identity.person != identity.person => Err(FlowFailure::IdentityMismatch),
        _ => Ok(()),
    }
}

fn assemble(
    connection: &Connection,
    flow: &Flow,
    tokens: &TokenAnswer,
    identity: Identity,
    new_id: AuthorizationId,
    renewing: Option<&Authorization>,
) -> Authorization {
    let now = tokens.requested_at;
    let access = AccessLifetime::of(now, tokens.expires_in, renewing.map(|a| a.access_lifetime), connection);
    let access_expires_at = access.expires_at();
    let refreshable = tokens.refresh_token.is_some();
    let id = renewing.map_or(new_id, |a| a.id.clone());
    let last_used_at = renewing.and_then(|a| a.last_used_at);
    Authorization {
        organization: flow.organization.clone(),
        connection: connection.id.clone(),
        provider: connection.provider.clone(),
        identity,
        created_by: renewing.map_or_else(|| flow.initiator.clone(), |a| a.created_by.clone()),
        created_at: renewing.map_or(now, |a| a.created_at),
        authorized_at: now,
        scopes: tokens.scopes.clone().unwrap_or_else(|| flow.scopes.clone()),
        status: Status::Active,
        version: renewing.map_or(1, |a| a.version + 1),
        generation: renewing.map_or(1, |a| a.generation + 1),
        binding_count: renewing.map_or(0, |a| a.binding_count),
        required_scopes: renewing.map(|a| a.required_scopes.clone()).unwrap_or_default(),
        access_expires_at,
        access_lifetime: access.lifetime,
        reauthorize_by: reauthorize_by(connection, now, now, access_expires_at, refreshable),
        last_used_at,
        last_refreshed_at: renewing.and_then(|a| a.last_refreshed_at),
        lease: None,
        outcome_unknown_since: None,
        failed_attempts: 0,
        credential: None,
        revoked_at: None,
        due_at: Some(schedule::next_due(&id, connection, Life { refreshed_at: now, access_expires_at, last_used_at, refreshable })),
        id,
    }
}

fn seal(
    sealer: &dyn Sealer,
    salts: [Salt; 2],
    authorization: &Authorization,
    tokens: &TokenAnswer,
) -> Result<SealedCredential, CipherError> {
    let context = |field| SealContext {
        organization: &authorization.organization,
        authorization: &authorization.id,
        field,
        generation: authorization.generation,
    };
    let [for_access, for_refresh] = salts;
    let access = sealer.seal(context(TokenField::Access), &tokens.access_token, for_access)?;
    let refresh = tokens.refresh_token.as_ref().map(|t| sealer.seal(context(TokenField::Refresh), t, for_refresh)).transpose()?;
    Ok(SealedCredential { access: Some(access), refresh })
}

/// The record was refreshed or bound while the person signed in: the renewal follows what it has become.
fn rebase(renewed: &mut Authorization, now: &Authorization) -> Result<(), FlowFailure> {
    if !renewed.scopes.covers(&now.required()) {
        return Err(FlowFailure::ScopesInsufficient);
    }
    if !matches!(now.status, Status::Active | Status::NeedsReauthorization(_)) {
        return Err(FlowFailure::AuthorizationNotFound);
    }
    renewed.version = now.version + 1;
    renewed.generation = now.generation + 1;
    renewed.binding_count = now.binding_count;
    renewed.required_scopes.clone_from(&now.required_scopes);
    Ok(())
}

fn failure_of(error: &ProviderError) -> FlowFailure {
    match error {
        ProviderError::InvalidGrant | ProviderError::Refused { .. } | ProviderError::Misconfigured { .. } => FlowFailure::ProviderRefused,
        ProviderError::Unavailable { .. } | ProviderError::AnswerLost { .. } => FlowFailure::ProviderUnavailable,
        ProviderError::AnswerInvalid { .. } | ProviderError::IdentityInvalid { .. } | ProviderError::IdentityChanged => {
            FlowFailure::ProviderAnswerInvalid
        }
        ProviderError::Ours(_) => FlowFailure::Internal,
    }
}

fn failure_word(failure: FlowFailure) -> &'static str {
    match failure {
        FlowFailure::AccessDenied => "access_denied",
        FlowFailure::ProviderRefused => "provider_refused",
        FlowFailure::ProviderUnavailable => "provider_unavailable",
        FlowFailure::ProviderAnswerInvalid => "provider_answer_invalid",
        FlowFailure::IdentityRefused => "identity_refused",
        FlowFailure::OrganizationMismatch => "organization_mismatch",
        FlowFailure::IdentityMismatch => "identity_mismatch",
        FlowFailure::ConnectionMismatch => "connection_mismatch",
        FlowFailure::ScopesInsufficient => "scopes_insufficient",
        FlowFailure::AuthorizationNotFound => "authorization_not_found",
        FlowFailure::Internal => "internal",
    }
}

fn audit(call: &Call, flow: &Flow, stored: Option<&AuthorizationId>, outcome: &str, actor: Option<&Person>) {
    Act {
        action: if outcome == "ok" { "complete" } else { "refuse" },
        outcome,
        actor: Some(actor.unwrap_or(&flow.initiator)),
        organization: Some(&flow.organization),
        authorization: stored.or(flow.reauthorize.as_ref()),
        detail: Some(flow.connection.as_str()),
        ..Act::default()
    }
    .record(call);
}

fn log(call: &Call, what: &'static str, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(request_id = call.request_id.as_str(), error, "{what}");
}
