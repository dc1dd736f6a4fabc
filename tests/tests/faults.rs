//! AWS and the provider failing at the worst moments: nothing is lost, nothing is revoked by mistake, and nobody is told the wrong
//! thing (contract sections 6 to 9, design section 5).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::future::join_all;
use local::aws::{Call, Fault, Observer, Ruling, Service};
use local::client::Answer;
use reqwest::Method;
use serde_json::{Value, json};
use tests::faults::{Gate, Rule, stores_refreshed_tokens};
use tests::provider::{CLIENT_SECRET, Mood, Provider};
use tests::{Caller, Expect as _, ManualClock, World};
use time::Duration;
use tokio::sync::{Barrier, Notify};

/// How often the SDK sends a request before it gives up.
const SDK_ATTEMPTS: usize = 3;
/// How many callers come at once.
const CALLERS: usize = 20;

/// Tells requests apart.
type Which = fn(&Call<'_>) -> bool;

/// A world with a scripted provider and nothing in it.
async fn empty() -> (Provider, World, Caller) {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    (provider, world, olivia)
}

/// The same with an authorization, bound to `fl_1`.
async fn bound() -> (Provider, World, Caller, String) {
    let (provider, world, olivia) = empty().await;
    let id = world.authorize_at(&provider, &olivia).await;
    world.bind(&olivia, "fl_1", &id).await;
    (provider, world, olivia, id)
}

fn fl_1() -> Value {
    json!({ "workflow_id": "fl_1" })
}

fn path(id: &str) -> String {
    format!("/workflows/authorization/{id}")
}

fn down() -> Fault {
    Fault::new(500, "InternalServerError", "down")
}

fn observe(world: &World, observer: impl Observer + 'static) {
    world.aws().observe(Some(Arc::new(observer)));
}

/// A sign-in at the scripted provider up to the application: the completion code.
async fn code(provider: &Provider, world: &World, caller: &Caller, more: Value) -> String {
    let mut body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to() });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.open(&provider.come_back(&world.url(caller, body).await)).await.sent("code").unwrap()
}

fn updates(call: &Call<'_>, expression: &str) -> bool {
    call.operation == "UpdateItem" && call.request["UpdateExpression"].as_str().is_some_and(|text| text.contains(expression))
}

/// Takes the lease of a refresh.
fn claims(call: &Call<'_>) -> bool {
    updates(call, "#lease_owner = :lease_owner")
}

/// Gives a failed refresh back.
fn gives_back(call: &Call<'_>) -> bool {
    updates(call, "#failed_attempts = if_not_exists")
}

/// Loses the answers of the first transactions, and lets time pass with each.
fn lost_transactions(how_many: usize, clock: Arc<ManualClock>, each_takes: Duration) -> impl Observer {
    let seen = AtomicUsize::new(0);
    Rule(move |call: &Call<'_>| {
        if call.operation == "TransactWriteItems" && seen.fetch_add(1, Ordering::SeqCst) < how_many {
            clock.advance(each_takes);
            return Ruling::RefuseAfter(down());
        }
        Ruling::Pass
    })
}

/// Refuses every commit of a refresh, and lets time pass with each, so that whoever retries comes to the end of their patience.
fn commits_fail(clock: Arc<ManualClock>) -> impl Observer {
    Rule(move |call: &Call<'_>| {
        if stores_refreshed_tokens(call) {
            clock.advance(Duration::seconds(3));
            return Ruling::Refuse(down());
        }
        Ruling::Pass
    })
}

/// A gate that also tells of reads.
struct Watched {
    gate: Arc<Gate>,
    read: Notify,
}

#[async_trait]
impl Observer for Watched {
    async fn before(&self, call: Call<'_>) -> Ruling {
        if call.operation == "GetItem" {
            self.read.notify_one();
        }
        self.gate.before(call).await
    }
}

/// Holds claims until all callers have sent theirs: then all have read the same record.
struct Together {
    claims: AtomicUsize,
    all: Barrier,
}

impl Together {
    fn new() -> Self {
        Self { claims: AtomicUsize::new(0), all: Barrier::new(CALLERS) }
    }
}

#[async_trait]
impl Observer for Together {
    async fn before(&self, call: Call<'_>) -> Ruling {
        if claims(&call) && self.claims.fetch_add(1, Ordering::SeqCst) < CALLERS {
            self.all.wait().await;
        }
        Ruling::Pass
    }
}

#[tokio::test]
async fn the_lost_answers_of_a_transaction_lose_no_authorization_and_revoke_nothing() {
    let (provider, world, olivia) = empty().await;
    let code_of_new = code(&provider, &world, &olivia, json!({})).await;
    observe(&world, lost_transactions(SDK_ATTEMPTS, Arc::clone(&world.clock), Duration::ZERO));
    let completed = olivia.complete(json!({ "code": code_of_new })).await.is(201);
    let id = completed["id"].as_str().unwrap();
    assert_eq!(completed["status"], "active");
    assert_eq!(olivia.complete(json!({ "code": code_of_new })).await.is(200)["id"], id);
    world.bind(&olivia, "fl_1", id).await;
    assert_eq!(olivia.token(id, fl_1()).await.is(200)["generation"], 1);
    assert_eq!(olivia.list().await.as_array().unwrap().len(), 1);

    // The same for a re-authorization.
    let code_of_renewal = code(&provider, &world, &olivia, json!({ "authorization_id": id })).await;
    observe(&world, lost_transactions(SDK_ATTEMPTS, Arc::clone(&world.clock), Duration::ZERO));
    assert_eq!(olivia.complete(json!({ "code": code_of_renewal })).await.is(201)["id"], id);
    let token = olivia.token(id, fl_1()).await.is(200);
    assert_eq!((&token["generation"], &token["degraded"]), (&json!(2), &json!(false)));
    world.pass(Duration::HOUR);
    assert_eq!(olivia.token(id, fl_1()).await.is(200)["generation"], 3, "the new refresh token is the stored one");
    assert_eq!((provider.seen().exchanges, provider.seen().revocations), (2, 0));
}

#[tokio::test]
async fn a_transaction_whose_answers_are_lost_until_the_deadline_is_looked_for() {
    let (provider, world, olivia) = empty().await;
    let code = code(&provider, &world, &olivia, json!({})).await;
    observe(&world, lost_transactions(usize::MAX, Arc::clone(&world.clock), Duration::seconds(10)));
    let completed = olivia.complete(json!({ "code": code })).await.is(201);
    let id = completed["id"].as_str().unwrap();
    world.aws().observe(None);
    assert_eq!(olivia.complete(json!({ "code": code })).await.is(200)["id"], id);
    world.bind(&olivia, "fl_1", id).await;
    assert_eq!(olivia.token(id, fl_1()).await.is(200)["generation"], 1);
    assert_eq!((provider.seen().exchanges, provider.seen().revocations), (1, 0));
}

#[tokio::test]
async fn s70_client_secrets_that_cannot_be_read_any_more_stop_no_sign_in() {
    let (provider, world, olivia) = empty().await;
    let refused = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&refused);
    observe(
        &world,
        Rule(move |call: &Call<'_>| {
            if call.service == Service::SecretsManager && call.request["SecretId"].as_str().is_some_and(|id| id.contains("client-secrets"))
            {
                counter.fetch_add(1, Ordering::SeqCst);
                return Ruling::Refuse(Fault::new(500, "InternalServiceError", "down"));
            }
            Ruling::Pass
        }),
    );
    for _ in 0..2 {
        let code = code(&provider, &world, &olivia, json!({})).await;
        assert_eq!(olivia.complete(json!({ "code": code })).await.is(201)["status"], "active");
        world.pass(Duration::minutes(5));
    }
    assert!(refused.load(Ordering::SeqCst) >= SDK_ATTEMPTS, "they were asked for again, and the last good ones stayed in use");
    assert_eq!((provider.seen().exchanges, provider.seen().revocations), (2, 0));
}

#[tokio::test]
async fn a_client_without_the_proof_that_it_needs_leaves_the_flow_usable_until_it_is_given_one() {
    let provider = Provider::start().await;
    let world = World::with_connections(vec![(provider.connection("conn_scripted"), &[][..])], Some(provider.clock())).await;
    let olivia = world.olivia();
    let give = async |version: &str, credential: Value| {
        let secrets = json!({ "conn_demo": ["demonstration-client-secret"], "conn_scripted": [credential] }).to_string();
        let put = json!({ "SecretId": world.stack.provisioned().secret_ids[1], "SecretString": secrets, "ClientRequestToken": version.repeat(32) });
        let headers = [("x-amz-target", "secretsmanager.PutSecretValue"), ("content-type", "application/x-amz-json-1.1")];
        let answer = world.http.send(Method::POST, world.stack.aws_endpoint(), &headers, Some(put.to_string())).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    // A key, where the connection has a secret.
    give("0", json!({ "kid": "k1", "pem": tests::tokens::KEY })).await;
    world.pass(Duration::minutes(6));
    let earlier = code(&provider, &world, &olivia, json!({})).await;
    olivia.complete(json!({ "code": earlier })).await.refused(502, "oauth_failed"); // from here on this list is kept for five minutes
    world.pass(Duration::minutes(1));
    let code = code(&provider, &world, &olivia, json!({})).await;
    for _ in 0..2 {
        olivia.complete(json!({ "code": code })).await.refused(502, "oauth_failed");
    }
    assert_eq!((provider.seen().exchanges, provider.seen().revocations), (0, 0));
    assert_eq!(olivia.list().await, json!([]));

    give("1", json!(CLIENT_SECRET)).await;
    world.pass(Duration::minutes(4));
    let completed = olivia.complete(json!({ "code": code })).await.is(201);
    assert_eq!(completed["status"], "active");
    assert_eq!((provider.seen().exchanges, provider.seen().revocations), (1, 0));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_at_once_where_the_provider_takes_a_rotated_token_for_a_while() {
    for (grace, asked_again) in [(30, true), (5, true), (4, false), (0, false)] {
        let provider = Provider::start().await;
        let mut connection = provider.connection("conn_scripted");
        connection["rotation_grace"] = json!(grace);
        let world = World::with_connections(vec![(connection, &[CLIENT_SECRET][..])], Some(provider.clock())).await;
        let olivia = world.olivia();
        let id = world.authorize_at(&provider, &olivia).await;
        world.bind(&olivia, "fl_1", &id).await;
        world.pass(Duration::HOUR);
        provider.feels_once(Mood::BrokenOff);
        let answer = olivia.token(&id, fl_1()).await;
        if asked_again {
            let token = answer.is(200);
            assert_eq!((&token["generation"], &token["degraded"]), (&json!(2), &json!(false)), "{grace}");
        } else {
            answer.refused(503, "provider_unavailable");
        }
        assert_eq!(provider.seen().refreshes, 1 + u64::from(asked_again), "{grace}");
        // Whatever was lost, a refusal afterwards is told as what it may be.
        let records = world.records().await;
        assert_eq!(records.authorization(&id).unwrap().contains_key("outcome_unknown_since"), !asked_again, "{grace}");
    }
}

/// Refreshes while no commit succeeds: the token that was handed out all the same.
async fn rescued(world: &World, olivia: &Caller, id: &str) -> Value {
    world.pass(Duration::HOUR);
    observe(world, commits_fail(Arc::clone(&world.clock)));
    let token = olivia.token(id, fl_1()).await.is(200);
    world.aws().observe(None);
    assert_eq!((&token["generation"], &token["degraded"]), (&json!(2), &json!(false)));
    token
}

/// Asserts that an authorization works with this token and at a provider that takes each refresh token once.
async fn works_again(world: &World, olivia: &Caller, id: &str, handed_out: &Value) {
    let entry = olivia.one(id).await;
    assert_eq!((&entry["status"], &entry["reason"]), (&json!("active"), &Value::Null));
    let token = olivia.token(id, fl_1()).await.is(200);
    assert_eq!((&token["generation"], &token["access_token"]), (&json!(2), &handed_out["access_token"]));
    for generation in [3, 4] {
        world.pass(Duration::HOUR);
        let token = olivia.token(id, fl_1()).await.is(200);
        assert_eq!((&token["generation"], &token["degraded"]), (&json!(generation), &json!(false)));
    }
    world.pass(Duration::minutes(59));
    let report = world.run_schedule().await;
    assert_eq!((&report["refreshed"], &report["rescued"]), (&json!(1), &json!(0)));
    assert_eq!(olivia.token(id, fl_1()).await.is(200)["generation"], 5);
}

#[tokio::test]
async fn a_refresh_that_the_table_does_not_take_is_handed_out_and_rescued_by_the_schedule() {
    let (provider, world, olivia, id) = bound().await;
    let handed_out = rescued(&world, &olivia, &id).await;
    assert_eq!(provider.seen().refreshes, 1);
    let report = world.run_schedule().await;
    assert_eq!((&report["rescued"], &report["failed"], &report["needs_reauthorization"]), (&json!(1), &json!(0), &json!(0)));
    assert_eq!(provider.seen().refreshes, 1, "nothing was asked of the provider again");
    works_again(&world, &olivia, &id, &handed_out).await;
    assert_eq!((provider.seen().refreshes, provider.seen().revocations), (4, 0));
}

#[tokio::test]
async fn a_refresh_that_neither_the_table_nor_the_queue_takes_at_first_is_not_given_up() {
    let (provider, world, olivia, id) = bound().await;
    world.pass(Duration::HOUR);
    let (clock, queue) = (Arc::clone(&world.clock), Arc::new(AtomicUsize::new(0)));
    let asked = Arc::clone(&queue);
    observe(
        &world,
        Rule(move |call: &Call<'_>| {
            if stores_refreshed_tokens(call) {
                clock.advance(Duration::seconds(3));
                return Ruling::Refuse(down());
            }
            // The queue is down for as long as one request to it lasts.
            if call.operation == "SendMessage" && asked.fetch_add(1, Ordering::SeqCst) < SDK_ATTEMPTS {
                return Ruling::Refuse(down());
            }
            Ruling::Pass
        }),
    );
    let handed_out = olivia.token(&id, fl_1()).await.is(200);
    world.aws().observe(None);
    assert!(queue.load(Ordering::SeqCst) > SDK_ATTEMPTS, "the queue was asked again");
    let report = world.run_schedule().await;
    assert_eq!((&report["rescued"], &report["failed"]), (&json!(1), &json!(0)));
    works_again(&world, &olivia, &id, &handed_out).await;
    assert_eq!((provider.seen().refreshes, provider.seen().revocations), (4, 0));
}

/// Somebody took the lease of a refresh over that could not be stored for half a minute. Its tokens are the only ones that work.
#[tokio::test]
async fn a_refresh_that_was_taken_over_before_it_was_stored_is_rescued_and_not_dropped() {
    let (provider, world, olivia, id) = bound().await;
    world.pass(Duration::HOUR);
    let held = Gate::of(stores_refreshed_tokens);
    world.aws().observe(Some(Arc::clone(&held) as _));
    let takeover = async {
        held.arrival().await;
        world.pass(Duration::seconds(41));
        olivia.token(&id, fl_1()).await.refused(503, "provider_unavailable");
        assert_eq!(world.run_schedule().await["needs_reauthorization"], 1, "the rescue queue is empty, so it is tried once more");
        held.open();
    };
    let (overtaken, ()) = tokio::join!(olivia.token(&id, fl_1()), takeover);
    overtaken.refused(409, "needs_reauthorization");
    assert_eq!(olivia.one(&id).await["reason"], "outcome_unknown");
    let report = world.run_schedule().await;
    assert_eq!((&report["rescued"], &report["failed"]), (&json!(1), &json!(0)));
    let entry = olivia.one(&id).await;
    assert_eq!((&entry["status"], &entry["reason"]), (&json!("active"), &Value::Null));
    let token = olivia.token(&id, fl_1()).await.is(200);
    assert_eq!((&token["generation"], &token["degraded"]), (&json!(2), &json!(false)));
    world.pass(Duration::HOUR);
    assert_eq!(olivia.token(&id, fl_1()).await.is(200)["generation"], 3, "at a provider that takes each refresh token once");
    assert_eq!(provider.seen().revocations, 0);
}

#[tokio::test]
async fn nobody_presents_a_spent_token_whose_successor_is_in_the_rescue_queue() {
    let (provider, world, olivia, id) = bound().await;
    let handed_out = rescued(&world, &olivia, &id).await;
    let refreshes = provider.seen().refreshes;
    world.pass(Duration::seconds(31));
    olivia.token(&id, fl_1()).await.refused(503, "provider_unavailable");
    assert_eq!(provider.seen().refreshes, refreshes);
    assert_eq!(olivia.one(&id).await["status"], "active");
    let report = world.run_schedule().await;
    assert_eq!((&report["rescued"], &report["failed"]), (&json!(1), &json!(0)));
    works_again(&world, &olivia, &id, &handed_out).await;
    assert_eq!(provider.seen().revocations, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tokens_of_a_refresh_that_a_revoke_overtook_are_revoked_by_the_schedule() {
    // Whether the provider was up for the deletion's own revocation.
    for (at_the_deletion, gone) in [(Mood::Well, true), (Mood::Down, false)] {
        let (provider, world, olivia, id) = bound().await;
        world.pass(Duration::HOUR);
        let held = Gate::of(stores_refreshed_tokens);
        world.aws().observe(Some(Arc::clone(&held) as _));
        let deletion = async {
            held.arrival().await;
            provider.feels(at_the_deletion);
            olivia.delete("/workflows/fl_1/authorization").await.is(204);
            olivia.delete(&path(&id)).await.is(204);
            provider.feels(Mood::Down);
            let asked = provider.seen().revocations;
            held.open();
            asked
        };
        let (token, asked) = tokio::join!(olivia.token(&id, fl_1()), deletion);
        token.refused(404, "workflow_not_bound");
        let tried = provider.seen().revocations;
        assert!(tried > asked, "the new tokens were to be revoked at once");
        assert_eq!(olivia.get(&path(&id)).await.status, if gone { 404 } else { 200 });

        provider.feels(Mood::Well);
        world.pass(Duration::HOUR);
        let report = world.run_schedule().await;
        assert_eq!((&report["rescued"], &report["failed"]), (&json!(0), &json!(0)));
        assert_eq!(report["revoked"], u64::from(!gone));
        let after = provider.seen().revocations;
        assert!(after > tried + u64::from(!gone), "{after} after {tried}: both the stored tokens and the new ones");
        olivia.get(&path(&id)).await.refused(404, "authorization_not_found");
        world.pass(Duration::HOUR);
        world.run_schedule().await;
        assert_eq!(provider.seen().revocations, after, "and once");
        assert_eq!(provider.seen().refreshes, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_while_the_provider_is_down_cause_one_token_request() {
    let (provider, world, olivia, id) = bound().await;
    let stored = olivia.token(&id, fl_1()).await.is(200);
    provider.feels(Mood::Down);

    world.pass(Duration::HOUR - Duration::seconds(10));
    observe(&world, Together::new());
    for answer in join_all((0..CALLERS).map(|_| olivia.token(&id, fl_1()))).await {
        let token = answer.is(200);
        assert_eq!((&token["degraded"], &token["expires_in"], &token["generation"]), (&json!(true), &json!(10), &json!(1)));
        assert_eq!(token["access_token"], stored["access_token"]);
    }
    assert_eq!(provider.seen().refreshes, 1, "while the token is valid");

    world.pass(Duration::seconds(10));
    observe(&world, Together::new());
    for answer in join_all((0..CALLERS).map(|_| olivia.token(&id, fl_1()))).await {
        assert_eq!(answer.refused(503, "provider_unavailable")["type"], "provider_error");
        assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
    }
    assert_eq!(provider.seen().refreshes, 2, "after it has expired");
    world.aws().observe(None);
    assert_eq!(olivia.one(&id).await["status"], "active");
    provider.feels(Mood::Well);
    assert_eq!(olivia.token(&id, fl_1()).await.is(200)["generation"], 2);
}

/// A hand-out whose refresh is held at its last request, and a check that begins and waits meanwhile: both answers.
async fn checked_meanwhile(world: &World, olivia: &Caller, id: &str, last: Which) -> (Answer, Value) {
    let held = Arc::new(Watched { gate: Gate::of(last), read: Notify::new() });
    world.aws().observe(Some(Arc::clone(&held) as _));
    let check = async {
        held.gate.arrival().await;
        let open = async {
            // It reads, finds the lease, and reads again.
            for _ in 0..3 {
                held.read.notified().await;
            }
            held.gate.open();
        };
        let check = path(id) + "/check";
        let (answer, ()) = tokio::join!(olivia.post(&check, json!({})), open);
        answer.is(200)
    };
    tokio::join!(olivia.token(id, fl_1()), check)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_check_waits_for_the_refresh_that_somebody_else_is_making() {
    let cases: [(Mood, Which); 3] = [(Mood::Well, stores_refreshed_tokens), (Mood::Down, gives_back), (Mood::Garbled, gives_back)];
    for (mood, which) in cases {
        let (provider, world, olivia, id) = bound().await;
        world.pass(Duration::HOUR - Duration::seconds(10));
        provider.feels(mood);
        let (token, check) = checked_meanwhile(&world, &olivia, &id, which).await;
        let token = token.is(200);
        assert_eq!(provider.seen().refreshes, 1, "the check made none of its own");
        assert_eq!(check["status"], "active");
        let well = mood == Mood::Well;
        assert_eq!((&check["ok"], &token["degraded"]), (&json!(well), &json!(!well)), "{mood:?}");
        assert_eq!(check["reason"], if well { Value::Null } else { json!("provider_unavailable") });
        assert_eq!(check["access_expires_at"], token["expires_at"]);
        assert_eq!(token["generation"], if well { 2 } else { 1 });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_check_that_waits_for_a_refresh_that_ends_the_authorization_tells_so() {
    let (provider, world, olivia, id) = bound().await;
    world.pass(Duration::HOUR);
    provider.end_grants();
    let (token, check) = checked_meanwhile(&world, &olivia, &id, |call| updates(call, "#reason = :reason")).await;
    token.refused(409, "needs_reauthorization");
    assert_eq!((&check["ok"], &check["status"]), (&json!(false), &json!("needs_reauthorization")));
    assert_eq!(check["reason"], "invalid_grant");
    assert_eq!(provider.seen().refreshes, 1);
}

#[tokio::test]
async fn reloading_a_direct_re_authorization_shows_the_same_page_after_a_revoke() {
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    world.pass(Duration::SECOND);
    let back = world.allowed(&world.url(&olivia, json!({ "authorization_id": id })).await, "usr_olivia").await;
    // All but the reference of the request.
    let shown = async || world.open(&back).await.page(200).split("<footer>").next().unwrap().to_owned();
    let first = shown().await;
    let asked = world.provider().token_requests;
    assert_eq!(shown().await, first);
    olivia.delete(&path(&id)).await.is(204);
    for _ in 0..2 {
        assert_eq!(shown().await, first, "what this sign-in came to has not changed");
    }
    world.pass(Duration::minutes(9));
    assert_eq!(shown().await, first);
    assert_eq!(world.provider().token_requests, asked, "a reload starts nothing");
    assert_eq!(olivia.list().await, json!([]));
}

#[tokio::test]
async fn completing_again_after_a_revoke_never_shows_what_is_deleted() {
    let (provider, world, olivia) = empty().await;
    let first = code(&provider, &world, &olivia, json!({})).await;
    let id = olivia.complete(json!({ "code": first })).await.is(201)["id"].as_str().unwrap().to_owned();
    let renewal = code(&provider, &world, &olivia, json!({ "authorization_id": id })).await;
    olivia.complete(json!({ "code": renewal })).await.is(201);
    let seen = provider.seen();

    // The provider is down: the record stays for a while, and says so.
    provider.feels(Mood::Down);
    olivia.delete(&path(&id)).await.is(204);
    for code in [&first, &renewal] {
        let answer = olivia.complete(json!({ "code": code })).await;
        assert!(answer.status == 404 || answer.json()["status"] == "revoking", "{}", answer.text);
    }
    provider.feels(Mood::Well);
    world.pass(Duration::minutes(4));
    for _ in 0..4 {
        world.pass(Duration::minutes(1));
        world.run_schedule().await;
    }
    world.pass(Duration::SECOND);
    olivia.get(&path(&id)).await.refused(404, "authorization_not_found");
    for code in [&first, &renewal] {
        let answer = olivia.complete(json!({ "code": code })).await;
        answer.refused(404, "flow_not_found");
        assert!(!answer.text.contains("deleted"), "{}", answer.text);
    }
    assert_eq!(provider.seen().exchanges, seen.exchanges);

    // And where it is deleted at once.
    let code = code(&provider, &world, &olivia, json!({})).await;
    let id = olivia.complete(json!({ "code": code })).await.is(201)["id"].as_str().unwrap().to_owned();
    olivia.delete(&path(&id)).await.is(204);
    for _ in 0..2 {
        let answer = olivia.complete(json!({ "code": code })).await;
        answer.refused(404, "flow_not_found");
        assert!(!answer.text.contains("deleted"), "{}", answer.text);
    }
    assert_eq!(provider.seen().exchanges, seen.exchanges + 1);
}

#[tokio::test]
async fn a_duplicated_unknown_parameter_at_the_callback_is_refused_and_consumes_nothing() {
    let (provider, world, olivia) = empty().await;
    let direct = provider.come_back(&world.url(&olivia, json!({ "connection_id": "conn_scripted" })).await);
    let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to() });
    let by_redirect = provider.come_back(&world.url(&olivia, body).await);
    for back in [&direct, &by_redirect] {
        for more in ["session_state=1&session_state=2", "foo=1&foo=1", "foo&foo", "f%6Fo=1&foo=2", "=1&=2"] {
            let before = world.calls();
            world.open(&format!("{back}&{more}")).await.page(400);
            assert_eq!(world.calls(), before, "{more}");
        }
    }
    assert_eq!(provider.seen().exchanges, 0);
    world.open(&format!("{direct}&session_state=1&foo=2")).await.page(200);
    let back = world.open(&by_redirect).await;
    assert_eq!(back.status, 303);
    olivia.complete(json!({ "code": back.sent("code") })).await.is(201);
    assert_eq!((provider.seen().exchanges, olivia.list().await.as_array().unwrap().len()), (2, 2));
}

#[tokio::test]
async fn a_filtered_list_finds_a_workflow_and_fills_its_pages_across_others() {
    let (provider, world, olivia) = empty().await;
    let mut all = Vec::new();
    for place in 0..6 {
        let id = world.authorize_at(&provider, &olivia).await;
        world.bind(&olivia, &format!("fl_{place}"), &id).await;
        all.push(id);
        world.pass(Duration::SECOND);
    }
    // The first, third and last end; the others are asked for after their provider has come to its senses.
    provider.feels(Mood::Refusing("invalid_grant"));
    world.pass(Duration::HOUR);
    for place in [0, 2, 5] {
        olivia.token(&all[place], json!({ "workflow_id": format!("fl_{place}") })).await.refused(409, "needs_reauthorization");
    }
    provider.feels(Mood::Well);

    let ids = |list: &Value| list.as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let list = async |query: &str| ids(&olivia.get(&format!("/workflows/authorization?{query}")).await.is(200));
    let of = |places: &[usize]| places.iter().map(|place| all[*place].clone()).collect::<Vec<_>>();
    for place in 0..6 {
        assert_eq!(list(&format!("workflow_id=fl_{place}")).await, of(&[place]));
    }
    assert_eq!(list("workflow_id=fl_unknown").await, of(&[]));
    assert_eq!(list("workflow_id=fl_0&status=active").await, of(&[]));
    assert_eq!(list("workflow_id=fl_0&status=needs_reauthorization").await, of(&[0]));
    assert_eq!(ids(&world.mallory().get("/workflows/authorization?workflow_id=fl_0").await.is(200)), of(&[]));

    assert_eq!(list("status=needs_reauthorization").await, of(&[5, 2, 0]));
    assert_eq!(list("status=needs_reauthorization&limit=1").await, of(&[5]));
    assert_eq!(list("status=needs_reauthorization&limit=2").await, of(&[5, 2]));
    assert_eq!(list("status=needs_reauthorization&limit=3").await, of(&[5, 2, 0]));
    assert_eq!(list("status=active&limit=2").await, of(&[4, 3]));
    assert_eq!(list("status=active&limit=3").await, of(&[4, 3, 1]));

    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    assert_eq!(list("workflow_id=fl_1").await, of(&[]));
}
