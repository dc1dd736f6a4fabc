//! Persistence of writes. What DynamoDB refused because a transaction was touching the same item, what it throttled, and what was
//! lost on the way are all tried again, for seconds and no longer: an invocation has some thirty, and its caller waits.
//!
//! 1. The SDK repeats what was throttled or lost at once, a few times. It does not repeat collisions, and it stops early when much
//!    fails at the same time.
//! 2. Here the same request is sent again after growing waits. Nothing is done twice: a transaction keeps its client request token,
//!    and every other write recognizes its own earlier effect by its condition.
//! 3. What is over then is [`crate::ports::Unavailable`]: `503` with `Retry-After`. The write was done whole or not at all.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use time::{Duration, OffsetDateTime};

use super::Table;
use crate::ports::clock::random;

/// Growing waits. Transactions on one item take some milliseconds each; a throttled partition recovers within seconds.
const WAITS_MS: [u16; 10] = [10, 20, 40, 80, 160, 320, 500, 750, 1000, 1000];
/// For how long a write is tried again, whatever the waits add up to.
const WRITE_PATIENCE: Duration = Duration::seconds(5);

/// What DynamoDB says when it did nothing, or nothing is known, and the same request may succeed a moment later.
const PASSING: [&str; 8] = [
    "TransactionConflictException",
    // The first try of this very request has not come to its end.
    "TransactionInProgressException",
    "ThrottlingException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "InternalServerError",
    "ServiceUnavailable",
    "RequestTimeout",
];

/// Counts tries, and waits between them.
pub(super) struct Patience {
    tried: usize,
    ends: OffsetDateTime,
}

impl Patience {
    /// For a write that has to be done.
    pub(super) fn new(table: &Table) -> Self {
        Self { tried: 0, ends: table.clock.now() + WRITE_PATIENCE }
    }

    /// For a write that is not worth waiting for.
    pub(super) fn none(table: &Table) -> Self {
        Self { tried: WAITS_MS.len(), ends: table.clock.now() }
    }

    /// Waits for the next try; `false` if there is none.
    pub(super) async fn wait(&mut self, table: &Table) -> bool {
        let Some(most) = WAITS_MS.get(self.tried) else { return false };
        self.tried += 1;
        let wait = spread(*most, random::<1>(table.entropy.as_ref()).map_or(u8::MAX, |[byte]| byte));
        if table.clock.now() + wait > self.ends {
            return false;
        }
        table.clock.sleep(wait).await;
        true
    }
}

/// Between half and all of a wait, so that those who collided do not meet again.
fn spread(most_ms: u16, chance: u8) -> Duration {
    let half = i64::from(most_ms) * 500;
    Duration::microseconds(half + half * i64::from(chance) / i64::from(u8::MAX))
}

/// Whether the same request may succeed a moment later. A refused condition and a bad request never do.
pub(super) fn passes<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    match error {
        SdkError::ServiceError(answer) => {
            error.code().is_some_and(|code| PASSING.contains(&code)) || answer.raw().status().is_server_error()
        }
        SdkError::DispatchFailure(failure) => !failure.is_user(),
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_between_half_and_all_of_what_it_may_be() {
        assert_eq!(spread(10, 0), Duration::milliseconds(5));
        assert_eq!(spread(10, u8::MAX), Duration::milliseconds(10));
        assert!(WAITS_MS.is_sorted());
        let in_all: i64 = WAITS_MS.into_iter().map(i64::from).sum();
        assert!(Duration::milliseconds(in_all) < WRITE_PATIENCE, "the last try begins within the patience");
    }
}
