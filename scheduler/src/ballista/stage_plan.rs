//! What a copy of a task needs of the graph: the plan and the partitions of a task that has ended or still runs.

use std::sync::Arc;

use ballista_core::execution_plans::SortShuffleWriterExec;
use ballista_core::serde::protobuf::TaskDefinition;
use ballista_core::serde::protobuf::task_status::Status;
use ballista_core::serde::scheduler::TaskKey;
use ballista_scheduler::state::execution_graph::TaskDescription;
use ballista_scheduler::state::execution_stage::{ExecutionStage, RunningStage, TaskInfo};
use datafusion::execution::config::SessionConfig;
use datafusion::physical_plan::ExecutionPlan;
use selvedge_engine::session::may_speculate;
use selvedge_engine::shuffle::is_repeatable;
use selvedge_model::TaskRef;
use selvedge_model::speculation::{RunningTask, slow};

use super::graph::{self, running_job};
use super::server::{Server, job};

/// A stage whose tasks have plans.
struct Planned<'a> {
    plan: &'a Arc<dyn ExecutionPlan>,
    session_config: &'a Arc<SessionConfig>,
    task_infos: &'a [TaskInfo],
}

fn planned<'a>(stage: &'a ExecutionStage, task: &TaskRef) -> Option<Planned<'a>> {
    let (plan, session_config, task_infos) = match stage {
        ExecutionStage::Running(stage) => (&stage.plan, &stage.session_config, &stage.task_infos),
        ExecutionStage::Successful(stage) => (&stage.plan, &stage.session_config, &stage.task_infos),
        _ => return None,
    };
    (graph::attempt(stage) == task.stage_attempt).then_some(Planned { plan, session_config, task_infos })
}

/// Whether a task may run again while the output of its first run is being read; none when its job is over.
pub(super) async fn repeatable(server: &Server, task: &TaskRef) -> Option<bool> {
    let job = running_job(server, &task.job_id)?;
    let graph = job.execution_graph.read().await;
    let stage = graph.stages().get(&(task.stage_id as usize)).and_then(|stage| planned(stage, task));
    Some(stage.is_some_and(|stage| is_repeatable(stage.plan)))
}

/// What an executor is given to run a task once more, under the name of the copy.
pub(super) async fn definition_of_copy(server: &Server, original: &TaskRef, copy: &TaskRef) -> Option<TaskDefinition> {
    let running = running_job(server, &original.job_id)?;
    let graph = running.execution_graph.read().await;
    let stage = planned(graph.stages().get(&(original.stage_id as usize))?, original)?;
    let info = stage.task_infos.iter().find(|info| info.task_id == original.task_id as usize)?;
    let description = TaskDescription {
        session_id: graph.session_id().to_owned(),
        key: TaskKey { job_id: job(&copy.job_id), stage_id: copy.stage_id as usize, task_id: copy.task_id as usize },
        stage_attempt_num: copy.stage_attempt as usize,
        task_attempt: 0,
        global_input_partition_ids: info.global_input_partition_ids.clone(),
        vcores_consumed: info.vcores_consumed.max(1),
        plan: stage.plan.clone(),
        session_config: stage.session_config.clone(),
    };
    let prepared = server.state.task_manager.prepare_task_definition(description);
    prepared.inspect_err(|error| tracing::error!(task = %original, %error, "a copy could not be prepared")).ok()
}

/// Running tasks that are far slower than their peers. Only of stages whose files any task may write:
/// those of ordered exchanges are cut by who wrote them.
pub(super) async fn slow_tasks(server: &Server, now_ms: u128) -> Vec<RunningTask> {
    let mut found = Vec::new();
    for (job_id, running) in server.state.task_manager.get_running_job_cache().iter() {
        let graph = running.execution_graph.read().await;
        for stage in graph.stages().values() {
            let ExecutionStage::Running(stage) = stage else { continue };
            let is_plain = stage.plan.is::<SortShuffleWriterExec>() || stage.output_links.is_empty();
            if is_plain && may_speculate(stage.session_config.options()) {
                found.extend(slow_of(job_id.as_str(), stage, now_ms));
            }
        }
    }
    found
}

fn slow_of(job_id: &str, stage: &RunningStage, now_ms: u128) -> Vec<RunningTask> {
    let (mut done_ms, mut running) = (Vec::new(), Vec::new());
    for info in &stage.task_infos {
        match &info.task_status {
            Status::Successful(_) => done_ms.push(info.end_exec_time.saturating_sub(info.start_exec_time) as u64),
            Status::Running(by) => {
                let task = graph::task_of_stage(job_id, stage, info.task_id);
                let ran_ms = now_ms.saturating_sub(info.scheduled_time) as u64;
                running.push(RunningTask { task, executor: by.executor_id.clone(), ran_ms });
            }
            Status::Failed(_) => {}
        }
    }
    let slow = slow(&done_ms, &running, stage.pending.remaining());
    slow.into_iter().cloned().collect()
}
