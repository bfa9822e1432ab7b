//! What goes wrong in the scheduler, and what kind of failure it is.
//!
//! Each variant wraps its cause; [`HasFailure`] is the one way from here to a decision. Messages are for operators: what a
//! job's author reads is made where it fails.

use std::io;

use selvedge_engine::error::{EngineError, listen_failure};
use selvedge_model::failure::{Failure, HasFailure};

/// Why the scheduler could not start or carry on.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The distributed engine refused.
    #[error("the engine did not start: {0}")]
    Host(String),
    /// Sessions, catalog or object stores.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A port could not be taken.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// What was asked for.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// A server ended by itself.
    #[error("the {service} server stopped: {cause}")]
    Serve {
        /// Which one.
        service: &'static str,
        /// Why.
        cause: String,
    },
    /// A failure that already says everything.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl HasFailure for SchedulerError {
    fn failure(&self) -> Failure {
        match self {
            Self::Host(_) => Failure::internal("ENGINE", self.to_string()),
            Self::Engine(error) => error.failure(),
            Self::Listen { source, .. } => listen_failure(self.to_string(), source, "--listen or --http"),
            Self::Serve { .. } => Failure::internal("SERVER_STOPPED", self.to_string()),
            Self::Failed(failure) => failure.clone(),
        }
    }
}
