//! The clock on the wall and the operating system's random numbers: the only place that takes them from the air.

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use crate::ports::Unavailable;
use crate::ports::clock::{Clock, Entropy, NoRandomness};

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else takes as a parameter")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration.try_into().unwrap_or_default()).await;
    }
}

/// The operating system's random number generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the randomness that everything else takes as a parameter")]
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Unavailable> {
        getrandom::fill(buffer).map_err(NoRandomness::because)
    }
}
