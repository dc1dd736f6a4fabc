//! The index `due`: keys only, and a hint only; the claim decides (I5).

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use time::OffsetDateTime;

use super::Table;
use super::error::{BadRow, NotAsStored};
use super::keys::{self, Key};
use super::row::Row;
use super::values::{s, seconds};
use crate::ports::Unavailable;
use crate::ports::store::{DueItem, DueQueue};

const DOING: &str = "read the due index";

#[async_trait]
impl DueQueue for Table {
    async fn due(&self, shard: u32, now: OffsetDateTime, most: usize, after: Option<&DueItem>) -> Result<Vec<DueItem>, Unavailable> {
        let mut start = after.map(|item| position(shard, item));
        let mut found = Vec::new();
        while found.len() < most {
            let request = self
                .client
                .query()
                .table_name(&self.name)
                .index_name(super::table::DUE)
                .key_condition_expression("due_shard = :shard AND due_at <= :now")
                .expression_attribute_values(":shard", s(keys::due_partition(shard)))
                .expression_attribute_values(":now", seconds(now))
                .limit(i32::try_from(most - found.len()).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start.take());
            let answer = request.send().await.map_err(|error| Unavailable::new(DOING, error))?;
            for item in answer.items.unwrap_or_default() {
                match due_item(self.row(item)) {
                    Ok(due) => found.push(due),
                    // One bad row must not stop the sweep of its shard for ever.
                    Err(bad) => tracing::error!(error = %bad, "skipped a row of the due index"),
                }
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

fn due_item(mut row: Row) -> Result<DueItem, BadRow> {
    let (organization, authorization) =
        keys::parse_authorization(row.text("pk")).ok_or_else(|| row.bad("pk", NotAsStored("not an authorization's key")))?;
    let due_at = row.optional_seconds("due_at")?.ok_or_else(|| row.bad("due_at", NotAsStored("absent")))?;
    Ok(DueItem { organization, authorization, due_at })
}

/// The position of an item in the index: the index key and the table key.
fn position(shard: u32, item: &DueItem) -> HashMap<String, AttributeValue> {
    let mut position = Key::authorization(&item.organization, &item.authorization).attributes();
    position.insert("due_shard".to_owned(), s(keys::due_partition(shard)));
    position.insert("due_at".to_owned(), seconds(item.due_at));
    position
}
