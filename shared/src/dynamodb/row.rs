//! Rows, read attribute by attribute, so that a bad one can say where it is bad.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1::from_attribute_value;
use time::OffsetDateTime;

use super::error::{BadRow, NotAsStored};
use super::values::Item;
use crate::ports::Source;

/// An item as the table answered it.
#[derive(Debug)]
pub(super) struct Row {
    table: String,
    attributes: Item,
}

impl Row {
    pub(super) fn new(table: &str, attributes: Item) -> Self {
        Self { table: table.to_owned(), attributes }
    }

    /// A key attribute as text; empty if it is none, which no key of ours is.
    pub(super) fn text(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
    }

    pub(super) fn required<T: DeserializeOwned>(&mut self, attribute: &'static str) -> Result<T, BadRow> {
        self.optional(attribute)?.ok_or_else(|| self.bad(attribute, NotAsStored("absent")))
    }

    pub(super) fn optional<T: DeserializeOwned>(&mut self, attribute: &'static str) -> Result<Option<T>, BadRow> {
        match self.attributes.remove(attribute) {
            None | Some(AttributeValue::Null(_)) => Ok(None),
            Some(value) => from_attribute_value(value).map(Some).map_err(|error| self.bad(attribute, error)),
        }
    }

    pub(super) fn bytes(&mut self, attribute: &'static str) -> Result<Option<Vec<u8>>, BadRow> {
        match self.attributes.remove(attribute) {
            None => Ok(None),
            Some(AttributeValue::B(bytes)) => Ok(Some(bytes.into_inner())),
            Some(_) => Err(self.bad(attribute, NotAsStored("not binary"))),
        }
    }

    pub(super) fn time(&mut self, attribute: &'static str) -> Result<OffsetDateTime, BadRow> {
        self.optional_time(attribute)?.ok_or_else(|| self.bad(attribute, NotAsStored("absent")))
    }

    /// Unix milliseconds.
    pub(super) fn optional_time(&mut self, attribute: &'static str) -> Result<Option<OffsetDateTime>, BadRow> {
        self.instant(attribute, 1_000_000)
    }

    /// Unix seconds.
    pub(super) fn optional_seconds(&mut self, attribute: &'static str) -> Result<Option<OffsetDateTime>, BadRow> {
        self.instant(attribute, 1_000_000_000)
    }

    fn instant(&mut self, attribute: &'static str, nanos_each: i128) -> Result<Option<OffsetDateTime>, BadRow> {
        let Some(number) = self.optional::<i64>(attribute)? else { return Ok(None) };
        let nanos = i128::from(number) * nanos_each;
        OffsetDateTime::from_unix_timestamp_nanos(nanos).map(Some).map_err(|error| self.bad(attribute, error))
    }

    pub(super) fn bad(&self, attribute: &'static str, source: impl Into<Source>) -> BadRow {
        let key = format!("{} / {}", self.text("pk"), self.text("sk"));
        BadRow { table: self.table.clone(), attribute, key, source: source.into() }
    }
}
