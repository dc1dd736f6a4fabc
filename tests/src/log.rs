//! What the service has logged in this process, by all tests of it: one process has one log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use shared::system::SystemClock;
use shared::telemetry;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bytes_so_far().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to listen, as every world does; further calls change nothing.
pub fn listen() {
    telemetry::start(Arc::new(SystemClock), Box::new(|| Box::new(Lines)));
}

/// All of it so far.
#[must_use]
pub fn text() -> String {
    String::from_utf8_lossy(&bytes_so_far()).into_owned()
}

/// The lines with this part, each of them JSON.
#[must_use]
pub fn with(part: &str) -> Vec<Value> {
    text().lines().filter(|line| line.contains(part)).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Its bytes; nobody logs while they are held.
pub(crate) fn bytes_so_far() -> MutexGuard<'static, Vec<u8>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}
