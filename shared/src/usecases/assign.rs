//! Bind a workflow to an authorization, show the binding, unbind (contract section 8).

use std::sync::Arc;

use time::Duration;

use super::Call;
use super::audit::Act;
use crate::domain::authorization::Status;
use crate::domain::binding::{Binding, WorkflowName};
use crate::domain::caller::Caller;
use crate::domain::ids::{AuthorizationId, WorkflowId};
use crate::domain::scopes::Scopes;
use crate::ports::Unavailable;
use crate::ports::clock::Clock;
use crate::ports::store::{BindObstacle, BindOutcome, BindingStore};

/// What must remain of the function's time before another try.
const TRY_TIME: Duration = Duration::seconds(3);

/// The use case with what it needs.
pub struct Assign {
    /// Bindings and their counts.
    pub store: Arc<dyn BindingStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What to bind.
#[derive(Debug)]
pub struct Request {
    /// The workflow.
    pub workflow: WorkflowId,
    /// The authorization it shall use.
    pub authorization: AuthorizationId,
    /// What to call the workflow.
    pub name: Option<WorkflowName>,
    /// What the authorization must grant.
    pub required_scopes: Scopes,
}

/// Why nothing was bound or unbound.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    /// No such authorization in this organization.
    #[error("no such authorization")]
    AuthorizationNotFound,
    /// The authorization is not active.
    #[error("authorization is not active")]
    NotActive,
    /// It does not grant what is required.
    #[error("authorization does not grant the required scopes")]
    ScopesInsufficient {
        /// What is missing.
        missing: Scopes,
    },
    /// The workflow is not bound.
    #[error("workflow is not bound")]
    NotBound,
    /// Somebody else keeps changing the same binding.
    #[error("binding keeps changing")]
    Conflict,
    /// A part of ours is down.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Assign {
    /// Binds or re-binds.
    pub async fn bind(&self, call: &Call, caller: &Caller, request: Request) -> Result<Binding, AssignError> {
        let mut binding = Binding {
            organization: caller.organization.clone(),
            workflow: request.workflow,
            name: request.name,
            authorization: request.authorization,
            required_scopes: request.required_scopes,
            created_at: self.clock.now(),
        };
        let result = self.bind_following(call, &mut binding).await;
        let outcome = match &result {
            Ok(()) => "ok",
            Err(error) => error.word(),
        };
        record(call, caller, "assign", outcome, Some(&binding.authorization), &binding.workflow);
        result.map(|()| binding)
    }

    /// The last writer wins: a binding that changes meanwhile is followed, with growing waits, for as long as the time allows.
    async fn bind_following(&self, call: &Call, binding: &mut Binding) -> Result<(), AssignError> {
        let mut previous: Option<Binding> = None;
        let mut tries: i32 = 0;
        while tries == 0 || call.has(TRY_TIME, self.clock.now()) {
            // Repeating a bind is harmless: it keeps the time at which the workflow was bound to this authorization.
            if let Some(same) = previous.as_ref().filter(|p| p.authorization == binding.authorization) {
                binding.created_at = same.created_at;
            }
            match self.store.bind(binding, previous.as_ref()).await? {
                BindOutcome::Bound => return Ok(()),
                BindOutcome::Changed(found) => previous = found.map(|b| *b),
                BindOutcome::Refused(obstacle) => return Err(refusal(obstacle.as_ref(), &binding.required_scopes)),
            }
            if tries > 0 {
                self.clock.sleep(Duration::milliseconds(10) * tries.min(20)).await;
            }
            tries += 1;
        }
        Err(AssignError::Conflict)
    }

    /// The binding of a workflow; `None` if it has none.
    pub async fn binding(&self, caller: &Caller, workflow: &WorkflowId) -> Result<Option<Binding>, AssignError> {
        Ok(self.store.binding(&caller.organization, workflow).await?)
    }

    /// Unbinds.
    pub async fn unbind(&self, call: &Call, caller: &Caller, workflow: &WorkflowId) -> Result<(), AssignError> {
        let result = self.unbind_following(call, caller, workflow).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(error) => error.word(),
        };
        record(call, caller, "unassign", outcome, result.as_ref().ok(), workflow);
        result.map(drop)
    }

    /// The authorization that let the workflow go.
    async fn unbind_following(&self, call: &Call, caller: &Caller, workflow: &WorkflowId) -> Result<AuthorizationId, AssignError> {
        let mut tries: i32 = 0;
        while tries == 0 || call.has(TRY_TIME, self.clock.now()) {
            let previous = self.store.binding(&caller.organization, workflow).await?.ok_or(AssignError::NotBound)?;
            if self.store.unbind(&previous).await? {
                return Ok(previous.authorization);
            }
            tries += 1;
            self.clock.sleep(Duration::milliseconds(10) * tries.min(20)).await;
        }
        Err(AssignError::Conflict)
    }
}

/// What an obstacle means for a caller.
pub(super) fn refusal(obstacle: Option<&BindObstacle>, required: &Scopes) -> AssignError {
    match obstacle {
        None => AssignError::AuthorizationNotFound,
        Some(found) => match found.status {
            Status::Deleted => AssignError::AuthorizationNotFound,
            Status::Revoking | Status::NeedsReauthorization(_) => AssignError::NotActive,
            Status::Active if found.scopes.covers(required) => AssignError::Conflict,
            Status::Active => AssignError::ScopesInsufficient { missing: found.scopes.missing(required) },
        },
    }
}

impl AssignError {
    fn word(&self) -> &'static str {
        match self {
            Self::AuthorizationNotFound => "authorization_not_found",
            Self::NotActive => "authorization_not_active",
            Self::ScopesInsufficient { .. } => "scopes_insufficient",
            Self::NotBound => "workflow_not_bound",
            Self::Conflict => "write_conflict",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

fn record(
    call: &Call,
    caller: &Caller,
    action: &'static str,
    outcome: &str,
    authorization: Option<&AuthorizationId>,
    workflow: &WorkflowId,
) {
    Act {
        action,
        outcome,
        actor: Some(&caller.person),
        organization: Some(&caller.organization),
        authorization,
        workflow: Some(workflow),
        ..Act::default()
    }
    .record(call);
}
