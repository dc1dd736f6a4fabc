//! What the use cases need from the world, as traits and nothing else. One narrow trait per capability, so that each matches one
//! statement of a function's IAM role. Not found is `Ok(None)`; an error means that the answer is not known.

pub mod announcements;
pub mod cipher;
pub mod clock;
pub mod configuration;
pub mod flows;
pub mod provider;
pub mod store;

use std::time::Duration;

/// A part of ours could not do what it was asked to: DynamoDB, KMS, Secrets Manager or the operating system.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing}")]
pub struct Unavailable {
    /// What we were doing, in words that fit after "failed to".
    pub doing: &'static str,
    /// How the part said no.
    #[source]
    pub source: Source,
}

/// The error beneath: of an SDK, a parser, the operating system.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

impl Unavailable {
    /// Says what we were doing when `source` happened.
    pub fn new(doing: &'static str, source: impl Into<Source>) -> Self {
        Self { doing, source: source.into() }
    }
}

/// How long to wait before asking again when a part of ours is down, in the absence of better knowledge.
pub const RETRY_AFTER: Duration = Duration::from_secs(2);
