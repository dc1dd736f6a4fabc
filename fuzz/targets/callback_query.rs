//! The callback and the completion: sealed texts that are altered or made up, and the query of a browser that comes back.
//!
//! The first line has edits (see [`fuzz::edits`]), the second a connection, the rest is the query. In it `{direct}` and `{redirect}`
//! stand for a good `state`, `{altered}` for the edited one, `{code}` for a good completion code.
#![no_main]

use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use fuzz::edits::edited;
use fuzz::fakes::{self, ACCESS, NOW, REFRESH};
use fuzz::service::{RETURN_TO, Request, SERVICE};
use fuzz::wait;
use libfuzzer_sys::fuzz_target;
use shared::domain::flow::{Completion, Flow, ReturnTo};
use shared::domain::ids::FlowId;
use shared::domain::scopes::Scopes;
use shared::domain::secret::Secret;
use shared::ports::flows::{CursorSealer as _, FlowSealer as _};
use time::Duration;

/// Sealed texts as this service gives them out.
struct Sealed {
    direct: String,
    redirect: String,
    code: String,
    cursor: String,
}

static SEALED: LazyLock<Sealed> = LazyLock::new(|| {
    let keys = &SERVICE.keys;
    let flow = |return_to: Option<ReturnTo>| Flow {
        id: FlowId::try_from("f".repeat(43)).expect("an id"),
        organization: fakes::organization(),
        initiator: fakes::olivia(),
        initiator_email: Some("ops@example.com".to_owned()),
        connection: "conn_code".try_into().expect("an id"),
        return_to,
        scopes: Scopes::parse("repo").expect("scopes"),
        reauthorize: None,
        expires_at: (NOW + Duration::minutes(10)).unix_timestamp(),
    };
    let return_to = ReturnTo { redirect_uri: RETURN_TO.to_owned(), state: Some("caller's".to_owned()), code_challenge: None };
    let redirect = flow(Some(return_to));
    let seal = |flow: &Flow| wait(keys.seal_state(flow)).expect("a state").0;
    let state = seal(&redirect);
    let provider_code = Secret::new("SplxlOBeZQQYbYS6WxSbIA".to_owned());
    let expires_at = (NOW + Duration::minutes(5)).unix_timestamp();
    let code = wait(keys.seal_code(&state, &Completion { flow: redirect, provider_code, expires_at })).expect("a code");
    let cursor = wait(keys.seal_cursor(&fakes::organization(), "position")).expect("a cursor");
    Sealed { direct: seal(&flow(None)), redirect: state, code, cursor }
});

/// The good ones pass: a target that refuses everything finds nothing.
fn begin() {
    let path = "/workflows/authorization/callback/conn_code";
    for (state, status) in [(&SEALED.direct, 200), (&SEALED.redirect, 303)] {
        let query = format!("state={state}&code=x");
        assert_eq!(SERVICE.send(&Request { method: "GET", path, query: &query, ..Request::default() }).status, status);
    }
}

fuzz_target!(init: begin(), |text: &str| {
    let (edits, rest) = fuzz::first_line(text);
    let (connection, query) = fuzz::first_line(rest);
    let sealed = &*SEALED;
    for good in [&sealed.direct, &sealed.redirect, &sealed.code, &sealed.cursor] {
        opens_as_what_it_is(&edited(good, edits));
    }
    opens_as_what_it_is(query);

    let altered = edited(&sealed.direct, edits);
    let filled = query
        .replace("{direct}", &sealed.direct)
        .replace("{redirect}", &sealed.redirect)
        .replace("{altered}", &altered)
        .replace("{code}", &sealed.code);
    let before = SERVICE.fakes.exchanges.load(Ordering::SeqCst);
    let path = format!("/workflows/authorization/callback/{connection}");
    let answer = SERVICE.send(&Request { method: "GET", path: &path, query: &filled, ..Request::default() });
    let exchanged = SERVICE.fakes.exchanges.load(Ordering::SeqCst) - before;

    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(filled.as_bytes()).into_owned().collect();
    let only = |name: &str| {
        let mut values = pairs.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
        values.next().filter(|_| values.next().is_none())
    };
    for secret in [ACCESS, REFRESH, "SplxlOBeZQQYbYS6WxSbIA"] {
        assert!(!answer.body.contains(secret), "the page tells a secret");
    }
    match answer.status {
        303 => {
            // The browser leaves for the sealed redirect URI only, and nothing was asked of the provider in its presence.
            let location = answer.header("location").expect("a location");
            assert!(location.starts_with("https://app.example.com/return?tab=1&"), "{location}");
            assert_eq!((only("state"), connection, exchanged), (Some(sealed.redirect.as_str()), "conn_code", 0));
            let sent = url::Url::parse(location).expect("a URL");
            assert!(sent.query_pairs().any(|(name, value)| name == "state" && value == "caller's"), "{location}");
        }
        200 | 400 | 403 | 404 | 405 | 502 | 503 => {}
        status => panic!("{status} to {filled}"),
    }
    // A code is exchanged for the flow that was begun, once, at its own connection, and if nothing was said twice.
    if exchanged > 0 {
        assert_eq!((only("state"), connection, exchanged, answer.status), (Some(sealed.direct.as_str()), "conn_code", 1, 200));
        assert!(only("code").is_some_and(|code| !code.is_empty()), "{filled}");
        assert!(pairs.iter().all(|(name, _)| name != "error" && name != "iss"), "{filled}");
    } else if answer.status == 200 {
        panic!("stored without an exchange: {filled}");
    }
});

/// A sealed text opens if it is one that was given out, to the last bit, and as nothing else.
fn opens_as_what_it_is(text: &str) {
    let (sealed, keys) = (&*SEALED, &SERVICE.keys);
    let opened = wait(keys.open_state(text)).expect("the keys are there");
    assert_eq!(opened.is_some(), [&sealed.direct, &sealed.redirect].iter().any(|good| *good == text), "{text}");
    let opened = wait(keys.open_code(text)).expect("the keys are there");
    assert_eq!(opened.is_some(), text == sealed.code, "{text}");
    let opened = wait(keys.open_cursor(&fakes::organization(), text)).expect("the keys are there");
    assert_eq!(opened.is_some(), text == sealed.cursor, "{text}");
    let elsewhere = "org_elsewhere".try_into().expect("an id");
    assert!(wait(keys.open_cursor(&elsewhere, text)).expect("the keys are there").is_none());
}
