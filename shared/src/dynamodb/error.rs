//! What can be wrong beneath [`crate::ports::Unavailable`] that the SDK has no error for.

use crate::ports::Source;

/// A row is not as this service writes rows. It names the place and never the value.
#[derive(Debug, thiserror::Error)]
#[error("table {table} has a bad {attribute} at {key}")]
pub(super) struct BadRow {
    pub(super) table: String,
    pub(super) attribute: &'static str,
    pub(super) key: String,
    #[source]
    pub(super) source: Source,
}

/// Why an attribute is not what was stored, where no parser says it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotAsStored(pub(super) &'static str);

/// A condition was refused that only a broken record or a mistaken caller can refuse.
#[derive(Debug, thiserror::Error)]
#[error("the condition was refused: {0}")]
pub(super) struct Refused(pub(super) &'static str);

/// A transaction was cancelled for something else than a condition; DynamoDB's codes, one per item.
#[derive(Debug, thiserror::Error)]
#[error("the transaction was cancelled ({codes})")]
pub(super) struct Cancelled {
    pub(super) codes: String,
}

/// Items of a batch stayed unread.
#[derive(Debug, thiserror::Error)]
#[error("items of the batch stayed unprocessed")]
pub(super) struct Unprocessed;
