//! Wrapped branch keys.

use async_trait::async_trait;

use super::Table;
use super::error::{BadRow, NotAsStored};
use super::keys::Key;
use super::row::Row;
use super::values::{b, millis, n};
use super::write::Written;
use crate::domain::ids::OrganizationId;
use crate::ports::Unavailable;
use crate::ports::cipher::{BranchKeys, WrappedBranchKey};

const READ: &str = "read a branch key";
const PUT: &str = "store a branch key";

#[async_trait]
impl BranchKeys for Table {
    async fn branch_key(&self, organization: &OrganizationId, version: u32) -> Result<Option<WrappedBranchKey>, Unavailable> {
        let row = self.get(READ, Key::branch_key(organization, version)).await?;
        row.map(|row| branch_key(row, version)).transpose().map_err(|bad| Unavailable::new(READ, bad))
    }

    async fn put_branch_key(&self, organization: &OrganizationId, key: &WrappedBranchKey) -> Result<bool, Unavailable> {
        let mut item = Key::branch_key(organization, key.version).attributes();
        item.extend([
            ("wrapped".to_owned(), b(&key.wrapped)),
            ("created_at".to_owned(), millis(key.created_at)),
            ("active".to_owned(), n(key.active)),
        ]);
        // An own put whose answer was lost counts as another's: the caller reads what is stored, which is then its own.
        Ok(matches!(self.put_new(PUT, item).await?, Written::Done(_)))
    }
}

fn branch_key(mut row: Row, version: u32) -> Result<WrappedBranchKey, BadRow> {
    let wrapped = row.bytes("wrapped")?.ok_or_else(|| row.bad("wrapped", NotAsStored("absent")))?;
    Ok(WrappedBranchKey { version, wrapped, created_at: row.time("created_at")?, active: row.required("active")? })
}
