//! The table in memory against the embedded DynamoDB: the same requests, one after the other, and the same answers; so what the
//! histories show, they show of a table that does what DynamoDB does.
//!
//! Two sources of requests: what the adapter sent in histories, and conditions and updates made at random of the same grammar, over
//! items that have, lack or mistype what they ask for.

use aws_sdk_dynamodb::Client;
use lambda_http::http::Method;
use local::client::Http;
use local::provision::loopback_sdk_config;
use serde_json::{Value, json};
use shared::dynamodb::table::create_table;
use tests::World;

use super::expression::{Item, canonical};
use super::hub::Random;
use super::scene::{THEMES, play};
use super::table::{Answer, Table, place};

const TABLE: &str = "beside";

/// The embedded DynamoDB with a table of its own, spoken to without an SDK: bytes in, bytes out.
struct Embedded {
    world: World,
    http: Http,
}

impl Embedded {
    async fn start() -> Self {
        let world = World::start().await;
        let client = Client::new(&loopback_sdk_config(world.stack.aws_endpoint()));
        create_table(&client, TABLE).unwrap().send().await.unwrap();
        Self { http: Http::new().unwrap(), world }
    }

    async fn ask(&self, operation: &str, body: &Value) -> Answer {
        let target = format!("DynamoDB_20120810.{operation}");
        let signed = "AWS4-HMAC-SHA256 Credential=local/20261122/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
        let headers = [
            ("x-amz-date", "20261122T100000Z"),
            ("x-amz-target", target.as_str()),
            ("content-type", "application/x-amz-json-1.0"),
            ("authorization", signed),
        ];
        let answer =
            self.http.send(Method::POST, self.world.stack.aws_endpoint(), &headers, Some(renamed(body).to_string())).await.unwrap();
        (answer.status, answer.json())
    }

    async fn clear(&self) {
        let (_, scanned) = self.ask("Scan", &json!({ "TableName": TABLE })).await;
        for item in scanned["Items"].as_array().unwrap() {
            let key = json!({ "pk": item["pk"], "sk": item["sk"] });
            self.ask("DeleteItem", &json!({ "TableName": TABLE, "Key": key })).await;
        }
    }

    async fn items(&self) -> Vec<Value> {
        let (_, scanned) = self.ask("Scan", &json!({ "TableName": TABLE, "ConsistentRead": true })).await;
        sorted(scanned["Items"].as_array().unwrap())
    }

    async fn put(&self, item: &Item) {
        let (status, answer) = self.ask("PutItem", &json!({ "TableName": TABLE, "Item": item })).await;
        assert_eq!(status, 200, "{answer}");
    }
}

fn sorted(items: &[Value]) -> Vec<Value> {
    let mut items: Vec<_> = items.iter().map(canonical).collect();
    items.sort_by_key(|item| format!("{}{}", item["pk"], item["sk"]));
    items
}

/// The request, to the table beside the others.
fn renamed(body: &Value) -> Value {
    match body {
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| match (name.as_str(), value) {
                ("TableName", _) => (name.clone(), json!(TABLE)),
                ("RequestItems", Value::Object(tables)) => (
                    name.clone(),
                    tables.values().map(|wanted| (TABLE.to_owned(), wanted.clone())).collect::<serde_json::Map<_, _>>().into(),
                ),
                _ => (name.clone(), renamed(value)),
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(values) => values.iter().map(renamed).collect(),
        plain => plain.clone(),
    }
}

/// What of an answer a client can act upon: the status, the kind of an error, the reasons of a cancellation, and every item.
fn meaning((status, body): &Answer) -> Value {
    let kind = body["__type"].as_str().map(|kind| kind.rsplit('#').next().unwrap().to_owned());
    let reasons = body["CancellationReasons"]
        .as_array()
        .map(|reasons| reasons.iter().map(|reason| json!([reason["Code"], canonical(&reason["Item"])])).collect::<Vec<_>>());
    let mut read = body["Responses"].as_object().map(|tables| sorted(tables.values().next().unwrap().as_array().unwrap()));
    if let Some(read) = &mut read {
        read.sort_by_key(ToString::to_string);
    }
    json!({
        "status": status, "kind": kind, "reasons": reasons, "read": read, "item": canonical(&body["Item"]),
        "attributes": canonical(&body["Attributes"]), "items": canonical(&body["Items"]), "count": body["Count"],
        "last": canonical(&body["LastEvaluatedKey"]),
    })
}

#[tokio::test]
async fn what_the_adapter_sends_is_answered_as_dynamodb_answers_it() {
    let embedded = Embedded::start().await;
    let (mut requests, mut refused) = (0, 0);
    for seed in 0..24 {
        let theme = THEMES[usize::try_from(seed).unwrap() % THEMES.len()];
        let history = play(theme, 1_000_000 + seed, None, true);
        if history.unrecorded {
            continue;
        }
        embedded.clear().await;
        for item in history.begun_with.items.values() {
            embedded.put(item).await;
        }
        for (operation, body, answer) in &history.done {
            let theirs = embedded.ask(operation, body).await;
            assert_eq!(meaning(answer), meaning(&theirs), "seed {seed}, {operation}: {body}\n{answer:?}\n{theirs:?}");
            requests += 1;
            refused += usize::from(answer.0 != 200);
        }
        let ours: Vec<Value> = history.ended_with.items.values().map(|item| json!(item)).collect();
        assert_eq!(sorted(&ours), embedded.items().await, "seed {seed}");
    }
    println!("{requests} requests, {refused} of them refused");
    assert!(requests > 150 && refused > 10, "{requests} {refused}");
}

#[tokio::test]
async fn conditions_and_updates_of_any_kind_do_what_dynamodb_makes_of_them() {
    let embedded = Embedded::start().await;
    let (mut took_effect, mut refused, mut invalid) = (0, 0, 0);
    for seed in 0..400_u64 {
        let mut random = Random(seed);
        let item = any_item(&mut random);
        let request = any_update(&mut random, &random_key(&item));
        let mut table = Table::default();
        if random.chance(850) {
            embedded.put(&item).await;
            table.items.insert(place(&item), item.clone());
        } else {
            embedded.ask("DeleteItem", &json!({ "TableName": TABLE, "Key": { "pk": item["pk"], "sk": item["sk"] } })).await;
        }
        let index = table.items.clone();
        let (ours, _) = table.execute("UpdateItem", &request, &index, &mut |write| write.clauses.to_vec());
        let theirs = embedded.ask("UpdateItem", &request).await;
        assert_eq!(meaning(&ours), meaning(&theirs), "seed {seed}: {request}\non {item:?}\n{ours:?}\n{theirs:?}");
        match meaning(&ours)["kind"].as_str() {
            None => took_effect += 1,
            Some("ValidationException") => invalid += 1,
            Some(_) => refused += 1,
        }
    }
    println!("{took_effect} took effect, {refused} were refused, {invalid} were invalid");
    assert!(took_effect > 25 && refused > 50 && invalid > 3, "{took_effect} {refused} {invalid}");
}

fn random_key(item: &Item) -> Value {
    json!({ "pk": item["pk"], "sk": item["sk"] })
}

fn any_value(random: &mut Random) -> Value {
    let number = i64::try_from(random.below(4)).unwrap() - 1;
    match random.below(4) {
        0 | 1 => json!({ "N": number.to_string() }),
        2 => json!({ "S": random.one(&["a", "b", "ab", ""]) }),
        _ => random.one(&[json!({ "SS": ["a", "b"] }), json!({ "SS": ["b"] }), json!({ "L": [{ "S": "a" }] }), json!({ "BOOL": true })]),
    }
}

/// `a` to `d` of any type or absent, and a map of counts.
fn any_item(random: &mut Random) -> Item {
    let mut item = Item::from([("pk".to_owned(), json!({ "S": "ORG#o#AUTH#x" })), ("sk".to_owned(), json!({ "S": "AUTH" }))]);
    for name in ["a", "b", "c", "d"] {
        if random.chance(750) {
            item.insert(name.to_owned(), any_value(random));
        }
    }
    if random.chance(800) {
        item.insert("m".to_owned(), json!({ "M": if random.chance(500) { json!({ "read": { "N": "1" } }) } else { json!({}) } }));
    }
    item
}

fn any_comparison(random: &mut Random) -> String {
    let name = random.one(&["#a", "#b", "#c"]);
    let value = random.one(&[":x", ":y", ":z"]);
    match random.below(7) {
        0 => format!("attribute_not_exists({name})"),
        1 => format!("{name} IN ({value}, :x)"),
        2 => format!("contains({name}, {value})"),
        3 => format!("{name} <= {value}"),
        4 => format!("{name} >= {value}"),
        _ => format!("{name} = {value}"),
    }
}

/// DynamoDB takes no parentheses in parentheses, so only what is put together gets them.
fn any_condition(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.chance(400) {
        return any_comparison(random);
    }
    let part = |random: &mut Random| match random.below(2) {
        0 => any_comparison(random),
        _ => format!("({} OR {})", any_comparison(random), any_condition(random, 0)),
    };
    let word = random.one(&["AND", "OR"]);
    format!("{} {word} {}", part(random), part(random))
}

fn any_update(random: &mut Random, key: &Value) -> Value {
    let clauses = 1 + usize::from(random.chance(300));
    let condition = (0..clauses).map(|_| format!("({})", any_condition(random, 2))).collect::<Vec<_>>().join(" AND ");
    let set = random.one(&[
        "#d = :x",
        "#d = #a + :one",
        "#d = if_not_exists(#d, :one) + :one",
        "#d = if_not_exists(#a, :x)",
        "#m.#s=if_not_exists(#m.#s,:one)+:one",
        "#m.#s=if_not_exists(#m.#s,:one)-:one, #d = :y",
        "#d = :x, #d = :y",
    ]);
    let remove = random.one(&["", " REMOVE #b", " REMOVE #b, #c"]);
    let update = format!("SET {set}{remove}");
    let used = |placeholder: &str| {
        format!("{update} {condition}").split(|c: char| !(c.is_ascii_alphanumeric() || "#:_".contains(c))).any(|p| p == placeholder)
    };
    let names = [("#a", "a"), ("#b", "b"), ("#c", "c"), ("#d", "d"), ("#m", "m"), ("#s", "read")];
    let names: serde_json::Map<_, _> = names.into_iter().filter(|(p, _)| used(p)).map(|(p, name)| (p.to_owned(), json!(name))).collect();
    let mut values = serde_json::Map::new();
    for placeholder in [":x", ":y", ":z"].into_iter().filter(|p| used(p)) {
        // Only texts and numbers can be compared by size or contained.
        let plain = random.one(&[json!({ "N": "0" }), json!({ "N": "1" }), json!({ "S": "a" }), json!({ "S": "b" })]);
        values.insert(placeholder.to_owned(), plain);
    }
    if used(":one") {
        values.insert(":one".to_owned(), json!({ "N": "1" }));
    }
    let mut request = json!({
        "TableName": TABLE, "Key": key, "UpdateExpression": update, "ConditionExpression": condition, "ExpressionAttributeNames": names,
        "ReturnValues": "ALL_NEW", "ReturnValuesOnConditionCheckFailure": random.one(&["ALL_OLD", "NONE"]),
    });
    if !values.is_empty() {
        request["ExpressionAttributeValues"] = values.into();
    }
    request
}
