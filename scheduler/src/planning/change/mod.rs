//! `DELETE`, `UPDATE` and `MERGE` on managed tables, by copy-on-write: files that may hold a row to change are read whole,
//! and what becomes of their rows is written anew in their place, all in one commit.
//!
//! `scope.rs` gives a statement's expressions their meaning, `candidates.rs` finds the files, `columns.rs` fits values to
//! columns; a file for each statement puts them together, `pairs.rs` for `MERGE`. Here is what they begin and end with.

mod candidates;
mod columns;
mod delete;
mod merge;
mod pairs;
mod scope;
mod update;

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::Ident;
use selvedge_engine::catalog::{Format, TableDef};
use selvedge_engine::delta::{DeltaFile, DeltaSnapshot, DeltaTable, Operation, VersionSpec};
use selvedge_engine::error::classify;
use selvedge_engine::sql::ChangedTable;
use selvedge_model::commit::WriteKind;
use selvedge_model::delta::PartitionSet;
use selvedge_model::{Failure, Place};

use super::managed::Rewritten;
use super::statement::Context;
use super::target::{self, Target};
use super::{LogTarget, PlannedWrite, insert, managed, names};
pub(super) use delete::delete;
pub(super) use merge::merge;
pub(super) use update::update;

/// The table that a statement changes.
struct Changed<'a> {
    written: &'a ChangedTable,
    /// With the columns of its version.
    def: TableDef,
    /// The version that is changed; none when the table is only rehearsed.
    version: Option<Arc<DeltaTable>>,
    place: Place,
}

impl<'a> Changed<'a> {
    /// Opens the version that this session sees.
    async fn open(context: &Context<'_>, written: &'a ChangedTable) -> Result<Self, Failure> {
        let name = names::table(context.statement, &written.name)?;
        let place = context.statement.place_of_name(&written.name);
        let at_table = |f: Failure| f.at(place.clone());
        let def = insert::existing(context.planner, &name, "changed").map_err(at_table)?;
        if def.format != Format::Delta {
            let cause = format!("the rows of {name}, a table of {} files, cannot be changed one by one", def.format);
            let hint = format!(
                "Write the rows that are to be there with INSERT OVERWRITE {name} SELECT ..., or make it a managed table: \
                 CREATE TABLE ... AS SELECT * FROM {name}"
            );
            return Err(at_table(Failure::user("NOT_SUPPORTED", cause).with_hint(hint)));
        }
        let opened = managed::open(context.planner, &context.state, &def).await.map_err(at_table)?;
        let def = managed::current(def, opened.as_ref());
        let version = opened.map(|snapshot| Arc::new(DeltaTable::new(snapshot, VersionSpec::Latest)));
        Ok(Self { written, def, version, place })
    }

    /// What the statement calls the table.
    fn alias(&self) -> Ident {
        let last = self.written.name.0.last().and_then(|part| part.as_ident());
        self.written.alias.clone().or_else(|| last.cloned()).unwrap_or_else(|| Ident::new(self.def.name.table.clone()))
    }

    /// Its rows, all of them.
    fn provider(&self) -> Arc<dyn TableProvider> {
        match &self.version {
            Some(version) => Arc::clone(version) as _,
            None => Arc::new(EmptyTable::new(Arc::clone(&self.def.schema))),
        }
    }

    /// A write of rows that are added, with columns as the table has them.
    fn append(&self, context: &Context<'_>, rows: LogicalPlan, operation: Operation) -> Result<PlannedWrite, Failure> {
        let Some(version) = &self.version else { return Err(only_rehearsed()) };
        let reads = managed::reads(&rows, version.snapshot().location(), &context.state)?;
        let log = LogTarget::change(Arc::clone(version.snapshot()), &rows, reads, None, operation);
        self.write(context, rows, log.map_err(|f| f.at(self.place.clone()))?, String::new())
    }

    /// A write of what becomes of the rows of files.
    fn rewrite(&self, context: &Context<'_>, rows: LogicalPlan, rewrite: Rewrite<'_>) -> Result<PlannedWrite, Failure> {
        let Rewrite { base, files, searched, operation, done } = rewrite;
        let reads = managed::reads(&rows, base.location(), &context.state)?;
        let rewritten = Rewritten { files: paths(files), searched };
        let log = LogTarget::change(Arc::clone(base), &rows, reads, Some(rewritten), measured(operation, files));
        self.write(context, rows, log.map_err(|f| f.at(self.place.clone()))?, done)
    }

    fn write(
        &self,
        context: &Context<'_>,
        rows: LogicalPlan,
        log: LogTarget,
        done: String,
    ) -> Result<PlannedWrite, Failure> {
        let TableDef { location, schema, partition_by, name, .. } = self.def.clone();
        let target = Target::parquet(location, schema, partition_by, WriteKind::Append);
        let target = Target { label: name.to_string(), log: Some(log), done, ..target };
        target::write(rows, target, context.settings, &context.job_id)
    }
}

/// What a write takes the place of.
struct Rewrite<'a> {
    base: &'a Arc<DeltaSnapshot>,
    files: &'a [DeltaFile],
    /// The partitions in which the files were looked for.
    searched: PartitionSet,
    operation: Operation,
    done: String,
}

fn paths(files: &[DeltaFile]) -> BTreeSet<String> {
    files.iter().map(|file| file.path.clone()).collect()
}

/// The operation with what it removes.
fn measured(mut operation: Operation, files: &[DeltaFile]) -> Operation {
    operation.metrics.insert("numRemovedFiles".to_owned(), files.len().into());
    operation
}

/// All columns of a plan.
fn columns_of(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().iter().map(|field| Expr::Column(Column::from(field))).collect()
}

/// A plan that does not fit together, after all in it was checked: a mistake of ours, unless it says whose it is.
fn broken(error: DataFusionError) -> Failure {
    classify(&error)
}

fn only_rehearsed() -> Failure {
    Failure::internal("INTERNAL", "a table that is only rehearsed was to be changed")
}
