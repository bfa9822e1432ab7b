//! What goes wrong in the engine, and what kind of failure it is.
//!
//! Everything that fails below us is turned into a [`Failure`] here and nowhere else: who has to act, whether to retry, a
//! stable code, and words for a person who wrote SQL. Nothing here logs. `error/datafusion_error.rs` and
//! `error/store_error.rs` hold the tables.

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use selvedge_model::Failure;
use selvedge_model::failure::HasFailure;

mod datafusion_error;
mod function;
mod near;
mod reading;
mod store_error;

pub use datafusion_error::{classify, classify_arrow, span_of};
pub use function::misused_function;
pub use near::{nearest, or_list};
pub(crate) use reading::{Reading, Start, classify_reading, named};
pub use store_error::classify_store;

/// Whatever the engine can fail with.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Already judged: what failed, whose it is, what to do.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Planning or execution failed.
    #[error(transparent)]
    DataFusion(#[from] DataFusionError),
    /// An object store answered with an error.
    #[error("{what}: {source}")]
    Store {
        /// What was being done, with the location.
        what: String,
        /// The store's error.
        source: object_store::Error,
    },
    /// The local file system or the network failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's error.
        source: std::io::Error,
    },
}

impl EngineError {
    /// An object store's error, with what was being done.
    pub fn store(what: impl Into<String>, source: object_store::Error) -> Self {
        Self::Store { what: what.into(), source }
    }

    /// A system error, with what was being done.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }
}

impl From<ArrowError> for EngineError {
    fn from(error: ArrowError) -> Self {
        Self::DataFusion(DataFusionError::from(error))
    }
}

impl From<EngineError> for DataFusionError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::DataFusion(inner) => inner,
            other => DataFusionError::External(Box::new(other)),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        error.failure()
    }
}

impl HasFailure for EngineError {
    fn failure(&self) -> Failure {
        match self {
            Self::Failed(failure) => failure.clone(),
            Self::DataFusion(error) => classify(error),
            Self::Store { what, source } => classify_store(source, what),
            Self::Io { what, source } => {
                let mut failure = datafusion_error::classify_io(source);
                failure.cause = format!("{what}: {}", failure.cause);
                failure
            }
        }
    }
}

/// Why a port cannot be listened on: scheduler and executor say it alike. `said` names the address, `flags` those that
/// choose another.
pub fn listen_failure(said: String, cause: &std::io::Error, flags: &str) -> Failure {
    match cause.kind() {
        std::io::ErrorKind::AddrInUse => Failure::user("PORT_IN_USE", said).with_hint(format!(
            "Stop the process that uses this port, or choose another one with {flags}; port 0 takes a free one"
        )),
        _ => Failure::user("CANNOT_LISTEN", said)
            .with_hint("Name an address of this machine, and a port that this user may listen on"),
    }
}

#[cfg(test)]
mod tests {
    use selvedge_model::{Domain, Retry};

    use super::*;

    #[test]
    fn a_failure_survives_the_way_through_datafusion() {
        let failure = Failure::user("FILE_NOT_FOUND", "nothing at s3://b/x").with_hint("Check the path");
        let wrapped = DataFusionError::from(EngineError::from(failure.clone())).context("scanning");
        assert_eq!(classify(&wrapped), failure);
        let shared = DataFusionError::Shared(std::sync::Arc::new(wrapped));
        assert_eq!(classify(&shared), failure);
    }

    #[test]
    fn a_port_in_use_has_a_code_of_its_own() {
        let code = |kind: std::io::ErrorKind| listen_failure("cannot listen".into(), &kind.into(), "--port").code;
        assert_eq!(code(std::io::ErrorKind::AddrInUse), "PORT_IN_USE");
        assert_eq!(code(std::io::ErrorKind::AddrNotAvailable), "CANNOT_LISTEN");
    }

    #[test]
    fn io_errors_say_what_was_being_done() {
        let error = EngineError::io("writing /tmp/spill", std::io::Error::from(std::io::ErrorKind::StorageFull));
        let failure = error.failure();
        assert_eq!(
            (failure.code.as_str(), failure.domain, failure.retry),
            ("DISK_FULL", Domain::External, Retry::Later)
        );
        assert!(failure.cause.starts_with("writing /tmp/spill: "));
    }
}
