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

mod exchange;
mod judgement;

use std::sync::Arc;

use time::Duration;

use self::exchange::Redemption;
use self::judgement::Allowed;
use super::audit::Act;
use super::signals::Signal;
use super::{Call, attempt};
use crate::domain::authorization::{Authorization, Status};
use crate::domain::caller::{Caller, Person};
use crate::domain::connection::Connection;
use crate::domain::directory::Directory;
use crate::domain::flow::{CODE_LIFETIME, Completion, Flow, FlowFailure, FlowOutcome, FlowSecrets, OUTCOME_LIFETIME, ReturnTo};
use crate::domain::ids::AuthorizationId;
use crate::domain::pkce;
use crate::domain::secret::Secret;
use crate::ports::Unavailable;
use crate::ports::cipher::{CipherError, TokenCipher};
use crate::ports::clock::{Clock, Entropy};
use crate::ports::flows::{FlowClaim, FlowSealer, Flows};
use crate::ports::provider::{CodeExchanges, ProviderError, ProviderMetadata, Revocations};
use crate::usecases::announce::Announcer;

/// How long a claimed flow is believed to be under way; no function runs longer.
const CLAIM_PATIENCE: Duration = Duration::seconds(60);

/// The use case with what it needs.
pub struct CompleteFlow {
    /// Opens states, seals and opens completion codes.
    pub sealer: Arc<dyn FlowSealer>,
    /// Claims flows and stores what they yield.
    pub flows: Arc<dyn Flows>,
    /// Tells of changes.
    pub announcer: Arc<Announcer>,
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
    /// A page that says that this link cannot be trusted; the log says why.
    Untrusted,
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
        let untrusted = |signal: Signal, why: &'static str| {
            signal.raise(call, why);
            CallbackAnswer::Untrusted
        };
        let Some(state) = callback.state else { return Ok(untrusted(Signal::CallbackUntrusted, "no state")) };
        let Some((flow, secrets)) = self.sealer.open_state(&state).await? else {
            return Ok(untrusted(Signal::CallbackUntrusted, "state does not open"));
        };
        if flow.connection.as_str() != callback.connection {
            return Ok(untrusted(Signal::BindingMismatch, "state is of another connection"));
        }
        let connection = match directory.connection(&flow.connection) {
            Some(connection) if connection.linked && connection.serves(&flow.organization) => connection,
            _ => return Ok(untrusted(Signal::CallbackUntrusted, "connection is gone")),
        };
        if let Some(return_to) = &flow.return_to
            && directory.redirect_uris.resolve(&return_to.redirect_uri).is_err()
        {
            return Ok(untrusted(Signal::CallbackUntrusted, "redirect URI is no longer registered"));
        }
        if flow.is_expired(self.clock.now()) {
            return Ok(match self.earlier_outcome(&flow).await? {
                Some(outcome) => outcome,
                None => untrusted(Signal::CallbackUntrusted, "state has expired"),
            });
        }
        // The state is trusted, and so is where it leads.
        let answer = async {
            match self.metadata.issuer_parameter(connection).await {
                Ok(expected) if expected.accepts(callback.iss.as_deref()) => {}
                Ok(_) => return Ok(untrusted(Signal::IssuerMismatch, "iss is not the connection's")),
                // Nothing is sent or stored.
                Err(error) => return Err(Unavailable::new("ask the provider for its metadata", error)),
            }
            match (callback.code, callback.error) {
                (Some(code), None) => match &flow.return_to {
                    Some(return_to) => self.hand_back(&state, &flow, return_to, code).await,
                    None => self.complete_directly(call, directory, connection, &flow, &secrets, &code).await,
                },
                (None, Some(error)) => self.refused(call, &flow, &error).await,
                _ => Ok(untrusted(Signal::CallbackUntrusted, "neither code nor error, or both")),
            }
        };
        match (answer.await, &flow.return_to) {
            // The application learns that it failed, and may begin anew.
            (Err(error), Some(return_to)) => {
                log(call, "a sign-in cannot go on", &error);
                Ok(CallbackAnswer::Return { return_to: return_to.clone(), result: Err(FlowFailure::Internal) })
            }
            // The flow stays usable: the person may reload.
            (answer, _) => answer,
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
        let outcome = match self.exchange(call, &Redemption { connection, flow, secrets, code, redirect_uri, allowed }).await {
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
            FlowClaim::Finished { outcome, .. } => {
                Signal::StateReused.raise(call, "an error came back for a flow that has ended");
                outcome
            }
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
            Signal::BindingMismatch.raise(call, "a flow is completed by somebody who did not begin it");
            audit(call, flow, None, "other_caller", Some(&caller.person));
            return Err(CompleteError::NotFound);
        }
        // A verifier without a challenge is refused, too: somebody may have taken the challenge away (RFC 9700 section 2.1.1).
        let verified = match (&return_to.code_challenge, &request.code_verifier) {
            (Some(challenge), Some(verifier)) => pkce::verifies(verifier, challenge),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !verified {
            return Err(CompleteError::CodeVerifier);
        }
        if self.clock.now().unix_timestamp() >= completion.expires_at {
            return self.completed_earlier(flow, self.flows.flow_outcome(&flow.id).await?.ok_or(CompleteError::NotFound)?).await;
        }
        let connection =
            directory.connection(&flow.connection).filter(|c| c.linked && c.serves(&flow.organization)).ok_or(CompleteError::NotFound)?;
        let redirect_uri = directory.callback(&connection.id);
        let (secrets, code) = (&secrets, &completion.provider_code);
        self.exchange(call, &Redemption { connection, flow, secrets, code, redirect_uri, allowed: Allowed::Anyone }).await
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
