//! The chain of refresh tokens.

use super::super::digest;
use super::*;

#[tokio::test]
async fn each_refresh_gives_new_tokens_and_an_id_token_without_nonce() {
    let world = World::new();
    let first = world.tokens().await;
    world.pass(100);
    let second = world.refresh(text(&first, "refresh_token")).await.granted();
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_ne!(first["access_token"], second["access_token"]);

    let (_, claims) = world.verified(text(&second, "id_token"), "mandate").await;
    assert_eq!(claims["sub"], "usr_olivia");
    assert_eq!(claims["auth_time"], 1_800_000_000);
    assert_eq!(claims["iat"], 1_800_000_100);
    assert_eq!(claims["at_hash"], digest::left_half(text(&second, "access_token")));
    assert!(claims.get("nonce").is_none());

    world.refresh(text(&second, "refresh_token")).await.granted();
    assert_eq!(world.sign_in.counters().refreshes, 2);
}

#[tokio::test]
async fn a_used_refresh_token_ends_the_grant() {
    let world = World::new();
    for age in [1, 3] {
        let first = world.tokens().await;
        let mut last = first.clone();
        for _ in 0..age {
            last = world.refresh(text(&last, "refresh_token")).await.granted();
        }
        world.refresh(text(&first, "refresh_token")).await.is_refused_as("invalid_grant");
        world.refresh(text(&last, "refresh_token")).await.is_refused_as("invalid_grant");
        assert_eq!(world.userinfo(text(&last, "access_token")).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn within_the_grace_a_lost_answer_is_asked_for_again() {
    let world = World::new();
    world.sign_in.set_rotation_grace(30);
    let first = world.tokens().await;
    let lost = world.refresh(text(&first, "refresh_token")).await.granted();
    world.pass(29);
    let second = world.refresh(text(&first, "refresh_token")).await.granted();
    let third = world.refresh(text(&second, "refresh_token")).await.granted();
    // the answer was not lost after all: two parties hold the chain
    world.refresh(text(&lost, "refresh_token")).await.is_refused_as("invalid_grant");
    world.refresh(text(&third, "refresh_token")).await.is_refused_as("invalid_grant");
}

#[tokio::test]
async fn the_grace_ends_with_its_time_and_with_the_successors_first_use() {
    let world = World::new();
    world.sign_in.set_rotation_grace(30);
    let first = world.tokens().await;
    world.refresh(text(&first, "refresh_token")).await.granted();
    world.pass(30);
    world.refresh(text(&first, "refresh_token")).await.is_refused_as("invalid_grant");

    let first = world.tokens().await;
    let second = world.refresh(text(&first, "refresh_token")).await.granted();
    world.refresh(text(&second, "refresh_token")).await.granted();
    world.refresh(text(&first, "refresh_token")).await.is_refused_as("invalid_grant");
}

#[tokio::test]
async fn a_refresh_may_ask_for_less_and_not_for_more() {
    let world = World::new();
    let tokens = world.tokens().await;
    let ask = |scope| [("grant_type", "refresh_token"), ("refresh_token", text(&tokens, "refresh_token")), ("scope", scope)];
    world.token(&ask("openid sites:write")).await.is_refused_as("invalid_scope");
    let narrow = world.token(&ask("sites:read")).await.granted();
    assert_eq!(narrow["scope"], "sites:read");
    assert_eq!(world.userinfo(text(&narrow, "access_token")).await.status, StatusCode::FORBIDDEN);
    // the grant itself is as wide as before
    assert_eq!(world.refresh(text(&narrow, "refresh_token")).await.granted()["scope"], SCOPE);
}

#[tokio::test]
async fn a_refresh_token_is_good_for_its_client_only_and_survives_a_strangers_attempt() {
    let world = World::new();
    let tokens = world.tokens().await;
    let fields = [("grant_type", "refresh_token"), ("refresh_token", text(&tokens, "refresh_token"))];
    let stranger = world.post("token", Some(basic("other", "other-secret")), &fields).await;
    stranger.is_refused_as("invalid_grant");
    world.refresh("demo-rt.unknown.unknown").await.is_refused_as("invalid_grant");
    world.refresh("nonsense").await.is_refused_as("invalid_grant");
    // an access token is no refresh token
    world.refresh(text(&tokens, "access_token")).await.is_refused_as("invalid_grant");
    world.refresh(text(&tokens, "refresh_token")).await.granted();
}
