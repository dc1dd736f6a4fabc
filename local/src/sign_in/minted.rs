//! New access and refresh tokens: opaque, random, and naming their grant so that it is found without a search.

use super::grant::Access;
use super::scopes::Scopes;
use super::{digest, random};

/// A token that has not been handed out yet; only its digest is kept.
pub(super) struct Minted {
    pub(super) text: String,
}

impl Minted {
    pub(super) fn access(grant_id: &str) -> Result<Self, getrandom::Error> {
        Self::of("demo-at", grant_id)
    }

    pub(super) fn refresh(grant_id: &str) -> Result<Self, getrandom::Error> {
        Self::of("demo-rt", grant_id)
    }

    fn of(kind: &str, grant_id: &str) -> Result<Self, getrandom::Error> {
        Ok(Self { text: format!("{kind}.{grant_id}.{}", random::unguessable()?) })
    }

    pub(super) fn digest(&self) -> String {
        digest::of(&self.text)
    }

    pub(super) fn kept(&self, now: i64, lifetime_seconds: u32, scopes: Scopes) -> Access {
        Access { digest: self.digest(), expires_at: now + i64::from(lifetime_seconds), scopes }
    }

    /// The grant a presented token claims to be of; only the digest proves it.
    pub(super) fn grant_id(token: &str) -> Option<&str> {
        let mut parts = token.split('.');
        let (_kind, grant_id, _secret) = (parts.next()?, parts.next()?, parts.next()?);
        parts.next().is_none().then_some(grant_id)
    }
}
