//! `CREATE VIEW`, and views planned anew from what the store kept of them.

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use selvedge_engine::catalog::ViewDef;
use selvedge_engine::error::classify;
use selvedge_engine::session::Settings;
use selvedge_engine::sql::CreateView;
use selvedge_model::Failure;
use selvedge_model::words::counted;

use super::statement::{self, Context};
use super::{Planned, Planner, names, query};

pub(super) async fn create(context: &Context<'_>, create: &CreateView) -> Result<Planned, Failure> {
    let name = names::table(context.statement, &create.name)?;
    if create.if_not_exists && names::in_schemas(context.planner).contains(&name) {
        return Ok(Planned::done(format!("view {name} was there already")));
    }
    let plan = query::checked(context, &create.source).await?;
    query::check_names(context, &create.columns, &plan)?;
    let columns: Vec<String> = create.columns.iter().map(names::ident).collect();
    let plan = Ok(renamed(plan, &columns)?);
    let view = ViewDef { name: name.clone(), sql: create.source.to_string(), plan };
    context.planner.catalog.create_view(view, columns, create.or_replace).await?;
    Ok(Planned::done(format!("view {name} is created")))
}

impl Planner {
    /// Plans a view's query again. `columns` are the new names for its columns, or none.
    ///
    /// # Errors
    /// What the query needs is not there, or no longer as it was.
    pub fn plan_view<'a>(&'a self, sql: &'a str, columns: &'a [String]) -> BoxFuture<'a, Result<LogicalPlan, Failure>> {
        async move {
            let state = statement::session(self, &Settings::new())?;
            let plan = state.create_logical_plan(sql).await.map_err(|e| classify(&e))?;
            query::read_only(&plan)?;
            renamed(plan, columns)
        }
        .boxed()
    }
}

fn renamed(plan: LogicalPlan, columns: &[String]) -> Result<LogicalPlan, Failure> {
    let given = plan.schema().fields().len();
    if columns.is_empty() {
        return Ok(plan);
    }
    if columns.len() != given {
        let are = if columns.len() == 1 { "is" } else { "are" };
        let cause = format!("{} {are} named, but the query has {given}", counted(columns.len(), "column"));
        return Err(Failure::user("SCHEMA_MISMATCH", cause));
    }
    let column =
        |(i, name): (usize, &String)| Expr::Column(Column::from(plan.schema().qualified_field(i))).alias(name.clone());
    let exprs: Vec<Expr> = columns.iter().enumerate().map(column).collect();
    LogicalPlanBuilder::from(plan).project(exprs).and_then(LogicalPlanBuilder::build).map_err(|e| classify(&e))
}
