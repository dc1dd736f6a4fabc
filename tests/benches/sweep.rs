//! How fast the schedule refreshes, and how that grows with what is due: the real function, SDK clients and HTTP client against the
//! emulated AWS and a provider that answers each token request after 200 ms.
//!
//! `cargo bench -p tests --bench sweep` measures 10,000 due authorizations; `-- 10000 100000 1000000` those numbers, each in a stack
//! of its own. Prints a table, and asserts nothing but that everything was refreshed.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and may stop where it stands")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use futures_util::{StreamExt as _, stream};
use local::demonstration;
use local::provision::loopback_sdk_config;
use local::stack::{Options, Stack};
use serde_json::{Value, json};
use shared::domain::ids::{AuthorizationId, OrganizationId};
use shared::domain::schedule;
use shared::domain::secret::Secret;
use shared::dynamodb::{Table, keys};
use shared::kms::Keyring;
use shared::ports::cipher::{SealContext, Sealer, TokenCipher as _, TokenField};
use shared::ports::clock::{Clock as _, Entropy};
use shared::system::{SystemClock, SystemEntropy};
use tests::World;
use tokio::net::TcpListener;

/// How long the provider takes.
const ANSWER_TIME: Duration = Duration::from_millis(200);
/// As many items as one batch write takes.
const BATCH: u64 = 25;

type Item = HashMap<String, AttributeValue>;

#[tokio::main]
async fn main() {
    let sizes: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![10_000] } else { sizes };
    println!("{:>9} {:>9} {:>5} {:>9} {:>11} {:>8} {:>10}", "due", "refreshed", "runs", "seconds", "refreshes/s", "requests", "MiB more");
    for size in sizes {
        measure(size).await;
    }
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

    let (memory, began) = (resident_mib(), Instant::now());
    let (mut runs, mut refreshed) = (0_u32, 0_u64);
    while refreshed < size {
        let report = stack.functions().invoke("refresh", json!({})).await.unwrap();
        runs += 1;
        let now = report["refreshed"].as_u64().unwrap();
        assert!(now > 0, "a run refreshed nothing: {report}");
        refreshed += now;
    }
    let seconds = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more")]
    let rate = refreshed as f64 / seconds;
    let (requests, more) = (asked.load(Ordering::Relaxed), resident_mib().saturating_sub(memory));
    println!("{size:>9} {refreshed:>9} {runs:>5} {seconds:>9.1} {rate:>11.0} {requests:>8} {more:>10}");
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

/// Puts due authorizations into the table, each sealed for itself.
async fn fill(stack: &Stack, size: u64) {
    let sdk = loopback_sdk_config(stack.aws_endpoint());
    let client = Client::new(&sdk);
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let name = stack.provisioned().table.clone();
    let table = Arc::new(Table::new(client.clone(), &name, clock.clone(), entropy.clone()));
    let keyring = Keyring::new(aws_sdk_kms::Client::new(&sdk), &stack.provisioned().key_id, table, clock, entropy);
    let organization = OrganizationId::try_from("org_demo").unwrap();
    let sealer = keyring.sealer(&organization).await.unwrap();
    stream::iter((0..size).step_by(usize::try_from(BATCH).unwrap()))
        .for_each_concurrent(8, |first| {
            let (client, name, organization, sealer) = (&client, &name, &organization, &sealer);
            async move {
                let put = |number| {
                    let put = PutRequest::builder().set_item(Some(item(organization, sealer.as_ref(), number))).build().unwrap();
                    WriteRequest::builder().put_request(put).build()
                };
                let batch: Vec<_> = (first..size.min(first + BATCH)).map(put).collect();
                client.batch_write_item().request_items(name, batch).send().await.unwrap();
            }
        })
        .await;
}

/// An authorization in use whose access token has a minute left.
fn item(organization: &OrganizationId, sealer: &dyn Sealer, number: u64) -> Item {
    let now = SystemClock.now();
    let mut random = [0; 10];
    SystemEntropy.fill(&mut random).unwrap();
    let id = AuthorizationId::new(now, random);
    let seal = |field, token: &str| {
        let context = SealContext { organization, authorization: &id, field, generation: 1 };
        sealer.seal(context, &Secret::new(format!("{token}-{number:-<100}")), sealer.reserve().unwrap()).unwrap()
    };
    let s = |text: &str| AttributeValue::S(text.to_owned());
    let n = |number: i64| AttributeValue::N(number.to_string());
    let millis = now.unix_timestamp() * 1000;
    let key = keys::Key::authorization(organization, &id);
    HashMap::from(
        [
            ("pk", s(key.pk())),
            ("sk", s(key.sk())),
            ("org_pk", s(&keys::list_partition(organization))),
            ("org_sk", s(&keys::list_position(&id))),
            ("auth_id", s(id.as_str())),
            ("connection_id", s("conn_bench")),
            ("provider", s("bench")),
            ("issuer", s("https://signin.example.com/")),
            ("user_id", s("somebody")),
            ("email", s("ops@example.com")),
            ("email_verified", AttributeValue::Bool(true)),
            ("created_by_issuer", s("https://signin.example.com/")),
            ("created_by", s("usr_olivia")),
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
            ("sealed_access", AttributeValue::B(Blob::new(seal(TokenField::Access, "access-token")))),
            ("sealed_refresh", AttributeValue::B(Blob::new(seal(TokenField::Refresh, "refresh-token")))),
            ("due_shard", s(&keys::due_partition(schedule::shard(&id)))),
            ("due_at", n(now.unix_timestamp() - 1)),
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
