//! Which stages give the same rows in the same partitions when they are run again.
//!
//! A lost output is made again while other readers have read, or still read, partitions of the first one. If the second time
//! a row could come out differently, or in another partition, some rows would be read twice and others never. So only what
//! is known to be a function of its inputs passes; anything not named here does not. The order of rows may differ: batches
//! of a shuffle arrive in any order, and nothing that passes depends on it, except the last digits of sums of floating
//! point numbers, which pass only where they cannot decide a row's partition.

use std::sync::Arc;

use arrow::datatypes::DataType;
use ballista_core::execution_plans::{ShuffleReaderExec, ShuffleWriterExec, SortShuffleWriterExec};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::unnest::UnnestExec;

use crate::plan::GatherExec;

/// Aggregates that give the same for the same rows in any order, over types that add up exactly.
const EXACT: [&str; 10] = ["count", "sum", "min", "max", "avg", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor"];

/// Whether a stage may be run again while the output of the first time is being read. See the module.
pub fn is_repeatable(plan: &Arc<dyn ExecutionPlan>) -> bool {
    is_function(plan.as_ref()) && !has_volatile(plan.as_ref()) && plan.children().into_iter().all(is_repeatable)
}

/// Whether an operator's rows depend on its input's rows alone, not on their order.
fn is_function(node: &dyn ExecutionPlan) -> bool {
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        return is_exact(aggregate);
    }
    // Which rows a limit keeps depends on their order, also where it is an operator's own.
    if node.fetch().is_some() {
        return false;
    }
    node.is::<DataSourceExec>()
        || node.is::<ShuffleReaderExec>()
        || node.is::<SortShuffleWriterExec>()
        || node.is::<ShuffleWriterExec>()
        || node.is::<FilterExec>()
        || node.is::<ProjectionExec>()
        || node.is::<UnionExec>()
        || node.is::<UnnestExec>()
        || node.is::<SortExec>()
        || node.is::<SortPreservingMergeExec>()
        || node.is::<CoalescePartitionsExec>()
        || node.is::<GatherExec>()
        || node.is::<CooperativeExec>()
        || node.is::<HashJoinExec>()
        || node.is::<SortMergeJoinExec>()
        || node.is::<NestedLoopJoinExec>()
        || node.is::<CrossJoinExec>()
        || node.is::<EmptyExec>()
        || node.is::<PlaceholderRowExec>()
}

fn is_exact(aggregate: &AggregateExec) -> bool {
    if aggregate.limit_options().is_some() {
        return false;
    }
    // A partial aggregate's rows go by their groups; what is counted so far decides nothing.
    let decides_nothing = matches!(aggregate.mode(), AggregateMode::Partial);
    decides_nothing || aggregate.aggr_expr().iter().all(|function| adds_up(function))
}

fn adds_up(function: &AggregateFunctionExpr) -> bool {
    let counts = function.fun().name() == "count";
    let exact = |data_type: &DataType| !data_type.is_floating() && !data_type.is_nested();
    EXACT.contains(&function.fun().name()) && (counts || exact(function.field().data_type()))
}

fn has_volatile(node: &dyn ExecutionPlan) -> bool {
    let mut found = false;
    let visited = node.apply_expressions(&mut |expr| {
        found |= is_volatile(expr);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found || visited.is_err()
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    async fn judge(sql: &str) -> bool {
        let config = SessionConfig::new().with_target_partitions(1).with_round_robin_repartition(false);
        let context = SessionContext::new_with_config(config);
        context
            .sql("CREATE TABLE t (k INT, d DOUBLE, m DECIMAL(12, 2), s VARCHAR) AS VALUES (1, 1.5, 2.5, 'a')")
            .await
            .unwrap();
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        is_repeatable(&plan)
    }

    #[tokio::test]
    async fn what_depends_on_order_or_chance_is_not_repeated() {
        for (sql, expected) in [
            ("SELECT k + 1, upper(s) FROM t WHERE m > 1", true),
            ("SELECT k, sum(m), count(d), min(s) FROM t GROUP BY k", true),
            ("SELECT a.k FROM t a JOIN t b ON a.k = b.k AND a.m < b.m ORDER BY 1", true),
            ("SELECT k FROM t UNION ALL SELECT k FROM t", true),
            ("SELECT k, random() FROM t", false),
            ("SELECT k FROM t WHERE random() < 0.5", false),
            ("SELECT k FROM t LIMIT 3", false),
            ("SELECT k FROM t ORDER BY k LIMIT 3", false),
            ("SELECT k, row_number() OVER (PARTITION BY s ORDER BY k) FROM t", false),
            ("SELECT k, sum(d) FROM t GROUP BY k", false),
            ("SELECT s, first_value(k) FROM t GROUP BY s", false),
            ("SELECT s, array_agg(k) FROM t GROUP BY s", false),
        ] {
            assert_eq!(judge(sql).await, expected, "{sql}");
        }
    }
}
