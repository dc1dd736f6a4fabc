//! What each operation consumes at DynamoDB, counted by what DynamoDB itself says, and the money that docs/operations.md makes of it.

use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::config::interceptors::{AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use serde_json::{Value, json};

use super::support::*;
use crate::domain::authorization::{Authorization, SealedCredential};
use crate::dynamodb::Table;
use crate::ports::flows::Flows;
use crate::ports::store::*;

const DOCUMENT: &str = include_str!("../../../../docs/operations.md");

/// List prices of us-east-1 in dollars, as the document names them: a million request units, a million requests to Lambda and to the
/// HTTP API, a gigabyte-second on arm64, a gigabyte of logs.
const WRITE_UNITS: f64 = 0.625;
const READ_UNITS: f64 = 0.125;
const LAMBDA_REQUESTS: f64 = 0.20;
const GATEWAY_REQUESTS: f64 = 1.00;
const GIGABYTE_SECOND: f64 = 0.000_013_333_4;
const LOG_GIGABYTE: f64 = 0.50;
/// The template's default, in gigabytes.
const MEMORY: f64 = 0.25;

/// Request units.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Units {
    written: f64,
    read: f64,
}

/// Has DynamoDB say what each request consumes, and adds it up. One request at a time.
#[derive(Debug, Clone, Default)]
struct Meter(Arc<Mutex<Count>>);

#[derive(Debug, Default)]
struct Count {
    sum: Units,
    /// Whether the request under way reads.
    reads: bool,
}

impl Meter {
    /// Since the last time this was asked.
    fn take(&self) -> Units {
        std::mem::take(&mut self.0.lock().unwrap().sum)
    }
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let operation = request.headers().get("x-amz-target").and_then(|target| target.split('.').next_back()).unwrap_or_default();
        if operation == "CreateTable" {
            return Ok(());
        }
        self.0.lock().unwrap().reads = ["GetItem", "BatchGetItem", "Query"].contains(&operation);
        let mut body: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default())?;
        body["ReturnConsumedCapacity"] = json!("TOTAL");
        let text = body.to_string();
        request.headers_mut().insert("content-length", text.len().to_string());
        *request.body_mut() = text.into();
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body: Value = serde_json::from_slice(context.response().body().bytes().unwrap_or_default())?;
        let consumed = match &body["ConsumedCapacity"] {
            Value::Array(tables) => tables.clone(),
            Value::Null => Vec::new(),
            table => vec![table.clone()],
        };
        let units: f64 = consumed.iter().filter_map(|table| table["CapacityUnits"].as_f64()).sum();
        let mut count = self.0.lock().unwrap();
        if count.reads {
            count.sum.read += units;
        } else {
            count.sum.written += units;
        }
        Ok(())
    }
}

/// A record of between one and two kilobytes: the tokens are a short JWT and an opaque one.
fn record(number: u16) -> Authorization {
    let credential = SealedCredential { access: Some(vec![1; 700]), refresh: Some(vec![2; 150]) };
    Authorization { credential: Some(credential), ..authorization("org_1", number) }
}

async fn complete(table: &Table, number: u16) -> Authorization {
    let (record, flow) = (record(number), flow(&format!("costs{number}")));
    table.claim_flow(&flow, "mine", NOW).await.unwrap();
    table.store_authorization(&record, &flow, "mine", NOW).await.unwrap();
    record
}

fn storing() -> RefreshCommit {
    RefreshCommit { credential: record(1).credential.unwrap(), ..commit() }
}

/// Every operation of the document's table with what it consumes.
async fn consumed() -> Vec<(&'static str, Units)> {
    let meter = Meter::default();
    let table = watched_table(meter.clone()).await;
    let mut all = vec![("create URL", Units::default())];
    let mut note = |operation| all.push((operation, meter.take()));

    let one = complete(&table, 1).await;
    note("complete a sign-in");
    let bound = binding(&one, "fl_1", "read");
    assert!(matches!(table.bind(&bound, None).await.unwrap(), BindOutcome::Bound));
    note("bind");
    let (read, _) = table.authorization_with_binding(&one.organization, &one.id, &bound.workflow).await.unwrap();
    note("hand-out, fresh token");
    table.mark_used(&read.unwrap(), NOW, Some(NOW)).await.unwrap();
    note("… the first in an hour, in addition");
    let (read, _) = table.authorization_with_binding(&one.organization, &one.id, &bound.workflow).await.unwrap();
    let claimed = table.claim_refresh(&read.unwrap(), &lease("a"), NOW).await.unwrap().unwrap();
    assert!(matches!(table.commit_refresh(&claimed, &storing()).await.unwrap(), Committed::Stored));
    note("hand-out, stale token");

    let two = complete(&table, 2).await;
    meter.take();
    let due = DueItem { organization: two.organization.clone(), authorization: two.id.clone(), due_at: two.due_at.unwrap() };
    let DueClaim::Claimed(claimed) = table.claim_due(&due, &lease("b"), due.due_at).await.unwrap() else { panic!("not claimed") };
    assert!(matches!(table.commit_refresh(&claimed, &storing()).await.unwrap(), Committed::Stored));
    note("scheduled refresh, each");

    let previous = table.binding(&bound.organization, &bound.workflow).await.unwrap().unwrap();
    let moved = binding(&two, "fl_1", "read");
    assert!(matches!(table.bind(&moved, Some(&previous)).await.unwrap(), BindOutcome::Bound));
    note("re-bind");
    table.unbind(&moved).await.unwrap();
    meter.take();
    let RevocationStart::Begun(mut begun) = table.begin_revocation(&two.organization, &two.id, "a", NOW).await.unwrap() else {
        panic!("not begun")
    };
    // It is announced in between.
    begun.unannounced.clear();
    table.finish_revocation(&begun, NOW).await.unwrap();
    note("revoke");

    for number in 10..30 {
        let to = complete(&table, number).await;
        for at in 0..3 {
            table.bind(&binding(&to, &format!("fl_{number}_{at}"), "read"), None).await.unwrap();
        }
    }
    meter.take();
    let page = table.page(&one.organization, &PageQuery { after: None, limit: 1000, bindings_each: 25 }).await.unwrap();
    assert_eq!(page.entries.len(), 21);
    note("list, 21 authorizations with 60 bindings");
    all
}

/// The rows of the document's table: cells without their blanks.
fn rows() -> Vec<Vec<String>> {
    let table = DOCUMENT.split("<!-- begin: costs").nth(1).and_then(|rest| rest.split("<!-- end: costs").next()).unwrap();
    let lines = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn number(cell: &str) -> f64 {
    cell.parse().unwrap_or_else(|_| panic!("{cell} is no number"))
}

#[tokio::test]
async fn the_document_has_the_request_units_that_are_counted() {
    // Not every other DynamoDB counts reads (docs/stores.md).
    let line = |operation: &str, written: f64, read: f64| match other_dynamodb() {
        None => format!("{operation}: {written} written, {read} read"),
        Some(_) => format!("{operation}: {written} written"),
    };
    let counted: Vec<_> = consumed().await.into_iter().map(|(operation, of)| line(operation, of.written, of.read)).collect();
    let promised: Vec<_> = rows().iter().map(|cells| line(&cells[0], number(&cells[1]), number(&cells[2]))).collect();
    assert_eq!(promised, counted);
}

#[test]
fn the_document_s_sums_are_right_and_its_prices_are_these() {
    for price in [WRITE_UNITS, READ_UNITS, LAMBDA_REQUESTS, GATEWAY_REQUESTS, LOG_GIGABYTE] {
        assert!(DOCUMENT.contains(&format!("${price}")) || DOCUMENT.contains(&format!("${price:.2}")), "${price} is not named");
    }
    assert!(DOCUMENT.contains("$0.0000133334"));
    for cells in rows() {
        let [units_written, units_read, requests, milliseconds, kilobytes] = [1, 2, 3, 4, 5].map(|at| number(&cells[at]));
        let dynamodb = units_written * WRITE_UNITS + units_read * READ_UNITS;
        // A million of so many milliseconds are a thousand times as many seconds.
        let lambda = requests * LAMBDA_REQUESTS + milliseconds * 1000.0 * MEMORY * GIGABYTE_SECOND;
        let (gateway, logs) = (requests * GATEWAY_REQUESTS, kilobytes * LOG_GIGABYTE);
        let sums = [dynamodb, lambda, gateway, logs, dynamodb + lambda + gateway + logs].map(|dollars| format!("{dollars:.2}"));
        assert_eq!(cells[6..], sums, "{}", cells[0]);
    }
}
