//! Logs and metrics: JSON lines on one writer (contract section 11). Never in any of them: a code, state, verifier, token, JWT,
//! client secret, cookie, or Authorization header. The query string of the callback holds two of those, so no URL is logged.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::domain::ids::RequestId;
use crate::http::routes::Function;
use crate::http::views::timestamp;
use crate::ports::clock::Clock;

/// The namespace of the metrics.
const NAMESPACE: &str = "Mandate";

/// One request, as the log tells it.
pub struct RequestLine<'a> {
    /// Its id.
    pub request_id: &'a str,
    /// Which function served it.
    pub function: Function,
    /// Which route, without ids.
    pub route: &'static str,
    /// The method.
    pub method: &'a str,
    /// The answer's status.
    pub status: u16,
    /// The answer's error code.
    pub code: Option<&'static str>,
    /// Why, for the operator.
    pub cause: Option<&'a (dyn Error + 'static)>,
    /// When it came.
    pub began: OffsetDateTime,
    /// How long it took.
    pub took: Duration,
}

/// Writes the line of one request. It carries its metrics in CloudWatch's Embedded Metric Format in the field `emf`.
pub fn request(line: &RequestLine<'_>) {
    let duration_ms = u64::try_from(line.took.whole_milliseconds()).unwrap_or(0);
    let cause = line.cause.map(chain);
    let (fault, refused) = (u64::from(line.status >= 500), u64::from((400..500).contains(&line.status)));
    let emf = json!({
        "Timestamp": milliseconds(line.began),
        "CloudWatchMetrics": [{
            "Namespace": NAMESPACE,
            "Dimensions": [["route"]],
            "Metrics": [
                { "Name": "duration_ms", "Unit": "Milliseconds" },
                { "Name": "faults", "Unit": "Count" },
                { "Name": "refusals", "Unit": "Count" },
            ],
        }],
    });
    tracing::info!(
        request_id = line.request_id,
        function = ?line.function,
        route = line.route,
        method = clean(line.method, 16),
        status = line.status,
        code = line.code,
        cause,
        duration_ms,
        faults = fault,
        refusals = refused,
        emf = %emf,
        "request"
    );
}

fn milliseconds(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

/// A failure that the answer cannot tell, as pages have no codes.
pub fn failure(doing: &'static str, error: &(dyn Error + 'static), request_id: &RequestId) {
    tracing::error!(doing, error, request_id = request_id.as_str(), "failure");
}

/// An error and its sources in one text, cut and cleaned.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    clean(&text, 1000)
}

/// At most `most` characters, none of them a control character: log lines cannot be forged.
fn clean(text: &str, most: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}

/// Where lines go: standard output in Lambda.
pub type Output = Box<dyn Fn() -> Box<dyn Write> + Send + Sync>;

/// Begins to write this crate's events as JSON lines. Further calls change nothing.
pub fn start(clock: Arc<dyn Clock>, output: Output) {
    // What the SDKs say of themselves may hold requests; it is shown only from warnings on.
    let filter =
        Targets::new().with_default(LevelFilter::ERROR).with_target("shared", LevelFilter::INFO).with_target("local", LevelFilter::INFO);
    let _ = tracing_subscriber::registry().with(JsonLines { clock, output }.with_filter(filter)).try_init();
}

/// Writes each event as one JSON object; fields stand at the top level, and `emf` becomes `_aws`, as CloudWatch expects it. An event
/// with a field `metric` counts one of what that names.
struct JsonLines {
    clock: Arc<dyn Clock>,
    output: Output,
}

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line(Map::new());
        line.0.insert("time".to_owned(), json!(timestamp(self.clock.now())));
        line.0.insert("level".to_owned(), json!(level(*event.metadata().level())));
        event.record(&mut line);
        line.count(self.clock.now());
        let mut text = Value::Object(line.0).to_string();
        text.push('\n');
        // There is nowhere to report that a line could not be written.
        let _ = (self.output)().write_all(text.as_bytes());
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

struct Line(Map<String, Value>);

impl Line {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }

    fn count(&mut self, now: OffsetDateTime) {
        let Some(Value::String(metric)) = self.0.remove("metric") else { return };
        let counted = json!([{ "Namespace": NAMESPACE, "Dimensions": [[]], "Metrics": [{ "Name": metric, "Unit": "Count" }] }]);
        self.0.insert("_aws".to_owned(), json!({ "Timestamp": milliseconds(now), "CloudWatchMetrics": counted }));
        self.0.insert(metric, json!(1));
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, json!(clean(value, 2000)));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, json!(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, json!(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, json!(value));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, json!(value));
    }
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, json!(chain(value)));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "emf" => {
                self.0.insert("_aws".to_owned(), serde_json::from_str(&text).unwrap_or(Value::Null));
            }
            _ => self.put(field, json!(clean(&text, 2000))),
        }
    }
}
