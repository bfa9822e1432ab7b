//! The names of things under a table's root: data files, staged files, the journal of open uploads.
//!
//! Everything that a job stages can be found from its id alone, also when the task that staged it never reported. This
//! file only computes names. Which files readers see: `visible.rs`. Next: `store.rs`, which acts on them.

use object_store::path::Path;

use super::error::WriteError;

/// Local staging: `<root>/.staging/<job>/<file>`. Hidden from readers by its dot.
pub(crate) const LOCAL_STAGING: &str = ".staging";
/// Journal of open uploads: `<root>/_selvedge_staging/<job>/<file>.json`. Hidden from readers by its underscore.
pub(crate) const JOURNAL: &str = "_selvedge_staging";

/// Which attempt at which part of a write: what makes a file's name its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskTag {
    pub(crate) job_id: String,
    pub(crate) stage_attempt: u32,
    /// `stage.stage_attempt.task.task_attempt`; empty outside the cluster.
    attempt: String,
    partition: usize,
}

impl TaskTag {
    /// Reads the engine's task id, `TID job/stage.attempt/task.attempt`; outside the cluster there is none.
    pub(crate) fn new(job_id: &str, task_id: Option<&str>, partition: usize) -> Self {
        let tail = task_id.and_then(|id| {
            let mut parts = id.rsplit('/');
            let (task, stage) = (parts.next()?, parts.next()?);
            let stage_attempt = stage.split_once('.')?.1.parse().ok()?;
            Some((format!("{stage}.{task}"), stage_attempt))
        });
        let (attempt, stage_attempt) = tail.unwrap_or_default();
        Self { job_id: job_id.to_owned(), stage_attempt, attempt, partition }
    }

    /// The task attempt for manifests and messages; begins with the job id and a slash.
    pub(crate) fn task(&self) -> String {
        format!("{}/{}", self.job_id, self.attempt)
    }

    /// The name of the n-th file of this task.
    pub(crate) fn file_name(&self, n: u32, extension: &str) -> String {
        let Self { job_id, attempt, partition, .. } = self;
        let dot = if attempt.is_empty() { "" } else { "." };
        format!("{job_id}-{attempt}{dot}{partition}-{n}.{extension}")
    }
}

/// A path below a root, its segments taken as they are (they are already encoded as Hive does).
pub(crate) fn below(root: &Path, relative: &str) -> Result<Path, WriteError> {
    let text = if root.as_ref().is_empty() { relative.to_owned() } else { format!("{root}/{relative}") };
    parse(&text)
}

/// Reads a path that a manifest or a listing named.
pub(crate) fn parse(text: &str) -> Result<Path, WriteError> {
    Path::parse(text).map_err(|e| WriteError::Path { path: text.to_owned(), reason: e.to_string() })
}

/// Whether a staging directory belongs to a job, or to a job of a run: `run` matches `run-s1-a1` and not `run2-s1-a1`.
pub(crate) fn belongs(job_id: &str, prefix: &str) -> bool {
    job_id.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('-') || prefix.ends_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_two_attempts_never_share_a_name() {
        let name = |id: &str| TaskTag::new("r-s1-a1", Some(id), 0).file_name(0, "parquet");
        assert_eq!(name("TID r-s1-a1/7.2/3.1"), "r-s1-a1-7.2.3.1.0-0.parquet");
        assert_ne!(name("TID r-s1-a1/7.2/3.1"), name("TID r-s1-a1/7.3/3.1"));
        assert_eq!(TaskTag::new("j", Some("TID j/7.2/3.1"), 0).stage_attempt, 2);
        assert_eq!(TaskTag::new("j", None, 4).file_name(1, "csv"), "j-4-1.csv");
    }

    #[test]
    fn a_sweep_never_takes_another_runs_staging() {
        assert!(belongs("r1-s1-a1", "r1") && belongs("r1-s1-a1", "r1-s1-a1"));
        assert!(!belongs("r1-s1-a10", "r1-s1-a1") && !belongs("r10-s1-a1", "r1"));
    }
}
