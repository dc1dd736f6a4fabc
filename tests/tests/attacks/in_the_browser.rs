//! What a browser can be made to do at the callback: leave for elsewhere, run what somebody wrote into an error, arrive twice, or not be
//! a person's browser at all.

use futures_util::future::join;
use local::stack::Stack;
use reqwest::Method;
use serde_json::{Value, json};
use tests::faults::Bell;
use tests::{Calls, Expect as _, World};
use time::Duration;
use url::Url;

use tests::arena::{Arena, MODES, Mode, parameter, with};

/// Where nobody is ever to be sent.
const EVIL: &str = "https://evil.example/phish";

/// Texts that become something else where they are shown as they are.
const CORPUS: [&str; 14] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'><svg/onload=alert(1)>",
    "</title><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "<meta http-equiv=refresh content=0;url=https://evil.example>",
    "<a href=//evil.example>sign in again</a>",
    "{{constructor.constructor('alert(1)')()}}",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "\u{feff}<scr\u{0}ipt>alert(1)</scr\u{0}ipt>",
    "x\r\nSet-Cookie: session=evil\r\nLocation: https://evil.example\r\n\r\n<script>alert(1)</script>",
    "\u{202e}txet neddih <b>call 555-0100 for support</b>",
];

/// The codes of contract 4.1, RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6 and RFC 9126 onwards, and what the application
/// gets of each.
const CODES: [(&str, &str); 27] = [
    ("access_denied", "access_denied"),
    ("invalid_connection_selector", "oauth_failed"),
    ("connection_invalid", "oauth_failed"),
    ("connection_unlinked", "oauth_failed"),
    ("connection_strategy_invalid", "oauth_failed"),
    ("ambiguous_connection_selector", "oauth_failed"),
    ("organization_invalid", "oauth_failed"),
    ("oauth_failed", "oauth_failed"),
    ("server_error", "oauth_failed"),
    ("invalid_request", "oauth_failed"),
    ("unauthorized_client", "oauth_failed"),
    ("unsupported_response_type", "oauth_failed"),
    ("invalid_scope", "oauth_failed"),
    ("temporarily_unavailable", "oauth_failed"),
    ("interaction_required", "oauth_failed"),
    ("login_required", "oauth_failed"),
    ("account_selection_required", "oauth_failed"),
    ("consent_required", "oauth_failed"),
    ("invalid_request_uri", "oauth_failed"),
    ("invalid_request_object", "oauth_failed"),
    ("request_not_supported", "oauth_failed"),
    ("request_uri_not_supported", "oauth_failed"),
    ("registration_not_supported", "oauth_failed"),
    ("unmet_authentication_requirements", "oauth_failed"),
    ("ACCESS_DENIED", "oauth_failed"),
    ("access_denied ", "oauth_failed"),
    ("", "oauth_failed"),
];

/// The text of a page without its reference, which is new each time.
fn told(answer: &local::client::Answer) -> String {
    answer.text.split("<footer>").next().unwrap().to_owned()
}

#[tokio::test]
async fn s22_open_redirect_the_browser_only_ever_leaves_for_the_address_in_the_state() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    // The attacker cannot have another address sealed, and gets no URL that leads there, not even with an error.
    for bad in
        [EVIL, "//evil.example", "https://app.example.com@evil.example/", "javascript:alert(1)", "https://app.example.com.evil.example/"]
    {
        for body in [json!({ "redirect_uri": bad }), json!({ "redirect_uri": bad, "connection_id": "conn_unknown", "state": "s" })] {
            let refused = arena.mallory.caller.post("/workflows/authorization", body).await;
            assert_eq!(refused.refused(400, "invalid_redirect_uri")["url"], Value::Null, "{bad}");
        }
    }
    // Whatever is written into the callback, in whatever spelling.
    let extra = [
        "return_to",
        "redirect_uri",
        "redirect_url",
        "redirect",
        "next",
        "url",
        "continue",
        "goto",
        "target",
        "RelayState",
        "post_login_redirect_uri",
        "redirect_uri[]",
        "Redirect_Uri",
    ];
    for error in [false, true] {
        for mode in MODES {
            let url = arena.url(victim, "conn_honest", mode).await;
            let callback = arena.before_the_callback(victim, &url).await;
            let callback = if error { with(&callback, &[("code", None), ("error", Some("access_denied"))]) } else { callback };
            let additions: Vec<_> = extra.iter().map(|name| (*name, Some(EVIL))).collect();
            let headers = [
                ("referer", EVIL),
                ("origin", "https://evil.example"),
                ("x-forwarded-host", "evil.example"),
                ("forwarded", "host=evil.example"),
            ];
            let landed = victim.browser.send(&with(&callback, &additions), &headers).await;
            match mode {
                Mode::Direct => assert_eq!(landed.location(), ""),
                Mode::Redirect => {
                    let to = Url::parse(landed.location()).unwrap();
                    assert!(to.as_str().starts_with(&arena.world.return_to()));
                    let names: Vec<String> = to.query_pairs().map(|(name, _)| name.into_owned()).collect();
                    assert_eq!(names, if error { vec!["error", "error_description", "state"] } else { vec!["code", "state"] });
                }
            }
            for (name, value) in &landed.headers {
                assert!(!value.to_str().unwrap().contains("evil"), "{name}");
            }
            assert!(!landed.text.contains("evil"));
        }
    }
    // Paths that name another place.
    for path in [
        "//evil.example/",
        "https://evil.example/",
        "conn_honest//evil.example",
        "..%2f..%2fevil.example",
        "conn_honest%3f@evil.example",
        "%5c%5cevil.example",
    ] {
        let landed = victim.browser.open(&format!("{}?code=x&state=y", arena.callback(path))).await;
        assert!(matches!(landed.status, 400 | 404), "{path}: {}", landed.status);
        assert_eq!(landed.location(), "");
        assert!(!landed.text.contains("evil"), "{path}");
    }
}

#[tokio::test]
async fn s22_the_applications_own_state_stays_one_parameter_however_it_is_written() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    for state in [
        "&redirect_uri=https://evil.example",
        "#@evil.example/",
        "//evil.example",
        "a=b&code=evil;x",
        "%0d%0aLocation:%20https://evil.example",
        "?",
        " ",
    ] {
        let body = json!({ "connection_id": "conn_honest", "redirect_uri": arena.world.return_to(), "state": state });
        let landed = victim.browser.visit(&arena.world.url(&victim.caller, body).await).await;
        let to = Url::parse(landed.location()).unwrap();
        assert!(to.as_str().starts_with(&format!("{}?", arena.world.return_to())) && to.fragment().is_none());
        let pairs: Vec<(String, String)> = to.query_pairs().into_owned().collect();
        assert_eq!((pairs.len(), pairs[1].0.as_str(), pairs[1].1.as_str()), (2, "state", state));
    }
}

#[tokio::test]
async fn s22_an_address_that_is_not_registered_any_more_receives_nobody() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    let url = arena.url(victim, "conn_honest", Mode::Redirect).await;
    let callback = arena.before_the_callback(victim, &url).await;
    let mut directory = secret(&arena.world, "mandate/directory").await;
    directory["redirect_uris"].as_array_mut().unwrap().retain(|entry| !entry["uri"].as_str().unwrap().contains("127.0.0.1"));
    put_secret(&arena.world, "mandate/directory", &directory).await;
    // The directory is at most five minutes old.
    arena.world.pass(Duration::minutes(5));
    let before = arena.tally().await;
    let landed = victim.browser.open(&callback).await;
    landed.page(400);
    assert_eq!(landed.location(), "");
    let refusal = with(&callback, &[("code", None), ("error", Some("access_denied"))]);
    victim.browser.open(&refusal).await.page(400);
    arena.nothing_happened_since(&before).await;
}

async fn aws(world: &World, operation: &str, body: &Value) -> Value {
    let target = format!("secretsmanager.{operation}");
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
    let stack: &Stack = &world.stack;
    let answer = world.http.send(Method::POST, stack.aws_endpoint(), &headers, Some(body.to_string())).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn secret(world: &World, id: &str) -> Value {
    let value = aws(world, "GetSecretValue", &json!({ "SecretId": id })).await;
    serde_json::from_str(value["SecretString"].as_str().unwrap()).unwrap()
}

async fn put_secret(world: &World, id: &str, value: &Value) {
    let body = json!({ "SecretId": id, "SecretString": value.to_string(), "ClientRequestToken": "00000000-0000-4000-8000-000000000001" });
    aws(world, "PutSecretValue", &body).await;
}

#[tokio::test]
async fn s27_callback_error_injection_nothing_that_was_written_into_an_error_is_ever_shown_or_passed_on() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    let harmless = |answer: &local::client::Answer, text: &str| {
        // The id of the request is random, and may hold any three digits.
        let id = answer.header("x-request-id");
        for (name, value) in &answer.headers {
            let value = value.to_str().unwrap().replace(id, "");
            assert!(!value.contains("evil") && !value.contains("alert") && !value.contains("555"), "{name}: {value} for {text:?}");
        }
        for part in ["alert", "evil", "onerror", "onload", "555", "constructor", "{{"] {
            assert!(!answer.text.replace(id, "").contains(part), "{part} for {text:?}");
        }
        assert_eq!(answer.header("set-cookie"), "");
    };
    for text in CORPUS {
        let injected = [("error", Some(text)), ("error_description", Some(text)), ("error_uri", Some(text)), (text, Some(text))];
        // With no state at all, with the text as state, and with a state of somebody's own making.
        for state in [None, Some(text), Some("demonstration.AAAA")] {
            let url = with(&with(&arena.callback("conn_honest"), &injected), &[("state", state)]);
            let answer = victim.browser.open(&url).await;
            answer.page(400);
            harmless(&answer, text);
        }
        // With a state that holds: the flow is over, and the victim or the application is told in constant words.
        for mode in MODES {
            let before = arena.tally().await;
            let url = arena.url(victim, "conn_honest", mode).await;
            let callback = arena.before_the_callback(victim, &url).await;
            let answer = victim.browser.open(&with(&with(&callback, &[("code", None)]), &injected)).await;
            harmless(&answer, text);
            match mode {
                Mode::Direct => drop(answer.page(502)),
                Mode::Redirect => {
                    assert_eq!(answer.status, 303);
                    let to = answer.location();
                    assert_eq!(to.split('?').next(), Some(arena.world.return_to().as_str()));
                    assert_eq!(parameter(to, "error"), "oauth_failed");
                    assert_eq!(parameter(to, "error_description"), "The sign-in provider refused.");
                    assert_eq!(parameter(to, "state"), "the application's own");
                }
            }
            arena.nothing_happened_since(&before).await;
        }
        // And as the connection of the path.
        let path: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let answer = victim.browser.open(&arena.callback(&path)).await;
        assert!(matches!(answer.status, 400 | 404));
        harmless(&answer, text);
    }
    arena.no_browser_has_a_cookie_of_ours();
}

#[tokio::test]
async fn s27_every_error_a_provider_can_send_becomes_a_known_one_and_ends_the_flow() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    let words = ("error_description", Some("their own words"));
    for (theirs, ours) in CODES {
        let before = arena.tally().await;
        let url = arena.url(victim, "conn_honest", Mode::Direct).await;
        let callback = arena.before_the_callback(victim, &url).await;
        let refusal = with(&callback, &[("code", None), ("error", Some(theirs)), words]);
        let status = match theirs {
            "access_denied" => 403,
            "server_error" | "temporarily_unavailable" => 503,
            _ => 502,
        };
        let first = victim.browser.open(&refusal).await;
        assert!(!first.page(status).contains("their own words"), "{theirs}");
        // The code that comes after the error is not taken any more, and neither is another error.
        for later in [callback.clone(), with(&refusal, &[("error", Some("login_required"))])] {
            let again = victim.browser.open(&later).await;
            assert_eq!((again.status, told(&again)), (status, told(&first)), "{theirs}");
        }

        let url = arena.url(victim, "conn_honest", Mode::Redirect).await;
        let callback = arena.before_the_callback(victim, &url).await;
        let landed = victim.browser.open(&with(&callback, &[("code", None), ("error", Some(theirs)), words])).await;
        assert_eq!((landed.status, landed.sent("error").as_deref(), landed.sent("code")), (303, Some(ours), None), "{theirs}");
        assert_eq!(landed.sent("state").as_deref(), Some("the application's own"));
        assert!(!landed.location().contains("their"));
        let landed = victim.browser.open(&callback).await;
        let refused = arena.application(victim, &landed).await;
        assert_eq!(refused.json()["code"], ours, "{theirs}");
        arena.nothing_happened_since(&before).await;
    }
}

#[tokio::test]
async fn s28_an_error_of_a_provider_that_names_no_issuer_must_not_name_one() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    for mode in MODES {
        let before = arena.tally().await;
        let url = arena.url(victim, "conn_honest", mode).await;
        let callback = arena.before_the_callback(victim, &url).await;
        let refusal = with(&callback, &[("code", None), ("error", Some("access_denied"))]);
        // Its own issuer is no exception: it does not advertise that it sends one.
        for iss in [arena.honest.issuer(), arena.malicious.issuer(), "https://evil.example", ""] {
            for spoiled in [&callback, &refusal] {
                victim.browser.open(&with(spoiled, &[("iss", Some(iss))])).await.page(400);
            }
        }
        arena.nothing_happened_since(&before).await;
        // The state is still good: an answer that cannot be trusted consumes nothing.
        let landed = victim.browser.open(&callback).await;
        match mode {
            Mode::Direct => drop(landed.page(200)),
            Mode::Redirect => drop(arena.application(victim, &landed).await.is(201)),
        }
    }
}

/// Who else opens links: previews of messengers, scanners of mail, crawlers.
const BOTS: [&str; 7] = [
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
    "facebookexternalhit/1.1",
    "WhatsApp/2.23.20.0",
    "TelegramBot (like TwitterBot)",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "BingPreview/1.0b",
];

#[tokio::test]
async fn s34_a_link_preview_bot_at_the_callback_takes_nothing_from_the_person_who_comes_after() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    let mut stored = 0;
    for bot in BOTS {
        for mode in MODES {
            let exchanges = arena.honest.seen().exchanges;
            let url = arena.url(victim, "conn_honest", mode).await;
            let callback = arena.before_the_callback(victim, &url).await;
            // What says of itself that it only looks consumes nothing and asks nobody.
            let http = &arena.world.http;
            let ((), calls) = arena
                .calls(async {
                    let agent = [("user-agent", bot)];
                    assert_eq!(http.send(Method::HEAD, &callback, &agent, None).await.unwrap().status, 200);
                    assert_eq!(http.send(Method::OPTIONS, &callback, &agent, None).await.unwrap().status, 204);
                    for (name, value) in [
                        ("sec-purpose", "prefetch"),
                        ("sec-purpose", "prefetch;prerender"),
                        ("sec-purpose", "prefetch;anonymous-client-ip"),
                        ("purpose", "prefetch"),
                        ("purpose", "Prefetch"),
                    ] {
                        let looked = http.send(Method::GET, &callback, &[("user-agent", bot), (name, value)], None).await.unwrap();
                        looked.page(503);
                        assert_eq!(looked.location(), "");
                    }
                })
                .await;
            assert_eq!((calls, arena.honest.seen().exchanges), (Calls::default(), exchanges));

            // What opens the link like a person does is one of two tabs. It gets nothing of use, and the person nothing less.
            let previewed = http.send(Method::GET, &callback, &[("user-agent", bot)], None).await.unwrap();
            let landed = victim.browser.open(&callback).await;
            match mode {
                Mode::Direct => {
                    previewed.page(200);
                    assert_eq!((landed.status, told(&landed)), (200, told(&previewed)));
                }
                Mode::Redirect => {
                    let code = previewed.sent("code");
                    arena.world.nobody().complete(json!({ "code": code })).await.refused(401, "unauthorized");
                    arena.application(victim, &landed).await.is(201);
                }
            }
            stored += 1;
            assert_eq!(arena.honest.seen().exchanges, exchanges + 1, "{bot}");
            assert_eq!(victim.caller.list().await.as_array().unwrap().len(), stored);
        }
    }
    // A bot that opens what an attacker's URL led to links the victim as little as her own browser does.
    let (before, issued) = (arena.tally().await, arena.honest.issued().len());
    let bait = arena.url(&arena.mallory, "conn_honest", Mode::Direct).await;
    let callback = arena.before_the_callback(victim, &bait).await;
    arena.world.http.send(Method::GET, &callback, &[("user-agent", BOTS[0])], None).await.unwrap().page(403);
    victim.browser.open(&callback).await.page(403);
    arena.nothing_was_kept_since(&before, issued).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s26_two_tabs_finishing_one_state_make_one_token_request_and_see_one_outcome() {
    let arena = Arena::start().await;
    let victim = &arena.olivia;
    // Direct mode: the second tab arrives while the provider is still being asked on behalf of the first.
    let url = arena.url(victim, "conn_honest", Mode::Direct).await;
    let callback = arena.before_the_callback(victim, &url).await;
    let (hold, bell) = (arena.honest.hold(), Bell::new("GetItem"));
    let second = async {
        hold.arrival().await;
        arena.world.aws().observe(Some(bell.clone()));
        let open = async {
            bell.ring().await;
            hold.let_go();
        };
        join(victim.browser.open(&callback), open).await.0
    };
    let (first, second) = join(victim.browser.open(&callback), second).await;
    arena.world.aws().observe(None);
    first.page(200);
    assert_eq!((second.status, told(&second)), (200, told(&first)));
    assert_eq!((arena.honest.seen().exchanges, victim.caller.list().await.as_array().unwrap().len()), (1, 1));

    // The same with an outcome that is a refusal: the attacker's URL in two tabs of the victim.
    let (before, issued) = (arena.tally().await, arena.honest.issued().len());
    let bait = arena.url(&arena.ben, "conn_honest", Mode::Direct).await;
    let callback = arena.before_the_callback(victim, &bait).await;
    let (first, second) = join(victim.browser.open(&callback), victim.browser.open(&callback)).await;
    assert_eq!((first.status, second.status, told(&second)), (403, 403, told(&first)));
    assert_eq!(arena.honest.seen().exchanges, before.honest.exchanges + 1);
    arena.nothing_was_kept_since(&before, issued).await;

    // Redirect mode: each tab returns to the application with a code of its own, and both complete.
    let exchanges = arena.honest.seen().exchanges;
    let url = arena.url(victim, "conn_honest", Mode::Redirect).await;
    let callback = arena.before_the_callback(victim, &url).await;
    let (first, second) = join(victim.browser.open(&callback), victim.browser.open(&callback)).await;
    assert_ne!(first.sent("code"), second.sent("code"));
    let (one, other) = join(arena.application(victim, &first), arena.application(victim, &second)).await;
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert!(statuses == [200, 201] || statuses == [201, 409], "{statuses:?}");
    let ids: Vec<Value> = [&first, &second].map(|tab| json!(tab.sent("code"))).to_vec();
    let mut same = Vec::new();
    for code in ids {
        same.push(victim.caller.complete(json!({ "code": code })).await.is(200)["id"].clone());
    }
    assert_eq!(same[0], same[1]);
    assert_eq!(arena.honest.seen().exchanges, exchanges + 1);
}
