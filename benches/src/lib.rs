//! What `cargo budgets` measures, and how: the bootstraps as they are deployed and a function that only says hello run side by side
//! against stand-ins of the Lambda Runtime API and of AWS, and what is seen is held to the budgets (docs/performance.md).
//!
//! * [`programs`], [`runtime_api`], [`callgrind`]: what is run, against what, and under what.
//! * [`aws`], [`world`]: what is around it.
//! * [`measures`], [`recorded`], [`report`]: what is looked at, what it was before, and the table.

pub mod aws;
pub mod callgrind;
pub mod measures;
pub mod programs;
pub mod recorded;
pub mod report;
pub mod runtime_api;
pub mod world;

/// Whatever stops a measure: it is told, and nothing is measured any more.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
