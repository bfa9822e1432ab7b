//! `OPTIMIZE`: rows of small files move into fewer. Which files, `selvedge_model::compaction` says.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{DFSchema, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, ExprWithAlias};
use selvedge_engine::delta::{DeltaFile, DeltaFiles, DeltaTable, VersionSpec};
use selvedge_engine::error::classify;
use selvedge_engine::plan::simplifier;
use selvedge_model::Failure;
use selvedge_model::commit::WriteKind;
use selvedge_model::compaction::{SizedFile, choose};
use selvedge_model::words::counted;
use serde_json::json;

use super::Table;
use crate::planning::assign::{self, Origin};
use crate::planning::statement::Context;
use crate::planning::target::{self, Target};
use crate::planning::{LogTarget, Planned, errors, managed, names};

/// What one task may write of a partition: so many files of the target size. Beyond that the work is spread.
const FILES_A_TASK: u64 = 8;

pub(super) async fn plan(context: &Context<'_>, table: &Table, wanted: Option<&SqlExpr>) -> Result<Planned, Failure> {
    let name = &table.def.name;
    let filters: Vec<Expr> = match wanted {
        Some(expr) => vec![filter(context, expr, &table.def.schema, &table.def.partition_by)?],
        None => Vec::new(),
    };
    let Some(snapshot) = &table.snapshot else { return Ok(Planned::done("optimized")) };
    snapshot.check_write(false)?;
    let version = Arc::new(DeltaTable::new(Arc::clone(snapshot), VersionSpec::Latest));
    let files = version.wanted_files(&context.state, &filters).await.map_err(|e| classify(&e))?;
    let sized =
        |file: &DeltaFile| SizedFile { path: file.path.clone(), partition: file.key.clone(), bytes: file.bytes };
    let target_bytes = context.settings.target_file_bytes();
    let chosen = choose(&files.iter().map(sized).collect::<Vec<_>>(), target_bytes);
    if chosen.rewrite.is_empty() {
        return Ok(Planned::done(format!("{name} has no small files to compact")));
    }
    let count = chosen.rewrite.len();
    let small = files.into_iter().filter(|file| chosen.rewrite.contains(&file.path)).collect();
    let mut scan = DeltaFiles::new(version, small);
    if table.def.partition_by.is_empty() {
        // Each partition of the scan is a writer, and writes a file at least.
        let most = context.state.config().target_partitions();
        scan = scan.in_partitions(chosen.writers(target_bytes).min(most));
    }
    let reference = TableReference::full(names::CATALOG, name.schema.clone(), name.table.clone());
    let source = LogicalPlanBuilder::scan(reference, provider_as_source(Arc::new(scan)), None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| classify(&e))?;
    let columns = table.def.schema.fields().iter().enumerate();
    let targets: Vec<_> = columns.map(|(i, field)| (Arc::clone(field), Origin::Query(i))).collect();
    let input = assign::fit(source, &targets, &name.to_string())?;
    let mut operation = managed::operation(
        "OPTIMIZE",
        [
            ("predicate", json!(json!(wanted.map(ToString::to_string).into_iter().collect::<Vec<_>>()).to_string())),
            ("targetFileSize", json!(target_bytes)),
        ],
    );
    let removed = [("numRemovedFiles", json!(count)), ("numRemovedBytes", json!(chosen.bytes))];
    operation.metrics.extend(removed.map(|(key, value)| (key.to_owned(), value)));
    let log = LogTarget {
        rewrites: Some(chosen.rewrite),
        changes_rows: false,
        ..LogTarget::new(Some(Arc::clone(snapshot)), operation)
    };
    let (schema, partition_by) = (table.def.schema.clone(), table.def.partition_by.clone());
    let target = Target::parquet(table.def.location.clone(), schema, partition_by, WriteKind::Append);
    let target = Target {
        label: name.to_string(),
        log: Some(log),
        done: format!("{} of {name} compacted", counted(count, "small file")),
        is_spread: chosen.largest_bytes > target_bytes.saturating_mul(FILES_A_TASK),
        ..target
    };
    target::write(input, target, context.settings, &context.job_id).map(Planned::from)
}

/// A condition on partition columns.
fn filter(context: &Context<'_>, expr: &SqlExpr, schema: &SchemaRef, partition_by: &[String]) -> Result<Expr, Failure> {
    let fail = |e| errors::planning(context.planner, context.statement, &e);
    let columns = DFSchema::try_from(schema.as_ref().clone()).map_err(fail)?;
    let aliased = ExprWithAlias { expr: expr.clone(), alias: None };
    let filter = context.state.create_logical_expr_from_sql_expr(aliased, &columns).map_err(fail)?;
    let refused = |cause: String, hint: String| Err(Failure::user("INVALID_PARTITION", cause).with_hint(hint));
    if let Some(column) = filter.column_refs().into_iter().find(|column| !partition_by.contains(&column.name)) {
        let cause = format!("OPTIMIZE chooses whole partitions, and {} is no partition column", column.name);
        return refused(
            cause,
            match partition_by {
                [] => "The table is not partitioned: leave WHERE out.".to_owned(),
                columns => format!("It is partitioned by {}.", columns.join(", ")),
            },
        );
    }
    let simplifier = simplifier(&context.state, &columns);
    let filter = simplifier.coerce(filter, &columns).map_err(fail)?;
    match filter.get_type(&columns).map_err(fail)? {
        DataType::Boolean => simplifier.simplify(filter).map_err(fail),
        other => refused(format!("the condition of OPTIMIZE is {other}, not true or false"), String::new()),
    }
}
