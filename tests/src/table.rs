//! What is in the table, looked at past the API.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use local::provision::loopback_sdk_config;
use shared::dynamodb::Table;
use shared::system::SystemEntropy;
use std::sync::Arc;

use crate::World;

/// An item as DynamoDB has it.
pub type Item = HashMap<String, AttributeValue>;

/// Every item at one moment.
#[derive(Debug, Clone)]
pub struct Records(Vec<Item>);

impl World {
    /// A client of the table that no observer is told from the functions' own.
    #[must_use]
    pub fn dynamodb(&self) -> Client {
        Client::new(&loopback_sdk_config(self.stack.aws_endpoint()))
    }

    /// The store itself, for what cannot be arranged through the API.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::new(Table::new(self.dynamodb(), &self.stack.provisioned().table, Arc::clone(&self.clock) as _, Arc::new(SystemEntropy)))
    }

    /// Reads the whole table.
    pub async fn records(&self) -> Records {
        let (client, mut items, mut start) = (self.dynamodb(), Vec::new(), None);
        loop {
            let scan = client.scan().table_name(&self.stack.provisioned().table).consistent_read(true).set_exclusive_start_key(start);
            let page = scan.send().await.unwrap();
            items.extend(page.items.unwrap_or_default());
            start = page.last_evaluated_key;
            if start.is_none() {
                return Records(items);
            }
        }
    }

    /// Takes all authorizations and bindings out of the table, as if there had never been any.
    pub async fn clear_table(&self) {
        let client = self.dynamodb();
        for item in self.records().await.0.into_iter().filter(|item| text(item, "pk").starts_with("ORG#")) {
            let delete = client.delete_item().table_name(&self.stack.provisioned().table);
            delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.unwrap();
        }
    }

    /// Changes one attribute of an authorization behind everybody's back.
    pub async fn tamper(&self, organization: &str, id: &str, attribute: &str, value: AttributeValue) {
        let update = self.dynamodb().update_item().table_name(&self.stack.provisioned().table);
        let update =
            update.key("pk", AttributeValue::S(format!("ORG#{organization}#AUTH#{id}"))).key("sk", AttributeValue::S("AUTH".to_owned()));
        let update = update.update_expression("SET #a = :a").expression_attribute_names("#a", attribute);
        update.expression_attribute_values(":a", value).send().await.unwrap();
    }
}

impl Records {
    /// Every item.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.0
    }

    /// The item of an authorization.
    #[must_use]
    pub fn authorization(&self, id: &str) -> Option<&Item> {
        self.0.iter().find(|item| text(item, "sk") == "AUTH" && text(item, "pk").ends_with(&format!("#AUTH#{id}")))
    }

    /// How many bindings an authorization counts.
    #[must_use]
    pub fn count(&self, id: &str) -> u64 {
        number(&self.authorization(id).unwrap()["binding_count"])
    }

    /// Which workflow is bound to which authorization.
    #[must_use]
    pub fn bindings(&self) -> BTreeMap<String, String> {
        let of = |item: &Item| (text(item, "workflow_id").to_owned(), text(item, "auth_id").to_owned());
        self.0.iter().filter(|item| text(item, "sk") == "BINDING").map(of).collect()
    }

    /// I3: every authorization counts exactly the bindings that there are, and exactly the scopes that they require; and every
    /// binding stands behind its own authorization in the index.
    pub fn are_counted_exactly(&self) {
        let mut counted: BTreeMap<String, (u64, BTreeMap<String, u64>)> = BTreeMap::new();
        for item in self.0.iter().filter(|item| text(item, "sk") == "BINDING") {
            let id = text(item, "auth_id");
            let of = counted.entry(id.to_owned()).or_default();
            of.0 += 1;
            for scope in item["required_scopes"].as_l().unwrap() {
                *of.1.entry(scope.as_s().unwrap().clone()).or_default() += 1;
            }
            let owner = self.authorization(id).unwrap();
            assert!(text(item, "org_sk").starts_with(&format!("{}#", text(owner, "org_sk"))), "{item:?}");
        }
        for item in self.0.iter().filter(|item| text(item, "sk") == "AUTH") {
            let id = text(item, "pk").rsplit('#').next().unwrap();
            let scopes = item["required_scopes"].as_m().unwrap().iter().map(|(scope, count)| (scope.clone(), number(count)));
            let scopes: BTreeMap<_, _> = scopes.filter(|(_, count)| *count > 0).collect();
            let expected = counted.remove(id).unwrap_or_default();
            assert_eq!((number(&item["binding_count"]), scopes), expected, "{id}");
        }
        assert!(counted.is_empty(), "bindings of nobody: {counted:?}");
    }
}

/// A text attribute; empty if it is absent.
#[must_use]
pub fn text<'a>(item: &'a Item, attribute: &str) -> &'a str {
    item.get(attribute).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}

fn number(value: &AttributeValue) -> u64 {
    value.as_n().unwrap().parse().unwrap()
}
