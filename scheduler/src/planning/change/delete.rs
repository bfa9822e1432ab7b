//! `DELETE`: the files are written anew without the rows that go; those of which every row goes are only taken out.

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, lit};
use selvedge_engine::sql::Delete;
use selvedge_model::Failure;
use selvedge_model::words::counted;
use serde_json::json;

use super::super::statement::Context;
use super::super::{Planned, PlannedWrite, Rows, managed};
use super::candidates::Candidates;
use super::scope::Scope;
use super::update::{filtered, known_in, projected};
use super::{Changed, Rewrite};

pub(in super::super) async fn delete(context: &Context<'_>, delete: &Delete) -> Result<Planned, Failure> {
    let changed = Changed::open(context, &delete.table).await?;
    let mut scope = Scope::new(context, &changed, None);
    if let Some(condition) = &delete.condition {
        scope.add(condition);
    }
    let planned = scope.plan().await?;
    let condition = match delete.condition {
        Some(_) => planned.exprs.first().map(|typed| known_in(typed, "DELETE")).transpose()?,
        None => None,
    };
    let Some(version) = &changed.version else { return Ok(Planned::done("rows are deleted")) };
    let base = version.snapshot();
    base.check_write(true).map_err(|f| f.at(changed.place.clone()))?;
    let candidates = Candidates::matching(&context.state, version, &planned.target, condition.as_ref()).await?;
    let label = &changed.def.name;
    if candidates.files.is_empty() {
        return Ok(Planned::done(format!("no row of {label} is deleted")));
    }
    let text = delete.condition.as_ref().map_or_else(|| "true".to_owned(), ToString::to_string);
    let mut operation = managed::operation("DELETE", [("predicate", json!(text))]);
    let (files, searched) = (&candidates.files, candidates.searched.clone());
    let rows = candidates.scanned_by(planned.target, version)?;
    let is_whole = candidates.is_whole;
    let rows = match condition {
        Some(condition) if !is_whole => filtered(rows, Expr::IsNotTrue(Box::new(condition)))?,
        // Nothing is written, and this plan not run.
        _ => filtered(rows, lit(false))?,
    };
    let columns = changed.def.schema.fields().iter().zip(rows.schema().iter());
    let kept = columns.map(|(field, from)| Expr::Column(Column::from(from)).alias(field.name())).collect();
    let rows = projected(rows, kept)?;
    let done = match (is_whole, candidates.rows()) {
        (true, Some(n)) => {
            operation.metrics.insert("numDeletedRows".to_owned(), n.into());
            format!("{} deleted from {label}", counted(n, "row"))
        }
        (true, None) => format!("{} taken out of {label}", counted(files.len(), "file")),
        (false, _) => format!("rows deleted from {label}: {} written anew", counted(files.len(), "file")),
    };
    let write = changed.rewrite(context, rows, Rewrite { base, files, searched, operation, done })?;
    Ok(Planned::from(match (is_whole, candidates.rows()) {
        (true, _) => PlannedWrite { rows: Rows::None, ..write },
        (false, Some(before)) => PlannedWrite { rows: Rows::Remaining { before }, ..write },
        (false, None) => write,
    }))
}
