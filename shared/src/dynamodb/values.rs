//! Attribute values, written. Reading them is the business of `row`.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use time::OffsetDateTime;

use crate::domain::scopes::Scopes;

/// An item, or a part of one.
pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn n(number: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

pub(super) fn b(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// Unix milliseconds, the format of every time but two.
pub(super) fn millis(at: OffsetDateTime) -> AttributeValue {
    n(at.unix_timestamp_nanos().div_euclid(1_000_000))
}

/// Unix seconds, for `due_at` and `expires_at`.
pub(super) fn seconds(at: OffsetDateTime) -> AttributeValue {
    n(at.unix_timestamp())
}

/// A String Set; DynamoDB has no empty one, so the attribute is then absent.
pub(super) fn set_of(scopes: &Scopes) -> Option<AttributeValue> {
    (!scopes.is_empty()).then(|| AttributeValue::Ss(scopes.iter().map(str::to_owned).collect()))
}

/// A list, in the order of the scopes, so that equal scopes are equal values in a condition.
pub(super) fn list_of(scopes: &Scopes) -> AttributeValue {
    AttributeValue::L(scopes.iter().map(s).collect())
}

pub(super) fn counts(of: &BTreeMap<String, u64>) -> AttributeValue {
    AttributeValue::M(of.iter().map(|(scope, count)| (scope.clone(), n(*count))).collect())
}
