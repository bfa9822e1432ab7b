//! Why a write was not committed.

use selvedge_model::delta::{Clash, ClashReason};
use selvedge_model::failure::HasFailure;
use selvedge_model::{Domain, Failure, Retry};

use crate::store::Location;

/// Why a write was not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The statement is to be run again from the newest version; its files are garbage.
    #[error("{}", told(.0, .1))]
    Rerun(Location, Clash),
    /// The statement must not be run again by itself; its files are garbage.
    #[error("{}", told(.0, .1))]
    Conflict(Location, Clash),
    /// The table does not take it. The log was looked through first: it is not there and will not be.
    #[error(transparent)]
    Refused(Failure),
    /// Something failed. The write may have been committed: the same request finds out.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl HasFailure for CommitError {
    fn failure(&self) -> Failure {
        match self {
            Self::Refused(failure) | Self::Failed(failure) => failure.clone(),
            Self::Rerun(..) => Failure::new(Domain::External, Retry::Later, "WRITE_CONFLICT", self.to_string())
                .with_hint("Run it again: nothing of it was written"),
            Self::Conflict(..) => Failure::user("WRITE_CONFLICT", self.to_string())
                .with_hint("Nothing was written. Look at what was done to the table before you run it again"),
        }
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        error.failure()
    }
}

fn told(location: &Location, clash: &Clash) -> String {
    let version = clash.version;
    let by = match &clash.run {
        Some(run) => format!("run {run} (version {version})"),
        None => format!("another writer (version {version})"),
    };
    match &clash.reason {
        ClashReason::TableChanged => format!("{by} changed the columns or properties of the table at {location}"),
        ClashReason::TableReplaced => format!("the table at {location} was made anew since the statement was planned"),
        ClashReason::LogLost => {
            format!("the log of the table at {location} ends at version {version}, before the one that was read")
        }
        ClashReason::LogCut => {
            format!("the log of the table at {location} no longer tells what was done since the statement was planned")
        }
        ClashReason::ReadChanged { partition } => {
            let which = partition.as_ref().filter(|values| !values.is_empty()).map(|values| {
                let values: Vec<&str> = values.iter().map(|v| v.as_deref().unwrap_or("NULL")).collect();
                format!(" in partition ({})", values.join(", "))
            });
            format!("{by} changed rows of the table at {location}{} that were read", which.unwrap_or_default())
        }
        ClashReason::FileGone { path } => format!("{by} replaced {path} of the table at {location}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_run_is_named() {
        let location = Location::parse("s3://b/t/").unwrap();
        let partition = Some(vec![Some("1".to_owned()), None]);
        let reason = ClashReason::ReadChanged { partition };
        let error = CommitError::Rerun(location, Clash { version: 7, run: Some("r-1".into()), reason });
        let failure = error.failure();
        assert!(failure.is_retryable());
        for part in ["run r-1", "version 7", "(1, NULL)", "s3://b/t/"] {
            assert!(failure.cause.contains(part), "{}", failure.cause);
        }
    }
}
