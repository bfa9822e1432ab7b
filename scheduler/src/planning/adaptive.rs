//! Decides whether a plan may be re-planned while it runs (Ballista's adaptive planner).
//!
//! It may not where a window function has `PARTITION BY`: on input that turns out empty, the adaptive planner adds one
//! exchange after another without end (bug A in the notes on Ballista 55).

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use selvedge_engine::error::classify;
use selvedge_engine::session::Settings;
use selvedge_model::Failure;

/// Ballista's own name for it; the tests hold it to what Ballista reads.
const ADAPTIVE: &str = "ballista.planner.adaptive.enabled";

/// Sets the session to what the plan allows and the settings ask for.
pub(super) fn decide(state: &mut SessionState, plan: &LogicalPlan, settings: &Settings) -> Result<(), Failure> {
    let adaptive = match has_partitioned_window(plan)? {
        true => Some(false),
        false => settings.adaptive(),
    };
    let Some(adaptive) = adaptive else { return Ok(()) };
    let options = state.config_mut().options_mut();
    options.set(ADAPTIVE, &adaptive.to_string()).map_err(|e| classify(&e))
}

fn has_partitioned_window(plan: &LogicalPlan) -> Result<bool, Failure> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Window(window) = node {
            found |= window.window_expr.iter().any(is_partitioned);
        }
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
