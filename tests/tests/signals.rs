//! What the log tells: known fields only (79), every act (81), every security signal as a metric that CloudWatch takes (82); and how
//! what goes wrong altogether ends (95).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use local::sign_in::PEOPLE;
use serde_json::{Value, json};
use shared::ports::Unavailable;
use shared::ports::clock::Entropy;
use shared::system::SystemEntropy;
use shared::usecases::signals::Signal;
use tests::arena::{Arena, Mode, with};
use tests::provider::{CLIENT_SECRET, Provider};
use tests::{Expect as _, Setup, World, log};
use time::Duration;

const LIST: &str = "/workflows/authorization";

/// Everything that raises a signal, and an act of every kind.
async fn everything() -> Arena {
    let arena = Arena::start().await;
    let (world, olivia) = (&arena.world, &arena.olivia);
    // A state that is altered, one that comes back, one at another connection, an issuer that was not asked.
    let url = arena.url(olivia, "conn_honest", Mode::Direct).await;
    let callback = arena.before_the_callback(olivia, &url).await;
    let state = tests::arena::parameter(&callback, "state");
    olivia.browser.open(&with(&callback, &[("state", Some(&format!("{state}A")))])).await.page(400);
    olivia.browser.open(&callback.replace("/conn_honest?", "/conn_plain?")).await.page(400);
    olivia.browser.open(&with(&callback, &[("iss", Some("https://evil.example"))])).await.page(400);
    olivia.browser.open(&callback).await.page(200);
    olivia.browser.open(&callback).await.page(200);
    // A victim at the attacker's URL, and an attacker with the victim's code.
    let bait = arena.url(&arena.mallory, "conn_honest", Mode::Direct).await;
    olivia.browser.visit(&bait).await.page(403);
    let url = arena.url(olivia, "conn_honest", Mode::Redirect).await;
    let landed = olivia.browser.visit(&url).await;
    arena.mallory.caller.complete(json!({ "code": landed.sent("code") })).await.refused(404, "flow_not_found");
    let caller = &olivia.caller;
    let id = caller.complete(json!({ "code": landed.sent("code") })).await.is(201)["id"].as_str().unwrap().to_owned();
    let one = format!("{LIST}/{id}");
    world.bind(caller, "fl_1", &id).await;
    caller.post(&format!("{one}/check"), json!({})).await.is(200);
    // A token that was handed out is renewed ahead of its end.
    caller.token(&id, json!({ "workflow_id": "fl_1" })).await.is(200);
    // A refresh that tells of more than was granted, by the schedule; then the provider refuses the token that is stored.
    arena.honest.script(|script| script.scope = Some("openid email offline_access everything".to_owned()));
    world.pass(Duration::minutes(59));
    world.run_schedule().await;
    arena.honest.end_grants();
    world.pass(Duration::hours(2));
    caller.token(&id, json!({ "workflow_id": "fl_1" })).await.refused(409, "needs_reauthorization");
    let spare = caller.list().await.as_array().unwrap().iter().find(|entry| entry["id"] != *id).unwrap()["id"].clone();
    caller.post(&format!("{one}/replace"), json!({ "authorization_id": spare })).await;
    caller.delete("/workflows/fl_1/authorization").await;
    caller.delete(&one).await;
    arena
}

/// Holds a line to the specification of the embedded metric format.
fn is_accepted(line: &Value) -> Result<Vec<String>, String> {
    let demand = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{what}: {line}")) };
    let root = line.as_object().ok_or("no object")?;
    let Some(aws) = root.get("_aws") else { return Ok(Vec::new()) };
    let aws = aws.as_object().ok_or_else(|| format!("_aws is no object: {line}"))?;
    demand(line.to_string().len() <= 256 * 1024, "more than 256 KiB")?;
    demand(aws.keys().all(|member| ["Timestamp", "CloudWatchMetrics"].contains(&member.as_str())), "further members")?;
    // Milliseconds since 1970, as a number: after 2001 and before 2286 in that unit, and in no other.
    demand(aws["Timestamp"].as_u64().is_some_and(|at| (1_000_000_000_000..10_000_000_000_000).contains(&at)), "Timestamp")?;
    let directives = aws["CloudWatchMetrics"].as_array().ok_or("CloudWatchMetrics")?;
    demand(!directives.is_empty(), "nothing is measured")?;
    let units = ["Count", "Milliseconds", "Seconds", "Bytes", "Percent", "None"];
    let mut names = Vec::new();
    for directive in directives {
        demand(
            directive["Namespace"].as_str().is_some_and(|name| (1..=1024).contains(&name.len()) && !name.starts_with("AWS/")),
            "Namespace",
        )?;
        let sets = directive["Dimensions"].as_array().ok_or("Dimensions")?;
        demand(!sets.is_empty(), "no set of dimensions")?;
        for set in sets {
            let set = set.as_array().ok_or("a set of dimensions")?;
            demand(set.len() <= 30, "too many dimensions")?;
            for dimension in set {
                let target = dimension.as_str().and_then(|name| root.get(name)).and_then(Value::as_str);
                demand(target.is_some_and(|value| (1..=1024).contains(&value.len())), "a dimension that is no text of the line")?;
            }
        }
        let metrics = directive["Metrics"].as_array().ok_or("Metrics")?;
        demand((1..=100).contains(&metrics.len()), "number of metrics")?;
        for metric in metrics {
            let name = metric["Name"].as_str().filter(|name| (1..=1024).contains(&name.len())).ok_or("Name")?;
            demand(metric["Unit"].as_str().is_none_or(|unit| units.contains(&unit)), "Unit")?;
            demand(root.get(name).is_some_and(Value::is_number), "a metric that is no number of the line")?;
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[tokio::test]
async fn s82_every_security_signal_is_a_metric_and_every_metric_is_one_that_cloudwatch_takes() {
    let arena = everything().await;
    for signal in Signal::ALL {
        let lines = log::with(&format!("\"signal\":\"{}\"", signal.as_str()));
        assert!(!lines.is_empty(), "{signal:?} was not raised");
        for line in lines {
            let names = is_accepted(&line).unwrap();
            assert_eq!(names, ["security_signals"], "{line}");
            assert_eq!((&line["security_signals"], &line["level"]), (&json!(1), &json!("warn")));
            assert!(line["request_id"].as_str().is_some_and(|id| !id.is_empty()) && line["why"].is_string());
        }
    }
    let mut measured = BTreeSet::new();
    for line in log::with("\"_aws\"") {
        measured.extend(is_accepted(&line).unwrap());
    }
    for expected in ["duration_ms", "faults", "refusals", "security_signals"] {
        assert!(measured.contains(expected), "{measured:?}");
    }
    drop(arena);
    // The judge is one: it refuses what CloudWatch would pass over in silence.
    let good = json!({
        "_aws": { "Timestamp": 1_764_000_000_000_u64, "CloudWatchMetrics": [{
            "Namespace": "Mandate", "Dimensions": [["route"]], "Metrics": [{ "Name": "faults", "Unit": "Count" }],
        }] },
        "route": "list", "faults": 0,
    });
    assert_eq!(is_accepted(&good), Ok(vec!["faults".to_owned()]));
    for (place, value) in [
        ("/_aws/Timestamp", json!("2026-11-22T10:00:00Z")),
        ("/_aws/Timestamp", json!(1_764_000_000)),
        ("/_aws/CloudWatchMetrics", json!([])),
        ("/_aws/CloudWatchMetrics/0/Dimensions", json!(["route"])),
        ("/_aws/CloudWatchMetrics/0/Dimensions/0/0", json!("method")),
        ("/_aws/CloudWatchMetrics/0/Metrics/0/Name", json!("unknown")),
        ("/_aws/CloudWatchMetrics/0/Metrics/0/Unit", json!("ms")),
        ("/faults", json!("0")),
        ("/route", json!("")),
    ] {
        let mut line = good.clone();
        *line.pointer_mut(place).unwrap() = value.clone();
        assert!(is_accepted(&line).is_err(), "{place} {value}");
    }
}

/// Every field that a line of the log may have. A new one is judged here: what comes from outside may be in none of them but those
/// that say so.
const FIELDS: &[&str] = &[
    // Every line.
    "_aws",
    "time",
    "level",
    "message",
    "request_id",
    // A request: constants and numbers; `cause` is our chain of errors, cut and cleaned.
    "function",
    "route",
    "method",
    "status",
    "code",
    "cause",
    "duration_ms",
    "faults",
    "refusals",
    // The audit trail: ids of ours, the caller's and the identity's subject and issuer.
    "audit",
    "action",
    "outcome",
    "actor.issuer",
    "actor.subject",
    "organization",
    "authorization",
    "workflow",
    "detail",
    "reason",
    "reauthorize_by",
    "owner.issuer",
    "owner.subject",
    "user_id",
    "workflow_count",
    "workflows",
    "connection",
    "before",
    "event_id",
    // What is counted (`shared::telemetry::METRICS`).
    "refreshes",
    "decrypt_failures",
    "quarantined",
    "branch_key_rotation_failed",
    "announcements_failed",
    "tokens_lost",
    "refresh_backlog_seconds",
    // Signals and incidents.
    "security_signals",
    "signal",
    "why",
    "provider_incident",
    "provider_incident_ended",
    "kind",
    // Failures: errors of ours and, cut and cleaned, of others.
    "doing",
    "error",
    "issuer",
    // The report of a run.
    "due",
    "refreshed",
    "needs_reauthorization",
    "deferred",
    "skipped",
    "revoked",
    "rescued",
    "failed",
];

#[tokio::test]
async fn s79_a_line_of_the_log_has_known_fields_only() {
    let arena = everything().await;
    let mut seen = BTreeSet::new();
    for line in log::text().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        for (field, value) in line.as_object().unwrap() {
            assert!(FIELDS.contains(&field.as_str()), "the field {field} in {line}");
            assert!(field == "_aws" || !value.is_object() && !value.is_array(), "{field} is more than a text or a number: {line}");
            seen.insert(field.clone());
        }
        for forbidden in ["rawQueryString", "Bearer ", "Basic ", "?code=", "&state=", "cookie"] {
            assert!(!line.to_string().contains(forbidden), "{forbidden} in {line}");
        }
    }
    assert!(seen.len() > 25, "{seen:?}");
    drop(arena);
}

#[tokio::test]
async fn s81_every_act_leaves_a_line_that_says_who_what_when_and_how_it_ended() {
    let arena = everything().await;
    let lines = log::with("\"audit\":true");
    for action in [
        "create",
        "complete",
        "refuse",
        "assign",
        "hand_out",
        "check",
        "refresh",
        "status_change",
        "replace",
        "unassign",
        "revoke",
        "provider_revocation",
    ] {
        let of: Vec<&Value> = lines.iter().filter(|line| line["action"] == action).collect();
        assert!(!of.is_empty(), "no {action} is told");
        for line in of {
            let time = time::OffsetDateTime::parse(line["time"].as_str().unwrap(), &time::format_description::well_known::Rfc3339);
            assert!(time.unwrap().offset().is_utc(), "{line}");
            for told in ["outcome", "request_id", "organization"] {
                assert!(line[told].as_str().is_some_and(|text| !text.is_empty()), "{told} of {line}");
            }
            if !["create", "complete", "refuse", "provider_revocation"].contains(&action) {
                assert!(line["authorization"].is_string(), "{line}");
            }
            // Whoever calls is named; what the schedule does has no actor.
            let by_a_caller = ["create", "complete", "refuse", "assign", "hand_out", "check", "replace", "unassign", "revoke"];
            if by_a_caller.contains(&action) {
                assert!(line["actor.subject"].is_string() && line["actor.issuer"].is_string(), "{line}");
            }
        }
    }
    // What follows from a request names who sent it, and for which workflow.
    for action in ["refresh", "status_change"] {
        let named = |line: &&Value| line["actor.subject"].is_string() && line["workflow"].is_string();
        assert!(lines.iter().filter(|line| line["action"] == action).any(|line| named(&line)), "{action}");
    }
    // Failures are acts, too.
    for (action, outcome) in
        [("refuse", "identity_refused"), ("refuse", "other_caller"), ("hand_out", "needs_reauthorization"), ("refresh", "refused")]
    {
        assert!(lines.iter().any(|line| line["action"] == action && line["outcome"] == outcome), "{action} {outcome}");
    }
    drop(arena);
}

/// The system's randomness, until whoever asks for it comes to grief.
#[derive(Default)]
struct Trap(AtomicBool);

impl Entropy for Trap {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Unavailable> {
        assert!(!self.0.load(Ordering::SeqCst), "the trap is sprung");
        SystemEntropy.fill(buffer)
    }
}

#[tokio::test]
async fn s95_a_panic_is_no_success_stores_nothing_and_leaves_the_next_request_alone() {
    let trap = Arc::new(Trap::default());
    let provider = Provider::start().await;
    let connection = provider.connection("conn_scripted");
    let world = World::with(Setup {
        directory: Some(Box::new(move |directory: &mut Value, _| {
            directory["connections"].as_array_mut().unwrap().push(connection.clone());
        })),
        client_secrets: vec![("conn_scripted".to_owned(), CLIENT_SECRET.to_owned())],
        clock: Some(provider.clock()),
        entropy: Some(Arc::clone(&trap) as _),
        ..Setup::default()
    })
    .await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, PEOPLE[0].id).await;
    world.bind(&olivia, "fl_1", &id).await;
    world.pass(Duration::hours(2));
    let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to() });
    let back = provider.come_back(&world.url(&olivia, body.clone()).await);
    let code = world.open(&back).await.sent("code").unwrap();
    let (before, seen) = (olivia.list().await, provider.seen());

    trap.0.store(true, Ordering::SeqCst);
    for (path, body) in [
        (LIST.to_owned(), body),
        (format!("{LIST}/complete"), json!({ "code": code })),
        (format!("{LIST}/{id}/token"), json!({ "workflow_id": "fl_1" })),
    ] {
        let answer = olivia.post(&path, body).await;
        assert_eq!(answer.status, 500, "{path}: {}", answer.text);
        for word in ["access_token", "url", "trap", "panic", ".rs"] {
            assert!(!answer.text.contains(word), "{path}: {}", answer.text);
        }
    }
    assert_eq!(world.open(&back).await.status, 500);
    trap.0.store(false, Ordering::SeqCst);
    assert_eq!((olivia.list().await, provider.seen()), (before, seen), "nothing was stored, and nothing asked of the provider");
    // Nothing is consumed, locked or poisoned.
    olivia.complete(json!({ "code": code })).await.is(201);
    olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.is(200);
}

#[tokio::test]
async fn s83_an_email_is_shown_only_as_the_provider_told_it_and_only_if_it_can_be_one() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let longest = format!("{}@example.com", "a".repeat(320 - "@example.com".len()));
    for (told, shown) in [
        (Some("someone.else@example.com".to_owned()), json!("someone.else@example.com")),
        (Some(longest.clone()), json!(longest)),
        (Some(format!("a{longest}")), Value::Null),
        (Some("no address".to_owned()), Value::Null),
        (Some("line\nbreak@example.com".to_owned()), Value::Null),
        (None, Value::Null),
    ] {
        provider.script(|script| script.person.email = told.clone());
        let id = world.authorize_at(&provider, &olivia).await;
        assert_eq!(olivia.one(&id).await["email"], shown, "{told:?}");
    }
    // It comes back as JSON, whatever is in it, and is never part of a page.
    let markup = "<script>alert(1)</script>@example.com";
    provider.script(|script| script.person.email = Some(markup.to_owned()));
    let id = world.authorize_at(&provider, &olivia).await;
    let answer = olivia.get(&format!("{LIST}/{id}")).await;
    assert_eq!((answer.is(200)["email"].as_str(), answer.header("content-type")), (Some(markup), "application/json"));
    let page = world.open(&provider.come_back(&world.url(&olivia, json!({ "connection_id": "conn_scripted" })).await)).await;
    assert!(!page.text.contains("alert(1)") && !page.text.contains("@example.com"), "{}", page.text);
    // An address that nobody has verified ties nobody to a sign-in.
    provider.script(|script| (script.person.email, script.person.email_verified) = (Some(PEOPLE[0].email.to_owned()), false));
    world.open(&provider.come_back(&world.url(&olivia, json!({ "connection_id": "conn_scripted" })).await)).await.page(403);
}
