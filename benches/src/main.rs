//! `cargo budgets`: builds the bootstraps as they are deployed and a function that only says hello, runs them side by side against
//! stand-ins of the Lambda Runtime API and of AWS, and holds what it sees to the budgets (docs/performance.md).
//!
//! It prints a table, writes it to `target/budgets.json`, and exits with a status other than 0 when a budget is broken.
//! `--record` makes what this run measures the figures that later runs are held to; `--no-build` measures what was built before;
//! `--only size,calls` takes these groups of measures (`load`, `profile` and `against` are measured only if
//! they are named); `--only against --against main~3,main` builds these revisions too, and compares; `--keep` keeps what callgrind wrote, in
//! `target`, for `callgrind_annotate`; `--verbose` shows what the functions write to standard error.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program to be read by people")]

use std::process::ExitCode;
use std::time::Instant;

use budgets::recorded::Recorded;
use budgets::report::{Row, head};
use budgets::world::World;
use budgets::{Failure, measures, programs};
use serde_json::{Value, json};

/// Where the table is written.
const TABLE: &str = "target/budgets.json";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("a budget is broken, or what cannot keep one is above its ceiling");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("nothing can be said: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures; whether every budget is kept.
async fn run() -> Result<bool, Failure> {
    let given: Vec<_> = std::env::args().skip(1).collect();
    let is_given = |name: &str| given.iter().any(|argument| argument == name);
    let only = given.iter().position(|argument| argument == "--only").and_then(|at| given.get(at + 1));
    let is_named = |group: &str| only.is_some_and(|only| only.split(',').any(|name| name == group));
    let chosen = |group: &str| if measures::ON_REQUEST.contains(&group) { is_named(group) } else { only.is_none() || is_named(group) };
    if !is_given("--no-build") {
        programs::build(chosen("cold")).await?;
    }
    let world = World::start().await?;
    println!("{}", head());
    let (mut rows, mut recorded) = (Vec::new(), Recorded::read(is_given("--record"))?);
    for group in measures::GROUPS.into_iter().chain(measures::ON_REQUEST) {
        if !chosen(group) {
            continue;
        }
        let began = Instant::now();
        let measured = measures::measure(group, &world, &mut recorded).await.map_err(|error| format!("{group}: {error}"))?;
        for row in measured {
            let row = recorded.under_ceiling(row);
            println!("{row}");
            rows.push(row);
        }
        eprintln!("({group}: {:.0} s)", began.elapsed().as_secs_f64());
    }
    recorded.write()?;
    write(&rows)?;
    Ok(rows.iter().all(Row::is_borne))
}

fn write(rows: &[Row]) -> Result<(), Failure> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let rows: Vec<Value> = rows.iter().map(Row::json).collect();
    std::fs::write(TABLE, serde_json::to_string_pretty(&json!({ "load_of_the_machine": load.trim(), "measures": rows }))?)?;
    Ok(())
}
