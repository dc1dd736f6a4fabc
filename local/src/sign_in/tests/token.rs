//! A code for tokens.

use axum::http::{StatusCode, header};

use super::super::digest;
use super::*;

#[tokio::test]
async fn a_code_yields_tokens_that_say_who_signed_in() {
    let world = World::new();
    let code = world.code(SCOPE).await;
    world.pass(5);
    let tokens = world.redeem(&code).await.granted();
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 3_600);
    assert_eq!(tokens["scope"], SCOPE);
    assert!(tokens["refresh_token"].is_string());

    let (header, claims) = world.verified(text(&tokens, "id_token"), "mandate").await;
    assert_eq!(header.typ.as_deref(), Some("JWT"));
    assert_eq!(claims["sub"], "usr_olivia");
    assert_eq!(claims["org_id"], "org_demo");
    assert_eq!(claims["email"], "ops@example.com");
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["nonce"], "n0nce");
    assert_eq!(claims["auth_time"], 1_800_000_000);
    assert_eq!(claims["iat"], 1_800_000_005);
    assert_eq!(claims["exp"], 1_800_000_605);
    assert_eq!(claims["at_hash"], digest::left_half(text(&tokens, "access_token")));

    let person = world.userinfo(text(&tokens, "access_token")).await.granted();
    assert_eq!(person["sub"], "usr_olivia");
    assert_eq!(person["org_id"], "org_demo");
}

#[tokio::test]
async fn without_offline_access_there_is_no_refresh_token() {
    let world = World::new();
    let code = world.code("openid").await;
    assert!(world.redeem(&code).await.granted().get("refresh_token").is_none());
}

#[tokio::test]
async fn the_access_token_ends_with_its_lifetime() {
    let world = World::new();
    world.sign_in.set_access_lifetime(30);
    let tokens = world.tokens().await;
    assert_eq!(tokens["expires_in"], 30);
    world.pass(29);
    world.userinfo(text(&tokens, "access_token")).await.granted();
    world.pass(1);
    let late = world.userinfo(text(&tokens, "access_token")).await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
    assert_eq!(late.headers[header::WWW_AUTHENTICATE], "Bearer error=\"invalid_token\"");
    assert_eq!(world.userinfo("demo-at.a.b").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_code_is_good_for_its_verifier_redirect_uri_and_client_only_and_is_taken_by_the_attempt() {
    let world = World::new();
    for (field, value) in [
        ("code_verifier", "another-verifier-of-at-least-forty-three-characters"),
        ("code_verifier", ""),
        ("redirect_uri", "http://127.0.0.1:8787/callback/conn_demo"),
    ] {
        let code = world.code(SCOPE).await;
        let mut fields = redemption(&code);
        for known in &mut fields {
            if known.0 == field {
                known.1 = value;
            }
        }
        world.token(&fields).await.is_refused_as("invalid_grant");
        world.redeem(&code).await.is_refused_as("invalid_grant");
    }
    let code = world.code(SCOPE).await;
    let other = world.post("token", Some(basic("other", "other-secret")), &redemption(&code)).await;
    other.is_refused_as("invalid_grant");
}

#[tokio::test]
async fn a_code_lives_a_minute() {
    let world = World::new();
    let code = world.code(SCOPE).await;
    world.pass(60);
    world.redeem(&code).await.is_refused_as("invalid_grant");
}

#[tokio::test]
async fn a_replayed_code_ends_the_grant() {
    let world = World::new();
    let code = world.code(SCOPE).await;
    let tokens = world.redeem(&code).await.granted();
    world.redeem(&code).await.is_refused_as("invalid_grant");
    assert_eq!(world.userinfo(text(&tokens, "access_token")).await.status, StatusCode::UNAUTHORIZED);
    world.refresh(text(&tokens, "refresh_token")).await.is_refused_as("invalid_grant");
}

#[tokio::test]
async fn a_client_proves_itself_in_one_of_two_ways() {
    let world = World::new();
    let code = world.code(SCOPE).await;
    let mut posted = redemption(&code).to_vec();
    posted.extend([("client_id", "mandate"), ("client_secret", "s3cret +&=%")]);
    world.post("token", None, &posted).await.granted();

    let both = world.post("token", Some(basic("mandate", "s3cret +&=%")), &posted).await;
    both.is_refused_as("invalid_request");

    // a client that does not encode the halves is understood as long as the secret allows
    let plain = format!("Basic {}", STANDARD.encode("other:other-secret"));
    world.post("token", Some(plain), &redemption("nothing")).await.is_refused_as("invalid_grant");

    for authorization in [None, Some(basic("mandate", "wrong")), Some(basic("nobody", "x")), Some("Bearer x".into())] {
        let refused = world.post("token", authorization, &redemption("nothing")).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert_eq!(refused.json()["error"], "invalid_client");
        assert!(refused.headers[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "));
    }
}

#[tokio::test]
async fn malformed_requests_are_told_apart() {
    let world = World::new();
    world.token(&[("grant_type", "password")]).await.is_refused_as("unsupported_grant_type");
    world.token(&[("code", "x")]).await.is_refused_as("invalid_request");
    world.token(&[("grant_type", "authorization_code")]).await.is_refused_as("invalid_request");
    world.token(&[("code", "a"), ("code", "b")]).await.is_refused_as("invalid_request");
    assert_eq!(world.sign_in.counters().token_requests, 4);
}
