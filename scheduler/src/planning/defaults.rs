//! Columns' defaults: declared by `CREATE TABLE t (a INT DEFAULT 5)`, kept in the table's log as Delta keeps them, and taken by an
//! `INSERT` that does not name the column.

use std::sync::Arc;

use datafusion::arrow::array::{Array as _, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable as _, cast};
use datafusion::sql::sqlparser::ast::{ColumnOption, Expr as SqlExpr};
use selvedge_engine::delta::DEFAULT_KEY;
use selvedge_engine::plan::simplifier;
use selvedge_engine::sql::ColumnSpec;
use selvedge_model::Failure;

use super::statement::Context;
use super::{assign, errors, names};

/// The default that a column declares.
pub(super) fn of_spec(spec: &ColumnSpec) -> Option<&SqlExpr> {
    spec.options.iter().find_map(|option| match &option.option {
        ColumnOption::Default(expr) => Some(expr),
        _ => None,
    })
}

/// The columns with the defaults that they declare.
///
/// # Errors
/// `INVALID_DEFAULT` when one cannot be a value of its column.
pub(super) fn with_declared(
    context: &Context<'_>,
    schema: &Schema,
    specs: &[ColumnSpec],
    partition_by: &[String],
) -> Result<SchemaRef, Failure> {
    let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    for spec in specs {
        let (Some(expr), name) = (of_spec(spec), names::ident(&spec.name)) else { continue };
        let at_column = |f: Failure| f.at(context.statement.place_of_ident(&spec.name));
        if partition_by.contains(&name) {
            let cause = format!("partition column {name} cannot have a default: its value is always given");
            return Err(at_column(Failure::user("INVALID_DEFAULT", cause)));
        }
        let Some(field) = fields.iter_mut().find(|field| *field.name() == name) else { continue };
        let text = expr.to_string();
        check(context, &text, field).map_err(at_column)?;
        let metadata = [(DEFAULT_KEY.to_owned(), text)].into();
        *field = Arc::new(field.as_ref().clone().with_metadata(metadata));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Refuses what is no value of the column in every row.
fn check(context: &Context<'_>, text: &str, field: &FieldRef) -> Result<(), Failure> {
    let refused = |why: String| {
        let cause = format!("{text} cannot be the default of column {}, a {}: {why}", field.name(), field.data_type());
        Failure::user("INVALID_DEFAULT", cause)
    };
    let why = |e: DataFusionError| refused(errors::planning(context.planner, context.statement, &e).cause);
    let (none, state) = (DFSchema::empty(), &context.state);
    let expr = state.create_logical_expr(text, &none).map_err(why)?;
    let given = expr.get_type(&none).map_err(why)?;
    if !assign::is_assignable(&given, field.data_type()) {
        return Err(refused(format!("it is {given}")).with_hint("Where the value is right, say so with CAST."));
    }
    let simplifier = simplifier(state, &none);
    let expr = simplifier.coerce(cast(expr, field.data_type().clone()), &none).map_err(why)?;
    let expr = simplifier.simplify(expr).map_err(why)?;
    let value = state.create_physical_expr(expr, &none).map_err(why)?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options);
    let row = row.map_err(|e| why(e.into()))?;
    let value = value.evaluate(&row).and_then(|value| value.into_array(1)).map_err(why)?;
    match value.null_count() == 1 && !field.is_nullable() {
        true => Err(refused("the column is NOT NULL".to_owned())),
        false => Ok(()),
    }
}

/// The value of a column that an `INSERT` does not name, when it has a default. `columns` are the table's, with what its log
/// says of them.
///
/// # Errors
/// `NOT_SUPPORTED` when another engine declared it and it is not understood here.
pub(super) fn of_column(state: &SessionState, columns: &Schema, column: &str) -> Result<Option<Expr>, Failure> {
    let field = columns.field_with_name(column).ok();
    let Some(text) = field.and_then(|field| field.metadata().get(DEFAULT_KEY)) else { return Ok(None) };
    state.create_logical_expr(text, &DFSchema::empty()).map(Some).map_err(|e| {
        let why = selvedge_engine::error::classify(&e).cause;
        let cause = format!("the default of column {column}, {text}, is not understood here: {why}");
        Failure::user("NOT_SUPPORTED", cause).with_hint("List the column, and give it a value.")
    })
}
