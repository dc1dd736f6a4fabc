//! An attacker makes a sign-in URL and gives it to a victim (draft-ietf-oauth-security-topics-update, session fixation). PKCE, short
//! lifetimes and guess-proof states do not stop it; only that a flow is completed by whoever began it does.

use serde_json::json;
use tests::{Expect as _, Verifier};

use tests::arena::{Arena, Mode, parameter};

#[tokio::test]
async fn s24_session_fixation_by_url_in_redirect_mode_makes_no_token_request() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    for attacker in [&arena.ben, &arena.mallory] {
        for connection in ["conn_honest", "conn_plain"] {
            let before = arena.tally().await;
            let body = json!({
                "connection_id": connection, "redirect_uri": arena.world.return_to(), "state": "the attacker's",
                "code_challenge": Verifier::CHALLENGE, "code_challenge_method": "S256",
            });
            let bait = arena.world.url(&attacker.caller, body).await;
            let (landed, calls) = arena.calls(victim.browser.visit(&bait)).await;
            assert_eq!((landed.status, calls.dynamodb, calls.kms), (303, 0, 0), "the callback asks nobody and stores nothing");

            // The application finds the victim signed in. Whatever it knows of PKCE, the flow is not hers.
            let code = parameter(landed.location(), "code");
            for body in [json!({ "code": code }), json!({ "code": code, "code_verifier": Verifier::VERIFIER })] {
                victim.caller.complete(body.clone()).await.refused(404, "flow_not_found");
                arena.world.nobody().complete(body).await.refused(401, "unauthorized");
            }
            // The attacker has the URL and nothing that came of it.
            for guess in [parameter(&bait, "state"), parameter(&bait, "code_challenge")] {
                let body = json!({ "code": guess, "code_verifier": Verifier::VERIFIER });
                attacker.caller.complete(body).await.refused(404, "flow_not_found");
            }
            assert!(attacker.browser.saw().is_empty(), "nothing was ever sent to the attacker's browser");
            arena.nothing_happened_since(&before).await;
        }
    }
    assert_eq!((arena.honest.seen().exchanges, arena.honest.seen().revocations), (0, 0));
    arena.no_browser_has_a_cookie_of_ours();
}

#[tokio::test]
async fn s24_session_fixation_by_url_in_direct_mode_stores_nothing_and_gives_the_tokens_back() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    for attacker in [&arena.ben, &arena.mallory] {
        for connection in ["conn_honest", "conn_plain"] {
            let (before, issued) = (arena.tally().await, arena.honest.issued().len());
            let bait = arena.url(attacker, connection, Mode::Direct).await;
            let landed = victim.browser.visit(&bait).await;
            let told = landed.page(403);
            assert!(told.contains("somebody may have sent you their link"), "the victim is told what happened: {told}");
            assert_eq!(arena.honest.seen().exchanges, before.honest.exchanges + 1);
            assert_eq!(arena.honest.issued().len(), issued + 2, "an access token and a refresh token");
            arena.nothing_was_kept_since(&before, issued).await;

            // Neither a reload nor the attacker's own sign-in with the same URL brings it back to life.
            let callback = victim.browser.here();
            victim.browser.open(&callback).await.page(403);
            attacker.browser.visit(&bait).await.page(403);
            assert_eq!(arena.honest.seen().exchanges, before.honest.exchanges + 1);
            arena.nothing_was_kept_since(&before, issued).await;
        }
    }
    arena.no_browser_has_a_cookie_of_ours();
}

#[tokio::test]
async fn s24_across_organizations_nothing_crosses() {
    let arena = Arena::with(|connections| {
        connections[0]["organization_id"] = json!("org_demo");
        connections[0]["claims"] = json!({ "subject": "sub", "email": "email", "organization": "org_id" });
    })
    .await;
    let (victim, attacker) = (&arena.olivia, &arena.mallory);
    let before = arena.tally().await;
    // The attacker's organization does not have the connection, by whatever selector.
    for (selector, code) in [
        (json!({ "connection_id": "conn_honest" }), "connection_invalid"),
        (json!({ "organization_id": "org_demo" }), "organization_invalid"),
    ] {
        attacker.caller.post("/workflows/authorization", selector).await.refused(400, code);
    }

    // The attacker's state at the victim's connection, and the victim's state at the attacker's connection.
    let theirs = arena.url(attacker, "conn_malicious", Mode::Direct).await;
    let state = parameter(&theirs, "state");
    victim.browser.open(&format!("{}?code=x&state={state}", arena.callback("conn_honest"))).await.page(400);
    let own = arena.url(victim, "conn_honest", Mode::Redirect).await;
    let stopped = arena.before_the_callback(victim, &own).await;
    attacker.browser.open(&stopped.replace("/conn_honest?", "/conn_malicious?")).await.page(400);

    // The victim's own completion code, in the hands of the same person acting for another organization, and of the attacker.
    let landed = victim.browser.open(&stopped).await;
    let code = parameter(landed.location(), "code");
    let mut claims = arena.world.claims(&local::sign_in::PEOPLE[0]);
    claims.organization = Some("org_elsewhere".to_owned());
    for other in [arena.world.caller(claims), attacker.caller.clone()] {
        other.complete(json!({ "code": code })).await.refused(404, "flow_not_found");
    }
    arena.nothing_happened_since(&before).await;

    // An account of the attacker's organization does not become one of the victim's.
    let (before, issued) = (arena.tally().await, arena.honest.issued().len());
    let url = arena.url(victim, "conn_honest", Mode::Redirect).await;
    let landed = attacker.browser.visit(&url).await;
    arena.application(victim, &landed).await.refused(403, "organization_mismatch");
    let url = arena.url(victim, "conn_honest", Mode::Direct).await;
    attacker.browser.visit(&url).await.page(403);
    arena.nothing_was_kept_since(&before, issued).await;

    // And the victim's own flow still works.
    arena.application(victim, &landed_again(&arena, &stopped).await).await.is(201);
}

async fn landed_again(arena: &Arena, callback: &str) -> local::client::Answer {
    arena.olivia.browser.open(callback).await
}
