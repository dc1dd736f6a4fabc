//! Refresh, simulated.
#![expect(missing_docs, reason = "in progress")]

mod executor;
mod judge;
mod log;
mod node;
mod provider;
mod scenario;
mod store;
mod wire;
mod world;

pub use scenario::{Outcome, run};
pub use world::Guard;
