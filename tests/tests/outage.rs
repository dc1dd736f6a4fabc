//! A provider that is down, overloaded, in the hands of a captive portal, or does not know our client any more: nobody is called back
//! to sign in, tokens that are valid are handed out, the provider is left alone, and everything recovers (design section 5).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::provider::{Mood, Provider};
use tests::{Caller, Expect as _, Setup, World};
use time::Duration;

/// How long a provider that never answers is waited for. Ten seconds would be waited for in earnest.
const NOT_LONG: std::time::Duration = std::time::Duration::from_millis(150);

/// Authorizations of Olivia at the scripted provider, each in use by a workflow of its own.
async fn in_use(number: usize) -> (Provider, World, Caller, Vec<String>) {
    in_use_within(number, None).await
}

async fn in_use_within(number: usize, provider_time: Option<std::time::Duration>) -> (Provider, World, Caller, Vec<String>) {
    let provider = Provider::start().await;
    let setup = World::setup(&provider, provider.connection("conn_scripted"));
    let world = World::with(Setup { provider_time, ..setup }).await;
    let olivia = world.olivia();
    let mut ids = Vec::new();
    for index in 0..number {
        let id = world.authorize_at(&provider, &olivia).await;
        world.bind(&olivia, &format!("fl_{index}"), &id).await;
        olivia.token(&id, json!({ "workflow_id": format!("fl_{index}") })).await.is(200);
        ids.push(id);
    }
    (provider, world, olivia, ids)
}

async fn statuses(olivia: &Caller) -> Vec<String> {
    let list = olivia.list().await;
    list.as_array().unwrap().iter().map(|a| a["status"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn half_an_hour_of_any_outage_ends_no_authorization_and_is_over_when_it_is_over() {
    for mood in [
        Mood::Down,
        Mood::Overloaded(20),
        Mood::Page,
        Mood::BrokenOff,
        Mood::Silent,
        Mood::Refusing("invalid_client"),
        Mood::Refusing("unauthorized_client"),
        Mood::Refusing("temporarily_unavailable"),
        Mood::Refusing("server_error"),
        Mood::Refusing("unsupported_grant_type"),
        Mood::Refusing("invalid_request"),
    ] {
        let (provider, world, olivia, ids) = in_use_within(2, (mood == Mood::Silent).then_some(NOT_LONG)).await;
        // Half of the outage falls into the life of the tokens.
        world.pass(Duration::minutes(45));
        provider.feels(mood);
        let before = provider.seen().refreshes;
        for minute in (0..30).step_by(3) {
            world.run_schedule().await;
            for (index, id) in ids.iter().enumerate() {
                let answer = olivia.token(id, json!({ "workflow_id": format!("fl_{index}"), "min_ttl": 1800 })).await;
                if minute < 15 {
                    assert_eq!(answer.is(200)["degraded"], true, "{mood:?}, minute {minute}");
                } else {
                    assert_eq!(answer.header("retry-after").parse::<u32>().map(|seconds| (1..=60).contains(&seconds)), Ok(true));
                    answer.refused(503, "provider_unavailable");
                }
            }
            world.pass(Duration::minutes(3));
        }
        assert_eq!(statuses(&olivia).await, ["active"; 2], "{mood:?}");
        let asked = provider.seen().refreshes - before;
        if !matches!(mood, Mood::Refusing("invalid_request")) {
            assert!(asked <= 25, "{mood:?}: 40 occasions, {asked} requests");
        }

        provider.feels(Mood::Well);
        world.pass(Duration::minutes(15));
        for (index, id) in ids.iter().enumerate() {
            let token = olivia.token(id, json!({ "workflow_id": format!("fl_{index}") })).await.is(200);
            assert_eq!(token["degraded"], false, "{mood:?}");
        }
        assert_eq!(statuses(&olivia).await, ["active"; 2], "{mood:?}");
    }
}

#[tokio::test]
async fn during_an_incident_the_provider_sees_one_probe_at_a_time() {
    let (provider, world, olivia, ids) = in_use(1).await;
    let body = json!({ "workflow_id": "fl_0" });
    world.pass(Duration::minutes(61));
    provider.feels(Mood::Down);
    for _ in 0..5 {
        olivia.token(&ids[0], body.clone()).await.refused(503, "provider_unavailable");
    }
    assert_eq!(provider.seen().refreshes, 5);
    for _ in 0..5 {
        olivia.token(&ids[0], body.clone()).await.refused(503, "provider_unavailable");
    }
    assert_eq!(provider.seen().refreshes, 5, "it is left alone");
    world.pass(Duration::seconds(1));
    for _ in 0..5 {
        olivia.token(&ids[0], body.clone()).await.refused(503, "provider_unavailable");
    }
    assert_eq!(provider.seen().refreshes, 6, "one probe");
    provider.feels(Mood::Well);
    world.pass(Duration::seconds(2));
    assert_eq!(olivia.token(&ids[0], body).await.is(200)["degraded"], false);
}

#[tokio::test]
async fn a_provider_that_asks_for_peace_gets_it_and_callers_are_told_how_long() {
    let (provider, world, olivia, ids) = in_use(2).await;
    world.pass(Duration::minutes(61));
    provider.feels(Mood::Overloaded(40));
    for (index, id) in ids.iter().enumerate() {
        let refused = olivia.token(id, json!({ "workflow_id": format!("fl_{index}") })).await;
        assert_eq!(refused.header("retry-after"), "40");
        refused.refused(503, "provider_unavailable");
    }
    assert_eq!(provider.seen().refreshes, 1, "the second authorization is of the same connection");
    provider.feels(Mood::Well);
    world.pass(Duration::seconds(40));
    olivia.token(&ids[1], json!({ "workflow_id": "fl_1" })).await.is(200);
}

#[tokio::test]
async fn a_provider_that_forgot_everybody_ends_five_authorizations_and_not_fifty() {
    let (provider, world, olivia, ids) = in_use(20).await;
    world.pass(Duration::minutes(58));
    provider.feels(Mood::Refusing("invalid_grant"));
    let report = world.run_schedule().await;
    assert_eq!((&report["due"], &report["needs_reauthorization"], &report["deferred"]), (&json!(20), &json!(5), &json!(15)), "{report}");
    world.pass(Duration::minutes(1));
    assert_eq!(world.run_schedule().await["needs_reauthorization"], 0, "a refusal is not believed while they come in a mass");

    provider.feels(Mood::Well);
    world.pass(Duration::minutes(15));
    let mut renewed = 0;
    for _ in 0..4 {
        renewed += world.run_schedule().await["refreshed"].as_u64().unwrap();
        world.pass(Duration::minutes(1));
    }
    assert_eq!(renewed, 15);
    assert_eq!(statuses(&olivia).await.iter().filter(|status| *status == "active").count(), 15);
    assert_eq!(ids.len(), 20);
}

/// A provider without a grace that spends refresh tokens while its answers are lost: what is then true is told, and only after it was
/// tried once more.
#[tokio::test]
async fn an_answer_that_is_lost_without_a_grace_is_told_as_such_after_one_more_try() {
    for mood in [Mood::Lost, Mood::LostBehindGateway, Mood::Garbled] {
        let (provider, world, olivia, ids) = in_use(1).await;
        let body = json!({ "workflow_id": "fl_0" });
        world.pass(Duration::minutes(59));
        provider.feels(mood);
        let asked = provider.seen().refreshes;
        assert_eq!(world.run_schedule().await["deferred"], 1, "{mood:?}");
        provider.feels(Mood::Well);
        let entry = olivia.one(&ids[0]).await;
        assert_eq!((&entry["status"], &entry["reason"]), (&json!("active"), &Value::Null), "{mood:?}: its fate is unknown");
        // Within the next minute it comes again, and by then the provider has words for it.
        world.pass(Duration::minutes(1));
        assert_eq!(world.run_schedule().await["needs_reauthorization"], 1, "{mood:?}");
        assert_eq!(provider.seen().refreshes - asked, 2, "{mood:?}: once more, and not again");
        let entry = olivia.one(&ids[0]).await;
        assert_eq!((&entry["status"], &entry["reason"]), (&json!("needs_reauthorization"), &json!("outcome_unknown")), "{mood:?}");
        assert_eq!(olivia.token(&ids[0], body).await.refused(409, "needs_reauthorization")["reason"], "outcome_unknown");
        world.pass(Duration::days(1));
        assert_eq!(world.run_schedule().await["due"], 0);
        assert_eq!(provider.seen().refreshes - asked, 2);
    }
}

/// Where nothing was spent, the same doubt comes to nothing.
#[tokio::test]
async fn an_answer_that_was_lost_before_the_provider_did_anything_costs_nothing() {
    let (provider, world, olivia, ids) = in_use(1).await;
    world.pass(Duration::minutes(59));
    provider.feels(Mood::BrokenOff);
    assert_eq!(world.run_schedule().await["deferred"], 1);
    provider.feels(Mood::Well);
    world.pass(Duration::minutes(1));
    assert_eq!(world.run_schedule().await["refreshed"], 1);
    // The doubt is gone with the success: what ends it later is told as what it is.
    provider.end_grants();
    world.pass(Duration::HOUR);
    let refused = olivia.token(&ids[0], json!({ "workflow_id": "fl_0" })).await.refused(409, "needs_reauthorization");
    assert_eq!(refused["reason"], "invalid_grant");
}

#[tokio::test]
async fn an_operator_has_an_hour_before_a_mass_of_refusals_is_believed() {
    let (provider, world, olivia, _) = in_use(8).await;
    world.pass(Duration::minutes(58));
    provider.feels(Mood::Refusing("invalid_grant"));
    world.run_schedule().await;
    assert_eq!(statuses(&olivia).await.iter().filter(|status| *status == "active").count(), 3);
    for _ in 0..12 {
        world.pass(Duration::minutes(15));
        world.run_schedule().await;
    }
    assert_eq!(statuses(&olivia).await, ["needs_reauthorization"; 8]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_refreshes_are_under_way_at_a_connection_than_it_allows() {
    let provider = Provider::start().await;
    let mut connection = provider.connection("conn_scripted");
    connection["max_concurrent_refreshes"] = json!(2);
    let world = World::with_connection(&provider, connection).await;
    let olivia = world.olivia();
    let mut ids = Vec::new();
    for index in 0..12 {
        let id = world.authorize_at(&provider, &olivia).await;
        world.bind(&olivia, &format!("fl_{index}"), &id).await;
        ids.push(id);
    }
    world.pass(Duration::minutes(61));
    let tokens = ids.iter().enumerate().map(|(index, id)| {
        let body = json!({ "workflow_id": format!("fl_{index}") });
        olivia.token(id, body)
    });
    for answer in join_all(tokens).await {
        assert_eq!(answer.is(200)["degraded"], false);
    }
    assert_eq!((provider.seen().refreshes, provider.seen().most_at_once <= 2), (12, true), "{:?}", provider.seen());
}

#[tokio::test]
async fn people_are_warned_a_week_before_a_refresh_token_ends_for_good() {
    let provider = Provider::start().await;
    let mut connection = provider.connection("conn_scripted");
    connection["refresh_token_lifetime"] = json!({ "idle": null, "absolute": 60 * 86_400 });
    let world = World::with_connection(&provider, connection).await;
    let olivia = world.olivia();
    let id = world.authorize_at(&provider, &olivia).await;
    let mut renewed_on = Vec::new();
    for day in 0..60 {
        if world.run_schedule().await["refreshed"] == 1 {
            renewed_on.push(day);
        }
        world.pass(Duration::DAY);
    }
    assert!(renewed_on.contains(&53), "the day of the warning is on the schedule: {renewed_on:?}");
    assert!(renewed_on.len() <= 6, "an authorization that nobody uses is only kept alive: {renewed_on:?}");
    let one: Value = olivia.one(&id).await;
    assert_eq!(one["status"], "active");
}
