//! Grants outlive the process.

use std::path::PathBuf;

use super::super::{KeepError, random};
use super::*;

/// A folder of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("sign-in-{}", random::unguessable().unwrap()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("grants.json")
    }

    fn world(&self) -> World {
        let world = World::new();
        world.sign_in.persist_to(&self.file()).unwrap();
        world
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // what cannot be cleaned up stays in the temporary folder
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn codes_and_grants_survive_a_restart_after_every_answer() {
    let folder = Folder::new();
    let code = folder.world().code(SCOPE).await;
    let first = folder.world().redeem(&code).await.granted();
    let second = folder.world().refresh(text(&first, "refresh_token")).await.granted();
    folder.world().userinfo(text(&second, "access_token")).await.granted();
    let third = folder.world().refresh(text(&second, "refresh_token")).await.granted();
    folder.world().refresh(text(&first, "refresh_token")).await.is_refused_as("invalid_grant");
    folder.world().refresh(text(&third, "refresh_token")).await.is_refused_as("invalid_grant");
}

#[tokio::test]
async fn no_secret_is_in_the_file() {
    let folder = Folder::new();
    let world = folder.world();
    let code = world.code(SCOPE).await;
    let tokens = world.redeem(&code).await.granted();
    let kept = std::fs::read_to_string(folder.file()).unwrap();
    for secret in [&code, text(&tokens, "access_token"), text(&tokens, "refresh_token"), VERIFIER] {
        assert!(!kept.contains(secret));
    }
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_acknowledged() {
    let folder = Folder::new();
    let world = folder.world();
    let tokens = world.tokens().await;
    // a folder in the place of the file beside cannot be written to
    let beside = folder.0.join("grants.json.new");
    std::fs::create_dir(&beside).unwrap();
    let failed = world.refresh(text(&tokens, "refresh_token")).await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(failed.body, "{\"error\":\"server_error\"}");
    std::fs::remove_dir(&beside).unwrap();
    world.refresh(text(&tokens, "refresh_token")).await.granted();
}

#[test]
fn a_file_that_is_something_else_is_named_and_left_alone() {
    let folder = Folder::new();
    std::fs::write(folder.file(), "{\"codes\":1}").unwrap();
    let error = World::new().sign_in.persist_to(&folder.file()).unwrap_err();
    assert!(matches!(error, KeepError::Parse { .. }), "{error}");
    assert!(error.to_string().contains("grants.json"));
    assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), "{\"codes\":1}");
}
