//! How large the bootstraps are.

use crate::Failure;
use crate::programs::{HELLO, path};
use crate::report::Row;
use crate::world::FUNCTIONS;

/// 6 MiB.
const MOST: f64 = 6.0 * 1024.0 * 1024.0;

/// Measures.
pub fn measure() -> Result<Vec<Row>, Failure> {
    let size = |name: &str| -> Result<f64, Failure> { Ok(f64::from(u32::try_from(std::fs::metadata(path(name))?.len())?)) };
    let hello = size(HELLO)?;
    let row =
        |name: &str| Ok(Row { baseline: Some(hello), ..Row::most(format!("size of the bootstrap {name}"), "bytes", size(name)?, MOST) });
    FUNCTIONS.iter().map(|(name, _)| row(name)).collect()
}
