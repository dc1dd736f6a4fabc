//! The one table, over the DynamoDB API: every store port, one file per capability.
//!
//! 1. [`keys`] builds and reads keys; no other file formats one (I1).
//! 2. `items` turns domain values into items and rows back into domain values; a bad row names table, attribute and key.
//! 3. `change` writes conditional expressions; `write` sends them and tells a refused condition from a failure. Nothing is
//!    written without a condition (I4).
//! 4. An answer can be lost while its write took effect, and the write is then sent again (`retry`). Each recognizes its own earlier
//!    effect: claims by `lease_owner`, commits by `committed_by` and version, flows by `attempt`, transactions by their token.
//!
//! **Times** are Unix milliseconds, except `due_at` and `expires_at`, which are Unix seconds: the one is a sort key in which
//! milliseconds would be noise, the other is what DynamoDB's TTL demands.

mod announcements;
mod bindings;
mod branch_keys;
mod change;
mod due;
mod error;
mod flows;
mod hand_out;
mod index;
mod items;
pub mod keys;
mod moves;
mod own_time;
mod refreshes;
mod retry;
mod revocations;
mod row;
pub mod table;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]
mod tests;
mod values;
mod write;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use time::OffsetDateTime;

use crate::domain::authorization::Authorization;
use crate::domain::ids::{AuthorizationId, OrganizationId};
use crate::ports::Unavailable;
use crate::ports::clock::{Clock, Entropy};

/// The table. It implements every store port; a function's role decides which of them it can use.
#[derive(Clone)]
pub struct Table {
    client: Client,
    name: String,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    ahead: own_time::Ahead,
}

impl Table {
    /// The table of this name. The clock is what the waits between tries are measured by; the randomness spreads them, and names
    /// transactions.
    pub fn new(client: Client, name: impl Into<String>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { client, name: name.into(), clock, entropy, ahead: own_time::Ahead::default() }
    }

    /// The same table, which keeps leases in its own time whatever the clock says. Without it the clock is believed, as tests want it
    /// that move theirs by hand.
    #[must_use]
    pub fn in_its_own_time(self) -> Self {
        let ahead = own_time::Ahead::default();
        Self { client: own_time::watched(&self.client, Arc::clone(&self.clock), ahead.clone()), ahead, ..self }
    }

    /// The same table under another clock.
    #[cfg(test)]
    fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// A time of our clock as the table counts it.
    fn table_time(&self, ours: OffsetDateTime) -> OffsetDateTime {
        ours - self.ahead.by()
    }

    /// An authorization, its lease in the time of our clock.
    fn read(&self, row: row::Row) -> Result<Authorization, error::BadRow> {
        let mut read = Authorization::try_from(row)?;
        if let Some(lease) = &mut read.lease {
            lease.until += self.ahead.by();
        }
        Ok(read)
    }

    /// Reads one item, consistently: an authorization's answer may depend on a write of a moment ago.
    async fn get(&self, doing: &'static str, key: keys::Key) -> Result<Option<row::Row>, Unavailable> {
        let request = self.client.get_item().table_name(&self.name).set_key(Some(key.attributes())).consistent_read(true);
        let answer = request.send().await.map_err(|error| Unavailable::new(doing, error))?;
        Ok(answer.item.map(|item| self.row(item)))
    }

    async fn get_authorization(&self, organization: &OrganizationId, id: &AuthorizationId) -> Result<Option<Authorization>, Unavailable> {
        const DOING: &str = "read an authorization";
        let row = self.get(DOING, keys::Key::authorization(organization, id)).await?;
        row.map(|row| self.read(row)).transpose().map_err(|bad| Unavailable::new(DOING, bad))
    }

    fn row(&self, item: values::Item) -> row::Row {
        row::Row::new(&self.name, item)
    }
}
