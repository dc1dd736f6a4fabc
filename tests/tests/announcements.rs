//! A change of status is announced, with an id by which consumers tell a second delivery from a second change; an announcement that
//! fails changes nothing; and what whoever made a change could not tell is told by the schedule (contract section 11).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::future::join_all;
use local::aws::{Call, Fault, Observer, Ruling, Service};
use serde_json::{Value, json};
use tests::faults::{Gate, Rule, stores_refreshed_tokens};
use tests::provider::{Mood, Provider};
use tests::{Caller, Expect as _, World};
use time::Duration;

async fn scripted() -> (Provider, World, Caller) {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    (provider, world, olivia)
}

/// From which status to which, and why.
fn changes(events: &[Value]) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let change = |event: &Value| (text(&event["detail"]["old_status"]), text(&event["detail"]["status"]), text(&event["detail"]["reason"]));
    events.iter().map(change).collect()
}

fn change(from: &str, to: &str, reason: &str) -> (String, String, String) {
    (from.to_owned(), to.to_owned(), reason.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_of_status_is_one_event_with_an_id_of_its_own() {
    let (provider, world, olivia) = scripted().await;
    let id = world.authorize_at(&provider, &olivia).await;
    world.bind(&olivia, "fl_1", &id).await;
    world.bind(&olivia, "fl_2", &id).await;
    olivia.token(&id, json!({ "workflow_id": "fl_1" })).await.is(200);
    assert_eq!(world.events(&id), Vec::<Value>::new(), "nothing of this changes a status");

    // Its grant ends, and many find out at once.
    provider.end_grants();
    world.pass(Duration::HOUR);
    for answer in join_all((0..10).map(|_| olivia.token(&id, json!({ "workflow_id": "fl_1" })))).await {
        answer.refused(409, "needs_reauthorization");
    }
    world.run_schedule().await;
    assert_eq!(changes(&world.events(&id)), [change("active", "needs_reauthorization", "invalid_grant")]);

    // The person signs in again.
    let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to(), "authorization_id": id });
    let back = world.open(&provider.come_back(&world.url(&olivia, body).await)).await;
    olivia.complete(json!({ "code": back.sent("code") })).await.is(201);

    // It is revoked, three times over.
    for workflow in ["fl_1", "fl_2"] {
        olivia.delete(&format!("/workflows/{workflow}/authorization")).await.is(204);
    }
    for _ in 0..3 {
        olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
    }
    let events = world.events(&id);
    assert_eq!(
        changes(&events),
        [
            change("active", "needs_reauthorization", "invalid_grant"),
            change("needs_reauthorization", "active", "-"),
            change("active", "revoking", "-"),
        ]
    );
    let ids: BTreeSet<&str> = events.iter().map(|event| event["detail"]["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|event| event.starts_with(&id)));

    // What it tells, and what it does not.
    let first = &events[0];
    assert_eq!((&first["source"], &first["bus"]), (&json!("mandate"), &json!("default")));
    assert_eq!(first["detail-type"], "Workflow Authorization Status Change");
    let detail = &first["detail"];
    let expected = json!({ "organization_id": "org_demo", "authorization_id": id, "connection_id": "conn_scripted", "workflow_count": 2 });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&detail[field], value, "{field}");
    }
    assert_eq!(detail["owner"]["subject"], "usr_olivia");
    assert_eq!(detail["workflows"].as_array().unwrap().iter().map(Value::to_string).collect::<BTreeSet<_>>().len(), 2);
    assert!(detail["request_id"].as_str().is_some_and(|id| !id.is_empty()));
    let fields: Vec<&str> = detail.as_object().unwrap().keys().map(String::as_str).collect();
    let mut told = [
        "id",
        "occurred_at",
        "organization_id",
        "authorization_id",
        "connection_id",
        "old_status",
        "status",
        "reason",
        "owner",
        "user_id",
        "workflows",
        "workflow_count",
        "reauthorize_by",
        "request_id",
    ];
    told.sort_unstable();
    assert_eq!(fields, told, "no more than this");
    assert!(!detail.to_string().contains('@'), "no e-mail");
}

#[tokio::test]
async fn an_authorization_that_had_ended_is_revoked_from_there_and_the_schedule_announces_too() {
    let (provider, world, olivia) = scripted().await;
    let id = world.authorize_at(&provider, &olivia).await;
    provider.end_grants();
    world.pass(Duration::days(30));
    world.run_schedule().await;
    olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
    let told = changes(&world.events(&id));
    assert_eq!(
        told.iter().map(|(from, to, _)| (from.as_str(), to.as_str())).collect::<Vec<_>>(),
        [("active", "needs_reauthorization"), ("needs_reauthorization", "revoking"),]
    );
}

#[tokio::test]
async fn a_lost_answer_of_the_bus_is_a_second_delivery_of_the_same_id() {
    let (provider, world, olivia) = scripted().await;
    let id = world.authorize_at(&provider, &olivia).await;
    let asked = AtomicUsize::new(0);
    let lose_the_first = move |call: &Call<'_>| {
        let lost = call.service == Service::EventBridge && asked.fetch_add(1, Ordering::SeqCst) == 0;
        if lost { Ruling::RefuseAfter(Fault::new(500, "InternalException", "lost")) } else { Ruling::Pass }
    };
    world.aws().observe(Some(Arc::new(Rule(lose_the_first))));
    olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
    let events = world.events(&id);
    assert_eq!(changes(&events), [change("active", "revoking", "-"), change("active", "revoking", "-")]);
    assert_eq!(events[0]["detail"], events[1]["detail"], "consumers tell by the id");
    assert_ne!(events[0]["id"], events[1]["id"], "EventBridge's own id is of the delivery");
}

#[tokio::test]
async fn a_bus_that_does_not_take_an_announcement_holds_up_no_change() {
    let (provider, world, olivia) = scripted().await;
    let refusals = [
        Ruling::Refuse(Fault::new(400, "AccessDeniedException", "no")),
        Ruling::HangUp,
        // EventBridge succeeds, and says by entry what it did not take.
        Ruling::Answer(json!({ "FailedEntryCount": 1, "Entries": [{ "ErrorCode": "ThrottlingException", "ErrorMessage": "later" }] })),
    ];
    for refusal in refusals {
        let id = world.authorize_at(&provider, &olivia).await;
        let rule = move |call: &Call<'_>| if call.service == Service::EventBridge { refusal.clone() } else { Ruling::Pass };
        world.aws().observe(Some(Arc::new(Rule(rule))));
        olivia.delete(&format!("/workflows/authorization/{id}")).await.is(204);
        world.aws().observe(None);
        olivia.get(&format!("/workflows/authorization/{id}")).await.refused(404, "authorization_not_found");
        assert_eq!(world.events(&id), Vec::<Value>::new());
    }
}

/// From the first event on nothing of what anybody sends arrives at AWS: as if whoever was about to put it had died.
#[derive(Default)]
struct Death {
    /// Whether the event itself still arrives.
    told: bool,
    dead: AtomicBool,
}

#[async_trait]
impl Observer for Death {
    async fn before(&self, call: Call<'_>) -> Ruling {
        let tells = call.service == Service::EventBridge;
        let was_dead = self.dead.fetch_or(tells, Ordering::SeqCst);
        if was_dead || (tells && !self.told) { Ruling::HangUp } else { Ruling::Pass }
    }
}

fn path(id: &str) -> String {
    format!("/workflows/authorization/{id}")
}

fn fl_1() -> Value {
    json!({ "workflow_id": "fl_1" })
}

/// The names of the changes that were announced, without the authorization.
fn versions(world: &World, id: &str) -> Vec<u64> {
    let name = |event: &Value| event["detail"]["id"].as_str().unwrap().strip_prefix(&format!("{id}.")).unwrap().parse().unwrap();
    world.events(id).iter().map(name).collect()
}

/// What of a world changes a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    EndAtAHandOut,
    EndAtTheSchedule,
    EndOfATokenWithoutSuccessor,
    Revocation,
    RevocationThatTheProviderDoesNotTake,
    Reauthorization,
    Rescue,
}

const KINDS: [Kind; 7] = [
    Kind::EndAtAHandOut,
    Kind::EndAtTheSchedule,
    Kind::EndOfATokenWithoutSuccessor,
    Kind::Revocation,
    Kind::RevocationThatTheProviderDoesNotTake,
    Kind::Reauthorization,
    Kind::Rescue,
];

impl Kind {
    /// From what to what, and the version since.
    fn change(self) -> (&'static str, &'static str, u64) {
        match self {
            Self::EndAtAHandOut | Self::EndAtTheSchedule | Self::EndOfATokenWithoutSuccessor => ("active", "needs_reauthorization", 2),
            Self::Revocation | Self::RevocationThatTheProviderDoesNotTake => ("active", "revoking", 2),
            Self::Reauthorization | Self::Rescue => ("needs_reauthorization", "active", 3),
        }
    }
}

async fn end(provider: &Provider, world: &World, olivia: &Caller, id: &str) {
    provider.end_grants();
    world.pass(Duration::HOUR);
    olivia.token(id, fl_1()).await.refused(409, "needs_reauthorization");
}

async fn sign_in_again(provider: &Provider, world: &World, olivia: &Caller, id: &str) {
    let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to(), "authorization_id": id });
    let back = world.open(&provider.come_back(&world.url(olivia, body).await)).await;
    olivia.complete(json!({ "code": back.sent("code") })).await.is(201);
}

/// Somebody has taken the lease of a refresh over that could not be stored, and found the token spent: its successor waits in the
/// rescue queue.
async fn end_of_what_is_rescued(world: &World, olivia: &Caller, id: &str) {
    let held = Gate::of(stores_refreshed_tokens);
    world.aws().observe(Some(Arc::clone(&held) as _));
    world.pass(Duration::HOUR);
    let takeover = async {
        held.arrival().await;
        world.pass(Duration::seconds(41));
        assert_eq!(world.run_schedule().await["needs_reauthorization"], 1);
        held.open();
    };
    tokio::join!(olivia.token(id, fl_1()), takeover).0.refused(409, "needs_reauthorization");
    assert_eq!(olivia.one(id).await["reason"], "outcome_unknown");
}

/// Changes the status of a new authorization in this way while `observer` looks; events of what came before are there already.
async fn changed(kind: Kind, observer: Arc<dyn Observer>) -> (Provider, World, Caller, String) {
    let (provider, world, olivia) = scripted().await;
    if kind == Kind::EndOfATokenWithoutSuccessor {
        provider.script(|script| script.refresh_tokens = false);
    }
    let id = world.authorize_at(&provider, &olivia).await;
    world.bind(&olivia, "fl_1", &id).await;
    match kind {
        Kind::EndAtAHandOut | Kind::EndOfATokenWithoutSuccessor => {
            world.aws().observe(Some(observer));
            end(&provider, &world, &olivia, &id).await;
        }
        Kind::EndAtTheSchedule => {
            provider.end_grants();
            world.pass(Duration::days(30));
            world.aws().observe(Some(observer));
            world.run_schedule().await;
        }
        Kind::Revocation | Kind::RevocationThatTheProviderDoesNotTake => {
            olivia.delete("/workflows/fl_1/authorization").await.is(204);
            if kind == Kind::RevocationThatTheProviderDoesNotTake {
                provider.feels(Mood::Down);
            }
            world.aws().observe(Some(observer));
            olivia.delete(&path(&id)).await.is(204);
            provider.feels(Mood::Well);
        }
        Kind::Reauthorization => {
            end(&provider, &world, &olivia, &id).await;
            world.aws().observe(Some(observer));
            sign_in_again(&provider, &world, &olivia, &id).await;
        }
        Kind::Rescue => {
            end_of_what_is_rescued(&world, &olivia, &id).await;
            world.aws().observe(Some(observer));
            world.run_schedule().await;
        }
    }
    world.aws().observe(None);
    (provider, world, olivia, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_maker_dies_before_telling_is_told_by_the_schedule_under_the_same_id() {
    for kind in KINDS {
        let (_provider, world, _olivia, id) = changed(kind, Arc::new(Death::default())).await;
        let (from, to, version) = kind.change();
        assert!(!versions(&world, &id).contains(&version), "{kind:?}: nobody was told");
        world.pass(Duration::minutes(6));
        world.run_schedule().await;
        let events = world.events(&id);
        let told = events.last().unwrap();
        assert_eq!(versions(&world, &id).last(), Some(&version), "{kind:?}");
        assert_eq!((&told["detail"]["old_status"], &told["detail"]["status"]), (&json!(from), &json!(to)), "{kind:?}");
        assert_eq!(told["detail"]["owner"]["subject"], "usr_olivia");
        // Whatever is left to do of it, telling is not.
        for _ in 0..3 {
            world.pass(Duration::minutes(20));
            world.run_schedule().await;
        }
        assert_eq!(world.events(&id).len(), events.len(), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_maker_dies_after_telling_is_told_again_under_the_same_id() {
    for kind in KINDS {
        let (_provider, world, _olivia, id) = changed(kind, Arc::new(Death { told: true, ..Death::default() })).await;
        let (.., version) = kind.change();
        assert_eq!(versions(&world, &id).iter().filter(|told| **told == version).count(), 1, "{kind:?}");
        world.pass(Duration::minutes(6));
        world.run_schedule().await;
        world.pass(Duration::minutes(6));
        world.run_schedule().await;
        let events = world.events(&id);
        let same: Vec<&Value> = events.iter().filter(|event| event["detail"]["id"] == format!("{id}.{version}")).collect();
        assert_eq!(same.len(), 2, "{kind:?}");
        for field in ["old_status", "status", "reason", "occurred_at", "owner"] {
            assert_eq!(same[0]["detail"][field], same[1]["detail"][field], "{kind:?} {field}");
        }
        let ids: BTreeSet<u64> = versions(&world, &id).into_iter().collect();
        assert_eq!(ids.len() + 1, events.len(), "{kind:?}: no other was told twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_to_tell_where_nobody_dies() {
    for kind in KINDS {
        let (provider, world, _olivia, id) = changed(kind, Arc::new(Rule(|_: &Call<'_>| Ruling::Pass))).await;
        let (.., version) = kind.change();
        assert_eq!(versions(&world, &id).last(), Some(&version), "{kind:?}");
        let (told, refreshes) = (world.events(&id).len(), provider.seen().refreshes);
        // What the provider has not revoked is due again in any case.
        for wait in if kind == Kind::RevocationThatTheProviderDoesNotTake { vec![9, 9] } else { vec![2, 10] } {
            world.pass(Duration::minutes(wait));
            let report = world.run_schedule().await;
            assert!(kind == Kind::RevocationThatTheProviderDoesNotTake || report["due"] == 0, "{kind:?}: {report}");
        }
        assert_eq!((world.events(&id).len(), provider.seen().refreshes), (told, refreshes), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_bus_is_down_everything_goes_on_and_once_it_is_back_all_is_told_in_order() {
    let (provider, world, olivia) = scripted().await;
    let id = world.authorize_at(&provider, &olivia).await;
    world.bind(&olivia, "fl_1", &id).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let puts = Arc::clone(&asked);
    let down = move |call: &Call<'_>| match call.service {
        Service::EventBridge => {
            puts.fetch_add(1, Ordering::SeqCst);
            Ruling::Refuse(Fault::new(400, "AccessDeniedException", "no"))
        }
        _ => Ruling::Pass,
    };
    world.aws().observe(Some(Arc::new(Rule(down))));

    // It ends. For two hours the schedule comes by every minute, and tries less and less often.
    end(&provider, &world, &olivia, &id).await;
    for _ in 0..120 {
        world.pass(Duration::MINUTE);
        let report = world.run_schedule().await;
        assert_eq!((&report["failed"], &report["needs_reauthorization"]), (&json!(0), &json!(0)));
        assert_eq!(report["deferred"], report["due"], "it is due for nothing else");
    }
    assert!((5..=12).contains(&asked.load(Ordering::SeqCst)), "{asked:?} tries");

    // It is active again, refreshed, handed out and bound as ever, ends once more, and is revoked in the end.
    sign_in_again(&provider, &world, &olivia, &id).await;
    assert_eq!(olivia.token(&id, fl_1()).await.is(200)["generation"], 2);
    world.pass(Duration::minutes(3));
    let before = provider.seen().refreshes;
    for _ in 0..20 {
        world.pass(Duration::MINUTE);
        world.run_schedule().await;
    }
    assert_eq!(provider.seen().refreshes, before, "a bus that is down is no reason to refresh");
    world.pass(Duration::minutes(36));
    assert_eq!(world.run_schedule().await["refreshed"], 1, "nor a reason not to");
    assert_eq!(olivia.token(&id, fl_1()).await.is(200)["generation"], 3);
    end(&provider, &world, &olivia, &id).await;
    sign_in_again(&provider, &world, &olivia, &id).await;
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    olivia.delete(&path(&id)).await.is(204);
    olivia.get(&path(&id)).await.refused(404, "authorization_not_found");
    assert_eq!(world.events(&id), Vec::<Value>::new());

    world.aws().observe(None);
    world.pass(Duration::HOUR);
    world.run_schedule().await;
    let told = changes(&world.events(&id));
    let expected = [
        change("active", "needs_reauthorization", "invalid_grant"),
        change("needs_reauthorization", "active", "-"),
        change("active", "needs_reauthorization", "invalid_grant"),
        change("needs_reauthorization", "active", "-"),
        change("active", "revoking", "-"),
    ];
    assert_eq!(told, expected);
    assert!(versions(&world, &id).is_sorted_by(|a, b| a < b));
    world.pass(Duration::HOUR);
    assert_eq!(world.run_schedule().await["due"], 0, "the tombstone has nothing left to tell");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_often_a_record_is_refreshed_what_it_has_to_tell_waits_for_a_minute_only() {
    let (provider, world, olivia, id) = changed(Kind::Reauthorization, Arc::new(Death::default())).await;
    let mut generation = 2;
    for _ in 0..6 {
        world.pass(Duration::seconds(20));
        let body = json!({ "workflow_id": "fl_1", "rejected_generation": generation });
        generation = olivia.token(&id, body).await.is(200)["generation"].as_u64().unwrap();
    }
    let refreshes = provider.seen().refreshes;
    world.run_schedule().await;
    assert_eq!(versions(&world, &id), [2, 3]);
    assert_eq!(provider.seen().refreshes, refreshes, "it is due for nothing else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telling_costs_a_change_one_more_write_and_a_revocation_none() {
    let (provider, world, olivia) = scripted().await;
    let id = world.authorize_at(&provider, &olivia).await;
    world.bind(&olivia, "fl_1", &id).await;
    // The keys are warm then.
    olivia.token(&id, fl_1()).await.is(200);
    olivia.token(&id, json!({ "workflow_id": "fl_1", "rejected_generation": 1 })).await.is(200);
    provider.end_grants();
    let before = world.calls().dynamodb;
    olivia.token(&id, json!({ "workflow_id": "fl_1", "rejected_generation": 2 })).await.refused(409, "needs_reauthorization");
    // Read, claimed, ended, told with the bound workflows, noted.
    assert_eq!(world.calls().dynamodb - before, 5);
    let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to(), "authorization_id": id });
    let code = world.open(&provider.come_back(&world.url(&olivia, body).await)).await.sent("code");
    let before = world.calls().dynamodb;
    olivia.complete(json!({ "code": code })).await.is(201);
    // Read, claimed, stored, told with the bound workflows, noted.
    assert_eq!(world.calls().dynamodb - before, 5);
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    let before = world.calls().dynamodb;
    olivia.delete(&path(&id)).await.is(204);
    assert_eq!(world.calls().dynamodb - before, 2);
    assert_eq!(versions(&world, &id).len(), 3);
}
