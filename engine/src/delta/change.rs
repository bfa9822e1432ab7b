//! What a write does to a log, as it lasts in the journal of publishes. It may be carried out any number of times.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use selvedge_model::Failure;
use selvedge_model::delta::{DeltaWrite, PartitionKey, PartitionSet};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::action::{AddFile, MetadataChange, Operation};
use super::commit::{CommitError, CommitOutcome, CommitRequest, commit};
use super::create::{NewTable, make};
use super::schema::{fields_from_json, schema_to_json};
use super::snapshot::DeltaSnapshot;
use super::values::canonical;
use super::version::VersionSpec;
use crate::store::{Location, ObjectStores};

/// A change of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogChange {
    /// Names the statement, the same at every repeat: `selvedge/RUN/STATEMENT`.
    pub app_id: String,
    /// The run that does it.
    pub run: Option<String>,
    /// The files that it adds.
    pub adds: Vec<AddFile>,
    /// What is done, for the history.
    pub operation: Operation,
    /// What it comes to.
    pub version: NewVersion,
}

/// The version that a change makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewVersion {
    /// A table's first.
    First(Columns),
    /// A table's next.
    Next {
        /// The table that it was planned on, by its own id.
        table_id: String,
        /// The version that it was planned on.
        base_version: i64,
        /// What it does to what is there.
        write: DeltaWrite,
        /// The partitions of this table that the statement read.
        reads: PartitionSet,
        /// Those in which it looked for the rows that it rewrites.
        #[serde(default)]
        searched: PartitionSet,
        /// Whether rows change; not so when they are only moved between files.
        changes_rows: bool,
        /// The columns from now on, when they change.
        columns: Option<Columns>,
        /// Properties that are set, or with `None` unset.
        #[serde(default)]
        properties: BTreeMap<String, Option<String>>,
    },
}

/// The columns of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    /// As the log writes them.
    schema: Value,
    /// Those of the partitions.
    partition_by: Vec<String>,
}

impl Columns {
    /// Columns, those of the partitions last.
    ///
    /// # Errors
    /// `UNSUPPORTED_TYPE` naming the column.
    pub fn new(schema: &Schema, partition_by: &[String]) -> Result<Self, Failure> {
        Ok(Self { schema: schema_to_json(schema)?, partition_by: partition_by.to_vec() })
    }

    fn schema(&self) -> Result<SchemaRef, Failure> {
        Ok(Arc::new(Schema::new(fields_from_json(&self.schema)?)))
    }
}

/// Carries a change out, unless it has been.
///
/// # Errors
/// As [`commit`]: only [`CommitError::Failed`] leaves it open whether it has happened.
pub async fn apply_change(
    stores: &ObjectStores,
    location: &Location,
    change: &LogChange,
) -> Result<CommitOutcome, CommitError> {
    let LogChange { app_id, run, adds, operation, version } = change.clone();
    match version {
        NewVersion::First(columns) => {
            let table = NewTable {
                app_id,
                schema: columns.schema()?,
                partition_by: columns.partition_by,
                properties: BTreeMap::new(),
                description: None,
                adds,
                operation,
                run,
            };
            make(stores, location, &table).await
        }
        NewVersion::Next { table_id, base_version, write, reads, searched, changes_rows, columns, properties } => {
            let request = CommitRequest {
                app_id,
                table_id,
                base_version,
                write,
                reads,
                searched,
                adds,
                changes_rows,
                metadata: metadata(columns, properties)?,
                operation,
                run,
                user_metadata: None,
            };
            commit(stores, location, &request).await
        }
    }
}

/// The change of metadata that a commit makes, if it makes one.
fn metadata(
    columns: Option<Columns>,
    properties: BTreeMap<String, Option<String>>,
) -> Result<Option<MetadataChange>, Failure> {
    if columns.is_none() && properties.is_empty() {
        return Ok(None);
    }
    let schema = columns.as_ref().map(Columns::schema).transpose()?;
    Ok(Some(MetadataChange { schema, partition_by: columns.map(|c| c.partition_by), properties }))
}

/// Whether the newest version of the table at a location names one of these files; false when there is no table.
///
/// # Errors
/// What the store says, and what keeps the table from being read.
pub async fn names_any(stores: &ObjectStores, location: &Location, adds: &[AddFile]) -> Result<bool, Failure> {
    let snapshot = match Box::pin(DeltaSnapshot::open(stores, location, VersionSpec::Latest)).await {
        Err(failure) if failure.code == "NOT_A_DELTA_TABLE" => return Ok(false),
        opened => opened?,
    };
    let live = snapshot.files().await?;
    Ok(adds.iter().any(|add| live.iter().any(|file| file.path == add.path)))
}

/// The leading values of partitions, as a statement gives them, in the spelling by which they are compared.
///
/// # Errors
/// `BAD_PARTITION` when a value is not of its column's type.
pub fn leading_key(schema: &Schema, values: &[(String, Option<String>)]) -> Result<PartitionKey, Failure> {
    let canonical = |(column, value): &(String, Option<String>)| {
        let field = schema.field_with_name(column).map_err(|e| Failure::internal("INTERNAL", e.to_string()))?;
        canonical(value.as_deref(), field, "PARTITION")
    };
    values.iter().map(canonical).collect()
}
