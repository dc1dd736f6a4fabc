//! Telling the rest of the world what becomes of authorizations (contract section 11).

use async_trait::async_trait;
use time::OffsetDateTime;

use super::Unavailable;
use crate::domain::caller::Person;
use crate::domain::ids::{AuthorizationId, ConnectionId, OrganizationId, RequestId, WorkflowId};

/// Where announcements go.
#[async_trait]
pub trait Announcements: Send + Sync {
    /// Hands one on. It may arrive more than once; its id stays the same.
    async fn put(&self, announcement: &Announcement) -> Result<(), Unavailable>;
}

/// What is told. It names people by their subject only, and holds neither a token nor an e-mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Names what happened, not the telling of it: consumers that have seen it before pass it over.
    pub id: String,
    /// What happened.
    pub news: News,
    /// When.
    pub at: OffsetDateTime,
    /// The tenant.
    pub organization: OrganizationId,
    /// The authorization.
    pub authorization: AuthorizationId,
    /// The connection it came by.
    pub connection: ConnectionId,
    /// Who asked for it, and is to be told.
    pub owner: Person,
    /// The subject of whoever signed in at the provider.
    pub user_id: String,
    /// At most 100 of the bound workflows.
    pub workflows: Vec<WorkflowId>,
    /// How many there are.
    pub workflow_count: u64,
    /// When a person has to sign in again, as far as it is known.
    pub reauthorize_by: Option<OffsetDateTime>,
    /// The request that led to it.
    pub request_id: RequestId,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The status is another.
    StatusChanged {
        /// What it was, in the contract's word.
        from: &'static str,
        /// What it is now.
        to: &'static str,
        /// Why, if a person has to sign in again.
        reason: Option<&'static str>,
    },
    /// A person has to sign in again before long, however often the token is renewed.
    EndsSoon,
    /// The stored tokens do not open. The status is as it was.
    Quarantined {
        /// It.
        status: &'static str,
    },
}

/// Why an authorization is quarantined.
pub const UNDECRYPTABLE: &str = "undecryptable";
