//! The end of tokens.

use super::*;

impl World {
    async fn revoke(&self, token: &str) -> StatusCode {
        let fields = [("token", token), ("token_type_hint", "refresh_token")];
        self.post("revoke", Some(basic("mandate", "s3cret +&=%")), &fields).await.status
    }
}

#[tokio::test]
async fn a_revoked_refresh_token_ends_the_grant() {
    let world = World::new();
    let tokens = world.tokens().await;
    assert_eq!(world.revoke(text(&tokens, "refresh_token")).await, StatusCode::OK);
    assert_eq!(world.userinfo(text(&tokens, "access_token")).await.status, StatusCode::UNAUTHORIZED);
    world.refresh(text(&tokens, "refresh_token")).await.is_refused_as("invalid_grant");
}

#[tokio::test]
async fn a_revoked_access_token_ends_alone() {
    let world = World::new();
    let tokens = world.tokens().await;
    assert_eq!(world.revoke(text(&tokens, "access_token")).await, StatusCode::OK);
    assert_eq!(world.userinfo(text(&tokens, "access_token")).await.status, StatusCode::UNAUTHORIZED);
    world.refresh(text(&tokens, "refresh_token")).await.granted();
}

#[tokio::test]
async fn an_unknown_token_is_no_error_and_a_strangers_is() {
    let world = World::new();
    let tokens = world.tokens().await;
    for unknown in ["nonsense", "demo-rt.a.b"] {
        assert_eq!(world.revoke(unknown).await, StatusCode::OK);
    }
    let fields = [("token", text(&tokens, "refresh_token"))];
    world.post("revoke", Some(basic("other", "other-secret")), &fields).await.is_refused_as("invalid_grant");
    let nobody = world.post("revoke", None, &fields).await;
    assert_eq!(nobody.json()["error"], "invalid_client");
    world.refresh(text(&tokens, "refresh_token")).await.granted();
    assert_eq!(world.sign_in.counters().revocations, 2);
}
