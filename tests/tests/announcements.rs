//! A change of status is announced once, with an id by which consumers tell a second delivery from a second change; and an
//! announcement that fails changes nothing (contract section 11).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use local::aws::{Call, Fault, Ruling, Service};
use serde_json::{Value, json};
use tests::faults::Rule;
use tests::provider::Provider;
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
