//! Managed tables as writes meet them: which version a statement is planned on, what of it the statement reads, and what
//! its commit is to say. Whether it may be committed then is decided by `selvedge_model::delta`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::{TableProvider as _, source_as_provider};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use selvedge_engine::catalog::{Format, TableDef};
use selvedge_engine::delta::{
    AddFile, DeltaSnapshot, DeltaTable, Operation, VersionSpec, check_schema, delta_types, is_delta_table,
    partitions_read,
};
use selvedge_engine::error::classify;
use selvedge_engine::store::Location;
use selvedge_model::Failure;
use selvedge_model::commit::WriteKind;
use selvedge_model::delta::PartitionSet;
use serde_json::{Value, json};

use super::{Planner, resolve};

/// What a write is to do to a table's log, but for what only its files tell.
#[derive(Debug)]
pub struct LogTarget {
    /// The version that it is planned on; none when it makes the table.
    pub base: Option<Arc<DeltaSnapshot>>,
    /// The partitions of the table that it reads.
    pub reads: PartitionSet,
    /// Those in which it looks for the rows that it rewrites, and in no others of their rows.
    pub searched: PartitionSet,
    /// The files whose rows it writes anew, when it is not an append or an overwrite.
    pub rewrites: Option<BTreeSet<String>>,
    /// Whether rows change, and are not only moved.
    pub changes_rows: bool,
    /// Whether the table has the columns of the write from now on.
    pub replaces_columns: bool,
    /// What is done, for the table's history.
    pub operation: Operation,
    /// What changes beside rows that are written.
    pub change: TableChange,
}

/// The files whose remaining rows a statement writes anew.
pub(super) struct Rewritten {
    /// Their paths.
    pub files: BTreeSet<String>,
    /// The partitions in which they were looked for.
    pub searched: PartitionSet,
}

/// What a statement changes of a table beside the rows that it writes.
#[derive(Debug, Default)]
pub struct TableChange {
    /// Files of an earlier version that are to be the table's again, beside those that stay; `rewrites` are those to go.
    pub restores: Option<Vec<AddFile>>,
    /// Properties that are set, or with `None` unset.
    pub properties: BTreeMap<String, Option<String>>,
}

#[cfg(test)]
impl LogTarget {
    /// A table made with its first rows.
    pub(crate) fn of_new_table() -> Self {
        Self::new(None, operation("CREATE TABLE AS SELECT", []))
    }
}

impl LogTarget {
    /// Rows that are added, whatever is there.
    pub(super) fn new(base: Option<Arc<DeltaSnapshot>>, operation: Operation) -> Self {
        Self {
            base,
            reads: PartitionSet::none(),
            searched: PartitionSet::none(),
            rewrites: None,
            changes_rows: true,
            replaces_columns: false,
            operation,
            change: TableChange::default(),
        }
    }

    /// A write of rows. `base` is the version that was opened for it.
    ///
    /// # Errors
    /// `UNSUPPORTED_TABLE` or `APPEND_ONLY` when the table cannot be written so.
    pub(super) fn write(
        base: Option<Arc<DeltaSnapshot>>,
        input: &LogicalPlan,
        kind: &WriteKind,
        state: &SessionState,
    ) -> Result<Self, Failure> {
        let base = base.map(|opened| oldest_read(input, opened)).transpose()?;
        if let Some(base) = &base {
            base.check_write(*kind != WriteKind::Append)?;
        }
        let reads = match &base {
            Some(base) => reads(input, base.location(), state)?,
            None => PartitionSet::none(),
        };
        let operation = operation("WRITE", [("mode", json!(mode(kind)))]);
        Ok(Self { reads, ..Self::new(base, operation) })
    }

    /// A change of rows that are there, whose new ones `input` has: reading the table, apart from the files that are written
    /// anew, in the partitions `reads`.
    ///
    /// # Errors
    /// `UNSUPPORTED_TABLE` or `APPEND_ONLY` when the table cannot be changed so.
    pub(super) fn change(
        base: Arc<DeltaSnapshot>,
        input: &LogicalPlan,
        reads: PartitionSet,
        rewrites: Option<Rewritten>,
        operation: Operation,
    ) -> Result<Self, Failure> {
        let base = oldest_read(input, base)?;
        base.check_write(rewrites.is_some())?;
        let (rewrites, searched) = match rewrites {
            Some(Rewritten { files, searched }) => (Some(files), searched),
            None => (None, PartitionSet::none()),
        };
        Ok(Self { reads, searched, rewrites, ..Self::new(Some(base), operation) })
    }

    /// A table that is made, with or without rows, in the place of `replaced` if there is one.
    pub(super) fn create(
        replaced: Option<Arc<DeltaSnapshot>>,
        input: Option<&LogicalPlan>,
        partition_by: &[String],
        state: &SessionState,
    ) -> Result<Self, Failure> {
        let name = match (&replaced, input) {
            (Some(_), Some(_)) => "CREATE OR REPLACE TABLE AS SELECT",
            (Some(_), None) => "CREATE OR REPLACE TABLE",
            (None, Some(_)) => "CREATE TABLE AS SELECT",
            (None, None) => "CREATE TABLE",
        };
        let base = match (replaced, input) {
            (Some(opened), Some(input)) => Some(oldest_read(input, opened)?),
            (opened, _) => opened,
        };
        if let Some(base) = &base {
            base.check_write(true)?;
        }
        let reads = match (&base, input) {
            (Some(base), Some(input)) => reads(input, base.location(), state)?,
            _ => PartitionSet::none(),
        };
        let operation = operation(name, [("partitionBy", json!(json!(partition_by).to_string()))]);
        Ok(Self { reads, replaces_columns: base.is_some(), ..Self::new(base, operation) })
    }
}

/// An entry for a table's history.
pub(super) fn operation<const N: usize>(name: &str, parameters: [(&str, Value); N]) -> Operation {
    let parameters = parameters.map(|(key, value)| (key.to_owned(), value)).into();
    Operation { name: name.to_owned(), parameters, metrics: BTreeMap::new() }
}

fn mode(kind: &WriteKind) -> &'static str {
    match kind {
        WriteKind::Append => "Append",
        _ => "Overwrite",
    }
}

/// The version of a managed table that a session sees, as all in a statement that reads it: the newest, when it is first
/// opened. None for a table of files, and for one that is only rehearsed.
pub(super) async fn open(
    planner: &Planner,
    state: &SessionState,
    def: &TableDef,
) -> Result<Option<Arc<DeltaSnapshot>>, Failure> {
    if def.format != Format::Delta {
        return Ok(None);
    }
    let provider = resolve::provider(planner, state.catalog_list(), &def.name).await?;
    Ok(provider.downcast_ref::<DeltaTable>().map(|table| Arc::clone(table.snapshot())))
}

/// A table with the columns that its log tells now.
pub(super) fn current(def: TableDef, snapshot: Option<&Arc<DeltaSnapshot>>) -> TableDef {
    let Some(snapshot) = snapshot else { return def };
    let schema = DeltaTable::new(Arc::clone(snapshot), VersionSpec::Latest).schema();
    TableDef { schema, partition_by: snapshot.partition_by().to_vec(), ..def }
}

/// What a table that is made at a location takes the place of: the newest version of a log there.
pub(super) async fn replaced(planner: &Planner, location: &Location) -> Result<Option<Arc<DeltaSnapshot>>, Failure> {
    let stores = planner.engine.stores();
    match is_delta_table(stores, location).await? {
        false => Ok(None),
        true => Ok(Some(Arc::new(Box::pin(DeltaSnapshot::open(stores, location, VersionSpec::Latest)).await?))),
    }
}

/// Columns as a managed table has them: unsigned numbers, which the log lacks, become signed ones. A value that does not
/// fit fails the write.
pub(super) fn columns(schema: &Schema, partition_by: &[String]) -> Result<SchemaRef, Failure> {
    let signed = |field: &FieldRef| -> Field {
        let kept = field.as_ref().clone();
        match field.data_type() {
            DataType::UInt8 => kept.with_data_type(DataType::Int16),
            DataType::UInt16 => kept.with_data_type(DataType::Int32),
            DataType::UInt32 | DataType::UInt64 => kept.with_data_type(DataType::Int64),
            _ => kept,
        }
    };
    for (i, field) in schema.fields().iter().enumerate() {
        let same = |other: &&FieldRef| other.name().eq_ignore_ascii_case(field.name());
        if let Some(other) = schema.fields().iter().take(i).find(same) {
            let cause = format!(
                "columns {} and {} differ in case only, which other engines do not see",
                other.name(),
                field.name()
            );
            return Err(Failure::user("DUPLICATE_COLUMN", cause).with_hint("Give one of them another name."));
        }
    }
    let signed = Schema::new(schema.fields().iter().map(signed).collect::<Vec<_>>());
    check_schema(&signed, partition_by)?;
    delta_types(&signed)
}

/// The oldest version that is read, so that nothing committed since is overlooked.
fn oldest_read(plan: &LogicalPlan, opened: Arc<DeltaSnapshot>) -> Result<Arc<DeltaSnapshot>, Failure> {
    let mut oldest = opened;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = provider.downcast_ref::<DeltaTable>()
            && table.spec() == VersionSpec::Latest
            && table.snapshot().location() == oldest.location()
            && table.snapshot().version() < oldest.version()
        {
            oldest = Arc::clone(table.snapshot());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(|e| classify(&e))?;
    Ok(oldest)
}

/// The partitions of the table at a location that a plan reads.
pub(super) fn reads(plan: &LogicalPlan, location: &Location, state: &SessionState) -> Result<PartitionSet, Failure> {
    let found = partitions_read(plan, location).map_err(|e| classify(&e))?;
    if found.is_empty() {
        return Ok(found);
    }
    // Filters reach the scans when the plan is optimized; before that, every partition is read.
    let optimized = state.optimize(plan).map_err(|e| classify(&e))?;
    partitions_read(&optimized, location).map_err(|e| classify(&e))
}
