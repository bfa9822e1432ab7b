//! Plans queries: DataFusion's planner on the statement's own syntax tree, so that its errors carry places.

use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, SelectItem, SetExpr, Statement as SqlStatement};
use selvedge_engine::error::{classify, misused_function};
use selvedge_model::Failure;
use selvedge_model::words::counted;

use super::statement::Context;
use super::{calls, errors, names};

/// The plan of a query that only reads.
pub(super) async fn plan(context: &Context<'_>, query: &Query) -> Result<LogicalPlan, Failure> {
    let statement = DfStatement::Statement(Box::new(SqlStatement::Query(Box::new(query.clone()))));
    let plan = match context.state.statement_to_plan(statement).await {
        Ok(plan) => plan,
        Err(error) => return Err(refusal(context, query, &error).await),
    };
    read_only(&plan)?;
    Ok(plan)
}

/// What is wrong with a query, where it is.
async fn refusal(context: &Context<'_>, query: &Query, error: &DataFusionError) -> Failure {
    let mut failure = errors::planning(context.planner, context.statement, error);
    if let Some(function) = misused_function(error)
        && let Some(place) = calls::locate(context, query, &function, &failure.cause).await
    {
        failure.place = Some(place);
    }
    failure
}

/// Refuses plans that change something, such as `SELECT ... INTO t`.
pub(super) fn read_only(plan: &LogicalPlan) -> Result<(), Failure> {
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(plan).map_err(|_| {
        Failure::user("NOT_SUPPORTED", "a query cannot also write")
            .with_hint("Use CREATE TABLE t AS SELECT ... or INSERT INTO t SELECT ...")
    })
}

/// Checks types and inserts the casts that operators and functions need. The result has its final schema.
fn analyze(context: &Context<'_>, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let state = &context.state;
    state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})
}

/// The plan of a query whose rows are shown: as it was written, its types checked.
pub(super) async fn checked(context: &Context<'_>, query: &Query) -> Result<LogicalPlan, Failure> {
    let plan = plan(context, query).await?;
    match analyze(context, plan.clone()) {
        Ok(_) => Ok(plan),
        Err(error) => Err(refusal(context, query, &error).await),
    }
}

/// A query as the source of a write.
pub(super) async fn source(context: &Context<'_>, query: &Query) -> Result<LogicalPlan, Failure> {
    let plan = plan(context, query).await?;
    match analyze(context, plan) {
        Ok(plan) => Ok(plan),
        Err(error) => Err(refusal(context, query, &error).await),
    }
}

/// A query as the source of a write that goes by position: `SELECT 0, 0` is fine, though DataFusion wants names apart.
pub(super) async fn positional_source(context: &Context<'_>, query: &Query) -> Result<LogicalPlan, Failure> {
    let mut query = query.clone();
    name_apart(&mut query.body);
    source(context, &query).await
}

/// Gives columns that repeat another's text a name of their own.
fn name_apart(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            let mut seen: Vec<String> = Vec::new();
            for (i, item) in select.projection.iter_mut().enumerate() {
                let (expr, name) = match item {
                    SelectItem::UnnamedExpr(expr) => (expr.clone(), expr.to_string()),
                    SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.value.clone()),
                    _ => continue,
                };
                if seen.contains(&name) {
                    let alias = Ident::with_quote('"', format!("{name} ({})", i + 1));
                    *item = SelectItem::ExprWithAlias { expr, alias };
                }
                seen.push(name);
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            name_apart(left);
            name_apart(right);
        }
        SetExpr::Query(query) => name_apart(&mut query.body),
        _ => {}
    }
}

/// All rows of a table or view.
pub(super) async fn scan(context: &Context<'_>, name: &ObjectName) -> Result<LogicalPlan, Failure> {
    let table = names::table(context.statement, name)?;
    let provider = super::resolve::provider(context.planner, context.state.catalog_list(), &table)
        .await
        .map_err(|f| f.at(context.statement.place_of_name(name)))?;
    let reference = TableReference::full(names::CATALOG, table.schema, table.table);
    let plan = LogicalPlanBuilder::scan(reference, datafusion::datasource::provider_as_source(provider), None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| classify(&e))?;
    analyze(context, plan).map_err(|e| errors::planning(context.planner, context.statement, &e))
}

/// Refuses a list of new column names that does not fit a query.
pub(super) fn check_names(context: &Context<'_>, columns: &[Ident], plan: &LogicalPlan) -> Result<(), Failure> {
    let given = plan.schema().fields().len();
    match columns.last() {
        Some(last) if columns.len() != given => {
            let are = if columns.len() == 1 { "is" } else { "are" };
            let cause = format!("{} {are} named, but the query has {given}", counted(columns.len(), "column"));
            Err(Failure::user("SCHEMA_MISMATCH", cause).at(context.statement.place_of_ident(last)))
        }
        _ => Ok(()),
    }
}
