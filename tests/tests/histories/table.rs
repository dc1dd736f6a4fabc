//! The table in memory: what DynamoDB does with the requests that the adapter sends. It answers on the wire's terms, status and body,
//! and the comparison with the embedded DynamoDB (`differential`) holds it to them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use shared::dynamodb::table::{BY_ORGANIZATION, BY_ORGANIZATION_PROJECTION, DUE};

use super::expression::{Condition, Invalid, Item, Placeholders, canonical, number, parse_clauses, parse_projection, parse_update};

/// Partition and sort key.
pub type Place = (String, String);
/// Status and body of an answer.
pub type Answer = (u16, Value);

/// One conditional write, as an observer sees it.
#[derive(Debug)]
pub struct Write<'a> {
    /// `Put`, `Update` or `Delete`.
    pub verb: &'static str,
    pub place: &'a Place,
    /// The update expression; empty for others.
    pub update: &'a str,
    pub clauses: &'a [Condition],
    pub placeholders: &'a Placeholders,
    /// The item as it is.
    pub before: Option<&'a Item>,
}

impl Write<'_> {
    /// Whether these clauses hold for the item as it is.
    pub fn would_go_through(&self, clauses: &[Condition]) -> bool {
        let nothing = Item::new();
        clauses.iter().all(|clause| clause.holds(self.placeholders, self.before.unwrap_or(&nothing)).unwrap_or(false))
    }
}

/// May take requirements away from a write before it is judged.
pub type Weaken<'a> = &'a mut dyn FnMut(&Write<'_>) -> Vec<Condition>;

/// What a request changed: each place with the item before and after.
pub type Changes = Vec<(Place, Option<Item>, Option<Item>)>;

#[derive(Debug, Clone, Default)]
pub struct Table {
    pub items: BTreeMap<Place, Item>,
    /// Transactions that took effect, by their client request token.
    done: BTreeMap<String, Value>,
}

/// One write, judged.
struct Judged {
    place: Place,
    holds: bool,
    shown: Option<Item>,
    after: Option<Item>,
}

/// Fields of a request, each to be taken once: what nobody takes is not understood.
struct Fields(Map<String, Value>);

impl Fields {
    fn of(value: &Value) -> Self {
        Self(value.as_object().unwrap_or_else(|| panic!("no object: {value}")).clone())
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|value| value.as_str().unwrap_or_else(|| panic!("{name} is no text")).to_owned())
    }

    fn item(&mut self, name: &str) -> Option<Item> {
        self.take(name).map(|value| value.as_object().unwrap_or_else(|| panic!("{name} is no item")).clone().into_iter().collect())
    }

    fn placeholders(&mut self) -> Placeholders {
        let names = self.take("ExpressionAttributeNames").unwrap_or_else(|| json!({}));
        let names = names.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        Placeholders { names: names.collect(), values: self.item("ExpressionAttributeValues").unwrap_or_default() }
    }

    fn end(&self) {
        assert!(self.0.is_empty(), "fields of a request that the table does not know: {:?}", self.0);
    }
}

/// What a caller may see of an authorization in an index.
#[derive(Clone, Copy)]
enum Index {
    ByOrganization,
    Due,
}

impl Table {
    /// Does what a request asks for; reads of an index see `index`, which may be older than the table.
    pub fn execute(&mut self, operation: &str, request: &Value, index: &BTreeMap<Place, Item>, weaken: Weaken<'_>) -> (Answer, Changes) {
        let mut fields = Fields::of(request);
        let mut changes = Vec::new();
        let answer = match operation {
            "GetItem" => self.get(&mut fields),
            "BatchGetItem" => Ok(self.batch_get(&mut fields)),
            "Query" => query(&mut fields, index),
            "PutItem" | "UpdateItem" => self.write(operation, &mut fields, weaken, &mut changes),
            "TransactWriteItems" => self.transact(&mut fields, weaken, &mut changes),
            other => panic!("an operation that the table does not know: {other}"),
        };
        fields.end();
        (answer.unwrap_or_else(|Invalid(why)| fault("com.amazon.coral.validate#ValidationException", &why)), changes)
    }

    fn get(&self, fields: &mut Fields) -> Result<Answer, Invalid> {
        fields.text("TableName");
        assert_eq!(fields.take("ConsistentRead"), Some(json!(true)), "a read that decides is consistent");
        let with = fields.placeholders();
        let item = self.items.get(&place(&fields.item("Key").unwrap()));
        let item = match fields.text("ProjectionExpression") {
            None => item.cloned(),
            Some(projection) => {
                let paths = parse_projection(&projection);
                all_used(&with, &paths.iter().cloned().collect())?;
                let names: BTreeSet<_> = paths.iter().map(|path| with.names[path].clone()).collect();
                item.map(|item| item.iter().filter(|(name, _)| names.contains(*name)).map(|(n, v)| (n.clone(), v.clone())).collect())
            }
        };
        Ok((200, item.map_or_else(|| json!({}), |item: Item| json!({ "Item": item }))))
    }

    fn batch_get(&self, fields: &mut Fields) -> Answer {
        let tables = fields.take("RequestItems").unwrap();
        let [(table, wanted)] = &tables.as_object().unwrap().iter().collect::<Vec<_>>()[..] else { panic!("one table") };
        let mut wanted = Fields::of(wanted);
        assert_eq!(wanted.take("ConsistentRead"), Some(json!(true)), "a read that decides is consistent");
        let keys = wanted.take("Keys").unwrap();
        wanted.end();
        let places = keys.as_array().unwrap().iter().map(|key| place(&key.as_object().unwrap().clone().into_iter().collect()));
        let found: Vec<_> = places.filter_map(|place| self.items.get(&place)).collect();
        (200, json!({ "Responses": { table.as_str(): found }, "UnprocessedKeys": {} }))
    }

    fn write(&mut self, operation: &str, fields: &mut Fields, weaken: Weaken<'_>, changes: &mut Changes) -> Result<Answer, Invalid> {
        let returned = fields.text("ReturnValues");
        let judged = match operation {
            "PutItem" => self.judge_put(fields, weaken)?,
            _ => self.judge_update(fields, weaken)?,
        };
        if !judged.holds {
            let mut refusal = fault("com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "The conditional request failed");
            if let Some(item) = judged.shown {
                refusal.1["Item"] = json!(item);
            }
            return Ok(refusal);
        }
        let after = judged.after.clone();
        self.apply(judged, changes);
        Ok((200, if returned.as_deref() == Some("ALL_NEW") { json!({ "Attributes": after }) } else { json!({}) }))
    }

    fn transact(&mut self, fields: &mut Fields, weaken: Weaken<'_>, changes: &mut Changes) -> Result<Answer, Invalid> {
        let token = fields.text("ClientRequestToken").unwrap();
        let items = fields.take("TransactItems").unwrap();
        if let Some(before) = self.done.get(&token) {
            let same = canonical(before) == canonical(&items);
            return Ok(if same {
                (200, json!({}))
            } else {
                fault("com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException", "the token belongs to other parameters")
            });
        }
        let (mut judged, mut places) = (Vec::new(), BTreeSet::new());
        for item in items.as_array().unwrap() {
            let [(verb, write)] = &item.as_object().unwrap().iter().collect::<Vec<_>>()[..] else { panic!("one write: {item}") };
            let mut write = Fields::of(write);
            let one = match verb.as_str() {
                "Put" => self.judge_put(&mut write, weaken)?,
                "Update" => self.judge_update(&mut write, weaken)?,
                "Delete" => self.judge_delete(&mut write, weaken)?,
                other => panic!("a write that the table does not know: {other}"),
            };
            write.end();
            if !places.insert(one.place.clone()) {
                return Err(Invalid("Transaction request cannot include multiple operations on one item".to_owned()));
            }
            judged.push(one);
        }
        if judged.iter().all(|one| one.holds) {
            self.done.insert(token, items);
            for one in judged {
                self.apply(one, changes);
            }
            return Ok((200, json!({})));
        }
        let reasons = judged.into_iter().map(|one| match (one.holds, one.shown) {
            (true, _) => json!({ "Code": "None" }),
            (false, None) => json!({ "Code": "ConditionalCheckFailed", "Message": "The conditional request failed" }),
            (false, Some(item)) => json!({ "Code": "ConditionalCheckFailed", "Message": "The conditional request failed", "Item": item }),
        });
        let reasons: Vec<_> = reasons.collect();
        Ok(cancelled(&reasons))
    }

    fn judge_put(&self, fields: &mut Fields, weaken: Weaken<'_>) -> Result<Judged, Invalid> {
        let item = fields.item("Item").unwrap();
        self.judge("Put", place(&item), fields, weaken, |_, _| Ok(Some(item)))
    }

    fn judge_delete(&self, fields: &mut Fields, weaken: Weaken<'_>) -> Result<Judged, Invalid> {
        let place = place(&fields.item("Key").unwrap());
        self.judge("Delete", place, fields, weaken, |_, _| Ok(None))
    }

    fn judge_update(&self, fields: &mut Fields, weaken: Weaken<'_>) -> Result<Judged, Invalid> {
        let key = fields.item("Key").unwrap();
        let text = fields.0.get("UpdateExpression").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.judge("Update", place(&key), fields, weaken, |with, before| {
            let before = before.cloned().unwrap_or(key);
            parse_update(&text).apply(with, &before).map(Some)
        })
    }

    /// The condition first, then what the write makes of the item.
    fn judge(
        &self,
        verb: &'static str,
        place: Place,
        fields: &mut Fields,
        weaken: Weaken<'_>,
        make: impl FnOnce(&Placeholders, Option<&Item>) -> Result<Option<Item>, Invalid>,
    ) -> Result<Judged, Invalid> {
        fields.text("TableName");
        let with = fields.placeholders();
        let update = fields.text("UpdateExpression").unwrap_or_default();
        let condition = fields.text("ConditionExpression").unwrap_or_else(|| panic!("a write without a condition (I4): {verb} {place:?}"));
        let show = fields.text("ReturnValuesOnConditionCheckFailure").as_deref() == Some("ALL_OLD");
        let clauses = parse_clauses(&condition);
        let mut used: BTreeSet<String> = clauses.iter().flat_map(Condition::uses).collect();
        let parsed = parse_update(&update);
        used.extend(parsed.uses());
        all_used(&with, &used)?;
        parsed.check(&with)?;
        let (before, nothing) = (self.items.get(&place), Item::new());
        let clauses = weaken(&Write { verb, place: &place, update: &update, clauses: &clauses, placeholders: &with, before });
        let mut holds = true;
        for clause in &clauses {
            holds &= clause.holds(&with, before.unwrap_or(&nothing))?;
        }
        let shown = if holds || !show { None } else { before.cloned() };
        let after = if holds { make(&with, before)? } else { None };
        Ok(Judged { place, holds, shown, after })
    }

    fn apply(&mut self, judged: Judged, changes: &mut Changes) {
        let before = match &judged.after {
            Some(item) => self.items.insert(judged.place.clone(), item.clone()),
            None => self.items.remove(&judged.place),
        };
        changes.push((judged.place, before, judged.after));
    }
}

/// Eventually consistent, keys and projection of the index only.
fn query(fields: &mut Fields, items: &BTreeMap<Place, Item>) -> Result<Answer, Invalid> {
    fields.text("TableName");
    let (index, partition, sort) = match fields.text("IndexName").as_deref() {
        Some(BY_ORGANIZATION) => (Index::ByOrganization, "org_pk", "org_sk"),
        Some(DUE) => (Index::Due, "due_shard", "due_at"),
        other => panic!("a query of {other:?}"),
    };
    let with = fields.placeholders();
    let condition = parse_clauses(&fields.text("KeyConditionExpression").unwrap());
    all_used(&with, &condition.iter().flat_map(Condition::uses).collect())?;
    let limit = fields.take("Limit").and_then(|limit| limit.as_u64()).map(|limit| usize::try_from(limit).unwrap());
    let order = |item: &Item| {
        let sort_value = item.get(sort).cloned().unwrap_or_default();
        let as_text = sort_value.get("S").and_then(Value::as_str).unwrap_or_default().to_owned();
        (number(&sort_value).unwrap_or_default(), as_text, place(item))
    };
    let start = fields.item("ExclusiveStartKey").map(|key| order(&key));
    let mut found = Vec::new();
    for item in items.values().filter(|item| item.contains_key(partition) && item.contains_key(sort)) {
        let mut holds = start.as_ref().is_none_or(|start| order(item) > *start);
        for clause in &condition {
            holds &= clause.holds(&with, item)?;
        }
        if holds {
            found.push(item);
        }
    }
    found.sort_by_key(|item| order(item));
    let cut = limit.filter(|limit| found.len() >= *limit);
    found.truncate(cut.unwrap_or(found.len()));
    let keys = ["pk", "sk", partition, sort];
    let shown = |name: &str| match index {
        Index::ByOrganization => keys.contains(&name) || BY_ORGANIZATION_PROJECTION.contains(&name),
        Index::Due => keys.contains(&name),
    };
    let project = |item: &Item, shown: &dyn Fn(&str) -> bool| -> Item {
        item.iter().filter(|(name, _)| shown(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let mut answer = json!({ "Count": found.len(), "ScannedCount": found.len() });
    answer["Items"] = found.iter().map(|item| json!(project(item, &shown))).collect();
    if let Some(last) = cut.and(found.last()) {
        answer["LastEvaluatedKey"] = json!(project(last, &|name| keys.contains(&name)));
    }
    Ok((200, answer))
}

/// DynamoDB refuses placeholders that nothing uses.
fn all_used(with: &Placeholders, used: &BTreeSet<String>) -> Result<(), Invalid> {
    match with.names.keys().chain(with.values.keys()).find(|defined| !used.contains(*defined)) {
        Some(unused) => Err(Invalid(format!("a placeholder is not used: {unused}"))),
        None => Ok(()),
    }
}

/// The place of an item or a key.
pub fn place(item: &Item) -> Place {
    let of = |name: &str| item[name]["S"].as_str().unwrap().to_owned();
    (of("pk"), of("sk"))
}

/// An error answer.
pub fn fault(kind: &str, message: &str) -> Answer {
    (400, json!({ "__type": kind, "message": message }))
}

/// A cancelled transaction.
pub fn cancelled(reasons: &[Value]) -> Answer {
    let (_, mut body) = fault("com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "Transaction cancelled");
    body["CancellationReasons"] = json!(reasons);
    (400, body)
}
