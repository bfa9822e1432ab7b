//! Where shuffle lives and how it is read back: local disk, the executor that wrote it, object storage.
//!
//! Ballista decides who reads which file; this module names them uniquely per task attempt, writes those of exchanges
//! (Ballista the others), copies them to object storage and reads them from wherever they still are. It must never raise Ballista's FetchFailed (under
//! adaptive planning that hangs a job): a block that cannot be had is an `IoError`, and the task is tried again.
//! Start with `store.rs`; `reader.rs` is the plan node, `write/mod.rs` the writer.

mod block;
mod coalesce;
mod decode;
mod error;
mod fetch;
mod frames;
mod id;
mod index;
mod paths;
pub mod peer;
mod reader;
mod source;
mod store;
mod upload;
mod write;

#[cfg(test)]
mod tests;

pub use error::ShuffleError;
pub use id::{InvalidVirtualId, VirtualExecutorId};
pub use paths::{companions, data_path, is_plain_name, is_plain_path, task_dir};
pub use reader::{DurableShuffleReaderExec, replace_readers};
pub use store::ShuffleStore;
pub use write::ExchangeWriter;

/// Metric of [`DurableShuffleReaderExec`]: bytes fetched, as they lie on disk.
pub const SHUFFLE_BYTES_READ: &str = "shuffle_bytes_read";
/// Metric of [`DurableShuffleReaderExec`]: rows decoded.
pub const SHUFFLE_ROWS_READ: &str = "shuffle_rows_read";
