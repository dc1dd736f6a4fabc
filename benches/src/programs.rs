//! What is measured: the bootstraps as they are deployed, and what they are held against.

use std::path::PathBuf;

use tokio::process::Command;

use crate::Failure;
use crate::world::FUNCTIONS;

/// The least function there is.
pub const HELLO: &str = "hello";
/// `token` without any of what was done about its start.
pub const ON_DEFAULTS: &str = "on-defaults";
/// Where that one is built: its TLS library differs.
const ELSEWHERE: &str = "target/on-defaults";

/// Builds them all; what the cold start is held against only if that is wanted, for its libraries are built once more.
pub async fn build(on_defaults: bool) -> Result<(), Failure> {
    let ours: Vec<_> = FUNCTIONS.iter().map(|(name, _)| *name).chain([HELLO]).flat_map(|name| ["--package", name]).collect();
    cargo(&ours, &[]).await?;
    if !on_defaults {
        return Ok(());
    }
    // The TLS library gathers jitter entropy unless it is told not to, as .cargo/config.toml does.
    cargo(&["--package", ON_DEFAULTS, "--target-dir", ELSEWHERE], &[("AWS_LC_SYS_NO_JITTER_ENTROPY", "0")]).await
}

async fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), Failure> {
    let mut command = Command::new("cargo");
    command.args(["build", "--release"]).args(arguments).envs(environment.iter().copied());
    if command.status().await?.success() { Ok(()) } else { Err("the release build failed".into()) }
}

/// Where a program is.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let target = if name == ON_DEFAULTS { ELSEWHERE } else { "target" };
    PathBuf::from(target).join("release").join(name)
}

/// The same as text.
#[must_use]
pub fn text(name: &str) -> String {
    path(name).display().to_string()
}
