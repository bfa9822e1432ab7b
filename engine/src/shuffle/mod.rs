//! Where shuffle lives and how it is read back: local disk, the executor that wrote it, object storage.
//!
//! Ballista decides who reads which file; this module names them uniquely per task attempt, writes those of exchanges
//! (Ballista the others), copies them to object storage and reads them from wherever they still are. It must never raise Ballista's FetchFailed (under
//! adaptive planning that hangs a job): a block that cannot be had is waited for while the scheduler has it made again
//! (`missing.rs`), else it is an `IoError`, and the task is tried again.
//! Start with `store.rs`; `reader.rs` is the plan node, `write/mod.rs` the writer.

mod block;
mod coalesce;
mod decode;
mod error;
mod fetch;
mod frames;
mod id;
mod index;
mod missing;
mod paths;
pub mod peer;
mod reader;
mod repeatable;
mod source;
mod store;
mod upload;
mod write;

#[cfg(test)]
mod tests;

pub use error::ShuffleError;
pub use id::{InvalidVirtualId, VirtualExecutorId};
pub use missing::{MissingOutputs, Replacement};
pub use paths::{companions, data_path, is_plain_name, is_plain_path, task_dir};
pub use reader::{DurableShuffleReaderExec, replace_readers};
pub use repeatable::is_repeatable;
pub use store::ShuffleStore;
pub use upload::Copied;
pub use write::ExchangeWriter;

/// Metric of [`DurableShuffleReaderExec`]: bytes fetched, as they lie on disk.
pub const SHUFFLE_BYTES_READ: &str = "shuffle_bytes_read";
/// Metric of [`DurableShuffleReaderExec`]: files opened on this machine's disk.
pub const LOCAL_READS: &str = "local_reads";
/// Metric of [`DurableShuffleReaderExec`]: requests to other executors.
pub const PEER_READS: &str = "peer_reads";
/// Metric of [`DurableShuffleReaderExec`]: requests to object storage.
pub const REMOTE_READS: &str = "remote_reads";
/// Metric of [`DurableShuffleReaderExec`]: rows decoded.
pub const SHUFFLE_ROWS_READ: &str = "shuffle_rows_read";
