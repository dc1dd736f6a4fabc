//! Replacing an authorization by another in all its workflows: thousands of them, interrupted anywhere, and several at once
//! (contract section 8).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures_util::future::join_all;
use local::aws::{Call, Fault, Observer, Ruling};
use local::sign_in::PEOPLE;
use serde_json::{Value, json};
use shared::domain::binding::Binding;
use shared::domain::caller::{Caller as Person, Person as Who};
use shared::domain::ids::{AuthorizationId, OrganizationId, RequestId, WorkflowId};
use shared::ports::Unavailable;
use shared::ports::clock::Clock as _;
use shared::ports::store::{IndexEntry, IndexPage, OrganizationIndex, PageQuery, Search};
use shared::usecases::replace::{Outcome, Replace, Request};
use tests::faults::Rule;
use tests::provider::Provider;
use tests::table::{self, Item};
use tests::{Caller, Expect as _, World};
use time::Duration;

const ORGANIZATION: &str = PEOPLE[0].organization;

/// How many bindings move in one transaction.
const TOGETHER: usize = 50;

/// So many authorizations of Olivia, the oldest first.
async fn authorizations(world: &World, number: usize) -> (Caller, Vec<String>) {
    let olivia = world.olivia();
    let mut ids = Vec::new();
    for _ in 0..number {
        ids.push(world.authorize(&olivia, "usr_olivia").await);
        world.pass(Duration::SECOND);
    }
    (olivia, ids)
}

/// Binds `fl_0000`, `fl_0001` … Every second one requires a scope. The first two are bound by the API; the others are copies of
/// them in the table, with the counts to match.
async fn bind(world: &World, id: &str, number: usize) {
    let olivia = world.olivia();
    for (at, scopes) in [json!(["sites:read"]), json!([])].into_iter().enumerate() {
        let body = json!({ "authorization_id": id, "workflow_name": format!("Flow {at}"), "required_scopes": scopes });
        olivia.put(&format!("/workflows/fl_{at:04}/authorization"), body).await.is(200);
    }
    let records = world.records().await;
    let bound = |at: usize| records.items().iter().find(|item| table::text(item, "workflow_id") == format!("fl_{at:04}")).unwrap();
    let copies: Vec<_> = (2..number).map(|at| copy(bound(at % 2), &format!("fl_{:04}", at % 2), at)).collect();
    for some in copies.chunks(25) {
        let puts = some.iter().map(|item| {
            let put = PutRequest::builder().set_item(Some(item.clone())).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        });
        let written =
            world.dynamodb().batch_write_item().request_items(&world.stack.provisioned().table, puts.collect()).send().await.unwrap();
        assert!(written.unprocessed_items.unwrap_or_default().is_empty());
    }
    let n = |number: usize| AttributeValue::N(number.to_string());
    world.tamper(ORGANIZATION, id, "binding_count", n(number)).await;
    let scopes = HashMap::from([("sites:read".to_owned(), n(number.div_ceil(2)))]);
    world.tamper(ORGANIZATION, id, "required_scopes", AttributeValue::M(scopes)).await;
    world.records().await.are_counted_exactly();
}

/// A binding with another workflow in it.
fn copy(of: &Item, name: &str, at: usize) -> Item {
    let rename = |value: &AttributeValue| match value {
        AttributeValue::S(text) if text.starts_with("Flow ") => AttributeValue::S(format!("Flow {at}")),
        AttributeValue::S(text) => AttributeValue::S(text.replace(name, &format!("fl_{at:04}"))),
        other => other.clone(),
    };
    of.iter().map(|(attribute, value)| (attribute.clone(), rename(value))).collect()
}

async fn replace(caller: &Caller, from: &str, to: &str) -> Value {
    caller.post(&path(from), json!({ "authorization_id": to })).await.is(200)
}

fn path(from: &str) -> String {
    format!("/workflows/authorization/{from}/replace")
}

fn numbers(report: &Value) -> (u64, u64, u64) {
    let of = |name: &str| report[name].as_u64().unwrap();
    (of("moved"), of("refused"), of("remaining"))
}

fn is_transaction(call: &Call<'_>) -> bool {
    call.operation == "TransactWriteItems"
}

/// What DynamoDB says to a transaction that met another one.
fn conflict(call: &Call<'_>) -> Fault {
    let items = call.request["TransactItems"].as_array().map_or(0, Vec::len);
    let mut reasons = vec![json!({ "Code": "None" }); items];
    reasons[items - 1] = json!({ "Code": "TransactionConflict", "Message": "Transaction is ongoing for the item" });
    Fault::new(400, "TransactionCanceledException", "Transaction cancelled").with("CancellationReasons", json!(reasons))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_replaces_at_once_over_a_thousand_bindings_leave_exact_counts_and_every_workflow_bound_once() {
    let world = World::start().await;
    let (olivia, ids) = authorizations(&world, 3).await;
    let [a, b, c] = [&ids[0], &ids[1], &ids[2]];
    bind(&world, a, 1000).await;
    // Every fifth transaction meets another, as it would at DynamoDB.
    let seen = AtomicUsize::new(0);
    let collide = move |call: &Call<'_>| {
        let collides = is_transaction(call) && seen.fetch_add(1, Ordering::SeqCst) % 5 == 4;
        if collides { Ruling::Refuse(conflict(call)) } else { Ruling::Pass }
    };
    world.aws().observe(Some(Arc::new(Rule(collide))));

    let reports = join_all([replace(&olivia, a, b), replace(&olivia, a, b), replace(&olivia, b, a), replace(&olivia, a, c)]).await;
    let records = world.records().await;
    records.are_counted_exactly();
    assert_eq!(records.bindings().len(), 1000, "every workflow is bound, once");
    assert_eq!(records.count(a) + records.count(b) + records.count(c), 1000);
    let moved: u64 = reports.iter().map(|report| numbers(report).0).sum();
    assert!(moved >= 1000 - records.count(a), "what has moved was told: {moved}");

    // Whatever the others left, a replace that has the field to itself takes the rest.
    let left = (records.count(a), records.count(c));
    assert_eq!(numbers(&replace(&olivia, a, b).await), (left.0, 0, 0));
    assert_eq!(numbers(&replace(&olivia, c, b).await), (left.1, 0, 0));
    let records = world.records().await;
    records.are_counted_exactly();
    assert_eq!(records.count(b), 1000);
    assert!(records.bindings().values().all(|bound_to| bound_to == b));
}

#[tokio::test]
async fn thousands_cost_one_transaction_for_fifty() {
    let world = World::start().await;
    let (olivia, ids) = authorizations(&world, 2).await;
    bind(&world, &ids[0], 220).await;
    let before = world.calls();
    assert_eq!(numbers(&replace(&olivia, &ids[0], &ids[1]).await), (220, 0, 0));
    // Both authorizations, a page of the index, five transactions, and what remains.
    assert_eq!((world.calls() - before).dynamodb, 2 + 1 + 5 + 1);
}

#[tokio::test]
async fn a_replace_that_the_table_interrupts_anywhere_can_be_repeated() {
    const BINDINGS: usize = 2 * TOGETHER + 10;
    let world = World::start().await;
    let (olivia, ids) = authorizations(&world, 2).await;
    bind(&world, &ids[0], BINDINGS).await;
    let (mut from, mut to) = (ids[0].clone(), ids[1].clone());
    // The table fails for good from the nth of its seven requests on.
    for nth in 0..7 {
        for lost in [false, true] {
            let seen = AtomicUsize::new(0);
            let fail = move |_: &Call<'_>| {
                if seen.fetch_add(1, Ordering::SeqCst) < nth {
                    return Ruling::Pass;
                }
                let down = Fault::new(500, "InternalServerError", "down");
                if lost { Ruling::RefuseAfter(down) } else { Ruling::Refuse(down) }
            };
            world.aws().observe(Some(Arc::new(Rule(fail))));
            let answer = olivia.post(&path(&from), json!({ "authorization_id": to })).await;
            world.aws().observe(None);
            let refused = answer.refused(503, "store_unavailable");
            assert_eq!(refused["message"], "The service cannot answer right now. Try again later.");
            assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));

            let records = world.records().await;
            records.are_counted_exactly();
            let (left, moved) = (records.count(&from), records.count(&to));
            assert_eq!(left + moved, BINDINGS as u64);
            assert!(left % TOGETHER as u64 == 10 || left == 0, "whole transactions moved: {left} left after request {nth}");
            assert_eq!(numbers(&replace(&olivia, &from, &to).await), (left, 0, 0), "a repetition moves the rest");
            std::mem::swap(&mut from, &mut to);
        }
    }
    world.records().await.are_counted_exactly();
}

#[tokio::test]
async fn a_replace_stops_in_time_tells_what_remains_and_goes_on_when_it_is_repeated() {
    let world = World::start().await;
    let (olivia, ids) = authorizations(&world, 2).await;
    bind(&world, &ids[0], 6 * TOGETHER).await;
    // A slow table: eight seconds each, and 29 for the invocation.
    let clock = Arc::clone(&world.clock);
    let slow = move |call: &Call<'_>| {
        if is_transaction(call) {
            clock.advance(Duration::seconds(8));
        }
        Ruling::Pass
    };
    world.aws().observe(Some(Arc::new(Rule(slow))));
    let report = replace(&olivia, &ids[0], &ids[1]).await;
    assert_eq!(numbers(&report), (150, 0, 150));
    assert_eq!(report["workflows"].as_array().unwrap().len(), 150);
    assert_eq!(numbers(&replace(&olivia, &ids[0], &ids[1]).await), (150, 0, 0));
    world.records().await.are_counted_exactly();
}

#[tokio::test]
async fn a_dry_run_counts_and_names_all_that_would_move_and_all_that_would_be_refused() {
    let world = World::start().await;
    let olivia = world.olivia();
    let wide = json!({ "provider_scopes": ["openid", "email", "offline_access", "sites:read", "sites:write"] });
    world.sign_in(&olivia, "usr_olivia", wide).await.page(200);
    let old = olivia.list().await[0]["id"].as_str().unwrap().to_owned();
    world.pass(Duration::SECOND);
    let new = world.authorize(&olivia, "usr_olivia").await;
    bind(&world, &old, 120).await;
    for last in ["z1", "z2", "z3"] {
        let body = json!({ "authorization_id": old, "required_scopes": ["sites:read", "sites:write"] });
        olivia.put(&format!("/workflows/{last}/authorization"), body).await.is(200);
    }
    let before = (olivia.list().await, world.records().await.bindings());
    let forecast = olivia.post(&path(&old), json!({ "authorization_id": new, "dry_run": true })).await.is(200);
    assert_eq!((olivia.list().await, world.records().await.bindings()), before, "it changes nothing");
    assert_eq!((numbers(&forecast), &forecast["dry_run"]), ((120, 3, 3), &json!(true)));
    let lines = forecast["workflows"].as_array().unwrap();
    assert_eq!(lines.len(), 123);
    let first = json!({ "id": "fl_0000", "name": "Flow 0", "outcome": "would_move", "reason": null, "missing_scopes": [] });
    let last =
        json!({ "id": "z3", "name": null, "outcome": "refused", "reason": "scopes_insufficient", "missing_scopes": ["sites:write"] });
    assert_eq!((&lines[0], &lines[122]), (&first, &last));
    assert!(
        lines[..120].iter().all(|line| line["outcome"] == "would_move") && lines[120..].iter().all(|line| line["outcome"] == "refused")
    );

    let report = replace(&olivia, &old, &new).await;
    assert_eq!(numbers(&report), numbers(&forecast), "what was forecast happens");
    let happened: Vec<_> = report["workflows"].as_array().unwrap().iter().map(|line| (&line["id"], line["outcome"] == "moved")).collect();
    assert_eq!(happened, lines.iter().map(|line| (&line["id"], line["outcome"] == "would_move")).collect::<Vec<_>>());
    let records = world.records().await;
    records.are_counted_exactly();
    assert_eq!((records.count(&old), records.count(&new)), (3, 120));
}

#[tokio::test]
async fn a_replace_is_refused_as_a_whole_for_what_stands_in_the_way_of_all() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let old = world.authorize(&olivia, "usr_olivia").await;
    bind(&world, &old, 3).await;
    world.pass(Duration::SECOND);
    let of_another_connection = world.authorize_at(&provider, &olivia).await;
    world.pass(Duration::SECOND);
    let ended = world.authorize(&olivia, "usr_olivia").await;
    world.tamper(ORGANIZATION, &ended, "status", AttributeValue::S("needs_reauthorization".to_owned())).await;
    world.tamper(ORGANIZATION, &ended, "reason", AttributeValue::S("invalid_grant".to_owned())).await;
    world.pass(Duration::SECOND);
    let revoking = world.authorize(&olivia, "usr_olivia").await;
    world.tamper(ORGANIZATION, &revoking, "status", AttributeValue::S("revoking".to_owned())).await;
    world.pass(Duration::SECOND);
    let deleted = world.authorize(&olivia, "usr_olivia").await;
    olivia.delete(&format!("/workflows/authorization/{deleted}")).await.is(204);
    let mallory = world.mallory();
    let foreign = world.authorize(&mallory, "usr_mallory").await;

    let before = world.records().await.bindings();
    for dry_run in [false, true] {
        let to = async |id: &str| olivia.post(&path(&old), json!({ "authorization_id": id, "dry_run": dry_run })).await;
        to(&old).await.refused(400, "parameter_invalid");
        to(&of_another_connection).await.refused(409, "connection_mismatch");
        to(&ended).await.refused(409, "authorization_not_active");
        to(&revoking).await.refused(409, "authorization_not_active");
        for nobodys in [&deleted, &foreign, "auth_01jd0000000000000000000000", "no-id"] {
            to(nobodys).await.refused(404, "authorization_not_found");
        }
        let from = async |caller: &Caller, id: &str| caller.post(&path(id), json!({ "authorization_id": old, "dry_run": dry_run })).await;
        from(&olivia, &foreign).await.refused(404, "authorization_not_found");
        from(&mallory, &foreign).await.refused(404, "authorization_not_found");
    }
    assert_eq!(world.records().await.bindings(), before);

    // What has ended may be replaced: that is what people replace most.
    assert_eq!(numbers(&replace(&olivia, &ended, &old).await), (0, 0, 0));
    world.tamper(ORGANIZATION, &old, "status", AttributeValue::S("needs_reauthorization".to_owned())).await;
    world.tamper(ORGANIZATION, &old, "reason", AttributeValue::S("invalid_grant".to_owned())).await;
    world.pass(Duration::SECOND);
    let new = world.authorize(&olivia, "usr_olivia").await;
    assert_eq!(numbers(&replace(&olivia, &old, &new).await), (3, 0, 0));
    world.records().await.are_counted_exactly();
}

/// Changes an authorization before the second transaction.
struct Meanwhile {
    world: Arc<World>,
    id: String,
    attribute: &'static str,
    value: AttributeValue,
    seen: AtomicUsize,
}

#[async_trait]
impl Observer for Meanwhile {
    async fn before(&self, call: Call<'_>) -> Ruling {
        if is_transaction(&call) && self.seen.fetch_add(1, Ordering::SeqCst) == 1 {
            self.world.tamper(ORGANIZATION, &self.id, self.attribute, self.value.clone()).await;
        }
        Ruling::Pass
    }
}

#[tokio::test]
async fn an_authorization_that_changes_on_the_way_takes_no_more_than_it_may() {
    for (attribute, value, expected, then) in [
        // It ends: what has moved is told, and the rest stays.
        ("status", AttributeValue::S("needs_reauthorization".to_owned()), (50, 0, 60), Some("authorization_not_active")),
        // It grants less: what requires more stays, the rest moves.
        ("scopes", AttributeValue::Ss(vec!["email".to_owned()]), (80, 30, 30), None),
    ] {
        let world = Arc::new(World::start().await);
        let (olivia, ids) = authorizations(&world, 2).await;
        bind(&world, &ids[0], 110).await;
        world.tamper(ORGANIZATION, &ids[1], "reason", AttributeValue::S("invalid_grant".to_owned())).await;
        let meanwhile = Meanwhile { world: Arc::clone(&world), id: ids[1].clone(), attribute, value, seen: AtomicUsize::new(0) };
        world.aws().observe(Some(Arc::new(meanwhile)));
        assert_eq!(numbers(&replace(&olivia, &ids[0], &ids[1]).await), expected, "{attribute}");
        world.aws().observe(None);
        world.records().await.are_counted_exactly();
        let again = olivia.post(&path(&ids[0]), json!({ "authorization_id": ids[1] })).await;
        match then {
            Some(code) => drop(again.refused(409, code)),
            None => assert_eq!(numbers(&again.is(200)), (0, 30, 30)),
        }
    }
}

/// An index that shows what it is told to, whatever the table holds.
struct Lagging(Vec<Binding>);

#[async_trait]
impl OrganizationIndex for Lagging {
    async fn page(&self, _: &OrganizationId, _: &PageQuery) -> Result<IndexPage, Unavailable> {
        Ok(IndexPage::default())
    }
    fn behind(&self, _: &AuthorizationId) -> String {
        String::new()
    }
    async fn entry(&self, _: &OrganizationId, _: &AuthorizationId, _: usize) -> Result<Option<IndexEntry>, Unavailable> {
        Ok(None)
    }
    async fn look_for(&self, _: &OrganizationId, _: &WorkflowId, _: Option<&str>) -> Result<Search, Unavailable> {
        Ok(Search::Nowhere)
    }
    async fn bindings_of(
        &self,
        _: &OrganizationId,
        _: &AuthorizationId,
        after: Option<&WorkflowId>,
        most: usize,
    ) -> Result<Vec<Binding>, Unavailable> {
        Ok(self.0.iter().filter(|binding| after.is_none_or(|after| binding.workflow > *after)).take(most).cloned().collect())
    }
}

#[tokio::test]
async fn a_lagging_index_moves_nothing_that_is_not_there_and_hides_nothing_from_what_remains() {
    let world = World::start().await;
    let (olivia, ids) = authorizations(&world, 3).await;
    bind(&world, &ids[0], 6).await;
    let (organization, id) =
        (OrganizationId::try_from(ORGANIZATION).unwrap(), |at: usize| AuthorizationId::try_from(ids[at].as_str()).unwrap());
    let mut shown = world.table().bindings_of(&organization, &id(0), None, 10).await.unwrap();
    // It has not seen yet: that 1 was unbound, 2 bound elsewhere, 3 bound with another name, 4 with other scopes, and 5 at all.
    olivia.delete("/workflows/fl_0001/authorization").await.is(204);
    olivia.put("/workflows/fl_0002/authorization", json!({ "authorization_id": ids[2] })).await.is(200);
    let renamed = json!({ "authorization_id": ids[0], "workflow_name": "A new name" });
    olivia.put("/workflows/fl_0003/authorization", renamed).await.is(200);
    let other_scopes = json!({ "authorization_id": ids[0], "required_scopes": ["email"] });
    olivia.put("/workflows/fl_0004/authorization", other_scopes).await.is(200);
    assert_eq!(shown.pop().unwrap().workflow.as_str(), "fl_0005");

    let replace =
        Replace { store: world.table(), moves: world.table(), index: Arc::new(Lagging(shown)), clock: Arc::clone(&world.clock) as _ };
    let caller = Person {
        person: Who { issuer: "https://api.example".to_owned(), subject: "usr_olivia".to_owned() },
        verified_email: None,
        organization: organization.clone(),
        workflow: None,
    };
    let call = shared::usecases::Call::new(RequestId::try_from("req_1").unwrap(), world.clock.now() + Duration::seconds(29));
    let report = replace.replace(&call, &caller, &Request { from: id(0), to: id(1), dry_run: false }).await.unwrap();
    let lines: BTreeMap<_, _> =
        report.workflows.iter().map(|line| (line.binding.workflow.as_str(), matches!(line.outcome, Outcome::Moved))).collect();
    assert_eq!(lines, BTreeMap::from([("fl_0000", true), ("fl_0003", true)]));
    assert_eq!((report.moved, report.refused, report.remaining), (2, 0, 2), "4 and 5 are still bound to it");

    let records = world.records().await;
    records.are_counted_exactly();
    let bound: Vec<_> = records.bindings().into_iter().collect();
    let expected = [("fl_0000", 1), ("fl_0002", 2), ("fl_0003", 1), ("fl_0004", 0), ("fl_0005", 0)];
    assert_eq!(bound, expected.map(|(workflow, at)| (workflow.to_owned(), ids[at].clone())));
    assert_eq!(olivia.get("/workflows/fl_0003/authorization").await.is(200)["workflow_name"], "A new name");
    // The index has caught up.
    assert_eq!(numbers(&self::replace(&olivia, &ids[0], &ids[1]).await), (2, 0, 0));
}
