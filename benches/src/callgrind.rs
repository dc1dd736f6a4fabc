//! Instructions, counted by callgrind: they hardly depend on what else the machine does.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::Failure;
use crate::runtime_api::{Function, Launch};

/// Puts callgrind before a program: the launch, and where the counts will be.
fn under(launch: &Launch, directory: &Path) -> (Launch, PathBuf) {
    let file = directory.join("callgrind.out");
    let valgrind = ["valgrind", "--tool=callgrind", "--quiet", &format!("--callgrind-out-file={}", file.display())].map(str::to_owned);
    (Launch { command: valgrind.into_iter().chain(launch.command.iter().cloned()).collect(), ..launch.clone() }, file)
}

/// The instructions of a program that serves these events and ends.
pub async fn instructions(launch: &Launch, event: &Value, times: usize) -> Result<f64, Failure> {
    let directory = TempDir::new()?;
    let (launch, file) = under(launch, directory.path());
    let mut function = Function::start(&launch).await?;
    for _ in 0..times {
        function.invoke(event).await?;
    }
    function.stop().await?;
    let text = std::fs::read_to_string(&file)?;
    if std::env::args().any(|argument| argument == "--keep") {
        let name = launch.command.iter().find_map(|part| part.strip_prefix("target/")).unwrap_or("program").replace('/', "-");
        std::fs::copy(&file, format!("target/callgrind-{name}-{times}.out"))?;
    }
    let totals = text.lines().rev().find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    Ok(totals.ok_or("callgrind counted nothing")?.trim().parse()?)
}

/// The instructions of one warm event: what more events cost, by their number. The first ones are left out, as they load what the
/// others find.
pub async fn of_one(launch: &Launch, event: &Value) -> Result<f64, Failure> {
    const FEW: usize = 50;
    const MANY: usize = 250;
    let few = instructions(launch, event, FEW).await?;
    let many = instructions(launch, event, MANY).await?;
    Ok((many - few) / f64::from(u32::try_from(MANY - FEW)?))
}
