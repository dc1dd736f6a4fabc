//! What the service counts, and that whoever looks at the counts looks at these: metrics are in CloudWatch's Embedded Metric Format,
//! every one is really counted, and alarms and the dashboard name no other.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use local::aws::{Call, Fault, Ruling, Service};
use serde_json::{Value, json};
use shared::system::SystemClock;
use shared::telemetry::{self, METRICS};
use tests::faults::Rule;
use tests::provider::{Mood, Provider};
use tests::pushing::{CLIENT_SECRET, METADATA, PAR, Pushing, TOKEN};
use tests::{Caller, Expect as _, World};
use time::{Duration, OffsetDateTime};

/// The namespace of this file's process: as the template gives each stack its own.
const NAMESPACE: &str = "Mandate/a-stack";

/// Everything that was logged by all tests of this file.
static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn listen() {
    telemetry::start_counting_as(NAMESPACE, Arc::new(SystemClock), Box::new(|| Box::new(Lines)));
}

fn lines() -> Vec<Value> {
    let log = String::from_utf8(LINES.lock().unwrap().clone()).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn scripted() -> (Provider, World, Caller) {
    listen();
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    (provider, world, olivia)
}

/// Holds a line to the specification of the format: its members, and that what it declares is there. Its metrics.
fn declared(line: &Value) -> Vec<(String, String, Vec<String>)> {
    let Some(aws) = line.get("_aws") else { return Vec::new() };
    let members: BTreeSet<&str> = aws.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["CloudWatchMetrics", "Timestamp"].into(), "{line}");
    // Milliseconds, and at most two weeks old or two hours ahead, or CloudWatch drops it.
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(aws["Timestamp"].as_i64().unwrap()) * 1_000_000).unwrap();
    let said = line["time"].as_str().unwrap();
    assert_eq!(at.to_offset(time::UtcOffset::UTC).date().to_string(), said[..10], "{line}");
    let mut found = Vec::new();
    for directive in aws["CloudWatchMetrics"].as_array().unwrap() {
        let members: BTreeSet<&str> = directive.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["Dimensions", "Metrics", "Namespace"].into(), "{line}");
        assert_eq!(directive["Namespace"], NAMESPACE);
        let sets = directive["Dimensions"].as_array().unwrap();
        assert!(!sets.is_empty(), "{line}");
        let mut dimensions = Vec::new();
        for dimension in sets.iter().flat_map(|set| set.as_array().unwrap()) {
            let name = dimension.as_str().unwrap();
            assert!(line[name].as_str().is_some_and(|value| (1..=1024).contains(&value.len())), "{name} is text at the top: {line}");
            dimensions.push(name.to_owned());
        }
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&metrics.len()), "{line}");
        for metric in metrics {
            let name = metric["Name"].as_str().unwrap();
            assert!(line[name].is_number(), "{name} is a number at the top: {line}");
            assert!(["Count", "Seconds", "Milliseconds"].contains(&metric["Unit"].as_str().unwrap()), "{line}");
            found.push((name.to_owned(), metric["Unit"].as_str().unwrap().to_owned(), dimensions.clone()));
        }
    }
    found
}

/// The metrics of ours that the template names: in alarms and in the dashboard.
fn looked_at() -> BTreeSet<String> {
    let template: Value = serde_saphyr::from_str(include_str!("../../template.yaml")).unwrap();
    let own = "Mandate/${AWS::StackName}";
    let mut names = BTreeSet::new();
    for (_, resource) in template["Resources"].as_object().unwrap() {
        let of = &resource["Properties"];
        if resource["Type"] == "AWS::CloudWatch::Alarm" {
            let single = [of];
            let several = of["Metrics"].as_array().into_iter().flatten().map(|metric| &metric["MetricStat"]["Metric"]);
            for metric in single.into_iter().chain(several).filter(|metric| metric["Namespace"] == own) {
                names.insert(metric["MetricName"].as_str().unwrap().to_owned());
                assert_eq!(metric["Dimensions"], Value::Null, "an alarm of ours is about everything");
            }
        }
        if resource["Type"] == "AWS::CloudWatch::Dashboard" {
            let body: Value = serde_json::from_str(of["DashboardBody"][0].as_str().unwrap()).unwrap();
            for widget in body["widgets"].as_array().unwrap() {
                let mut namespace = String::new();
                for metric in widget["properties"]["metrics"].as_array().unwrap() {
                    if let Some(expression) = metric[0]["expression"].as_str() {
                        assert!(expression.starts_with("SEARCH('{\"${Own}\",route} MetricName=\""), "{expression}");
                        names.insert(expression.split('"').nth(3).unwrap().to_owned());
                        continue;
                    }
                    let said = metric[0].as_str().unwrap();
                    if said != "." {
                        said.clone_into(&mut namespace);
                    }
                    if namespace == "${Own}" {
                        names.insert(metric[1].as_str().unwrap().to_owned());
                        assert_eq!(metric.as_array().unwrap().len(), 2, "without dimensions: {metric}");
                    }
                }
            }
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s82_every_metric_is_counted_in_the_embedded_format_and_the_template_looks_at_no_other() {
    let (provider, world, olivia) = scripted().await;
    let authorize = || world.authorize_at(&provider, &olivia);
    let (due, broken, ended, lost) = (authorize().await, authorize().await, authorize().await, authorize().await);
    for (workflow, id) in [("fl_due", &due), ("fl_broken", &broken), ("fl_ended", &ended), ("fl_lost", &lost)] {
        world.bind(&olivia, workflow, id).await;
        olivia.token(id, json!({ "workflow_id": workflow })).await.is(200);
    }
    // duration_ms, faults, refusals; refreshes; due, deferred, failed, rescued, refresh_backlog_seconds
    world.pass(Duration::HOUR);
    assert!(world.run_schedule().await["refreshed"].as_u64().unwrap() >= 4);
    // security_signals
    world.nobody().get("/workflows/authorization/callback/conn_demo?code=x&state=forged").await.page(400);
    // decrypt_failures, and quarantined with them
    world.tamper("org_demo", &broken, "sealed_access", AttributeValue::B(Blob::new([1_u8; 80]))).await;
    olivia.token(&broken, json!({ "workflow_id": "fl_broken" })).await;
    // tokens_lost: neither the table nor the queue takes what the provider gave.
    world.pass(Duration::HOUR);
    let clock = Arc::clone(&world.clock);
    let after_the_claim = Mutex::new(0);
    world.aws().observe(Some(Arc::new(Rule(move |call: &Call<'_>| {
        let mut updates = after_the_claim.lock().unwrap();
        if call.operation == "UpdateItem" {
            *updates += 1;
        }
        if *updates > 1 && matches!(call.service, Service::DynamoDb | Service::Sqs) {
            clock.advance(Duration::SECOND);
            return Ruling::Refuse(Fault::new(500, "InternalServerError", "down"));
        }
        Ruling::Pass
    }))));
    olivia.token(&lost, json!({ "workflow_id": "fl_lost" })).await;
    world.aws().observe(None);
    // branch_key_rotation_failed
    world.aws().observe(Some(Arc::new(Rule(|call: &Call<'_>| match call.service {
        Service::Kms => Ruling::Refuse(Fault::new(400, "DisabledException", "no")),
        _ => Ruling::Pass,
    }))));
    let rotation = json!({ "rotate_branch_keys": { "organization": "org_demo" } });
    assert!(world.stack.functions().invoke("refresh", rotation).await.is_err());
    world.aws().observe(None);
    // needs_reauthorization, and announcements_failed with it
    provider.end_grants();
    world.aws().observe(Some(Arc::new(Rule(|call: &Call<'_>| match call.service {
        Service::EventBridge => Ruling::Refuse(Fault::new(400, "AccessDeniedException", "no")),
        _ => Ruling::Pass,
    }))));
    olivia.token(&ended, json!({ "workflow_id": "fl_ended" })).await.refused(409, "needs_reauthorization");
    world.aws().observe(None);
    // provider_incident, and by a few renewals provider_incident_ended
    provider.feels(Mood::Overloaded(60));
    olivia.token(&due, json!({ "workflow_id": "fl_due" })).await;
    provider.feels(Mood::Well);
    for fresh in 0..5 {
        let (id, workflow) = (authorize().await, format!("fl_fresh_{fresh}"));
        world.bind(&olivia, &workflow, &id).await;
        world.pass(Duration::HOUR);
        olivia.token(&id, json!({ "workflow_id": workflow })).await.is(200);
    }

    let counted: BTreeMap<String, (String, Vec<String>)> =
        lines().iter().flat_map(declared).map(|(name, unit, dimensions)| (name, (unit, dimensions))).collect();
    let known: BTreeMap<String, (String, Vec<String>)> = METRICS
        .iter()
        .map(|metric| (metric.name.to_owned(), (metric.unit.to_owned(), metric.dimension.into_iter().map(str::to_owned).collect())))
        .collect();
    assert_eq!(counted, known, "what is counted, and what is known to be");
    let known: BTreeSet<String> = known.into_keys().collect();
    assert_eq!(looked_at().difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "alarms and dashboard");
    assert_eq!(known.difference(&looked_at()).collect::<Vec<_>>(), Vec::<&String>::new(), "what nobody looks at need not be counted");
}

#[tokio::test]
async fn a_request_s_id_is_in_every_line_about_it_and_goes_on_to_the_provider() {
    listen();
    let provider = Pushing::start().await;
    let connection = provider.connection("conn_pushing");
    let world = World::with_connections(vec![(connection, &[CLIENT_SECRET])], Some(provider.clock())).await;
    let olivia = world.olivia();
    let (began, completed) = ("began-by-olivia", "completed-by-olivia");
    let json = "application/json";
    let body = json!({ "connection_id": "conn_pushing", "redirect_uri": world.return_to() }).to_string();
    let headers = [("x-request-id", began), ("content-type", json)];
    let created = olivia.send(reqwest::Method::POST, "/workflows/authorization", &headers, Some(&body)).await.is(200);
    let back = world.open(&provider.come_back(created["url"].as_str().unwrap())).await;
    let body = json!({ "code": back.sent("code") }).to_string();
    let headers = [("x-request-id", completed), ("content-type", json)];
    olivia.send(reqwest::Method::POST, "/workflows/authorization/complete", &headers, Some(&body)).await.is(201);

    let told = |path: &str| provider.asked(path).last().unwrap().headers["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!([told(METADATA), told(PAR), told(TOKEN)], [began, began, completed]);
    for (id, action) in [(began, "create"), (completed, "complete")] {
        let about: Vec<Value> = lines().into_iter().filter(|line| line["request_id"] == id).collect();
        assert!(about.iter().any(|line| line["audit"] == true && line["action"] == action), "{id}: {about:?}");
        assert!(about.iter().any(|line| line["message"] == "request" && line["status"].is_number()), "{id}: {about:?}");
    }
}

#[test]
fn s81_a_hundred_workflows_are_told_whole_and_every_other_text_is_cut() {
    listen();
    let ids = vec!["w".repeat(128); 100].join(" ");
    tracing::info!(target: "shared", workflows = ids, detail = "d".repeat(3000), forged = "a\nb\u{85}c\"", "a long line");
    let line = lines().into_iter().find(|line| line["message"] == "a long line").unwrap();
    assert_eq!((line["workflows"].as_str(), line["detail"].as_str().map(str::len)), (Some(ids.as_str()), Some(2000)));
    assert_eq!(line["forged"], "a b c\"");
}
