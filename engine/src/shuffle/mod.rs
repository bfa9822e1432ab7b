//! Where shuffle lives and how it is read back: local disk, the executor that wrote it, object storage.
//!
//! Ballista writes the files and decides who reads which; this module names them uniquely per task attempt, copies them
//! to object storage and reads them from wherever they still are. It must never raise Ballista's FetchFailed (under
//! adaptive planning that hangs a job): a block that cannot be had is an `IoError`, and the task is tried again.
//! Start with `store.rs`; `reader.rs` is the plan node.

mod block;
mod coalesce;
mod decode;
mod error;
mod fetch;
mod id;
mod index;
mod paths;
pub mod peer;
mod reader;
mod source;
mod store;
mod upload;

#[cfg(test)]
mod tests;

pub use error::ShuffleError;
pub use id::{InvalidVirtualId, VirtualExecutorId};
pub use paths::{companions, data_path, is_plain_name, is_plain_path, task_dir};
pub use reader::{DurableShuffleReaderExec, replace_readers};
pub use store::ShuffleStore;

/// Metric of [`DurableShuffleReaderExec`]: bytes fetched, as they lie on disk.
pub const SHUFFLE_BYTES_READ: &str = "shuffle_bytes_read";
/// Metric of [`DurableShuffleReaderExec`]: rows decoded.
pub const SHUFFLE_ROWS_READ: &str = "shuffle_rows_read";
