//! A DynamoDB with the table in it, and records to put there.
//!
//! It runs in this process. With `MANDATE_TEST_DYNAMODB=URL` it is the one at that address, where every test has a table of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::connections::Connections;
use crate::domain::authorization::{Authorization, Identity, Lease, SealedCredential, Status};
use crate::domain::binding::{Binding, WorkflowName};
use crate::domain::caller::Person;
use crate::domain::ids::{AuthorizationId, FlowId, OrganizationId, WorkflowId};
use crate::domain::scopes::Scopes;
use crate::dynamodb::Table;
use crate::dynamodb::keys::Key;
use crate::dynamodb::table::create_table;
use crate::ports::clock::{Clock, Entropy as _};
use crate::ports::flows::Flows;
use crate::ports::store::{RefreshCommit, RefreshStore};
use crate::system::SystemEntropy;

pub(super) const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

/// A clock that stands still, and whose waits only let others go first.
pub(super) struct Still;

#[async_trait]
impl Clock for Still {
    fn now(&self) -> OffsetDateTime {
        NOW
    }
    async fn sleep(&self, _: Duration) {
        tokio::task::yield_now().await;
    }
}

/// Counts requests on the wire.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls(Arc<AtomicUsize>);

impl Calls {
    /// How many there were since the last time this was asked.
    pub(super) fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Intercept for Calls {
    fn name(&self) -> &'static str {
        "Calls"
    }
    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A new table of its own, and what it is asked.
pub(super) async fn table() -> (Table, Calls) {
    let calls = Calls::default();
    let table = watched_table(calls.clone()).await;
    calls.take();
    (table, calls)
}

/// A new table of its own, whose every request passes by here.
pub(super) async fn watched_table(watch: impl Intercept + 'static) -> Table {
    let endpoint = if let Some(endpoint) = other_dynamodb() {
        endpoint
    } else {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(dynoxide::server::serve_on(listener, dynoxide::Database::memory().unwrap()));
        endpoint
    };
    let (client, name) = (client_of(&endpoint, watch), own_name());
    create_table(&client, &name).unwrap().send().await.unwrap();
    Table::new(client, name, Arc::new(Still), Arc::new(SystemEntropy))
}

#[expect(clippy::disallowed_methods, reason = "which DynamoDB a test asks is said by its environment")]
pub(super) fn other_dynamodb() -> Option<String> {
    std::env::var("MANDATE_TEST_DYNAMODB").ok()
}

/// A table's name that nobody else has.
fn own_name() -> String {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes).unwrap();
    format!("mandate-{:016x}", u64::from_be_bytes(bytes))
}

/// A client of whatever answers at this address.
pub(super) fn client(address: SocketAddr) -> (Client, Calls) {
    let calls = Calls::default();
    (client_of(&format!("http://{address}"), calls.clone()), calls)
}

fn client_of(endpoint: &str, watch: impl Intercept + 'static) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(RetryConfig::standard().with_initial_backoff(std::time::Duration::from_millis(1)))
        .http_client(Connections::new().unwrap())
        .interceptor(watch)
        .build();
    Client::from_conf(config)
}

pub(super) fn organization(name: &str) -> OrganizationId {
    OrganizationId::try_from(name).unwrap()
}

/// The nth authorization id; a greater one is newer.
pub(super) fn id(number: u16) -> AuthorizationId {
    let [high, low] = number.to_be_bytes();
    AuthorizationId::new(NOW + Duration::seconds(i64::from(number)), [0, 0, 0, 0, 0, 0, 0, 0, high, low])
}

pub(in crate::dynamodb) fn key() -> Key {
    Key::authorization(&organization("org_1"), &id(1))
}

/// An active authorization that may `read` and `write`, refreshable, in use, due in 50 minutes.
pub(in crate::dynamodb) fn authorization(of: &str, number: u16) -> Authorization {
    Authorization {
        id: id(number),
        organization: organization(of),
        connection: "conn_1".try_into().unwrap(),
        provider: "acme".to_owned(),
        identity: Identity {
            person: Person { issuer: "https://id.example".to_owned(), subject: "usr_9".to_owned() },
            email: Some("ops@example.com".to_owned()),
            email_verified: true,
            organization: None,
        },
        created_by: Person { issuer: "https://api.example".to_owned(), subject: "usr_1".to_owned() },
        created_at: NOW,
        authorized_at: NOW,
        scopes: Scopes::parse("read write https://www.example.com/auth/x.y").unwrap(),
        status: Status::Active,
        version: 1,
        generation: 1,
        binding_count: 0,
        required_scopes: std::collections::BTreeMap::new(),
        access_expires_at: NOW + Duration::HOUR,
        access_lifetime: Duration::HOUR,
        reauthorize_by: None,
        last_used_at: None,
        last_refreshed_at: None,
        lease: None,
        outcome_unknown_since: None,
        failed_attempts: 0,
        credential: Some(SealedCredential { access: Some(vec![1, 2]), refresh: Some(vec![3]) }),
        revoked_at: None,
        unannounced: Vec::new(),
        due_at: Some(NOW + Duration::minutes(50)),
    }
}

/// Stores an authorization by a flow of its own.
pub(super) async fn stored(table: &Table, authorization: Authorization) -> Authorization {
    let flow = flow(&format!("{}{}", authorization.organization, authorization.id));
    table.claim_flow(&flow, "attempt", NOW).await.unwrap();
    table.store_authorization(&authorization, &flow, "attempt", NOW).await.unwrap();
    authorization
}

/// The record as it is in the table.
pub(super) async fn reread(table: &Table, of: &Authorization) -> Authorization {
    table.authorization(&of.organization, &of.id).await.unwrap().unwrap()
}

pub(super) fn flow(name: &str) -> FlowId {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    FlowId::try_from(format!("{name:0>43}")).unwrap()
}

pub(super) fn workflow(name: &str) -> WorkflowId {
    WorkflowId::try_from(name).unwrap()
}

pub(in crate::dynamodb) fn binding(to: &Authorization, name: &str, scopes: &str) -> Binding {
    Binding {
        organization: to.organization.clone(),
        workflow: workflow(name),
        name: Some(WorkflowName::try_from(format!("Workflow {name}")).unwrap()),
        authorization: to.id.clone(),
        required_scopes: Scopes::parse(scopes).unwrap(),
        created_at: NOW,
    }
}

pub(super) fn lease(owner: &str) -> Lease {
    Lease { owner: owner.to_owned(), until: NOW + Duration::seconds(30) }
}

pub(super) fn commit() -> RefreshCommit {
    RefreshCommit {
        credential: SealedCredential { access: Some(vec![9]), refresh: Some(vec![8]) },
        scopes: Scopes::parse("read").unwrap(),
        access_expires_at: NOW + Duration::hours(2),
        access_lifetime: Duration::hours(2),
        reauthorize_by: Some(NOW + Duration::days(30)),
        due_at: NOW + Duration::minutes(110),
        refreshed_at: NOW,
        used_at: None,
    }
}

/// The required-scope counts that are not zero, as text.
pub(super) fn required(of: &Authorization) -> String {
    let counts = of.required_scopes.iter().filter(|(_, count)| **count > 0).map(|(scope, count)| format!("{scope}:{count}"));
    counts.collect::<Vec<_>>().join(" ")
}
