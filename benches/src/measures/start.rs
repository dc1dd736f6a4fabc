//! From the start of the program to its first request for an event.

use std::time::Duration;

use serde_json::Value;

use crate::Failure;
use crate::callgrind::instructions;
use crate::measures::cold::trusting;
use crate::programs::{HELLO, text};
use crate::recorded::Recorded;
use crate::report::{Row, count};
use crate::runtime_api::{Function, Launch};
use crate::world::{FUNCTIONS, Way, World};

/// How much more than recorded is still noise.
const SLACK: f64 = 1.02;
/// How often each program is started; they take turns.
const TIMES: usize = 50;
/// What a start may take of what hello world takes.
const RATIO: f64 = 1.2;

/// Measures.
pub async fn measure(world: &World, recorded: &mut Recorded) -> Result<Vec<Row>, Failure> {
    let launches: Vec<_> = [HELLO]
        .into_iter()
        .chain(FUNCTIONS.iter().map(|(name, _)| *name))
        .map(|name| (name, world.launch(&text(name), name, Way::Plain)))
        .collect();
    let mut times = vec![(Vec::with_capacity(TIMES), Vec::with_capacity(TIMES)); launches.len()];
    for _ in 0..TIMES {
        for ((_, launch), (whole, ran)) in launches.iter().zip(&mut times) {
            let function = Function::start(launch).await?;
            whole.push(function.started_in());
            ran.push(function.started_with());
            function.stop().await?;
        }
    }
    let mut medians = times.into_iter().map(|(whole, ran)| [whole, ran].map(|times| milliseconds(median(times))));
    let hello = medians.next().unwrap_or_default();
    let mut rows = Vec::new();
    for ((name, _), [whole, ran]) in launches.iter().skip(1).zip(medians) {
        rows.push(Row::ratio(format!("start of {name}, median of {TIMES}"), "ms", whole, hello[0], RATIO));
        rows.push(Row::told(format!("of these, {name} on a processor"), "ms", ran, Some(hello[1])));
    }
    let hello = idle(&launches[0].1).await?;
    for (name, launch) in launches.iter().skip(1) {
        let instructions = idle(launch).await?;
        rows.push(Row::told(format!("start of {name}"), "instructions", instructions, Some(hello)));
        rows.push(recorded.row(&format!("start of {name}"), "instructions", instructions, SLACK)?);
    }
    rows.extend(handshake(world).await?);
    Ok(rows)
}

/// What TLS adds to a start, by each connection that it opens. Under callgrind a start is so slow that on a busy machine its time limits
/// are met in the middle of a handshake, which then is paid and not counted: such a start is not looked at if there is another.
async fn handshake(world: &World) -> Result<Vec<Row>, Failure> {
    const STARTS: usize = 8;
    let name = "create-url";
    let without = idle(&world.launch(&text(name), name, Way::Plain)).await?;
    let launch = trusting(world, &world.launch(&text(name), name, Way::Tls), None)?;
    let (mut with, mut opened) = (f64::NAN, 0);
    for _ in 0..STARTS {
        world.tls.take();
        with = idle(&launch).await?;
        let seen = world.tls.take();
        opened = seen.handshakes;
        if seen.begun == seen.handshakes {
            break;
        }
    }
    let each = (with - without) / count(opened);
    Ok(vec![
        Row::told(format!("start of {name} with TLS"), "instructions", with, Some(without)),
        Row::told(format!("TLS connections of a start of {name}"), "connections", count(opened), None),
        Row::most("a TLS connection at the start, the first included", "instructions", each, 10e6),
    ])
}

async fn idle(launch: &Launch) -> Result<f64, Failure> {
    instructions(launch, &Value::Null, 0).await
}

/// The middle one.
#[must_use]
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A time in milliseconds.
#[must_use]
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
