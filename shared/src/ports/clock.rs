//! Time and randomness, as parameters.

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::{Source, Unavailable};

/// The time of day, and waiting.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> OffsetDateTime;
    /// Waits.
    async fn sleep(&self, duration: Duration);
    /// Completes when a time limit is over. A clock that shortens waits, as tests do, must not shorten limits.
    async fn expire(&self, limit: Duration) {
        self.sleep(limit).await;
    }
}

/// The operating system's random numbers. They can fail; then nothing is made of them.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Unavailable>;
}

/// There are no random numbers. Asking again will not help, so this is no passing failure.
#[derive(Debug, thiserror::Error)]
#[error("no random numbers")]
pub struct NoRandomness(#[source] Source);

impl NoRandomness {
    /// What an [`Entropy`] answers when the system has none.
    pub fn because(source: impl Into<Source>) -> Unavailable {
        Unavailable::new("read the system's random numbers", Self(source.into()))
    }
}

/// `N` random bytes.
pub fn random<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], Unavailable> {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}
