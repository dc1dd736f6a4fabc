//! The callback and the completion under attack, accident and haste (contract section 6).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use futures_util::future::join_all;
use local::client::{Answer, Decision};
use local::sign_in::PEOPLE;
use reqwest::Method;
use serde_json::{Value, json};
use tests::faults::Gate;
use tests::provider::{Mood, Provider};
use tests::{Caller, Expect as _, Verifier, World};
use time::Duration;
use url::Url;

/// The URL with one query parameter replaced by these values, in this order.
fn with(url: &str, name: &str, values: &[&str]) -> String {
    let mut changed = Url::parse(url).unwrap();
    let kept: Vec<(String, String)> = changed.query_pairs().filter(|(n, _)| n != name).map(|(n, v)| (n.into(), v.into())).collect();
    changed.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(values.iter().map(|v| (name, v)));
    changed.into()
}

fn parameter(url: &str, name: &str) -> String {
    Url::parse(url).unwrap().query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned()).unwrap()
}

/// What every refusal of an untrusted callback has in common: a plain page, no token request, nothing stored.
async fn untrusted(world: &World, url: &str) {
    let requests = world.provider().token_requests;
    let answer = world.open(url).await;
    answer.page(400);
    assert_eq!(answer.location(), "");
    assert_eq!(world.provider().token_requests, requests, "{url}");
}

async fn direct(world: &World, caller: &Caller, person: &str) -> String {
    let url = world.url(caller, json!({})).await;
    world.allowed(&url, person).await
}

#[tokio::test]
async fn s03_a_state_altered_anywhere_is_refused_and_the_true_one_still_works() {
    let world = World::start().await;
    let olivia = world.olivia();
    let back = direct(&world, &olivia, "usr_olivia").await;
    let state = parameter(&back, "state");
    for at in 0..state.len() {
        let mut altered = state.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        untrusted(&world, &with(&back, "state", &[&String::from_utf8(altered).unwrap()])).await;
    }
    // The last character of base64url may have bits that decoders ignore: those count, too.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = state.split_at(state.len() - 1);
    for other in alphabet.iter().map(|b| char::from(*b)).filter(|c| !last.contains(*c)) {
        untrusted(&world, &with(&back, "state", &[&format!("{rest}{other}")])).await;
    }
    for bad in ["", ".", "x", &format!("{state}A"), &format!("{state}="), &state[..state.len() - 1], &state.repeat(2), "\u{0}", "👾"] {
        untrusted(&world, &with(&back, "state", &[bad])).await;
    }
    untrusted(&world, &with(&back, "state", &[])).await;
    assert_eq!(olivia.list().await, json!([]));
    world.open(&back).await.page(200);
    assert_eq!(olivia.list().await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn s26_a_state_replayed_after_completion_shows_the_same_outcome_and_starts_nothing() {
    let world = World::start().await;
    let olivia = world.olivia();
    let back = direct(&world, &olivia, "usr_olivia").await;
    let first = world.open(&back).await;
    let requests = world.provider().token_requests;
    assert_eq!(requests, 1);
    let title = |answer: &Answer| answer.text.split("<footer>").next().unwrap().to_owned();
    for url in [back.clone(), with(&back, "code", &["another-code"])] {
        let again = world.open(&url).await;
        again.page(200);
        assert_eq!(title(&again), title(&first));
    }
    world.pass(Duration::minutes(10) - Duration::SECOND);
    assert_eq!(title(&world.open(&back).await), title(&first));
    world.pass(Duration::SECOND);
    untrusted(&world, &back).await;
    assert_eq!(world.provider().token_requests, requests);
    assert_eq!(olivia.list().await.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s26_sixteen_parallel_callbacks_make_one_token_request() {
    let world = World::start().await;
    let olivia = world.olivia();
    let back = direct(&world, &olivia, "usr_olivia").await;
    for answer in join_all((0..16).map(|_| world.open(&back))).await {
        answer.page(200);
    }
    assert_eq!(world.provider().token_requests, 1);
    assert_eq!(olivia.list().await.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s26_sixteen_parallel_completions_make_one_token_request_and_one_authorization() {
    let world = World::start().await;
    let olivia = world.olivia();
    let code = world.completion_code(&olivia, "usr_olivia").await;
    let answers = join_all((0..16).map(|_| olivia.complete(json!({ "code": code })))).await;
    assert_eq!(world.provider().token_requests, 1);
    let list = olivia.list().await;
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1);
    for answer in answers {
        match answer.status {
            200 | 201 => assert_eq!(answer.json()["id"], list[0]["id"]),
            _ => assert_ne!(answer.refused(409, "flow_in_progress"), Value::Null),
        }
    }
}

#[tokio::test]
async fn a_completion_under_way_is_told_and_can_be_repeated() {
    let world = World::start().await;
    let olivia = world.olivia();
    let code = world.completion_code(&olivia, "usr_olivia").await;
    let gate = Gate::new("TransactWriteItems");
    world.aws().observe(Some(gate.clone()));
    let first = async { olivia.complete(json!({ "code": code })).await };
    let second = async {
        gate.arrival().await;
        let answer = olivia.complete(json!({ "code": code })).await;
        gate.open();
        answer
    };
    let (first, second) = tokio::join!(first, second);
    second.refused(409, "flow_in_progress");
    assert!(second.header("retry-after").parse::<u32>().is_ok_and(|s| s > 0));
    let stored = first.is(201);
    assert_eq!(olivia.complete(json!({ "code": code })).await.is(200), stored);
    assert_eq!(world.provider().token_requests, 1);
}

#[tokio::test]
async fn s23_the_connection_of_the_path_must_be_the_states() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let back = direct(&world, &olivia, "usr_olivia").await;
    for other in ["conn_scripted", "conn_unknown", "CONN_DEMO", "conn_demo%2F", "x%00"] {
        untrusted(&world, &back.replace("/callback/conn_demo?", &format!("/callback/{other}?"))).await;
    }
    let theirs = provider.come_back(&world.url(&olivia, json!({ "connection_id": "conn_scripted" })).await);
    untrusted(&world, &theirs.replace("/callback/conn_scripted?", "/callback/conn_demo?")).await;
    assert_eq!(provider.seen().exchanges, 0);
    world.open(&back).await.page(200);
}

#[tokio::test]
async fn s04_a_state_works_for_ten_minutes_and_not_a_second_longer() {
    let world = World::start().await;
    let olivia = world.olivia();
    let (early, late) = (world.url(&olivia, json!({})).await, world.url(&olivia, json!({})).await);
    let by_redirect = world.url(&olivia, json!({ "redirect_uri": world.return_to(), "state": "s" })).await;
    world.pass(Duration::minutes(10) - Duration::SECOND);
    let (early, late) = (world.allowed(&early, "usr_olivia").await, world.allowed(&late, "usr_olivia").await);
    let by_redirect = world.allowed(&by_redirect, "usr_olivia").await;
    world.open(&early).await.page(200);
    world.pass(Duration::SECOND);
    untrusted(&world, &late).await;
    untrusted(&world, &by_redirect).await;
    untrusted(&world, &with(&with(&late, "code", &[]), "error", &["access_denied"])).await;
    assert_eq!(olivia.list().await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn s29_a_duplicated_parameter_is_refused_in_either_order() {
    let world = World::start().await;
    let olivia = world.olivia();
    let back = direct(&world, &olivia, "usr_olivia").await;
    for name in ["state", "code", "iss"] {
        let own = parameter(&back, name);
        for values in [[own.as_str(), "other"], ["other", &own], [&own, &own], ["", &own]] {
            untrusted(&world, &with(&back, name, &values)).await;
        }
    }
    untrusted(&world, &format!("{back}&error=access_denied")).await;
    untrusted(&world, &with(&with(&back, "code", &[]), "error", &["access_denied", "access_denied"])).await;
    untrusted(&world, &with(&back, "code", &[])).await;
    untrusted(&world, &with(&back, "code", &[""])).await;
    world.open(&back).await.page(200);
}

#[tokio::test]
async fn s28_the_issuer_parameter_must_be_there_where_it_is_advertised_and_be_exact() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let back = direct(&world, &olivia, "usr_olivia").await;
    let issuer = parameter(&back, "iss");
    for wrong in
        [format!("{issuer}/"), issuer.to_uppercase(), "https://evil.example".to_owned(), String::new(), provider.issuer().to_owned()]
    {
        untrusted(&world, &with(&back, "iss", &[&wrong])).await;
    }
    untrusted(&world, &with(&back, "iss", &[])).await;
    let refusal = with(&with(&back, "code", &[]), "error", &["access_denied"]);
    untrusted(&world, &with(&refusal, "iss", &["https://evil.example"])).await;
    untrusted(&world, &with(&refusal, "iss", &[])).await;
    world.open(&back).await.page(200);

    // One that does not advertise it must not send it (RFC 9207 section 2.4).
    let theirs = provider.come_back(&world.url(&olivia, json!({ "connection_id": "conn_scripted" })).await);
    untrusted(&world, &format!("{theirs}&iss=https%3A%2F%2Fevil.example")).await;
    assert_eq!(provider.seen().exchanges, 0);
    world.open(&theirs).await.page(200);
}

#[tokio::test]
async fn s34_head_options_and_prefetch_consume_nothing() {
    let world = World::start().await;
    let olivia = world.olivia();
    let back = direct(&world, &olivia, "usr_olivia").await;
    let before = world.calls();
    for (method, headers) in [
        (Method::HEAD, vec![]),
        (Method::OPTIONS, vec![]),
        (Method::OPTIONS, vec![("origin", "https://app.example.com"), ("access-control-request-method", "GET")]),
        (Method::GET, vec![("sec-purpose", "prefetch")]),
        (Method::GET, vec![("sec-purpose", "prefetch;prerender")]),
        (Method::GET, vec![("purpose", "prefetch")]),
    ] {
        let answer = world.http.send(method.clone(), &back, &headers, None).await.unwrap();
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("access-control-allow-origin"), "", "CORS is never for the callback");
        assert_eq!(answer.location(), "");
        if method == Method::GET {
            // Not an answer that a browser keeps for the real visit.
            answer.page(503);
            continue;
        }
        assert_eq!(answer.text, "", "{method}");
        if method == Method::OPTIONS {
            assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
        }
    }
    assert_eq!((world.calls(), world.provider().token_requests), (before, 0));
    world.open(&back).await.page(200);
}

#[tokio::test]
async fn s27_a_person_who_refuses_sees_a_page_and_the_flow_is_over() {
    let world = World::start().await;
    let olivia = world.olivia();
    let url = world.url(&olivia, json!({})).await;
    let back = world.browser.decide(&url, Decision::Refuse).await.unwrap().location().to_owned();
    assert!(world.open(&back).await.page(403).contains("refused"));
    let code = with(&with(&back, "error", &[]), "code", &["a-code"]);
    world.open(&code).await.page(403);
    assert_eq!(world.provider().token_requests, 0, "the state is consumed");
    assert_eq!(olivia.list().await, json!([]));
}

#[tokio::test]
async fn s27_in_redirect_mode_the_application_gets_known_errors_its_state_and_no_word_of_the_provider() {
    let world = World::start().await;
    let olivia = world.olivia();
    for (theirs, ours) in [
        ("access_denied", "access_denied"),
        ("invalid_scope", "oauth_failed"),
        ("server_error", "oauth_failed"),
        ("temporarily_unavailable", "oauth_failed"),
        ("interaction_required", "oauth_failed"),
        ("<script>alert(1)</script>", "oauth_failed"),
        ("", "oauth_failed"),
    ] {
        let url = world.url(&olivia, json!({ "redirect_uri": world.return_to(), "state": "mine & only" })).await;
        let refused = world.browser.decide(&url, Decision::Refuse).await.unwrap().location().to_owned();
        let refused = format!(
            "{}&error_description=%3Cb%3Etheir+words%3C%2Fb%3E&error_uri=https%3A%2F%2Fevil.example",
            with(&refused, "error", &[theirs])
        );
        let answer = world.open(&refused).await;
        assert_eq!(answer.status, 303, "{theirs}: {}", answer.text);
        assert!(answer.location().starts_with(&format!("{}?", world.return_to())));
        assert_eq!(answer.sent("error").as_deref(), Some(ours), "{theirs}");
        assert_eq!(answer.sent("state").as_deref(), Some("mine & only"));
        assert!(answer.sent("error_description").is_some_and(|d| !d.is_empty() && !d.contains("their words")));
        assert_eq!((answer.sent("code"), answer.sent("error_uri")), (None, None));
        assert!(!answer.location().contains("%3Cscript") && !answer.location().contains("evil"));
    }
    assert_eq!(world.provider().token_requests, 0);
}

#[tokio::test]
async fn s22_the_browser_leaves_only_for_the_redirect_uri_in_the_state() {
    let world = World::start().await;
    let olivia = world.olivia();
    let url = world.url(&olivia, json!({ "redirect_uri": world.return_to() })).await;
    let back = world.allowed(&url, "usr_olivia").await;
    let answer = world.open(&format!("{back}&return_to=https://evil.example&redirect_uri=https://evil.example&next=//evil.example")).await;
    assert_eq!(answer.status, 303);
    assert!(answer.location().starts_with(&format!("{}?code=", world.return_to())), "{}", answer.location());
    assert!(!answer.location().contains("evil"));
    let direct = direct(&world, &olivia, "usr_olivia").await;
    let answer = world.open(&format!("{direct}&return_to=https://evil.example&redirect_uri=https://evil.example")).await;
    answer.page(200);
    assert_eq!(answer.location(), "");
}

#[tokio::test]
async fn s24_direct_mode_a_victim_who_opens_the_attackers_url_links_nothing() {
    let world = World::start().await;
    let (ben, mallory) = (world.ben(), world.mallory());
    for attacker in [&ben, &mallory] {
        let revoked = world.provider().revocations;
        let back = direct(&world, attacker, "usr_olivia").await;
        world.open(&back).await.page(403);
        assert_eq!(attacker.list().await, json!([]));
        assert!(world.provider().revocations > revoked, "the victim's tokens are given back");
        world.open(&back).await.page(403);
    }
    assert_eq!(world.olivia().list().await, json!([]));
    assert_eq!(world.provider().token_requests, 2);
}

#[tokio::test]
async fn s24_direct_mode_at_another_issuer_the_verified_email_must_be_the_callers() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let unverified = {
        let mut claims = world.claims(&PEOPLE[0]);
        claims.email_verified = false;
        world.caller(claims)
    };
    let sign_in = async |caller: &Caller| {
        let url = world.url(caller, json!({ "connection_id": "conn_scripted" })).await;
        world.open(&provider.come_back(&url)).await.status
    };
    assert_eq!(sign_in(&unverified).await, 403, "an unverified address of the caller proves nothing");
    for (email, verified) in [(Some("victim@example.com"), true), (Some("ops@example.com"), false), (None, true), (Some(""), true)] {
        provider.script(|script| {
            script.person.email = email.map(str::to_owned);
            script.person.email_verified = verified;
        });
        assert_eq!(sign_in(&olivia).await, 403, "{email:?} {verified}");
    }
    // The same subject is another person at another issuer.
    provider.script(|script| script.person.subject = "usr_olivia".to_owned());
    assert_eq!(sign_in(&olivia).await, 403);
    assert_eq!(olivia.list().await, json!([]));
    assert!(provider.seen().revocations >= provider.seen().exchanges, "all that was obtained is given back");
    provider.script(|script| {
        script.person.email = Some("OPS@example.com".to_owned());
        script.person.email_verified = true;
    });
    assert_eq!(sign_in(&olivia).await, 200, "addresses differ in case only");
}

#[tokio::test]
async fn s24_redirect_mode_only_the_caller_who_began_completes_and_nothing_is_exchanged_before() {
    let world = World::start().await;
    let attacker = world.ben();
    let code = world.completion_code(&attacker, "usr_olivia").await;
    let with_claims = |change: fn(&mut local::sign_in::ApiClaims)| {
        let mut claims = world.claims(&PEOPLE[1]);
        change(&mut claims);
        world.caller(claims)
    };
    let elsewhere = with_claims(|claims| claims.organization = Some("org_elsewhere".to_owned()));
    for victim in [world.olivia(), world.mallory(), elsewhere] {
        victim.complete(json!({ "code": code })).await.refused(404, "flow_not_found");
        assert_eq!(victim.list().await, json!([]));
    }
    assert_eq!(world.provider().token_requests, 0);
    attacker.complete(json!({ "code": code })).await.is(201);
    world.olivia().complete(json!({ "code": code })).await.refused(404, "flow_not_found");
}

#[tokio::test]
async fn an_unknown_completion_code_and_another_callers_get_the_same_answer() {
    let world = World::start().await;
    let (olivia, ben) = (world.olivia(), world.ben());
    let code = world.completion_code(&olivia, "usr_olivia").await;
    let foreign = ben.complete(json!({ "code": code })).await;
    let url = world.url(&olivia, json!({})).await;
    let state = parameter(&url, "state");
    for unknown in ["x", &code[1..], &format!("{code}A"), &state] {
        assert_eq!(ben.complete(json!({ "code": unknown })).await.text, foreign.text);
        olivia.complete(json!({ "code": unknown })).await.refused(404, "flow_not_found");
    }
    for at in (0..code.len()).step_by(7) {
        let mut altered = code.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        olivia.complete(json!({ "code": String::from_utf8(altered).unwrap() })).await.refused(404, "flow_not_found");
    }
    untrusted(&world, &format!("{}/workflows/authorization/callback/conn_demo?state={code}&code=x", world.base())).await;
    assert_eq!(world.provider().token_requests, 0);
    olivia.complete(json!({ "code": code })).await.is(201);
}

#[tokio::test]
async fn a_wrong_code_verifier_is_refused_and_the_flow_stays_usable() {
    let world = World::start().await;
    let olivia = world.olivia();
    let body = json!({ "redirect_uri": world.return_to(), "code_challenge": Verifier::CHALLENGE, "code_challenge_method": "S256" });
    let code = world.sign_in(&olivia, "usr_olivia", body).await.sent("code").unwrap();
    for wrong in [
        Value::Null,
        json!(""),
        json!("short"),
        json!(Verifier::CHALLENGE),
        json!("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK"),
        json!("x".repeat(129)),
    ] {
        olivia.complete(json!({ "code": code, "code_verifier": wrong })).await.refused(400, "code_verifier_invalid");
    }
    assert_eq!(world.provider().token_requests, 0);
    world.ben().complete(json!({ "code": code, "code_verifier": Verifier::VERIFIER })).await.refused(404, "flow_not_found");
    olivia.complete(json!({ "code": code, "code_verifier": Verifier::VERIFIER })).await.is(201);
}

#[tokio::test]
async fn s64_completing_again_answers_the_first_outcome_for_ten_minutes() {
    let world = World::start().await;
    let olivia = world.olivia();
    let code = world.completion_code(&olivia, "usr_olivia").await;
    let stored = olivia.complete(json!({ "code": code })).await.is(201);
    world.pass(Duration::minutes(10) - Duration::SECOND);
    assert_eq!(olivia.complete(json!({ "code": code })).await.is(200), stored);
    world.pass(Duration::SECOND);
    olivia.complete(json!({ "code": code })).await.refused(404, "flow_not_found");
    assert_eq!(world.provider().token_requests, 1);
}

#[tokio::test]
async fn a_completion_code_lives_five_minutes() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let code = async || {
        let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to() });
        world.open(&provider.come_back(&world.url(&olivia, body).await)).await.sent("code").unwrap()
    };
    let (used, unused) = (code().await, code().await);
    world.pass(Duration::minutes(5) - Duration::SECOND);
    olivia.complete(json!({ "code": used })).await.is(201);
    world.pass(Duration::SECOND);
    olivia.complete(json!({ "code": unused })).await.refused(404, "flow_not_found");
    assert_eq!(provider.seen().exchanges, 1);
    olivia.complete(json!({ "code": used })).await.is(200);
}

#[tokio::test]
async fn an_identity_of_another_organization_is_refused_and_its_tokens_are_given_back() {
    let world = World::start().await;
    let olivia = world.olivia();
    let code = world.completion_code(&olivia, "usr_mallory").await;
    olivia.complete(json!({ "code": code })).await.refused(403, "organization_mismatch");
    assert!(world.provider().revocations >= 1);
    assert_eq!((olivia.list().await, world.mallory().list().await), (json!([]), json!([])));
    olivia.complete(json!({ "code": code })).await.refused(403, "organization_mismatch");
    assert_eq!(world.provider().token_requests, 1);

    let back = direct(&world, &olivia, "usr_mallory").await;
    assert!(world.open(&back).await.page(403).contains("another organization"));
    assert_eq!(olivia.list().await, json!([]));
}

#[tokio::test]
async fn a_code_that_the_provider_refuses_is_oauth_failed_and_never_sent_again() {
    let world = World::start().await;
    let olivia = world.olivia();
    let code = world.completion_code(&olivia, "usr_olivia").await;
    // The demonstration's own codes live a minute.
    world.pass(Duration::seconds(61));
    let refused = olivia.complete(json!({ "code": code })).await.refused(400, "oauth_failed");
    assert_eq!(refused["type"], "provider_error");
    olivia.complete(json!({ "code": code })).await.refused(400, "oauth_failed");
    assert_eq!(world.provider().token_requests, 1);
    let back = direct(&world, &olivia, "usr_olivia").await;
    world.pass(Duration::seconds(61));
    world.open(&back).await.page(502);
}

#[tokio::test]
async fn s32_a_provider_that_is_down_or_answers_garbage_is_asked_once_and_its_words_are_not_passed_on() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    for (mood, page, status) in [
        (Mood::Down, 503, 502),
        (Mood::Garbled, 502, 502),
        (Mood::Refusing("invalid_grant"), 502, 400),
        (Mood::Refusing("whatever<b>"), 502, 400),
    ] {
        provider.feels(mood);
        let exchanges = provider.seen().exchanges;
        let body = json!({ "connection_id": "conn_scripted", "redirect_uri": world.return_to() });
        let code = world.open(&provider.come_back(&world.url(&olivia, body).await)).await.sent("code").unwrap();
        for _ in 0..2 {
            let refused = olivia.complete(json!({ "code": code })).await;
            refused.refused(status, "oauth_failed");
            assert!(!refused.text.contains("own words") && !refused.text.contains("maintenance") && !refused.text.contains("<b>"));
        }
        assert_eq!(provider.seen().exchanges, exchanges + 1, "{mood:?}");

        let back = provider.come_back(&world.url(&olivia, json!({ "connection_id": "conn_scripted" })).await);
        for _ in 0..2 {
            let answer = world.open(&back).await;
            answer.page(page);
            assert!(!answer.text.contains("own words") && !answer.text.contains("whatever"));
        }
        assert_eq!(provider.seen().exchanges, exchanges + 2, "{mood:?}");
    }
    assert_eq!(olivia.list().await, json!([]));
}

#[tokio::test]
async fn s45_an_id_token_that_does_not_hold_stores_nothing_and_gives_the_tokens_back() {
    let provider = Provider::start().await;
    let world = World::with_provider(&provider).await;
    let olivia = world.olivia();
    let now = world.now().unix_timestamp();
    for lie in [
        json!({ "iss": "https://evil.example" }),
        json!({ "aud": "another-client" }),
        json!({ "aud": ["scripted-client", "another-client"] }),
        json!({ "azp": "another-client" }),
        json!({ "exp": now - 120 }),
        json!({ "exp": (now + 600).to_string() }),
        json!({ "iat": "now" }),
        json!({ "nonce": "another" }),
        json!({ "nonce": null }),
        json!({ "at_hash": "AAAAAAAAAAAAAAAAAAAAAA" }),
        json!({ "sub": "" }),
        json!({ "sub": null }),
    ] {
        provider.script(|script| script.id_token = lie.clone());
        let revocations = provider.seen().revocations;
        let back = provider.come_back(&world.url(&olivia, json!({ "connection_id": "conn_scripted" })).await);
        let answer = world.open(&back).await;
        assert_eq!(answer.status, 502, "{lie}");
        assert!(provider.seen().revocations > revocations, "{lie}");
    }
    assert_eq!(olivia.list().await, json!([]));
    provider.script(|script| script.id_token = json!({}));
    let back = provider.come_back(&world.url(&olivia, json!({ "connection_id": "conn_scripted" })).await);
    world.open(&back).await.page(200);
}

#[tokio::test]
async fn s35_completing_takes_json_and_a_bearer_token_never_a_cookie() {
    let world = World::start().await;
    let olivia = world.olivia();
    let code = world.completion_code(&olivia, "usr_olivia").await;
    let body = json!({ "code": code }).to_string();
    let path = "/workflows/authorization/complete";
    let token = olivia.authorization().unwrap();
    let cookie = format!("token={}; Authorization={token}", token.trim_start_matches("Bearer "));
    let answer = world.nobody().send(Method::POST, path, &[("content-type", "application/json"), ("cookie", &cookie)], Some(&body)).await;
    answer.refused(401, "unauthorized");
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data; boundary=x"] {
        olivia.send(Method::POST, path, &[("content-type", kind)], Some(&body)).await.refused(415, "unsupported_media_type");
    }
    olivia.send(Method::POST, path, &[], Some(&body)).await.refused(415, "unsupported_media_type");
    let answer = olivia
        .send(Method::POST, path, &[("content-type", "application/json; charset=utf-8"), ("origin", "https://evil.example")], Some(&body))
        .await;
    answer.is(201);
    assert_eq!(answer.header("access-control-allow-origin"), "", "CORS is the gateway's");
}

#[tokio::test]
async fn s33_every_page_and_redirect_is_kept_from_caches_referrers_and_frames() {
    let world = World::start().await;
    let olivia = world.olivia();
    let callback = format!("{}/workflows/authorization/callback/conn_demo", world.base());
    let headers = [("x-request-id", "<b>mine</b>")];
    let answer = world.http.send(Method::GET, &callback, &headers, None).await.unwrap();
    let text = answer.page(400);
    assert!(!text.contains("<b>mine"), "a request id cannot become markup");
    assert_eq!(answer.header("x-request-id"), "<b>mine</b>");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let back = direct(&world, &olivia, "usr_olivia").await;
    let page = world.open(&back).await;
    let text = page.page(200);
    for secret in [parameter(&back, "state"), parameter(&back, "code"), "ops@example.com".to_owned(), "usr_olivia".to_owned()] {
        assert!(!text.contains(&secret), "{secret}");
    }
}
