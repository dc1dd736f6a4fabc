//! A conditional change of one item, put together piece by piece.
//!
//! Expressions are written as the DynamoDB manual writes them, with `#attribute` for attributes, so that no reserved word
//! matters: the names are collected from the text.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::keys::Key;
use super::values::Item;

/// What to change of one item, and on which condition.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) key: Key,
    set: Vec<String>,
    remove: Vec<String>,
    conditions: Vec<String>,
    pub(super) names: HashMap<String, String>,
    pub(super) values: Item,
}

impl Change {
    pub(super) fn of(key: Key) -> Self {
        Self { key, set: Vec::new(), remove: Vec::new(), conditions: Vec::new(), names: HashMap::new(), values: Item::new() }
    }

    /// Sets an attribute to a value.
    pub(super) fn set(mut self, attribute: &str, value: AttributeValue) -> Self {
        self.set.push(format!("#{attribute} = :{attribute}"));
        self.names.insert(format!("#{attribute}"), attribute.to_owned());
        self.values.insert(format!(":{attribute}"), value);
        self
    }

    /// Sets an attribute, or removes it where there is no value.
    pub(super) fn set_or_remove(self, attribute: &str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(attribute, value),
            None => self.remove(&[attribute]),
        }
    }

    /// Sets by an expression, `#path = …`.
    pub(super) fn compute(mut self, assignment: &str) -> Self {
        self.collect_names(assignment);
        self.set.push(assignment.to_owned());
        self
    }

    pub(super) fn remove(mut self, attributes: &[&str]) -> Self {
        for attribute in attributes {
            self.names.insert(format!("#{attribute}"), (*attribute).to_owned());
            self.remove.push(format!("#{attribute}"));
        }
        self
    }

    /// Adds a condition; all have to hold.
    pub(super) fn when(mut self, condition: &str) -> Self {
        self.collect_names(condition);
        self.conditions.push(format!("({condition})"));
        self
    }

    /// Gives a placeholder of an expression its value.
    pub(super) fn value(mut self, placeholder: impl Into<String>, value: AttributeValue) -> Self {
        self.values.insert(placeholder.into(), value);
        self
    }

    /// Gives a placeholder of an expression a name that is not its own, before the expression is added.
    pub(super) fn name(mut self, placeholder: impl Into<String>, attribute: impl Into<String>) -> Self {
        self.names.insert(placeholder.into(), attribute.into());
        self
    }

    pub(super) fn update_expression(&self) -> String {
        let clause = |verb: &str, parts: &[String]| if parts.is_empty() { String::new() } else { format!("{verb} {} ", parts.join(", ")) };
        clause("SET", &self.set) + &clause("REMOVE", &self.remove)
    }

    pub(super) fn condition_expression(&self) -> String {
        self.conditions.join(" AND ")
    }

    fn collect_names(&mut self, expression: &str) {
        for part in expression.split('#').skip(1) {
            let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(part.len());
            let name = &part[..end];
            self.names.entry(format!("#{name}")).or_insert_with(|| name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamodb::values::n;

    #[test]
    fn a_change_collects_the_names_its_expressions_use() {
        let change = Change::of(crate::dynamodb::tests::key())
            .set("status", n(1))
            .remove(&["lease_owner"])
            .name("#s0", "https://scope")
            .compute("#r.#s0 = if_not_exists(#r.#s0, :zero) + :one")
            .when("#version = :v OR attribute_not_exists(#lease_until)");
        assert_eq!(change.update_expression(), "SET #status = :status, #r.#s0 = if_not_exists(#r.#s0, :zero) + :one REMOVE #lease_owner ");
        assert_eq!(change.condition_expression(), "(#version = :v OR attribute_not_exists(#lease_until))");
        assert_eq!(change.names["#s0"], "https://scope");
        assert_eq!(change.names["#lease_until"], "lease_until");
        assert_eq!(change.names.len(), 6);
    }
}
