//! Stand-ins for Secrets Manager, the clock and the source of randomness.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::source::{ReadSecret, SecretSource};
use crate::ports::clock::{Clock, Entropy};
use crate::ports::{Source, Unavailable};

/// A clock that is moved by hand.
pub(super) struct HandClock(Mutex<OffsetDateTime>);

impl HandClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(datetime!(2026-11-22 10:00 UTC))))
    }

    pub(super) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

/// Holds one secret, counts who asks for it, and can be down.
#[derive(Clone)]
pub(super) struct Vault {
    text: Arc<Mutex<Result<String, &'static str>>>,
    reads: Arc<AtomicUsize>,
}

impl Vault {
    pub(super) fn holding(text: &str) -> Self {
        Self { text: Arc::new(Mutex::new(Ok(text.to_owned()))), reads: Arc::default() }
    }

    pub(super) fn put(&self, text: &str) {
        *self.text.lock().unwrap() = Ok(text.to_owned());
    }

    pub(super) fn fail(&self, why: &'static str) {
        *self.text.lock().unwrap() = Err(why);
    }

    pub(super) fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    pub(super) fn source(&self, clock: &Arc<HandClock>) -> Arc<SecretSource> {
        SecretSource::reading(self.clone(), clock.clone())
    }
}

#[async_trait]
impl ReadSecret for Vault {
    async fn read_secret(&self, _: &str) -> Result<Zeroizing<String>, Source> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.text.lock().unwrap().clone().map(Zeroizing::new).map_err(Source::from)
    }
}

/// The operating system's random numbers.
pub(super) struct Dice;

impl Entropy for Dice {
    #[expect(clippy::disallowed_methods, reason = "a fake that stands where the adapter does")]
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Unavailable> {
        getrandom::fill(buffer).map_err(|error| Unavailable::new("draw random bytes", error))
    }
}

/// A source of randomness that has none.
pub(super) struct NoDice;

impl Entropy for NoDice {
    fn fill(&self, _: &mut [u8]) -> Result<(), Unavailable> {
        Err(Unavailable::new("draw random bytes", "the well is dry"))
    }
}
