//! The ledger in its place: in memory, and on request in a file that is written before anything is acknowledged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use super::ledger::Ledger;

/// The file of grants could not be used.
#[derive(Debug, Error)]
pub enum KeepError {
    /// It exists and cannot be read.
    #[error("reading the sign-in grants in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was read, but is not what this provider writes.
    #[error("understanding the sign-in grants in {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// It cannot be written.
    #[error("writing the sign-in grants to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[derive(Debug, Default)]
struct Kept {
    ledger: Ledger,
    file: Option<PathBuf>,
}

/// The ledger behind a lock.
#[derive(Debug, Default)]
pub(super) struct Keeper(Mutex<Kept>);

impl Keeper {
    /// Takes up what the file holds, if it exists, and writes every later change to it.
    pub(super) fn persist_to(&self, path: &Path) -> Result<(), KeepError> {
        let ledger = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| KeepError::Parse { path: path.to_owned(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ledger::default(),
            Err(source) => return Err(KeepError::Read { path: path.to_owned(), source }),
        };
        // a folder that cannot be written is reported now, not at the first sign-in
        write(path, &ledger)?;
        *self.lock() = Kept { ledger, file: Some(path.to_owned()) };
        Ok(())
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.lock().ledger)
    }

    /// Changes the ledger. When this returns the change is in the file; when the file cannot be written nothing
    /// has changed. The lock is held meanwhile, so that the file never goes back in time.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> Result<T, KeepError> {
        let mut kept = self.lock();
        let Some(path) = kept.file.clone() else {
            return Ok(change(&mut kept.ledger));
        };
        let mut next = kept.ledger.clone();
        let outcome = change(&mut next);
        write(&path, &next)?;
        kept.ledger = next;
        Ok(outcome)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // a change that panicked has not been put in place, or there is no file to disagree with
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes beside and renames: whoever reads sees the old file or the new one.
fn write(path: &Path, ledger: &Ledger) -> Result<(), KeepError> {
    let failed = |source| KeepError::Write { path: path.to_owned(), source };
    let bytes = serde_json::to_vec(ledger).map_err(|error| failed(error.into()))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = create_private(&beside).map_err(failed)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}
