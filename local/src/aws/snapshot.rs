//! State that is on disk before anyone hears of it.
//!
//! KMS, Secrets Manager and SQS each keep one small value. A change is made to a copy; the copy is written
//! beside the file, synchronised, renamed over it, and only then takes effect. A process that is killed at any
//! moment leaves the old file or the new one, and at worst a leftover beside it that nobody reads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::wire::Fault;

/// Why a state file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file is there and cannot be read.
    #[error("reading the emulation's state from {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file was not written by this emulation. It may hold keys, so it is never overwritten.
    #[error("understanding the emulation's state in {path}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Where the parser stopped.
        source: serde_json::Error,
    },
}

/// A value in memory, and in a file if there is one.
pub(super) struct Snapshot<T> {
    state: Mutex<T>,
    path: Option<PathBuf>,
}

impl<T: Clone + Default + PartialEq + Serialize + DeserializeOwned> Snapshot<T> {
    /// Reads the file, or begins empty.
    pub(super) fn open(path: Option<PathBuf>) -> Result<Self, SnapshotError> {
        let state = match &path {
            None => T::default(),
            Some(path) => match fs::read(path) {
                Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| SnapshotError::Format { path: path.clone(), source })?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => T::default(),
                Err(source) => return Err(SnapshotError::Read { path: path.clone(), source }),
            },
        };
        Ok(Self { state: Mutex::new(state), path })
    }

    /// Looks at the state.
    pub(super) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state: all of it, on disk, or nothing.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut T) -> Result<R, Fault>) -> Result<R, Fault> {
        // A poisoned lock is sound here: the guarded value is only ever replaced as a whole.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = state.clone();
        let outcome = change(&mut next)?;
        if next != *state {
            if let Some(path) = &self.path {
                write_durably(path, &next).map_err(|error| {
                    tracing::error!(path = %path.display(), %error, "the emulation's state could not be written");
                    Fault::internal()
                })?;
            }
            *state = next;
        }
        Ok(outcome)
    }
}

fn write_durably<T: Serialize>(path: &Path, state: &T) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    // Key material and secrets are inside: nobody else on this machine reads them.
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(&serde_json::to_vec(state)?)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    // The rename itself is durable only once the directory is.
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
