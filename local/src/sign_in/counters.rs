//! How often the provider was asked, for the demonstration's narration and for tests.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Sign-ins that a person allowed.
    pub authorizations: u64,
    /// Requests to the token endpoint, answered or refused.
    pub token_requests: u64,
    /// Refreshes that gave new tokens.
    pub refreshes: u64,
    /// Revocations answered 200, of an unknown token too.
    pub revocations: u64,
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) authorizations: Count,
    pub(super) token_requests: Count,
    pub(super) refreshes: Count,
    pub(super) revocations: Count,
}

impl Counts {
    pub(super) fn snapshot(&self) -> Counters {
        Counters {
            authorizations: self.authorizations.get(),
            token_requests: self.token_requests.get(),
            refreshes: self.refreshes.get(),
            revocations: self.revocations.get(),
        }
    }
}
