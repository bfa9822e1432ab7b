//! Statements that look after managed tables, each in its file. They change a table by one commit of its log, as writes do;
//! `VACUUM` alone changes no version, and is carried out by the driver.

mod alter;
mod describe;
mod optimize;
mod properties;
mod restore;
mod vacuum;

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use selvedge_engine::catalog::{Format, TableDef};
use selvedge_engine::delta::DeltaSnapshot;
use selvedge_engine::sql::{Maintenance, MaintenanceTask};
use selvedge_model::Failure;

use super::statement::Context;
use super::{LogTarget, Planned, PlannedWrite, insert, managed, names};

pub(super) use alter::with_columns;
pub use vacuum::PlannedVacuum;

/// The managed table that a statement is about.
struct Table {
    /// With the columns that it has now.
    def: TableDef,
    /// Its newest version; none when it is only rehearsed.
    snapshot: Option<Arc<DeltaSnapshot>>,
}

pub(super) async fn plan(context: &Context<'_>, maintenance: &Maintenance) -> Result<Planned, Failure> {
    let at_table = |f: Failure| f.at(context.statement.place_of_name(&maintenance.table));
    let table = table(context, maintenance).await.map_err(at_table)?;
    let planned = match &maintenance.task {
        MaintenanceTask::History { limit } => describe::history(&table, *limit).await,
        MaintenanceTask::Detail => describe::detail(&table).await,
        MaintenanceTask::Optimize { filter } => optimize::plan(context, &table, filter.as_deref()).await,
        MaintenanceTask::Vacuum { retain_hours, is_dry_run } => {
            vacuum::plan(context, &table, *retain_hours, *is_dry_run)
        }
        MaintenanceTask::Restore { to } => restore::plan(context, &table, *to).await,
        MaintenanceTask::AddColumns { columns, if_not_exists } => {
            alter::add_columns(context, &maintenance.table, &table, columns, *if_not_exists).await
        }
        MaintenanceTask::Properties(properties) => properties::change(context, &table, properties),
    };
    planned.map_err(at_table)
}

async fn table(context: &Context<'_>, maintenance: &Maintenance) -> Result<Table, Failure> {
    let name = names::table(context.statement, &maintenance.table)?;
    let done = match maintenance.task {
        MaintenanceTask::History { .. } | MaintenanceTask::Detail => "described so",
        MaintenanceTask::Optimize { .. } => "optimized",
        MaintenanceTask::Vacuum { .. } => "vacuumed",
        MaintenanceTask::Restore { .. } => "restored",
        MaintenanceTask::AddColumns { .. } | MaintenanceTask::Properties(_) => "altered",
    };
    let def = insert::existing(context.planner, &name, done)?;
    if def.format != Format::Delta {
        let cause = format!("{name} is a table of {} files, and only managed tables can be {done}", def.format);
        return Err(Failure::user("NOT_SUPPORTED", cause)
            .with_hint("CREATE TABLE t AS SELECT makes a managed table, with versions."));
    }
    let snapshot = managed::open(context.planner, &context.state, &def).await?;
    Ok(Table { def: managed::current(def, snapshot.as_ref()), snapshot })
}

/// A write without rows: a commit of the table's log, after which it has these columns.
fn commit_only(
    table: &Table,
    schema: SchemaRef,
    partition_by: Vec<String>,
    log: LogTarget,
    done: String,
) -> Result<Planned, Failure> {
    let def = TableDef { schema, partition_by, ..table.def.clone() };
    Ok(Planned::from(PlannedWrite { done, ..PlannedWrite::of_log(&def, log)? }))
}

/// In a rehearsal, statements to come find the table with these columns.
pub(super) fn rehearse_columns(context: &Context<'_>, def: &TableDef, schema: &SchemaRef, partition_by: &[String]) {
    if context.planner.is_rehearsal() {
        let (schema, partition_by) = (schema.clone(), partition_by.to_vec());
        context.planner.engine.catalog().pretend(TableDef { schema, partition_by, ..def.clone() });
    }
}
