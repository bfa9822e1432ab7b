//! What can go wrong with a table's files.
//!
//! An error here becomes a [`Failure`] for the scheduler and a [`DataFusionError`] inside a task; neither loses the cause.
//! Next: `layout.rs`, the names of files.

use std::io;

use datafusion::error::DataFusionError;
use selvedge_model::failure::{Failure, HasFailure};

use crate::error::{EngineError, classify_store};

/// The code of the failure that says a file can never be published: neither what was staged nor the file is there.
pub const STAGING_LOST: &str = "STAGING_LOST";

/// The code of the failure that says a directory also holds a managed table.
pub(super) const TABLE_BELOW: &str = "TABLE_BELOW";

/// Why a table's files could not be written, published, listed or removed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The object store refused or did not answer.
    #[error("{what}: {source}")]
    Store {
        /// What was being done, and to which path.
        what: String,
        /// The store's answer.
        source: object_store::Error,
    },
    /// The local file system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, and to which path.
        what: String,
        /// Its answer.
        source: io::Error,
    },
    /// What a task staged is gone, and the file it should have become is not there.
    #[error("the staged data of '{path}' has disappeared, so the file cannot be published")]
    Lost {
        /// The file that was to appear.
        path: String,
    },
    /// A name that the store cannot hold.
    #[error("'{path}' cannot be a path in the store: {reason}")]
    Path {
        /// The name.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The location's store cannot be opened.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Files below a directory are a managed table's, and not the directory's.
    #[error("'{table}', below '{root}', is a managed table")]
    TableBelow {
        /// The directory.
        root: String,
        /// The table's root.
        table: String,
    },
    /// A scheme that can be read but not written, or the root of the local disk.
    #[error("'{location}' can be read but not written")]
    ReadOnly {
        /// The location.
        location: String,
    },
}

impl WriteError {
    /// A store's error and what was being done.
    pub(crate) fn store(what: impl Into<String>) -> impl FnOnce(object_store::Error) -> Self {
        let what = what.into();
        move |source| Self::Store { what, source }
    }

    /// A file system's error and what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Whether trying to write there again is of no use. A disk that will not make a directory or a file (`/proc` says that
    /// there is none) does not change its mind: only what it says to be for now may pass.
    pub(crate) fn is_lasting(&self) -> bool {
        use io::ErrorKind::{
            Interrupted, QuotaExceeded, ResourceBusy, StaleNetworkFileHandle, StorageFull, TimedOut, WouldBlock,
        };
        match self {
            Self::Io { source, .. } => !matches!(
                source.kind(),
                Interrupted
                    | QuotaExceeded
                    | ResourceBusy
                    | StaleNetworkFileHandle
                    | StorageFull
                    | TimedOut
                    | WouldBlock
            ),
            other => !other.failure().is_retryable(),
        }
    }
}

impl HasFailure for WriteError {
    fn failure(&self) -> Failure {
        match self {
            Self::Store { what, source } => classify_store(source, what),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Failure::user("ACCESS_DENIED", self.to_string())
                        .with_hint("Let the account that runs Selvedge write there, or choose another location")
                }
                io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::InvalidFilename => {
                    Failure::user("LOCATION_NOT_WRITABLE", self.to_string())
                        .with_hint("Choose a location that is a directory, or that can become one")
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Failure::external("DISK_FULL", self.to_string()).with_hint("Free space there and run again")
                }
                _ => Failure::external("STORE_UNAVAILABLE", self.to_string()),
            },
            Self::Lost { .. } => Failure::external(STAGING_LOST, self.to_string()).with_hint(
                "Run the statement again; keep lifecycle rules and clean-up jobs off staging younger than a day",
            ),
            Self::Path { .. } => Failure::user("BAD_DATA", self.to_string()),
            Self::ReadOnly { .. } => Failure::user("LOCATION_NOT_WRITABLE", self.to_string())
                .with_hint("Write to s3:// or to a directory on a local disk"),
            Self::TableBelow { .. } => Failure::user(TABLE_BELOW, self.to_string())
                .with_hint("To replace what is in the directory would delete that table's files: write to another one"),
            Self::Engine(error) => error.failure(),
        }
    }
}

impl From<WriteError> for DataFusionError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Store { what, source } => DataFusionError::ObjectStore(Box::new(source)).context(what),
            WriteError::Io { what, source } => {
                DataFusionError::IoError(io::Error::new(source.kind(), format!("{what}: {source}")))
            }
            other => DataFusionError::External(Box::new(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_so_for_now_is_worth_another_try() {
        let error = |kind: io::ErrorKind| WriteError::io("w")(io::Error::from(kind));
        for lasting in [
            io::ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::ReadOnlyFilesystem,
            io::ErrorKind::NotADirectory,
            io::ErrorKind::InvalidInput,
        ] {
            assert!(error(lasting).is_lasting(), "{lasting}");
        }
        for passing in [io::ErrorKind::StorageFull, io::ErrorKind::TimedOut, io::ErrorKind::ResourceBusy] {
            assert!(!error(passing).is_lasting(), "{passing}");
        }
    }
}
