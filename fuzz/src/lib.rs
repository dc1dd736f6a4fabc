//! What the fuzz targets share: a world without AWS, without a network, and in which no time passes.
//!
//! Inputs are text wherever that is possible, so that seeds can be written by hand and findings read by people.

pub mod edits;
pub mod fakes;
pub mod service;
pub mod tokens;

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

/// Waits for a future. Nothing here ever waits for anything outside.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// The first line of a text, and the rest.
pub fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}
