//! Why an executor does not start or stops. What goes wrong with a task is not here: see `task/failure.rs`.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use selvedge_engine::error::{EngineError, listen_failure};
use selvedge_model::failure::{Failure, HasFailure};

/// Why an executor does not start or stops.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The work directory cannot be used.
    #[error("cannot use the work directory {path}: {cause}")]
    WorkDir {
        /// The directory or file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A port cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
    /// The scheduler's address cannot be used.
    #[error("'{url}' is not a scheduler's address: {cause}")]
    SchedulerAddress {
        /// As configured.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Threads, metrics or the like could not be set up.
    #[error("cannot set up {what}: {cause}")]
    Setup {
        /// What.
        what: &'static str,
        /// Why not.
        cause: String,
    },
    /// The engine could not be set up.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl HasFailure for ExecutorError {
    fn failure(&self) -> Failure {
        match self {
            Self::WorkDir { .. } => Failure::user("WORK_DIR_UNUSABLE", self.to_string())
                .with_hint("Name a directory on a local disk that this user may write to, with --work-dir"),
            Self::Listen { cause, .. } => listen_failure(self.to_string(), cause, "--port or --http"),
            Self::SchedulerAddress { .. } => {
                Failure::user("BAD_CONFIG", self.to_string()).with_hint("It looks like http://127.0.0.1:50050")
            }
            Self::Setup { .. } => Failure::internal("INTERNAL", self.to_string()),
            Self::Engine(engine) => engine.failure(),
        }
    }
}
