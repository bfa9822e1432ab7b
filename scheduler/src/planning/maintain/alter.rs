//! `ALTER TABLE ... ADD COLUMNS`. Files that are there stay as they are: what they lack is NULL.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::ObjectName;
use selvedge_engine::sql::{ColumnSpec, TableColumns};
use selvedge_model::Failure;
use serde_json::json;

use super::{Table, commit_only, rehearse_columns};
use crate::planning::statement::Context;
use crate::planning::{LogTarget, Planned, create, managed};

pub(super) async fn add_columns(
    context: &Context<'_>,
    written: &ObjectName,
    table: &Table,
    columns: &[ColumnSpec],
    if_not_exists: bool,
) -> Result<Planned, Failure> {
    let name = &table.def.name;
    let specs = TableColumns { columns: columns.to_vec(), partition_by: Vec::new() };
    let declared = create::arrow_schema(context, written, &specs).await?;
    let declared = managed::columns(&declared, &[])?;
    let declared = create::with_comments(&declared, columns);
    // With all that the log says of them.
    let old = table.snapshot.as_ref().map_or(&table.def.schema, |snapshot| snapshot.schema());
    let mut added: Vec<FieldRef> = Vec::new();
    for (field, spec) in declared.fields().iter().zip(columns) {
        let at_column = |f: Failure| f.at(context.statement.place_of_ident(&spec.name));
        // Other engines do not tell upper from lower case.
        if let Some(there) = old.fields().iter().find(|f| f.name().eq_ignore_ascii_case(field.name())) {
            if if_not_exists {
                continue;
            }
            let cause = format!("table {name} has a column {} already", there.name());
            return Err(at_column(Failure::user("DUPLICATE_COLUMN", cause).with_hint("ADD COLUMN IF NOT EXISTS.")));
        }
        if !field.is_nullable() {
            let cause =
                format!("column {} cannot be NOT NULL: the rows that are there have no value for it", field.name());
            return Err(at_column(Failure::user("NOT_SUPPORTED", cause)));
        }
        added.push(Arc::clone(field));
    }
    if added.is_empty() {
        return Ok(Planned::done(format!("{name} has the columns already")));
    }
    let schema = before_partitions(old, &added, table.def.partition_by.len());
    rehearse_columns(context, &table.def, &schema, &table.def.partition_by);
    let Some(snapshot) = &table.snapshot else { return Ok(Planned::done("altered")) };
    snapshot.check_write(false)?;
    let names: Vec<&str> = added.iter().map(|field| field.name().as_str()).collect();
    let operation = managed::operation("ADD COLUMNS", [("columns", json!(json!(names).to_string()))]);
    let log = LogTarget::new(Some(Arc::clone(snapshot)), operation);
    let log = LogTarget { changes_rows: false, replaces_columns: true, ..log };
    let done = format!("{name} has the new column{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "));
    commit_only(table, schema, table.def.partition_by.clone(), log, done)
}

/// The columns of a table, as its log has them, and others that it gets, which may be NULL: the rows that are there have none
/// of them.
///
/// # Errors
/// `DUPLICATE_COLUMN` when one differs from another in case only; `UNSUPPORTED_TYPE`.
pub(in crate::planning) fn with_columns(
    logged: &SchemaRef,
    partition_by: &[String],
    added: &[FieldRef],
) -> Result<SchemaRef, Failure> {
    let nullable = |field: &FieldRef| Arc::new(Field::new(field.name(), field.data_type().clone(), true));
    let added: Vec<FieldRef> = added.iter().map(nullable).collect();
    managed::columns(&before_partitions(logged, &added, partition_by.len()), partition_by)
}

/// All columns, the new ones after the others and before those of the partitions.
fn before_partitions(old: &SchemaRef, added: &[FieldRef], partitions: usize) -> SchemaRef {
    let data = old.fields().len().saturating_sub(partitions);
    let (first, last) = old.fields().split_at(data);
    let all = first.iter().chain(added).chain(last);
    Arc::new(Schema::new(all.map(|field| Field::clone(field)).collect::<Vec<_>>()))
}
