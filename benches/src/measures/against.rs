//! Two states of this project side by side: what a change was worth, before it and after. The bootstraps of the revisions that `--against`
//! names are built as they were then, and measured in the same run as today's.

use std::time::Duration;

use serde_json::Value;

use crate::Failure;
use crate::callgrind::{instructions, of_one};
use crate::measures::cold::trusting;
use crate::measures::start::{median, milliseconds};
use crate::programs::{Earlier, text};
use crate::report::{Row, count};
use crate::runtime_api::Function;
use crate::world::{Way, World};

/// The functions that are measured: of those that callers wait for, one that asks AWS when it serves, and one that does not.
const MEASURED: [&str; 2] = ["create-url", "token"];
/// How often each program is started; they take turns.
const TIMES: usize = 20;
/// After how many requests memory is looked at.
const REQUESTS: usize = 2_000;

/// Measures.
pub async fn measure(world: &World) -> Result<Vec<Row>, Failure> {
    let revisions = std::env::args().skip_while(|argument| argument != "--against").nth(1).ok_or("--against names revisions")?;
    let id = world.authorize(true).await?;
    let mut rows = Vec::new();
    for revision in revisions.split(',') {
        let earlier = Earlier::build(revision, &MEASURED).await?;
        for (name, event) in MEASURED.into_iter().zip([world.create()?, world.hand_out(&id)?]) {
            rows.extend(compare(world, revision, [&text(name), &earlier.text(name)], name, &event).await?);
        }
    }
    Ok(rows)
}

/// Ours first, the earlier one second.
async fn compare(world: &World, revision: &str, programs: [&str; 2], name: &str, event: &Value) -> Result<Vec<Row>, Failure> {
    let launches = programs.map(|program| world.launch(program, name, Way::Plain));
    let over_tls = [
        trusting(world, &world.launch(programs[0], name, Way::Tls), None)?,
        trusting(world, &world.launch(programs[1], name, Way::Tls), None)?,
    ];
    let mut rows = Vec::new();
    let mut tell = |what: &str, unit, [ours, earlier]: [f64; 2]| {
        rows.push(Row::told(format!("{name} against {revision}: {what}"), unit, ours, Some(earlier)));
    };

    let mut sizes = [0.0; 2];
    for (size, program) in sizes.iter_mut().zip(programs) {
        *size = count(std::fs::metadata(program)?.len());
    }
    tell("size of the bootstrap", "bytes", sizes);

    let mut ran = [const { Vec::<Duration>::new() }; 2];
    for _ in 0..TIMES {
        for (ran, launch) in ran.iter_mut().zip(&launches) {
            let function = Function::start(launch).await?;
            ran.push(function.started_with());
            function.stop().await?;
        }
    }
    tell("start, on a processor", "ms", ran.map(|times| milliseconds(median(times))));

    let (mut start, mut first, mut warm, mut memory) = ([0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2]);
    for at in 0..2 {
        start[at] = instructions(&launches[at], &Value::Null, 0).await?;
        first[at] = instructions(&over_tls[at], event, 1).await?;
        warm[at] = of_one(&launches[at], event).await?;
        let mut function = Function::start(&launches[at]).await?;
        for _ in 0..REQUESTS {
            function.invoke(event).await?.body(200)?;
        }
        memory[at] = count(function.memory()?.peak);
        function.stop().await?;
    }
    tell("start", "instructions", start);
    tell("from the start to the first answer, over TLS", "instructions", first);
    tell("a warm request", "instructions", warm);
    tell("peak memory", "KiB", memory);
    Ok(rows)
}
