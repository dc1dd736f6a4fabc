//! The page, and what comes back from it.

use axum::http::{StatusCode, header};

use super::*;

#[tokio::test]
async fn the_page_asks_in_words_and_loads_nothing_from_elsewhere() {
    let page = World::new().show(&[]).await;
    assert_eq!(page.status, StatusCode::OK);
    for expected in [
        "Demonstration sign-in",
        "Sign in and allow as Olivia",
        "Sign in and allow as Ben",
        "Sign in and allow as Mallory",
        "Refuse",
        "See your sites",
        "Keep this access while you are away",
        "127.0.0.1:8787",
    ] {
        assert!(page.body.contains(expected), "{expected}");
    }
    assert!(!page.body.contains("src=") && !page.body.contains("href=") && !page.body.contains("<script"));
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
}

#[tokio::test]
async fn the_hinted_person_comes_first() {
    let page = World::new().show(&[("login_hint", Some("Ben@Example.com"))]).await;
    let (ben, olivia) = (page.body.find("Ben Ito").unwrap(), page.body.find("Olivia Park").unwrap());
    assert!(ben < olivia);
    assert_eq!(page.body.matches("class=\"hinted\"").count(), 1);
}

#[tokio::test]
async fn what_the_request_says_is_text_on_the_page() {
    let page = World::new().show(&[("scope", Some("openid <b>x</b>"))]).await;
    assert!(page.body.contains("&lt;b&gt;x&lt;/b&gt;") && !page.body.contains("<b>"));
}

#[tokio::test]
async fn an_allowed_sign_in_returns_code_state_and_issuer_to_the_registered_uri() {
    let world = World::new();
    let back = world.sign_in_as("usr_olivia", SCOPE).await;
    assert!(back.as_str().starts_with("http://127.0.0.1:8787/callback/conn_demo?kept=1&code="), "{back}");
    assert_eq!(parameter(&back, "state").unwrap(), "st&te");
    assert_eq!(parameter(&back, "iss").unwrap(), ISSUER);
    assert_eq!(world.sign_in.counters().authorizations, 1);
}

#[tokio::test]
async fn a_refused_sign_in_returns_access_denied() {
    let world = World::new();
    let page = world.show(&[]).await;
    let fields = [("transaction", transaction_in(&page.body).unwrap()), ("decision", "refuse")];
    let back = world.post("authorize", None, &fields).await.location();
    assert_eq!(parameter(&back, "error").unwrap(), "access_denied");
    assert_eq!(parameter(&back, "state").unwrap(), "st&te");
    assert_eq!(parameter(&back, "iss").unwrap(), ISSUER);
    assert_eq!(parameter(&back, "code"), None);
    assert_eq!(world.sign_in.counters().authorizations, 0);
}

#[tokio::test]
async fn a_page_is_answered_once_and_not_after_ten_minutes() {
    let world = World::new();
    for wait in [0, 600] {
        let page = world.show(&[]).await;
        let transaction = transaction_in(&page.body).unwrap();
        let fields = [("transaction", transaction), ("person", "usr_ben"), ("decision", "allow")];
        world.pass(wait);
        if wait == 0 {
            world.post("authorize", None, &fields).await.location();
        }
        let again = world.post("authorize", None, &fields).await;
        assert_eq!(again.status, StatusCode::BAD_REQUEST);
        assert!(!again.headers.contains_key(header::LOCATION));
    }
}

#[tokio::test]
async fn nobody_is_sent_to_an_unregistered_uri_or_by_an_unknown_client() {
    let world = World::new();
    for change in [
        ("client_id", Some("nobody")),
        ("client_id", None),
        ("redirect_uri", Some("https://evil.example/")),
        ("redirect_uri", Some("http://127.0.0.1:8787/callback/conn_demo")),
        ("redirect_uri", None),
    ] {
        let page = world.show(&[change]).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{change:?}");
        assert!(!page.headers.contains_key(header::LOCATION), "{change:?}");
        assert_eq!(transaction_in(&page.body), None, "{change:?}");
    }
    let twice = format!("authorize?{}&client_id=mandate", form(&authorization_request(&[])));
    assert_eq!(world.get(&twice).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn other_mistakes_go_back_to_the_client() {
    let world = World::new();
    for (change, error) in [
        (("response_type", Some("token")), "unsupported_response_type"),
        (("response_type", None), "invalid_request"),
        (("response_mode", Some("fragment")), "invalid_request"),
        (("code_challenge", None), "invalid_request"),
        (("code_challenge", Some("short")), "invalid_request"),
        (("code_challenge_method", Some("plain")), "invalid_request"),
        (("code_challenge_method", None), "invalid_request"),
        (("scope", Some("email")), "invalid_scope"),
        (("scope", Some("openid \"")), "invalid_scope"),
        (("scope", None), "invalid_scope"),
        (("prompt", Some("none")), "login_required"),
        (("request", Some("eyJ")), "request_not_supported"),
        (("request_uri", Some("https://example.com")), "request_uri_not_supported"),
    ] {
        let back = world.show(&[change]).await.location();
        assert_eq!(parameter(&back, "error").unwrap(), error, "{change:?}");
        assert_eq!(parameter(&back, "state").unwrap(), "st&te");
        assert_eq!(parameter(&back, "iss").unwrap(), ISSUER);
    }
}
