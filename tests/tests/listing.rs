//! The list: what a page costs and holds, filters, cursors, and what an entry forecasts and notes (contract section 7).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures_util::future::join_all;
use local::aws::{Call, Fault, Ruling};
use local::client::Answer;
use serde_json::{Value, json};
use shared::domain::ids::AuthorizationId;
use shared::dynamodb::table::{BY_ORGANIZATION, BY_ORGANIZATION_PROJECTION};
use tests::faults::Rule;
use tests::provider::Provider;
use tests::table::{Item, text};
use tests::{Caller, Expect as _, Setup, World};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

const LIST: &str = "/workflows/authorization";
/// DynamoDB ends a page of a Query here, whatever its limit.
const MEGABYTE: usize = 1_048_576;

fn at(value: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(value.as_str().unwrap(), &Rfc3339).unwrap()
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

/// The path of the `next` link; `None` at the end of the list.
fn next(world: &World, answer: &Answer) -> Option<String> {
    let url = answer.header("link").strip_prefix('<')?.strip_suffix(">; rel=\"next\"").unwrap();
    Some(url.strip_prefix(&world.base()).unwrap().to_owned())
}

/// Follows the list from a path to its end. Every page is one call.
async fn walk(world: &World, caller: &Caller, path: &str) -> Vec<Vec<Value>> {
    let (mut pages, mut path) = (Vec::new(), Some(path.to_owned()));
    while let Some(here) = path {
        let before = world.calls();
        let answer = caller.get(&here).await;
        assert_eq!((world.calls() - before).dynamodb, 1, "one Query per page");
        pages.push(answer.is(200).as_array().unwrap().clone());
        path = next(world, &answer);
    }
    pages
}

/// An organization's list as long as this: each authorization used, refreshed, and with three workflows. The first is made by the
/// API; the others are copies of it in the table. The ids, newest first.
async fn populate(world: &World, number: usize, workflow_name: &str) -> Vec<String> {
    let olivia = world.olivia();
    let first = world.authorize(&olivia, "usr_olivia").await;
    for place in 0..3 {
        let body = json!({ "authorization_id": first, "workflow_name": workflow_name, "required_scopes": ["sites:read"] });
        olivia.put(&format!("/workflows/fl_0000_{place}/authorization"), body).await.is(200);
    }
    olivia.token(&first, json!({ "workflow_id": "fl_0000_0" })).await.is(200);
    olivia.post(&format!("{LIST}/{first}/check"), json!({})).await.is(200);
    let first = AuthorizationId::try_from(first).unwrap();
    let records = world.records().await;
    let models: Vec<_> = records.items().iter().filter(|item| text(item, "pk").starts_with("ORG#")).collect();
    assert_eq!(models.len(), 4);
    let mut all = vec![first.to_string()];
    let mut copies = Vec::new();
    for at in 1..number {
        let [high, low] = u16::try_from(at).unwrap().to_be_bytes();
        let id = AuthorizationId::new(world.now() + Duration::seconds(i64::try_from(at).unwrap()), [0, 0, 0, 0, 0, 0, 0, 0, high, low]);
        let renamed =
            [(first.to_string(), id.to_string()), (first.newest_first(), id.newest_first()), ("fl_0000".to_owned(), format!("fl_{at:04}"))];
        copies.extend(models.iter().map(|item| copy(item, &renamed)));
        all.insert(0, id.to_string());
    }
    for some in copies.chunks(25) {
        let puts = some.iter().map(|item| {
            let put = PutRequest::builder().set_item(Some(item.clone())).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        });
        let table = &world.stack.provisioned().table;
        world.dynamodb().batch_write_item().request_items(table, puts.collect()).send().await.unwrap();
    }
    all
}

fn copy(of: &Item, renamed: &[(String, String)]) -> Item {
    let rename = |value: &AttributeValue| match value {
        AttributeValue::S(text) => AttributeValue::S(renamed.iter().fold(text.clone(), |text, (from, to)| text.replace(from, to))),
        other => other.clone(),
    };
    of.iter().map(|(attribute, value)| (attribute.clone(), rename(value))).collect()
}

/// What DynamoDB counts for an item: names and values, a number by its digits, and a little for each element of a collection.
fn size(item: &Item) -> usize {
    fn of(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(digits) => digits.len() / 2 + 2,
            AttributeValue::Ss(texts) => 3 + texts.iter().map(|text| text.len() + 1).sum::<usize>(),
            AttributeValue::L(list) => 3 + list.iter().map(|value| of(value) + 1).sum::<usize>(),
            AttributeValue::M(map) => 3 + map.iter().map(|(name, value)| name.len() + of(value) + 1).sum::<usize>(),
            _ => 1,
        }
    }
    item.iter().map(|(name, value)| name.len() + of(value)).sum()
}

/// The rows of the index, as DynamoDB reads them for the list.
async fn rows(world: &World) -> Vec<Item> {
    let (client, mut rows, mut start) = (world.dynamodb(), Vec::new(), None);
    loop {
        let query = client.query().table_name(&world.stack.provisioned().table).index_name(BY_ORGANIZATION);
        let query = query
            .key_condition_expression("org_pk = :org")
            .expression_attribute_values(":org", AttributeValue::S("ORG#org_demo".to_owned()));
        let page = query.set_exclusive_start_key(start).send().await.unwrap();
        rows.extend(page.items.unwrap());
        start = page.last_evaluated_key;
        if start.is_none() {
            return rows;
        }
    }
}

#[tokio::test]
async fn a_thousand_authorizations_with_three_workflows_each_are_one_call() {
    let world = World::start().await;
    let olivia = world.olivia();
    let all = populate(&world, 1000, "Nightly backup").await;
    let rows = rows(&world).await;
    assert_eq!(rows.len(), 4000);
    let bytes: usize = rows.iter().map(size).sum();
    assert!(bytes < MEGABYTE, "{bytes} bytes are more than a page of DynamoDB");
    for (limit, pages) in [("", 1), ("?limit=500", 2), ("?limit=200", 5)] {
        let walked = walk(&world, &olivia, &format!("{LIST}{limit}")).await;
        assert_eq!(walked.len(), pages, "{limit}");
        let entries: Vec<_> = walked.concat();
        assert_eq!(ids(&json!(entries)), all, "{limit}");
        for (place, entry) in entries.iter().rev().enumerate() {
            let workflows = (0..3).map(|n| json!({ "id": format!("fl_{place:04}_{n}"), "name": "Nightly backup" })).collect::<Vec<_>>();
            assert_eq!((&entry["workflows"], &entry["workflow_count"]), (&json!(workflows), &json!(3)));
        }
    }
}

#[tokio::test]
async fn a_page_that_is_larger_than_dynamodbs_is_ended_early_and_the_list_stays_whole() {
    let world = World::start().await;
    let olivia = world.olivia();
    let all = populate(&world, 600, &"ü".repeat(256)).await;
    let bytes: usize = rows(&world).await.iter().map(size).sum();
    assert!(bytes > MEGABYTE, "{bytes}");
    for path in [LIST.to_owned(), format!("{LIST}?limit=400")] {
        let walked = walk(&world, &olivia, &path).await;
        assert!(walked.len() > 1);
        assert_eq!(ids(&json!(walked.concat())), all);
        assert!(walked.concat().iter().all(|entry| entry["workflows"].as_array().unwrap().len() == 3));
    }
    // A filter looks through several of DynamoDB's pages for one of its own.
    let before = world.calls();
    let filtered = olivia.get(&format!("{LIST}?status=active")).await;
    assert_eq!((ids(&filtered.is(200)), next(&world, &filtered)), (all.clone(), None));
    let calls = (world.calls() - before).dynamodb;
    assert!((2..=4).contains(&calls), "{calls}");

    // A workflow is looked for until it is found, or the time is over; then the search goes on by the link.
    let oldest = format!("{LIST}?workflow_id=fl_0000_2");
    assert_eq!(ids(&olivia.get(&oldest).await.is(200)), all[599..]);
    let clock = Arc::clone(&world.clock);
    let slow = move |call: &Call<'_>| {
        if call.operation == "Query" {
            clock.advance(Duration::seconds(27));
        }
        Ruling::Pass
    };
    world.aws().observe(Some(Arc::new(Rule(slow))));
    let (mut path, mut found, mut answers) = (Some(oldest), Vec::new(), 0);
    while let Some(here) = path {
        let answer = olivia.get(&here).await;
        found.extend(ids(&answer.is(200)));
        path = next(&world, &answer);
        answers += 1;
    }
    assert_eq!((found.as_slice(), answers > 1), (&all[599..], true));
}

#[test]
fn what_the_index_shows_is_what_the_template_says() {
    let template = include_str!("../../template.yaml");
    let (_, after) = template.split_once("NonKeyAttributes:\n").unwrap();
    let shown: Vec<_> = after.lines().map_while(|line| line.trim().strip_prefix("- ")).take_while(|name| !name.contains(':')).collect();
    assert_eq!(shown, BY_ORGANIZATION_PROJECTION);
    assert!(BY_ORGANIZATION_PROJECTION.iter().all(|name| !name.contains("sealed")), "no token attribute");
}

#[tokio::test]
async fn a_cursor_belongs_to_the_filters_it_came_with_and_to_no_limit() {
    let world = World::start().await;
    let olivia = world.olivia();
    let mut all = Vec::new();
    for _ in 0..4 {
        all.insert(0, world.authorize(&olivia, "usr_olivia").await);
        world.pass(Duration::SECOND);
    }
    let cursor_of = async |query: &str| {
        let link = next(&world, &olivia.get(&format!("{LIST}?{query}")).await).unwrap();
        link.split("cursor=").nth(1).unwrap().to_owned()
    };
    let plain = cursor_of("limit=1").await;
    let active = cursor_of("limit=1&status=active").await;
    let page = async |query: &str, cursor: &str| olivia.get(&format!("{LIST}?{query}&cursor={cursor}")).await;
    assert_eq!(ids(&page("limit=2", &plain).await.is(200)), all[1..3], "another limit");
    assert_eq!(ids(&page("limit=1000", &plain).await.is(200)), all[1..]);
    assert_eq!(ids(&page("limit=3&status=active", &active).await.is(200)), all[1..]);
    for other in ["status=active", "status=revoking", "email=ops%40example.com", "user_id=usr_olivia", "unused_since=2026-01-01T00:00:00Z"]
    {
        page(other, &plain).await.refused(400, "cursor_invalid");
    }
    for other in ["limit=1", "status=needs_reauthorization", "status=active&user_id=usr_olivia", "workflow_id=fl_1"] {
        page(other, &active).await.refused(400, "cursor_invalid");
    }
}

#[tokio::test]
async fn a_walk_sees_what_was_there_once_whatever_comes_and_goes() {
    let world = World::start().await;
    let olivia = world.olivia();
    let mut all = Vec::new();
    for _ in 0..7 {
        all.insert(0, world.authorize(&olivia, "usr_olivia").await);
        world.pass(Duration::SECOND);
    }
    let (mut seen, mut path) = (Vec::new(), Some(format!("{LIST}?limit=2")));
    while let Some(here) = path {
        let answer = olivia.get(&here).await;
        seen.extend(ids(&answer.is(200)));
        path = next(&world, &answer);
        // A new one comes; the last one shown goes, and one that was still to come.
        world.authorize(&olivia, "usr_olivia").await;
        world.pass(Duration::SECOND);
        if seen.len() == 2 {
            for gone in [&all[1], &all[4]] {
                olivia.delete(&format!("{LIST}/{gone}")).await.is(204);
            }
        }
    }
    assert_eq!(seen, [&all[..4], &all[5..]].concat());
    assert_eq!(olivia.list().await.as_array().unwrap().len(), 5 + 3, "the new ones are in front");
}

#[tokio::test]
async fn filters_combine() {
    let world = World::start().await;
    let (olivia, ben) = (world.olivia(), world.ben());
    let mut made = BTreeMap::new();
    for (name, caller, person) in
        [("a", &olivia, "usr_olivia"), ("b", &ben, "usr_ben"), ("c", &olivia, "usr_olivia"), ("d", &ben, "usr_ben")]
    {
        let id = world.authorize(caller, person).await;
        world.bind(caller, &format!("fl_{name}"), &id).await;
        made.insert(name, id);
        world.pass(Duration::SECOND);
    }
    let tamper = async |name: &str, attribute: &str, value: &str| {
        world.tamper("org_demo", &made[name], attribute, AttributeValue::S(value.to_owned())).await;
    };
    for name in ["c", "d"] {
        tamper(name, "status", "needs_reauthorization").await;
        tamper(name, "reason", "invalid_grant").await;
    }
    olivia.token(&made["a"], json!({ "workflow_id": "fl_a" })).await.is(200);
    let used = world.now();
    world.pass(Duration::days(1));
    let found = async |query: &str| {
        let ids = ids(&olivia.get(&format!("{LIST}?{query}")).await.is(200));
        ids.iter().map(|id| *made.iter().find(|(_, known)| *known == id).unwrap().0).collect::<Vec<_>>()
    };
    let after = (used + Duration::SECOND).format(&Rfc3339).unwrap();
    let until = used.format(&Rfc3339).unwrap();
    for (query, expected) in [
        ("status=active".to_owned(), vec!["b", "a"]),
        ("status=active&user_id=usr_ben".to_owned(), vec!["b"]),
        ("status=needs_reauthorization&user_id=usr_olivia".to_owned(), vec!["c"]),
        ("user_id=usr_olivia&email=ben%40example.com".to_owned(), vec![]),
        ("user_id=usr_ben&email=ben%40example.com&limit=1".to_owned(), vec!["d"]),
        (format!("unused_since={after}"), vec!["d", "c", "b", "a"]),
        (format!("unused_since={until}"), vec!["d", "c", "b"]),
        (format!("unused_since={until}&status=active"), vec!["b"]),
        (format!("unused_since={until}&status=active&user_id=usr_olivia"), vec![]),
        ("workflow_id=fl_d&status=needs_reauthorization&user_id=usr_ben".to_owned(), vec!["d"]),
        ("workflow_id=fl_d&status=active".to_owned(), vec![]),
        (format!("workflow_id=fl_a&unused_since={until}"), vec![]),
    ] {
        assert_eq!(found(&query).await, expected, "{query}");
    }
    // However few match, a page is full unless it is the last, and the last has no link. It is one Query of the index.
    for (query, pages) in [
        ("user_id=usr_olivia&limit=1", vec![1, 1]),
        ("user_id=usr_olivia&limit=2", vec![2]),
        ("status=revoking&limit=1", vec![0]),
        ("email=ben%40example.com&limit=3", vec![2]),
    ] {
        let walked = walk(&world, &olivia, &format!("{LIST}?{query}")).await;
        assert_eq!(walked.iter().map(Vec::len).collect::<Vec<_>>(), pages, "{query}");
    }
    assert_eq!(found("unused_since=2026-11-23T00:00:00+02:00").await.len(), found("unused_since=2026-11-22T22:00:00Z").await.len());
}

#[tokio::test]
async fn an_authorization_with_hundreds_of_workflows_hides_none_behind_it() {
    let world = World::start().await;
    let olivia = world.olivia();
    let mut all = Vec::new();
    for _ in 0..4 {
        all.insert(0, world.authorize(&olivia, "usr_olivia").await);
        world.pass(Duration::SECOND);
    }
    for n in 0..130 {
        world.bind(&olivia, &format!("fl_{n:03}"), &all[1]).await;
    }
    for limit in [1, 2, 3, 4] {
        let (mut walked, mut path) = (Vec::new(), Some(format!("{LIST}?limit={limit}")));
        while let Some(here) = path {
            let answer = olivia.get(&here).await;
            walked.push(answer.is(200).as_array().unwrap().clone());
            path = next(&world, &answer);
        }
        let full: Vec<usize> = all.chunks(limit).map(<[_]>::len).collect();
        assert_eq!(walked.iter().map(Vec::len).collect::<Vec<_>>(), full, "every page but the last is full, and none is empty");
        let entries = walked.concat();
        assert_eq!(ids(&json!(entries)), all, "limit {limit}");
        let shown: Vec<_> = entries[1]["workflows"].as_array().unwrap().iter().map(|workflow| workflow["id"].clone()).collect();
        assert_eq!((shown.len(), &entries[1]["workflow_count"]), (25, &json!(130)));
        assert_eq!((&shown[0], &shown[24]), (&json!("fl_000"), &json!("fl_024")), "in the order of their ids");
    }
    assert_eq!(ids(&olivia.get(&format!("{LIST}?workflow_id=fl_129")).await.is(200)), all[1..2]);
    let refused = olivia.delete(&format!("{LIST}/{}", all[1])).await.refused(409, "authorization_in_use");
    let named: BTreeSet<_> = refused["workflows"].as_array().unwrap().iter().map(|workflow| workflow["id"].as_str().unwrap()).collect();
    assert_eq!((named.len(), &refused["workflow_count"]), (100, &json!(130)), "a hundred by name, all by number");
    let forecast = olivia.delete(&format!("{LIST}/{}?dry_run=true", all[1])).await.is(200);
    assert_eq!((&forecast["workflows"], &forecast["workflow_count"]), (&refused["workflows"], &json!(130)));
    assert_eq!(forecast["deletable"], false);
}

#[tokio::test]
async fn when_a_person_has_to_sign_in_again_is_forecast_from_both_lifetimes_of_the_refresh_token() {
    let (idle, absolute) = (Duration::days(14), Duration::days(20));
    for (lifetimes, begins, after_refresh) in [
        (json!({ "idle": 14 * 86400, "absolute": 20 * 86400 }), Some(idle), Some(absolute)),
        (json!({ "idle": 14 * 86400 }), Some(idle), Some(Duration::days(10) + idle)),
        (json!({ "absolute": 20 * 86400 }), Some(absolute), Some(absolute)),
        (json!({}), None, None),
    ] {
        let provider = Provider::start().await;
        let mut connection = provider.connection("conn_scripted");
        connection["refresh_token_lifetime"] = lifetimes.clone();
        let add = move |directory: &mut Value, _| directory["connections"].as_array_mut().unwrap().push(connection.clone());
        let client_secrets = vec![("conn_scripted".to_owned(), tests::provider::CLIENT_SECRET.to_owned())];
        let setup = Setup { directory: Some(Box::new(add)), client_secrets, clock: Some(provider.clock()), ..Setup::default() };
        let world = World::with(setup).await;
        let olivia = world.olivia();
        let id = world.authorize_at(&provider, &olivia).await;
        let signed_in = world.now();
        let forecast = async || olivia.one(&id).await["reauthorize_by"].clone();
        let expected = |after: Option<Duration>| after.map_or(Value::Null, |after| json!((signed_in + after).format(&Rfc3339).unwrap()));
        assert_eq!(forecast().await, expected(begins), "{lifetimes}");
        world.pass(Duration::days(10));
        olivia.post(&format!("{LIST}/{id}/check"), json!({})).await.is(200);
        assert_eq!(forecast().await, expected(after_refresh), "{lifetimes}, after ten days and a refresh");
        assert_eq!(at(&olivia.one(&id).await["last_refreshed_at"]), world.now());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn use_is_noted_once_an_hour_and_never_stands_in_a_tokens_way() {
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    world.bind(&olivia, "fl_1", &id).await;
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let notes = |call: &Call<'_>| call.request["UpdateExpression"].as_str().is_some_and(|text| text.contains("#last_used_at"));
    let count = move |call: &Call<'_>| {
        counter.fetch_add(usize::from(notes(call)), Ordering::SeqCst);
        Ruling::Pass
    };
    world.aws().observe(Some(Arc::new(Rule(count))));
    let hand_out = async || olivia.token(&id, json!({ "workflow_id": "fl_1", "min_ttl": 0 })).await.is(200);
    let first = world.now();
    for minute in 0..60 {
        hand_out().await;
        assert_eq!(at(&olivia.one(&id).await["last_used_at"]), first, "minute {minute}");
        world.pass(Duration::MINUTE);
    }
    assert_eq!(written.load(Ordering::SeqCst), 1, "one write in an hour");
    // The hour is over, and with it the token: the refresh notes the use, in the write that it makes anyway.
    assert_eq!(hand_out().await["generation"], 2);
    assert_eq!(written.load(Ordering::SeqCst), 2);
    assert_eq!(at(&olivia.one(&id).await["last_used_at"]), world.now());

    // Who comes at once may all try to note it; the token is theirs in any case, and the time is one.
    world.pass(Duration::HOUR);
    olivia.post(&format!("{LIST}/{id}/check"), json!({})).await.is(200);
    join_all((0..20).map(|_| hand_out())).await;
    assert_eq!(at(&olivia.one(&id).await["last_used_at"]), world.now());

    // A table that takes no writes keeps no token back.
    world.pass(Duration::minutes(59));
    olivia.post(&format!("{LIST}/{id}/check"), json!({})).await.is(200);
    world.pass(Duration::MINUTE);
    let refuse = move |call: &Call<'_>| {
        if notes(call) { Ruling::Refuse(Fault::new(500, "InternalServerError", "down")) } else { Ruling::Pass }
    };
    world.aws().observe(Some(Arc::new(Rule(refuse))));
    let token = hand_out().await;
    assert_eq!(token["degraded"], false);
    assert_eq!(at(&olivia.one(&id).await["last_used_at"]), world.now() - Duration::HOUR);
}
