//! The attacker has a code, or wants to be rid of what protects one (RFC 9700 sections 4.5, 4.7, 4.8).
//!
//! What is left: a provider without OpenID Connect that has never heard of PKCE gives codes that anybody can inject who steals one before
//! it is used. In direct mode the identity gives it away; in redirect mode an operator may sign in with any account, so it does not.

use serde_json::json;
use tests::Expect as _;
use tests::provider::front::Pkce;

use tests::arena::{Arena, MODES, Mode, parameter, with};

#[tokio::test]
async fn s05_code_injection_the_victims_code_in_the_attackers_state_is_refused_by_pkce() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    for attacker in [&arena.ben, &arena.mallory] {
        for connection in ["conn_honest", "conn_plain"] {
            for mode in MODES {
                let (before, issued) = (arena.tally().await, arena.honest.issued().len());
                // The victim signs in for herself; her callback never arrives, and her code is stolen on the way.
                let own = arena.url(victim, connection, Mode::Redirect).await;
                let stolen = parameter(&arena.before_the_callback(victim, &own).await, "code");
                let theirs = arena.url(attacker, connection, mode).await;
                let callback = arena.before_the_callback(attacker, &theirs).await;
                let landed = attacker.browser.open(&with(&callback, &[("code", Some(&stolen))])).await;
                match mode {
                    Mode::Direct => drop(landed.page(502)),
                    Mode::Redirect => drop(arena.application(attacker, &landed).await.refused(400, "oauth_failed")),
                }
                assert_eq!(arena.honest.seen().exchanges, before.honest.exchanges + 1, "it was asked once, and refused");
                assert_eq!(arena.honest.issued().len(), issued, "no token was given for it");
                arena.nothing_was_kept_since(&before, issued).await;
            }
        }
    }
}

#[tokio::test]
async fn s07_s47_where_pkce_is_unknown_the_nonce_gives_an_injected_code_away() {
    let arena = Arena::start().await;
    arena.honest.front(|front| front.pkce = Pkce::Unknown);
    let (victim, attacker) = (&arena.olivia, &arena.mallory);
    for mode in MODES {
        let (before, issued) = (arena.tally().await, arena.honest.issued().len());
        let own = arena.url(victim, "conn_honest", Mode::Redirect).await;
        let stolen = parameter(&arena.before_the_callback(victim, &own).await, "code");
        let theirs = arena.url(attacker, "conn_honest", mode).await;
        let callback = arena.before_the_callback(attacker, &theirs).await;
        let landed = attacker.browser.open(&with(&callback, &[("code", Some(&stolen))])).await;
        match mode {
            Mode::Direct => drop(landed.page(502)),
            Mode::Redirect => drop(arena.application(attacker, &landed).await.refused(502, "oauth_failed")),
        }
        assert_eq!(arena.honest.issued().len(), issued + 2, "the provider did give tokens");
        arena.nothing_was_kept_since(&before, issued).await;
    }
    // Without OpenID Connect there is no nonce; in direct mode the account is not the attacker's.
    let (before, issued) = (arena.tally().await, arena.honest.issued().len());
    let own = arena.url(victim, "conn_plain", Mode::Redirect).await;
    let stolen = parameter(&arena.before_the_callback(victim, &own).await, "code");
    let theirs = arena.url(attacker, "conn_plain", Mode::Direct).await;
    let callback = arena.before_the_callback(attacker, &theirs).await;
    attacker.browser.open(&with(&callback, &[("code", Some(&stolen))])).await.page(403);
    arena.nothing_was_kept_since(&before, issued).await;
}

#[tokio::test]
async fn s05_pkce_downgrade_a_url_without_its_challenge_or_with_plain_leads_nowhere() {
    let arena = Arena::start().await;
    let (victim, attacker) = (&arena.olivia, &arena.mallory);
    let known = "a-plain-challenge-that-the-attacker-knows-43";
    let stripped: [&[(&str, Option<&str>)]; 4] = [
        &[("code_challenge", None), ("code_challenge_method", None)],
        &[("code_challenge", Some(known)), ("code_challenge_method", Some("plain"))],
        &[("code_challenge", Some(known)), ("code_challenge_method", None)],
        &[("code_challenge_method", Some("plain"))],
    ];
    for pkce in [Pkce::Required, Pkce::Optional] {
        arena.honest.front(|front| front.pkce = pkce);
        for changes in stripped {
            for mode in MODES {
                let (before, issued) = (arena.tally().await, arena.honest.issued().len());
                // The victim's own URL, spoiled on its way to her.
                let own = with(&arena.url(victim, "conn_honest", mode).await, changes);
                let landed = victim.browser.visit(&own).await;
                match (mode, pkce) {
                    (Mode::Direct, _) => drop(landed.page(502)),
                    (Mode::Redirect, Pkce::Required) => assert_eq!(landed.sent("error").as_deref(), Some("oauth_failed")),
                    (Mode::Redirect, _) => drop(arena.application(victim, &landed).await.refused(400, "oauth_failed")),
                }
                assert_eq!(arena.honest.issued().len(), issued, "{pkce:?} {changes:?}: no token for a code without its challenge");

                // And a code that was obtained like that does not fit into the attacker's own flow either.
                let bait = with(&arena.url(attacker, "conn_honest", mode).await, changes);
                let stolen = parameter(&arena.before_the_callback(victim, &bait).await, "code");
                let theirs = arena.url(attacker, "conn_honest", Mode::Direct).await;
                let callback = arena.before_the_callback(attacker, &with(&theirs, changes)).await;
                let injected = attacker.browser.open(&with(&callback, &[("code", Some(&stolen)), ("error", None)])).await;
                assert_eq!(injected.status, if stolen.is_empty() { 400 } else { 502 });
                arena.nothing_was_kept_since(&before, issued).await;
            }
        }
    }
    for form in arena.honest.asked() {
        let verifier = form.iter().find(|(name, _)| name == "code_verifier");
        assert!(verifier.is_some_and(|(_, verifier)| verifier.len() == 43), "no exchange is ever without a verifier");
    }
}

#[tokio::test]
async fn s05_pkce_downgrade_of_the_application_is_refused_too() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    let before = arena.tally().await;
    // The application always sends its verifier. Somebody made a URL without its challenge, so that an own code would do.
    let url = arena.url(victim, "conn_honest", Mode::Redirect).await;
    let code = parameter(victim.browser.visit(&url).await.location(), "code");
    let body = json!({ "code": code, "code_verifier": tests::Verifier::VERIFIER });
    victim.caller.complete(body).await.refused(400, "code_verifier_invalid");
    arena.nothing_happened_since(&before).await;
    victim.caller.complete(json!({ "code": code })).await.is(201);
}

#[tokio::test]
async fn login_csrf_the_attackers_sign_in_does_not_become_the_victims() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    for attacker in [&arena.ben, &arena.mallory] {
        let before = arena.tally().await;
        // By redirect: the attacker signs in, stops before the callback, and lets the victim's browser go on from there.
        let theirs = arena.url(attacker, "conn_honest", Mode::Redirect).await;
        let callback = arena.before_the_callback(attacker, &theirs).await;
        let landed = victim.browser.visit(&callback).await;
        arena.application(victim, &landed).await.refused(404, "flow_not_found");
        arena.nothing_happened_since(&before).await;

        // The same with the attacker's completion code, pasted into the victim's return from her own sign-in.
        let own = arena.url(victim, "conn_honest", Mode::Redirect).await;
        let landed = victim.browser.visit(&own).await;
        let theirs = attacker.browser.visit(&theirs).await;
        let pasted = with(landed.location(), &[("code", Some(&parameter(theirs.location(), "code")))]);
        assert_eq!(parameter(&pasted, "state"), "the application's own");
        let refused = victim.caller.complete(json!({ "code": parameter(&pasted, "code") })).await;
        refused.refused(404, "flow_not_found");
        arena.nothing_happened_since(&before).await;

        // And with the attacker's code in the victim's own state: PKCE refuses it.
        let stolen = arena.before_the_callback(victim, &arena.url(victim, "conn_honest", Mode::Direct).await).await;
        let theirs = arena.url(attacker, "conn_honest", Mode::Direct).await;
        let code = parameter(&arena.before_the_callback(attacker, &theirs).await, "code");
        let issued = arena.honest.issued().len();
        victim.browser.open(&with(&stolen, &[("code", Some(&code))])).await.page(502);
        assert_eq!(arena.honest.issued().len(), issued);
        assert_eq!(arena.tally().await.stored, before.stored);
    }

    // In direct mode the attacker's callback, opened in the victim's browser, is the attacker's own sign-in and nothing else: what is
    // stored is of the attacker's account and belongs to the attacker. The victim's organization has nothing of it.
    let attacker = &arena.mallory;
    let before = arena.tally().await;
    let theirs = arena.url(attacker, "conn_honest", Mode::Direct).await;
    let callback = arena.before_the_callback(attacker, &theirs).await;
    let told = victim.browser.open(&callback).await;
    let told = told.page(200);
    for name in ["mallory", "olivia", "ops@example.com", "org_elsewhere", "org_demo"] {
        assert!(!told.contains(name), "the page tells nothing about anybody: {name}");
    }
    let after = arena.tally().await;
    assert_eq!(after.stored[0], before.stored[0], "the victim's organization");
    assert_eq!((&after.stored[1][0]["user_id"], &after.stored[1][0]["created_by"]), (&json!("mallory"), &json!("usr_mallory")));
    arena.no_browser_has_a_cookie_of_ours();
}

#[tokio::test]
async fn s30_s31_a_code_goes_to_the_token_endpoint_of_its_state_with_the_redirect_uri_of_its_request() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    for connection in ["conn_honest", "conn_plain"] {
        for mode in MODES {
            let url = arena.url(victim, connection, mode).await;
            let callback = arena.before_the_callback(victim, &url).await;
            let asked = arena.honest.asked().len();
            let landed = victim.browser.open(&callback).await;
            match mode {
                Mode::Direct => drop(landed.page(200)),
                Mode::Redirect => drop(arena.application(victim, &landed).await.is(201)),
            }
            let forms = arena.honest.asked();
            assert_eq!(forms.len(), asked + 1);
            let of = |name: &str| forms[asked].iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
            assert_eq!(of("grant_type"), ["authorization_code"]);
            assert_eq!(of("code"), [parameter(&callback, "code")]);
            assert_eq!(of("redirect_uri"), [parameter(&url, "redirect_uri")], "to the letter (RFC 6749 section 4.1.3)");
            assert_eq!(of("redirect_uri"), [arena.callback(connection)]);
            assert_eq!(of("code_verifier").len(), 1);
        }
    }
    assert_eq!(arena.malicious.seen().exchanges, 0);
}
