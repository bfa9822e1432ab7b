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
//! [`PlainNotIn`] runs right after subqueries became joins, while the condition still says which equality is the `IN`;
//! [`GatherLoops`] runs last. Both run again in each pass: they find their own work and leave it alone.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Extension, Join, LogicalPlan, LogicalPlanBuilder, Operator, col, lit,
};
use datafusion::optimizer::optimizer::{ApplyOrder, Optimizer};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::gather::Gather;

const ALL_ROWS: &str = "__selvedge_not_in_rows";
const KNOWN_ROWS: &str = "__selvedge_not_in_known";
const SUBQUERIES_BECOME_JOINS: &str = "decorrelate_predicate_subquery";

/// DataFusion's optimizer rules, and ours in their places.
pub fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    let after = rules.iter().position(|rule| rule.name() == SUBQUERIES_BECOME_JOINS).map_or(0, |index| index + 1);
    rules.insert(after, Arc::new(PlainNotIn));
    rules.push(Arc::new(GatherLoops));
    rules
}

/// Rewrites null-aware anti joins.
#[derive(Debug, Default)]
struct PlainNotIn;

impl OptimizerRule for PlainNotIn {
    fn name(&self) -> &str {
        "selvedge_plain_not_in"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
        let conditions = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
        // The optimizer puts the equality of the `IN` first.
        let Some((Expr::BinaryExpr(BinaryExpr { left: l, op: Operator::Eq, right: r }), rest)) =
            conditions.split_first()
        else {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        };
        if !join.null_aware || !join.on.is_empty() {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let (l, r) = (l.as_ref().clone(), r.as_ref().clone());
        Ok(Transformed::yes(match conjunction(rest.to_vec()) {
            None => not_in(join, l, r)?,
            Some(rest) => correlated_not_in(join, l, r, rest),
        }))
    }
}

/// Gives nested loops that are not inner joins to one task.
#[derive(Debug, Default)]
struct GatherLoops;

impl OptimizerRule for GatherLoops {
    fn name(&self) -> &str {
        "selvedge_gather_loops"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
        let loops = join.on.is_empty() && join.join_type != JoinType::Inner;
        if !loops || (is_gathered(&join.left) && is_gathered(&join.right)) {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let (left, right) = (gather(join.left), gather(join.right));
        Ok(Transformed::yes(LogicalPlan::Join(Join { left, right, ..join })))
    }
}

/// `l NOT IN (r)` keeps every row when there is no `r`; else those with a known `l`, no equal `r` and no unknown `r`.
fn not_in(join: Join, l: Expr, r: Expr) -> Result<LogicalPlan> {
    let right = join.right.as_ref().clone();
    let columns: Vec<Expr> = join.left.schema().iter().map(|field| Expr::Column(Column::from(field))).collect();
    let counts = LogicalPlanBuilder::from(right.clone())
        .aggregate(Vec::<Expr>::new(), vec![count(lit(1_i64)).alias(ALL_ROWS), count(r).alias(KNOWN_ROWS)])?
        .build()?;
    let none = col(ALL_ROWS).eq(lit(0_i64));
    let known = col(ALL_ROWS).eq(col(KNOWN_ROWS)).and(l.is_not_null());
    let candidates = LogicalPlanBuilder::from(join.left.as_ref().clone())
        .cross_join(counts)?
        .filter(none.or(known))?
        .project(columns)?
        .build()?;
    Ok(LogicalPlan::Join(Join { left: Arc::new(candidates), null_aware: false, ..join }))
}

/// With more conditions, each row of the left side has its own subquery: it stays when no row of that one is equal or
/// unknown. Equalities among the other conditions make it a hash join; without one it is a nested loop.
fn correlated_not_in(join: Join, l: Expr, r: Expr, rest: Expr) -> LogicalPlan {
    let filter = Some(Expr::IsNotFalse(Box::new(l.eq(r))).and(rest));
    LogicalPlan::Join(Join { filter, null_aware: false, ..join })
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
