//! Replace an authorization by another in all its workflows (contract section 8).
//!
//! 1. Both must be this organization's and of the same connection, and the new one active.
//! 2. The index says which workflows are bound to the old one. It is a hint: a binding moves only if it is still as shown (I5).
//! 3. What the new one does not cover is refused and stays. The rest moves, many in one transaction, each whole or not at all: a
//!    replace that is interrupted anywhere can be repeated.
//! 4. What remains is read from the old authorization itself. The report is true whatever the index has missed.

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
use crate::ports::store::{BindingMoves, BindingStore, MoveOutcome, OrganizationIndex};

/// How many bytes the lines of moved and of refused workflows may have, each: together less than the six megabytes of an answer.
const REPORTED: usize = 2 << 20;
/// How many bindings are read from the index at a time.
const BATCH: usize = 500;
/// What must remain of the function's time before another transaction begins: for how long a write is tried again, and the report.
const MOVE_TIME: Duration = Duration::seconds(6);

/// The use case with what it needs.
pub struct Replace {
    /// Reads authorizations.
    pub store: Arc<dyn BindingStore>,
    /// Moves bindings.
    pub moves: Arc<dyn BindingMoves>,
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
    /// How many stay because the new authorization does not grant what they require.
    pub refused: u64,
    /// How many are still bound to the old authorization (or would be). More than were refused: time ran out, or some were bound
    /// meanwhile. Repeating the replace moves them.
    pub remaining: u64,
    /// Every workflow with what happened to it, by their ids; some thousands of each kind at least.
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
    /// Somebody else keeps changing the new one.
    #[error("the new authorization keeps changing")]
    Conflict,
    /// A part of ours is down. What has moved has moved; repeating the replace moves the rest.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What was done so far.
#[derive(Default)]
struct Progress {
    moved: u64,
    refused: u64,
    refused_lines: Lines,
    other_lines: Lines,
}

/// Lines of a report, as many as an answer can carry.
#[derive(Default)]
struct Lines {
    lines: Vec<Line>,
    bytes: usize,
}

impl Replace {
    /// Moves every binding that may move.
    pub async fn replace(&self, call: &Call, caller: &Caller, request: &Request) -> Result<Report, ReplaceError> {
        let mut progress = Progress::default();
        let result = self.replace_noting(call, caller, request, &mut progress).await;
        let done = format!("to {}: {} moved, {} refused", request.to, progress.moved, progress.refused);
        let (outcome, detail) = match &result {
            Ok(report) => (if request.dry_run { "dry_run" } else { "ok" }, format!("{done}, {} remaining", report.remaining)),
            Err(error) => (error.word(), done),
        };
        Act {
            action: "replace",
            outcome,
            actor: Some(&caller.person),
            organization: Some(&caller.organization),
            authorization: Some(&request.from),
            detail: Some(&detail),
            ..Act::default()
        }
        .record(call);
        result.map(|report| Report { workflows: progress.lines(), ..report })
    }

    async fn replace_noting(
        &self,
        call: &Call,
        caller: &Caller,
        request: &Request,
        progress: &mut Progress,
    ) -> Result<Report, ReplaceError> {
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
        match self.move_all(call, caller, request, to, progress).await {
            Err(error @ ReplaceError::Unavailable(_)) => return Err(error),
            Err(error) if progress.moved == 0 => return Err(error),
            // If the new authorization ended on the way, what has moved has moved, and is told; a repetition is refused.
            Ok(()) | Err(_) => {}
        }
        let remaining = if request.dry_run {
            from.binding_count.saturating_sub(progress.moved)
        } else {
            self.store.authorization_to_bind(&caller.organization, &request.from).await?.map_or(0, |a| a.binding_count)
        };
        let Progress { moved, refused, .. } = *progress;
        Ok(Report { moved, refused, remaining, workflows: Vec::new(), dry_run: request.dry_run })
    }

    async fn find(&self, caller: &Caller, id: &AuthorizationId) -> Result<Authorization, ReplaceError> {
        let found = self.store.authorization_to_bind(&caller.organization, id).await?;
        found.filter(|a| a.status != Status::Deleted).ok_or(ReplaceError::NotFound)
    }

    /// Steps 2 and 3, until all is done or the time is over.
    async fn move_all(
        &self,
        call: &Call,
        caller: &Caller,
        request: &Request,
        to: Authorization,
        progress: &mut Progress,
    ) -> Result<(), ReplaceError> {
        let mut granted = to.scopes;
        let mut last = None;
        while call.has(MOVE_TIME, self.clock.now()) {
            let batch = self.index.bindings_of(&caller.organization, &request.from, last.as_ref(), BATCH).await?;
            let Some(end) = batch.last() else { break };
            last = Some(end.workflow.clone());
            let is_last = batch.len() < BATCH;
            let movable = progress.refuse(batch, &granted);
            if request.dry_run {
                progress.note(movable, || Outcome::WouldMove);
            } else {
                self.move_batch(call, movable, &to.id, &mut granted, progress).await?;
            }
            if is_last {
                break;
            }
        }
        Ok(())
    }

    /// Moves what is still bound as the index showed it. `granted` follows the new authorization.
    async fn move_batch(
        &self,
        call: &Call,
        mut batch: Vec<Binding>,
        to: &AuthorizationId,
        granted: &mut Scopes,
        progress: &mut Progress,
    ) -> Result<(), ReplaceError> {
        while !batch.is_empty() && call.has(MOVE_TIME, self.clock.now()) {
            match self.moves.move_bindings(&batch, to).await? {
                MoveOutcome::Moved(number) => progress.note(batch.drain(..number.min(batch.len())).collect(), || Outcome::Moved),
                // Moved, unbound or bound otherwise by somebody else: not ours any more.
                MoveOutcome::Changed(places) => {
                    let mut place = 0..;
                    batch.retain(|_| place.next().is_none_or(|at| !places.contains(&at)));
                }
                MoveOutcome::Refused(Some(obstacle)) if obstacle.status == Status::Active => {
                    let before = batch.len();
                    batch = progress.refuse(batch, &obstacle.scopes);
                    if batch.len() == before {
                        return Err(ReplaceError::Conflict);
                    }
                    *granted = obstacle.scopes;
                }
                MoveOutcome::Refused(Some(obstacle)) if obstacle.status != Status::Deleted => return Err(ReplaceError::NotActive),
                MoveOutcome::Refused(_) => return Err(ReplaceError::NotFound),
            }
        }
        Ok(())
    }
}

impl Progress {
    /// Notes those that require more than is granted; the others.
    fn refuse(&mut self, batch: Vec<Binding>, granted: &Scopes) -> Vec<Binding> {
        let (movable, refused): (Vec<_>, Vec<_>) = batch.into_iter().partition(|binding| granted.covers(&binding.required_scopes));
        self.refused += refused.len() as u64;
        for binding in refused {
            let missing = granted.missing(&binding.required_scopes);
            self.refused_lines.add(Line { binding, outcome: Outcome::Refused { missing } });
        }
        movable
    }

    fn note(&mut self, bindings: Vec<Binding>, outcome: impl Fn() -> Outcome) {
        self.moved += bindings.len() as u64;
        for binding in bindings {
            self.other_lines.add(Line { binding, outcome: outcome() });
        }
    }

    /// All lines in the order of the workflows' ids.
    fn lines(self) -> Vec<Line> {
        let mut lines = self.refused_lines.lines;
        lines.extend(self.other_lines.lines);
        lines.sort_by(|a, b| a.binding.workflow.cmp(&b.binding.workflow));
        lines
    }
}

impl Lines {
    fn add(&mut self, line: Line) {
        self.bytes += line.bytes();
        if self.bytes <= REPORTED {
            self.lines.push(line);
        }
    }
}

impl Line {
    /// About as long as it is in JSON, where a character of a name may take six bytes.
    fn bytes(&self) -> usize {
        const AROUND: usize = 120;
        let missing = match &self.outcome {
            Outcome::Refused { missing } => missing.iter().map(|scope| scope.len() + 3).sum(),
            Outcome::Moved | Outcome::WouldMove => 0,
        };
        let name = self.binding.name.as_ref().map_or(0, |name| name.as_str().len() * 6);
        AROUND + self.binding.workflow.as_str().len() + name + missing
    }
}

impl ReplaceError {
    fn word(&self) -> &'static str {
        match self {
            Self::NotFound => "authorization_not_found",
            Self::NotActive => "authorization_not_active",
            Self::ConnectionMismatch => "connection_mismatch",
            Self::Same => "parameter_invalid",
            Self::Conflict => "write_conflict",
            Self::Unavailable(_) => "unavailable",
        }
    }
}
