//! Replace an authorization by another in all its workflows (contract section 8). Each move is one transaction, so a replace that
//! is interrupted anywhere can be repeated.

use std::sync::Arc;

use time::Duration;

use super::Call;
use super::audit::Act;
use crate::domain::authorization::{Authorization, Status};
use crate::domain::binding::Binding;
use crate::domain::caller::Caller;
use crate::domain::ids::AuthorizationId;
use crate::domain::scopes::Scopes;
use crate::ports::Unavailable;
use crate::ports::clock::Clock;
use crate::ports::store::{BindOutcome, BindingStore, OrganizationIndex};

/// How many workflows a report names.
const REPORTED: usize = 100;
/// How many bindings are read from the index at a time.
const BATCH: usize = 100;
/// What must remain of the function's time before another move begins.
const MOVE_TIME: Duration = Duration::seconds(3);

/// The use case with what it needs.
pub struct Replace {
    /// Bindings and their counts.
    pub store: Arc<dyn BindingStore>,
    /// Which workflows are bound, as a hint.
    pub index: Arc<dyn OrganizationIndex>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What to replace by what.
#[derive(Debug)]
pub struct Request {
    /// The authorization that is bound now.
    pub from: AuthorizationId,
    /// The one to bind instead.
    pub to: AuthorizationId,
    /// Only tell what would happen.
    pub dry_run: bool,
}

/// What happened, or would.
#[derive(Debug)]
pub struct Report {
    /// How many bindings moved (or would).
    pub moved: u64,
    /// How many are still bound to the old authorization (or would be).
    pub remaining: u64,
    /// At most 100 workflows, with what happened to each.
    pub workflows: Vec<Line>,
    /// Whether it was only asked.
    pub dry_run: bool,
}

/// What happened to one workflow.
#[derive(Debug)]
pub struct Line {
    /// Its binding before.
    pub binding: Binding,
    /// What happened.
    pub outcome: Outcome,
}

/// What happened to a binding, or would.
#[derive(Debug)]
pub enum Outcome {
    /// It moved.
    Moved,
    /// It would move.
    WouldMove,
    /// The new authorization does not grant what it requires.
    Refused {
        /// What is missing.
        missing: Scopes,
    },
}

/// Why nothing was replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// One of the two is not an authorization of this organization.
    #[error("no such authorization")]
    NotFound,
    /// The new one is not active.
    #[error("the new authorization is not active")]
    NotActive,
    /// They come by different connections.
    #[error("the authorizations are of different connections")]
    ConnectionMismatch,
    /// They are the same.
    #[error("the authorizations are the same")]
    Same,
    /// A part of ours is down.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Replace {
    /// Moves every binding that may move.
    pub async fn replace(&self, call: &Call, caller: &Caller, request: &Request) -> Result<Report, ReplaceError> {
        if request.from == request.to {
            return Err(ReplaceError::Same);
        }
        let from = self.find(caller, &request.from).await?;
        let to = self.find(caller, &request.to).await?;
        if to.status != Status::Active {
            return Err(ReplaceError::NotActive);
        }
        if from.connection != to.connection {
            return Err(ReplaceError::ConnectionMismatch);
        }
        let report = self.move_all(call, caller, request, from, &to).await?;
        Act {
            action: "replace",
            outcome: if request.dry_run { "dry_run" } else { "ok" },
            actor: Some(&caller.person),
            organization: Some(&caller.organization),
            authorization: Some(&request.from),
            detail: Some(&format!("to {}: {} moved, {} remaining", request.to, report.moved, report.remaining)),
            ..Act::default()
        }
        .record(call);
        Ok(report)
    }

    async fn find(&self, caller: &Caller, id: &AuthorizationId) -> Result<Authorization, ReplaceError> {
        let found = self.store.authorization_to_bind(&caller.organization, id).await?;
        found.filter(|a| a.status != Status::Deleted).ok_or(ReplaceError::NotFound)
    }

    async fn move_all(
        &self,
        call: &Call,
        caller: &Caller,
        request: &Request,
        from: Authorization,
        to: &Authorization,
    ) -> Result<Report, ReplaceError> {
        let mut report = Report { moved: 0, remaining: 0, workflows: Vec::new(), dry_run: request.dry_run };
        let mut last = None;
        'batches: loop {
            let batch = self.index.bindings_of(&caller.organization, &request.from, last.as_ref(), BATCH).await?;
            let Some(end) = batch.last() else { break };
            last = Some(end.workflow.clone());
            for binding in batch {
                if !call.has(MOVE_TIME, self.clock.now()) {
                    break 'batches;
                }
                let Some(outcome) = self.move_one(&binding, to, request.dry_run).await? else { continue };
                if !matches!(outcome, Outcome::Refused { .. }) {
                    report.moved += 1;
                }
                if report.workflows.len() < REPORTED {
                    report.workflows.push(Line { binding, outcome });
                }
            }
        }
        // The item, not the index, says what remains (I5).
        report.remaining = if request.dry_run {
            from.binding_count.saturating_sub(report.moved)
        } else {
            self.store.authorization_to_bind(&caller.organization, &request.from).await?.map_or(0, |a| a.binding_count)
        };
        Ok(report)
    }

    /// `None` if the workflow is no longer bound to the old authorization.
    async fn move_one(&self, binding: &Binding, to: &Authorization, dry_run: bool) -> Result<Option<Outcome>, ReplaceError> {
        let missing = to.scopes.missing(&binding.required_scopes);
        if !missing.is_empty() {
            return Ok(Some(Outcome::Refused { missing }));
        }
        if dry_run {
            return Ok(Some(Outcome::WouldMove));
        }
        let moved = Binding { authorization: to.id.clone(), ..binding.clone() };
        match self.store.bind(&moved, Some(binding)).await? {
            BindOutcome::Bound => Ok(Some(Outcome::Moved)),
            BindOutcome::Changed(_) => Ok(None),
            BindOutcome::Refused(Some(obstacle)) if obstacle.status == Status::Active => {
                Ok(Some(Outcome::Refused { missing: obstacle.scopes.missing(&binding.required_scopes) }))
            }
            BindOutcome::Refused(Some(_)) => Err(ReplaceError::NotActive),
            BindOutcome::Refused(None) => Err(ReplaceError::NotFound),
        }
    }
}
