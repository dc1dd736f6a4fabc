//! A grant: one person's consent to one client, and the tokens that stand for it.
//!
//! Its refresh tokens form a chain: each is used once and yields the next. A used one that comes back means that two
//! parties hold the chain, so the grant ends (RFC 9700 section 4.14.2). The one exception is a rotation grace: then the
//! last used one may come back while its successor has never been seen, which is what a lost answer looks like.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::ledger::Consent;
use super::scopes::Scopes;

/// How many used refresh tokens a grant remembers. An older one is simply unknown: still refused, yet no alarm.
const USED_REMEMBERED: usize = 256;

/// A grant as kept; every token in it is a digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Grant {
    pub(super) consent: Consent,
    /// Absent without `offline_access`.
    refresh: Option<Chain>,
    access: Vec<Access>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chain {
    current: String,
    previous: Option<Used>,
    used: VecDeque<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Used {
    digest: String,
    at: i64,
}

/// An access token as kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Access {
    pub(super) digest: String,
    pub(super) expires_at: i64,
    pub(super) scopes: Scopes,
}

/// What a refresh token turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The one to present.
    Current,
    /// The last one, once more, within the grace: its answer was lost.
    Again,
    /// Used before: somebody has a copy.
    Reused,
    /// Not of this grant.
    Unknown,
}

impl Grant {
    pub(super) fn new(consent: Consent, refresh: Option<String>, access: Access) -> Self {
        let refresh = refresh.map(|current| Chain { current, previous: None, used: VecDeque::new() });
        Self { consent, refresh, access: vec![access] }
    }

    pub(super) fn standing(&self, refresh: &str, grace_seconds: i64, now: i64) -> Standing {
        let Some(chain) = &self.refresh else {
            return Standing::Unknown;
        };
        if chain.current == refresh {
            return Standing::Current;
        }
        match &chain.previous {
            Some(last) if last.digest == refresh && now < last.at + grace_seconds => Standing::Again,
            Some(last) if last.digest == refresh => Standing::Reused,
            _ if chain.used.iter().any(|used| used == refresh) => Standing::Reused,
            _ => Standing::Unknown,
        }
    }

    /// Puts the next tokens in the place of the current refresh token.
    pub(super) fn rotate(&mut self, presented: Standing, next: String, access: Access, now: i64) {
        self.access.retain(|known| now < known.expires_at);
        self.access.push(access);
        let Some(chain) = &mut self.refresh else {
            return;
        };
        let replaced = std::mem::replace(&mut chain.current, next);
        match presented {
            Standing::Current => {
                let last = chain.previous.replace(Used { digest: replaced, at: now });
                chain.used.extend(last.map(|used| used.digest));
            }
            // the successor that got lost on the way counts as used; the grace still runs from the first use
            Standing::Again | Standing::Reused | Standing::Unknown => chain.used.push_back(replaced),
        }
        while chain.used.len() > USED_REMEMBERED {
            chain.used.pop_front();
        }
    }

    pub(super) fn live_access(&self, digest: &str, now: i64) -> Option<&Access> {
        self.access.iter().find(|access| access.digest == digest && now < access.expires_at)
    }

    pub(super) fn drop_access(&mut self, digest: &str) {
        self.access.retain(|access| access.digest != digest);
    }

    /// Whether any of its tokens could still be presented.
    pub(super) fn is_of_use(&self, now: i64) -> bool {
        self.refresh.is_some() || self.access.iter().any(|access| now < access.expires_at)
    }
}
