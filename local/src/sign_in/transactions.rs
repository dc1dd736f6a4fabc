//! Sign-ins under way: the page is shown, the person has not answered yet.
//!
//! They live in memory only. After a restart the page says that it is too old, and the person begins again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::authorize::Request;
use super::random;

/// Time to read the page and fetch a coffee; the caller's own state lives as long.
const LIFETIME_SECONDS: i64 = 600;

/// Opening the page costs nothing, so the number of open ones is bounded.
const MOST_AT_ONCE: usize = 1_000;

/// The open transactions by id. Ids are one-time and unguessable, so that a form can only come from a page shown here.
#[derive(Debug, Default)]
pub(super) struct Transactions(Mutex<BTreeMap<String, Open>>);

#[derive(Debug)]
struct Open {
    request: Request,
    expires_at: i64,
}

impl Transactions {
    pub(super) fn begin(&self, request: Request, now: i64) -> Result<String, getrandom::Error> {
        let id = random::unguessable()?;
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, transaction| now < transaction.expires_at);
        if open.len() >= MOST_AT_ONCE {
            let oldest = open.iter().min_by_key(|(_, transaction)| transaction.expires_at);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                open.remove(&id);
            }
        }
        open.insert(id.clone(), Open { request, expires_at: now + LIFETIME_SECONDS });
        Ok(id)
    }

    /// Takes a transaction for good.
    pub(super) fn take(&self, id: &str, now: i64) -> Option<Request> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id)?;
        (now < taken.expires_at).then_some(taken.request)
    }
}
