//! Why a command failed, and the exit code that follows. `report.rs` prints it.

use std::error::Error as StdError;

use selvedge::model::{Failure, HasFailure, RunRecord, RunState};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line or a configuration is wrong.
    #[error("{0}")]
    Usage(Box<Failure>),
    /// Something of this process or machine.
    #[error("{0}")]
    Failed(Box<Failure>),
    /// The scheduler, or the way to it.
    #[error(transparent)]
    Client(#[from] selvedge::Error),
    /// The same, for a script that this command read: its name belongs to the place.
    #[error("{source}")]
    Script {
        /// What the scheduler said.
        source: selvedge::Error,
        /// The script's name.
        file: String,
    },
    /// The run did not succeed.
    #[error("run {} did not succeed", run.id)]
    Run {
        /// The run.
        run: Box<RunRecord>,
        /// The script's name, if this command read it.
        file: Option<String>,
    },
    /// Nobody reads the results any more.
    #[error("nobody reads the output any more")]
    Closed,
    /// The scheduler went away while the run was followed.
    #[error("lost the scheduler while following run {run}: {source}")]
    Lost {
        /// The run.
        run: selvedge::model::RunId,
        /// Why it cannot be reached.
        source: selvedge::Error,
    },
    /// The run was left to itself.
    #[error("run {0} goes on")]
    LeftRunning(selvedge::model::RunId),
}

impl CliError {
    /// Something of this machine: `what` failed because of `why`.
    pub fn local(what: &str, why: &(dyn StdError + 'static)) -> Self {
        Self::Failed(Box::new(Failure::user("LOCAL", format!("{what}: {why}"))))
    }

    /// A user's failure of this command's own making.
    pub fn user(code: &str, cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Failed(Box::new(Failure::user(code, cause).with_hint(hint)))
    }

    /// A call that cannot be meant as it is.
    pub fn usage(code: &str, cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage(Box::new(Failure::user(code, cause).with_hint(hint)))
    }

    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(failure) if failure.code == "NO_SCHEDULER" => 3,
            Self::Usage(_) => 2,
            Self::Client(error) | Self::Script { source: error, .. } | Self::Lost { source: error, .. } => {
                error.exit_code()
            }
            Self::Failed(_) | Self::Run { .. } | Self::LeftRunning(_) => 1,
            Self::Closed => 0,
        }
    }

    /// The script that places in the failure refer to.
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::Script { file, .. } => Some(file),
            Self::Run { file, .. } => file.as_deref(),
            _ => None,
        }
    }
}

impl HasFailure for CliError {
    fn failure(&self) -> Failure {
        match self {
            Self::Usage(failure) | Self::Failed(failure) => (**failure).clone(),
            Self::Client(error) | Self::Script { source: error, .. } => error.failure(),
            Self::Run { run, .. } => run_failure(run),
            Self::Lost { run, source } => Failure { cause: self.to_string(), ..source.failure() }.with_hint(format!(
                "what became of the run: `selvedge runs show {run}`, when the scheduler answers again; one that was started \
                 anew knows only what was kept"
            )),
            Self::Closed | Self::LeftRunning(_) => Failure::user("INTERRUPTED", self.to_string()),
        }
    }
}

fn run_failure(run: &RunRecord) -> Failure {
    match (&run.failure, run.state) {
        (Some(failure), _) => failure.clone(),
        (None, RunState::Cancelled) => Failure::user("CANCELLED", format!("run {} was cancelled", run.id)),
        (None, _) => Failure::internal("INTERNAL", format!("run {} ended without saying why", run.id)),
    }
}

impl From<std::io::Error> for CliError {
    /// Writing to stdout or stderr failed: `| head` has had enough, or something worse.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe { Self::Closed } else { Self::local("cannot write", &error) }
    }
}

impl From<arrow::error::ArrowError> for CliError {
    fn from(error: arrow::error::ArrowError) -> Self {
        match error {
            arrow::error::ArrowError::IoError(_, error) => error.into(),
            other => Self::local("cannot print the result", &other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduler_lost_on_the_way_is_unreachable_and_the_run_is_named() {
        let reason = "connection refused".to_owned();
        let source = selvedge::Error::Unreachable { address: "http://h:1".to_owned(), reason };
        let error = CliError::Lost { run: "r1".parse().unwrap(), source };
        let failure = error.failure();
        assert_eq!((error.exit_code(), failure.code.as_str()), (3, "SCHEDULER_UNREACHABLE"));
        assert!(failure.cause.contains("r1") && failure.cause.contains("cannot reach the scheduler at http://h:1"));
        assert!(failure.hint.contains("runs show r1"), "{failure}");
    }
}
