//! Hand-outs and checks at their edges: tokens that live shorter than asked for, rejected ones, ended ones, and what a check proves
//! (contract section 9).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::provider::{Mood, Person, Provider};
use tests::{Caller, Expect as _, World};
use time::Duration;
use time::format_description::well_known::Rfc3339;

/// A scripted provider, changed by `script`, and an authorization there that is bound to `fl_1`.
async fn scripted(script: impl FnOnce(&mut tests::provider::Script)) -> (Provider, World, Caller, String) {
    let provider = Provider::start().await;
    provider.script(script);
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let id = world.authorize_at(&provider, &olivia).await;
    world.bind(&olivia, "fl_1", &id).await;
    (provider, world, olivia, id)
}

fn asking(mut more: Value) -> Value {
    more["workflow_id"] = json!("fl_1");
    more
}

async fn check(caller: &Caller, id: &str) -> Value {
    caller.post(&format!("/workflows/authorization/{id}/check"), json!({})).await.is(200)
}

#[tokio::test]
async fn a_token_that_lives_shorter_than_asked_for_is_refreshed_once_for_all_who_come_together() {
    let (provider, _world, olivia, id) = scripted(|script| script.expires_in = Some(json!(120))).await;
    assert_eq!(olivia.token(&id, asking(json!({ "min_ttl": 0 }))).await.is(200)["generation"], 1);
    let answers = join_all((0..20).map(|_| olivia.token(&id, asking(json!({ "min_ttl": 3600 }))))).await;
    for answer in answers {
        let token = answer.is(200);
        assert_eq!((&token["generation"], &token["expires_in"], &token["degraded"]), (&json!(2), &json!(120), &json!(false)));
    }
    assert_eq!(provider.seen().refreshes, 1, "asking again would not make it live longer");
}

#[tokio::test]
async fn a_rejected_token_comes_again_degraded_while_the_provider_is_down_and_is_replaced_when_it_is_up() {
    let (provider, _world, olivia, id) = scripted(|_| {}).await;
    let first = olivia.token(&id, asking(json!({}))).await.is(200);
    provider.feels(Mood::Down);
    let token = olivia.token(&id, asking(json!({ "rejected_generation": 1 }))).await.is(200);
    assert_eq!((&token["generation"], &token["degraded"]), (&json!(1), &json!(true)));
    assert_eq!(token["access_token"], first["access_token"]);
    provider.feels(Mood::Well);
    let token = olivia.token(&id, asking(json!({ "rejected_generation": 1 }))).await.is(200);
    assert_eq!((&token["generation"], &token["degraded"]), (&json!(2), &json!(false)));
    let asked = provider.seen().refreshes;
    for older in [0, 1] {
        assert_eq!(olivia.token(&id, asking(json!({ "rejected_generation": older }))).await.is(200)["generation"], 2, "{older}");
    }
    assert_eq!(olivia.token(&id, asking(json!({ "rejected_generation": 3 }))).await.is(200)["generation"], 2, "none was handed out yet");
    assert_eq!(provider.seen().refreshes, asked, "once for a generation, and not for one that is not stored");
}

#[tokio::test]
async fn without_a_refresh_token_the_stored_one_is_all_there_is() {
    let (provider, world, olivia, id) = scripted(|script| script.refresh_tokens = false).await;
    for short in [json!({ "rejected_generation": 1 }), json!({ "min_ttl": 3600 })] {
        world.pass(Duration::SECOND);
        let token = olivia.token(&id, asking(short)).await.is(200);
        assert_eq!((&token["generation"], &token["degraded"]), (&json!(1), &json!(true)));
        assert!(olivia.one(&id).await["last_used_at"].is_string(), "a degraded token is used, too");
    }
    assert_eq!(olivia.token(&id, asking(json!({}))).await.is(200)["degraded"], false);
    world.pass(Duration::HOUR);
    let refused = olivia.token(&id, asking(json!({}))).await.refused(409, "needs_reauthorization");
    assert_eq!((&refused["reason"], provider.seen().refreshes), (&json!("no_refresh_token"), 0));
}

#[tokio::test]
async fn an_expired_token_and_a_provider_that_is_down_say_when_to_ask_again() {
    let (provider, world, olivia, id) = scripted(|_| {}).await;
    provider.feels(Mood::Down);
    world.pass(Duration::HOUR);
    for body in [json!({}), json!({ "min_ttl": 0 }), json!({ "rejected_generation": 1 })] {
        let answer = olivia.token(&id, asking(body)).await;
        answer.refused(503, "provider_unavailable");
        assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
    }
    assert_eq!(olivia.one(&id).await["status"], "active");
}

#[tokio::test]
async fn a_check_tells_what_bound_workflows_miss_after_a_refresh_that_grants_less() {
    let (provider, world, olivia, id) = scripted(|_| {}).await;
    let body = json!({ "authorization_id": id, "required_scopes": ["offline_access"] });
    olivia.put("/workflows/fl_1/authorization", body).await.is(200);
    assert_eq!((&check(&olivia, &id).await["ok"], provider.seen().refreshes), (&json!(true), 1));
    provider.script(|script| script.scope = Some("openid email".to_owned()));
    world.pass(Duration::SECOND);
    let now = world.now().format(&Rfc3339).unwrap();
    let end = (world.now() + Duration::HOUR).format(&Rfc3339).unwrap();
    assert_eq!(
        check(&olivia, &id).await,
        json!({
            "ok": false, "status": "active", "checked_at": now, "scopes": ["email", "openid"], "missing_scopes": ["offline_access"],
            "access_expires_at": end, "reason": "scopes_insufficient",
        })
    );
    // It is said, and nothing is taken away: the workflow's own calls decide what it can still do.
    assert_eq!(olivia.token(&id, asking(json!({}))).await.is(200)["scope"], "email openid");
}

#[tokio::test]
async fn a_check_without_a_refresh_token_asks_who_the_token_belongs_to() {
    let (provider, world, olivia, id) = scripted(|script| script.refresh_tokens = false).await;
    let report = check(&olivia, &id).await;
    assert_eq!((&report["ok"], &report["reason"]), (&json!(true), &Value::Null));
    assert_eq!((provider.seen().userinfo, provider.seen().refreshes), (1, 0));
    provider.script(|script| script.userinfo = Some(Person { subject: "somebody-else".to_owned(), ..script.person.clone() }));
    let report = check(&olivia, &id).await;
    assert_eq!((&report["ok"], &report["status"], &report["reason"]), (&json!(false), &json!("active"), &json!("identity_revoked")));
    world.pass(Duration::HOUR);
    let report = check(&olivia, &id).await;
    assert_eq!((&report["ok"], &report["status"]), (&json!(false), &json!("needs_reauthorization")));
    assert_eq!((&report["reason"], provider.seen().userinfo), (&json!("no_refresh_token"), 2), "an ended token proves nothing");
}

#[tokio::test]
async fn s85_what_is_being_revoked_hands_out_nothing_takes_no_workflow_and_is_not_refreshed() {
    let (provider, world, olivia, id) = scripted(|_| {}).await;
    let path = format!("/workflows/authorization/{id}");
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    provider.feels(Mood::Down);
    olivia.delete(&path).await.is(204);
    provider.feels(Mood::Well);
    let asked = provider.seen();
    for _ in 0..2 {
        let report = check(&olivia, &id).await;
        assert_eq!((&report["ok"], &report["status"], &report["reason"]), (&json!(false), &json!("revoking"), &json!("revoking")));
        for body in [json!({}), json!({ "min_ttl": 3600 }), json!({ "rejected_generation": 1 })] {
            olivia.token(&id, asking(body)).await.refused(404, "workflow_not_bound");
        }
        let body = json!({ "authorization_id": id });
        olivia.put("/workflows/fl_1/authorization", body).await.refused(409, "authorization_not_active");
        let forecast = olivia.delete(&format!("{path}?dry_run=true")).await.is(200);
        assert_eq!((&forecast["deletable"], &forecast["workflow_count"]), (&json!(true), &json!(0)));
        assert_eq!(olivia.get("/workflows/authorization?status=revoking").await.is(200)[0]["id"], json!(id));
        olivia.delete(&path).await.is(204);
        // Its token has ended meanwhile, too.
        world.pass(Duration::HOUR);
    }
    assert_eq!(provider.seen(), asked, "the provider is asked by the schedule only");
    assert_eq!(world.run_schedule().await["revoked"], 1);
    let body = json!({ "authorization_id": id });
    olivia.put("/workflows/fl_1/authorization", body).await.refused(404, "authorization_not_found");
    olivia.post(&format!("{path}/check"), json!({})).await.refused(404, "authorization_not_found");
    olivia.token(&id, asking(json!({}))).await.refused(404, "workflow_not_bound");
    assert_eq!(olivia.list().await, json!([]));
}

#[tokio::test]
async fn however_many_grants_are_refused_each_is_told_as_it_is() {
    let (provider, world, olivia, first) = scripted(|_| {}).await;
    let mut all = vec![(first, "fl_1".to_owned())];
    for number in 2..=8 {
        world.pass(Duration::SECOND);
        let (id, workflow) = (world.authorize_at(&provider, &olivia).await, format!("fl_{number}"));
        world.bind(&olivia, &workflow, &id).await;
        all.push((id, workflow));
    }
    provider.end_grants();
    for (id, workflow) in &all {
        let refused = olivia.token(id, json!({ "workflow_id": workflow, "rejected_generation": 1 })).await;
        assert_eq!(refused.refused(409, "needs_reauthorization")["reason"], "invalid_grant", "{workflow}");
    }
}

#[tokio::test]
async fn after_an_outage_callers_wait_for_a_second_at_most() {
    let (provider, world, olivia, id) = scripted(|_| {}).await;
    provider.feels(Mood::Down);
    world.pass(Duration::HOUR);
    for _ in 0..20 {
        olivia.token(&id, asking(json!({}))).await.refused(503, "provider_unavailable");
    }
    provider.feels(Mood::Well);
    world.pass(Duration::SECOND);
    assert_eq!(olivia.token(&id, asking(json!({}))).await.is(200)["generation"], 2);
}
