//! The index `due`: keys only, and a hint only; the claim decides (I5).

use async_trait::async_trait;
use time::OffsetDateTime;

use super::Table;
use super::error::{BadRow, NotAsStored};
use super::keys::{self, Key};
use super::row::Row;
use super::values::{Item, s, seconds};
use crate::ports::Unavailable;
use crate::ports::store::{DueItem, DueQueue};

const DOING: &str = "read the due index";

#[async_trait]
impl DueQueue for Table {
    async fn due(&self, shard: u32, now: OffsetDateTime, most: usize, after: Option<&DueItem>) -> Result<Vec<DueItem>, Unavailable> {
        self.due_rows(DOING, keys::due_partition(shard), now, most, after.map(|item| position(shard, item)), due_item).await
    }
}

impl Table {
    /// At most `most` rows of a partition that are due by now, oldest first, from a position on.
    pub(super) async fn due_rows<T>(
        &self,
        doing: &'static str,
        partition: impl Into<String>,
        now: OffsetDateTime,
        most: usize,
        mut start: Option<Item>,
        read: impl Fn(Row) -> Result<T, BadRow> + Send,
    ) -> Result<Vec<T>, Unavailable> {
        let (partition, mut found) = (s(partition), Vec::new());
        while found.len() < most {
            let request = self
                .client
                .query()
                .table_name(&self.name)
                .index_name(super::table::DUE)
                .key_condition_expression("due_shard = :shard AND due_at <= :now")
                .expression_attribute_values(":shard", partition.clone())
                .expression_attribute_values(":now", seconds(now))
                .limit(i32::try_from(most - found.len()).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start.take());
            let answer = request.send().await.map_err(|error| Unavailable::new(doing, error))?;
            for item in answer.items.unwrap_or_default() {
                match read(self.row(item)) {
                    Ok(due) => found.push(due),
                    // One bad row must not keep all others from their turn for ever.
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
fn position(shard: u32, item: &DueItem) -> Item {
    let mut position = Key::authorization(&item.organization, &item.authorization).attributes();
    position.insert("due_shard".to_owned(), s(keys::due_partition(shard)));
    position.insert("due_at".to_owned(), seconds(item.due_at));
    position
}
