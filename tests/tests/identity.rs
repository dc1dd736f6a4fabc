//! Whose a sign-in may be (contract sections 6.1 to 6.3): the initiator, an operator account, and the one person of an authorization that
//! is renewed.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use futures_util::future::join;
use serde_json::{Value, json};
use tests::arena::{Arena, Mode, Party, person};
use tests::faults::Gate;
use tests::provider::Mood;
use tests::{Browser, Caller, Expect as _};
use time::Duration;

const UNKNOWN: &str = "auth_01jd0000000000000000000000";

/// An authorization of this party's own account at `conn_honest`, bound to `fl_1`: its id.
async fn authorized(arena: &Arena, party: &Party) -> String {
    let url = arena.url(party, "conn_honest", Mode::Redirect).await;
    let landed = party.browser.visit(&url).await;
    let id = arena.application(party, &landed).await.is(201)["id"].as_str().unwrap().to_owned();
    arena.world.bind(&party.caller, "fl_1", &id).await;
    id
}

/// What a renewal asks for.
fn renewing(id: &str, connection: &str) -> Value {
    json!({ "connection_id": connection, "authorization_id": id })
}

/// The same, by redirect.
fn by_redirect(arena: &Arena, mut body: Value) -> Value {
    body["redirect_uri"] = json!(arena.world.return_to());
    body
}

/// A URL of this caller's, opened in this browser up to the application: the body of the completion.
async fn code(arena: &Arena, caller: &Caller, browser: &Browser, body: Value) -> Value {
    let url = arena.world.url(caller, by_redirect(arena, body)).await;
    json!({ "code": browser.visit(&url).await.sent("code") })
}

async fn token(caller: &Caller, id: &str) -> Value {
    caller.token(id, json!({ "workflow_id": "fl_1" })).await.is(200)
}

/// Every token given out since then has been given back.
fn given_back(arena: &Arena, issued: usize) -> bool {
    arena.honest.issued()[issued..].iter().all(|token| arena.honest.revoked().contains(token))
}

#[tokio::test]
async fn a_renewal_by_another_account_is_refused_in_both_modes_and_its_tokens_are_given_back() {
    let arena = Arena::start().await;
    let (olivia, ben) = (&arena.olivia, &arena.ben);
    let id = authorized(&arena, olivia).await;
    let (entry, before) = (olivia.caller.one(&id).await, token(&olivia.caller, &id).await);
    let issued = arena.honest.issued().len();

    // A colleague asks for the URL, and signs in with the own account: the initiator, but not the authorization's.
    let url = arena.world.url(&ben.caller, renewing(&id, "conn_honest")).await;
    let page = ben.browser.visit(&url).await;
    assert!(page.page(403).contains("It stays as it was"), "{}", page.text);
    let body = code(&arena, &ben.caller, &ben.browser, renewing(&id, "conn_honest")).await;
    for _ in 0..2 {
        ben.caller.complete(body.clone()).await.refused(409, "identity_mismatch");
    }
    assert_eq!(arena.honest.issued().len(), issued + 4);
    assert!(given_back(&arena, issued));
    let mut now = olivia.caller.one(&id).await;
    now["last_used_at"] = entry["last_used_at"].clone();
    assert_eq!(now, entry);
    assert_eq!(token(&olivia.caller, &id).await["access_token"], before["access_token"]);
    world_goes_on(&arena, &id).await;
}

/// The authorization can still be refreshed with what is stored.
async fn world_goes_on(arena: &Arena, id: &str) {
    let generation = token(&arena.olivia.caller, id).await["generation"].as_u64().unwrap();
    arena.world.pass(Duration::HOUR);
    let token = token(&arena.olivia.caller, id).await;
    assert_eq!((&token["generation"], &token["degraded"]), (&json!(generation + 1), &json!(false)));
}

#[tokio::test]
async fn s49_a_person_is_issuer_and_subject_and_never_an_address() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    let id = authorized(&arena, olivia).await;
    let issued = arena.honest.issued().len();
    // Another account with the very same verified address, as where an address was given to somebody else.
    let heir = Browser::new();
    heir.sign_in_at(&arena.honest, &person("olivia-2", "ops@example.com", "org_demo"));
    let url = arena.world.url(&olivia.caller, renewing(&id, "conn_honest")).await;
    heir.visit(&url).await.page(403);
    let body = code(&arena, &olivia.caller, &heir, renewing(&id, "conn_honest")).await;
    olivia.caller.complete(body).await.refused(409, "identity_mismatch");
    assert!(given_back(&arena, issued));
    // A subject that differs in nothing but its case is another one.
    let other = Browser::new();
    other.sign_in_at(&arena.honest, &person("Olivia", "ops@example.com", "org_demo"));
    let body = code(&arena, &olivia.caller, &other, renewing(&id, "conn_honest")).await;
    olivia.caller.complete(body).await.refused(409, "identity_mismatch");

    // The same account under a new address is the same person, and the new address is shown from then on.
    let renamed = Browser::new();
    renamed.sign_in_at(&arena.honest, &person("olivia", "olivia.park@example.com", "org_demo"));
    let body = code(&arena, &olivia.caller, &renamed, renewing(&id, "conn_honest")).await;
    let renewed = olivia.caller.complete(body).await.is(201);
    assert_eq!((&renewed["id"], &renewed["user_id"], &renewed["email"]), (&json!(id), &json!("olivia"), &json!("olivia.park@example.com")));
    assert_eq!(olivia.caller.one(&id).await["email"], "olivia.park@example.com");
    // In direct mode it has to be the caller's address, too: that is how the initiator is known at another issuer.
    let url = arena.world.url(&olivia.caller, renewing(&id, "conn_honest")).await;
    renamed.visit(&url).await.page(403);
    assert_eq!(token(&olivia.caller, &id).await["generation"], 2);
}

#[tokio::test]
async fn a_renewal_by_another_connection_asks_nobody_for_a_token() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    let id = authorized(&arena, olivia).await;
    let before = arena.tally().await;
    // The same account at the same provider, and an attacker's provider that says it is the same: neither is the connection.
    for connection in ["conn_plain", "conn_malicious"] {
        let body = code(&arena, &olivia.caller, &olivia.browser, renewing(&id, connection)).await;
        for _ in 0..2 {
            olivia.caller.complete(body.clone()).await.refused(409, "connection_mismatch");
        }
        let url = arena.world.url(&olivia.caller, renewing(&id, connection)).await;
        assert!(olivia.browser.visit(&url).await.page(403).contains("another sign-in service"));
    }
    arena.nothing_happened_since(&before).await;
    world_goes_on(&arena, &id).await;
}

#[tokio::test]
async fn what_is_gone_foreign_or_unknown_cannot_be_renewed_and_asks_nobody_for_a_token() {
    let arena = Arena::start().await;
    let (olivia, mallory) = (&arena.olivia, &arena.mallory);
    let theirs = {
        let url = arena.url(mallory, "conn_honest", Mode::Direct).await;
        mallory.browser.visit(&url).await.page(200);
        mallory.caller.list().await[0]["id"].as_str().unwrap().to_owned()
    };
    let (gone, revoking) = (authorized(&arena, olivia).await, authorized(&arena, olivia).await);
    olivia.caller.delete("/workflows/fl_1/authorization").await.is(204);
    olivia.caller.delete(&format!("/workflows/authorization/{gone}")).await.is(204);
    arena.honest.feels(Mood::Down);
    olivia.caller.delete(&format!("/workflows/authorization/{revoking}")).await.is(204);
    arena.honest.feels(Mood::Well);
    assert_eq!(olivia.caller.one(&revoking).await["status"], "revoking");

    let before = arena.tally().await;
    let mut answers = Vec::new();
    for id in [&gone, &revoking, &theirs, UNKNOWN] {
        let body = code(&arena, &olivia.caller, &olivia.browser, renewing(id, "conn_honest")).await;
        let refused = olivia.caller.complete(body).await;
        refused.refused(404, "authorization_not_found");
        let url = arena.world.url(&olivia.caller, renewing(id, "conn_honest")).await;
        let page = olivia.browser.visit(&url).await;
        page.page(403);
        answers.push((refused.text, page.text.split("<footer>").next().unwrap().to_owned()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "which of them it is, nobody is told");
    arena.nothing_happened_since(&before).await;
}

#[tokio::test]
async fn the_old_credential_works_until_the_new_one_is_stored() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    let id = authorized(&arena, olivia).await;
    let old = token(&olivia.caller, &id).await;
    let body = code(&arena, &olivia.caller, &olivia.browser, renewing(&id, "conn_honest")).await;
    // First the provider takes its time, then the table.
    let (hold, gate) = (arena.honest.hold(), Gate::new("TransactWriteItems"));
    arena.world.aws().observe(Some(gate.clone()));
    let meanwhile = async {
        hold.arrival().await;
        assert_eq!(token(&olivia.caller, &id).await["access_token"], old["access_token"], "while the provider is asked");
        hold.let_go();
        gate.arrival().await;
        assert_eq!(token(&olivia.caller, &id).await["access_token"], old["access_token"], "while the table is written");
        assert_eq!(olivia.caller.one(&id).await["status"], "active");
        gate.open();
    };
    let (answer, ()) = join(olivia.caller.complete(body), meanwhile).await;
    assert_eq!(answer.is(201)["id"], json!(id));
    let new = token(&olivia.caller, &id).await;
    assert_eq!((&new["generation"], new["access_token"] != old["access_token"]), (&json!(2), true));
    assert_eq!(arena.honest.seen().revocations, 0, "one token's end may be that of the grant that still works");
    world_goes_on(&arena, &id).await;
}

#[tokio::test]
async fn a_renewal_that_fails_at_the_provider_leaves_everything_as_it_was() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    let id = authorized(&arena, olivia).await;
    let entry = olivia.caller.one(&id).await;
    for (mood, status) in [(Mood::Refusing("invalid_grant"), 400), (Mood::Down, 502), (Mood::Garbled, 502)] {
        let body = code(&arena, &olivia.caller, &olivia.browser, renewing(&id, "conn_honest")).await;
        arena.honest.feels(mood);
        olivia.caller.complete(body).await.refused(status, "oauth_failed");
        arena.honest.feels(Mood::Well);
        assert_eq!(olivia.caller.one(&id).await, entry, "{mood:?}");
    }
    assert_eq!(token(&olivia.caller, &id).await["generation"], 1);
    world_goes_on(&arena, &id).await;
}

#[tokio::test]
async fn a_refresh_while_the_person_signs_in_is_followed_and_not_undone() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    let id = authorized(&arena, olivia).await;
    let body = code(&arena, &olivia.caller, &olivia.browser, renewing(&id, "conn_honest")).await;
    let gate = Gate::new("TransactWriteItems");
    arena.world.aws().observe(Some(gate.clone()));
    let meanwhile = async {
        gate.arrival().await;
        let refreshed = olivia.caller.token(&id, json!({ "workflow_id": "fl_1", "rejected_generation": 1 })).await.is(200);
        assert_eq!(refreshed["generation"], 2);
        gate.open();
        refreshed
    };
    let (answer, refreshed) = join(olivia.caller.complete(body), meanwhile).await;
    answer.is(201);
    let renewed = token(&olivia.caller, &id).await;
    assert_eq!((&renewed["generation"], renewed["access_token"] != refreshed["access_token"]), (&json!(3), true));
    assert_eq!((arena.honest.seen().exchanges, arena.honest.seen().refreshes), (2, 1));
    world_goes_on(&arena, &id).await;
}

#[tokio::test]
async fn granted_scopes_may_not_shrink_below_what_is_bound_even_at_the_last_moment() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    let wide = json!({ "connection_id": "conn_honest", "provider_scopes": "openid email offline_access sites:read" });
    let body = code(&arena, &olivia.caller, &olivia.browser, wide).await;
    let id = olivia.caller.complete(body).await.is(201)["id"].as_str().unwrap().to_owned();
    arena.world.bind(&olivia.caller, "fl_1", &id).await;
    let narrow = || {
        let mut body = renewing(&id, "conn_honest");
        body["provider_scopes"] = json!("openid email offline_access");
        body
    };
    // A workflow that needs what is about to go is bound while the renewal stands at the table's door.
    let body = code(&arena, &olivia.caller, &olivia.browser, narrow()).await;
    let gate = Gate::new("TransactWriteItems");
    arena.world.aws().observe(Some(gate.clone()));
    let meanwhile = async {
        gate.arrival().await;
        let needs = json!({ "authorization_id": id, "required_scopes": ["sites:read"] });
        olivia.caller.put("/workflows/fl_2/authorization", needs).await.is(200);
        gate.open();
    };
    let (answer, ()) = join(olivia.caller.complete(body.clone()), meanwhile).await;
    arena.world.aws().observe(None);
    answer.refused(409, "scopes_insufficient");
    olivia.caller.complete(body).await.refused(409, "scopes_insufficient");
    let entry = olivia.caller.one(&id).await;
    assert_eq!(entry["scopes"], json!(["email", "offline_access", "openid", "sites:read"]));
    assert_eq!(token(&olivia.caller, &id).await["generation"], 1, "what works goes on working");
    assert_eq!(arena.honest.seen().revocations, 0);
    // The same in a browser, in words.
    let url = arena.world.url(&olivia.caller, narrow()).await;
    assert!(olivia.browser.visit(&url).await.page(403).contains("Too little access was allowed"));
    // The provider, too, may grant less than it was asked for.
    arena.honest.script(|script| script.scope = Some("openid email".to_owned()));
    let body = code(&arena, &olivia.caller, &olivia.browser, renewing(&id, "conn_honest")).await;
    olivia.caller.complete(body).await.refused(409, "scopes_insufficient");
    arena.honest.script(|script| script.scope = None);

    // Where nothing needs it, less is fine, and is what is shown and handed out.
    olivia.caller.delete("/workflows/fl_2/authorization").await.is(204);
    let body = code(&arena, &olivia.caller, &olivia.browser, narrow()).await;
    let renewed = olivia.caller.complete(body).await.is(201);
    assert_eq!(renewed["scopes"], json!(["email", "offline_access", "openid"]));
    assert_eq!(token(&olivia.caller, &id).await["scope"], "email offline_access openid");
}

#[tokio::test]
async fn a_revoke_that_wins_against_a_renewal_ends_the_new_tokens_too() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    for direct in [false, true] {
        let id = authorized(&arena, olivia).await;
        olivia.caller.delete("/workflows/fl_1/authorization").await.is(204);
        let before = arena.honest.issued().len();
        let gate = Gate::new("TransactWriteItems");
        let meanwhile = async {
            gate.arrival().await;
            olivia.caller.delete(&format!("/workflows/authorization/{id}")).await.is(204);
            gate.open();
        };
        if direct {
            let url = arena.world.url(&olivia.caller, renewing(&id, "conn_honest")).await;
            let callback = arena.before_the_callback(olivia, &url).await;
            arena.world.aws().observe(Some(gate.clone()));
            let (page, ()) = join(olivia.browser.open(&callback), meanwhile).await;
            page.page(403);
        } else {
            let body = code(&arena, &olivia.caller, &olivia.browser, renewing(&id, "conn_honest")).await;
            arena.world.aws().observe(Some(gate.clone()));
            let (answer, ()) = join(olivia.caller.complete(body), meanwhile).await;
            answer.refused(404, "authorization_not_found");
        }
        arena.world.aws().observe(None);
        assert_eq!(olivia.caller.list().await, json!([]));
        assert_eq!(arena.honest.issued().len(), before + 2);
        assert!(given_back(&arena, 0), "nothing that works is left at the provider");
    }
}

#[tokio::test]
async fn a_renewal_brings_what_needs_one_back_to_life_with_its_id_bindings_and_history() {
    let arena = Arena::start().await;
    let (olivia, ben) = (&arena.olivia, &arena.ben);
    let id = authorized(&arena, olivia).await;
    let body = json!({ "authorization_id": id, "workflow_name": "Nightly backup", "required_scopes": ["email"] });
    olivia.caller.put("/workflows/fl_2/authorization", body).await.is(200);
    token(&olivia.caller, &id).await;
    let before = olivia.caller.one(&id).await;
    arena.honest.end_grants();
    arena.world.pass(Duration::HOUR);
    olivia.caller.token(&id, json!({ "workflow_id": "fl_1" })).await.refused(409, "needs_reauthorization");

    // A colleague asks for the URL; the person of the authorization signs in with it, and the colleague's application completes.
    let body = code(&arena, &ben.caller, &olivia.browser, renewing(&id, "conn_honest")).await;
    ben.caller.complete(body).await.is(201);
    let after = olivia.caller.list().await;
    assert_eq!(after.as_array().unwrap().len(), 1, "no second authorization");
    for kept in ["id", "user_id", "created_at", "created_by", "workflows", "workflow_count", "last_used_at", "connection_id", "provider"] {
        assert_eq!(after[0][kept], before[kept], "{kept}");
    }
    assert_eq!((&after[0]["status"], &after[0]["reason"]), (&json!("active"), &Value::Null));
    assert_eq!(token(&olivia.caller, &id).await["generation"], 2);
    let binding = olivia.caller.get("/workflows/fl_2/authorization").await.is(200);
    assert_eq!((&binding["authorization_id"], &binding["required_scopes"]), (&json!(id), &json!(["email"])));
}

#[tokio::test]
async fn an_operator_account_signs_in_by_redirect_only_and_stays_the_same_account() {
    let arena = Arena::start().await;
    let (olivia, ben) = (&arena.olivia, &arena.ben);
    let operator = Browser::new();
    operator.sign_in_at(&arena.honest, &person("svc-backup", "backup@example.com", "org_demo"));
    // Direct mode is for the initiator's own account.
    let (before, issued) = (arena.tally().await, arena.honest.issued().len());
    let url = arena.url(olivia, "conn_honest", Mode::Direct).await;
    operator.visit(&url).await.page(403);
    arena.nothing_was_kept_since(&before, issued).await;
    // By redirect whoever began takes responsibility for the account.
    let body = code(&arena, &olivia.caller, &operator, json!({ "connection_id": "conn_honest" })).await;
    let stored = olivia.caller.complete(body).await.is(201);
    assert_eq!((&stored["user_id"], &stored["created_by"]), (&json!("svc-backup"), &json!("usr_olivia")));
    let id = stored["id"].as_str().unwrap();
    arena.world.bind(&olivia.caller, "fl_1", id).await;

    // Renewed by a colleague with the same account, never with the colleague's own or the first one's own.
    for (party, own) in [(ben, &ben.browser), (olivia, &olivia.browser)] {
        let body = code(&arena, &party.caller, own, renewing(id, "conn_honest")).await;
        party.caller.complete(body).await.refused(409, "identity_mismatch");
    }
    let body = code(&arena, &ben.caller, &operator, renewing(id, "conn_honest")).await;
    let renewed = ben.caller.complete(body).await.is(201);
    assert_eq!((&renewed["user_id"], &renewed["created_by"]), (&json!("svc-backup"), &json!("usr_olivia")));
    assert_eq!(token(&olivia.caller, id).await["generation"], 2);
    // Not even a renewal makes direct mode take it.
    let url = arena.world.url(&olivia.caller, renewing(id, "conn_honest")).await;
    operator.visit(&url).await.page(403);
    assert_eq!(token(&olivia.caller, id).await["generation"], 2);
}

#[tokio::test]
async fn a_refusal_stands_even_if_the_provider_takes_nothing_back() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    arena.honest.front(|front| front.down = vec!["/revoke"]);
    for connection in ["conn_honest", "conn_plain"] {
        let before = arena.tally().await;
        let bait = arena.url(&arena.mallory, connection, Mode::Direct).await;
        victim.browser.visit(&bait).await.page(403);
        let callback = victim.browser.here();
        victim.browser.open(&callback).await.page(403);
        assert_eq!(arena.tally().await.stored, before.stored);
        assert_eq!(arena.honest.seen().exchanges, before.honest.exchanges + 1);
    }
}
