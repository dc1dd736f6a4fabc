//! Lambda `refresh`: the scheduled run.

use std::sync::Arc;

use lambda_runtime::{LambdaEvent, service_fn};
use refresh::RefreshFunction;
use serde_json::Value;
use shared::config::Need::{ClientSecrets, Directory, KmsKey, RescueQueue, Table};
use shared::{lambda, telemetry};
use time::{Duration, OffsetDateTime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let wiring = lambda::start(&[Table, KmsKey, Directory, ClientSecrets, RescueQueue]).await;
    let function = Arc::new(RefreshFunction {
        directories: wiring.directories(),
        refresh_due: wiring.refresh_due(),
        branch_keys: wiring.branch_keys(),
        clock: wiring.clock(),
        entropy: wiring.entropy(),
    });
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let function = Arc::clone(&function);
        async move {
            let deadline = OffsetDateTime::UNIX_EPOCH + Duration::milliseconds(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
            function.run(&event.payload, deadline).await.map_err(|e| telemetry::chain(&e))
        }
    }))
    .await
}
