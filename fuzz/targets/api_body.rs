//! The API, from the event of the gateway to the answer: written as HTTP/1.1 with bare line feeds. Without an `Authorization` line the
//! caller is a good one; `good`, `view`, `nowhere` and `single` are tokens that are known. A text that begins with `{` is an event as
//! it is, for every function.
#![no_main]

use fuzz::fakes::{ACCESS, AUTHORIZATION, REFRESH};
use fuzz::service::{Answer, DOC_BASE, PUBLIC_URL, Request, SERVICE, request};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use shared::http::error::Code;
use url::Url;

/// The good ones are served: a target that refuses everything finds nothing.
fn begin() {
    let token =
        format!("POST /workflows/authorization/{AUTHORIZATION}/token\ncontent-type: application/json\n\n{{\"workflow_id\":\"fl_fuzz\"}}");
    for text in ["POST /workflows/authorization", "GET /workflows/authorization", token.as_str()] {
        let mut request = request(text);
        request.headers.push(("authorization".to_owned(), "Bearer good".to_owned()));
        assert_eq!(SERVICE.send(&request).status, 200, "{text}");
    }
}

fuzz_target!(init: begin(), |text: &str| {
    if text.starts_with('{') {
        let Ok(event) = serde_json::from_str(text) else { return };
        return SERVICE.invoke(&event);
    }
    let mut request = request(text);
    if !request.headers.iter().any(|(name, _)| name == "authorization") {
        request.headers.push(("authorization".to_owned(), "Bearer good".to_owned()));
    }
    let answer = SERVICE.send(&request);
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{request:?}");
    let id = answer.header("x-request-id").expect("a request id");
    assert!((1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()), "{id:?}");
    assert!(!answer.body.contains(REFRESH), "a refresh token: {request:?}");

    let html = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    match answer.status {
        204 => assert!(answer.body.is_empty()),
        _ if html => assert!(request.path.starts_with("/workflows/authorization/callback/"), "{request:?}"),
        // HEAD of the callback has no body.
        200 if request.method == "HEAD" => assert!(answer.body.is_empty()),
        200 | 201 => good(&request, &answer),
        400 | 401 | 403 | 404 | 405 | 409 | 413 | 415 => refused(&request, &answer),
        status => panic!("{status} {} to {request:?}", answer.body),
    }
});

/// A refusal has the shape of contract section 3, and none of the caller's text but a plain name.
fn refused(request: &Request<'_>, answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(!answer.body.contains(ACCESS), "a token: {request:?}");
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{}", answer.body));
    let field = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("no {name}: {body}"));
    assert!(Code::ALL.iter().any(|code| code.as_str() == field("code")), "{body}");
    assert_eq!(field("doc_url"), format!("{DOC_BASE}{}", field("code")));
    assert!(field("type").ends_with("_error"), "{body}");
    let message = field("message");
    assert!(!message.is_empty() && message.len() < 300 && !message.chars().any(char::is_control), "{message:?}");
    assert!(!message.contains(['<', '>', '&', '\\']), "{message}");
    match answer.status {
        401 => assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer"))),
        403 if field("code") == "insufficient_scope" => assert!(answer.header("www-authenticate").is_some()),
        405 => assert!(answer.header("allow").is_some_and(|allow| !allow.split(", ").any(|method| method == request.method))),
        _ => {}
    }
    // A way back is told only if it is registered.
    if let Some(url) = body["url"].as_str() {
        returns(&Url::parse(url).expect("a URL"));
    }
}

fn returns(url: &Url) {
    let host = url.host_str().unwrap_or_default();
    let known = match (url.scheme(), url.path()) {
        ("https", "/return") => host == "app.example.com" || (host.starts_with("pr-") && host.ends_with("-app.example.com")),
        ("http", "/return") => host == "localhost",
        _ => false,
    };
    assert!(known, "{url}");
    assert!(url.query_pairs().any(|(name, _)| name == "error"), "{url}");
}

fn good(request: &Request<'_>, answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{}", answer.body));
    let handed_out = request.method == "POST" && request.path == format!("/workflows/authorization/{AUTHORIZATION}/token");
    assert_eq!(answer.body.contains(ACCESS), handed_out, "{request:?}");
    if request.path == "/workflows/authorization" && request.method == "POST" {
        created(&body);
    }
    if let Some(link) = answer.header("link") {
        assert!(link.starts_with(&format!("<{PUBLIC_URL}/workflows/authorization?")) && link.ends_with(">; rel=\"next\""), "{link}");
        assert_eq!(link.matches(['<', '>', '"']).count(), 4, "{link}");
    }
}

/// The provider's URL: what this service says stands in it once and as it says it, whatever the caller adds (security item 11).
fn created(body: &Value) {
    let text = body["url"].as_str().expect("a URL");
    assert!(text.len() <= 8192 && text.bytes().all(|b| b.is_ascii_graphic()), "{text}");
    let url = Url::parse(text).expect("a URL");
    let code = url.as_str().starts_with("https://code.example.com/authorize?tenant=7&");
    let workos = url.as_str().starts_with("https://api.workos.com/user_management/authorize?");
    assert!(code != workos && url.fragment().is_none() && url.username().is_empty(), "{url}");
    let only = |name: &str| {
        let mut values = url.query_pairs().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.into_owned());
        let first = values.next().unwrap_or_else(|| panic!("no {name} in {url}"));
        assert!(values.next().is_none(), "two {name} in {url}");
        first
    };
    assert_eq!((only("response_type").as_str(), only("code_challenge_method").as_str()), ("code", "S256"));
    assert_eq!(only("client_id"), if code { "client one" } else { "client_1" });
    assert!(only("redirect_uri").starts_with(&format!("{PUBLIC_URL}/workflows/authorization/callback/conn_")), "{url}");
    assert!(only("state").starts_with("k1.") && only("code_challenge").len() == 43, "{url}");
    if code {
        assert!(only("scope").split(' ').all(|scope| ["repo", "workflow", "openid"].contains(&scope)), "{url}");
    }
    assert!(url.query_pairs().all(|(name, value)| !name.is_empty() && !value.is_empty()), "{url}");
}
