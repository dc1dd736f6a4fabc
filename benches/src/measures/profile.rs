//! Where the time of hand-outs goes: `perf` samples the stacks of `token` while it serves, for a flame graph (docs/performance.md). The
//! program is the bootstrap with its symbols, which is named on the command line.

use crate::Failure;
use crate::report::{Row, count};
use crate::runtime_api::{Function, Launch};
use crate::world::{Way, World};

/// What `perf` writes.
const SAMPLES: &str = "target/hand-out.perf";
/// How many hand-outs are served.
const REQUESTS: u32 = 5_000;

/// Samples.
pub async fn measure(world: &World) -> Result<Vec<Row>, Failure> {
    let program = std::env::args().skip_while(|argument| argument != "--program").nth(1).ok_or("--program names what is to be sampled")?;
    let id = world.authorize(true).await?;
    let event = world.hand_out(&id)?;
    let launch = world.launch(&program, "token", Way::Plain);
    let perf =
        ["perf", "record", "--quiet", "--event", "cpu-clock:u", "--freq", "1999", "--call-graph", "dwarf,32768", "--output", SAMPLES, "--"];
    let command = perf.into_iter().map(str::to_owned).chain(launch.command.iter().cloned()).collect();
    let mut function = Function::start(&Launch { command, ..launch }).await?;
    for _ in 0..REQUESTS {
        function.invoke(&event).await?.body(200)?;
    }
    function.stop().await?;
    Ok(vec![Row::told(format!("hand-outs sampled into {SAMPLES}"), "requests", count(REQUESTS.into()), None)])
}
