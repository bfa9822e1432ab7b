//! The actions of a commit, as they are written and as they are read back.
//!
//! Reading takes what is needed to judge a commit and skips the rest, so that actions of other engines which the library
//! does not know are no error here. Whether they matter is said by the protocol: see `protocol.rs`.

use std::collections::{BTreeMap, HashMap};

use arrow::datatypes::SchemaRef;
use deltalake_core::kernel::{Add, Remove};
use percent_encoding::percent_decode_str;
use selvedge_model::Failure;
use selvedge_model::delta::PartitionKey;
use selvedge_model::manifest::StagedFile;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::snapshot::DeltaFile;
use super::values::parse_partition;
use crate::store::Location;

/// A data file to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddFile {
    /// Its path, relative to the table, as the object store has it.
    pub path: String,
    /// Its partition, one value for each of the table's partition columns.
    pub partition: PartitionKey,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// What is known of its contents, from [`file_stats`](super::file_stats). Without it the rows alone are noted.
    pub stats: Option<String>,
}

impl AddFile {
    /// A staged file of a table at `root`, whose columns are `schema`, those of the partitions in `partition_by`.
    ///
    /// # Errors
    /// `INTERNAL` when the file is not below the table or not of its partitions, `BAD_PARTITION` when a value is not of
    /// its column's type.
    pub fn of_staged(
        root: &Location,
        schema: &SchemaRef,
        partition_by: &[String],
        file: &StagedFile,
    ) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::internal("INTERNAL", format!("{}: {what} {root}", file.path));
        let relative = match root.path().as_ref() {
            "" => Some(file.path.as_str()),
            root => file.path.strip_prefix(root).and_then(|rest| rest.strip_prefix('/')),
        };
        let path = relative.ok_or_else(|| wrong("a staged file that is not below"))?.to_owned();
        if !file.partition.iter().map(|(column, _)| column).eq(partition_by) {
            return Err(wrong("a staged file that has not the partitions of"));
        }
        let mut partition = PartitionKey::new();
        for (column, value) in &file.partition {
            let field = schema.field_with_name(column).map_err(|_| wrong("a partition column that is not in"))?;
            partition.push(super::values::canonical(value.as_deref(), field, &file.path)?);
        }
        Ok(Self { path, partition, bytes: file.bytes, rows: file.rows, stats: file.stats.clone() })
    }

    /// A file of a version, to be the table's again.
    pub fn of_file(file: &DeltaFile) -> Self {
        // Not a number of rows that nobody knows.
        let stats = file.stats.clone().or_else(|| file.rows.is_none().then(|| "{}".to_owned()));
        Self {
            path: file.path.clone(),
            partition: file.key.clone(),
            bytes: file.bytes,
            rows: file.rows.unwrap_or_default(),
            stats,
        }
    }

    /// The action that adds it.
    pub(super) fn action(&self, partition_by: &[String], now_ms: i64, changes_rows: bool) -> Add {
        Add {
            path: self.path.clone(),
            partition_values: partition_by.iter().cloned().zip(self.partition.iter().cloned()).collect(),
            size: i64::try_from(self.bytes).unwrap_or(i64::MAX),
            modification_time: now_ms,
            data_change: changes_rows,
            stats: Some(self.stats.clone().unwrap_or_else(|| format!("{{\"numRecords\":{}}}", self.rows))),
            ..Default::default()
        }
    }
}

/// The action that removes a file.
pub(super) fn removal(file: &DeltaFile, partition_by: &[String], now_ms: i64, changes_rows: bool) -> Remove {
    Remove {
        path: file.path.clone(),
        data_change: changes_rows,
        deletion_timestamp: Some(now_ms),
        extended_file_metadata: Some(true),
        partition_values: Some(partition_by.iter().cloned().zip(file.key.iter().cloned()).collect()),
        size: Some(i64::try_from(file.bytes).unwrap_or(i64::MAX)),
        ..Default::default()
    }
}

/// What `DESCRIBE HISTORY` shows of a commit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// As Spark names it: `WRITE`, `DELETE`, `MERGE`, `OPTIMIZE`, `ADD COLUMNS` ...
    pub name: String,
    /// What it was told.
    pub parameters: BTreeMap<String, Value>,
    /// What came of it: rows, files, bytes.
    pub metrics: BTreeMap<String, Value>,
}

/// A change of a table's columns or properties.
#[derive(Debug, Clone, Default)]
pub struct MetadataChange {
    /// All columns from now on, those of the partitions last. Those that are there already keep what the log says of them,
    /// apart from the metadata given here.
    pub schema: Option<SchemaRef>,
    /// The partition columns from now on, when they change, which only a commit that replaces every file may do.
    pub partition_by: Option<Vec<String>>,
    /// Properties that are set, or with `None` unset.
    pub properties: BTreeMap<String, Option<String>>,
}

/// A line of a commit; what is `None` is not in it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LogLine {
    pub add: Option<FileLine>,
    pub remove: Option<FileLine>,
    pub meta_data: Option<Value>,
    pub protocol: Option<Value>,
    pub txn: Option<TxnLine>,
    pub commit_info: Option<BTreeMap<String, Value>>,
}

/// A file that is added or removed.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileLine {
    path: String,
    #[serde(default)]
    partition_values: Option<HashMap<String, Option<String>>>,
    #[serde(default = "yes")]
    pub data_change: bool,
}

fn yes() -> bool {
    true
}

/// A transaction of an application.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TxnLine {
    pub app_id: String,
}

impl FileLine {
    /// The path as the object store has it.
    pub fn path(&self) -> String {
        percent_decode_str(&self.path).decode_utf8_lossy().into_owned()
    }

    /// The partition, when the line tells it and its values can be read.
    pub fn partition(&self, fields: &[arrow::datatypes::FieldRef]) -> Option<PartitionKey> {
        let values = self.partition_values.as_ref()?;
        parse_partition(values, fields, &self.path).ok().map(|(_, key)| key)
    }
}

/// The lines of a commit.
pub(super) fn parse_commit(bytes: &[u8]) -> Result<Vec<LogLine>, serde_json::Error> {
    serde_json::Deserializer::from_slice(bytes).into_iter::<LogLine>().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use selvedge_model::manifest::Staging;

    use super::*;

    #[test]
    fn a_staged_file_is_named_from_the_table() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("n", DataType::Int32, true),
            Field::new("r", DataType::Utf8, true),
        ]));
        let by = ["n".to_owned(), "r".to_owned()];
        let staged = |path: &str, n: &str, r: Option<&str>| StagedFile {
            path: path.into(),
            staging: Staging::Temporary { path: "t".into() },
            rows: 3,
            bytes: 9,
            partition: vec![("n".into(), Some(n.into())), ("r".into(), r.map(Into::into))],
            stats: None,
            is_rejected: false,
        };
        let root = Location::parse("s3://b/wh/t/").unwrap();
        let of = |file: &StagedFile| AddFile::of_staged(&root, &schema, &by, file);
        let file = of(&staged("wh/t/n=7/r=a%2Fb/x.parquet", "07", Some("a/b"))).unwrap();
        assert_eq!(file.path, "n=7/r=a%2Fb/x.parquet");
        assert_eq!(file.partition, [Some("7".to_owned()), Some("a/b".to_owned())]);
        assert_eq!(file.action(&by, 1, true).stats.as_deref(), Some("{\"numRecords\":3}"));
        assert_eq!(of(&staged("wh/t/x", "7", Some(""))).unwrap().partition[1], None, "an empty string is NULL");
        assert_eq!(of(&staged("wh/t2/x", "7", None)).unwrap_err().code, "INTERNAL");
        assert_eq!(of(&staged("wh/t/x", "x", None)).unwrap_err().code, "BAD_PARTITION");
        let top = AddFile::of_staged(&Location::parse("s3://b").unwrap(), &schema, &by, &staged("x", "7", None));
        assert_eq!(top.unwrap().path, "x");
    }

    #[test]
    fn lines_of_other_engines_are_read_as_far_as_needed() {
        let text = r#"{"commitInfo":{"timestamp":5,"operation":"WRITE"}}
{"checkpointMetadata":{"version":1}}
{"remove":{"path":"ds=a%2520b/x.parquet","deletionTimestamp":1,"dataChange":false}}
{"txn":{"appId":"a","version":1}}"#;
        let lines = parse_commit(text.as_bytes()).unwrap();
        assert_eq!(lines.len(), 4);
        let removed = lines[2].remove.as_ref().unwrap();
        assert_eq!((removed.path().as_str(), removed.data_change), ("ds=a%20b/x.parquet", false));
        assert_eq!(removed.partition(&[]), None);
        assert_eq!(lines[3].txn.as_ref().unwrap().app_id, "a");
    }
}
