//! Object stores and locations in them.
//!
//! A [`Location`] names an object or a directory anywhere; [`ObjectStores`] holds one client for each bucket or host, with
//! credentials looked up on this node and never taken from a session. Nothing here knows what is in the files: see
//! `catalog/` for reading and `write/` for writing tables.

mod credentials;
mod location;
mod open_uploads;
mod options;
mod read_only;
mod registry;
mod s3;
mod whole_reads;

pub use location::Location;
pub(crate) use open_uploads::{OpenUpload, OpenUploads};
pub use options::StoreOptions;
pub use registry::ObjectStores;

/// What was to be removed may be gone already.
pub(crate) fn missing_is_done<T>(result: object_store::Result<T>) -> object_store::Result<()> {
    match result {
        Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}
