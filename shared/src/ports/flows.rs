//! Flows under way: sealed in URLs, claimed once in the store.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::Unavailable;
use crate::domain::authorization::Authorization;
use crate::domain::flow::{Completion, Flow, FlowOutcome, FlowSecrets};
use crate::domain::ids::{AuthorizationId, FlowId, OrganizationId};

/// Seals flows into `state` parameters and completion codes, and opens them again. The keys come from `state-keys`: the first
/// seals, all open.
#[async_trait]
pub trait FlowSealer: Send + Sync {
    /// Seals a flow into a `state` parameter, with the secrets that belong to it.
    async fn seal_state(&self, flow: &Flow) -> Result<(String, FlowSecrets), Unavailable>;
    /// Opens a `state` parameter; `None` if it is not one of ours, in whatever way.
    async fn open_state(&self, state: &str) -> Result<Option<(Flow, FlowSecrets)>, Unavailable>;
    /// Seals the flow of `state` and the provider's code into a completion code.
    async fn seal_code(&self, state: &str, completion: &Completion) -> Result<String, Unavailable>;
    /// Opens a completion code; `None` if it is not one of ours.
    async fn open_code(&self, code: &str) -> Result<Option<(Completion, FlowSecrets)>, Unavailable>;
}

/// Seals the position in a list into a cursor, bound to the organization (contract section 7).
#[async_trait]
pub trait CursorSealer: Send + Sync {
    /// Seals a position.
    async fn seal_cursor(&self, organization: &OrganizationId, position: &str) -> Result<String, Unavailable>;
    /// Opens a cursor; `None` if it is not one of ours or of another organization.
    async fn open_cursor(&self, organization: &OrganizationId, cursor: &str) -> Result<Option<String>, Unavailable>;
}

/// What a claim of a flow found.
#[derive(Debug)]
pub enum FlowClaim {
    /// Nobody had it; it is ours, durably.
    Claimed,
    /// Somebody claimed it and has not finished.
    UnderWay {
        /// When they claimed it.
        claimed_at: OffsetDateTime,
    },
    /// It was finished.
    Finished {
        /// How.
        outcome: FlowOutcome,
        /// When it had been claimed.
        claimed_at: OffsetDateTime,
    },
}

/// The single use of flows, and the storing of what they yield. **I6**: a flow is claimed durably before its token request and
/// finished durably after it.
#[async_trait]
pub trait Flows: Send + Sync {
    /// Claims a flow by a conditional put. `attempt` is a random name of this try: an own claim whose answer was lost is
    /// recognized by it.
    async fn claim_flow(&self, flow: &FlowId, attempt: &str, now: OffsetDateTime) -> Result<FlowClaim, Unavailable>;
    /// What became of a flow, without claiming it; `None` if nobody claimed it. For URLs and codes that have ended.
    async fn flow_outcome(&self, flow: &FlowId) -> Result<Option<FlowClaim>, Unavailable>;
    /// Records a failure as the outcome of a claimed flow.
    async fn finish_flow(&self, flow: &FlowId, attempt: &str, outcome: &FlowOutcome, now: OffsetDateTime) -> Result<(), Unavailable>;
    /// Stores a new authorization and finishes its flow, in one transaction.
    async fn store_authorization(
        &self,
        authorization: &Authorization,
        flow: &FlowId,
        attempt: &str,
        now: OffsetDateTime,
    ) -> Result<(), Unavailable>;
    /// Replaces the credential of an authorization and finishes the flow, in one transaction, on condition that the record is
    /// still at `renewed.version - 1`, not being revoked, and that no binding requires a scope that is not granted.
    async fn renew_authorization(
        &self,
        renewed: &Authorization,
        flow: &FlowId,
        attempt: &str,
        now: OffsetDateTime,
    ) -> Result<Renewal, Unavailable>;
    /// Reads an authorization (consistently) for a flow that renews it or repeats its answer.
    async fn flow_authorization(&self, organization: &OrganizationId, id: &AuthorizationId) -> Result<Option<Authorization>, Unavailable>;
}

/// What became of a conditional renewal.
#[derive(Debug)]
pub enum Renewal {
    /// It is stored.
    Stored,
    /// The record changed meanwhile; this is how it stands (absent if it is gone).
    Changed(Option<Box<Authorization>>),
}
