//! What writing tasks report, and which of it counts.
//!
//! Each partition of a `WriteExec` is one writer. It reports its staged files and, always, one end row. Only reports of
//! the task attempts that the engine accepted reach [`accept`]; it proves that they are whole before anything is published.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::expectation::WriterReport;

/// Where the bytes of a file wait to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Staging {
    /// An open multipart upload to the final path: completing it makes the object appear.
    Multipart {
        /// The store's id of the upload.
        upload_id: String,
        /// The ids of its parts, in order.
        parts: Vec<String>,
    },
    /// A temporary file on the same file system: renaming it makes the file appear.
    Temporary {
        /// Its path in the store.
        path: String,
    },
}

/// One file written by one writer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// The final path within the store.
    pub path: String,
    /// Where it waits.
    pub staging: Staging,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Partition columns and values, in the table's order; `None` is SQL NULL.
    pub partition: Vec<(String, Option<String>)>,
    /// What is known of its contents, for a table with a log: Delta's statistics as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<String>,
    /// Whether its rows were left out of the table, and are for the one that keeps them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_rejected: bool,
}

/// One row of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRow {
    /// The partition of the `WriteExec` that wrote, from 0, over the whole stage.
    pub writer: u32,
    /// Stage attempt of the task.
    pub stage_attempt: u32,
    /// The task attempt, for messages.
    pub task: String,
    /// A staged file, or `None` for the end row.
    pub file: Option<StagedFile>,
    /// In the end row: what the writer found of the expectations, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<WriterReport>,
}

/// A whole and unambiguous result of a write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// Files to publish.
    pub files: Vec<StagedFile>,
    /// Files of rows that were left out, to publish beside.
    pub rejected: Vec<StagedFile>,
    /// Files of superseded stage attempts: to discard.
    pub superseded: Vec<StagedFile>,
    /// Rows in all files to publish.
    pub rows: u64,
    /// Bytes in all files to publish.
    pub bytes: u64,
    /// What each writer found of the expectations, in the order of the writers; empty for one that says nothing.
    pub reports: Vec<WriterReport>,
}

/// Why a manifest cannot be trusted. All of these are faults of the engine, never of the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A writer's end row is missing: its output may be incomplete.
    #[error("writer {writer} of {writers} did not report its end")]
    Missing {
        /// The silent writer.
        writer: u32,
        /// Writers expected.
        writers: u32,
    },
    /// A writer reported its end twice: its rows would be doubled.
    #[error("writer {writer} reported its end twice, from {first} and {second}")]
    Twice {
        /// The writer.
        writer: u32,
        /// A task attempt.
        first: String,
        /// Another.
        second: String,
    },
    /// More writers than expected.
    #[error("writer {writer} is not one of {writers}")]
    Unknown {
        /// The writer.
        writer: u32,
        /// Writers expected.
        writers: u32,
    },
    /// Files of a writer came from a task attempt other than the one that reported its end.
    #[error("files of writer {writer} came from {files_of}, its end from {end_of}")]
    Mixed {
        /// The writer.
        writer: u32,
        /// Task attempt of the files.
        files_of: String,
        /// Task attempt of the end row.
        end_of: String,
    },
}

/// Checks that writers `0..writers` each ended exactly once in the highest stage attempt, and gathers their files.
///
/// Rows of lower stage attempts are superseded: their files are returned to be discarded.
///
/// # Errors
/// Any doubt is an error: publishing nothing is better than publishing wrong rows.
pub fn accept(rows: Vec<ManifestRow>, writers: u32) -> Result<Accepted, ManifestError> {
    let newest = rows.iter().map(|r| r.stage_attempt).max().unwrap_or(0);
    let (current, old): (Vec<_>, Vec<_>) = rows.into_iter().partition(|r| r.stage_attempt == newest);
    let mut ends: BTreeMap<u32, String> = BTreeMap::new();
    let mut reports: BTreeMap<u32, WriterReport> = BTreeMap::new();
    for row in &current {
        if row.writer >= writers {
            return Err(ManifestError::Unknown { writer: row.writer, writers });
        }
        if row.file.is_some() {
            continue;
        }
        if let Some(first) = ends.insert(row.writer, row.task.clone()) {
            return Err(ManifestError::Twice { writer: row.writer, first, second: row.task.clone() });
        }
        reports.insert(row.writer, row.report.clone().unwrap_or_default());
    }
    if let Some(writer) = (0..writers).find(|w| !ends.contains_key(w)) {
        return Err(ManifestError::Missing { writer, writers });
    }
    let superseded = old.into_iter().filter_map(|r| r.file).collect();
    let mut accepted = Accepted { superseded, reports: reports.into_values().collect(), ..Default::default() };
    for row in current {
        let Some(file) = row.file else { continue };
        let end_of = ends.get(&row.writer).cloned().unwrap_or_default();
        if row.task != end_of {
            return Err(ManifestError::Mixed { writer: row.writer, files_of: row.task, end_of });
        }
        if file.is_rejected {
            accepted.rejected.push(file);
            continue;
        }
        accepted.rows += file.rows;
        accepted.bytes += file.bytes;
        accepted.files.push(file);
    }
    Ok(accepted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expectation::CheckReport;

    fn end(writer: u32, stage_attempt: u32, task: &str) -> ManifestRow {
        ManifestRow { writer, stage_attempt, task: task.into(), file: None, report: None }
    }

    fn file(writer: u32, stage_attempt: u32, task: &str, path: &str) -> ManifestRow {
        let file = StagedFile {
            path: path.into(),
            staging: Staging::Temporary { path: format!("{path}.tmp") },
            rows: 10,
            bytes: 100,
            partition: vec![],
            stats: None,
            is_rejected: false,
        };
        ManifestRow { writer, stage_attempt, task: task.into(), file: Some(file), report: None }
    }

    #[test]
    fn whole_manifests_are_accepted_with_or_without_files() {
        let got = accept(vec![file(0, 0, "a", "x"), end(0, 0, "a"), end(1, 0, "b")], 2).unwrap();
        assert_eq!((got.files.len(), got.rows, got.bytes), (1, 10, 100));
        assert_eq!(accept(vec![], 0).unwrap(), Accepted::default());
    }

    #[test]
    fn what_was_left_out_is_not_of_the_table() {
        let mut left_out = file(0, 0, "a", "_rejected/x");
        left_out.file.as_mut().unwrap().is_rejected = true;
        let got = accept(vec![file(0, 0, "a", "x"), left_out.clone(), end(0, 0, "a")], 1).unwrap();
        assert_eq!((got.files.len(), got.rows, got.bytes), (1, 10, 100));
        assert_eq!(got.rejected, [left_out.file.unwrap()]);
    }

    #[test]
    fn a_newer_stage_attempt_supersedes_the_older_one() {
        let got = accept(vec![file(0, 0, "a", "x"), end(0, 0, "a"), file(0, 1, "c", "y"), end(0, 1, "c")], 1).unwrap();
        assert_eq!(got.files[0].path, "y");
        assert_eq!(got.superseded[0].path, "x");
    }

    #[test]
    fn each_writer_is_heard_once_and_only_its_newest_attempt() {
        let found = |violations| WriterReport {
            checks: vec![CheckReport { index: 0, violations, samples: vec![] }],
            newest: vec![],
        };
        let says = |row: ManifestRow, n| ManifestRow { report: Some(found(n)), ..row };
        let rows = vec![says(end(0, 0, "a"), 7), says(end(1, 1, "d"), 2), says(end(0, 1, "c"), 1)];
        assert_eq!(accept(rows, 2).unwrap().reports, [found(1), found(2)]);
        assert_eq!(accept(vec![end(0, 0, "a")], 1).unwrap().reports, [WriterReport::default()]);
    }

    #[test]
    fn every_doubt_is_refused() {
        let missing = accept(vec![end(0, 0, "a")], 2);
        assert_eq!(missing, Err(ManifestError::Missing { writer: 1, writers: 2 }));
        let twice = accept(vec![end(0, 0, "a"), end(0, 0, "b")], 1);
        assert!(matches!(twice, Err(ManifestError::Twice { writer: 0, .. })));
        let unknown = accept(vec![end(0, 0, "a"), end(5, 0, "b")], 1);
        assert!(matches!(unknown, Err(ManifestError::Unknown { writer: 5, .. })));
        let mixed = accept(vec![file(0, 0, "zombie", "x"), end(0, 0, "a")], 1);
        assert!(matches!(mixed, Err(ManifestError::Mixed { writer: 0, .. })));
    }
}
