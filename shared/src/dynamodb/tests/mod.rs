//! The adapter against a DynamoDB, over the wire: the one in process, or another (docs/stores.md).

mod announcements;
mod bindings;
mod branch_keys;
mod budgets;
mod collisions;
mod costs;
mod flows;
mod index;
mod moves;
mod races;
mod refreshes;
mod revocations;
mod rows;
mod support;

pub(super) use support::{authorization, binding, key};
