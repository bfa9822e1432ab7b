//! Decides whether a plan may be re-planned while it runs (Ballista's adaptive planner): only when the script asks for it,
//! and where an input that turns out empty cannot make that planner add one exchange after another without end.
//!
//! Those are windows with `PARTITION BY` and every join but an inner one. See docs/adr/0008.

use datafusion::common::JoinType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use selvedge_engine::error::classify;
use selvedge_engine::session::{ADAPTIVE_PLANNER_KEY, Settings};
use selvedge_model::Failure;

/// Sets the session to what the plan allows and the settings ask for.
pub(super) fn decide(state: &mut SessionState, plan: &LogicalPlan, settings: &Settings) -> Result<(), Failure> {
    let asked = settings.adaptive().unwrap_or(false);
    let adaptive = asked && !may_loop(&state.optimize(plan).map_err(|e| classify(&e))?)?;
    let options = state.config_mut().options_mut();
    options.set(ADAPTIVE_PLANNER_KEY, &adaptive.to_string()).map_err(|e| classify(&e))
}

/// Judges an optimized plan: before that, `NOT EXISTS` and its like are no joins yet.
fn may_loop(plan: &LogicalPlan) -> Result<bool, Failure> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= match node {
            LogicalPlan::Window(window) => window.window_expr.iter().any(is_partitioned),
            LogicalPlan::Join(join) => join.join_type != JoinType::Inner,
            _ => false,
        };
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })
    .map_err(|e| classify(&e))?;
    Ok(found)
}

fn is_partitioned(expr: &Expr) -> bool {
    match expr {
        Expr::WindowFunction(function) => {
            let WindowFunction { params, .. } = function.as_ref();
            !params.partition_by.is_empty()
        }
        Expr::Alias(alias) => is_partitioned(&alias.expr),
        _ => false,
    }
}
