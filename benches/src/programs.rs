//! What is measured: the bootstraps as they are deployed, and what they are held against.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::Failure;
use crate::world::FUNCTIONS;

/// The least function there is.
pub const HELLO: &str = "hello";
/// `token` without any of what was done about its start.
pub const ON_DEFAULTS: &str = "on-defaults";
/// Where that one is built: its TLS library differs.
const ELSEWHERE: &str = "target/on-defaults";
/// Where earlier states of this project are built.
const EARLIER: &str = "target/earlier";

/// Builds them all; what the cold start is held against only if that is wanted, for its libraries are built once more.
pub async fn build(on_defaults: bool) -> Result<(), Failure> {
    let ours: Vec<_> = FUNCTIONS.iter().map(|(name, _)| *name).chain([HELLO]).flat_map(|name| ["--package", name]).collect();
    cargo(&ours, &[], Path::new(".")).await?;
    if !on_defaults {
        return Ok(());
    }
    // The TLS library gathers jitter entropy unless it is told not to, as .cargo/config.toml does.
    cargo(&["--package", ON_DEFAULTS, "--target-dir", ELSEWHERE], &[("AWS_LC_SYS_NO_JITTER_ENTROPY", "0")], Path::new(".")).await
}

async fn cargo(arguments: &[&str], environment: &[(&str, &str)], directory: &Path) -> Result<(), Failure> {
    let mut command = Command::new("cargo");
    command.args(["build", "--release"]).args(arguments).envs(environment.iter().copied()).current_dir(directory);
    if command.status().await?.success() { Ok(()) } else { Err("the release build failed".into()) }
}

/// The bootstraps of an earlier state of this project.
pub struct Earlier(TempDir);

impl Earlier {
    /// Takes a revision out of git, and builds some of its functions as it says that they are built.
    pub async fn build(revision: &str, functions: &[&str]) -> Result<Self, Failure> {
        let kept = Self(TempDir::new()?);
        let source = TempDir::new()?; // away from here, where cargo would take today's settings for it, too
        let mut git = Command::new("git").args(["archive", revision]).stdout(Stdio::piped()).spawn()?;
        let archive: Stdio = git.stdout.take().ok_or("git has no output")?.try_into()?;
        // As if written now: cargo takes what is older than its last build for built, wherever it lies.
        let unpacked = Command::new("tar").arg("-xm").current_dir(source.path()).stdin(archive).status().await?;
        if !git.wait().await?.success() || !unpacked.success() {
            return Err(format!("git has no revision {revision}").into());
        }
        let built = std::env::current_dir()?.join(EARLIER);
        let target = built.display().to_string();
        let packages = functions.iter().flat_map(|name| ["--package", name]);
        cargo(&["--target-dir", &target].into_iter().chain(packages).collect::<Vec<_>>(), &[], source.path()).await?;
        for name in functions {
            std::fs::copy(built.join("release").join(name), kept.0.path().join(name))?;
        }
        Ok(kept)
    }

    /// Where a program is.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
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
