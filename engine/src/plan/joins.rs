//! Keeps joins right when their tasks see only a part of one input.
//!
//! A join that collects its left input gives every task all of it and a slice of the right one. That is right only for
//! join types whose output is driven by the right input. Ballista 55 knows this for hash joins, yet
//!
//! - joins without an equality (`a LEFT JOIN b ON a.x > b.y`, `WHERE EXISTS` with an inequality, FULL joins of that kind)
//!   become nested loops whose every task emits the unmatched rows of the left side: rows too many, without an error. Here
//!   both inputs are gathered, so that one task does the join. Inner ones are right as they are and stay parallel;
//! - `NOT IN (SELECT ...)` becomes a null-aware anti join, wrong in the static planner and refused by the adaptive one
//!   when its left side is large. Here it becomes an ordinary anti join and two counts, which any number of tasks can do;
//!   a correlated one becomes a nested loop.
//!
//! The rule runs last, and again in each pass: it finds its own work and leaves it alone.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, Extension, Join, LogicalPlan, LogicalPlanBuilder, col, lit};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::gather::Gather;

const ALL_ROWS: &str = "__selvedge_not_in_rows";
const KNOWN_ROWS: &str = "__selvedge_not_in_known";

/// The rule.
#[derive(Debug, Default)]
pub struct DistributableJoins;

impl OptimizerRule for DistributableJoins {
    fn name(&self) -> &str {
        "selvedge_distributable_joins"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
        if join.null_aware && join.on.len() == 1 {
            let plain = if join.filter.is_none() { plain_not_in(join)? } else { correlated_not_in(join) };
            return Ok(Transformed::yes(plain));
        }
        let loops = join.on.is_empty() && join.join_type != JoinType::Inner;
        if !loops || (is_gathered(&join.left) && is_gathered(&join.right)) {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let (left, right) = (gather(join.left), gather(join.right));
        Ok(Transformed::yes(LogicalPlan::Join(Join { left, right, ..join })))
    }
}

/// `l NOT IN (r)` keeps every row when there is no `r`; else those with a known `l`, no equal `r` and no unknown `r`.
fn plain_not_in(join: Join) -> Result<LogicalPlan> {
    let (l, r) = join.on[0].clone();
    let right = join.right.as_ref().clone();
    let columns: Vec<Expr> = join.left.schema().iter().map(|field| Expr::Column(Column::from(field))).collect();
    let counts = LogicalPlanBuilder::from(right.clone())
        .aggregate(Vec::<Expr>::new(), vec![count(lit(1_i64)).alias(ALL_ROWS), count(r.clone()).alias(KNOWN_ROWS)])?
        .build()?;
    let none = col(ALL_ROWS).eq(lit(0_i64));
    let known = col(ALL_ROWS).eq(col(KNOWN_ROWS)).and(l.clone().is_not_null());
    let candidates = LogicalPlanBuilder::from(join.left.as_ref().clone())
        .cross_join(counts)?
        .filter(none.or(known))?
        .project(columns)?
        .build()?;
    Ok(LogicalPlan::Join(Join { left: Arc::new(candidates), null_aware: false, ..join }))
}

/// With more conditions, each row of the left side has its own subquery: it stays when no row of that one is equal or
/// unknown. A nested loop, as it is nowhere anything better.
fn correlated_not_in(join: Join) -> LogicalPlan {
    let (l, r) = join.on[0].clone();
    let equal_or_unknown = Expr::IsNotFalse(Box::new(l.eq(r)));
    let filter = join.filter.map(|condition| condition.and(equal_or_unknown));
    LogicalPlan::Join(Join { on: Vec::new(), filter, null_aware: false, ..join })
}

fn gather(plan: Arc<LogicalPlan>) -> Arc<LogicalPlan> {
    if is_gathered(&plan) {
        return plan;
    }
    let node = Arc::new(Gather { input: Arc::unwrap_or_clone(plan) });
    Arc::new(LogicalPlan::Extension(Extension { node }))
}

/// Looks through what other rules may have put between a join and its gathered input.
fn is_gathered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<Gather>().is_some(),
        LogicalPlan::Projection(projection) => is_gathered(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_gathered(&alias.input),
        LogicalPlan::Filter(filter) => is_gathered(&filter.input),
        LogicalPlan::EmptyRelation(_) => true,
        _ => false,
    }
}
