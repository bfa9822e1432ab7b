//! `EXPLAIN`: shows the logical plan, and the physical one as a single process would run it.

use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::collect;
use selvedge_engine::error::classify;
use selvedge_engine::sql::StatementKind;
use selvedge_model::Failure;

use super::statement::{Context, dispatch};
use super::{Planned, errors};

pub(super) async fn explain(
    context: &Context<'_>,
    analyze: bool,
    verbose: bool,
    inner: &StatementKind,
) -> Result<Planned, Failure> {
    if analyze {
        let hint = "Run the statement: `selvedge runs show` tells what each of its stages read, wrote and took.";
        return Err(Failure::user("NOT_SUPPORTED", "EXPLAIN ANALYZE is not supported yet").with_hint(hint));
    }
    let plan = match dispatch(context, inner).await? {
        Planned::Query { plan } => plan,
        Planned::Write(write) => write.plan,
        done @ Planned::Done { .. } => return Ok(done),
    };
    // Physical planning lists files, and those of an earlier statement are not there yet.
    if context.planner.is_rehearsal() {
        return Ok(Planned::done("explained"));
    }
    let fail = |e| errors::planning(context.planner, context.statement, &e);
    let plan = explained(plan, verbose)?;
    let physical = context.state.create_physical_plan(&plan).await.map_err(fail)?;
    let schema = physical.schema();
    let rows = collect(physical, context.state.task_ctx()).await.map_err(fail)?;
    Ok(Planned::Done { message: "explained".to_owned(), result: Some(rows), schema })
}

fn explained(plan: LogicalPlan, verbose: bool) -> Result<LogicalPlan, Failure> {
    LogicalPlanBuilder::from(plan).explain(verbose, false).and_then(LogicalPlanBuilder::build).map_err(|e| classify(&e))
}
