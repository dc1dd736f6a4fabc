//! What this provider remembers: codes and grants. Secrets are kept as digests only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::grant::Grant;
use super::scopes::Scopes;

/// A code travels through the browser once, which takes a moment, not minutes.
const CODE_LIFETIME_SECONDS: i64 = 60;

/// A spent code is remembered for as long as somebody may still hold a copy of the redirect that carried it.
const SPENT_CODE_MEMORY_SECONDS: i64 = 600;

/// All codes by digest, all grants by id.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    codes: BTreeMap<String, CodeState>,
    grants: BTreeMap<String, Grant>,
}

/// Whose consent to what: common to a code and the grant it becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Consent {
    pub(super) client_id: String,
    pub(super) person: String,
    pub(super) scopes: Scopes,
    pub(super) auth_time: i64,
}

/// An authorization code (RFC 6749 section 4.1.2), bound to the request it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Code {
    pub(super) consent: Consent,
    pub(super) redirect_uri: String,
    /// The S256 code challenge, always there.
    pub(super) challenge: String,
    pub(super) nonce: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum CodeState {
    Fresh {
        code: Code,
        issued_at: i64,
    },
    /// The grant it became, unless it was taken and found wanting.
    Spent {
        grant_id: String,
        issued_at: i64,
    },
}

impl CodeState {
    fn issued_at(&self) -> i64 {
        match self {
            Self::Fresh { issued_at, .. } | Self::Spent { issued_at, .. } => *issued_at,
        }
    }
}

impl Ledger {
    /// Remembers a code, and forgets what no longer matters.
    pub(super) fn issue_code(&mut self, digest: String, code: Code, now: i64) {
        self.codes.retain(|_, state| now < state.issued_at() + SPENT_CODE_MEMORY_SECONDS);
        self.grants.retain(|_, grant| grant.is_of_use(now));
        self.codes.insert(digest, CodeState::Fresh { code, issued_at: now });
    }

    /// Takes a code for good, whatever the caller then finds wrong with it. A second taking ends the grant of the
    /// first (RFC 6749 section 4.1.2).
    pub(super) fn take_code(&mut self, digest: &str, grant_id: &str, now: i64) -> Option<Code> {
        let state = self.codes.get_mut(digest)?;
        let issued_at = state.issued_at();
        let spent = CodeState::Spent { grant_id: grant_id.to_owned(), issued_at };
        match std::mem::replace(state, spent) {
            CodeState::Fresh { code, issued_at } => (now < issued_at + CODE_LIFETIME_SECONDS).then_some(code),
            CodeState::Spent { grant_id: first, .. } => {
                self.grants.remove(&first);
                None
            }
        }
    }

    pub(super) fn add_grant(&mut self, id: String, grant: Grant) {
        self.grants.insert(id, grant);
    }

    pub(super) fn grant(&self, id: &str) -> Option<&Grant> {
        self.grants.get(id)
    }

    pub(super) fn grant_mut(&mut self, id: &str) -> Option<&mut Grant> {
        self.grants.get_mut(id)
    }

    /// Ends a grant: all its tokens become unknown.
    pub(super) fn end_grant(&mut self, id: &str) {
        self.grants.remove(id);
    }
}
