//! One submitted job, from submission to outcome: its handle for the driver, and the task that watches it.
//!
//! The watcher learns of the end from Ballista's subscription (which drops messages when full, hence the look-up at each
//! tick), from an [`EndSignal`] of ours, or from the handle being dropped. Whatever ends it, Ballista is told to stop, the
//! book's entry is closed, and the outcome is sent once.

use std::sync::Arc;
use std::time::Duration;

use ballista_core::serde::protobuf::job_status::Status as JobEnd;
use ballista_core::serde::protobuf::{JobStatus, PartitionLocation as WireLocation};
use ballista_core::serde::scheduler::PartitionLocation;
use ballista_scheduler::cluster::JobState;
use ballista_scheduler::state::execution_graph::ExecutionGraphBox;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use selvedge_engine::error::classify;
use selvedge_engine::shuffle::VirtualExecutorId;
use selvedge_model::run::StageRecord;
use selvedge_model::{Domain, Failure, Retry};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use super::failures;
use super::graph;
use super::host::Host;
use super::jobs::{Closed, EndSignal};
use super::server;

/// How often progress is looked at.
const PROGRESS: Duration = Duration::from_millis(200);

/// Looks for a finished job's graph, which Ballista stores just after it announces the end.
const GRAPH_LOOKS: u32 = 400;

/// A job that was submitted. Dropping it, or the future of its outcome, cancels the job.
#[derive(Debug)]
pub struct JobHandle {
    /// The engine's id: [`selvedge_model::StatementAttempt::job_id`].
    pub job_id: String,
    /// Its stages, as they move on.
    pub stages: watch::Receiver<Vec<StageRecord>>,
    pub(super) outcome: oneshot::Receiver<Result<JobOutput, Failure>>,
    pub(super) end: Arc<EndSignal>,
}

impl JobHandle {
    /// Waits for the end.
    pub async fn outcome(self) -> Result<JobOutput, Failure> {
        let stopped = || Failure::external("SCHEDULER_STOPPED", "The scheduler stopped before the statement ended");
        self.outcome.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Something that can cancel the job while another waits for its outcome.
    pub fn canceller(&self) -> JobCanceller {
        JobCanceller { end: self.end.clone() }
    }
}

/// Cancels a job. Harmless when it has ended.
#[derive(Debug, Clone)]
pub struct JobCanceller {
    end: Arc<EndSignal>,
}

impl JobCanceller {
    /// Ends the job with the failure `CANCELLED`.
    pub fn cancel(&self) {
        self.end.end(failures::cancelled());
    }
}

/// What a successful job left.
#[derive(Debug, Clone)]
pub struct JobOutput {
    /// Output partitions of its last stage.
    pub partitions: u32,
    /// Where the parts of the result are. A partition without rows may be missing.
    pub results: Vec<ResultPartition>,
    /// Its stages, in order of id.
    pub stages: Vec<StageRecord>,
}

/// A part of a result: what one task made of one output partition.
#[derive(Debug, Clone)]
pub struct ResultPartition {
    /// The output partition.
    pub partition: u32,
    /// Which attempt of the stage made it.
    pub stage_attempt: u32,
    /// Where it is.
    pub location: PartitionLocation,
}

/// Follows one job to its end.
pub(super) struct Watcher {
    pub(super) host: Arc<Host>,
    pub(super) job_id: String,
    pub(super) updates: mpsc::Receiver<JobStatus>,
    pub(super) end: Arc<EndSignal>,
    pub(super) stages: watch::Sender<Vec<StageRecord>>,
    pub(super) outcome: oneshot::Sender<Result<JobOutput, Failure>>,
    /// To plan once more when planning failed: Ballista passes on only the text of that error.
    pub(super) source: (SessionState, LogicalPlan),
}

/// How a job ended.
enum End {
    Succeeded(Vec<WireLocation>),
    Failed(String),
    Ours(Failure),
}

impl Watcher {
    pub(super) async fn run(mut self) {
        let end = self.wait().await;
        let host = self.host.clone();
        let graph = match &end {
            End::Ours(_) => self.running_stages().await,
            End::Succeeded(_) | End::Failed(_) => self.finished_graph().await,
        };
        if matches!(end, End::Ours(_)) {
            host.stop_in_engine(&self.job_id).await;
        }
        let closed = host.book.close(&self.job_id);
        host.copies.lock().forget(&self.job_id);
        host.exhaustions.lock().forget(&self.job_id);
        let stages = match &graph {
            Some(graph) => graph::stage_records(graph.stages().values(), &closed.meters),
            None => Vec::new(),
        };
        if !stages.is_empty() {
            self.stages.send_replace(stages.clone());
        }
        let result = match end {
            End::Succeeded(locations) => output(locations, graph.as_ref(), stages),
            End::Failed(text) => Err(self.explain(&text, closed, graph.is_some()).await),
            End::Ours(failure) => Err(failure),
        };
        match &result {
            Ok(output) => tracing::info!(job_id = %self.job_id, parts = output.results.len(), "job succeeded"),
            Err(failure) => tracing::info!(job_id = %self.job_id, code = %failure.code, "job failed: {failure}"),
        }
        // The driver may have gone; then nobody needs the outcome.
        let _ = self.outcome.send(result);
    }

    async fn wait(&mut self) -> End {
        let mut tick = tokio::time::interval(PROGRESS);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut subscribed = true;
        loop {
            tokio::select! {
                biased;
                reason = self.end.ended() => return End::Ours(reason),
                () = self.outcome.closed() => return End::Ours(failures::cancelled()),
                update = self.updates.recv(), if subscribed => match update {
                    Some(status) => if let Some(end) = ended(status) { return end },
                    None => subscribed = false,
                },
                _ = tick.tick() => if let Some(end) = self.look().await { return end },
            }
        }
    }

    /// Publishes progress; returns the end if the subscription missed it.
    async fn look(&self) -> Option<End> {
        if let Some(job) = graph::running_job(&self.host.server, &self.job_id) {
            let meters = self.host.book.meters(&self.job_id);
            let graph = job.execution_graph.read().await;
            let stages = graph::stage_records(graph.stages().values(), &meters);
            self.stages.send_if_modified(|now| {
                let changed = *now != stages;
                *now = stages;
                changed
            });
            return None;
        }
        let status = self.host.finished.get_job_status(&server::job(&self.job_id)).await.ok().flatten()?;
        ended(status)
    }

    async fn running_stages(&self) -> Option<ExecutionGraphBox> {
        let job = graph::running_job(&self.host.server, &self.job_id)?;
        let graph = job.execution_graph.read().await;
        Some(graph.cloned())
    }

    async fn finished_graph(&self) -> Option<ExecutionGraphBox> {
        for _ in 0..GRAPH_LOOKS {
            if let Ok(Some(graph)) = self.host.finished.get_execution_graph(&server::job(&self.job_id)).await {
                return Some(graph);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        None
    }

    /// The typed failure behind Ballista's text.
    async fn explain(&self, text: &str, closed: Closed, was_planned: bool) -> Failure {
        if let Some(failure) = closed.failure {
            return failure;
        }
        let (state, plan) = &self.source;
        if !was_planned {
            return match state.create_physical_plan(plan).await {
                Err(error) => classify(&error),
                // It was planned now: what hindered it has passed.
                Ok(_) => failures::not_planned(text),
            };
        }
        failures::of_job(text)
    }
}

fn ended(status: JobStatus) -> Option<End> {
    match status.status? {
        JobEnd::Successful(success) => Some(End::Succeeded(success.partition_location)),
        JobEnd::Failed(failed) => Some(End::Failed(failed.error)),
        JobEnd::Queued(_) | JobEnd::Running(_) => None,
    }
}

fn output(
    locations: Vec<WireLocation>,
    graph: Option<&ExecutionGraphBox>,
    stages: Vec<StageRecord>,
) -> Result<JobOutput, Failure> {
    let results = locations.into_iter().map(result_partition).collect::<Result<Vec<_>, _>>()?;
    let highest = results.iter().map(|r| r.partition + 1).max().unwrap_or_default();
    // The plan says how many partitions there must be; what arrived cannot tell what is missing.
    let Some(graph) = graph else {
        let cause = "the engine has ended the statement, but not kept how many partitions its result has";
        return Err(Failure::new(Domain::Internal, Retry::Later, "RESULT_DOUBTFUL", cause));
    };
    let planned = graph::final_partitions(graph.stages().values());
    Ok(JobOutput { partitions: planned.max(highest), results, stages })
}

fn result_partition(location: WireLocation) -> Result<ResultPartition, Failure> {
    let odd = |what: String| Failure::internal("ENGINE", format!("the engine gave a result without a place: {what}"));
    let location: PartitionLocation =
        location.try_into().map_err(|e: ballista_core::error::BallistaError| odd(e.to_string()))?;
    let made_by: VirtualExecutorId =
        location.executor_meta.id.parse().map_err(|_| odd(location.executor_meta.id.clone()))?;
    Ok(ResultPartition {
        partition: location.partition_id.partition_id as u32,
        stage_attempt: made_by.task.stage_attempt,
        location,
    })
}
