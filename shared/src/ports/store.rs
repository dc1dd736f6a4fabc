//! The one table, capability by capability. Every write is conditional on a version or on the exact state it changes (I4).

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::Unavailable;
use crate::domain::authorization::{Authorization, Lease, Reason, SealedCredential, Status};
use crate::domain::binding::Binding;
use crate::domain::ids::{AuthorizationId, ConnectionId, OrganizationId, WorkflowId};
use crate::domain::scopes::Scopes;

/// Reads for hand-outs.
#[async_trait]
pub trait HandOutReads: Send + Sync {
    /// An authorization and the binding of a workflow, consistently and in one call.
    async fn authorization_with_binding(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
        workflow: &WorkflowId,
    ) -> Result<(Option<Authorization>, Option<Binding>), Unavailable>;
}

/// Refreshing: claim, commit, or give up.
#[async_trait]
pub trait RefreshStore: Send + Sync {
    /// Reads an authorization, consistently.
    async fn authorization(&self, organization: &OrganizationId, id: &AuthorizationId) -> Result<Option<Authorization>, Unavailable>;
    /// Takes the lease, on condition that the record is active, at the version as read, and without a live lease; it is due when the
    /// lease ends. The record as it then stands, or `None` if another was faster. An own claim whose answer was lost counts as taken.
    ///
    /// Leases are kept in the table's own time, so that workers whose clocks differ agree on when one ends: `lease`, `now` and the
    /// record are in the worker's time, here and in every other method.
    async fn claim_refresh(&self, read: &Authorization, lease: &Lease, now: OffsetDateTime) -> Result<Option<Authorization>, Unavailable>;
    /// Takes the lease of a due item without reading it first: on condition that it is active, still due, and without a lease. One
    /// that ended by itself is taken over by [`RefreshStore::claim_refresh`], if at all.
    async fn claim_due(&self, item: &DueItem, lease: &Lease, now: OffsetDateTime) -> Result<DueClaim, Unavailable>;
    /// Stores a refreshed credential at version + 1, on condition of lease owner, version and status.
    async fn commit_refresh(&self, claimed: &Authorization, commit: &RefreshCommit) -> Result<Committed, Unavailable>;
    /// Stores a rescued commit, on condition that the record still has the generation it was made from and is active, or ended
    /// only because that generation's fate was unknown; then the change of status is still to be announced. Such a credential always
    /// wins over one that is spent. Whoever has taken the refresh over meanwhile goes first: at a provider with a grace they may be
    /// about to get the credential that replaces this one.
    async fn repair_refresh(&self, rescued: &Rescued, now: OffsetDateTime) -> Result<Repair, Unavailable>;
    /// Gives the lease back after a failure in passing, and says when to try again.
    async fn release_refresh(&self, claimed: &Authorization, failure: &RefreshFailure) -> Result<(), Unavailable>;
    /// Changes the status to `needs_reauthorization`, on condition of version and of the lease if one is held. The record as it then
    /// stands, with the change still to be announced; `None` if it is no longer as read (I10).
    async fn mark_needs_reauthorization(
        &self,
        read: &Authorization,
        reason: Reason,
        now: OffsetDateTime,
    ) -> Result<Option<Box<Authorization>>, Unavailable>;
    /// Notes that a record's ciphertext does not open, and puts it off until `due_at`. Status and ciphertext stay as they are, and a
    /// lease that `read` holds is given back. `false` if it was noted before, or the credential is another by now: then nothing changes.
    async fn quarantine(&self, read: &Authorization, now: OffsetDateTime, due_at: OffsetDateTime) -> Result<bool, Unavailable>;
    /// Notes that a token was handed out, unless that is noted for this very token within the hour, and when to refresh it.
    async fn mark_used(&self, read: &Authorization, now: OffsetDateTime, due_at: Option<OffsetDateTime>) -> Result<(), Unavailable>;
}

/// What a claim of a due item found.
#[derive(Debug)]
pub enum DueClaim {
    /// The lease is ours; the record as it then stands. An own claim whose answer was lost counts.
    Claimed(Box<Authorization>),
    /// It was not claimed: no longer due, leased by another, be it live or abandoned, not active, or gone.
    Otherwise(Option<Box<Authorization>>),
}

/// A refreshed credential, sealed and ready to be stored.
#[derive(Debug, Clone)]
pub struct RefreshCommit {
    /// The tokens, sealed for generation + 1.
    pub credential: SealedCredential,
    /// The scopes as granted now.
    pub scopes: Scopes,
    /// When the new access token ends.
    pub access_expires_at: OffsetDateTime,
    /// How long it was given for.
    pub access_lifetime: Duration,
    /// The forecast from now on.
    pub reauthorize_by: Option<OffsetDateTime>,
    /// When the schedule looks next.
    pub due_at: OffsetDateTime,
    /// When the refresh happened.
    pub refreshed_at: OffsetDateTime,
    /// Set when the token was refreshed for a workflow; `last_used_at` stays as it is otherwise.
    pub used_at: Option<OffsetDateTime>,
}

/// What became of a commit.
#[derive(Debug)]
pub enum Committed {
    /// Stored, or found to be stored by a commit of ours whose answer was lost.
    Stored,
    /// Somebody else has changed the record: revoked, renewed, or taken over after the lease ended.
    Superseded,
}

/// What became of a rescued commit.
#[derive(Debug, Clone)]
pub enum Repair {
    /// It is stored; the authorization is active, and this is how it stands.
    Stored(Box<Authorization>),
    /// The record has gone on without it.
    Superseded,
    /// Somebody else is refreshing the record, or has just changed it; to be tried again later.
    Busy,
    /// The record was revoked: the rescued tokens are to be revoked, too.
    Revoked,
}

/// A refresh that failed in passing.
#[derive(Debug, Clone, Copy)]
pub struct RefreshFailure {
    /// When the schedule tries again.
    pub due_at: OffsetDateTime,
    /// Whether the provider's answer was lost, so that the fate of the stored refresh token is unknown.
    pub outcome_unknown_since: Option<OffsetDateTime>,
}

/// What is still to be announced of an authorization. Every write that changes a status adds the change in the same moment, and makes
/// the record due. Whoever writes while holding a lease, or when revoking, writes what is left of [`Authorization::unannounced`]; for
/// the others there is this.
#[async_trait]
pub trait AnnouncementStore: Send + Sync {
    /// Notes what `record` has left to be announced, and when it is due from now on, if at all; a lease that it holds is given back.
    /// On condition that it is otherwise as it was read; if not, what has been announced will be announced again. Tried only once.
    async fn note_announced(&self, record: &Authorization, due_at: Option<OffsetDateTime>) -> Result<(), Unavailable>;
}

/// Revoking.
#[async_trait]
pub trait RevocationStore: Send + Sync {
    /// Reads an authorization, consistently.
    async fn authorization_to_revoke(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
    ) -> Result<Option<Authorization>, Unavailable>;
    /// `active | needs_reauthorization → revoking`, if nothing is bound. From the answer on no hand-out, refresh or bind succeeds (I11),
    /// and the change is still to be announced.
    /// `attempt` is a random name of this try: an own beginning whose answer was lost is recognized by it.
    async fn begin_revocation(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
        attempt: &str,
        now: OffsetDateTime,
    ) -> Result<RevocationStart, Unavailable>;
    /// `revoking → gone`: destroys the ciphertext and leaves a tombstone, which stays due if it has something left to be announced.
    async fn finish_revocation(&self, revoking: &Authorization, now: OffsetDateTime) -> Result<(), Unavailable>;
    /// Keeps a `revoking` record for a later try, without the token that the try does not need.
    async fn postpone_revocation(&self, revoking: &Authorization, kept: Kept, due_at: OffsetDateTime) -> Result<(), Unavailable>;
}

/// Which tokens a `revoking` record keeps for a later try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The refresh token, where there is one; otherwise the access token.
    RefreshToken,
    /// Both: the provider revokes by the access token.
    Both,
}

/// What the beginning of a revocation found.
#[derive(Debug)]
pub enum RevocationStart {
    /// It is revoking now; the record with its ciphertext.
    Begun(Box<Authorization>),
    /// Workflows are bound.
    InUse {
        /// How many.
        binding_count: u64,
    },
    /// It was revoking already, or is a tombstone.
    AlreadyRevoked {
        /// When it was deleted, for a tombstone.
        tombstone_until: Option<OffsetDateTime>,
    },
    /// There is no such authorization.
    Missing,
}

/// Binding workflows.
#[async_trait]
pub trait BindingStore: Send + Sync {
    /// The binding of a workflow.
    async fn binding(&self, organization: &OrganizationId, workflow: &WorkflowId) -> Result<Option<Binding>, Unavailable>;
    /// Binds in one transaction with the counts (I3), expecting the workflow to be bound as `previous` says.
    async fn bind(&self, binding: &Binding, previous: Option<&Binding>) -> Result<BindOutcome, Unavailable>;
    /// Unbinds in one transaction with the counts, expecting the workflow to be bound as `previous` says; `false` if it no longer is.
    async fn unbind(&self, previous: &Binding) -> Result<bool, Unavailable>;
    /// Reads an authorization, consistently, for a report or a refusal.
    async fn authorization_to_bind(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
    ) -> Result<Option<Authorization>, Unavailable>;
}

/// What became of a bind.
#[derive(Debug)]
pub enum BindOutcome {
    /// Done.
    Bound,
    /// The workflow is bound otherwise than expected; this is how.
    Changed(Option<Box<Binding>>),
    /// The authorization stands in the way; `None` if there is none.
    Refused(Option<BindObstacle>),
}

/// What stands in the way of a bind.
#[derive(Debug)]
pub struct BindObstacle {
    /// The authorization's status.
    pub status: Status,
    /// What it grants.
    pub scopes: Scopes,
}

/// Moving bindings to another authorization.
#[async_trait]
pub trait BindingMoves: Send + Sync {
    /// Moves as many of these bindings as one transaction takes, from the front, together with the counts (I3). All are bound to
    /// the same authorization, each as it says.
    async fn move_bindings(&self, bindings: &[Binding], to: &AuthorizationId) -> Result<MoveOutcome, Unavailable>;
}

/// What became of some moves.
#[derive(Debug)]
pub enum MoveOutcome {
    /// So many from the front have moved.
    Moved(usize),
    /// None has: those at these places are not bound as they say any more.
    Changed(Vec<usize>),
    /// None has: the other authorization stands in the way; `None` if there is none.
    Refused(Option<BindObstacle>),
}

/// The index `by-organization`: a hint, never a decision (I5), and no token attribute.
#[async_trait]
pub trait OrganizationIndex: Send + Sync {
    /// One page: authorizations, newest first, each with bindings that follow it.
    async fn page(&self, organization: &OrganizationId, query: &PageQuery) -> Result<IndexPage, Unavailable>;
    /// The position behind an authorization and its bindings, as [`PageQuery::after`] takes it.
    fn behind(&self, id: &AuthorizationId) -> String;
    /// One authorization with at most `most` of its bindings.
    async fn entry(&self, organization: &OrganizationId, id: &AuthorizationId, most: usize) -> Result<Option<IndexEntry>, Unavailable>;
    /// Looks for the authorization that a workflow is bound to, through one page of the index from a position on.
    async fn look_for(&self, organization: &OrganizationId, workflow: &WorkflowId, after: Option<&str>) -> Result<Search, Unavailable>;
    /// At most `most` bindings of an authorization, beginning after a workflow.
    async fn bindings_of(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
        after: Option<&WorkflowId>,
        most: usize,
    ) -> Result<Vec<Binding>, Unavailable>;
}

/// How far a search has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// This is it.
    Found(AuthorizationId),
    /// Not up to this position.
    NotUntil(String),
    /// Nowhere.
    Nowhere,
}

/// Which page.
#[derive(Debug, Clone)]
pub struct PageQuery {
    /// The position that the last page ended at, as [`IndexPage::next`] gave it.
    pub after: Option<String>,
    /// How many authorizations at most.
    pub limit: usize,
    /// How many bindings to keep of each.
    pub bindings_each: usize,
}

/// A page of the index.
#[derive(Debug, Default)]
pub struct IndexPage {
    /// The entries, newest first.
    pub entries: Vec<IndexEntry>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// An authorization as the index shows it.
#[derive(Debug, Clone)]
pub struct IndexEntry {
    /// `auth_…`
    pub id: AuthorizationId,
    /// The identity's subject.
    pub user_id: String,
    /// The identity's e-mail.
    pub email: Option<String>,
    /// The provider's name.
    pub provider: String,
    /// `conn_…`
    pub connection: String,
    /// The subject of who asked for it.
    pub created_by: String,
    /// When.
    pub created_at: OffsetDateTime,
    /// What was granted.
    pub scopes: Scopes,
    /// Where it stands.
    pub status: Status,
    /// How many workflows are bound.
    pub binding_count: u64,
    /// Whether there is a refresh token.
    pub refreshable: bool,
    /// When the access token ends.
    pub access_expires_at: OffsetDateTime,
    /// When a person has to sign in again.
    pub reauthorize_by: Option<OffsetDateTime>,
    /// When a token was last handed out.
    pub last_used_at: Option<OffsetDateTime>,
    /// When the token was last renewed.
    pub last_refreshed_at: Option<OffsetDateTime>,
    /// Since when its ciphertext is known not to open.
    pub undecryptable_since: Option<OffsetDateTime>,
    /// Some of the bindings.
    pub workflows: Vec<Binding>,
}

/// The index `due`: the queue of the schedule.
#[async_trait]
pub trait DueQueue: Send + Sync {
    /// At most `most` due items of a shard, oldest first, beginning after an earlier one.
    async fn due(&self, shard: u32, now: OffsetDateTime, most: usize, after: Option<&DueItem>) -> Result<Vec<DueItem>, Unavailable>;
}

/// An item of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueItem {
    /// The tenant.
    pub organization: OrganizationId,
    /// The authorization.
    pub authorization: AuthorizationId,
    /// Since when it is due.
    pub due_at: OffsetDateTime,
}

/// The second durable sink of a refreshed credential when the table stays down (design section 5, step 5).
#[async_trait]
pub trait RescueQueue: Send + Sync {
    /// Keeps a sealed commit.
    async fn rescue(&self, rescued: &Rescued) -> Result<(), Unavailable>;
}

/// The other end of the rescue queue.
#[async_trait]
pub trait RescueDrain: Send + Sync {
    /// Receives some commits, each with a receipt.
    async fn receive_rescued(&self) -> Result<Vec<(Rescued, String)>, Unavailable>;
    /// Whether the queue holds nothing, not even what somebody has received and not removed yet.
    async fn holds_nothing(&self) -> Result<bool, Unavailable>;
    /// Removes a repaired commit.
    async fn forget_rescued(&self, receipt: &str) -> Result<(), Unavailable>;
}

/// A commit that could not be stored.
#[derive(Debug, Clone)]
pub struct Rescued {
    /// The tenant.
    pub organization: OrganizationId,
    /// The authorization.
    pub authorization: AuthorizationId,
    /// The generation that was claimed.
    pub generation: u64,
    /// The name of the attempt, by which its lease is known.
    pub owner: String,
    /// The connection, at which the tokens are revoked if nothing else is to be done with them.
    pub connection: ConnectionId,
    /// What was to be stored.
    pub commit: RefreshCommit,
}
