//! The stack is killed at random moments while it serves, and started again: what it acknowledged is still there.
//!
//! 1. Two authorizations are stored by real sign-ins.
//! 2. Workers bind, unbind, list and take tokens, each with workflows of its own, and remember what was acknowledged.
//! 3. After a random number of acknowledgements the process is killed (`SIGKILL`), with requests under way, and started again.
//! 4. What was acknowledged must be there. What was under way may have happened or not, and nothing else.
//!
//! The seed is printed; `MANDATE_SEED` replays the choices.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

#[expect(dead_code, reason = "the other tests of the binary use the rest")]
mod process;

use std::collections::BTreeMap;
use std::sync::Arc;

use local::client::{Api, Browser, Decision, Http};
use process::{Running, free_ports};
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use shared::ports::clock::random;
use shared::system::SystemEntropy;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const ROUNDS: u64 = 6;
const WORKERS: u64 = 4;
/// How often a refresh may be asked for at the end: a lease that was held when the process died has to end first.
const PATIENCE: usize = 6;

/// A small generator (SplitMix64): its choices can be replayed.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// What one worker knows.
struct Worker {
    number: u64,
    choices: Choices,
    api: Api,
    authorizations: Arc<Vec<String>>,
    /// Whose each workflow is, as acknowledged last.
    bound: BTreeMap<String, Option<String>>,
    /// What was under way when the process died: the workflow, and what it was to become.
    pending: Option<(String, Option<String>)>,
    /// The highest generation that was handed out, and its token, by authorization.
    tokens: BTreeMap<String, (u64, String)>,
}

impl Worker {
    /// Works until the process is gone; says after each acknowledgement that there was one.
    async fn work(mut self, acknowledged: mpsc::UnboundedSender<()>) -> Self {
        while self.one().await.is_some() {
            if acknowledged.send(()).is_err() {
                break;
            }
        }
        self
    }

    /// One request; `None` if there was no answer.
    async fn one(&mut self) -> Option<()> {
        let workflow = format!("fl_{}_{}", self.number, self.choices.below(5));
        let path = format!("/workflows/{workflow}/authorization");
        let authorization = self.authorizations[usize::try_from(self.choices.below(2)).unwrap()].clone();
        match self.choices.below(10) {
            0..=3 => {
                self.pending = Some((workflow.clone(), Some(authorization.clone())));
                let answer = self.api.put(&path, json!({ "authorization_id": authorization })).await.ok()?;
                assert_eq!(answer.status, 200, "{}", answer.text);
                self.bound.insert(workflow, Some(authorization));
            }
            4..=6 => {
                self.pending = Some((workflow.clone(), None));
                let answer = self.api.delete(&path).await.ok()?;
                let was_bound = self.bound.insert(workflow, None).flatten().is_some();
                assert_eq!(answer.status, if was_bound { 204 } else { 404 }, "{}", answer.text);
            }
            7 => {
                let list = self.api.get("/workflows/authorization").await.ok()?;
                assert_eq!(list.json().as_array().map(Vec::len), Some(2), "{}", list.text);
            }
            _ => self.take_token().await?,
        }
        self.pending = None;
        Some(())
    }

    /// A hand-out to a workflow that is surely bound. Only the first worker asks for so fresh a token that it is refreshed.
    async fn take_token(&mut self) -> Option<()> {
        let bound = self.bound.iter().find_map(|(workflow, to)| Some((workflow.clone(), to.clone()?)));
        let Some((workflow, authorization)) = bound else { return Some(()) };
        let min_ttl = if self.number == 0 { 3600 } else { 60 };
        let answer = hand_out(&self.api, &authorization, &workflow, min_ttl).await?;
        self.hold(&authorization, &answer);
        Some(())
    }

    /// Generations never go back, and one generation is one token.
    fn hold(&mut self, authorization: &str, token: &Value) {
        let (generation, text) = (token["generation"].as_u64().unwrap(), token["access_token"].as_str().unwrap().to_owned());
        if let Some((known, before)) = self.tokens.get(authorization) {
            assert!(generation >= *known, "generation {generation} after {known}");
            assert!(generation > *known || text == *before, "two tokens of generation {generation}");
        }
        self.tokens.insert(authorization.to_owned(), (generation, text));
    }

    /// Whether the process that was started again remembers.
    async fn verify(&mut self) {
        for number in 0..5 {
            let workflow = format!("fl_{}_{number}", self.number);
            let answer = self.api.get(&format!("/workflows/{workflow}/authorization")).await.unwrap();
            let found = match answer.status {
                200 => Some(answer.json()["authorization_id"].as_str().unwrap().to_owned()),
                404 => None,
                _ => unreachable!("{} {}", answer.status, answer.text),
            };
            let acknowledged = self.bound.get(&workflow).cloned().flatten();
            let possible = self.pending.as_ref().filter(|(pending, _)| *pending == workflow).map(|(_, to)| to.clone());
            assert!(found == acknowledged || Some(&found) == possible.as_ref(), "{workflow}: {found:?}, acknowledged {acknowledged:?}");
            self.bound.insert(workflow.clone(), found.clone());
            if let Some(authorization) = found {
                let token = hand_out(&self.api, &authorization, &workflow, 60).await.unwrap();
                self.hold(&authorization, &token);
            }
        }
        self.pending = None;
    }
}

async fn hand_out(api: &Api, authorization: &str, workflow: &str, min_ttl: u32) -> Option<Value> {
    let path = format!("/workflows/authorization/{authorization}/token");
    let answer = api.post(&path, json!({ "workflow_id": workflow, "min_ttl": min_ttl })).await.ok()?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    Some(answer.json())
}

async fn signed_in(api: &Api) -> String {
    let created = api.post("/workflows/authorization", json!({})).await.unwrap().json();
    let page = Browser::new().unwrap().sign_in(created["url"].as_str().unwrap(), Decision::Allow("usr_olivia")).await.unwrap();
    assert_eq!(page.status, 200, "{}", page.text);
    let list = api.get("/workflows/authorization").await.unwrap().json();
    list[0]["id"].as_str().unwrap().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a replay is asked for in the environment")]
fn seed() -> u64 {
    let given = std::env::var("MANDATE_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| u64::from_be_bytes(random(&SystemEntropy).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "the seed replays a failure")]
async fn what_was_acknowledged_outlives_a_kill() {
    let seed = seed();
    println!("MANDATE_SEED={seed}");
    let mut choices = Choices(seed);
    let data = TempDir::new().unwrap();
    let [api, aws] = free_ports();
    let listen = [format!("127.0.0.1:{api}"), format!("127.0.0.1:{aws}")];
    let arguments = ["--listen", &listen[0], "--aws-listen", &listen[1], "--data", data.path().to_str().unwrap(), "--refresh-every", "1"];

    let mut running = Running::start(&arguments);
    let caller = Api::new(running.base(), running.token().unwrap()).unwrap();
    let authorizations = Arc::new(vec![signed_in(&caller).await, signed_in(&caller).await]);
    let worker = |number| Worker {
        number,
        choices: Choices(seed ^ (number + 1)),
        api: caller.clone(),
        authorizations: Arc::clone(&authorizations),
        bound: BTreeMap::new(),
        pending: None,
        tokens: BTreeMap::new(),
    };
    let mut workers: Vec<_> = (0..WORKERS).map(worker).collect();
    for _ in 0..ROUNDS {
        let (acknowledged, mut acknowledgements) = mpsc::unbounded_channel();
        let mut working = JoinSet::new();
        for worker in workers.drain(..) {
            working.spawn(worker.work(acknowledged.clone()));
        }
        drop(acknowledged);
        for _ in 0..choices.below(80) {
            acknowledgements.recv().await.unwrap();
        }
        running.kill();
        workers = working.join_all().await;
        running = Running::start(&arguments);
        for worker in &mut workers {
            worker.verify().await;
        }
    }
    renews(&caller, &authorizations, &running.base()).await;
}

/// Both can still be refreshed, and the provider takes the new token.
async fn renews(caller: &Api, authorizations: &[String], base: &str) {
    for authorization in authorizations {
        let bound = caller.put("/workflows/fl_last/authorization", json!({ "authorization_id": authorization })).await.unwrap();
        assert_eq!(bound.status, 200, "{}", bound.text);
        let before = hand_out(caller, authorization, "fl_last", 0).await.unwrap();
        let mut after = before.clone();
        for _ in 0..PATIENCE {
            after = hand_out(caller, authorization, "fl_last", 3600).await.unwrap();
            if after["degraded"] == json!(false) {
                break;
            }
        }
        assert!(after["generation"].as_u64() > before["generation"].as_u64(), "{authorization} is not refreshed");
        let (url, bearer) = (format!("{base}/sign-in/userinfo"), format!("Bearer {}", after["access_token"].as_str().unwrap()));
        let http = Http::new().unwrap();
        let userinfo = http.send(Method::GET, &url, &[(AUTHORIZATION.as_str(), &bearer)], None).await.unwrap();
        assert_eq!(userinfo.json()["sub"], "usr_olivia");
    }
}
