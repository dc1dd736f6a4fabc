//! The groups of measures.

pub mod calls;
pub mod cold;
pub mod memory;
pub mod size;
pub mod start;
pub mod warm;

use crate::Failure;
use crate::recorded::Recorded;
use crate::report::Row;
use crate::world::World;

/// The groups, in the order in which they are measured.
pub const GROUPS: [&str; 6] = ["size", "calls", "start", "cold", "warm", "memory"];

/// Measures one group.
pub async fn measure(group: &str, world: &World, recorded: &mut Recorded) -> Result<Vec<Row>, Failure> {
    match group {
        "size" => size::measure(),
        "calls" => calls::measure(world).await,
        "start" => start::measure(world, recorded).await,
        "cold" => cold::measure(world).await,
        "warm" => warm::measure(world, recorded).await,
        _ => memory::measure(world, recorded).await,
    }
}
