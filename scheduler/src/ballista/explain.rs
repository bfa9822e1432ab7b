//! The stages that a plan becomes, for `EXPLAIN`: cut by the planner that cuts a job's, and shown as text.

use ballista_core::error::BallistaError;
use ballista_core::execution_plans::ShuffleWriter;
use ballista_scheduler::planner::{DefaultDistributedPlanner, DistributedPlanner as _};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{Partitioning, displayable};

use super::describe::sources;
use super::{failures, server};

/// A stage that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStage {
    /// Its number within the job.
    pub stage_id: u32,
    /// What it reads, how it is partitioned, its operators.
    pub text: String,
}

/// Cuts a plan into stages as a job of it would be, in the order in which they run.
///
/// # Errors
/// Whatever keeps the plan from running.
pub async fn planned_stages(
    state: &SessionState,
    plan: &LogicalPlan,
    verbose: bool,
) -> Result<Vec<PlannedStage>, DataFusionError> {
    let physical = state.create_physical_plan(plan).await?;
    let mut planner = DefaultDistributedPlanner::new();
    let cut = planner.plan_query_stages(&server::job("explain"), physical, state.config_options());
    let writers = cut.map_err(|error| match error {
        BallistaError::DataFusionError(error) => *error,
        other => DataFusionError::External(Box::new(failures::of_job(&other.to_string()))),
    })?;
    let mut stages: Vec<PlannedStage> = writers
        .iter()
        .map(|writer| PlannedStage { stage_id: writer.stage_id() as u32, text: text(writer.as_ref(), verbose) })
        .collect();
    stages.sort_by_key(|stage| stage.stage_id);
    Ok(stages)
}

fn text(writer: &dyn ShuffleWriter, verbose: bool) -> String {
    let Some(root) = writer.children().into_iter().next().cloned() else { return String::new() };
    let tasks = root.properties().output_partitioning().partition_count();
    let out = match writer.shuffle_output_partitioning() {
        Some(Partitioning::Hash(keys, count)) => {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            format!("{count} out by hash of {}", keys.join(", "))
        }
        Some(other) => format!("{} out", other.partition_count()),
        None => format!("{tasks} out"),
    };
    let inputs = match sources(root.as_ref()).as_slice() {
        [] => "none".to_owned(),
        sources => sources.join(", "),
    };
    // What stands for a stage to come is a reader of its shuffle by the time it runs.
    let operators =
        displayable(root.as_ref()).indent(verbose).to_string().replace("UnresolvedShuffle", "ShuffleReader");
    format!("inputs: {inputs}\npartitions: {tasks} in, {out}\n{}", operators.trim_end())
}
