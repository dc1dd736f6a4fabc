//! The groups of measures.

pub mod against;
pub mod calls;
pub mod cold;
pub mod load;
pub mod memory;
pub mod profile;
pub mod size;
pub mod start;
pub mod warm;

use crate::Failure;
use crate::recorded::Recorded;
use crate::report::Row;
use crate::world::World;

/// The groups that hold budgets, in the order in which they are measured.
pub const GROUPS: [&str; 6] = ["size", "calls", "start", "cold", "warm", "memory"];
/// The groups that are measured only if they are named: they need tools or words of their own, and hold no budget.
pub const ON_REQUEST: [&str; 3] = ["load", "profile", "against"];

/// Measures one group.
pub async fn measure(group: &str, world: &World, recorded: &mut Recorded) -> Result<Vec<Row>, Failure> {
    match group {
        "size" => size::measure(),
        "calls" => calls::measure(world).await,
        "start" => start::measure(world, recorded).await,
        "cold" => cold::measure(world).await,
        "warm" => warm::measure(world, recorded).await,
        "against" => against::measure(world).await,
        "load" => load::measure(world).await,
        "profile" => profile::measure(world).await,
        _ => memory::measure(world, recorded).await,
    }
}
