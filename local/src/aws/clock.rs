//! The emulation's clock. It stands outside the service, like AWS does, so it reads the machine's own time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the emulation is a stranger to the service and has a clock of its own")]
pub(super) fn now_millis() -> i64 {
    // Before 1970 and after the year 292 million, an emulation may be wrong about the time.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Seconds since 1970.
pub(super) fn now_seconds() -> i64 {
    now_millis() / 1000
}
