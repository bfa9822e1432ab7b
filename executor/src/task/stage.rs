//! One task's plan made ready to run: decoded, its shuffle readers replaced, its streams guarded, its files named after the
//! attempt. Running it is left to `exchange.rs` or to Ballista's default engine; `run.rs` calls it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::JobId;
use ballista_core::extension::SessionConfigHelperExt;
use ballista_core::serde::protobuf::{OperatorMetricsSet, ShuffleWritePartition, SuccessfulTask, TaskDefinition};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use selvedge_engine::catalog::prepare_scans;
use selvedge_engine::session::shuffle_durability;
use selvedge_engine::shuffle::{MissingOutputs, companions, data_path, is_repeatable, replace_readers, task_dir};
use selvedge_model::durability::{Copying, copying};
use selvedge_model::{Failure, TaskRef};
use tokio_util::sync::CancellationToken;

use super::TaskRunner;
use super::exchange::Exchange;
use super::failure::failure_of;
use super::guard::{Cause, guard};
use super::progress::{Progress, stalled};

/// A task's plan, ready to run.
pub(super) struct Stage {
    executor: Arc<dyn QueryStageExecutor>,
    context: Arc<TaskContext>,
    task: TaskRef,
    cause: Cause,
    /// Whether its output could be made again while it is being read.
    is_repeatable: bool,
    /// Whether its output goes to no other stage by an exchange.
    is_final: bool,
    progress: Progress,
    stall_timeout: Duration,
    missing: Arc<MissingOutputs>,
    /// Ends its streams, when it hangs or is told to stop.
    halt: CancellationToken,
}

impl Stage {
    /// Decodes a task.
    pub(super) fn prepare(runner: &TaskRunner, definition: &TaskDefinition, stop: &CancellationToken) -> Result<Self> {
        let task = super::status::task_ref(definition);
        crate::fault::reach(&definition.plan);
        let context = Arc::new(task_context(runner, definition));
        let plan =
            PhysicalPlanNode::try_decode(&definition.plan)?.try_into_physical_plan(&context, runner.codec.as_ref())?;
        let cause = Cause::default();
        let is_repeatable = is_repeatable(&plan);
        let plan = replace_readers(prepare_scans(plan)?, runner.shuffle.clone())?;
        // What a join's build side holds narrows the scan beside it. The scheduler cannot plan this: such a filter is shared
        // memory, and lives in one task.
        let plan = FilterPushdown::new_post_optimization().optimize(plan, context.session_config().options())?;
        let (halt, progress) = (stop.child_token(), Progress::default());
        let plan = guard(plan, &halt, &cause, &progress)?;
        let data = data_path(&task, 0, Some(task.task_id.into()), true)?;
        let exchange = Exchange::for_stage(&plan, runner.shuffle_dir.join(data));
        let is_final = exchange.is_none();
        let executor: Arc<dyn QueryStageExecutor> = match exchange {
            Some(exchange) => Arc::new(exchange),
            None => DefaultExecutionEngine::new().create_query_stage_exec(
                JobId::from(task.job_id.clone()),
                definition.stage_id as usize,
                definition.task_id as usize,
                definition.global_output_partition_ids.iter().map(|id| *id as usize).collect(),
                plan,
                &runner.shuffle_dir.join(task_dir(&task)).to_string_lossy(),
                context.session_config(),
            )?,
        };
        let (stall_timeout, missing) = (runner.stall_timeout, runner.missing.clone());
        Ok(Self { executor, context, task, cause, is_repeatable, is_final, progress, stall_timeout, missing, halt })
    }

    /// Runs it to its end. What an operator gave as the reason comes before what the writer made of it.
    pub(super) async fn execute(&self) -> Result<Vec<ShuffleWritePartition>, Failure> {
        let execution = self.executor.execute_query_stage(self.task.task_id as usize, self.context.clone());
        let written = tokio::select! {
            written = execution => written,
            () = self.progress.stalled(self.stall_timeout, || self.waits_for_outputs()) => {
                self.halt.cancel();
                return Err(stalled(self.stall_timeout));
            }
        };
        written.map_err(|e| self.cause.get().cloned().unwrap_or_else(|| failure_of(&e)))
    }

    /// Whether it waits for another task's output that is being made again: however long that takes, it does not hang.
    fn waits_for_outputs(&self) -> bool {
        self.missing.waits(&self.context.task_id().unwrap_or_default())
    }

    /// What it reports besides its files.
    pub(super) fn success(&self, executor_id: &str, partitions: Vec<ShuffleWritePartition>) -> Result<SuccessfulTask> {
        Ok(SuccessfulTask {
            executor_id: executor_id.to_owned(),
            partitions,
            runtime_stats: self.executor.collect_runtime_stats_reports(),
            window_state: self.executor.collect_window_state_reports()?,
            task_column_stats: self.executor.collect_column_stats(),
        })
    }

    /// When its output is copied to the shuffle location, if it took so long to make.
    pub(super) fn copying(&self, cost_ms: u64) -> Copying {
        let durability = shuffle_durability(self.context.session_config().options());
        copying(durability, self.is_repeatable, self.is_final, cost_ms)
    }

    /// What its operators measured, from the writer down.
    pub(super) fn metrics(&self) -> Vec<MetricsSet> {
        self.executor.collect_plan_metrics()
    }

    /// The files it wrote, relative to `shuffle_dir`, and their bytes.
    pub(super) fn files(&self, shuffle_dir: &Path, partitions: &[ShuffleWritePartition]) -> Result<(Vec<String>, u64)> {
        let mut files: Vec<String> = Vec::new();
        for partition in partitions {
            let number = partition.partition_id as usize;
            let data = data_path(&self.task, number, partition.file_id, partition.is_sort_shuffle)?;
            // All partitions of a sort shuffle are in one file.
            if files.contains(&data) {
                continue;
            }
            let beside = companions(&data).into_iter().filter(|path| shuffle_dir.join(path).exists());
            files.extend(beside.chain([data]));
        }
        let sizes = files.iter().map(|file| std::fs::metadata(shuffle_dir.join(file)).map(|m| m.len()));
        let bytes = sizes.sum::<std::io::Result<u64>>()?;
        Ok((files, bytes))
    }
}

/// Metrics on the wire; a set that cannot be told stays empty, so that the others keep their places.
pub(super) fn encode_metrics(sets: Vec<MetricsSet>) -> Vec<OperatorMetricsSet> {
    sets.into_iter().map(|set| set.try_into().unwrap_or_default()).collect()
}

fn task_context(runner: &TaskRunner, definition: &TaskDefinition) -> TaskContext {
    let TaskDefinition { job_id, stage_id, stage_attempt_num, task_id, task_attempt_num, .. } = definition;
    let session = &runner.session;
    TaskContext::new(
        Some(format!("TID {job_id}/{stage_id}.{stage_attempt_num}/{task_id}.{task_attempt_num}")),
        definition.session_id.clone(),
        session
            .config()
            .clone()
            .update_from_key_value_pair(&definition.props)
            .set_bool("datafusion.optimizer.enable_dynamic_filter_pushdown", true),
        session.scalar_functions().clone(),
        session.higher_order_functions().clone(),
        session.aggregate_functions().clone(),
        session.window_functions().clone(),
        runner.engine.runtime(),
    )
}
