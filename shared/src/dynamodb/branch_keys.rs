//! Wrapped branch keys. Version 1 also says which version seals, and stands in the index `due` for the day of the next rotation.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use time::OffsetDateTime;

use super::Table;
use super::change::Change;
use super::error::{BadRow, NotAsStored};
use super::keys::{self, Key};
use super::row::Row;
use super::values::{b, millis, n, s, seconds};
use super::write::Written;
use crate::domain::ids::OrganizationId;
use crate::domain::schedule::BRANCH_KEY_SEALS_FOR;
use crate::ports::Unavailable;
use crate::ports::cipher::{BranchKeys, KeyDue, Sealing, WrappedBranchKey};

const READ: &str = "read a branch key";
const PUT: &str = "store a branch key";
const LET_SEAL: &str = "let a branch key seal";
const DESTROY: &str = "destroy a branch key";
const DUE: &str = "find the branch keys to be rotated";
/// The version that says which version seals.
const FIRST: u32 = 1;

#[async_trait]
impl BranchKeys for Table {
    async fn branch_key(&self, organization: &OrganizationId, version: u32) -> Result<Option<WrappedBranchKey>, Unavailable> {
        let row = self.get(READ, Key::branch_key(organization, version)).await?;
        row.map(|row| branch_key(row, version)).transpose().map_err(|bad| Unavailable::new(READ, bad))
    }

    async fn put_branch_key(&self, organization: &OrganizationId, key: &WrappedBranchKey) -> Result<bool, Unavailable> {
        let mut item = Key::branch_key(organization, key.version).attributes();
        item.extend(key.wrapped.as_ref().map(|wrapped| ("wrapped".to_owned(), b(wrapped))));
        item.extend([
            ("created_at".to_owned(), millis(key.created_at)),
            ("active".to_owned(), n(key.sealing.version)),
            ("active_since".to_owned(), millis(key.sealing.since)),
        ]);
        if key.version == FIRST {
            item.extend([("due_shard".to_owned(), s(keys::DUE_KEYS)), ("due_at".to_owned(), rotate_at(key.sealing))]);
        }
        // An own put whose answer was lost counts as another's: the caller reads what is stored, which is then its own.
        Ok(matches!(self.put_new(PUT, item).await?, Written::Done(_)))
    }

    async fn let_seal(&self, organization: &OrganizationId, from: u32, to: Sealing) -> Result<bool, Unavailable> {
        let change = Change::of(Key::branch_key(organization, FIRST))
            .set("active", n(to.version))
            .set("active_since", millis(to.since))
            .set("due_shard", s(keys::DUE_KEYS))
            .set("due_at", rotate_at(to))
            .when("#active = :from")
            .value(":from", n(from));
        match self.update(LET_SEAL, change).await? {
            Written::Done(_) => Ok(true),
            Written::Refused(None) => Ok(false),
            Written::Refused(Some(row)) => {
                let present = branch_key(row, FIRST).map_err(|bad| Unavailable::new(LET_SEAL, bad))?;
                Ok(present.sealing.version == to.version)
            }
        }
    }

    async fn destroy_branch_key(&self, organization: &OrganizationId, version: u32, now: OffsetDateTime) -> Result<(), Unavailable> {
        let change = Change::of(Key::branch_key(organization, version))
            .set("retired_at", millis(now))
            .remove(&["wrapped"])
            .when("attribute_exists(#wrapped)");
        // Refused: it has been destroyed before.
        self.update(DESTROY, change).await.map(|_| ())
    }

    async fn keys_due(&self, now: OffsetDateTime, most: usize, after: Option<&KeyDue>) -> Result<Vec<KeyDue>, Unavailable> {
        let start = after.map(|due| {
            let mut position = Key::branch_key(&due.organization, FIRST).attributes();
            position.extend([("due_shard".to_owned(), s(keys::DUE_KEYS)), ("due_at".to_owned(), seconds(due.due_at))]);
            position
        });
        self.due_rows(DUE, keys::DUE_KEYS, now, most, start, key_due).await
    }
}

fn branch_key(mut row: Row, version: u32) -> Result<WrappedBranchKey, BadRow> {
    let wrapped = row.bytes("wrapped")?;
    let retired = row.optional_time("retired_at")?.is_some();
    if wrapped.is_none() && !retired {
        return Err(row.bad("wrapped", NotAsStored("absent")));
    }
    let sealing = Sealing { version: row.required("active")?, since: row.time("active_since")? };
    Ok(WrappedBranchKey { version, wrapped, created_at: row.time("created_at")?, sealing })
}

/// When the schedule makes the next version.
fn rotate_at(sealing: Sealing) -> AttributeValue {
    seconds(sealing.since + BRANCH_KEY_SEALS_FOR)
}

fn key_due(mut row: Row) -> Result<KeyDue, BadRow> {
    let organization = keys::parse_branch_keys(row.text("pk")).ok_or_else(|| row.bad("pk", NotAsStored("not a branch key's key")))?;
    let due_at = row.optional_seconds("due_at")?.ok_or_else(|| row.bad("due_at", NotAsStored("absent")))?;
    Ok(KeyDue { organization, due_at })
}
