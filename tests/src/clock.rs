//! A clock that is moved by hand.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use shared::ports::clock::Clock;
use shared::system::SystemClock;
use time::{Duration, OffsetDateTime};

/// How long a wait really takes: long enough for others to get on, too short to notice.
const NAP: std::time::Duration = std::time::Duration::from_millis(5);

/// Stands still until it is moved. It begins at the real time, so that nothing in the table looks past its TTL to the store.
#[derive(Debug)]
pub struct ManualClock(Mutex<OffsetDateTime>);

impl ManualClock {
    /// A clock at the present whole second.
    #[must_use]
    pub fn new() -> Self {
        let now = SystemClock.now();
        Self(Mutex::new(now.replace_nanosecond(0).unwrap_or(now)))
    }

    /// Moves it.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets others get on for a moment. Time itself does not move: who waits for somebody else must not outlive the other's lease.
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(NAP.min(duration.try_into().unwrap_or_default())).await;
    }

    /// A limit is about real work, so it is real.
    async fn expire(&self, limit: Duration) {
        tokio::time::sleep(limit.try_into().unwrap_or_default()).await;
    }
}

/// The system's clock, put forward by hand: for tests beside programs that keep the real time.
#[derive(Debug, Default)]
pub struct Ahead(AtomicI64);

impl Ahead {
    /// Puts it forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.whole_seconds(), Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for Ahead {
    fn now(&self) -> OffsetDateTime {
        SystemClock.now() + Duration::seconds(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, duration: Duration) {
        SystemClock.sleep(duration).await;
    }
}
