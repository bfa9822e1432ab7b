//! `RESTORE`: one commit after which a table has the files, and the columns, of an earlier version.
//!
//! That the files are still in the store is proven when it commits, in the table's turn.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use selvedge_engine::delta::{AddFile, DEFAULT_KEY, DeltaFile, DeltaSnapshot, VersionSpec};
use selvedge_model::Failure;
use selvedge_model::delta::PartitionSet;
use serde_json::{Value, json};

use super::{Table, commit_only, rehearse_columns};
use crate::planning::statement::Context;
use crate::planning::{LogTarget, Planned, TableChange, managed};

pub(super) async fn plan(context: &Context<'_>, table: &Table, to: VersionSpec) -> Result<Planned, Failure> {
    let name = &table.def.name;
    let Some(now) = &table.snapshot else { return Ok(Planned::done("restored")) };
    now.check_write(true)?;
    let stores = context.planner.engine.stores();
    let then = match Box::pin(DeltaSnapshot::open(stores, &table.def.location, to)).await {
        // An earlier statement of the script may make it.
        Err(failure) if failure.code == "VERSION_NOT_FOUND" && context.planner.is_rehearsal() => {
            return Ok(Planned::done("restored"));
        }
        opened => opened?,
    };
    let (before, after) = (now.files().await?, then.files().await?);
    let paths = |files: &[DeltaFile]| files.iter().map(|file| file.path.clone()).collect::<BTreeSet<_>>();
    let (live, wanted) = (paths(&before), paths(&after));
    let removed: Vec<&DeltaFile> = before.iter().filter(|file| !wanted.contains(&file.path)).collect();
    let restored: Vec<&DeltaFile> = after.iter().filter(|file| !live.contains(&file.path)).collect();
    let changes_columns = columns(now.schema()) != columns(then.schema()) || now.partition_by() != then.partition_by();
    let version = then.version();
    if removed.is_empty() && restored.is_empty() && !changes_columns {
        return Ok(Planned::done(format!("{name} is as in version {version} already")));
    }
    let schema = Arc::clone(if changes_columns { then.schema() } else { now.schema() });
    let partition_by = then.partition_by().to_vec();
    if changes_columns {
        rehearse_columns(context, &table.def, &schema, &partition_by);
    }
    let bytes = |files: &[&DeltaFile]| files.iter().map(|file| file.bytes).sum::<u64>();
    let mut operation = managed::operation("RESTORE", [("version", json!(version))]);
    let metrics: [(&str, Value); 4] = [
        ("numRestoredFiles", restored.len().into()),
        ("numRemovedFiles", removed.len().into()),
        ("restoredFilesSize", bytes(&restored).into()),
        ("removedFilesSize", bytes(&removed).into()),
    ];
    operation.metrics.extend(metrics.map(|(key, value)| (key.to_owned(), value)));
    let log = LogTarget {
        // What it leaves must be there, too.
        reads: PartitionSet::everything(),
        rewrites: Some(removed.iter().map(|file| file.path.clone()).collect()),
        replaces_columns: changes_columns,
        change: TableChange {
            restores: Some(restored.into_iter().map(AddFile::of_file).collect()),
            ..TableChange::default()
        },
        ..LogTarget::new(Some(Arc::clone(now)), operation)
    };
    commit_only(table, schema, partition_by, log, format!("{name} is as in version {version} again"))
}

/// What makes columns the same: comments and the like do not count.
fn columns(schema: &Schema) -> Vec<(&str, &DataType, bool, Option<&String>)> {
    let mut all = Vec::new();
    for field in schema.fields() {
        let default = field.metadata().get(DEFAULT_KEY);
        all.push((field.name().as_str(), field.data_type(), field.is_nullable(), default));
    }
    all
}
