//! What can go wrong for a client, each as a typed failure, and the exit code that scripts rely on.
//! `connect.rs` and the calls make these; nothing here prints.

use std::error::Error as _;

use datafusion::error::DataFusionError;
use selvedge_model::failure::{Domain, Failure, HasFailure, Retry};
use selvedge_model::run::{RunRecord, RunState};
use tonic::{Code, Status};

/// Result of a client call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a client call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one.
    #[error("'{address}' is not a scheduler's address: {reason}")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No address was given.
    #[error("no scheduler is named: SELVEDGE_SCHEDULER is not set")]
    NoScheduler,
    /// Nobody answers.
    #[error("cannot reach the scheduler at {address}: {reason}")]
    Unreachable {
        /// Where it was expected.
        address: String,
        /// What the network said.
        reason: String,
    },
    /// The scheduler refused or failed.
    #[error("{0}")]
    Failed(Box<Failure>),
    /// The run that was waited for did not succeed.
    #[error("run {} {}", .0.id, ended(.0))]
    RunEnded(Box<RunRecord>),
    /// The DataFrame's plan cannot be built or sent.
    #[error("this DataFrame cannot run on the cluster: {0}")]
    Plan(#[from] DataFusionError),
    /// The scheduler's answer makes no sense to this version.
    #[error("the scheduler's answer is not understood: {0}")]
    Reply(String),
}

fn ended(run: &RunRecord) -> String {
    match (&run.failure, run.state) {
        (Some(failure), _) => format!("failed: {failure}"),
        (None, RunState::Cancelled) => "was cancelled".to_owned(),
        (None, _) => "did not succeed".to_owned(),
    }
}

impl Error {
    /// From a gRPC status: a status with no details that a transport error caused means that nobody answers.
    pub(crate) fn from_status(status: &Status, address: &str) -> Self {
        // A status that the scheduler sent has no source; one that a broken connection made has.
        let transport = status.source().is_some() && status.details().is_empty();
        if transport || (status.code() == Code::Unavailable && status.details().is_empty()) {
            let reason = status.source().map_or_else(|| status.message().to_owned(), root_cause);
            return Self::Unreachable { address: address.to_owned(), reason };
        }
        if status.code() == Code::Unimplemented {
            return Self::Reply(format!("{} (is it an older version?)", status.message()));
        }
        Self::Failed(Box::new(selvedge_proto::failure_from(status)))
    }

    /// Whether nobody answered.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// What a process should exit with: 1 failed, 2 wrong usage, 3 no scheduler.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Address { .. } => 2,
            Self::NoScheduler | Self::Unreachable { .. } => 3,
            _ => 1,
        }
    }
}

/// The exit code of a program that ended with `result`: 0 when all went well, else [`Error::exit_code`].
pub fn exit_code<T>(result: &Result<T>) -> u8 {
    result.as_ref().err().map_or(0, Error::exit_code)
}

impl HasFailure for Error {
    fn failure(&self) -> Failure {
        match self {
            Self::Failed(failure) => (**failure).clone(),
            Self::RunEnded(run) => run.failure.clone().unwrap_or_else(|| {
                Failure::user("CANCELLED", self.to_string()).with_hint("start it again with `selvedge runs retry`")
            }),
            Self::Address { .. } => {
                Failure::user("BAD_ADDRESS", self.to_string()).with_hint("write it as http://HOST:PORT")
            }
            Self::NoScheduler => Failure::user("NO_SCHEDULER", self.to_string())
                .with_hint("set it to the scheduler's address: SELVEDGE_SCHEDULER=http://HOST:PORT"),
            Self::Unreachable { .. } => Failure::external("SCHEDULER_UNREACHABLE", self.to_string()).with_hint(
                "start one with `selvedge scheduler`, or point --scheduler or SELVEDGE_SCHEDULER at a running one",
            ),
            Self::Plan(_) => Failure::user("BAD_PLAN", self.to_string()),
            Self::Reply(_) => Failure::new(Domain::Internal, Retry::Never, "BAD_REPLY", self.to_string())
                .with_hint("client and scheduler should be of the same version"),
        }
    }
}

/// The innermost message of an error chain: `connection refused` rather than `transport error`.
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_without_details_that_says_unavailable_means_nobody_answers() {
        let error = Error::from_status(&Status::unavailable("tcp connect error"), "http://h:1");
        assert!(error.is_unreachable());
        assert_eq!((error.exit_code(), error.failure().code.as_str()), (3, "SCHEDULER_UNREACHABLE"));
    }

    #[test]
    fn a_typed_failure_comes_back_as_it_was_sent() {
        let sent = Failure::user("TABLE_NOT_FOUND", "table 'orderz' not found").with_hint("did you mean 'orders'?");
        let error = Error::from_status(&selvedge_proto::status_from(&sent), "http://h:1");
        assert_eq!((error.exit_code(), error.failure()), (1, sent));
    }
}
