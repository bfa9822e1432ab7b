//! Makes a table: version 0 of a log, with its first files if there are any.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use chrono::Utc;
use selvedge_model::Failure;
use selvedge_model::failure::HasFailure as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::action::{AddFile, Operation};
use super::commit::{Author, CommitError, CommitOutcome, add_actions, commit_bytes, info_action, pause, txn_action};
use super::log::{DeltaLog, Put};
use super::metadata::has_defaults;
use super::protocol::TableProtocol;
use super::schema::{check_schema, delta_types, schema_to_json};
use crate::store::{Location, ObjectStores};

/// Tries of the put, when the store does not say how it went.
const TRIES: u32 = 5;
/// Properties of our tables, unless others are given. Transactions are remembered long after any repeat of a publish, but
/// not for ever: every statement leaves one.
const PROPERTIES: [(&str, &str); 1] = [("delta.setTransactionRetentionDuration", "interval 30 days")];

/// A table to be made.
#[derive(Debug, Clone)]
pub struct NewTable {
    /// Names the statement that makes it, the same at every repeat.
    pub app_id: String,
    /// All columns; their metadata may hold comments and defaults.
    pub schema: SchemaRef,
    /// The partition columns.
    pub partition_by: Vec<String>,
    /// Properties.
    pub properties: BTreeMap<String, String>,
    /// What it is for, in words.
    pub description: Option<String>,
    /// Its first files.
    pub adds: Vec<AddFile>,
    /// What is done: `CREATE TABLE` or `CREATE TABLE AS SELECT`.
    pub operation: Operation,
    /// The run that does it.
    pub run: Option<String>,
}

/// Makes a table at a location where there is none, whole or not at all. A repeat finds what it made.
///
/// # Errors
/// `TABLE_EXISTS` when there is another one, `UNSUPPORTED_TYPE`, `INVALID_PARTITION`, what the store says.
pub async fn create_table(
    stores: &ObjectStores,
    location: &Location,
    table: &NewTable,
) -> Result<CommitOutcome, Failure> {
    make(stores, location, table).await.map_err(|e| e.failure())
}

/// The same, telling what is refused from what is not known.
pub(super) async fn make(
    stores: &ObjectStores,
    location: &Location,
    table: &NewTable,
) -> Result<CommitOutcome, CommitError> {
    check_schema(&table.schema, &table.partition_by).map_err(CommitError::Refused)?;
    let log = DeltaLog::open(stores, location)?;
    let commit = first_commit(table).map_err(CommitError::Refused)?;
    let mut last = None;
    for attempt in 0..TRIES {
        if attempt > 0 {
            pause(attempt).await;
        }
        if let Some(outcome) = existing(&log, table).await? {
            return Ok(outcome);
        }
        match log.put(0, commit.clone()).await? {
            Put::Made => return Ok(CommitOutcome { version: 0, is_repeated: false, removed: 0 }),
            Put::Taken => {}
            Put::Unknown(failure) => last = Some(failure),
        }
        if let Some(outcome) = existing(&log, table).await? {
            return Ok(outcome);
        }
        if let Some(failure) = last.take_if(|f| !f.is_retryable()) {
            return Err(CommitError::Refused(failure));
        }
    }
    let unknown = || Failure::external("STORE_UNAVAILABLE", format!("cannot make the table at {location}"));
    Err(CommitError::Failed(last.unwrap_or_else(unknown)))
}

/// What is there already: ours, nothing, or the failure of another table.
async fn existing(log: &DeltaLog, table: &NewTable) -> Result<Option<CommitOutcome>, CommitError> {
    let is_ours = |lines: &[super::action::LogLine]| {
        lines.iter().any(|line| line.txn.as_ref().is_some_and(|txn| txn.app_id == table.app_id))
    };
    let ours = log.commit_lines(0).await?.map(|lines| is_ours(&lines));
    if ours == Some(true) {
        return Ok(Some(CommitOutcome { version: 0, is_repeated: true, removed: 0 }));
    }
    match log.versions().await?.newest() {
        None => Ok(None),
        Some(_) => {
            let cause = format!("there is a Delta table at {} already", log.location());
            let hint = "Register it with CREATE EXTERNAL TABLE ... STORED AS DELTA, or give another LOCATION";
            Err(CommitError::Refused(Failure::user("TABLE_EXISTS", cause).with_hint(hint)))
        }
    }
}

fn first_commit(table: &NewTable) -> Result<Bytes, Failure> {
    let now_ms = Utc::now().timestamp_millis();
    let kept = delta_types(&table.schema)?;
    let defaults = PROPERTIES.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let mut properties: BTreeMap<String, String> = defaults.collect();
    properties.extend(table.properties.clone());
    let metadata = json!({
        "id": Uuid::now_v7().to_string(),
        "name": null,
        "description": table.description,
        "format": { "provider": "parquet", "options": {} },
        "schemaString": schema_to_json(&kept)?.to_string(),
        "partitionColumns": table.partition_by,
        "configuration": properties,
        "createdTime": now_ms,
    });
    let author = Author { operation: &table.operation, run: table.run.as_deref(), user_metadata: None };
    let mut actions: Vec<Value> = vec![
        info_action(&author, None, table.adds.is_empty(), now_ms),
        json!({ "protocol": TableProtocol::needed_by(&kept, has_defaults(&kept)) }),
        json!({ "metaData": metadata }),
    ];
    actions.extend(add_actions(&table.adds, &table.partition_by, now_ms, true)?);
    actions.push(txn_action(&table.app_id, now_ms));
    Ok(commit_bytes(&actions))
}
