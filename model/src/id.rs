//! Names of things that exist once: runs, statement attempts, executors, task attempts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a string is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{value}' is not a {what}: use 1 to {max} of a-z, 0-9, '-', '_' and '.'")]
pub struct InvalidId {
    what: &'static str,
    value: String,
    max: usize,
}

fn check(what: &'static str, value: &str, max: usize) -> Result<(), InvalidId> {
    let fits = (1..=max).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
        && !value.starts_with('.');
    if fits {
        return Ok(());
    }
    Err(InvalidId { what, value: value.chars().take(80).collect(), max })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text; safe in paths and URLs.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(value: String) -> Result<Self, InvalidId> {
                check($what, &value, $max)?;
                Ok(Self(value))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(value: &str) -> Result<Self, InvalidId> {
                value.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// One run of a job.
    RunId,
    "run id",
    64
);
id!(
    /// One executor process; a restarted one has another id.
    ExecutorId,
    "executor id",
    128
);

/// One attempt at one statement of a run: what the engine calls a job. Statements count from 1, attempts from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StatementAttempt {
    /// The run.
    pub run: RunId,
    /// Position of the statement in its script, from 1.
    pub statement: u32,
    /// Which try this is, from 1.
    pub attempt: u32,
}

impl StatementAttempt {
    /// The engine's job id: `RUN-sN-aM`. Unique, sortable by run, safe in paths.
    pub fn job_id(&self) -> String {
        format!("{}-s{}-a{}", self.run, self.statement, self.attempt)
    }

    /// The inverse of [`Self::job_id`]; `None` for a job that is not ours.
    pub fn parse_job_id(job_id: &str) -> Option<Self> {
        let (rest, attempt) = job_id.rsplit_once("-a")?;
        let (run, statement) = rest.rsplit_once("-s")?;
        Some(Self { run: run.parse().ok()?, statement: statement.parse().ok()?, attempt: attempt.parse().ok()? })
    }
}

/// One attempt of one task. The engine never reuses `task_id` within a stage attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskRef {
    /// The engine's job id, see [`StatementAttempt::job_id`].
    pub job_id: String,
    /// Stage within the job.
    pub stage_id: u32,
    /// Which run of the stage; task ids start again with each.
    pub stage_attempt: u32,
    /// Task within the stage attempt.
    pub task_id: u32,
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}/{}", self.job_id, self.stage_id, self.stage_attempt, self.task_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_reads_back_as_the_statement_attempt_that_made_it() {
        let attempt = StatementAttempt { run: "r-s1-a9".parse().unwrap(), statement: 12, attempt: 3 };
        assert_eq!(attempt.job_id(), "r-s1-a9-s12-a3");
        assert_eq!(StatementAttempt::parse_job_id(&attempt.job_id()), Some(attempt));
        assert_eq!(StatementAttempt::parse_job_id("somebody-elses"), None);
    }

    #[test]
    fn ids_that_could_escape_a_path_are_refused() {
        for bad in ["", "a/b", "..", ".x", "A", "a b", &"x".repeat(65)] {
            assert!(bad.parse::<RunId>().is_err(), "{bad:?}");
        }
    }
}
