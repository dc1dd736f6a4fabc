//! The audit trail of revocations and replaces: which token, what the provider answered, and when, whoever asked for it (contract
//! sections 8 and 11; security requirements 81 and 86).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::sync::Arc;

use futures_util::future::join_all;
use local::aws::{Call, Fault, Ruling};
use serde_json::{Value, json};
use tests::faults::{Gate, Rule, stores_refreshed_tokens};
use tests::log;
use tests::provider::{CLIENT_SECRET, Mood, Provider};
use tests::table;
use tests::{Caller, Expect as _, Setup, World};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// The audit lines of one action that name this text: outcome and detail.
fn audited(action: &str, naming: &str) -> Vec<(String, String)> {
    let lines = log::with(naming).into_iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines
        .filter(|line| line["audit"] == true && line["action"] == action)
        .inspect(|line| assert!(line["organization"].is_string(), "{line}"))
        .map(|line| (text(&line["outcome"]), text(&line["detail"])))
        .collect()
}

fn revocations(naming: &str) -> Vec<(String, String)> {
    audited("provider_revocation", naming)
}

fn pair(outcome: &str, detail: impl Into<String>) -> (String, String) {
    (outcome.to_owned(), detail.into())
}

fn at(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap()
}

fn path(id: &str) -> String {
    format!("/workflows/authorization/{id}")
}

async fn scripted() -> (Provider, World, Caller) {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    (provider, world, olivia)
}

#[tokio::test]
async fn s86_a_revocation_leaves_a_receipt_for_each_token() {
    let (provider, world, olivia) = scripted().await;
    let id = world.authorize_at(&provider, &olivia).await;
    let now = at(world.now());
    olivia.delete(&path(&id)).await.is(204);
    let detail = format!("stored tokens: provider revoked: refresh_token 200 at {now}, access_token 200 at {now}");
    assert_eq!(revocations(&id), [pair("gone", detail)]);
    assert_eq!(audited("revoke", &id), [pair("ok", "")]);
    olivia.delete(&path(&id)).await.is(204);
    assert_eq!(revocations(&id).len(), 1, "nothing was asked again");
}

#[tokio::test]
async fn s86_each_try_of_the_schedule_leaves_its_own_until_the_provider_has_revoked() {
    let (provider, world, olivia) = scripted().await;
    let id = world.authorize_at(&provider, &olivia).await;
    provider.feels(Mood::Down);
    let mut expected = Vec::new();
    olivia.delete(&path(&id)).await.is(204);
    for _ in 0..2 {
        expected.push(pair("postponed", format!("stored tokens: provider did not revoke: refresh_token 503 at {}", at(world.now()))));
        world.pass(Duration::HOUR);
        if expected.len() < 2 {
            assert_eq!(world.run_schedule().await["deferred"], 1);
        }
    }
    provider.feels(Mood::Well);
    assert_eq!(world.run_schedule().await["revoked"], 1);
    expected.push(pair("gone", format!("stored tokens: provider revoked: refresh_token 200 at {}", at(world.now()))));
    assert_eq!(revocations(&id), expected);
}

#[tokio::test]
async fn s86_after_seven_days_the_record_goes_and_the_receipt_says_that_nobody_revoked() {
    let (provider, world, olivia) = scripted().await;
    let id = world.authorize_at(&provider, &olivia).await;
    provider.feels(Mood::Down);
    olivia.delete(&path(&id)).await.is(204);
    world.pass(Duration::days(7) - Duration::SECOND);
    assert_eq!(world.run_schedule().await["deferred"], 1);
    world.pass(Duration::HOUR);
    assert_eq!(world.run_schedule().await["revoked"], 1);
    let told = revocations(&id);
    let last = format!("stored tokens: provider did not revoke: refresh_token 503 at {}", at(world.now()));
    assert_eq!((told.len(), told.last()), (3, Some(&pair("gone", last))));
    let records = world.records().await;
    let tombstone = records.authorization(&id).unwrap();
    assert_eq!(table::text(tombstone, "status"), "deleted");
    assert!(!tombstone.contains_key("sealed_refresh") && !tombstone.contains_key("sealed_access"));
}

#[tokio::test]
async fn a_provider_that_revokes_by_the_access_token_is_asked_by_it_again() {
    let provider = Provider::start().await;
    let connection = provider.github_connection("conn_github");
    let add = move |directory: &mut Value, _| directory["connections"].as_array_mut().unwrap().push(connection.clone());
    let client_secrets = vec![("conn_github".to_owned(), CLIENT_SECRET.to_owned())];
    let world =
        World::with(Setup { directory: Some(Box::new(add)), client_secrets, clock: Some(provider.clock()), ..Setup::default() }).await;
    let olivia = world.olivia();
    let body = json!({ "connection_id": "conn_github", "redirect_uri": world.return_to() });
    let back = world.open(&provider.come_back(&world.url(&olivia, body).await)).await;
    let id = olivia.complete(json!({ "code": back.sent("code") })).await.is(201)["id"].as_str().unwrap().to_owned();
    assert_eq!(olivia.one(&id).await["refreshable"], true);

    provider.feels(Mood::Down);
    olivia.delete(&path(&id)).await.is(204);
    let first = pair("postponed", format!("stored tokens: provider did not revoke: access_token 503 at {}", at(world.now())));
    provider.feels(Mood::Well);
    world.pass(Duration::HOUR);
    assert_eq!(world.run_schedule().await["revoked"], 1);
    let second = pair("gone", format!("stored tokens: provider revoked: access_token 204 at {}", at(world.now())));
    assert_eq!(revocations(&id), [first, second]);
    assert_eq!(provider.seen().revocations, 2);
}

#[tokio::test]
async fn a_provider_that_cannot_revoke_is_told_so() {
    let provider = Provider::start().await;
    let mut mute = provider.github_connection("conn_mute");
    mute.as_object_mut().unwrap().remove("revocation_endpoint");
    let add = move |directory: &mut Value, _| directory["connections"].as_array_mut().unwrap().push(mute.clone());
    let client_secrets = vec![("conn_mute".to_owned(), CLIENT_SECRET.to_owned())];
    let world =
        World::with(Setup { directory: Some(Box::new(add)), client_secrets, clock: Some(provider.clock()), ..Setup::default() }).await;
    let olivia = world.olivia();
    let body = json!({ "connection_id": "conn_mute", "redirect_uri": world.return_to() });
    let back = world.open(&provider.come_back(&world.url(&olivia, body).await)).await;
    let id = olivia.complete(json!({ "code": back.sent("code") })).await.is(201)["id"].as_str().unwrap().to_owned();
    let forecast = olivia.delete(&format!("{}?dry_run=true", path(&id))).await.is(200);
    assert_eq!((&forecast["provider_revocation"], &forecast["deletable"]), (&json!("unsupported"), &json!(true)));
    olivia.delete(&path(&id)).await.is(204);
    assert_eq!(revocations(&id), [pair("gone", "stored tokens: provider cannot revoke: nothing was asked")]);
    olivia.get(&path(&id)).await.refused(404, "authorization_not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s86_the_tokens_of_a_refresh_that_a_revoke_overtook_leave_receipts_too() {
    for down_meanwhile in [false, true] {
        let (provider, world, olivia) = scripted().await;
        let id = world.authorize_at(&provider, &olivia).await;
        world.bind(&olivia, "fl_1", &id).await;
        world.pass(Duration::HOUR);
        let held = Gate::of(stores_refreshed_tokens);
        world.aws().observe(Some(Arc::clone(&held) as _));
        let deletion = async {
            held.arrival().await;
            olivia.delete("/workflows/fl_1/authorization").await.is(204);
            olivia.delete(&path(&id)).await.is(204);
            if down_meanwhile {
                provider.feels(Mood::Down);
            }
            held.open();
        };
        let (token, ()) = tokio::join!(olivia.token(&id, json!({ "workflow_id": "fl_1" })), deletion);
        token.refused(404, "workflow_not_bound");
        let now = at(world.now());
        let both = format!("refresh_token 200 at {now}, access_token 200 at {now}");
        let mut expected = vec![pair("gone", format!("stored tokens: provider revoked: {both}"))];
        if down_meanwhile {
            let late = format!("tokens of an overtaken refresh: provider did not revoke: refresh_token 503 at {now}");
            expected.push(pair("not_revoked", late));
            provider.feels(Mood::Well);
            world.pass(Duration::HOUR);
            world.run_schedule().await;
            let now = at(world.now());
            let both = format!("refresh_token 200 at {now}, access_token 200 at {now}");
            expected.push(pair("revoked", format!("tokens of a rescued refresh: provider revoked: {both}")));
        } else {
            expected.push(pair("revoked", format!("tokens of an overtaken refresh: provider revoked: {both}")));
        }
        assert_eq!(revocations(&id), expected);
        let what_became = if down_meanwhile { "left to the schedule" } else { "settled" };
        assert_eq!(audited("refresh", &id), [pair("superseded", what_became)]);
    }
}

#[tokio::test]
async fn s86_what_was_obtained_for_the_wrong_person_leaves_a_receipt() {
    let (provider, world, olivia) = scripted().await;
    let url = world.url(&olivia, json!({ "connection_id": "conn_scripted" })).await;
    provider.script(|script| script.person.email = Some("somebody-else@example.com".to_owned()));
    let name = "s86-wrong-person";
    let back = provider.come_back(&url);
    let page = world.http.send(reqwest::Method::GET, &back, &[("x-request-id", name)], None).await.unwrap();
    page.page(403);
    let now = at(world.now());
    let both = format!("refresh_token 200 at {now}, access_token 200 at {now}");
    assert_eq!(revocations(name), [pair("revoked", format!("tokens of a refused sign-in: provider revoked: {both}"))]);
}

#[tokio::test]
async fn a_provider_that_cannot_take_back_the_tokens_of_the_wrong_person_is_asked_twice_more() {
    let (provider, world, olivia) = scripted().await;
    provider.script(|script| script.person.email = Some("somebody-else@example.com".to_owned()));
    for (misses, outcome, verdict) in [(2, "revoked", "provider revoked"), (3, "not_revoked", "provider did not revoke")] {
        let url = world.url(&olivia, json!({ "connection_id": "conn_scripted" })).await;
        provider.script(|script| script.revocations_down = misses);
        let name = format!("taken-back-after-{misses}");
        let back = provider.come_back(&url);
        world.http.send(reqwest::Method::GET, &back, &[("x-request-id", name.as_str())], None).await.unwrap().page(403);
        let now = at(world.now());
        let mut asked = vec![format!("refresh_token 503 at {now}"); misses as usize];
        if outcome == "revoked" {
            asked.extend([format!("refresh_token 200 at {now}"), format!("access_token 200 at {now}")]);
        }
        assert_eq!(revocations(&name), [pair(outcome, format!("tokens of a refused sign-in: {verdict}: {}", asked.join(", ")))]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_sign_in_that_a_revoke_overtook_leaves_no_grant_behind() {
    let (provider, world, olivia) = scripted().await;
    let id = world.authorize_at(&provider, &olivia).await;
    world.pass(Duration::SECOND);
    let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to(), "authorization_id": id });
    let code = world.open(&provider.come_back(&world.url(&olivia, body).await)).await.sent("code");
    let gate = Gate::new("TransactWriteItems");
    world.aws().observe(Some(Arc::clone(&gate) as _));
    let deletion = async {
        gate.arrival().await;
        olivia.delete(&path(&id)).await.is(204);
        gate.open();
    };
    let (completed, ()) = tokio::join!(olivia.complete(json!({ "code": code })), deletion);
    completed.refused(404, "authorization_not_found");
    olivia.get(&path(&id)).await.refused(404, "authorization_not_found");
    let now = at(world.now());
    let both = format!("refresh_token 200 at {now}, access_token 200 at {now}");
    let expected = ["stored tokens", "tokens of a refused sign-in"].map(|whose| format!("{whose}: provider revoked: {both}"));
    assert_eq!(revocations(&id), [pair("gone", &expected[0]), pair("revoked", &expected[1])]);
    assert_eq!(provider.seen().revocations, 4, "both tokens of both sign-ins");
}

#[tokio::test]
async fn nobody_signs_in_again_for_what_is_being_revoked_or_deleted() {
    let (provider, world, olivia) = scripted().await;
    for mood in [Mood::Down, Mood::Well] {
        let id = world.authorize_at(&provider, &olivia).await;
        world.pass(Duration::SECOND);
        let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to(), "authorization_id": id });
        let code = world.open(&provider.come_back(&world.url(&olivia, body).await)).await.sent("code");
        provider.feels(mood);
        olivia.delete(&path(&id)).await.is(204);
        provider.feels(Mood::Well);
        let exchanges = provider.seen().exchanges;
        olivia.complete(json!({ "code": code })).await.refused(404, "authorization_not_found");
        assert_eq!(provider.seen().exchanges, exchanges, "its code was not spent");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_end_of_an_authorization_is_announced_once_however_many_find_out() {
    let (provider, world, olivia) = scripted().await;
    let id = world.authorize_at(&provider, &olivia).await;
    world.bind(&olivia, "fl_1", &id).await;
    provider.end_grants();
    world.pass(Duration::HOUR);
    for answer in join_all((0..20).map(|_| olivia.token(&id, json!({ "workflow_id": "fl_1" })))).await {
        answer.refused(409, "needs_reauthorization");
    }
    olivia.post(&format!("{}/check", path(&id)), json!({})).await.is(200);
    world.run_schedule().await;
    assert_eq!(audited("status_change", &id), [pair("needs_reauthorization", "")]);
    assert_eq!(provider.seen().refreshes, 1);
    olivia.delete("/workflows/fl_1/authorization").await.is(204);
    olivia.delete(&path(&id)).await.is(204);
    olivia.delete(&path(&id)).await.is(204);
    assert_eq!(audited("status_change", &id), [pair("needs_reauthorization", ""), pair("revoking", "")]);
}

#[tokio::test]
async fn s81_a_revocation_or_a_bind_that_the_table_does_not_take_is_told_too() {
    let (provider, world, olivia) = scripted().await;
    let id = world.authorize_at(&provider, &olivia).await;
    let other = world.authorize_at(&provider, &olivia).await;
    let clock = Arc::clone(&world.clock);
    let down = move |_: &Call<'_>| {
        clock.advance(Duration::SECOND);
        Ruling::Refuse(Fault::new(500, "InternalServerError", "down"))
    };
    world.aws().observe(Some(Arc::new(Rule(down))));
    olivia.delete(&path(&id)).await.refused(503, "store_unavailable");
    olivia.put("/workflows/fl_1/authorization", json!({ "authorization_id": id })).await.refused(503, "store_unavailable");
    olivia.delete("/workflows/fl_unbound/authorization").await.refused(503, "store_unavailable");
    olivia.post(&format!("{}/replace", path(&id)), json!({ "authorization_id": other })).await.refused(503, "store_unavailable");
    olivia.post(&format!("{}/check", path(&id)), json!({})).await.refused(503, "store_unavailable");
    world.aws().observe(None);
    for action in ["revoke", "assign", "check"] {
        assert_eq!(audited(action, &id), [pair("unavailable", "")], "{action}");
    }
    assert_eq!(audited("replace", &id), [pair("unavailable", format!("to {other}: 0 moved, 0 refused"))]);
    assert_eq!(audited("unassign", "fl_unbound"), [pair("unavailable", "")]);

    world.bind(&olivia, "fl_audited", &id).await;
    olivia.post(&format!("{}/replace", path(&id)), json!({ "authorization_id": other, "dry_run": true })).await.is(200);
    olivia.post(&format!("{}/replace", path(&id)), json!({ "authorization_id": other })).await.is(200);
    let told = audited("replace", &id);
    let (forecast, done) = (format!("to {other}: 1 moved, 0 refused, 0 remaining"), format!("to {other}: 1 moved, 0 refused, 0 remaining"));
    assert_eq!(told[1..], [pair("dry_run", forecast), pair("ok", done)]);
    olivia.delete("/workflows/fl_nobodys/authorization").await.refused(404, "workflow_not_bound");
    assert_eq!(audited("unassign", "fl_nobodys"), [pair("workflow_not_bound", "")]);
    let unknown = "auth_01jd0000000000000000000000";
    olivia.post(&format!("{}/check", path(unknown)), json!({})).await.refused(404, "authorization_not_found");
    assert_eq!(audited("check", unknown), [pair("authorization_not_found", "")]);
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_a_line_that_says_how() {
    for (mood, outcome) in [
        (Mood::Down, "provider_unavailable"),
        (Mood::Refusing("invalid_scope"), "not_refreshed"),
        (Mood::Refusing("invalid_client"), "not_refreshed"),
        (Mood::Refusing("invalid_grant"), "refused"),
        (Mood::BrokenOff, "answer_lost"),
        (Mood::Garbled, "answer_invalid"),
    ] {
        let (provider, world, olivia) = scripted().await;
        let id = world.authorize_at(&provider, &olivia).await;
        world.bind(&olivia, "fl_1", &id).await;
        world.pass(Duration::HOUR);
        provider.feels(mood);
        olivia.token(&id, json!({ "workflow_id": "fl_1" })).await;
        assert_eq!(audited("refresh", &id), [pair(outcome, "")], "{mood:?}");
        let lines = log::with(&id);
        let line = lines.iter().find(|line| line["action"] == "refresh").unwrap();
        assert_eq!(line.get("refreshes"), None, "only what gave new tokens is counted");
        let request = line["request_id"].as_str().unwrap();
        let refused = log::with(request).iter().filter(|line| line["signal"] == "refresh_token_refused").count();
        assert_eq!(refused, usize::from(outcome == "refused"), "a refused refresh token may have been used by somebody else");
    }
}
