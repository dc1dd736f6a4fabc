//! Throughput and tail: an open load, which sends so many requests a second whatever the answers take, on the local stack. What waits for
//! its turn is counted as waiting (no coordinated omission). The functions run in the stack's process here, with the emulated AWS beside
//! them, so this tells what one machine can do and how the tail grows; it is told, and not budgeted.

use axum::http::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::Failure;
use crate::report::Row;
use crate::world::World;

/// Requests per second: doubled until what is answered falls behind what is sent.
const RATES: [u32; 9] = [50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800];
/// From which share on it has fallen behind.
const BEHIND: f64 = 0.95;
/// For how long.
const DURATION: &str = "15s";
/// How many may be under way.
const CONNECTIONS: &str = "64";

/// Measures.
pub async fn measure(world: &World) -> Result<Vec<Row>, Failure> {
    let id = world.authorize(true).await?;
    let requests = [
        ("create", "/workflows/authorization".to_owned(), json!({})),
        ("hand-out", format!("/workflows/authorization/{id}/token"), json!({ "workflow_id": "fl_1" })),
    ];
    let mut rows = Vec::new();
    for (what, path, body) in &requests {
        for rate in RATES {
            let measured = run(world, what, path, body, rate).await?;
            let answered = measured.first().map_or(0.0, |row| row.ours);
            rows.extend(measured);
            if answered < BEHIND * f64::from(rate) {
                break;
            }
        }
    }
    Ok(rows)
}

async fn run(world: &World, what: &str, path: &str, body: &Value, rate: u32) -> Result<Vec<Row>, Failure> {
    let output = Command::new("oha")
        .args(["--no-tui", "--output-format", "json", "--latency-correction", "-z", DURATION, "-c", CONNECTIONS])
        .args(["-q", &rate.to_string(), "-m", Method::POST.as_str(), "-T", "application/json", "-d", &body.to_string()])
        .args(["-H", &format!("authorization: Bearer {}", world.bearer())])
        .arg(format!("{}{path}", world.api()))
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("oha does not run, see docs/performance.md: {error}"))?;
    let told: Value = serde_json::from_slice(&output.stdout).map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let statuses = told["statusCodeDistribution"].as_object().cloned().unwrap_or_default();
    if statuses.keys().any(|status| status != "200") {
        return Err(format!("{what} at {rate}/s: not all were answered with 200: {statuses:?}").into());
    }
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let mut rows =
        vec![Row::told(format!("{what}, sent at {rate}/s: answered"), "requests/s", number(&told["summary"]["requestsPerSec"]), None)];
    for percentile in ["p50", "p90", "p99", "p99.9"] {
        let milliseconds = number(&told["latencyPercentiles"][percentile]) * 1e3;
        rows.push(Row::told(format!("{what}, sent at {rate}/s: {percentile}"), "ms", milliseconds, None));
    }
    Ok(rows)
}
