//! What can go wrong with the store, and what kind of failure it is.

use std::io;

use selvedge_model::failure::{Failure, HasFailure};

/// SQLite's primary result codes that are told apart.
const SQLITE_BUSY: u32 = 5;
const SQLITE_READONLY: u32 = 8;
const SQLITE_FULL: u32 = 13;
const SQLITE_CANTOPEN: u32 = 14;
const SQLITE_NOTADB: u32 = 26;

/// Why the store could not be opened, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Made or changed by a later version of Selvedge.
    #[error(
        "the store {store} was made by Selvedge {made_by} (store version {found}), and this is Selvedge {ours} (store version {known})"
    )]
    TooNew {
        /// Its address.
        store: String,
        /// The program that brought it to its version.
        made_by: String,
        /// Its version.
        found: i64,
        /// This program.
        ours: &'static str,
        /// The newest version that it knows.
        known: i64,
    },
    /// Another process has it open.
    #[error("the store {store} is in use by another scheduler")]
    InUse {
        /// Its address.
        store: String,
    },
    /// The file system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Its answer.
        source: io::Error,
    },
    /// The database refused.
    #[error("{what}: {source}")]
    Database {
        /// What was being done.
        what: &'static str,
        /// Its answer.
        source: sqlx::Error,
    },
    /// What is there cannot be understood.
    #[error("the store's record of {what} cannot be read: {why}")]
    Corrupt {
        /// Of what.
        what: String,
        /// Why not.
        why: String,
    },
    /// What is to be kept has no form in the store.
    #[error("{what} cannot be kept in the store: {why}")]
    Unstorable {
        /// What.
        what: String,
        /// Why not.
        why: String,
    },
}

impl StoreError {
    pub(super) fn database(what: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { what, source }
    }

    pub(super) fn corrupt(what: impl ToString, why: impl ToString) -> Self {
        Self::Corrupt { what: what.to_string(), why: why.to_string() }
    }
}

/// SQLite's primary result code, without what extends it.
pub(super) fn sqlite_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    sqlite_code(error) == Some(SQLITE_BUSY)
}

impl HasFailure for StoreError {
    fn failure(&self) -> Failure {
        match self {
            Self::TooNew { made_by, .. } => Failure::user("STORE_TOO_NEW", self.to_string())
                .with_hint(format!("Run Selvedge {made_by} or later, or choose another store with --store")),
            Self::InUse { .. } => Failure::user("STORE_IN_USE", self.to_string())
                .with_hint("Stop that one, or choose another store with --store (--data-dir for run, sql and demo)"),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => disk_full(self),
                _ => not_usable(self),
            },
            Self::Database { source, .. } => match sqlite_code(source) {
                Some(SQLITE_FULL) => disk_full(self),
                Some(SQLITE_READONLY | SQLITE_CANTOPEN) => not_usable(self),
                Some(SQLITE_NOTADB) => {
                    Failure::user("STORE_NOT_USABLE", format!("{self}: it is no store of Selvedge's"))
                }
                _ => Failure::external("STORE_FAILED", self.to_string()),
            },
            Self::Corrupt { .. } => Failure::internal("STORE_CORRUPT", self.to_string()),
            Self::Unstorable { .. } => Failure::user("NOT_SUPPORTED", self.to_string()),
        }
    }
}

fn not_usable(error: &StoreError) -> Failure {
    let hint = "Let the account that runs Selvedge write there, or choose another store with --store";
    Failure::user("STORE_NOT_USABLE", error.to_string()).with_hint(hint)
}

fn disk_full(error: &StoreError) -> Failure {
    Failure::external("DISK_FULL", error.to_string()).with_hint("Free space where the store is, and run again")
}
