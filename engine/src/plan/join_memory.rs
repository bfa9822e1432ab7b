//! Chooses, for each distributed join, between hashing and sorting: hashing is faster, but its build side must fit into
//! memory, for hash joins cannot spill.
//!
//! Joins are planned as hash joins. Where one task's share of the build side is estimated to be larger than
//! `selvedge.planner.hash_join_build_bytes`, or cannot be estimated at all, [`SpillableJoins`] makes it a sort-merge join,
//! which spills. Estimates can be wrong; a statement that ran out of memory is planned again with a limit of zero.
//!
//! That rule runs right after DataFusion has chosen build sides, and before it adds the exchanges and sorts that joins ask
//! for. A join against a small side, which every task gets whole, stays one where Ballista will run it so. Where Ballista
//! would distribute it after all, it would do so with two exchanges more and blind to what is partitioned already; so it is
//! done here: for its kind of join at once, for the size of its build side by [`LargeBroadcasts`], last of all, when that
//! is estimated as Ballista will.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, Statistics};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::ensure_requirements::EnsureRequirements;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode, SortMergeJoinExec};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use crate::session::{broadcast_limit, hash_join_build_bytes};

const BUILD_SIDES_ARE_CHOSEN: &str = "join_selection";
/// Bytes of a hash table for each row: its hash, and its place in a chain.
const TABLE_BYTES_PER_ROW: u64 = 24;
/// Bytes taken for a value of variable length.
const VARIABLE_BYTES: u64 = 32;

/// DataFusion's physical optimizer rules, and ours in its place.
pub fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    let after = rules.iter().position(|rule| rule.name() == BUILD_SIDES_ARE_CHOSEN).map_or(0, |index| index + 1);
    rules.insert(after, Arc::new(SpillableJoins));
    rules.push(Arc::new(LargeBroadcasts));
    rules
}

/// See the module.
#[derive(Debug, Default)]
struct SpillableJoins;

impl PhysicalOptimizerRule for SpillableJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let tasks = config.execution.target_partitions.max(1) as u64;
        let limit = hash_join_build_bytes(config);
        plan.transform_up(|node| {
            let Some(join) = node.downcast_ref::<HashJoinExec>() else { return Ok(Transformed::no(node)) };
            // Null-aware joins have no other form.
            if join.null_aware || join.contains_projection() || is_broadcast(join) {
                return Ok(Transformed::no(node));
            }
            let share = build_bytes(join.left().as_ref()).map(|bytes| bytes / tasks);
            Ok(Transformed::yes(match share {
                Some(share) if share <= limit => {
                    join.builder().with_partition_mode(PartitionMode::Partitioned).build_exec()?
                }
                _ => sort_merge(join)?,
            }))
        })
        .data()
    }

    fn name(&self) -> &str {
        "selvedge_spillable_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// See the module.
#[derive(Debug, Default)]
struct LargeBroadcasts;

impl PhysicalOptimizerRule for LargeBroadcasts {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let limit = broadcast_limit(config) as u64;
        let distributed = plan.transform_up(|node| match node.downcast_ref::<HashJoinExec>() {
            Some(join) if !join.null_aware && is_broadcast(join) && !is_below(join.left().as_ref(), limit) => {
                Ok(Transformed::yes(distribute(join)?))
            }
            _ => Ok(Transformed::no(node)),
        })?;
        match distributed.transformed {
            true => EnsureRequirements::new().optimize(distributed.data, config),
            false => Ok(distributed.data),
        }
    }

    fn name(&self) -> &str {
        "selvedge_large_broadcasts"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether Ballista could give the whole build side to every task: no row of it is put out for itself.
fn is_broadcast(join: &HashJoinExec) -> bool {
    use JoinType::{Inner, Right, RightAnti, RightMark, RightSemi};
    let driven_by_probe_side = matches!(join.join_type(), Inner | Right | RightSemi | RightAnti | RightMark);
    *join.partition_mode() == PartitionMode::CollectLeft && driven_by_probe_side
}

/// Whether a build side is known to be small: Ballista's own estimate (`broadcast_size_under_threshold` of its planner).
fn is_below(build: &dyn ExecutionPlan, limit: u64) -> bool {
    let Some(statistics) = statistics(build) else { return false };
    let by_rows = || {
        let rows = statistics.num_rows.get_value().filter(|rows| **rows > 0)?;
        Some(*rows as u64 * row_bytes(&build.schema()).max(8))
    };
    let bytes = statistics.total_byte_size.get_value().filter(|bytes| **bytes > 0).map(|bytes| *bytes as u64);
    bytes.or_else(by_rows).is_some_and(|bytes| bytes < limit)
}

/// The same join with both sides divided among tasks.
fn distribute(join: &HashJoinExec) -> Result<Arc<dyn ExecutionPlan>> {
    let build = match join.left().downcast_ref::<CoalescePartitionsExec>() {
        Some(gathered) => Arc::clone(gathered.input()),
        None => Arc::clone(join.left()),
    };
    let sides = vec![build, Arc::clone(join.right())];
    join.builder().with_partition_mode(PartitionMode::Partitioned).with_new_children(sides)?.build_exec()
}

/// Memory for all of a build side, as far as it can be estimated.
fn build_bytes(build: &dyn ExecutionPlan) -> Option<u64> {
    let rows = *statistics(build)?.num_rows.get_value()? as u64;
    Some(rows.saturating_mul(row_bytes(&build.schema()) + TABLE_BYTES_PER_ROW))
}

fn statistics(plan: &dyn ExecutionPlan) -> Option<Arc<Statistics>> {
    StatisticsContext::new().compute(plan, &StatisticsArgs::new()).ok()
}

fn row_bytes(schema: &Schema) -> u64 {
    schema.fields().iter().map(|field| width(field.data_type())).sum()
}

fn width(data_type: &DataType) -> u64 {
    match data_type {
        DataType::Boolean => 1,
        DataType::FixedSizeBinary(width) => u64::try_from(*width).unwrap_or(VARIABLE_BYTES),
        other => other.primitive_width().map_or(VARIABLE_BYTES, |width| width as u64),
    }
}

fn sort_merge(join: &HashJoinExec) -> Result<Arc<dyn ExecutionPlan>> {
    let on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)> = join.on().to_vec();
    let order = vec![SortOptions::default(); on.len()];
    Ok(Arc::new(SortMergeJoinExec::try_new(
        Arc::clone(join.left()),
        Arc::clone(join.right()),
        on,
        join.filter().cloned(),
        *join.join_type(),
        order,
        join.null_equality(),
    )?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Engine, EngineOptions, Settings};
    use crate::store::{Location, StoreOptions};
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::SessionContext;

    const HASH_BYTES: &str = "selvedge.planner.hash_join_build_bytes";
    const BROADCAST_BYTES: &str = "ballista.optimizer.broadcast_join_threshold_bytes";

    async fn plan(join: &str, set: &[(&str, &str)]) -> String {
        let options = EngineOptions {
            store: StoreOptions::default(),
            warehouse: Location::parse("/tmp").unwrap(),
            memory_bytes: None,
            spill_dir: None,
            spill_limit_bytes: None,
            target_partitions: 4,
        };
        let mut settings = Settings::new();
        for (key, value) in set {
            settings.set(key, value).unwrap();
        }
        let context = SessionContext::new_with_state(Engine::new(options).unwrap().session(&settings).unwrap());
        let sql = format!(
            "SELECT l.k, r.v FROM (SELECT 1 AS k UNION ALL SELECT 2) l {join} (VALUES (1, 'x')) r(k, v) ON l.k = r.k"
        );
        let plan = context.sql(&sql).await.unwrap().create_physical_plan().await.unwrap();
        displayable(plan.as_ref()).indent(false).to_string()
    }

    #[tokio::test]
    async fn only_a_build_side_known_to_fit_is_hashed() {
        // Nothing is small enough to be given whole to every task.
        let no_broadcast = [
            ("datafusion.optimizer.hash_join_single_partition_threshold", "0"),
            ("datafusion.optimizer.hash_join_single_partition_threshold_rows", "0"),
        ];
        let small = plan("JOIN", &[&[(HASH_BYTES, "1KiB")], &no_broadcast[..]].concat()).await;
        assert!(small.contains("HashJoinExec: mode=Partitioned"), "{small}");
        let large = plan("JOIN", &[&[(HASH_BYTES, "0")], &no_broadcast[..]].concat()).await;
        assert!(large.contains("SortMergeJoinExec") && large.contains("SortExec"), "{large}");
    }

    #[tokio::test]
    async fn a_broadcast_that_would_be_undone_later_is_not_planned() {
        let kept = plan("JOIN", &[]).await;
        assert!(kept.contains("mode=CollectLeft"), "{kept}");
        let too_large = plan("JOIN", &[(BROADCAST_BYTES, "1")]).await;
        let outer = plan("FULL JOIN", &[]).await;
        for plan in [too_large, outer] {
            assert!(plan.contains("mode=Partitioned") && !plan.contains("CoalescePartitionsExec"), "{plan}");
        }
    }

    #[test]
    fn rows_are_as_wide_as_their_types() {
        use arrow::datatypes::Field;
        let types = [DataType::Int64, DataType::Date32, DataType::Decimal128(15, 2), DataType::Utf8, DataType::Boolean];
        let schema = Schema::new(types.map(|t| Field::new("c", t, true)).to_vec());
        assert_eq!(row_bytes(&schema), 8 + 4 + 16 + VARIABLE_BYTES + 1);
    }
}
