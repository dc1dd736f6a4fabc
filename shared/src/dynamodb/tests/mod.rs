//! The adapter against an in-process DynamoDB, over the wire.

mod bindings;
mod budgets;
mod collisions;
mod flows;
mod index;
mod moves;
mod races;
mod refreshes;
mod revocations;
mod rows;
mod support;

pub(super) use support::{authorization, binding, key};
