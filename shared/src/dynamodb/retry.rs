//! Short waits between tries that collided. The SDK repeats what was throttled or lost, but not what DynamoDB refused because a
//! transaction was touching the same item at that moment.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use time::Duration;

use super::Table;

/// Growing waits, 0.6 s in all: transactions on one item take some milliseconds each, and a Lambda has seconds.
const WAITS_MS: [i64; 6] = [10, 20, 40, 80, 160, 320];

/// Counts tries, and waits between them.
pub(super) struct Patience {
    tried: usize,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { tried: 0 }
    }

    /// Waits for the next try; `false` if there is none.
    pub(super) async fn wait(&mut self, table: &Table) -> bool {
        let Some(wait) = WAITS_MS.get(self.tried) else { return false };
        self.tried += 1;
        table.clock.sleep(Duration::milliseconds(*wait)).await;
        true
    }
}

/// Whether a single-item write collided with a transaction; nothing was written then.
pub(super) fn collided<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    error.code().is_some_and(|code| code == "TransactionConflictException" || code == "TransactionInProgressException")
}
