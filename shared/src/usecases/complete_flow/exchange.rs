//! Steps 4–8 of a sign-in: the exchange, and the storing of what it yields.

use std::sync::Arc;

use time::Duration;
use url::Url;

use super::judgement::{Allowed, assemble, failure_of, judge, rebase, seal, still_to_be_announced};
use super::{CompleteError, CompleteFlow, Completed, audit, failure_word, log};
use crate::domain::authorization::{Authorization, Identity, Status};
use crate::domain::connection::Connection;
use crate::domain::flow::{Flow, FlowFailure, FlowOutcome, FlowSecrets};
use crate::domain::ids::AuthorizationId;
use crate::domain::secret::Secret;
use crate::ports::Unavailable;
use crate::ports::cipher::{CipherError, Salt, Sealer};
use crate::ports::clock::random;
use crate::ports::flows::{FlowClaim, Renewal};
use crate::ports::provider::{CodeExchange, Exchanged, ProviderError, Revocation, TokenAnswer};
use crate::usecases::audit::{Act, tokens_given_back};
use crate::usecases::signals::Signal;
use crate::usecases::{Call, attempt, within};

/// What must remain of the function's time before a code is sent: the provider's time limit and the store's.
const EXCHANGE_TIME: Duration = Duration::seconds(12);
/// When tokens that nobody may have are given back again: a provider that cannot take them now may be restarting.
const GIVE_BACK_AGAIN: [Duration; 2] = [Duration::milliseconds(500), Duration::seconds(2)];
/// What must remain of the function's time to look whether a transaction whose answer was lost took effect.
const LOOK_TIME: Duration = Duration::seconds(2);

/// A code about to be redeemed: for whom, where, and whose it may turn out to be.
pub(super) struct Redemption<'a> {
    pub(super) connection: &'a Connection,
    pub(super) flow: &'a Flow,
    pub(super) secrets: &'a FlowSecrets,
    pub(super) code: &'a Secret,
    pub(super) redirect_uri: Url,
    pub(super) allowed: Allowed<'a>,
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

impl CompleteFlow {
    /// Steps 4–8.
    pub(super) async fn exchange(&self, call: &Call, redemption: &Redemption<'_>) -> Result<Completed, CompleteError> {
        let Redemption { connection, flow, .. } = *redemption;
        let prepared = match self.prepare(connection, flow).await? {
            Ok(prepared) => prepared,
            Err(failure) => return self.not_renewable(flow, failure).await,
        };
        if !call.has(EXCHANGE_TIME, self.clock.now()) {
            return Err(Unavailable::new("begin the exchange", "too little of the function's time remains").into());
        }
        match self.flows.claim_flow(&flow.id, &prepared.attempt, self.clock.now()).await? {
            FlowClaim::Claimed => {}
            claim @ (FlowClaim::UnderWay { .. } | FlowClaim::Finished { .. }) => {
                // Whoever completes by redirect may repeat that; a state that comes back to the callback is another matter.
                if flow.return_to.is_none() {
                    Signal::StateReused.raise(call, "a state came back that has been used");
                }
                return self.completed_earlier(flow, claim).await;
            }
        }
        let result = self.exchange_claimed(call, redemption, prepared).await;
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
    async fn exchange_claimed(&self, call: &Call, redemption: &Redemption<'_>, prepared: Prepared) -> Result<Authorization, Unfinished> {
        let Redemption { connection, flow, secrets, code, .. } = *redemption;
        let attempt = prepared.attempt.clone();
        let exchange = CodeExchange { code, redirect_uri: &redemption.redirect_uri, secrets };
        let Exchanged { tokens, identity } = match self.exchanges.exchange_code(connection, &exchange).await {
            Ok(exchanged) => exchanged,
            Err(error) => {
                log(call, "code exchange failed", &error);
                return Err(Unfinished { failure: failure_of(&error), attempt, known: true });
            }
        };
        let judged = match identity {
            Ok(identity) => judge(connection, flow, &identity, &redemption.allowed, prepared.renewing.as_ref())
                .inspect_err(|failure| Signal::BindingMismatch.raise(call, failure_word(*failure)))
                .map(|()| identity),
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
                // Unless somebody has revoked the authorization meanwhile: then no grant is to be left (I12).
                let revoked_meanwhile = failure == FlowFailure::AuthorizationNotFound;
                if known && (!own || revoked_meanwhile) {
                    self.revoke_obtained(call, connection, flow, &tokens).await;
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
        still_to_be_announced(&mut authorization, connection, renewing.as_ref(), self.clock.now());
        let give_up = call.deadline - LOOK_TIME;
        let mut wait = Duration::milliseconds(50);
        loop {
            let stored = within(
                self.clock.as_ref(),
                give_up - self.clock.now(),
                self.store_once(&authorization, flow, &attempt, renewing.is_some()),
            );
            match stored.await {
                Some(Ok(Renewal::Stored)) => return Ok(self.announced(call, connection, authorization).await),
                Some(Ok(Renewal::Changed(None))) => return Err(Unstored { failure: FlowFailure::AuthorizationNotFound, known: true }),
                Some(Ok(Renewal::Changed(Some(now)))) => {
                    rebase(&mut authorization, &now).map_err(|failure| Unstored { failure, known: true })?;
                    let again = sealer.reserve().and_then(|a| Ok([a, sealer.reserve()?]));
                    let sealed = again.and_then(|salts| seal(sealer.as_ref(), salts, &authorization, tokens));
                    authorization.credential = Some(sealed.map_err(unsealed)?);
                    still_to_be_announced(&mut authorization, connection, Some(&now), self.clock.now());
                }
                Some(Err(error)) => log(call, "authorization is not stored yet", &error),
                None => tracing::warn!(request_id = call.request_id.as_str(), "the table takes too long to store an authorization"),
            }
            if self.clock.now() + wait >= give_up {
                let found = self.look_again(call, flow, authorization).await?;
                return Ok(self.announced(call, connection, found).await);
            }
            self.clock.sleep(wait).await;
            wait = (wait * 2_i32).min(Duration::seconds(1));
        }
    }

    /// What had ended is active again.
    async fn announced(&self, call: &Call, connection: &Connection, mut stored: Authorization) -> Authorization {
        let otherwise = stored.credential_due(connection);
        self.announcer.changed(call, &mut stored, Some(otherwise)).await;
        stored
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

    /// Gives back what was obtained, and asks again while the provider fails in passing: these tokens are kept nowhere, so nobody
    /// could give them back later.
    async fn revoke_obtained(&self, call: &Call, connection: &Connection, flow: &Flow, tokens: &TokenAnswer) {
        let ask = || self.revocations.revoke_tokens(connection, tokens.refresh_token.as_ref(), Some(&tokens.access_token));
        let mut revocation = ask().await;
        for wait in GIVE_BACK_AGAIN {
            let passes = matches!(revocation.outcome, Err(ProviderError::Unavailable { .. } | ProviderError::AnswerLost { .. }));
            if !(passes && call.has(EXCHANGE_TIME + wait, self.clock.now())) {
                break;
            }
            self.clock.sleep(wait).await;
            let Revocation { receipts, outcome } = ask().await;
            revocation.receipts.extend(receipts);
            revocation.outcome = outcome;
        }
        let by = Act {
            actor: Some(&flow.initiator),
            organization: Some(&flow.organization),
            authorization: flow.reauthorize.as_ref(),
            ..Act::default()
        };
        tokens_given_back(call, by, "tokens of a refused sign-in", &revocation);
        if let Err(error) = revocation.outcome {
            log(call, "tokens of a refused sign-in were not revoked", &error);
        }
    }
}
