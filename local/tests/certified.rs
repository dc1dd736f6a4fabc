//! Real processes that die, and real connections that break, between a certified provider that takes each refresh token once and the
//! table: nothing is lost in silence.
//!
//! 1. Three processes: the provider (npm `oidc-provider`), AWS (`cargo local --data`), and the service (`cargo local --aws-endpoint`).
//!    A proxy stands between the service and each of the others.
//! 2. A worker for each authorization takes tokens without a pause, and the schedule runs every second; each token lives 20 seconds.
//! 3. At random moments the service, AWS or both are killed (`SIGKILL`) and started again, and the proxies cut, swallow and delay
//!    requests and answers: every kind of harm once a round.
//! 4. When it is over, every authorization hands out a token that the provider takes, or says that a person is needed, because an
//!    answer was lost; and that only if the provider did end the grant.
//!
//! The seed is printed; `MANDATE_SEED` replays the choices, and `MANDATE_ROUNDS` makes it more than one round.
//!
//! ```sh
//! MANDATE_ROUNDS=20 cargo test -p local --test certified -- --nocapture
//! ```

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

#[expect(dead_code, reason = "another suite uses the rest")]
#[path = "../../tests/certified/provider.rs"]
mod certified;
#[expect(dead_code, reason = "the other tests of the binary use the rest")]
mod process;
mod proxy;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use certified::{CLIENT_SECRET, CONNECTION, Provider, api_key, bearer, directory};
use local::client::{Api, Http};
use process::{Running, free_ports};
use proxy::{Harm, Proxy};
use serde_json::{Value, json};
use shared::ports::clock::random;
use shared::system::SystemEntropy;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const AUTHORIZATIONS: usize = 8;
/// How long the provider's access tokens live, in seconds: little enough for the schedule to have something to do.
const ACCESS_TTL: i64 = 20;
/// A lease that was held when a process died ends after half a minute, an incident a little later.
const PATIENCE: Duration = Duration::from_secs(75);

/// What happens to the processes and the wires.
#[derive(Debug, Clone, Copy)]
enum Event {
    KillService,
    KillAws,
    KillBoth,
    AtProvider(Harm),
    AtTable(Harm),
}

/// Every kind once. What takes long to be over comes first.
const FIRST: [Event; 4] = [Event::KillService, Event::KillAws, Event::KillBoth, Event::AtProvider(Harm::SwallowAnswer)];
const THEN: [Event; 8] = [
    Event::AtProvider(Harm::CutAnswer),
    Event::AtProvider(Harm::CutRequest),
    Event::AtProvider(Harm::Delay(Duration::from_secs(2))),
    Event::AtTable(Harm::CutAnswer),
    Event::AtTable(Harm::CutRequest),
    Event::AtTable(Harm::SwallowAnswer),
    Event::AtTable(Harm::Delay(Duration::from_secs(1))),
    Event::KillService,
];

/// A small generator (SplitMix64): its choices can be replayed.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }

    fn shuffled(&mut self, events: &[Event]) -> Vec<Event> {
        let mut left = events.to_vec();
        let mut order = Vec::new();
        while !left.is_empty() {
            order.push(left.swap_remove(self.below(left.len())));
        }
        order
    }
}

/// Hand-outs by how they ended.
#[derive(Default)]
struct Counts {
    fresh: AtomicU64,
    degraded: AtomicU64,
    unavailable: AtomicU64,
    refused: AtomicU64,
    unanswered: AtomicU64,
}

/// What an authorization came to.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Works,
    Ended,
}

/// Everything that runs.
struct Scene {
    files: TempDir,
    ports: [u16; 3],
    aws_port: u16,
    provider: Provider,
    to_provider: Proxy,
    to_table: Proxy,
    aws: Option<Running>,
    service: Option<Running>,
    api: Api,
    http: Http,
}

impl Scene {
    async fn start(code: &Path) -> Self {
        let ([api, aws_port], [aws_api, provider_port]) = (free_ports(), free_ports());
        let to_provider = Proxy::start(([127, 0, 0, 1], provider_port).into(), "POST /token").await;
        let to_table = Proxy::start(([127, 0, 0, 1], aws_port).into(), "UpdateItem").await;
        let base = format!("http://127.0.0.1:{api}");
        let issuer = to_provider.base();
        let redirect_uri = format!("{base}/workflows/authorization/callback/{CONNECTION}");
        let provider = Provider::start(code, &redirect_uri, ACCESS_TTL, Some((provider_port, &issuer)));
        let files = TempDir::new().unwrap();
        fs::write(files.path().join("directory.json"), directory(&base, &issuer)).unwrap();
        fs::write(files.path().join("secrets.json"), json!({ CONNECTION: [CLIENT_SECRET] }).to_string()).unwrap();
        fs::write(files.path().join("key.json"), api_key()).unwrap();
        let api_client = Api::new(&base, bearer("usr_olivia", "olivia@example.com")).unwrap();
        let ports = [api, aws_api, provider_port];
        let (aws, service, http) = (None, None, Http::new().unwrap());
        let mut scene = Self { files, ports, aws_port, provider, to_provider, to_table, aws, service, api: api_client, http };
        scene.start_aws();
        scene.start_service();
        scene
    }

    fn file(&self, name: &str) -> String {
        self.files.path().join(name).to_str().unwrap().to_owned()
    }

    fn run(&self, more: &[&str]) -> Running {
        let (directory, secrets, key) = (self.file("directory.json"), self.file("secrets.json"), self.file("key.json"));
        let key = format!("mandate/api-key={key}");
        let common = ["--directory", &directory, "--client-secrets", &secrets, "--secret", &key];
        Running::start(&[&common[..], more].concat())
    }

    fn start_aws(&mut self) {
        let (listen, aws) = (format!("127.0.0.1:{}", self.ports[1]), format!("127.0.0.1:{}", self.aws_port));
        let data = self.file("data");
        self.aws = Some(self.run(&["--listen", &listen, "--aws-listen", &aws, "--data", &data, "--refresh-every", "0"]));
    }

    fn start_service(&mut self) {
        let (listen, aws) = (format!("127.0.0.1:{}", self.ports[0]), self.to_table.base());
        self.service = Some(self.run(&["--listen", &listen, "--aws-endpoint", &aws, "--refresh-every", "1"]));
    }

    fn kill(&mut self, service: bool, aws: bool) {
        let dying = [service.then(|| self.service.take()).flatten(), aws.then(|| self.aws.take()).flatten()];
        for process in dying.into_iter().flatten() {
            // `SIGKILL`, and waited for.
            drop(process);
        }
        if self.aws.is_none() {
            self.start_aws();
        }
        if self.service.is_none() {
            self.start_service();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::KillService => self.kill(true, false),
            Event::KillAws => self.kill(false, true),
            Event::KillBoth => self.kill(true, true),
            Event::AtProvider(harm) => self.to_provider.arm(Some(harm)),
            Event::AtTable(harm) => self.to_table.arm(Some(harm)),
        }
    }

    /// Olivia signs in; for `authorization`, if there is one already.
    async fn sign_in(&self, authorization: Option<&str>) -> String {
        let fields = authorization.map_or(json!({}), |id| json!({ "authorization_id": id }));
        let created = self.api.post("/workflows/authorization", fields).await.unwrap();
        let url = created.json()["url"].as_str().unwrap().to_owned();
        let base = format!("http://127.0.0.1:{}/", self.ports[0]);
        let page = self.provider.sign_in(&self.http, &base, &url, "olivia").await;
        assert_eq!(page.status, 200, "{}", page.text);
        let list = self.api.get("/workflows/authorization").await.unwrap().json();
        authorization.map_or_else(|| list[0]["id"].as_str().unwrap().to_owned(), str::to_owned)
    }

    /// What an authorization has come to, once everything is well again.
    async fn end(&self, id: &str) -> End {
        let began = Instant::now();
        loop {
            let answer = hand_out(&self.api, id, 60).await;
            match &answer {
                Some((200, token)) if token["degraded"] == json!(false) => {
                    let userinfo = self.provider.userinfo(&self.http, token["access_token"].as_str().unwrap()).await;
                    assert_eq!((userinfo.status, &userinfo.json()["sub"]), (200, &json!("olivia")), "{id}: {}", userinfo.text);
                    return End::Works;
                }
                Some((409, refusal)) => {
                    let entry = self.api.get(&format!("/workflows/authorization/{id}")).await.unwrap().json();
                    assert_eq!((&entry["status"], &entry["reason"]), (&json!("needs_reauthorization"), &json!("outcome_unknown")), "{id}");
                    assert_eq!(refusal["reason"], "outcome_unknown");
                    return End::Ended;
                }
                _ => assert!(began.elapsed() < PATIENCE, "{id} is lost in silence: {answer:?}"),
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

async fn hand_out(api: &Api, authorization: &str, min_ttl: u32) -> Option<(u16, Value)> {
    let path = format!("/workflows/authorization/{authorization}/token");
    let answer = api.post(&path, json!({ "workflow_id": format!("fl_{authorization}"), "min_ttl": min_ttl })).await.ok()?;
    assert!([200, 409, 503].contains(&answer.status), "{} {}", answer.status, answer.text);
    Some((answer.status, answer.json()))
}

/// Takes tokens until it is told to stop, and says after each answer that there was one.
async fn work(api: Api, id: String, stop: Arc<AtomicBool>, counts: Arc<Counts>, answered: mpsc::UnboundedSender<()>) {
    let mut min_ttl = 0;
    while !stop.load(Ordering::SeqCst) {
        // No token lives a minute: every other hand-out is a refresh.
        min_ttl = 60 - min_ttl;
        let answer = hand_out(&api, &id, min_ttl).await;
        let count = match &answer {
            Some((200, token)) if token["degraded"] == json!(true) => &counts.degraded,
            Some((200, _)) => &counts.fresh,
            Some((409, _)) => &counts.refused,
            Some(_) => &counts.unavailable,
            None => &counts.unanswered,
        };
        count.fetch_add(1, Ordering::SeqCst);
        let _ = answered.send(());
        if !matches!(&answer, Some((200, _))) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a replay, and how long to go on, are said in the environment")]
fn asked_for(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "the seed replays a failure, and the figures are what a long run is for")]
async fn nothing_is_lost_in_silence_when_processes_die_and_connections_break() {
    let Some(code) = certified::code() else { return };
    let seed = asked_for("MANDATE_SEED").unwrap_or_else(|| u64::from_be_bytes(random(&SystemEntropy).unwrap()));
    let rounds = asked_for("MANDATE_ROUNDS").unwrap_or(1);
    println!("MANDATE_SEED={seed}");
    let mut choices = Choices(seed);
    let mut scene = Scene::start(&code).await;
    let mut ids = Vec::new();
    for _ in 0..AUTHORIZATIONS {
        let id = scene.sign_in(None).await;
        let bound = scene.api.put(&format!("/workflows/fl_{id}/authorization"), json!({ "authorization_id": id })).await.unwrap();
        assert_eq!(bound.status, 200, "{}", bound.text);
        ids.push(id);
    }
    let counts = Arc::new(Counts::default());
    let (mut ended, mut kills) = (0_u64, 0_u64);
    for round in 1..=rounds {
        let (answered, mut answers) = mpsc::unbounded_channel();
        let (mut working, stop) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        for id in &ids {
            working.spawn(work(scene.api.clone(), id.clone(), Arc::clone(&stop), Arc::clone(&counts), answered.clone()));
        }
        for event in [choices.shuffled(&FIRST), choices.shuffled(&THEN)].concat() {
            for _ in 0..choices.below(40) {
                answers.recv().await.unwrap();
            }
            kills += u64::from(matches!(event, Event::KillService | Event::KillAws)) + 2 * u64::from(matches!(event, Event::KillBoth));
            tokio::task::block_in_place(|| scene.happen(event));
        }
        // The last harm is done to somebody, too.
        for _ in 0..20 {
            answers.recv().await.unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        working.join_all().await;
        scene.to_provider.arm(None);
        scene.to_table.arm(None);

        let mut lost = Vec::new();
        let ends = futures_util::future::join_all(ids.iter().map(|id| scene.end(id))).await;
        for (id, end) in ids.iter().zip(ends) {
            if end == End::Ended {
                lost.push(id);
            }
        }
        ended += u64::try_from(lost.len()).unwrap();
        assert_eq!(
            scene.provider.count(&scene.http, "grants_revoked").await,
            ended,
            "a person is called back only for a grant that is gone"
        );
        println!(
            "round {round}: {} of {AUTHORIZATIONS} authorizations work, {} say that an answer was lost; so far {kills} processes killed, \
             {} exchanges with the provider and {} with the table harmed, {} refreshes; hand-outs: {} fresh, {} degraded, {} unavailable, {} refused, \
             {} unanswered",
            AUTHORIZATIONS - lost.len(),
            lost.len(),
            scene.to_provider.done(),
            scene.to_table.done(),
            scene.provider.count(&scene.http, "refresh_token").await,
            counts.fresh.load(Ordering::SeqCst),
            counts.degraded.load(Ordering::SeqCst),
            counts.unavailable.load(Ordering::SeqCst),
            counts.refused.load(Ordering::SeqCst),
            counts.unanswered.load(Ordering::SeqCst),
        );
        for id in lost {
            scene.sign_in(Some(id)).await;
            assert_eq!(scene.end(id).await, End::Works, "the same authorization, with the same workflow");
        }
    }
    assert!(counts.fresh.load(Ordering::SeqCst) > 0);
}
