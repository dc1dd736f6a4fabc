//! Logs and metrics: JSON lines on one writer (contract section 11). Never in any of them: a code, state, verifier, token, JWT,
//! client secret, cookie, or Authorization header. The query string of the callback holds two of those, so no URL is logged.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io::Write;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::correlation;
use crate::domain::ids::RequestId;
use crate::http::routes::Function;
use crate::http::views::timestamp;
use crate::ports::clock::Clock;

/// The namespace of the metrics where none is configured.
const NAMESPACE: &str = "Mandate";

/// A metric that this crate counts or measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, which alarms and dashboards use.
    pub name: &'static str,
    /// Its unit, in CloudWatch's word.
    pub unit: &'static str,
    /// By what it is told apart; everything is counted in one if absent.
    pub dimension: Option<&'static str>,
}

/// A count without a dimension.
const fn count(name: &'static str) -> Metric {
    Metric { name, unit: "Count", dimension: None }
}

/// All metrics. An event that has a field `metrics` carries the values of those that it names, in fields of theirs; one with a field
/// `metric` counts one of what that names. What is not in here is not counted.
pub const METRICS: [Metric; 18] = [
    Metric { name: "duration_ms", unit: "Milliseconds", dimension: Some("route") },
    Metric { name: "faults", unit: "Count", dimension: Some("route") },
    Metric { name: "refusals", unit: "Count", dimension: Some("route") },
    count("security_signals"),
    count("decrypt_failures"),
    count("quarantined"),
    count("branch_key_rotation_failed"),
    count("provider_incident"),
    count("provider_incident_ended"),
    count("refreshes"),
    count("needs_reauthorization"),
    count("announcements_failed"),
    count("tokens_lost"),
    Metric { name: "refresh_backlog_seconds", unit: "Seconds", dimension: None },
    count("due"),
    count("deferred"),
    count("failed"),
    count("rescued"),
];

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
    /// How long it took.
    pub took: Duration,
}

/// Writes the line of one request, with its metrics.
pub fn request(line: &RequestLine<'_>) {
    let duration_ms = u64::try_from(line.took.whole_milliseconds()).unwrap_or(0);
    let cause = line.cause.map(chain);
    let (fault, refused) = (u64::from(line.status >= 500), u64::from((400..500).contains(&line.status)));
    tracing::info!(
        request_id = line.request_id,
        function = ?line.function,
        route = line.route,
        method = &*clean(line.method, 16),
        status = line.status,
        code = line.code,
        cause,
        duration_ms,
        faults = fault,
        refusals = refused,
        metrics = "duration_ms faults refusals",
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
    clean(&text, 1000).into_owned()
}

/// No field of a line is longer, in characters …
const TEXT: usize = 2000;
/// … but the list of the workflows that an announcement names: a hundred ids of 128 characters.
const LIST: usize = 16 * 1024;

/// At most `most` characters, none of them a control character: log lines cannot be forged.
fn clean(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most && text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Cow::Borrowed(text); // nearly every text
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}

/// Where lines go: standard output in Lambda.
pub type Output = Box<dyn Fn() -> Box<dyn Write> + Send + Sync>;

/// Begins to write this crate's events as JSON lines. Further calls change nothing.
pub fn start(clock: Arc<dyn Clock>, output: Output) {
    start_counting_as(NAMESPACE, clock, output);
}

/// The same, with metrics in a namespace of one's own.
pub fn start_counting_as(namespace: &str, clock: Arc<dyn Clock>, output: Output) {
    // What the SDKs say of themselves may hold requests; it is shown only from warnings on.
    let filter =
        Targets::new().with_default(LevelFilter::ERROR).with_target("shared", LevelFilter::INFO).with_target("local", LevelFilter::INFO);
    let lines = JsonLines { namespace: namespace.to_owned(), clock, output };
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}

/// Writes each event as one JSON object; fields stand at the top level, where CloudWatch's Embedded Metric Format wants the values of
/// metrics.
struct JsonLines {
    namespace: String,
    clock: Arc<dyn Clock>,
    output: Output,
}

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let now = self.clock.now();
        let mut line = Line::default();
        line.put("time", &timestamp(now));
        line.put("level", level(*event.metadata().level()));
        event.record(&mut line);
        line.measure(&self.namespace, now);
        if let (false, Some(request_id)) = (line.names_its_request, correlation::request_id()) {
            line.put("request_id", request_id.as_str());
        }
        line.text.extend_from_slice(b"}\n");
        // There is nowhere to report that a line could not be written.
        let _ = (self.output)().write_all(&line.text);
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

/// A JSON object, as it is written.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    names_its_request: bool,
    /// What its field `metric` names, and its field `metrics`.
    counted: Option<String>,
    carried: Option<String>,
}

impl Line {
    /// Appends a member. Names are those of fields in this code, and need no escape.
    fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.names_its_request |= name == "request_id";
        self.text.extend_from_slice(if self.text.is_empty() { b"{\"" } else { b",\"" });
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":");
        let before = self.text.len();
        if serde_json::to_writer(&mut self.text, value).is_err() {
            self.text.truncate(before);
            self.text.extend_from_slice(b"null");
        }
    }

    /// Says in `_aws` which fields are metrics (Embedded Metric Format specification, "Schema").
    fn measure(&mut self, namespace: &str, now: OffsetDateTime) {
        let (counted, carried) = (self.counted.take(), self.carried.take());
        if let Some(counted) = &counted {
            self.put(counted, &1);
        }
        let names = carried.iter().flat_map(|carried| carried.split(' ')).chain(counted.as_deref()).collect::<Vec<_>>();
        let declared: Vec<&Metric> = METRICS.iter().filter(|metric| names.contains(&metric.name)).collect();
        // An event's metrics have their dimension in common.
        let Some(dimension) = declared.first().map(|metric| metric.dimension) else { return };
        let metrics: Vec<Value> = declared.iter().map(|metric| json!({ "Name": metric.name, "Unit": metric.unit })).collect();
        let dimensions: Vec<&str> = dimension.into_iter().collect();
        let directive = json!([{ "Namespace": namespace, "Dimensions": [dimensions], "Metrics": metrics }]);
        self.put("_aws", &json!({ "Timestamp": milliseconds(now), "CloudWatchMetrics": directive }));
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "metric" => self.counted = Some(value.to_owned()),
            "metrics" => self.carried = Some(value.to_owned()),
            name => self.put(name, &clean(value, if name == "workflows" { LIST } else { TEXT })),
        }
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), &value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), &value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), &value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), &value);
    }
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field.name(), &chain(value));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), &clean(&format!("{value:?}"), TEXT));
    }
}
