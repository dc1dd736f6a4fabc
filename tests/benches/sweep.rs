//! How fast the schedule refreshes, and how that grows with what is due: the real function, SDK clients and HTTP client against the
//! emulated AWS and a provider that answers each token request after 200 ms.
//!
//! `cargo bench -p tests --bench sweep` measures 10,000 due authorizations; `-- 10000 100000 1000000` those numbers, each in a stack
//! of its own. With `memory` among the arguments the table is in memory and behind no wire: what is left is the service itself, with its
//! cryptography and its requests to the provider. With `table` the two writes of a refresh are sent to the emulation alone, by an SDK
//! client and nobody else: as fast as that goes, no refresh can be faster. Prints a table, and asserts nothing but that everything was
//! refreshed. On a machine that others use, too, the CPU time of the process says more than the seconds: everything runs in it, so two
//! idle cores could do twice the refreshes per CPU second.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and may stop where it stands")]

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, ReturnValue, WriteRequest};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use futures_util::{StreamExt as _, stream};
use local::demonstration;
use local::provision::loopback_sdk_config;
use local::stack::{Options, Stack};
use serde_json::{Value, json};
use shared::domain::authorization::{Authorization, Identity, SealedCredential, Status};
use shared::domain::caller::Person;
use shared::domain::ids::{AuthorizationId, ConnectionId, OrganizationId, RequestId};
use shared::domain::incident::Pace;
use shared::domain::schedule;
use shared::domain::scopes::Scopes;
use shared::domain::secret::Secret;
use shared::dynamodb::{Table, keys};
use shared::kms::Keyring;
use shared::oauth::{Egress, Http, Provider};
use shared::ports::Unavailable;
use shared::ports::cipher::{SealContext, Sealer, TokenCipher as _, TokenField};
use shared::ports::clock::{Clock as _, Entropy};
use shared::ports::configuration::{ClientCredential, ClientSecrets};
use shared::secrets::parse_directory;
use shared::system::{SystemClock, SystemEntropy};
use shared::usecases::Call;
use shared::usecases::announce::Announcer;
use shared::usecases::refresh::Refresher;
use shared::usecases::refresh_due::{RefreshDue, Shards};
use shared::usecases::revoke::Revoker;
use shared::usecases::traffic::Traffic;
use tests::World;
use tests::memory::Memory;
use tokio::net::TcpListener;

/// How long the provider takes.
const ANSWER_TIME: Duration = Duration::from_millis(200);
/// As many refreshes as the service has under way at most.
const AT_ONCE: usize = 400;
/// As many items as one batch write takes.
const BATCH: u64 = 25;

type Item = HashMap<String, AttributeValue>;

#[tokio::main]
async fn main() {
    let sizes: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![10_000] } else { sizes };
    let asked_for = |word: &str| std::env::args().any(|argument| argument == word);
    println!(
        "{:>9} {:>9} {:>5} {:>9} {:>11} {:>9} {:>12} {:>8} {:>10}",
        "due", "refreshed", "runs", "seconds", "refreshes/s", "CPU s", "per CPU s", "requests", "MiB more"
    );
    for size in sizes {
        if asked_for("memory") {
            measure_in_memory(size).await;
        } else if asked_for("table") {
            measure_table(size).await;
        } else {
            measure(size).await;
        }
    }
}

/// What a measurement began with.
struct Began {
    at: Instant,
    cpu_seconds: f64,
    memory: u64,
}

impl Began {
    fn now() -> Self {
        Self { at: Instant::now(), cpu_seconds: cpu_seconds(), memory: resident_mib() }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more")]
    fn print(&self, size: u64, refreshed: u64, runs: u32, requests: u64) {
        let (seconds, cpu) = (self.at.elapsed().as_secs_f64(), cpu_seconds() - self.cpu_seconds);
        let (rate, per_cpu) = (refreshed as f64 / seconds, refreshed as f64 / cpu);
        let more = resident_mib().saturating_sub(self.memory);
        println!("{size:>9} {refreshed:>9} {runs:>5} {seconds:>9.1} {rate:>11.0} {cpu:>9.1} {per_cpu:>12.0} {requests:>8} {more:>10}");
    }
}

struct OneSecret;

#[async_trait]
impl ClientSecrets for OneSecret {
    async fn client_secrets(&self, _: &ConnectionId) -> Result<Arc<[ClientCredential]>, Unavailable> {
        Ok([ClientCredential::Secret(Secret::new("bench-secret".to_owned()))].into())
    }
}

/// The same use case, cipher and HTTP client, around a table in memory.
async fn measure_in_memory(size: u64) {
    let asked = Arc::new(AtomicU64::new(0));
    let (connection, _) = configuration(&provider(Arc::clone(&asked)).await);
    let stack = Stack::start(Options::ephemeral()).await.unwrap();
    let mut whole: Value = serde_json::from_str(&demonstration::directory(stack.api())).unwrap();
    whole["connections"].as_array_mut().unwrap().push(connection);
    let directory = parse_directory(&whole.to_string(), true).unwrap_or_else(|faults| unreachable!("{}", faults.one_line()));
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let keyring = keyring(&stack);
    let organization = OrganizationId::try_from("org_demo").unwrap();
    let sealer = keyring.sealer(&organization).await.unwrap();
    let (table, cipher) = (Arc::new(Memory::default()), Arc::new(keyring));
    for number in 0..size {
        table.put(record(&organization, sealer.as_ref(), number));
    }
    let http = Http::new(Egress::new(true)).unwrap();
    let provider = Arc::new(Provider::new(http, clock.clone(), entropy.clone(), Arc::new(OneSecret)));
    let refresher = Arc::new(Refresher {
        store: table.clone(),
        refreshes: provider.clone(),
        revocations: provider.clone(),
        cipher: cipher.clone(),
        rescue: table.clone(),
        announcer: Arc::new(Announcer { index: table.clone(), notes: table.clone(), events: None, clock: Arc::new(SystemClock) }),
        traffic: Arc::new(Traffic::new(clock.clone(), Pace::Scheduled)),
        clock: clock.clone(),
        entropy,
    });
    let revoker = Revoker { store: table.clone(), revocations: provider, cipher, clock: clock.clone() };
    let refresh_due = RefreshDue { queue: table.clone(), store: table.clone(), refresher, revoker, rescued: table, clock };
    let began = Began::now();
    let now = SystemClock.now();
    let call = Call::new(RequestId::new(now, [0; 10]), now + time::Duration::HOUR);
    let report = refresh_due.run(&call, &directory, &Shards::all()).await;
    assert_eq!(report.refreshed, size, "{report:?}");
    began.print(size, report.refreshed, 1, asked.load(Ordering::Relaxed));
    stack.stop().await;
}

/// The claim and the commit of each authorization, and nothing else.
async fn measure_table(size: u64) {
    let stack = Stack::start(Options::ephemeral()).await.unwrap();
    let ids = fill(&stack, size).await;
    let client = Client::new(&loopback_sdk_config(stack.aws_endpoint()));
    let (name, organization) = (stack.provisioned().table.clone(), OrganizationId::try_from("org_demo").unwrap());
    let began = Began::now();
    stream::iter(ids)
        .for_each_concurrent(AT_ONCE, |id| {
            let (client, name, organization) = (&client, &name, &organization);
            async move {
                let key = keys::Key::authorization(organization, &id);
                let update = |expression: &'static str, condition: &'static str| {
                    let update = client.update_item().table_name(name).return_values(ReturnValue::AllNew);
                    let update = update.key("pk", AttributeValue::S(key.pk().to_owned())).key("sk", AttributeValue::S(key.sk().to_owned()));
                    update.update_expression(expression).condition_expression(condition)
                };
                let text = |text: &str| AttributeValue::S(text.to_owned());
                let claim = update("SET lease_owner = :owner, lease_until = :until", "attribute_not_exists(lease_owner)");
                let until = AttributeValue::N("1".to_owned());
                claim
                    .expression_attribute_values(":owner", text("bench"))
                    .expression_attribute_values(":until", until)
                    .send()
                    .await
                    .unwrap();
                let commit = update(
                    "SET sealed_access = :sealed, sealed_refresh = :sealed, version = :two, generation = :two, due_at = :later \
                     REMOVE lease_owner, lease_until",
                    "lease_owner = :owner AND version = :one",
                );
                let number = |text: &str| AttributeValue::N(text.to_owned());
                let sealed = AttributeValue::B(Blob::new(vec![7; 180]));
                let commit = commit.expression_attribute_values(":owner", text("bench")).expression_attribute_values(":sealed", sealed);
                let commit = commit.expression_attribute_values(":one", number("1")).expression_attribute_values(":two", number("2"));
                commit.expression_attribute_values(":later", number("9999999999")).send().await.unwrap();
            }
        })
        .await;
    began.print(size, size, 1, 0);
    stack.stop().await;
}

async fn measure(size: u64) {
    let asked = Arc::new(AtomicU64::new(0));
    let (directory, secrets) = configuration(&provider(Arc::clone(&asked)).await);
    let mut options = Options::ephemeral();
    options.listen = World::free_address();
    let mut whole: Value = serde_json::from_str(&demonstration::directory(options.listen)).unwrap();
    whole["connections"].as_array_mut().unwrap().push(directory);
    options.directory = Some(whole.to_string());
    options.client_secrets = Some(secrets.to_string());
    let stack = Stack::start(options).await.unwrap();
    fill(&stack, size).await;

    let began = Began::now();
    let (mut runs, mut refreshed) = (0_u32, 0_u64);
    while refreshed < size {
        let report = stack.functions().invoke("refresh", json!({})).await.unwrap();
        runs += 1;
        let now = report["refreshed"].as_u64().unwrap();
        assert!(now > 0, "a run refreshed nothing: {report}");
        refreshed += now;
    }
    began.print(size, refreshed, runs, asked.load(Ordering::Relaxed));
    stack.stop().await;
}

/// A provider that answers every token request alike, with a new refresh token each time.
async fn provider(asked: Arc<AtomicU64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let token = async |State(asked): State<Arc<AtomicU64>>, Form(_): Form<Vec<(String, String)>>| {
        tokio::time::sleep(ANSWER_TIME).await;
        let number = asked.fetch_add(1, Ordering::Relaxed);
        Json(json!({
            "access_token": format!("access-token-{number:-<100}"), "refresh_token": format!("refresh-token-{number:-<100}"),
            "token_type": "Bearer", "expires_in": 3600,
        }))
    };
    let about = async || Json(json!({ "sub": "somebody", "email": "ops@example.com", "email_verified": true }));
    let router = Router::new().route("/token", post(token)).route("/userinfo", get(about)).with_state(asked);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    base
}

fn configuration(provider: &str) -> (Value, Value) {
    let connection = json!({
        "id": "conn_bench", "provider": "bench", "organization_id": null, "linked": true, "kind": "oauth2",
        "authorization_endpoint": format!("{provider}/authorize"), "token_endpoint": format!("{provider}/token"),
        "userinfo_endpoint": format!("{provider}/userinfo"), "client_id": "bench", "token_endpoint_auth_method": "client_secret_basic",
        "scopes": ["repo"], "allowed_scopes": ["repo"], "default_access_lifetime": 3600, "max_concurrent_refreshes": 1000,
    });
    let mut secrets: Value = serde_json::from_str(&demonstration::client_secrets()).unwrap();
    secrets["conn_bench"] = json!(["bench-secret"]);
    (connection, secrets)
}

/// The keys of a stack.
fn keyring(stack: &Stack) -> Keyring {
    let sdk = loopback_sdk_config(stack.aws_endpoint());
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let table = Arc::new(Table::new(Client::new(&sdk), &stack.provisioned().table, clock.clone(), entropy.clone()));
    Keyring::new(aws_sdk_kms::Client::new(&sdk), &stack.provisioned().key_id, table, clock, entropy)
}

/// Puts due authorizations into the table, each sealed for itself.
async fn fill(stack: &Stack, size: u64) -> Vec<AuthorizationId> {
    let client = Client::new(&loopback_sdk_config(stack.aws_endpoint()));
    let (name, keyring, ids) = (stack.provisioned().table.clone(), keyring(stack), Mutex::new(Vec::new()));
    let organization = OrganizationId::try_from("org_demo").unwrap();
    let sealer = keyring.sealer(&organization).await.unwrap();
    stream::iter((0..size).step_by(usize::try_from(BATCH).unwrap()))
        .for_each_concurrent(8, |first| {
            let (client, name, organization, sealer, ids) = (&client, &name, &organization, &sealer, &ids);
            async move {
                let put = |number| {
                    let record = record(organization, sealer.as_ref(), number);
                    ids.lock().unwrap().push(record.id.clone());
                    let put = PutRequest::builder().set_item(Some(item(record))).build().unwrap();
                    WriteRequest::builder().put_request(put).build()
                };
                let batch: Vec<_> = (first..size.min(first + BATCH)).map(put).collect();
                client.batch_write_item().request_items(name, batch).send().await.unwrap();
            }
        })
        .await;
    ids.into_inner().unwrap()
}

/// An authorization in use whose access token has a minute left.
fn record(organization: &OrganizationId, sealer: &dyn Sealer, number: u64) -> Authorization {
    let now = SystemClock.now();
    let mut random = [0; 10];
    SystemEntropy.fill(&mut random).unwrap();
    let id = AuthorizationId::new(now, random);
    let seal = |field, token: &str| {
        let context = SealContext { organization, authorization: &id, field, generation: 1 };
        sealer.seal(context, &Secret::new(format!("{token}-{number:-<100}")), sealer.reserve().unwrap()).unwrap()
    };
    let credential = SealedCredential {
        access: Some(seal(TokenField::Access, "access-token")),
        refresh: Some(seal(TokenField::Refresh, "refresh-token")),
    };
    let person = Person { issuer: "https://signin.example.com/".to_owned(), subject: "somebody".to_owned() };
    Authorization {
        organization: organization.clone(),
        connection: ConnectionId::try_from("conn_bench").unwrap(),
        provider: "bench".to_owned(),
        identity: Identity { person: person.clone(), email: Some("ops@example.com".to_owned()), email_verified: true, organization: None },
        created_by: person,
        created_at: now,
        authorized_at: now,
        scopes: Scopes::parse("repo").unwrap(),
        status: Status::Active,
        version: 1,
        generation: 1,
        binding_count: 0,
        required_scopes: BTreeMap::new(),
        access_expires_at: now + time::Duration::MINUTE,
        access_lifetime: time::Duration::HOUR,
        reauthorize_by: None,
        last_used_at: Some(now),
        last_refreshed_at: None,
        lease: None,
        outcome_unknown_since: None,
        failed_attempts: 0,
        credential: Some(credential),
        revoked_at: None,
        unannounced: Vec::new(),
        due_at: Some(now - time::Duration::SECOND),
        id,
    }
}

/// As the table has it.
fn item(of: Authorization) -> Item {
    let s = |text: &str| AttributeValue::S(text.to_owned());
    let n = |number: i64| AttributeValue::N(number.to_string());
    let millis = of.created_at.unix_timestamp() * 1000;
    let key = keys::Key::authorization(&of.organization, &of.id);
    let sealed = |ciphertext: Option<Vec<u8>>| AttributeValue::B(Blob::new(ciphertext.unwrap()));
    let credential = of.credential.unwrap();
    HashMap::from(
        [
            ("pk", s(key.pk())),
            ("sk", s(key.sk())),
            ("org_pk", s(&keys::list_partition(&of.organization))),
            ("org_sk", s(&keys::list_position(&of.id))),
            ("auth_id", s(of.id.as_str())),
            ("connection_id", s(of.connection.as_str())),
            ("provider", s(&of.provider)),
            ("issuer", s(&of.identity.person.issuer)),
            ("user_id", s(&of.identity.person.subject)),
            ("email", s("ops@example.com")),
            ("email_verified", AttributeValue::Bool(true)),
            ("created_by_issuer", s(&of.created_by.issuer)),
            ("created_by", s(&of.created_by.subject)),
            ("created_at", n(millis)),
            ("authorized_at", n(millis)),
            ("scopes", AttributeValue::Ss(vec!["repo".to_owned()])),
            ("status", s("active")),
            ("version", n(1)),
            ("generation", n(1)),
            ("binding_count", n(0)),
            ("required_scopes", AttributeValue::M(HashMap::new())),
            ("refreshable", AttributeValue::Bool(true)),
            ("access_expires_at", n(millis + 60_000)),
            ("access_lifetime", n(3600)),
            ("last_used_at", n(millis)),
            ("sealed_access", sealed(credential.access)),
            ("sealed_refresh", sealed(credential.refresh)),
            ("due_shard", s(&keys::due_partition(schedule::shard(&of.id)))),
            ("due_at", n(of.due_at.unwrap().unix_timestamp())),
        ]
        .map(|(attribute, value)| (attribute.to_owned(), value)),
    )
}

/// The memory of this process, the emulated table included.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

/// The CPU time of this process, in all of its threads. The kernel counts in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' ').collect::<Vec<_>>()).unwrap_or_default();
    let ticks: u32 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u32>().ok()).sum();
    f64::from(ticks) / 100.0
}
