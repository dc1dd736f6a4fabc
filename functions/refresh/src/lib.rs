//! The scheduled run: EventBridge's event in, a report out (design section 9). The care of branch keys comes the same way: on a
//! schedule of its own, and as commands of operators (docs/operations.md).

use std::sync::Arc;

use serde_json::{Map, Value, json};
use shared::correlation::on_behalf_of;
use shared::domain::ids::{AuthorizationId, InvalidId, OrganizationId, RequestId};
use shared::http::views::timestamp;
use shared::ports::Unavailable;
use shared::ports::cipher::CipherError;
use shared::ports::clock::{Clock, Entropy, random};
use shared::ports::configuration::Directories;
use shared::usecases::Call;
use shared::usecases::branch_keys::{BranchKeyCare, Refusal, Retirement};
use shared::usecases::refresh_due::{InvalidShards, RefreshDue, Shards};
use time::OffsetDateTime;

/// The function.
pub struct RefreshFunction {
    /// The configuration.
    pub directories: Arc<dyn Directories>,
    /// Its use case.
    pub refresh_due: RefreshDue,
    /// The care of branch keys.
    pub branch_keys: BranchKeyCare,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The event's shards make no sense.
    #[error("failed to read the event's shards")]
    Shards(#[from] InvalidShards),
    /// The event names no organization that there could be.
    #[error("failed to read the event's organization")]
    Organization(#[from] InvalidId),
    /// The event is of another shape.
    #[error(
        "event is neither EventBridge's scheduled event, nor {{\"shards\": […], \"of\": n}}, nor {{\"rotate_branch_keys\": {{}}}}, \
         {{\"rotate_branch_keys\": {{\"organization\": …}}}} or {{\"retire_branch_key\": {{\"organization\": …, \"version\": n}}}}"
    )]
    Event,
    /// A part of ours is down.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A branch key is not rotated.
    #[error(transparent)]
    Cipher(#[from] CipherError),
}

/// What an event asks for.
enum Ask {
    Sweep(Shards),
    RotateDue,
    Rotate(OrganizationId),
    Retire(OrganizationId, u32),
}

impl RefreshFunction {
    /// One run, until the deadline at most.
    pub async fn run(&self, event: &Value, deadline: OffsetDateTime) -> Result<Value, RunError> {
        let ask = read(event)?;
        let call = Call::new(RequestId::new(self.clock.now(), random(self.entropy.as_ref())?), deadline);
        let request_id = call.request_id.clone();
        on_behalf_of(request_id, self.answer(&call, ask)).await
    }

    async fn answer(&self, call: &Call, ask: Ask) -> Result<Value, RunError> {
        match ask {
            Ask::Sweep(shards) => self.sweep(call, &shards).await,
            Ask::RotateDue => {
                let done = self.branch_keys.rotate_due(call).await?;
                Ok(json!({ "rotated": done.rotated, "failed": done.failed }))
            }
            Ask::Rotate(organization) => {
                let done = self.branch_keys.rotate(call, &organization).await?;
                Ok(json!({ "organization": organization.as_str(), "from": done.map(|r| r.from), "to": done.map(|r| r.to) }))
            }
            Ask::Retire(organization, version) => {
                let done = self.branch_keys.retire(call, &organization, version).await?;
                Ok(retirement(&organization, version, &done))
            }
        }
    }

    async fn sweep(&self, call: &Call, shards: &Shards) -> Result<Value, RunError> {
        let directory = self.directories.directory().await?;
        let report = self.refresh_due.run(call, &directory, shards).await;
        Ok(json!({
            "due": report.due,
            "refreshed": report.refreshed,
            "needs_reauthorization": report.needs_reauthorization,
            "deferred": report.deferred,
            "skipped": report.skipped,
            "revoked": report.revoked,
            "rescued": report.rescued,
            "failed": report.failed,
        }))
    }
}

fn retirement(organization: &OrganizationId, version: u32, done: &Retirement) -> Value {
    let mut answer = json!({ "organization": organization.as_str(), "version": version, "retired": *done == Retirement::Retired });
    if let Retirement::Refused(refusal) = done {
        answer["reason"] = json!(refusal.as_str());
        match refusal {
            Refusal::TooEarly { not_before } => answer["not_before"] = json!(timestamp(*not_before)),
            Refusal::InUse { authorizations } => {
                answer["authorizations"] = authorizations.iter().map(AuthorizationId::as_str).collect();
            }
            Refusal::Unknown | Refusal::Seals | Refusal::NotKnown => {}
        }
    }
    answer
}

/// A command, or `{"shards": […], "of": n}`, or anything without those that is an object: then all shards.
fn read(event: &Value) -> Result<Ask, RunError> {
    let object = match event {
        Value::Null => return Ok(Ask::Sweep(Shards::all())),
        Value::Object(object) => object,
        _ => return Err(RunError::Event),
    };
    match (object.get("rotate_branch_keys"), object.get("retire_branch_key")) {
        (None, None) => shards(object).map(Ask::Sweep),
        // A command is its event's only content: what else stood there would not be done.
        (Some(Value::Object(rotate)), None) if object.len() == 1 => match rotate.get("organization") {
            None if rotate.is_empty() => Ok(Ask::RotateDue),
            Some(organization) if rotate.len() == 1 => Ok(Ask::Rotate(organization_of(organization)?)),
            _ => Err(RunError::Event),
        },
        (None, Some(Value::Object(retire))) if object.len() == 1 && retire.len() == 2 => {
            let organization = organization_of(retire.get("organization").ok_or(RunError::Event)?)?;
            Ok(Ask::Retire(organization, number(retire.get("version").ok_or(RunError::Event)?)?))
        }
        _ => Err(RunError::Event),
    }
}

fn organization_of(value: &Value) -> Result<OrganizationId, RunError> {
    Ok(OrganizationId::try_from(value.as_str().ok_or(RunError::Event)?)?)
}

fn number(value: &Value) -> Result<u32, RunError> {
    value.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or(RunError::Event)
}

fn shards(object: &Map<String, Value>) -> Result<Shards, RunError> {
    match (object.get("shards"), object.get("of")) {
        (None, None) => Ok(Shards::all()),
        (Some(Value::Array(shards)), Some(of)) => {
            let shards = shards.iter().map(number).collect::<Result<Vec<_>, _>>()?;
            Ok(Shards::new(shards, number(of)?)?)
        }
        _ => Err(RunError::Event),
    }
}
