//! Time and randomness, as parameters.

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::Unavailable;

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

/// `N` random bytes.
pub fn random<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], Unavailable> {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}
