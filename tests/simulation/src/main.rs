//! `cargo run --profile bench -p simulation -- 1000000` plays a million schedules, from a second argument on if there is one. With
//! `MANDATE_SIMULATION_SEED=n` it plays that one and tells everything that happened in it.
#![expect(clippy::print_stdout, reason = "it is there to print")]

use std::process::ExitCode;
use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "which seed to replay is the developer's word")]
fn main() -> ExitCode {
    if let Some(seed) = std::env::var("MANDATE_SIMULATION_SEED").ok().and_then(|seed| seed.parse().ok()) {
        let outcome = simulation::run(seed, None, true);
        println!("{}\nseed {seed}: {:?}", outcome.trace.join("\n"), outcome.violations);
        return if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut numbers = std::env::args().skip(1).filter_map(|number| number.parse::<u64>().ok());
    let (count, first) = (numbers.next().unwrap_or(10_000), numbers.next().unwrap_or(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let began = Instant::now();
    let summary = simulation::run_many(first, count, threads, None, 20);
    let took = began.elapsed();
    println!("{summary}seeds {first} to {}, {threads} threads, {took:.1?}", first + count - 1);
    println!("{:.0} schedules per second", f64::from(u32::try_from(summary.schedules).unwrap_or(u32::MAX)) / took.as_secs_f64());
    let missed = summary.missed();
    if !missed.is_empty() {
        println!("corners that were never reached: {missed:?}");
    }
    if summary.violations.is_empty() && missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
