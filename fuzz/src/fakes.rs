//! Ports without anything behind them: one organization with one authorization that one workflow is bound to.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use shared::domain::authorization::{Authorization, Identity, Reason, SealedCredential, Status, StatusChange};
use shared::domain::binding::Binding;
use shared::domain::caller::{Person, Principal};
use shared::domain::connection::Connection;
use shared::domain::directory::Directory;
use shared::domain::flow::FlowOutcome;
use shared::domain::ids::{AuthorizationId, FlowId, OrganizationId, WorkflowId};
use shared::domain::scopes::Scopes;
use shared::domain::secret::Secret;
use shared::ports::Unavailable;
use shared::ports::cipher::{CipherError, Salt, SealContext, Sealer, TokenCipher, TokenField};
use shared::ports::clock::{Clock, Entropy};
use shared::ports::configuration::{BearerError, BearerVerifier, Directories};
use shared::ports::flows::{FlowClaim, Flows, Renewal};
use shared::ports::provider::{
    CodeExchange, CodeExchanges, Exchanged, IssuerParameter, ProviderError, ProviderMetadata, RefreshAnswer, Refreshes, Revocation,
    Revocations, Revoked, TokenAnswer, UserInfo,
};
use shared::ports::store::{
    AnnouncementStore, BindOutcome, BindingMoves, BindingStore, Committed, DueClaim, DueItem, HandOutReads, IndexEntry, IndexPage, Kept,
    MoveOutcome, OrganizationIndex, PageQuery, RefreshCommit, RefreshFailure, RefreshStore, Repair, RescueQueue, Rescued, RevocationStart,
    RevocationStore, Search,
};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

/// The only moment there is.
pub const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);
/// The only organization with anything in it.
pub const ORGANIZATION: &str = "org_fuzz";
/// The only authorization.
pub const AUTHORIZATION: &str = "auth_01jd0000000000000000000000";
/// The only workflow that is bound.
pub const WORKFLOW: &str = "fl_fuzz";
/// The access token of every authorization.
pub const ACCESS: &str = "canary-of-the-access-token";
/// Its refresh token, which nobody may ever see.
pub const REFRESH: &str = "canary-of-the-refresh-token";

/// Time stands still, and limits are never over.
pub struct Still;

#[async_trait]
impl Clock for Still {
    fn now(&self) -> OffsetDateTime {
        NOW
    }

    async fn sleep(&self, _: Duration) {}

    async fn expire(&self, _: Duration) {
        pending().await
    }
}

/// The same number each time, so that a finding can be repeated.
pub struct Sevens;

impl Entropy for Sevens {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Unavailable> {
        buffer.fill(7);
        Ok(())
    }
}

/// A directory that never changes.
pub struct Fixed(pub Arc<Directory>);

#[async_trait]
impl Directories for Fixed {
    async fn directory(&self) -> Result<Arc<Directory>, Unavailable> {
        Ok(Arc::clone(&self.0))
    }
}

/// Knows four bearer tokens: `good`, `view` (that scope only), `nowhere` (no organization) and `single` (one workflow).
pub struct Bearers;

#[async_trait]
impl BearerVerifier for Bearers {
    async fn verify(&self, token: &str) -> Result<Principal, BearerError> {
        let scope = match token {
            "good" | "nowhere" | "single" => "workflow_authorization:*",
            "view" => "workflow_authorization:view",
            _ => return Err(BearerError::Refused { why: "it is not known" }),
        };
        Ok(Principal {
            person: olivia(),
            verified_email: Some("ops@example.com".to_owned()),
            organization: (token != "nowhere").then(organization),
            scopes: Scopes::parse(scope).expect("a scope"),
            workflow: (token == "single").then(|| WorkflowId::try_from(WORKFLOW).expect("an id")),
        })
    }
}

/// Who calls.
pub fn olivia() -> Person {
    Person { issuer: "https://signin.example.com/".to_owned(), subject: "usr_olivia".to_owned() }
}

/// Her organization.
pub fn organization() -> OrganizationId {
    OrganizationId::try_from(ORGANIZATION).expect("an id")
}

/// Store, provider and cipher in one. It counts what must not happen unasked.
#[derive(Default)]
pub struct Fakes {
    /// Codes that were exchanged.
    pub exchanges: AtomicU32,
}

impl Fakes {
    fn authorization(&self, organization: &OrganizationId, id: &AuthorizationId) -> Option<Authorization> {
        (organization.as_str() == ORGANIZATION && id.as_str() == AUTHORIZATION).then(|| Authorization {
            id: id.clone(),
            organization: organization.clone(),
            connection: "conn_code".try_into().expect("an id"),
            provider: "code".to_owned(),
            identity: identity(),
            created_by: olivia(),
            created_at: NOW - Duration::DAY,
            authorized_at: NOW - Duration::DAY,
            scopes: Scopes::parse("repo").expect("scopes"),
            status: Status::Active,
            version: 3,
            generation: 2,
            binding_count: 1,
            required_scopes: BTreeMap::from([("repo".to_owned(), 1)]),
            access_expires_at: NOW + Duration::minutes(30),
            access_lifetime: Duration::HOUR,
            reauthorize_by: None,
            last_used_at: None,
            last_refreshed_at: None,
            lease: None,
            outcome_unknown_since: None,
            failed_attempts: 0,
            credential: Some(SealedCredential { access: Some(vec![1]), refresh: Some(vec![2]) }),
            revoked_at: None,
            unannounced: Vec::new(),
            due_at: None,
        })
    }

    fn bound(&self, organization: &OrganizationId, workflow: &WorkflowId) -> Option<Binding> {
        (organization.as_str() == ORGANIZATION && workflow.as_str() == WORKFLOW).then(|| Binding {
            organization: organization.clone(),
            workflow: workflow.clone(),
            name: None,
            authorization: AUTHORIZATION.try_into().expect("an id"),
            required_scopes: Scopes::parse("repo").expect("scopes"),
            created_at: NOW,
        })
    }

    fn listed(&self, organization: &OrganizationId, id: &AuthorizationId) -> Option<IndexEntry> {
        let found = self.authorization(organization, id)?;
        Some(IndexEntry {
            id: found.id,
            user_id: found.identity.person.subject,
            email: found.identity.email,
            provider: found.provider,
            connection: found.connection.to_string(),
            created_by: found.created_by.subject,
            created_at: found.created_at,
            scopes: found.scopes,
            status: found.status,
            binding_count: found.binding_count,
            refreshable: true,
            access_expires_at: found.access_expires_at,
            reauthorize_by: None,
            last_used_at: None,
            last_refreshed_at: None,
            undecryptable_since: None,
            workflows: self.bound(organization, &WORKFLOW.try_into().expect("an id")).into_iter().collect(),
        })
    }
}

fn identity() -> Identity {
    Identity { person: olivia(), email: Some("ops@example.com".to_owned()), email_verified: true, organization: None }
}

fn answer() -> TokenAnswer {
    TokenAnswer {
        access_token: Secret::new(ACCESS.to_owned()),
        refresh_token: Some(Secret::new(REFRESH.to_owned())),
        expires_in: Some(Duration::HOUR),
        scopes: None,
        requested_at: NOW,
    }
}

#[async_trait]
impl HandOutReads for Fakes {
    async fn authorization_with_binding(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
        workflow: &WorkflowId,
    ) -> Result<(Option<Authorization>, Option<Binding>), Unavailable> {
        Ok((self.authorization(organization, id), self.bound(organization, workflow)))
    }
}

#[async_trait]
impl RefreshStore for Fakes {
    async fn authorization(&self, organization: &OrganizationId, id: &AuthorizationId) -> Result<Option<Authorization>, Unavailable> {
        Ok(self.authorization(organization, id))
    }
    async fn claim_refresh(
        &self,
        read: &Authorization,
        lease: &shared::domain::authorization::Lease,
        _: OffsetDateTime,
    ) -> Result<Option<Authorization>, Unavailable> {
        Ok(Some(Authorization { lease: Some(lease.clone()), ..read.clone() }))
    }
    async fn claim_due(&self, _: &DueItem, _: &shared::domain::authorization::Lease, _: OffsetDateTime) -> Result<DueClaim, Unavailable> {
        Ok(DueClaim::Otherwise(None))
    }
    async fn commit_refresh(&self, _: &Authorization, _: &RefreshCommit) -> Result<Committed, Unavailable> {
        Ok(Committed::Stored)
    }
    async fn repair_refresh(&self, _: &Rescued, _: OffsetDateTime) -> Result<Repair, Unavailable> {
        Ok(Repair::Superseded)
    }
    async fn release_refresh(&self, _: &Authorization, _: &RefreshFailure) -> Result<(), Unavailable> {
        Ok(())
    }
    async fn mark_needs_reauthorization(
        &self,
        read: &Authorization,
        reason: Reason,
        now: OffsetDateTime,
    ) -> Result<Option<Box<Authorization>>, Unavailable> {
        let ended = StatusChange::ended(reason, read.version + 1, now);
        Ok(Some(Box::new(Authorization { status: ended.to, version: ended.version, unannounced: vec![ended], ..read.clone() })))
    }
    async fn quarantine(&self, _: &Authorization, _: OffsetDateTime, _: OffsetDateTime) -> Result<bool, Unavailable> {
        Ok(true)
    }
    async fn mark_used(&self, _: &Authorization, _: OffsetDateTime, _: Option<OffsetDateTime>) -> Result<(), Unavailable> {
        Ok(())
    }
}

#[async_trait]
impl AnnouncementStore for Fakes {
    async fn note_announced(&self, _: &Authorization, _: Option<OffsetDateTime>) -> Result<(), Unavailable> {
        Ok(())
    }
}

#[async_trait]
impl RevocationStore for Fakes {
    async fn authorization_to_revoke(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
    ) -> Result<Option<Authorization>, Unavailable> {
        Ok(self.authorization(organization, id))
    }
    async fn begin_revocation(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
        _: &str,
        _: OffsetDateTime,
    ) -> Result<RevocationStart, Unavailable> {
        Ok(self.authorization(organization, id).map_or(RevocationStart::Missing, |_| RevocationStart::InUse { binding_count: 1 }))
    }
    async fn finish_revocation(&self, _: &Authorization, _: OffsetDateTime) -> Result<(), Unavailable> {
        Ok(())
    }
    async fn postpone_revocation(&self, _: &Authorization, _: Kept, _: OffsetDateTime) -> Result<(), Unavailable> {
        Ok(())
    }
}

#[async_trait]
impl BindingStore for Fakes {
    async fn binding(&self, organization: &OrganizationId, workflow: &WorkflowId) -> Result<Option<Binding>, Unavailable> {
        Ok(self.bound(organization, workflow))
    }
    async fn bind(&self, binding: &Binding, _: Option<&Binding>) -> Result<BindOutcome, Unavailable> {
        let known = self.authorization(&binding.organization, &binding.authorization).is_some();
        Ok(if known { BindOutcome::Bound } else { BindOutcome::Refused(None) })
    }
    async fn unbind(&self, _: &Binding) -> Result<bool, Unavailable> {
        Ok(true)
    }
    async fn authorization_to_bind(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
    ) -> Result<Option<Authorization>, Unavailable> {
        Ok(self.authorization(organization, id))
    }
}

#[async_trait]
impl BindingMoves for Fakes {
    async fn move_bindings(&self, bindings: &[Binding], _: &AuthorizationId) -> Result<MoveOutcome, Unavailable> {
        Ok(MoveOutcome::Moved(bindings.len()))
    }
}

#[async_trait]
impl OrganizationIndex for Fakes {
    async fn page(&self, organization: &OrganizationId, query: &PageQuery) -> Result<IndexPage, Unavailable> {
        let first = query.after.is_none().then(|| self.listed(organization, &AUTHORIZATION.try_into().expect("an id"))).flatten();
        let next = first.is_some().then(|| "position".to_owned());
        Ok(IndexPage { entries: first.into_iter().collect(), next })
    }
    fn behind(&self, _: &AuthorizationId) -> String {
        String::new()
    }
    async fn entry(&self, organization: &OrganizationId, id: &AuthorizationId, _: usize) -> Result<Option<IndexEntry>, Unavailable> {
        Ok(self.listed(organization, id))
    }
    async fn look_for(&self, organization: &OrganizationId, workflow: &WorkflowId, _: Option<&str>) -> Result<Search, Unavailable> {
        Ok(self.bound(organization, workflow).map_or(Search::Nowhere, |binding| Search::Found(binding.authorization)))
    }
    async fn bindings_of(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
        after: Option<&WorkflowId>,
        _: usize,
    ) -> Result<Vec<Binding>, Unavailable> {
        let all = self.listed(organization, id).map(|entry| entry.workflows).unwrap_or_default();
        Ok(if after.is_none() { all } else { Vec::new() })
    }
}

#[async_trait]
impl RescueQueue for Fakes {
    async fn rescue(&self, _: &Rescued) -> Result<(), Unavailable> {
        Ok(())
    }
}

#[async_trait]
impl TokenCipher for Fakes {
    async fn sealer(&self, _: &OrganizationId) -> Result<Arc<dyn Sealer>, CipherError> {
        Ok(Arc::new(Wax))
    }
    async fn open(&self, context: SealContext<'_>, _: &[u8]) -> Result<Secret, CipherError> {
        let token = match context.field {
            TokenField::Access => ACCESS,
            TokenField::Refresh => REFRESH,
        };
        Ok(Secret::new(token.to_owned()))
    }
}

struct Wax;

impl Sealer for Wax {
    fn seal(&self, _: SealContext<'_>, _: &Secret, _: Salt) -> Result<Vec<u8>, CipherError> {
        Ok(vec![0])
    }
    fn reserve(&self) -> Result<Salt, CipherError> {
        Ok(Salt([0; 32]))
    }
}

#[async_trait]
impl Flows for Fakes {
    async fn claim_flow(&self, _: &FlowId, _: &str, _: OffsetDateTime) -> Result<FlowClaim, Unavailable> {
        Ok(FlowClaim::Claimed)
    }
    async fn flow_outcome(&self, _: &FlowId) -> Result<Option<FlowClaim>, Unavailable> {
        Ok(None)
    }
    async fn finish_flow(&self, _: &FlowId, _: &str, _: &FlowOutcome, _: OffsetDateTime) -> Result<(), Unavailable> {
        Ok(())
    }
    async fn store_authorization(&self, _: &Authorization, _: &FlowId, _: &str, _: OffsetDateTime) -> Result<(), Unavailable> {
        Ok(())
    }
    async fn renew_authorization(&self, _: &Authorization, _: &FlowId, _: &str, _: OffsetDateTime) -> Result<Renewal, Unavailable> {
        Ok(Renewal::Stored)
    }
    async fn flow_authorization(&self, organization: &OrganizationId, id: &AuthorizationId) -> Result<Option<Authorization>, Unavailable> {
        Ok(self.authorization(organization, id))
    }
}

#[async_trait]
impl ProviderMetadata for Fakes {
    async fn issuer_parameter(&self, _: &Connection) -> Result<IssuerParameter, ProviderError> {
        Ok(IssuerParameter { issuer: None, advertised: false })
    }
    async fn supports_revocation(&self, _: &Connection) -> Result<bool, ProviderError> {
        Ok(false)
    }
}

#[async_trait]
impl CodeExchanges for Fakes {
    async fn prepare_exchange(&self, _: &Connection) -> Result<(), ProviderError> {
        Ok(())
    }
    async fn exchange_code(&self, _: &Connection, _: &CodeExchange<'_>) -> Result<Exchanged, ProviderError> {
        self.exchanges.fetch_add(1, Ordering::SeqCst);
        Ok(Exchanged { tokens: answer(), identity: Ok(identity()) })
    }
}

#[async_trait]
impl Refreshes for Fakes {
    async fn prepare_refresh(&self, _: &Connection) -> Result<(), ProviderError> {
        Ok(())
    }
    async fn refresh(&self, _: &Connection, _: &Secret, _: &Person) -> Result<RefreshAnswer, ProviderError> {
        Ok(RefreshAnswer { tokens: answer(), identity: Ok(()) })
    }
}

#[async_trait]
impl UserInfo for Fakes {
    async fn userinfo(&self, _: &Connection, _: &Secret) -> Result<Option<Identity>, ProviderError> {
        Ok(Some(identity()))
    }
}

#[async_trait]
impl Revocations for Fakes {
    async fn revoke_tokens(&self, _: &Connection, _: Option<&Secret>, _: Option<&Secret>) -> Revocation {
        Revocation { receipts: Vec::new(), outcome: Ok(Revoked::Done) }
    }
}
