//! The table's own time. Leases are kept in it, so that workers whose clocks differ agree on when one ends: AWS serves workers whose
//! clocks are wrong by up to five minutes, and a worker five minutes ahead would take every refresh over from whoever is at it.
//!
//! Every answer of DynamoDB says when it was made (RFC 9110 section 6.6.1). The difference to our clock is kept, to the second.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use time::format_description::FormatItem;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::ports::clock::Clock;

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7).
const HTTP_DATE: &[FormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
/// A date has whole seconds, and an answer takes its time: less is no difference.
const NO_DIFFERENCE: Duration = Duration::seconds(2);

/// By how much our clock is ahead of the table's time.
#[derive(Clone, Default)]
pub(super) struct Ahead(Arc<AtomicI64>);

impl Ahead {
    pub(super) fn by(&self) -> Duration {
        Duration::milliseconds(self.0.load(Ordering::Relaxed))
    }

    fn answered(&self, date: &str, now: OffsetDateTime) {
        let Ok(date) = PrimitiveDateTime::parse(date, HTTP_DATE) else { return };
        let ahead = now - date.assume_utc();
        let ahead = if ahead.abs() <= NO_DIFFERENCE { Duration::ZERO } else { ahead };
        self.0.store(i64::try_from(ahead.whole_milliseconds()).unwrap_or(0), Ordering::Relaxed);
    }
}

/// Looks at the date of every answer.
struct Dates {
    ahead: Ahead,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Dates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dates")
    }
}

impl Intercept for Dates {
    fn name(&self) -> &'static str {
        "Dates"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.ahead.answered(date, self.clock.now());
        }
        Ok(())
    }
}

/// The same client, whose answers tell how far this clock is ahead.
pub(super) fn watched(client: &Client, clock: Arc<dyn Clock>, ahead: Ahead) -> Client {
    Client::from_conf(client.config().to_builder().interceptor(Dates { ahead, clock }).build())
}

#[cfg(test)]
mod unit {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_clock_is_ahead_by_what_the_dates_of_answers_say() {
        const SENT: OffsetDateTime = datetime!(1994-11-06 08:49:37 UTC);
        let ahead = Ahead::default();
        for (now, expected) in [
            (SENT + Duration::minutes(5), Duration::minutes(5)),
            (SENT - Duration::minutes(5), Duration::minutes(-5)),
            (SENT + Duration::milliseconds(1_900), Duration::ZERO),
        ] {
            ahead.answered("Sun, 06 Nov 1994 08:49:37 GMT", now);
            assert_eq!(ahead.by(), expected);
        }
        ahead.answered("Sun, 06 Nov 1994 08:49:37 GMT", SENT + Duration::minutes(5));
        ahead.answered("yesterday", SENT);
        assert_eq!(ahead.by(), Duration::minutes(5), "a date that is none says nothing");
    }
}
