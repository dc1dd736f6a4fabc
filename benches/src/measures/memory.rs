//! Resident memory after many requests.

use serde_json::Value;

use crate::Failure;
use crate::programs::{HELLO, text};
use crate::recorded::Recorded;
use crate::report::{Row, count};
use crate::runtime_api::{Function, Memory};
use crate::world::{Way, World};

/// How much more than recorded is still noise.
const SLACK: f64 = 1.1;
/// What a function may take of what hello world takes.
const RATIO: f64 = 1.4;
/// How many requests are served.
const REQUESTS: usize = 10_000;
/// After how many of them memory must not grow any more.
const SETTLED: usize = 2_000;
/// What may still come on top after that, in KiB: less than a tenth of a byte per request, which is no leak.
const GROWTH: f64 = 64.0;

/// Measures.
pub async fn measure(world: &World, recorded: &mut Recorded) -> Result<Vec<Row>, Failure> {
    let id = world.authorize(true).await?;
    let (create, hand_out) = (world.create()?, world.hand_out(&id)?);
    let hello = serve(world, HELLO, &create).await?.0;
    let mut rows = Vec::new();
    for (name, event) in [("create-url", &create), ("token", &hand_out)] {
        let (memory, grown) = serve(world, name, event).await?;
        let peak = count(memory.peak);
        rows.push(Row::ratio(format!("peak memory of {name} after {REQUESTS} requests"), "KiB", peak, count(hello.peak), RATIO));
        rows.push(Row::told(format!("of these, code of {name}"), "KiB", count(memory.of_files), Some(count(hello.of_files))));
        rows.push(recorded.row(&format!("peak memory of {name}"), "KiB", peak, SLACK)?);
        rows.push(Row::most(format!("growth of {name} from request {SETTLED} to {REQUESTS}"), "KiB", grown, GROWTH));
    }
    Ok(rows)
}

/// The memory at the end, and the growth after the first requests in KiB.
async fn serve(world: &World, name: &str, event: &Value) -> Result<(Memory, f64), Failure> {
    let mut function = Function::start(&world.launch(&text(name), name, Way::Plain)).await?;
    let mut settled = Memory::default();
    for number in 1..=REQUESTS {
        function.invoke(event).await?;
        if number == SETTLED {
            settled = function.memory()?;
        }
    }
    let memory = function.memory()?;
    function.stop().await?;
    Ok((memory, count(memory.now) - count(settled.now)))
}
