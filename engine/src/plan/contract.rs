//! What tables expect, planned into a write: conditions become expressions that the write's tasks evaluate.
//!
//! A condition is kept as text and planned anew for each write, on the columns of that write. Finding out is
//! `crate::write`'s part, judging `selvedge_model::expectation`'s.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{DFSchema, internal_err, plan_err};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{DmlStatement, Expr, ExprSchemable as _, LogicalPlan};
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyContext};
use selvedge_model::expectation::{OnViolation, Rule, Stated};

use super::sink::SinkTable;
use crate::write::{NewestOf, RowCheck, WriteChecks};

/// An expectation as one write is to meet it.
#[derive(Debug, Clone)]
pub struct PlannedExpectation {
    stated: Stated,
    finds: Finds,
}

/// What its tasks find out for it.
#[derive(Debug, Clone)]
enum Finds {
    /// Rows of which this is false.
    Violations(Expr),
    /// The newest value of the column at this position.
    Newest(usize),
    /// Nothing: rows are counted anyway.
    Nothing,
}

impl PlannedExpectation {
    /// Plans an expectation for a write of these columns.
    ///
    /// # Errors
    /// A condition that cannot be evaluated on them, a column that is not among them or has no times.
    pub fn new(stated: Stated, state: &SessionState, schema: &Schema) -> Result<Self> {
        let finds = match &stated.expectation.rule {
            Rule::Check { sql } => Finds::Violations(check_expr(state, sql, schema)?),
            Rule::Fresh { column, .. } => Finds::Newest(time_column(schema, column)?),
            Rule::Rows { .. } => Finds::Nothing,
        };
        Ok(Self { stated, finds })
    }

    /// What is expected, and by whom.
    pub fn stated(&self) -> &Stated {
        &self.stated
    }
}

/// A condition on rows of these columns.
///
/// # Errors
/// What planning says; a condition that is neither true nor false, or that is not about single rows.
pub fn check_expr(state: &SessionState, sql: &str, schema: &Schema) -> Result<Expr> {
    let columns = columns(schema)?;
    let expr = state.create_logical_expr(sql, &columns)?;
    let is_of_many = expr.exists(|e| Ok(matches!(e, Expr::AggregateFunction(_) | Expr::WindowFunction(_))))?;
    if is_of_many {
        return plan_err!("a CHECK looks at one row at a time, and cannot aggregate");
    }
    let simplifier = simplifier(state, &columns);
    let expr = simplifier.coerce(expr, &columns)?;
    let data_type = expr.get_type(&columns)?;
    if data_type != DataType::Boolean {
        return plan_err!("a CHECK must be true or false, and this is {data_type}");
    }
    let expr = simplifier.simplify(expr)?;
    state.create_physical_expr(expr.clone(), &columns)?;
    Ok(expr)
}

/// What gives expressions on these columns their types and, at planning, `now()` and the like the one value that they have
/// for all rows.
pub fn simplifier(state: &SessionState, columns: &DFSchema) -> ExprSimplifier {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(columns.clone()))
        .with_config_options(Arc::clone(state.config_options()))
        .with_current_time()
        .build();
    ExprSimplifier::new(context)
}

/// The position of a column with times.
///
/// # Errors
/// When there is no such column, or its type has no times.
pub fn time_column(schema: &Schema, column: &str) -> Result<usize> {
    let Ok(position) = schema.index_of(column) else {
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        return plan_err!("column {column} does not exist; there are {}", names.join(", "));
    };
    match schema.field(position).data_type() {
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Ok(position),
        other => plan_err!("FRESH needs a column with dates or times, and {column} is {other}"),
    }
}

/// The columns as conditions see them. NULL may be anywhere: what is NOT NULL is only known once it is checked.
fn columns(schema: &Schema) -> Result<DFSchema> {
    let fields = schema.fields().iter().map(|f| Field::new(f.name(), f.data_type().clone(), true));
    DFSchema::try_from(Schema::new(fields.collect::<Vec<_>>()))
}

/// Makes a write find out what these expectations need.
///
/// # Errors
/// An internal error when the plan is not a write of ours.
pub fn with_contract(plan: LogicalPlan, contract: Vec<PlannedExpectation>) -> Result<LogicalPlan> {
    let LogicalPlan::Dml(write) = plan else { return internal_err!("expectations were put on what is no write") };
    let provider = source_as_provider(&write.target)?;
    let Some(sink) = provider.downcast_ref::<SinkTable>() else {
        return internal_err!("expectations were put on a write of another kind");
    };
    let target = provider_as_source(Arc::new(sink.expecting(contract)));
    Ok(LogicalPlan::Dml(DmlStatement::new(write.table_name, target, write.op, write.input)))
}

/// What a plan's write is to meet; nothing when it is no write. Reports name them by their position.
pub fn contract_of(plan: &LogicalPlan) -> Vec<Stated> {
    let LogicalPlan::Dml(write) = plan else { return Vec::new() };
    let Ok(provider) = source_as_provider(&write.target) else { return Vec::new() };
    let contract = provider.downcast_ref::<SinkTable>().map(SinkTable::contract).unwrap_or_default();
    contract.iter().map(|planned| planned.stated.clone()).collect()
}

/// What the tasks of a write are to find out.
pub(super) fn write_checks(
    contract: &[PlannedExpectation],
    state: &dyn Session,
    schema: &SchemaRef,
) -> Result<WriteChecks> {
    let columns = columns(schema)?;
    let mut checks = WriteChecks::default();
    for (index, planned) in contract.iter().enumerate() {
        match &planned.finds {
            Finds::Violations(expr) => checks.rows.push(RowCheck {
                index,
                drops: planned.stated.expectation.on_violation.leaves_out(),
                kept_as: match planned.stated.expectation.on_violation {
                    OnViolation::Reject => Some(planned.stated.expectation.name.clone()),
                    OnViolation::Fail | OnViolation::Warn | OnViolation::Drop => None,
                },
                condition: state.create_physical_expr(expr.clone(), &columns)?,
            }),
            Finds::Newest(column) => checks.newest.push(NewestOf { index, column: *column }),
            Finds::Nothing => {}
        }
    }
    Ok(checks)
}
