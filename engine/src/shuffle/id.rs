//! The executor id under which the engine knows one task's output.
//!
//! Each finished task gets an executor of its own, so that losing a real one takes no finished output along. The id
//! carries what a reader needs to find the files; it must not carry anything that changes. Paths: `paths.rs`.

use std::fmt;
use std::str::FromStr;

use selvedge_model::TaskRef;
use selvedge_model::id::ExecutorId;

use super::paths::is_plain_name;

const PREFIX: &str = "s3";

/// Names the output of one task attempt: `s3!<real>!<job>!<stage>!<attempt>!<task>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VirtualExecutorId {
    /// The executor process that ran the task.
    pub real: String,
    /// The task attempt.
    pub task: TaskRef,
}

/// Why a string is not a [`VirtualExecutorId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' does not name the output of a task")]
pub struct InvalidVirtualId(pub String);

impl fmt::Display for VirtualExecutorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TaskRef { job_id, stage_id, stage_attempt, task_id } = &self.task;
        write!(f, "{PREFIX}!{}!{job_id}!{stage_id}!{stage_attempt}!{task_id}", self.real)
    }
}

impl FromStr for VirtualExecutorId {
    type Err = InvalidVirtualId;

    fn from_str(text: &str) -> Result<Self, InvalidVirtualId> {
        parse(text).ok_or_else(|| InvalidVirtualId(text.chars().take(200).collect()))
    }
}

fn parse(text: &str) -> Option<VirtualExecutorId> {
    let parts: Vec<&str> = text.split('!').collect();
    let [PREFIX, real, job_id, stage, attempt, task] = parts[..] else { return None };
    // Both become folders below a shuffle directory: nothing that climbs out of it is let in.
    real.parse::<ExecutorId>().ok()?;
    if !is_plain_name(job_id) {
        return None;
    }
    Some(VirtualExecutorId {
        real: real.to_owned(),
        task: TaskRef {
            job_id: job_id.to_owned(),
            stage_id: stage.parse().ok()?,
            stage_attempt: attempt.parse().ok()?,
            task_id: task.parse().ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_id_reads_back() {
        let id = VirtualExecutorId {
            real: "e-7f".into(),
            task: TaskRef { job_id: "r1-s1-a2".into(), stage_id: 3, stage_attempt: 1, task_id: 42 },
        };
        assert_eq!(id.to_string(), "s3!e-7f!r1-s1-a2!3!1!42");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn ids_that_are_not_virtual_or_climb_out_are_refused() {
        for bad in ["", "e1", "s3!e1!j!1!0", "s3!e1!j!1!0!x", "s3!e1!../j!1!0!2", "s3!../e!j!1!0!2", "s3!e!..!1!0!2"] {
            assert!(bad.parse::<VirtualExecutorId>().is_err(), "{bad}");
        }
    }
}
