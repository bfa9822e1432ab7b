//! Reads Ballista's execution graphs: which task runs where, how a job stands, what its stages look like.
//!
//! The graph is the truth about who was given what. Nothing here changes it, and no lock is held across two graphs.

use std::collections::{BTreeMap, BTreeSet};

use ballista_core::serde::protobuf::task_status::Status;
use ballista_scheduler::state::execution_stage::{ExecutionStage, RunningStage, TaskInfo};
use ballista_scheduler::state::task_manager::JobInfoCache;
use datafusion::physical_plan::ExecutionPlan;
use selvedge_model::TaskRef;
use selvedge_model::liveness::JobLook;
use selvedge_model::run::StageRecord;

use super::describe::describe;
use super::meter::StageMeter;
use super::server::Server;

/// The executor on which the graph has this very task attempt running, if it does.
pub(super) async fn holder(server: &Server, task: &TaskRef) -> Option<String> {
    let job = running_job(server, &task.job_id)?;
    let graph = job.execution_graph.read().await;
    let ExecutionStage::Running(stage) = graph.stages().get(&(task.stage_id as usize))? else { return None };
    if stage.stage_attempt_num != task.stage_attempt as usize {
        return None;
    }
    match &stage.task_infos.get(task.task_id as usize)?.task_status {
        Status::Running(running) => Some(running.executor_id.clone()),
        Status::Successful(_) | Status::Failed(_) => None,
    }
}

/// The input partitions that a task works on, or did.
pub(super) async fn partitions_of(server: &Server, task: &TaskRef) -> Vec<u32> {
    let Some(job) = running_job(server, &task.job_id) else { return Vec::new() };
    let graph = job.execution_graph.read().await;
    let infos = graph.stages().get(&(task.stage_id as usize)).and_then(ExecutionStage::task_infos);
    let info = infos.and_then(|infos| infos.get(task.task_id as usize));
    info.map(|info| info.global_input_partition_ids.iter().map(|p| *p as u32).collect()).unwrap_or_default()
}

/// Every task that the graphs have running on this executor.
pub(super) async fn tasks_of(server: &Server, executor: &str) -> Vec<TaskRef> {
    let mut tasks = Vec::new();
    for (job_id, job) in server.state.task_manager.get_running_job_cache().iter() {
        let graph = job.execution_graph.read().await;
        for stage in graph.stages().values() {
            let ExecutionStage::Running(stage) = stage else { continue };
            for (task_id, info) in stage.task_infos.iter().enumerate().filter(|(_, info)| is_running_on(info, executor))
            {
                tasks.push(task_of_stage(job_id.as_str(), stage, task_id));
                debug_assert_eq!(info.task_id, task_id);
            }
        }
    }
    tasks
}

/// The name of a running stage's task.
pub(super) fn task_of_stage(job_id: &str, stage: &RunningStage, task_id: usize) -> TaskRef {
    TaskRef {
        job_id: job_id.to_owned(),
        stage_id: stage.stage_id as u32,
        stage_attempt: stage.stage_attempt_num as u32,
        task_id: task_id as u32,
    }
}

/// One look at every job that Ballista runs.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// Jobs with stages to do.
    pub(super) open: BTreeMap<String, JobLook>,
    /// Jobs whose stages are all done, which Ballista has yet to announce.
    pub(super) done: BTreeSet<String>,
}

pub(super) async fn look(server: &Server) -> Looks {
    let mut looks = Looks::default();
    for (job_id, job) in server.state.task_manager.get_running_job_cache().iter() {
        let graph = job.execution_graph.read().await;
        if graph.is_successful() {
            looks.done.insert(job_id.as_str().to_owned());
            continue;
        }
        let look = JobLook {
            running_tasks: graph.running_tasks().len(),
            available_tasks: available(graph.stages().values()),
            stages: graph.stage_count(),
        };
        looks.open.insert(job_id.as_str().to_owned(), look);
    }
    looks
}

/// Whether any task could start.
pub(super) async fn work_waits(server: &Server) -> bool {
    for job in server.state.task_manager.get_running_job_cache().values() {
        if available(job.execution_graph.read().await.stages().values()) > 0 {
            return true;
        }
    }
    false
}

/// Tasks that could start, those of stages not yet revived included.
fn available<'a>(stages: impl Iterator<Item = &'a ExecutionStage>) -> usize {
    stages
        .map(|stage| match stage {
            ExecutionStage::Running(stage) => stage.available_tasks(),
            ExecutionStage::Resolved(stage) => stage.partitions,
            _ => 0,
        })
        .sum()
}

/// A running job's entry.
pub(super) fn running_job(server: &Server, job_id: &str) -> Option<JobInfoCache> {
    server.state.task_manager.get_running_job_cache().get(job_id).cloned()
}

/// What stages look like, in order of id.
pub(super) fn stage_records<'a>(
    stages: impl Iterator<Item = &'a ExecutionStage>,
    meters: &BTreeMap<u32, StageMeter>,
) -> Vec<StageRecord> {
    let mut records: Vec<_> = stages.map(|stage| record(stage, meters)).collect();
    records.sort_by_key(|record| record.stage_id);
    records
}

/// Output partitions of a job's last stage.
pub(super) fn final_partitions<'a>(stages: impl Iterator<Item = &'a ExecutionStage>) -> u32 {
    last_stage(stages).map(|stage| partitions(stage.plan())).unwrap_or_default()
}

/// The last stage of a running job: the one that makes its result.
pub(super) async fn final_stage(server: &Server, job_id: &str) -> Option<u32> {
    let job = running_job(server, job_id)?;
    let graph = job.execution_graph.read().await;
    last_stage(graph.stages().values()).map(stage_id)
}

/// The stage that feeds no other, and of several the newest.
fn last_stage<'a>(stages: impl Iterator<Item = &'a ExecutionStage>) -> Option<&'a ExecutionStage> {
    stages.filter(|stage| stage.output_links().is_empty()).max_by_key(|stage| stage_id(stage))
}

fn record(stage: &ExecutionStage, meters: &BTreeMap<u32, StageMeter>) -> StageRecord {
    let stage_id = stage_id(stage);
    let meter = meters.get(&stage_id).cloned().unwrap_or_default();
    let infos = stage.task_infos().unwrap_or_default();
    let of = |wanted: fn(&Status) -> bool| infos.iter().filter(|info| wanted(&info.task_status)).count() as u32;
    let running = of(|status| matches!(status, Status::Running(_)));
    let done = of(|status| matches!(status, Status::Successful(_)));
    let waiting = match stage {
        ExecutionStage::Running(stage) => stage.available_tasks() as u32,
        ExecutionStage::Resolved(stage) => stage.partitions as u32,
        ExecutionStage::UnResolved(stage) => partitions(stage.plan.as_ref()),
        ExecutionStage::Successful(_) => 0,
        ExecutionStage::Failed(stage) => unfinished(stage.partitions, &stage.task_infos),
    };
    let handed_out = infos.iter().map(|info| info.scheduled_time as i64).min();
    StageRecord {
        stage_id,
        description: describe(stage.plan()),
        attempt: attempt(stage),
        tasks_total: done + running + waiting,
        tasks_running: running,
        tasks_done: done,
        tasks_failed: meter.failed,
        counters: meter.counters,
        started_ms: if meter.started_ms > 0 { meter.started_ms } else { handed_out.unwrap_or_default() },
        ended_ms: if matches!(stage, ExecutionStage::Successful(_)) { meter.ended_ms } else { 0 },
        task_ms: meter.task_ms,
        slowest_task: meter.slowest_task,
        slowest_task_ms: meter.slowest_task_ms,
        slowest_task_executor: meter.slowest_task_executor,
        lost_task_ms: meter.lost_task_ms,
        tasks_rerun: meter.tasks_rerun,
    }
}

/// Partitions that no task has finished. Those of a failed stage count as tasks: it did not end because it was done.
fn unfinished(partitions: usize, infos: &[TaskInfo]) -> u32 {
    let done = infos.iter().filter(|info| matches!(info.task_status, Status::Successful(_)));
    let finished: BTreeSet<usize> = done.flat_map(|info| info.global_input_partition_ids.iter().copied()).collect();
    partitions.saturating_sub(finished.len()) as u32
}

fn stage_id(stage: &ExecutionStage) -> u32 {
    let id = match stage {
        ExecutionStage::UnResolved(stage) => stage.stage_id,
        ExecutionStage::Resolved(stage) => stage.stage_id,
        ExecutionStage::Running(stage) => stage.stage_id,
        ExecutionStage::Successful(stage) => stage.stage_id,
        ExecutionStage::Failed(stage) => stage.stage_id,
    };
    id as u32
}

pub(super) fn attempt(stage: &ExecutionStage) -> u32 {
    let attempt = match stage {
        ExecutionStage::UnResolved(stage) => stage.stage_attempt_num,
        ExecutionStage::Resolved(stage) => stage.stage_attempt_num,
        ExecutionStage::Running(stage) => stage.stage_attempt_num,
        ExecutionStage::Successful(stage) => stage.stage_attempt_num,
        ExecutionStage::Failed(stage) => stage.stage_attempt_num,
    };
    attempt as u32
}

/// Partitions below a stage's shuffle writer: as many as it has inputs to work on.
fn partitions(plan: &dyn ExecutionPlan) -> u32 {
    let below = plan.children().first().map(|child| child.properties().output_partitioning().partition_count());
    below.unwrap_or(1) as u32
}

fn is_running_on(info: &TaskInfo, executor: &str) -> bool {
    matches!(&info.task_status, Status::Running(running) if running.executor_id == executor)
}
