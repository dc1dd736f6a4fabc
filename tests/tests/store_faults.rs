//! Every route that changes something, against everything that DynamoDB and the way to it can do to any of its requests: collisions,
//! throttling, faults, broken connections, lost answers. Emulators do none of this by themselves, so it is done to requests on the
//! wire. What was asked for is done exactly once or not at all, and after `503` the same request again does it.
//!
//! 1. Each route is run once without a fault: its requests are counted, its answer and what it leaves behind are the reference.
//! 2. Then each fault strikes each of these requests, once. Answer and end must be those of the reference.
//! 3. Then the table fails from each of these requests on. The end must be that of the reference, or nothing may have changed; and
//!    when the table is back, asking again must come to the end of the reference.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use local::aws::{Call, Fault, Observer, Ruling, Service};
use local::client::Answer;
use reqwest::Method;
use serde_json::{Value, json};
use tests::provider::{Mood, Provider, Seen};
use tests::table::{self, Records};
use tests::{Caller, Expect as _, ManualClock, World};
use time::Duration;

/// A change that somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Bind,
    BindElsewhere,
    BindWithOtherScopes,
    Unbind,
    Replace,
    Revoke,
    HandOutFirst,
    HandOutStale,
    Check,
    Complete,
    CompleteAgain,
    Callback,
    CallbackRefused,
    ScheduledRefresh,
    ScheduledRevocation,
}

/// What befalls a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Collides,
    IsThrottled,
    ExceedsThroughput,
    ExceedsRequests,
    MeetsAnInternalError,
    MeetsAnUnavailableService,
    IsCutOff,
    LosesItsAnswer,
    LosesItsConnection,
}

impl Blow {
    const ALL: [Self; 9] = [
        Self::Collides,
        Self::IsThrottled,
        Self::ExceedsThroughput,
        Self::ExceedsRequests,
        Self::MeetsAnInternalError,
        Self::MeetsAnUnavailableService,
        Self::IsCutOff,
        Self::LosesItsAnswer,
        Self::LosesItsConnection,
    ];

    /// As DynamoDB says it to this request: a transaction tells it item by item.
    fn strike(self, call: &Call<'_>) -> Ruling {
        let single = |status, kind| Ruling::Refuse(Fault::new(status, kind, "x"));
        let Some(items) = call.request["TransactItems"].as_array() else {
            let writes = matches!(call.operation, "PutItem" | "UpdateItem" | "DeleteItem");
            return match self {
                Self::Collides if writes => single(400, "TransactionConflictException"),
                Self::Collides | Self::IsThrottled => single(400, "ThrottlingException"),
                Self::ExceedsThroughput => single(400, "ProvisionedThroughputExceededException"),
                other => other.strike_whole(),
            };
        };
        let cancelled = |code: &str| {
            let mut reasons = vec![json!({ "Code": "None" }); items.len()];
            reasons[items.len() - 1] = json!({ "Code": code, "Message": "x" });
            Ruling::Refuse(Fault::new(400, "TransactionCanceledException", "x").with("CancellationReasons", json!(reasons)))
        };
        match self {
            Self::Collides => cancelled("TransactionConflict"),
            Self::IsThrottled => cancelled("ThrottlingError"),
            Self::ExceedsThroughput => cancelled("ProvisionedThroughputExceeded"),
            other => other.strike_whole(),
        }
    }

    fn strike_whole(self) -> Ruling {
        match self {
            Self::Collides | Self::IsThrottled | Self::ExceedsThroughput | Self::ExceedsRequests => {
                Ruling::Refuse(Fault::new(400, "RequestLimitExceeded", "x"))
            }
            Self::MeetsAnInternalError => Ruling::Refuse(Fault::new(500, "InternalServerError", "x")),
            Self::MeetsAnUnavailableService => Ruling::Refuse(Fault::new(503, "ServiceUnavailable", "x")),
            Self::IsCutOff => Ruling::HangUp,
            Self::LosesItsAnswer => Ruling::RefuseAfter(Fault::new(500, "InternalServerError", "x")),
            Self::LosesItsConnection => Ruling::HangUpAfter,
        }
    }
}

/// Strikes the nth request of a route, or every one from there on; and remembers the transactions.
struct Striker {
    route: Route,
    blow: Blow,
    nth: usize,
    for_ever: Option<Arc<ManualClock>>,
    seen: Mutex<usize>,
    transactions: Mutex<Vec<(String, String)>>,
}

#[async_trait]
impl Observer for Striker {
    async fn before(&self, call: Call<'_>) -> Ruling {
        if !self.route.sends(&call) {
            return Ruling::Pass;
        }
        if let Some(token) = call.request["ClientRequestToken"].as_str() {
            self.transactions.lock().unwrap().push((token.to_owned(), call.request["TransactItems"].to_string()));
        }
        let at = {
            let mut seen = self.seen.lock().unwrap();
            *seen += 1;
            *seen - 1
        };
        match &self.for_ever {
            // Time passes with each try, so that whoever tries again comes to the end of their patience.
            Some(clock) if at >= self.nth => {
                clock.advance(Duration::seconds(2));
                self.blow.strike(&call)
            }
            None if at == self.nth => self.blow.strike(&call),
            _ => Ruling::Pass,
        }
    }
}

impl Striker {
    /// A transaction keeps its token when it is sent again, and no two share one.
    fn distinct_transactions(&self) -> usize {
        let transactions = self.transactions.lock().unwrap();
        let by_token: BTreeMap<_, BTreeSet<_>> = transactions.iter().fold(BTreeMap::new(), |mut all, (token, items)| {
            all.entry(token).or_insert_with(BTreeSet::new).insert(items);
            all
        });
        assert!(by_token.values().all(|items| items.len() == 1), "a token stands for one transaction");
        by_token.len()
    }
}

/// A request, ready to be sent, and whom it concerns.
struct Prepared {
    send: Send,
    authorizations: Vec<String>,
    workflows: Vec<String>,
}

enum Send {
    Api(Method, String, Option<Value>),
    Browser(String),
    Schedule,
}

/// What a request leaves behind, without the ids.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    /// Each authorization: status, generation, what it counts, how many ciphertexts it has.
    authorizations: Vec<(String, String, String, usize)>,
    /// To which of them each workflow is bound.
    workflows: Vec<Option<usize>>,
    /// How many authorizations there are that were not there before.
    new: usize,
}

struct Scene {
    route: Route,
    provider: Provider,
    world: World,
    olivia: Caller,
    made: usize,
}

impl Route {
    /// Whether a request is one of the route's own. A scheduled run looks into 32 shards first; those looks are not its matter here.
    fn sends(self, call: &Call<'_>) -> bool {
        let looks = matches!(self, Self::ScheduledRefresh | Self::ScheduledRevocation) && call.operation == "Query";
        call.service == Service::DynamoDb && !looks
    }

    /// Whether asking again when the table is back has to come to the end of the reference. A code is sent once only.
    fn can_be_repeated(self) -> bool {
        !matches!(self, Self::Complete | Self::CompleteAgain | Self::Callback)
    }
}

impl Scene {
    async fn set(route: Route) -> Self {
        let provider = Provider::start().await;
        let world = World::with_provider(&provider).await;
        let scene = Self { route, olivia: world.olivia(), provider, world, made: 0 };
        // The first sign-in of an organization makes its branch key, besides.
        scene.authorize().await;
        scene
    }

    fn workflow(&mut self) -> String {
        self.made += 1;
        format!("fl_{}", self.made)
    }

    async fn authorize(&self) -> String {
        self.world.pass(Duration::SECOND);
        self.world.authorize_at(&self.provider, &self.olivia).await
    }

    async fn bind(&self, workflow: &str, id: &str) {
        let body = json!({ "authorization_id": id, "required_scopes": ["email"] });
        self.olivia.put(&format!("/workflows/{workflow}/authorization"), body).await.is(200);
    }

    async fn come_back(&self, more: Value) -> String {
        let mut body = json!({ "connection_id": "conn_scripted" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.provider.come_back(&self.world.url(&self.olivia, body).await)
    }

    async fn code(&self, more: Value) -> Value {
        let mut more = more;
        more["redirect_uri"] = json!(self.world.return_to());
        json!({ "code": self.world.open(&self.come_back(more).await).await.sent("code").unwrap() })
    }

    /// Everything up to the request.
    async fn prepare(&mut self) -> Prepared {
        let put = |workflow: &str, body| Send::Api(Method::PUT, format!("/workflows/{workflow}/authorization"), Some(body));
        let post = |path: String, body| Send::Api(Method::POST, path, Some(body));
        let id = match self.route {
            Route::Complete | Route::Callback | Route::CallbackRefused => None,
            _ => Some(self.authorize().await),
        };
        let (workflow, id) = (self.workflow(), id.unwrap_or_default());
        let mut authorizations = vec![id.clone()];
        let mut workflows = vec![workflow.clone()];
        let path = format!("/workflows/authorization/{id}");
        let token = json!({ "workflow_id": workflow });
        let send = match self.route {
            Route::Bind => put(&workflow, json!({ "authorization_id": id, "required_scopes": ["openid"] })),
            Route::BindElsewhere => {
                self.bind(&workflow, &id).await;
                authorizations.push(self.authorize().await);
                put(&workflow, json!({ "authorization_id": authorizations[1], "required_scopes": ["openid"] }))
            }
            Route::BindWithOtherScopes => {
                self.bind(&workflow, &id).await;
                put(&workflow, json!({ "authorization_id": id, "required_scopes": ["openid"] }))
            }
            Route::Unbind => {
                self.bind(&workflow, &id).await;
                Send::Api(Method::DELETE, format!("/workflows/{workflow}/authorization"), None)
            }
            Route::Replace => {
                workflows.extend([self.workflow(), self.workflow()]);
                for workflow in &workflows {
                    self.bind(workflow, &id).await;
                }
                authorizations.push(self.authorize().await);
                post(format!("{path}/replace"), json!({ "authorization_id": authorizations[1] }))
            }
            Route::Revoke => Send::Api(Method::DELETE, path, None),
            Route::HandOutFirst => {
                self.bind(&workflow, &id).await;
                post(format!("{path}/token"), token)
            }
            Route::HandOutStale => {
                self.bind(&workflow, &id).await;
                self.world.pass(Duration::HOUR);
                post(format!("{path}/token"), token)
            }
            Route::Check => post(format!("{path}/check"), json!({})),
            Route::Complete => {
                authorizations.clear();
                post("/workflows/authorization/complete".to_owned(), self.code(json!({})).await)
            }
            Route::CompleteAgain => {
                self.bind(&workflow, &id).await;
                post("/workflows/authorization/complete".to_owned(), self.code(json!({ "authorization_id": id })).await)
            }
            Route::Callback => {
                authorizations.clear();
                Send::Browser(self.come_back(json!({})).await)
            }
            Route::CallbackRefused => {
                authorizations.clear();
                let back = self.come_back(json!({})).await;
                let (before, state) = back.split_once("code=").unwrap();
                Send::Browser(format!("{before}error=access_denied&{}", state.split_once('&').unwrap().1))
            }
            Route::ScheduledRefresh => {
                self.bind(&workflow, &id).await;
                self.olivia.token(&id, token).await.is(200);
                self.world.pass(Duration::minutes(59));
                Send::Schedule
            }
            Route::ScheduledRevocation => {
                self.provider.feels(Mood::Down);
                self.olivia.delete(&path).await.is(204);
                self.provider.feels(Mood::Well);
                self.world.pass(Duration::HOUR);
                Send::Schedule
            }
        };
        Prepared { send, authorizations, workflows }
    }

    async fn send(&self, prepared: &Prepared) -> Option<Answer> {
        match &prepared.send {
            Send::Api(method, path, body) => Some(self.olivia.call(method.clone(), path, body.clone()).await),
            Send::Browser(url) => Some(self.world.open(url).await),
            Send::Schedule => {
                self.world.run_schedule().await;
                None
            }
        }
    }

    async fn end(&self, prepared: &Prepared, before: &Records) -> End {
        let records = self.world.records().await;
        records.are_counted_exactly();
        let authorizations = prepared.authorizations.iter().map(|id| {
            let item = records.authorization(id).unwrap();
            let counts = format!("{} {:?}", records.count(id), item["required_scopes"].as_m().unwrap().iter().collect::<BTreeMap<_, _>>());
            let ciphertexts = ["sealed_access", "sealed_refresh"].iter().filter(|name| item.contains_key(**name)).count();
            (table::text(item, "status").to_owned(), item["generation"].as_n().unwrap().clone(), counts, ciphertexts)
        });
        let bindings = records.bindings();
        let place = |workflow: &String| {
            let id = bindings.get(workflow)?;
            prepared.authorizations.iter().position(|known| known == id)
        };
        let number = |records: &Records| records.items().iter().filter(|item| table::text(item, "sk") == "AUTH").count();
        End {
            authorizations: authorizations.collect(),
            workflows: prepared.workflows.iter().map(place).collect(),
            new: number(&records) - number(before),
        }
    }

    fn striker(&self, blow: Blow, nth: usize, for_ever: bool) -> Arc<Striker> {
        let for_ever = for_ever.then(|| Arc::clone(&self.world.clock));
        let (seen, transactions) = (Mutex::default(), Mutex::default());
        let striker = Arc::new(Striker { route: self.route, blow, nth, for_ever, seen, transactions });
        self.world.aws().observe(Some(Arc::clone(&striker) as _));
        striker
    }
}

/// What is asked of the provider in between.
fn asked(before: Seen, after: Seen) -> [u64; 3] {
    [after.exchanges - before.exchanges, after.refreshes - before.refreshes, after.revocations - before.revocations]
}

/// All of it for one route; how many cases there were.
async fn put_through(route: Route) -> usize {
    let mut scene = Scene::set(route).await;

    // 1. The reference.
    let prepared = scene.prepare().await;
    let (records, seen) = (scene.world.records().await, scene.provider.seen());
    let untouched = scene.end(&prepared, &records).await;
    let striker = scene.striker(Blow::Collides, usize::MAX, false);
    let status = scene.send(&prepared).await.map(|answer| answer.status);
    scene.world.aws().observe(None);
    let requests = *striker.seen.lock().unwrap();
    let transactions = striker.distinct_transactions();
    let (reference, cost) = (scene.end(&prepared, &records).await, asked(seen, scene.provider.seen()));
    assert!(requests > 0 && (reference != untouched || matches!(route, Route::HandOutFirst | Route::CallbackRefused)), "{route:?}");

    // 2. Each fault, once.
    for nth in 0..requests {
        for blow in Blow::ALL {
            let case = format!("{route:?}: request {nth} {blow:?}");
            scene.world.clear_table().await;
            let prepared = scene.prepare().await;
            let (records, seen) = (scene.world.records().await, scene.provider.seen());
            let striker = scene.striker(blow, nth, false);
            let answer = scene.send(&prepared).await;
            scene.world.aws().observe(None);
            assert!(*striker.seen.lock().unwrap() > nth, "{case}: it was struck");
            assert_eq!(answer.as_ref().map(|answer| answer.status), status, "{case}: {:?}", answer.map(|answer| answer.text));
            assert_eq!(scene.end(&prepared, &records).await, reference, "{case}");
            assert_eq!(asked(seen, scene.provider.seen()), cost, "{case}: the provider");
            assert_eq!(striker.distinct_transactions(), transactions, "{case}");
        }
    }

    // 3. The table is gone from a request on.
    let for_ever = [Blow::Collides, Blow::IsCutOff, Blow::LosesItsAnswer];
    for nth in 0..requests {
        for blow in for_ever {
            let case = format!("{route:?}: {blow:?} for ever from request {nth} on");
            scene.world.clear_table().await;
            let prepared = scene.prepare().await;
            let records = scene.world.records().await;
            let untouched = scene.end(&prepared, &records).await;
            scene.striker(blow, nth, true);
            let answer = scene.send(&prepared).await;
            scene.world.aws().observe(None);
            if let Some(answer) = &answer
                && answer.status == 503
            {
                assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{case}");
                let code = answer.json()["code"].as_str().unwrap_or("a page").to_owned();
                assert!(["store_unavailable", "server_error", "a page"].contains(&code.as_str()), "{case}: {code}");
            } else {
                // Whoever has what they came for need not know that the table was gone.
                assert_eq!(answer.as_ref().map(|answer| answer.status), status, "{case}: {:?}", answer.map(|answer| answer.text));
            }
            let end = scene.end(&prepared, &records).await;
            assert!(end == untouched || end == reference || on_the_way(route, &end), "{case}: {end:?}");

            // The table is back. A lease that nobody gave back ends, and the schedule finishes what was begun.
            for meanwhile in [Duration::minutes(8), Duration::seconds(30)] {
                scene.world.pass(meanwhile);
                scene.world.run_schedule().await;
            }
            if route.can_be_repeated() {
                let answer = scene.send(&prepared).await.map(|answer| answer.status);
                assert!(answer == status || (route == Route::Unbind && answer == Some(404)), "{case}: {answer:?} when it is back");
                let mut end = scene.end(&prepared, &records).await;
                if route == Route::Check {
                    // It proves by refreshing, every time anew.
                    end.authorizations[0].1.clone_from(&reference.authorizations[0].1);
                }
                assert_eq!(end, reference, "{case}: when it is back");
            } else {
                let end = scene.end(&prepared, &records).await;
                assert!(end == untouched || end == reference, "{case}: {end:?} when it is back");
            }
        }
    }
    requests * (Blow::ALL.len() + for_ever.len())
}

/// A revocation that the provider has not heard of yet, or whose end is not stored: the schedule's to finish.
fn on_the_way(route: Route, end: &End) -> bool {
    matches!(route, Route::Revoke | Route::ScheduledRevocation) && end.authorizations[0].0 == "revoking"
}

async fn put_all_through(routes: &[Route], at_least: usize) {
    let mut cases = 0;
    for route in routes {
        cases += put_through(*route).await;
    }
    assert!(cases >= at_least, "{cases} cases");
}

#[tokio::test]
async fn a_bind_is_done_once_or_not_at_all() {
    put_all_through(&[Route::Bind, Route::BindElsewhere, Route::BindWithOtherScopes], 60).await;
}

#[tokio::test]
async fn an_unbind_is_done_once_or_not_at_all() {
    put_all_through(&[Route::Unbind], 24).await;
}

#[tokio::test]
async fn a_replace_is_done_once_or_not_at_all() {
    put_all_through(&[Route::Replace], 60).await;
}

#[tokio::test]
async fn a_revocation_is_done_once_or_not_at_all() {
    put_all_through(&[Route::Revoke, Route::ScheduledRevocation], 48).await;
}

#[tokio::test]
async fn a_hand_out_refreshes_once_or_not_at_all() {
    put_all_through(&[Route::HandOutFirst, Route::HandOutStale], 60).await;
}

#[tokio::test]
async fn a_check_refreshes_once_or_not_at_all() {
    put_all_through(&[Route::Check], 36).await;
}

#[tokio::test]
async fn a_sign_in_is_stored_once_or_not_at_all() {
    put_all_through(&[Route::Complete, Route::Callback, Route::CallbackRefused], 72).await;
}

#[tokio::test]
async fn a_second_sign_in_is_stored_once_or_not_at_all() {
    put_all_through(&[Route::CompleteAgain], 36).await;
}

#[tokio::test]
async fn a_scheduled_refresh_is_done_once_or_not_at_all() {
    put_all_through(&[Route::ScheduledRefresh], 24).await;
}
