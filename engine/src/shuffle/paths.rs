//! One relative path for every place a shuffle file may lie: `{job}/{stage}.{attempt}.{task}/` and Ballista's path below.
//!
//! Ballista's own path leaves out the stage attempt, so a zombie and its rerun would write the same file; the folder
//! above it makes each attempt's files its own, and they never change once written. Used by `store.rs`.

use std::path::Path;

use ballista_core::execution_plans::{create_shuffle_path, range_shuffle, sort_shuffle};
use ballista_core::serde::scheduler::PartitionLocation;
use selvedge_model::TaskRef;

use super::error::ShuffleError;
use super::id::VirtualExecutorId;

/// The folder that holds everything one task attempt writes.
pub fn task_dir(task: &TaskRef) -> String {
    format!("{}/{}.{}.{}", task.job_id, task.stage_id, task.stage_attempt, task.task_id)
}

/// The data file of one output partition of a task attempt, relative to every place that may hold it.
pub fn data_path(
    task: &TaskRef,
    partition: usize,
    file_id: Option<u64>,
    is_sort_shuffle: bool,
) -> Result<String, ShuffleError> {
    let job = task.job_id.clone().into();
    let stage = task.stage_id as usize;
    create_shuffle_path(task_dir(task), &job, stage, partition, file_id, is_sort_shuffle)
        .map(|path| path.to_string_lossy().into_owned())
        .map_err(|e| ShuffleError::BadLocation { what: e.to_string() })
}

/// Who wrote a location's data file, and its path.
pub(super) fn locate(location: &PartitionLocation) -> Result<(VirtualExecutorId, String), ShuffleError> {
    let id: VirtualExecutorId = location
        .executor_meta
        .id
        .parse()
        .map_err(|e: super::id::InvalidVirtualId| ShuffleError::BadLocation { what: e.to_string() })?;
    let partition = location.partition_id.partition_id;
    let path = data_path(&id.task, partition, location.file_id, location.is_sort_shuffle)?;
    Ok((id, path))
}

/// The offsets of each partition, beside a sort shuffle's data file.
pub(super) fn sort_index(data: &str) -> String {
    sort_shuffle::get_index_path(Path::new(data)).to_string_lossy().into_owned()
}

/// The key ranges of each batch, beside a range shuffle's data file.
pub(super) fn range_index(data: &str) -> String {
    range_shuffle::index_path(Path::new(data)).to_string_lossy().into_owned()
}

/// The files that may lie beside a data file and travel with it.
pub fn companions(data: &str) -> [String; 2] {
    [sort_index(data), range_index(data)]
}

/// Whether a name is one plain path component: letters, digits, `.`, `_`, `-`; not empty, not hidden, not `..`.
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Whether a path is relative and made of plain names only, so that it cannot leave the folder it is joined to.
pub fn is_plain_path(path: &str) -> bool {
    path.len() <= 4096 && path.split('/').all(is_plain_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_of_one_task_never_share_a_path() {
        let task = TaskRef { job_id: "j".into(), stage_id: 2, stage_attempt: 0, task_id: 5 };
        let rerun = TaskRef { stage_attempt: 1, ..task.clone() };
        assert_eq!(data_path(&task, 7, Some(5), true).unwrap(), "j/2.0.5/j/2/5/data.arrow");
        assert_eq!(data_path(&rerun, 7, Some(5), false).unwrap(), "j/2.1.5/j/2/7/data-5.arrow");
    }

    #[test]
    fn paths_that_leave_their_folder_are_not_plain() {
        assert!(is_plain_path("j-s1/2.0.5/j/2/5/data.arrow"));
        for bad in ["", "/etc/passwd", "a//b", "a/../b", "..", "a/.ssh/b", "a\\b", "a/b\0", "a/b c"] {
            assert!(!is_plain_path(bad), "{bad:?}");
        }
    }
}
