//! What the functions' `main`s have in common: start, and then serve the Runtime API.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use futures_util::future::join;
use lambda_http::lambda_runtime;
use lambda_http::{LambdaEvent, service_fn};
use serde_json::value::RawValue;

use crate::config::{Need, Settings};
use crate::connections::Connections;
use crate::http::event::{self, Handler};
use crate::system::{SystemClock, SystemEntropy};
use crate::telemetry;
use crate::wiring::{StartError, Wiring, endpoints, sdk_config};

/// How long a start waits for what it only does ahead of time, at most twice: within a region all of it takes milliseconds.
const AHEAD: Duration = Duration::from_secs(1);

/// Starts a function in Lambda: wires it, and meanwhile opens the connections that its requests will need. Then fetches what
/// verifies their bearer tokens.
pub async fn start(needs: &[Need]) -> Wiring {
    let settings = Settings::from_environment();
    let connections = match Connections::new() {
        Ok(connections) => connections,
        Err(error) => stop(&error.into()),
    };
    let sdk = sdk_config(&settings, &connections);
    let opening = async { connections.open(&endpoints(&settings, needs).await, AHEAD).await };
    let (wiring, ()) = join(start_with(needs, sdk), opening).await;
    // What is not there in time is fetched by the first request.
    let _ = tokio::time::timeout(AHEAD, wiring.fetch_api_keys()).await;
    wiring
}

/// Wires a function in Lambda. A fault is one line on standard error and exit status 2: no invocation is ever served by a
/// function that is configured wrongly.
pub async fn start_with(needs: &[Need], sdk: SdkConfig) -> Wiring {
    let clock = Arc::new(SystemClock);
    let settings = Settings::from_environment();
    let namespace = settings.metrics_namespace.as_deref().unwrap_or("Mandate");
    telemetry::start_counting_as(namespace, clock.clone(), Box::new(|| Box::new(std::io::stdout().lock())));
    match Wiring::start(settings, needs, sdk, clock, Arc::new(SystemEntropy)).await {
        Ok(wiring) => wiring,
        Err(error) => stop(&error),
    }
}

fn stop(error: &StartError) -> ! {
    // Nothing more can be done if standard error is closed.
    let _ = writeln!(std::io::stderr(), "cannot start: {}", telemetry::chain(error));
    std::process::exit(2)
}

/// Serves an HTTP function until the runtime ends it.
pub async fn run_http(handler: impl Handler) -> Result<(), lambda_runtime::Error> {
    let handler: Arc<dyn Handler> = Arc::new(handler);
    lambda_runtime::run(service_fn(move |invocation: LambdaEvent<Box<RawValue>>| {
        let handler = Arc::clone(&handler);
        async move { event::serve(handler, invocation.payload.get(), invocation.context).await.map_err(|e| telemetry::chain(&e)) }
    }))
    .await
}
