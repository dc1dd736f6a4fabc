//! The scheduled run: EventBridge's event in, a report out (design section 9).

use std::sync::Arc;

use serde_json::{Value, json};
use shared::correlation::on_behalf_of;
use shared::domain::ids::RequestId;
use shared::ports::Unavailable;
use shared::ports::clock::{Clock, Entropy, random};
use shared::ports::configuration::Directories;
use shared::usecases::Call;
use shared::usecases::refresh_due::{InvalidShards, RefreshDue, Shards};
use time::OffsetDateTime;

/// The function.
pub struct RefreshFunction {
    /// The configuration.
    pub directories: Arc<dyn Directories>,
    /// Its use case.
    pub refresh_due: RefreshDue,
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
    /// The event is of another shape.
    #[error("event is neither EventBridge's scheduled event nor {{\"shards\": […], \"of\": n}}")]
    Event,
    /// A part of ours is down.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl RefreshFunction {
    /// One run, until the deadline at most.
    pub async fn run(&self, event: &Value, deadline: OffsetDateTime) -> Result<Value, RunError> {
        let shards = read(event)?;
        let directory = self.directories.directory().await?;
        let call = Call { request_id: RequestId::new(self.clock.now(), random(self.entropy.as_ref())?), deadline };
        let report = on_behalf_of(call.request_id.clone(), self.refresh_due.run(&call, &directory, &shards)).await;
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

/// `{"shards": […], "of": n}`, or anything without them that is an object: then all shards.
fn read(event: &Value) -> Result<Shards, RunError> {
    let object = match event {
        Value::Null => return Ok(Shards::all()),
        Value::Object(object) => object,
        _ => return Err(RunError::Event),
    };
    match (object.get("shards"), object.get("of")) {
        (None, None) => Ok(Shards::all()),
        (Some(Value::Array(shards)), Some(of)) => {
            let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or(RunError::Event);
            let shards = shards.iter().map(number).collect::<Result<Vec<_>, _>>()?;
            Ok(Shards::new(shards, number(of)?)?)
        }
        _ => Err(RunError::Event),
    }
}
