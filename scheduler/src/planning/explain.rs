//! `EXPLAIN`: the logical plan, then the stages as they will run. `EXPLAIN ANALYZE` of a query runs it: see the driver's
//! `analyze`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::logical_expr::LogicalPlan;
use selvedge_engine::error::classify;
use selvedge_engine::sql::StatementKind;
use selvedge_model::Failure;

use super::statement::{Context, dispatch};
use super::{Planned, adaptive, errors};
use crate::ballista::planned_stages;

pub(super) async fn explain(
    context: &Context<'_>,
    analyze: bool,
    verbose: bool,
    inner: &StatementKind,
) -> Result<Planned, Failure> {
    if analyze && !matches!(inner, StatementKind::Query(_)) {
        let cause = format!("EXPLAIN ANALYZE runs what it explains, and {} writes", inner.label());
        let hint = "EXPLAIN without ANALYZE shows its stages; after it has run, `selvedge runs show RUN` shows what each of \
                    them read, wrote and took.";
        return Err(Failure::user("NOT_SUPPORTED", cause).with_hint(hint));
    }
    let plan = match dispatch(context, inner).await? {
        Planned::Query { plan } if analyze => return Ok(Planned::Analyze { plan }),
        Planned::Query { plan } | Planned::Analyze { plan } => plan,
        Planned::Write(write) => write.plan,
        done @ (Planned::Done { .. } | Planned::Vacuum(_)) => return Ok(done),
    };
    // Physical planning lists files, and those of an earlier statement are not there yet.
    if context.planner.is_rehearsal() {
        return Ok(Planned::done("explained"));
    }
    let rows = rows(context, &plan, verbose).await?;
    Ok(Planned::Done { message: "explained".to_owned(), schema: rows.schema(), result: Some(vec![rows]) })
}

async fn rows(context: &Context<'_>, plan: &LogicalPlan, verbose: bool) -> Result<RecordBatch, Failure> {
    let fail = |e| errors::planning(context.planner, context.statement, &e);
    let mut state = context.state.clone();
    adaptive::decide(&mut state, plan, context.settings)?;
    let optimized = state.optimize(plan).map_err(fail)?;
    let mut rows = Vec::new();
    if verbose {
        rows.push(("initial_logical_plan".to_owned(), plan.display_indent_schema().to_string()));
    }
    rows.push(("logical_plan".to_owned(), optimized.display_indent().to_string()));
    let stages = planned_stages(&state, plan, verbose).await.map_err(fail)?;
    rows.extend(stages.into_iter().map(|stage| (format!("stage {}", stage.stage_id), stage.text)));
    if context.settings.adaptive().unwrap_or(false) {
        let note = "selvedge.planner.adaptive is on: the stages may be planned anew while they run";
        rows.push(("note".to_owned(), note.to_owned()));
    }
    let (kinds, plans): (Vec<String>, Vec<String>) = rows.into_iter().unzip();
    let text = |column: Vec<String>| Arc::new(StringArray::from(column)) as ArrayRef;
    RecordBatch::try_from_iter([("plan_type", text(kinds)), ("plan", text(plans))]).map_err(|e| classify(&e.into()))
}
