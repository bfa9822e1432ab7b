//! Managed tables: Delta Lake.
//!
//! The log is read and written through `deltalake-core`; scans, writes and the rules of a commit are ours. `log.rs` opens a
//! log, [`DeltaSnapshot`] is one version of a table, [`commit`] makes the next one, [`DeltaTable`] scans a version.
//! `schema.rs` and `values.rs` translate columns and values, `stats.rs` what is known of a file's contents. What may be
//! committed is decided in `selvedge_model::delta`. Data files are written and published elsewhere (`write/`): here they
//! are only named.

mod action;
mod change;
mod checkpoint;
mod clash;
mod commit;
mod create;
mod error;
mod history;
mod log;
mod metadata;
mod pins;
mod protocol;
mod provider;
mod prune;
mod reads;
mod schema;
mod selected;
mod snapshot;
mod statistics;
mod stats;
mod vacuum;
mod values;
mod version;

pub use action::{AddFile, MetadataChange, Operation};
pub use change::{Columns, LogChange, NewVersion, apply_change, leading_key, names_any};
pub use commit::{CommitError, CommitOutcome, CommitRequest, commit};
pub use create::{NewTable, create_table};
pub use history::HistoryEntry;
pub use log::is_delta_table;
pub use metadata::{COMMENT_KEY, DEFAULT_KEY};
pub(crate) use pins::Pins;
pub use provider::DeltaTable;
pub use reads::partitions_read;
pub use schema::{check_schema, delta_types};
pub use selected::DeltaFiles;
pub use snapshot::{DeltaFile, DeltaSnapshot};
pub use stats::file_stats;
pub use vacuum::{TableFiles, check_there, table_files};
pub use values::partition_key;
pub(crate) use version::at_version;
pub use version::{VersionSpec, shown as time_text};

#[cfg(test)]
mod tests;
