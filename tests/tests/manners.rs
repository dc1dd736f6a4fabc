//! The callback's manners: people reload, go back, use two devices, lose their connection half-way, and come too late (contract
//! section 6.1).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use futures_util::future::join;
use local::client::Answer;
use serde_json::{Value, json};
use tests::arena::{Arena, MODES, Mode, parameter, person, with};
use tests::faults::{Bell, Gate};
use tests::provider::Mood;
use tests::{Browser, Expect as _, Verifier};
use time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use url::{Position, Url};

/// The text of a page without its reference, which is new each time.
fn told(answer: &Answer) -> String {
    answer.text.split("<footer>").next().unwrap().to_owned()
}

/// A connection on which a request has been sent, and nobody waits for the answer any more once it is dropped.
async fn asked(url: &str, head: &str, body: &str) -> TcpStream {
    let url = Url::parse(url).unwrap();
    let place = &url[Position::BeforeHost..Position::AfterPort];
    let mut connection = TcpStream::connect(place).await.unwrap();
    let method = if body.is_empty() { "GET" } else { "POST" };
    let length = body.len();
    let path = &url[Position::BeforePath..];
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {place}\r\ncontent-length: {length}\r\n{head}\r\n{body}");
    connection.write_all(request.as_bytes()).await.unwrap();
    connection
}

#[tokio::test]
async fn a_browser_that_is_gone_half_way_finds_the_outcome_when_it_comes_back() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    for (mood, status) in [(Mood::Well, 200), (Mood::Refusing("invalid_grant"), 502), (Mood::Garbled, 502), (Mood::Down, 503)] {
        let (before, issued) = (arena.tally().await, arena.honest.issued().len());
        let url = arena.url(olivia, "conn_honest", Mode::Direct).await;
        let callback = arena.before_the_callback(olivia, &url).await;
        // The provider is slow, and the browser does not wait.
        let hold = arena.honest.hold();
        let browser = asked(&callback, "", "").await;
        hold.arrival().await;
        drop(browser);
        arena.honest.feels(mood);
        hold.let_go();
        // Whoever comes back sees how it ended, and starts nothing.
        let page = olivia.browser.open(&callback).await;
        page.page(status);
        let again = olivia.browser.open(&callback).await;
        assert_eq!((again.status, told(&again)), (status, told(&page)));
        assert_eq!(arena.honest.seen().exchanges, before.honest.exchanges + 1, "{mood:?}");
        arena.honest.feels(Mood::Well);
        let stored = olivia.caller.list().await.as_array().unwrap().len();
        assert_eq!(stored, before.stored[0].as_array().unwrap().len() + usize::from(mood == Mood::Well), "stored once, or not at all");
        if mood != Mood::Well {
            assert!(arena.honest.issued()[issued..].is_empty() || mood == Mood::Garbled);
        }
    }
    // The same where the wrong person signed in: refused, and given back, although nobody was there to be told.
    let (before, issued) = (arena.tally().await, arena.honest.issued().len());
    let bait = arena.url(&arena.mallory, "conn_honest", Mode::Direct).await;
    let callback = arena.before_the_callback(olivia, &bait).await;
    let hold = arena.honest.hold();
    let browser = asked(&callback, "", "").await;
    hold.arrival().await;
    drop(browser);
    hold.let_go();
    olivia.browser.open(&callback).await.page(403);
    arena.nothing_was_kept_since(&before, issued).await;
}

#[tokio::test]
async fn a_browser_that_is_gone_while_the_table_is_slow_loses_nothing() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    let url = arena.url(olivia, "conn_honest", Mode::Direct).await;
    let callback = arena.before_the_callback(olivia, &url).await;
    let gate = Gate::new("TransactWriteItems");
    arena.world.aws().observe(Some(gate.clone()));
    let browser = asked(&callback, "", "").await;
    gate.arrival().await;
    drop(browser);
    gate.open();
    olivia.browser.open(&callback).await.page(200);
    assert_eq!((arena.honest.seen().exchanges, arena.honest.seen().revocations), (1, 0));
    assert_eq!(olivia.caller.list().await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_application_that_is_gone_half_way_completes_again_and_gets_the_same() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    let url = arena.url(olivia, "conn_honest", Mode::Redirect).await;
    let landed = olivia.browser.visit(&url).await;
    let body = json!({ "code": landed.sent("code") });
    let hold = arena.honest.hold();
    let head = format!("authorization: {}\r\ncontent-type: application/json\r\n", olivia.caller.authorization().unwrap());
    let complete = format!("{}/workflows/authorization/complete", arena.world.base());
    let application = asked(&complete, &head, &body.to_string()).await;
    hold.arrival().await;
    drop(application);
    let early = olivia.caller.complete(body.clone()).await;
    early.refused(409, "flow_in_progress");
    assert!(early.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    hold.let_go();
    let mut answer = olivia.caller.complete(body.clone()).await;
    while answer.status == 409 {
        answer.refused(409, "flow_in_progress");
        answer = olivia.caller.complete(body.clone()).await;
    }
    let stored = answer.is(200);
    assert_eq!(olivia.caller.list().await, json!([stored]));
    assert_eq!(arena.honest.seen().exchanges, 1);
}

#[tokio::test]
async fn the_back_button_after_a_success_starts_nothing_again() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    // By redirect: back to the callback, and forth to the application.
    let url = arena.url(olivia, "conn_honest", Mode::Redirect).await;
    let first = olivia.browser.visit(&url).await;
    let stored = arena.application(olivia, &first).await.is(201);
    let callback = olivia.browser.here();
    for _ in 0..2 {
        let again = olivia.browser.open(&callback).await;
        assert_eq!(arena.application(olivia, &again).await.is(200), stored);
    }
    // Further back, to the provider: a new code for a state that has been used.
    let again = olivia.browser.visit(&url).await;
    assert_ne!(parameter(&olivia.browser.here(), "code"), parameter(&callback, "code"));
    assert_eq!(arena.application(olivia, &again).await.is(200), stored);
    assert_eq!(arena.honest.seen().exchanges, 1);

    // In direct mode the page is what it was.
    let url = arena.url(olivia, "conn_honest", Mode::Direct).await;
    let first = olivia.browser.visit(&url).await;
    let callback = olivia.browser.here();
    first.page(200);
    for back in [&callback, &url] {
        let again = olivia.browser.visit(back).await;
        assert_eq!((again.status, told(&again)), (200, told(&first)));
    }
    assert_eq!((arena.honest.seen().exchanges, olivia.caller.list().await.as_array().unwrap().len()), (2, 2));

    // After ten minutes there is nothing to go back to.
    arena.world.pass(Duration::minutes(10));
    let before = arena.tally().await;
    olivia.browser.open(&callback).await.page(400);
    arena.nothing_happened_since(&before).await;
}

#[tokio::test]
async fn a_sign_in_may_end_in_another_browser_than_the_one_that_began_if_the_person_is_the_same() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    // The URL is shown at the desk and opened on the phone, where the same person is signed in. Nothing in the desk's browser is
    // needed: it is the identity that counts.
    let phone = Browser::new();
    phone.sign_in_at(&arena.honest, &person("olivia", "ops@example.com", "org_demo"));
    let url = arena.url(olivia, "conn_honest", Mode::Direct).await;
    phone.visit(&url).await.page(200);
    assert_eq!(olivia.caller.list().await[0]["user_id"], "olivia");

    // By redirect the application must know her there: a session of nobody, or of somebody else, completes nothing.
    let url = arena.url(olivia, "conn_honest", Mode::Redirect).await;
    let landed = phone.visit(&url).await;
    let body = json!({ "code": landed.sent("code") });
    arena.world.nobody().complete(body.clone()).await.refused(401, "unauthorized");
    arena.ben.caller.complete(body.clone()).await.refused(404, "flow_not_found");
    assert_eq!(arena.honest.seen().exchanges, 1);
    olivia.caller.complete(body).await.is(201);

    // A stranger's browser in which she signs in is hers for that moment; a stranger who signs in is a stranger.
    let (before, issued) = (arena.tally().await, arena.honest.issued().len());
    let url = arena.url(olivia, "conn_honest", Mode::Direct).await;
    arena.ben.browser.visit(&url).await.page(403);
    arena.nothing_was_kept_since(&before, issued).await;
}

#[tokio::test]
async fn a_callback_after_ten_minutes_is_a_page_that_says_so_and_so_is_its_reload() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    for mode in MODES {
        let url = arena.url(olivia, "conn_honest", mode).await;
        let callback = arena.before_the_callback(olivia, &url).await;
        let refusal = with(&callback, &[("code", None), ("error", Some("access_denied"))]);
        arena.world.pass(Duration::minutes(10));
        let before = arena.tally().await;
        let first = olivia.browser.open(&callback).await;
        assert!(first.page(400).contains("It has expired"));
        for again in [&callback, &refusal, &callback] {
            let reloaded = olivia.browser.open(again).await;
            assert_eq!((reloaded.status, told(&reloaded), reloaded.location()), (400, told(&first), ""));
        }
        arena.nothing_happened_since(&before).await;
    }
}

#[tokio::test]
async fn a_reload_that_waits_too_long_is_told_to_come_again_and_starts_nothing() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    let url = arena.url(olivia, "conn_honest", Mode::Direct).await;
    let callback = arena.before_the_callback(olivia, &url).await;
    let hold = arena.honest.hold();
    let first = asked(&callback, "", "").await;
    hold.arrival().await;
    let bell = Bell::new("GetItem");
    arena.world.aws().observe(Some(bell.clone()));
    let time_passes = async {
        bell.ring().await;
        arena.world.pass(Duration::seconds(28));
    };
    let (second, ()) = join(olivia.browser.open(&callback), time_passes).await;
    assert!(second.page(503).contains("Your sign-in is being completed"));
    assert!(second.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    assert_eq!(arena.honest.seen().exchanges, 0, "the one that is held");
    drop(first);
}

#[tokio::test]
async fn a_sign_in_whose_function_died_is_told_after_a_minute_and_its_code_is_never_sent_again() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    let direct = arena.before_the_callback(olivia, &arena.url(olivia, "conn_honest", Mode::Direct).await).await;
    let landed = olivia.browser.visit(&arena.url(olivia, "conn_honest", Mode::Redirect).await).await;
    let body = json!({ "code": landed.sent("code") });
    // Both exchanges are sent, and never come to an end as far as anybody can see.
    let hold = arena.honest.hold();
    let browser = asked(&direct, "", "").await;
    hold.arrival().await;
    let other_hold = arena.honest.hold();
    let head = format!("authorization: {}\r\ncontent-type: application/json\r\n", olivia.caller.authorization().unwrap());
    let complete = format!("{}/workflows/authorization/complete", arena.world.base());
    let application = asked(&complete, &head, &body.to_string()).await;
    other_hold.arrival().await;
    drop((browser, application));
    let sent = arena.honest.asked().len();

    arena.world.pass(Duration::seconds(59));
    olivia.caller.complete(body.clone()).await.refused(409, "flow_in_progress");
    arena.world.pass(Duration::SECOND);
    for _ in 0..2 {
        olivia.browser.open(&direct).await.page(503);
        olivia.caller.complete(body.clone()).await.refused(502, "oauth_failed");
    }
    assert_eq!(arena.honest.asked().len(), sent, "a code that may be spent is not sent again");
    assert_eq!(olivia.caller.list().await, json!([]));
}

#[tokio::test]
async fn s29_s34_a_callback_that_comes_in_pieces_or_in_a_strange_form_consumes_nothing() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    for mode in MODES {
        let url = arena.url(olivia, "conn_honest", mode).await;
        let callback = arena.before_the_callback(olivia, &url).await;
        let (state, code) = (parameter(&callback, "state"), parameter(&callback, "code"));
        let at = arena.callback("conn_honest");
        let before = arena.tally().await;
        for spoiled in [
            at.clone(),
            format!("{at}?"),
            format!("{at}?state={state}"),
            format!("{at}?code={code}"),
            format!("{at}?code={code}&state="),
            format!("{at}?code=&state={state}"),
            format!("{at}?error=&code={code}&state={state}"),
            format!("{at}?code={code}&state={state}&state={state}"),
            format!("{at}?state={state}&code={code}&code={code}"),
            format!("{at}?state={state}&code={code}&%73tate={state}"),
            format!("{at}?code={code};state={state}"),
            format!("{at}?State={state}&Code={code}"),
            format!("{at}?state[]={state}&code[]={code}"),
            format!("{at}?code={code}&state=%20{state}"),
            format!("{at}?code={code}&state={state}%00"),
            format!("{at}?code={code}&state={}", state.to_lowercase()),
            format!("{at}/?code={code}&state={state}"),
            format!("{at}#?code={code}&state={state}"),
        ] {
            let answer = olivia.browser.open(&spoiled).await;
            assert!(matches!(answer.status, 400 | 404), "{spoiled}: {}", answer.status);
            assert_eq!(answer.location(), "");
        }
        // What a browser posts is not taken (OAuth 2.0 Form Post Response Mode is not asked for).
        let posted =
            arena.world.http.send(reqwest::Method::POST, &callback, &[], Some(format!("code={code}&state={state}"))).await.unwrap();
        posted.refused(405, "method_not_allowed");
        arena.nothing_happened_since(&before).await;
        let landed = olivia.browser.open(&callback).await;
        match mode {
            Mode::Direct => drop(landed.page(200)),
            Mode::Redirect => drop(arena.application(olivia, &landed).await.is(201)),
        }
    }
}

#[tokio::test]
async fn s64_completing_again_gives_the_first_outcome_of_failures_too() {
    let arena = Arena::start().await;
    let olivia = &arena.olivia;
    for (mood, status) in [(Mood::Refusing("invalid_grant"), 400), (Mood::Down, 502), (Mood::Garbled, 502)] {
        let body = json!({
            "connection_id": "conn_honest", "redirect_uri": arena.world.return_to(),
            "code_challenge": Verifier::CHALLENGE, "code_challenge_method": "S256",
        });
        let landed = olivia.browser.visit(&arena.world.url(&olivia.caller, body).await).await;
        let body = json!({ "code": landed.sent("code"), "code_verifier": Verifier::VERIFIER });
        let exchanges = arena.honest.seen().exchanges;
        arena.honest.feels(mood);
        let first = olivia.caller.complete(body.clone()).await;
        first.refused(status, "oauth_failed");
        arena.honest.feels(Mood::Well);
        arena.world.pass(Duration::minutes(10) - Duration::SECOND);
        let again = olivia.caller.complete(body.clone()).await;
        assert_eq!((again.status, again.text), (first.status, first.text), "{mood:?}");
        arena.world.pass(Duration::SECOND);
        olivia.caller.complete(body).await.refused(404, "flow_not_found");
        assert_eq!(arena.honest.seen().exchanges, exchanges + 1);
    }
    assert_eq!(olivia.caller.list().await, Value::Array(Vec::new()));
}
