//! What goes wrong with shuffle blocks, and how the engine sees it.
//!
//! Everything that another try may mend becomes `DataFusionError::IoError`, the only kind Ballista retries. A location
//! that makes no sense is our fault and is not retried. Raised in `fetch.rs`, `decode.rs` and `upload.rs`.

use std::io;

use datafusion::error::DataFusionError;
use selvedge_model::failure::{Failure, HasFailure};

use crate::error::EngineError;

/// The code of a block that cannot be had as it was written.
pub(super) const SHUFFLE_LOST: &str = "SHUFFLE_LOST";

/// What is wrong with a shuffle block.
#[derive(Debug, thiserror::Error)]
pub enum ShuffleError {
    /// The plan points at something that is not the output of a task.
    #[error("a shuffle location makes no sense: {what}")]
    BadLocation {
        /// What is wrong with it.
        what: String,
    },
    /// No place has it, or none answers.
    #[error("cannot read shuffle block {path} after {rounds} tries: {cause}")]
    Unreadable {
        /// Its path.
        path: String,
        /// How often every place was asked.
        rounds: u32,
        /// The last answer worth telling.
        cause: io::Error,
    },
    /// Its bytes do not decode, or end too early.
    #[error("shuffle block {path} is damaged: {cause}")]
    Damaged {
        /// Its path.
        path: String,
        /// What the decoder says.
        cause: String,
    },
    /// It could not be copied to the shuffle location.
    #[error("cannot copy shuffle file {path} to {to}: {cause}")]
    NotUploaded {
        /// Its path.
        path: String,
        /// The shuffle location.
        to: String,
        /// What the store says.
        cause: String,
    },
    /// The objects of an ended job could not be deleted.
    #[error("cannot delete the shuffle files of job {job_id}: {cause}")]
    NotForgotten {
        /// The job.
        job_id: String,
        /// What the store says.
        cause: String,
    },
}

impl HasFailure for ShuffleError {
    fn failure(&self) -> Failure {
        match self {
            Self::BadLocation { .. } => Failure::internal("INTERNAL", self.to_string()),
            Self::Unreadable { .. } | Self::Damaged { .. } => Failure::external(SHUFFLE_LOST, self.to_string())
                .with_hint("The executor that held it is gone or out of reach. Set a shuffle location to survive that"),
            Self::NotUploaded { .. } | Self::NotForgotten { .. } => {
                Failure::external("STORE_UNAVAILABLE", self.to_string())
            }
        }
    }
}

impl From<ShuffleError> for DataFusionError {
    fn from(error: ShuffleError) -> Self {
        match error {
            ShuffleError::BadLocation { .. } => Self::Internal(error.to_string()),
            // The failure goes inside, where `error::classify` finds it again.
            other => Self::IoError(io::Error::other(other.failure())),
        }
    }
}

impl From<ShuffleError> for EngineError {
    fn from(error: ShuffleError) -> Self {
        error.failure().into()
    }
}
