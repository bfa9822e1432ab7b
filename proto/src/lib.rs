//! The wire: generated `selvedge.v1` types and services, and the only conversions between them and the model.
//!
//! A conversion never decides anything: what a message means is the model's business. `status` is the one place that
//! maps failures to gRPC codes and back; `run` and `failure` convert records, `task` the ids between executors and
//! scheduler.

mod failure;
mod run;
mod status;
mod task;
mod wire;

pub use status::{failure_from, status_from};
pub use wire::WireError;

/// The public API, version 1.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    tonic::include_proto!("selvedge.v1");
}

/// Between executors and scheduler.
pub mod internal {
    /// Version 1.
    #[allow(missing_docs, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("selvedge.internal.v1");
    }
}

/// The largest gRPC message on any client or server: a plan over many files passes the usual 4 and 16 MiB.
pub const MAX_MESSAGE_BYTES: usize = 128 * 1024 * 1024;

/// Encoded `FileDescriptorSet` of all our services, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/selvedge.bin"));
