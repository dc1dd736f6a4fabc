//! What a function asks of AWS, in the words in which a role grants it: action, resource, and what a condition can name.
//!
//! Resources are called as `template.yaml` calls them. A transaction and a batch count as what they are made of, as IAM sees them.

use std::collections::{BTreeMap, BTreeSet};

use local::aws::{Call, Service};
use serde_json::Value;

/// One use of one permission.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The function, by what its clients say it is.
    pub function: String,
    /// The action, such as `dynamodb:GetItem`.
    pub action: String,
    /// The resource.
    pub resource: String,
    /// The keys that conditions can name, each with its values.
    pub context: BTreeMap<String, BTreeSet<String>>,
}

/// What a request uses; nothing if nobody says that it is a function's.
#[must_use]
pub fn uses(call: &Call<'_>) -> Vec<Use> {
    let Some(function) = call.application else { return Vec::new() };
    let asked = match call.service {
        Service::DynamoDb => dynamodb(call.operation, call.request),
        Service::Kms => vec![(format!("kms:{}", call.operation), "Key.Arn".to_owned(), encryption_context(call.request))],
        Service::SecretsManager => {
            let resource = match text(&call.request["SecretId"]) {
                "mandate/directory" => "DirectorySecret",
                "mandate/client-secrets" => "ClientSecretsSecret",
                "mandate/state-keys" => "StateKeysSecret",
                _ => "ApiKeySecretArn",
            };
            vec![(format!("secretsmanager:{}", call.operation), resource.to_owned(), Context::new())]
        }
        Service::Sqs => vec![(format!("sqs:{}", call.operation), "RescueQueue.Arn".to_owned(), Context::new())],
        Service::EventBridge => {
            let bus = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/${EventBus}";
            let entries = call.request["Entries"].as_array().into_iter().flatten();
            let source = |entry: &Value| Context::from([("events:source".to_owned(), BTreeSet::from([text(&entry["Source"]).to_owned()]))]);
            entries.map(|entry| (format!("events:{}", call.operation), bus.to_owned(), source(entry))).collect()
        }
    };
    let function = function.to_owned();
    asked.into_iter().map(|(action, resource, context)| Use { function: function.clone(), action, resource, context }).collect()
}

type Context = BTreeMap<String, BTreeSet<String>>;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn encryption_context(request: &Value) -> Context {
    let pairs = request["EncryptionContext"].as_object().into_iter().flatten();
    pairs.map(|(name, value)| (format!("kms:EncryptionContext:{name}"), BTreeSet::from([text(value).to_owned()]))).collect()
}

fn dynamodb(operation: &str, request: &Value) -> Vec<(String, String, Context)> {
    let one = |action: &str, part: &Value| {
        let resource = match part["IndexName"].as_str() {
            Some(index) => format!("${{Table.Arn}}/index/{index}"),
            None => "Table.Arn".to_owned(),
        };
        (format!("dynamodb:{action}"), resource, item_context(action, part))
    };
    match operation {
        "TransactWriteItems" => {
            let parts = request["TransactItems"].as_array().into_iter().flatten().flat_map(|item| item.as_object().into_iter().flatten());
            let action = |kind: &str| if kind == "ConditionCheck" { "ConditionCheckItem".to_owned() } else { format!("{kind}Item") };
            parts.map(|(kind, part)| one(&action(kind), part)).collect()
        }
        "BatchGetItem" => {
            let tables = request["RequestItems"].as_object().into_iter().flatten();
            tables
                .flat_map(|(_, of)| {
                    let keys = of["Keys"].as_array().into_iter().flatten();
                    keys.map(|key| {
                        let mut part = of.clone();
                        part["Key"] = key.clone();
                        one("BatchGetItem", &part)
                    })
                    .collect::<Vec<_>>()
                })
                .collect()
        }
        _ => vec![one(operation, request)],
    }
}

fn item_context(action: &str, part: &Value) -> Context {
    let names = &part["ExpressionAttributeNames"];
    let mut attributes = BTreeSet::new();
    for place in ["Key", "Item"] {
        attributes.extend(part[place].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
    }
    for expression in ["ProjectionExpression", "UpdateExpression", "ConditionExpression", "KeyConditionExpression", "FilterExpression"] {
        attributes.extend(top_level(text(&part[expression])).map(|name| text(&names[name]).to_owned()));
    }
    let mut context = Context::from([("dynamodb:Attributes".to_owned(), attributes)]);
    for place in ["Key", "Item"] {
        if let Some(key) = part[place]["pk"]["S"].as_str() {
            context.insert("dynamodb:LeadingKeys".to_owned(), BTreeSet::from([key.to_owned()]));
        }
    }
    if matches!(action, "GetItem" | "BatchGetItem" | "Query") {
        let select = match (part["ProjectionExpression"].is_string(), part["IndexName"].is_string()) {
            (true, _) => "SPECIFIC_ATTRIBUTES",
            (false, true) => "ALL_PROJECTED_ATTRIBUTES",
            (false, false) => "ALL_ATTRIBUTES",
        };
        context.insert("dynamodb:Select".to_owned(), BTreeSet::from([select.to_owned()]));
    }
    if let Some(returned) = part["ReturnValues"].as_str() {
        context.insert("dynamodb:ReturnValues".to_owned(), BTreeSet::from([returned.to_owned()]));
    }
    context
}

/// The placeholders of an expression that stand for top-level attributes: `#r.#m0` names one attribute, not two.
fn top_level(expression: &str) -> impl Iterator<Item = &str> {
    let starts = expression.match_indices('#').filter(|(at, _)| !expression[..*at].ends_with('.'));
    starts.map(|(at, _)| {
        let rest = &expression[at + 1..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &expression[at..=at + end]
    })
}
