//! The names of things under a table's root: data files, staged files, the journal of open uploads.
//!
//! Everything that a job stages can be found from its id alone, also when the task that staged it never reported. This
//! file only computes names. Next: `store.rs`, which acts on them.

use object_store::path::Path;
use selvedge_model::commit::{HIVE_NULL, VisibleFile, partition_dir};

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

/// The data file at a path, or `None` for what readers must not see: names that begin with `_` or `.`.
pub(crate) fn visible(root: &Path, path: &Path, partition_by: &[String]) -> Option<VisibleFile> {
    let relative: Vec<String> = path.prefix_match(root)?.map(|part| part.as_ref().to_owned()).collect();
    let (file, directories) = relative.split_last()?;
    let hidden = |name: &str| name.starts_with('.') || (name.starts_with('_') && !name.contains('='));
    if hidden(file) || file.starts_with('_') || directories.iter().any(|d| hidden(d)) {
        return None;
    }
    let named: Vec<(String, Option<String>)> =
        directories.iter().take(partition_by.len()).map_while(|segment| key_value(segment)).collect();
    Some(VisibleFile { path: path.to_string(), partition_dir: partition_dir(&named) })
}

/// Reads one Hive directory. Decoding and encoding again makes directories comparable whoever wrote them.
fn key_value(segment: &str) -> Option<(String, Option<String>)> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (key, value) = segment.split_once('=')?;
    Some((decode(key), (value != HIVE_NULL).then(|| decode(value))))
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
    fn a_listing_shows_data_files_only_and_names_their_partition_as_we_do() {
        let root = Path::from("wh/t");
        let by = ["ds".to_owned(), "_r".to_owned()];
        let dir = |path: &str| visible(&root, &Path::parse(path).unwrap(), &by).map(|f| f.partition_dir);
        assert_eq!(dir("wh/t/ds=a b/_r=x/f.parquet").unwrap(), "ds=a b/_r=x");
        assert_eq!(dir("wh/t/ds=a%3ab/f.parquet").unwrap(), "ds=a%3Ab");
        assert_eq!(dir("wh/t/ds=__HIVE_DEFAULT_PARTITION__/f.parquet").unwrap(), "ds=__HIVE_DEFAULT_PARTITION__");
        assert_eq!(dir("wh/t/f.parquet").unwrap(), "");
        for hidden in
            ["_SUCCESS", "ds=1/_SUCCESS", ".staging/j/f.parquet", "_selvedge_staging/j/f.json", "_delta_log/0.json"]
        {
            assert_eq!(dir(&format!("wh/t/{hidden}")), None, "{hidden}");
        }
    }

    #[test]
    fn a_sweep_never_takes_another_runs_staging() {
        assert!(belongs("r1-s1-a1", "r1") && belongs("r1-s1-a1", "r1-s1-a1"));
        assert!(!belongs("r1-s1-a10", "r1-s1-a1") && !belongs("r10-s1-a1", "r1"));
    }
}
