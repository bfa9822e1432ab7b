//! A stage that ends in an exchange, run by our own writer; others are left to Ballista's engine (`stage.rs`).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::execution_plans::collect_runtime_stats_reports;
use ballista_core::serde::protobuf::{RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats};
use ballista_core::utils::collect_plan_metrics;
use ballista_executor::execution_engine::QueryStageExecutor;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use selvedge_engine::shuffle::ExchangeWriter;

/// One task of such a stage.
#[derive(Debug)]
pub(super) struct Exchange {
    plan: Arc<dyn ExecutionPlan>,
    writer: ExchangeWriter,
    path: PathBuf,
}

impl Exchange {
    /// For a plan that ends in an exchange; `path` is its data file.
    pub(super) fn for_stage(plan: &Arc<dyn ExecutionPlan>, path: PathBuf) -> Option<Self> {
        let writer = ExchangeWriter::for_stage(plan.as_ref())?;
        Some(Self { plan: plan.clone(), writer, path })
    }
}

#[async_trait]
impl QueryStageExecutor for Exchange {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        self.writer.write(&self.path, task_id as u64, context).await
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        let below = self.plan.children().into_iter().flat_map(|child| collect_plan_metrics(child.as_ref()));
        std::iter::once(self.writer.metrics()).chain(below).collect()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        // They guide later stages, nothing more: the task is well without them.
        collect_runtime_stats_reports(&self.plan).unwrap_or_else(|cause| {
            tracing::warn!(%cause, "cannot collect statistics of a task");
            Vec::new()
        })
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.writer.column_stats()
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange: {}", self.path.display())
    }
}
