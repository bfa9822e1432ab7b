//! What a write is asked to do: as the planner says it, and as it travels to executors.
//!
//! The schema does not travel: the input plan has it. Next: `sink.rs`.

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::store::Location;

/// File formats that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteFormat {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Json,
}

impl WriteFormat {
    /// The ending of file names.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }
}

/// A write: where to, what, and how.
#[derive(Debug, Clone)]
pub struct WriteSpec {
    /// Root of the table, or directory of the files.
    pub location: Location,
    /// All columns, partition columns last. The input's columns are taken by position and cast to it.
    pub schema: SchemaRef,
    /// Partition columns, in the order of directories.
    pub partition_by: Vec<String>,
    /// Names the files and their staging: the statement attempt's job id.
    pub job_id: String,
    /// Size at which a file ends and the next begins.
    pub target_file_bytes: u64,
    /// Compression of Parquet files, `zstd` or `zstd(9)`.
    pub compression: String,
    /// The name of the one file to write (`COPY TO 'x.parquet'`); it exists also when there is no row.
    pub single_file: Option<String>,
    /// Format of the files.
    pub format: WriteFormat,
    /// Whether to report what the files contain, as Delta's log wants it.
    pub with_stats: bool,
    /// Whether the rows of a partition value may be several tasks' work; else they are one task's, however many.
    pub is_spread: bool,
}

/// What an executor needs of a [`WriteSpec`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SinkSpec {
    pub(crate) location: Location,
    pub(crate) partition_by: Vec<String>,
    /// Number of columns that go into the files: those before the partition columns.
    pub(crate) data_columns: usize,
    /// Columns that take no NULL.
    pub(crate) required: Vec<String>,
    pub(crate) job_id: String,
    pub(crate) target_file_bytes: u64,
    pub(crate) compression: String,
    pub(crate) single_file: Option<String>,
    pub(crate) format: WriteFormat,
    pub(crate) with_stats: bool,
    /// The directory below the location that the files go to, with its slash; empty for the location itself.
    #[serde(default)]
    pub(crate) directory: String,
}

impl From<&WriteSpec> for SinkSpec {
    fn from(spec: &WriteSpec) -> Self {
        let required = spec.schema.fields().iter().filter(|f| !f.is_nullable()).map(|f| f.name().clone());
        Self {
            location: spec.location.clone(),
            partition_by: spec.partition_by.clone(),
            data_columns: spec.schema.fields().len().saturating_sub(spec.partition_by.len()),
            required: required.collect(),
            job_id: spec.job_id.clone(),
            target_file_bytes: spec.target_file_bytes,
            compression: spec.compression.clone(),
            single_file: spec.single_file.clone(),
            format: spec.format,
            with_stats: spec.with_stats,
            directory: String::new(),
        }
    }
}
