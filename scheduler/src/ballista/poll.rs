//! One step of a poll: statuses in, the executor's word compared with the graph's, tasks out.
//!
//! The order matters. Statuses come first, so that what has ended is not called lost; then reconciliation, so that a task
//! the executor never got is reset before new ones are handed out; then tasks for the vcores it has free, as many as one
//! reply can carry. What may be deleted is answered to what the executor says it keeps, so that a lost reply costs nothing.

use std::collections::HashMap;

use ballista_core::BALLISTA_PROTOCOL_VERSION;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{ExecutorRegistration, PollWorkParams, TaskDefinition, TaskStatus};
use ballista_core::serde::scheduler::{ExecutorOperatingSystemSpecification, ExecutorSpecification};
use parking_lot::Mutex;
use prost::Message;
use selvedge_model::copies::is_copy;
use selvedge_model::handout::pack;
use selvedge_model::liveness::{Assignment, Reconciliation, reconcile};
use selvedge_model::{ExecutorId, TaskRef};
use selvedge_proto::internal::v1::{ExecutorInfo, ExecutorLoad};
use tonic::{Request, Status};

use super::copies::Replaced;
use super::host::Host;
use super::statuses::task_of;
use super::{failures, graph};

/// What a task takes in a reply besides itself, at most.
const FRAME_BYTES: usize = 16;

/// What an executor says in a poll.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) id: ExecutorId,
    pub(super) info: ExecutorInfo,
    pub(super) load: ExecutorLoad,
    pub(super) held: Vec<TaskRef>,
    /// Jobs of which it keeps local files.
    pub(super) kept_jobs: Vec<String>,
    pub(super) statuses: Vec<TaskStatus>,
    /// Tasks whose output is in the shuffle location now, and the requests that took.
    pub(super) copied: Vec<(TaskRef, u64)>,
    /// Tasks whose output its readers miss.
    pub(super) missing: Vec<TaskRef>,
}

/// What it is told.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) tasks: Vec<TaskDefinition>,
    pub(super) cancel: Vec<TaskRef>,
    pub(super) forget_jobs: Vec<String>,
    /// Where to read in place of what is missing.
    pub(super) replaced: Vec<Replaced>,
    pub(super) drain: bool,
    /// Whether something in it was not said before: then the reply does not wait.
    pub(super) is_news: bool,
}

/// When each task was handed to each executor. The graph knows to whom, but not by our clock.
#[derive(Debug, Default)]
pub(super) struct HandOuts {
    at_ms: Mutex<HashMap<ExecutorId, HashMap<TaskRef, u64>>>,
}

impl HandOuts {
    /// The executor's tasks with the time each was handed out; one not seen before counts from now.
    fn dated(&self, executor: &ExecutorId, tasks: Vec<TaskRef>, now_ms: u64) -> Vec<Assignment> {
        let mut all = self.at_ms.lock();
        let known = all.remove(executor).unwrap_or_default();
        let date = |task: TaskRef| {
            let at = known.get(&task).copied().unwrap_or(now_ms);
            (task, at)
        };
        let dated: HashMap<TaskRef, u64> = tasks.into_iter().map(date).collect();
        let assignments = dated.iter().map(|(task, at)| Assignment { task: task.clone(), assigned_ms: *at }).collect();
        all.insert(executor.clone(), dated);
        assignments
    }

    /// Forgets an executor; returns what it had, and since when.
    pub(super) fn forget(&self, executor: &ExecutorId) -> Vec<(TaskRef, u64)> {
        self.at_ms.lock().remove(executor).unwrap_or_default().into_iter().collect()
    }
}

impl Host {
    /// See the module. `report.statuses` may be sent again; the rest describes the executor at the time of the poll.
    pub(super) async fn step(&self, report: Report) -> Result<Answer, Status> {
        let Report { id, info, load, held, kept_jobs, statuses, copied, missing } = report;
        if self.roster.seen(&id, info.clone(), load, (&held, &kept_jobs)) {
            tracing::info!(executor_id = %id, host = %info.host, vcores = info.vcores, "executor joined");
        }
        let _stepping = self.roster.stepping(&id);
        let turn = self.roster.turn(&id);
        let _turn = turn.lock().await;
        let ended: Vec<TaskRef> = statuses.iter().map(task_of).collect();
        let delivered = self.take_statuses(&id, statuses).await?;
        self.settle(delivered).await;
        self.note_copied(copied);
        let replaced = self.answer_missing(missing).await;

        let undelivered = self.still_wanted(&id, self.roster.take_undelivered(&id)).await;
        let mut cancel = self.reconcile(&id, held, &undelivered).await?;
        cancel.retain(|task| !ended.contains(task));

        let takes_tasks = self.roster.takes_tasks(&id);
        let waiting: u32 = undelivered.iter().map(|task| task.vcores_consumed).sum();
        let free = if takes_tasks { load.free_vcores.saturating_sub(waiting) } else { 0 };
        let mut tasks = undelivered;
        let for_copies = if takes_tasks { load.copy_vcores.saturating_sub(waiting) } else { 0 };
        let copies = self.hand_out_copies(&id, &info, for_copies).await;
        let free = free.saturating_sub(copies.iter().map(|task| task.vcores_consumed).sum());
        tasks.extend(copies);
        tasks.extend(self.hand_out(&id, &info, free).await?);
        let tasks = self.fit(&id, tasks);
        self.roster.gives(&id, &tasks);
        let forget_jobs = self.book.forgettable(&kept_jobs);
        let drain = self.roster.drain_asked(&id);
        let is_news = self.roster.tells_to_stop(&id, &cancel)
            || !tasks.is_empty()
            || !forget_jobs.is_empty()
            || !replaced.is_empty()
            || drain && !load.draining;
        Ok(Answer { tasks, cancel, forget_jobs, replaced, drain, is_news })
    }

    /// Those of the tasks kept for this executor that the graph still has there: their jobs may have ended meanwhile.
    async fn still_wanted(&self, id: &ExecutorId, kept: Vec<TaskDefinition>) -> Vec<TaskDefinition> {
        let mut wanted = Vec::with_capacity(kept.len());
        for task in kept {
            let task_ref = task_of_definition(&task);
            let holds = match is_copy(&task_ref) {
                true => self.copies.lock().runs_on(&task_ref, id),
                false => graph::holder(&self.server, &task_ref).await.as_deref() == Some(id.as_str()),
            };
            if holds {
                wanted.push(task);
            }
        }
        wanted
    }

    /// What one reply can carry. The rest waits for the next poll; a task that no reply can carry ends its job.
    fn fit(&self, id: &ExecutorId, tasks: Vec<TaskDefinition>) -> Vec<TaskDefinition> {
        let limit = self.options.max_reply_bytes;
        let sizes: Vec<usize> = tasks.iter().map(|task| task.encoded_len() + FRAME_BYTES).collect();
        let packing = pack(&sizes, limit);
        let (mut now, mut later) = (Vec::with_capacity(packing.now.len()), Vec::new());
        for (position, task) in tasks.into_iter().enumerate() {
            if packing.now.contains(&position) {
                now.push(task);
            } else if packing.later.contains(&position) {
                later.push(task);
            } else {
                let (size, task) = (sizes.get(position).copied().unwrap_or_default(), task_of_definition(&task));
                tracing::error!(%task, size_bytes = size, limit_bytes = limit, "no reply can carry this task");
                self.book.end(&task.job_id, failures::task_too_large(task.stage_id, size, limit));
            }
        }
        if !later.is_empty() {
            tracing::debug!(executor_id = %id, now = now.len(), later = later.len(), "a reply is full");
            self.roster.keep_undelivered(id, later);
        }
        now
    }

    /// Resets what never arrived; returns what the executor should stop.
    async fn reconcile(
        &self,
        id: &ExecutorId,
        held: Vec<TaskRef>,
        undelivered: &[TaskDefinition],
    ) -> Result<Vec<TaskRef>, Status> {
        let mut running = self.book.without_delivering(graph::tasks_of(&self.server, id.as_str()).await);
        running.extend(self.copies.lock().running_on(id));
        running.retain(|task| !undelivered.iter().any(|waiting| task_of_definition(waiting) == *task));
        let now_ms = self.roster.now_ms();
        let assigned = self.hand_outs.dated(id, running, now_ms);
        let grace_ms = self.options.lost_task_grace.as_millis() as u64;
        let Reconciliation { lost, cancel } = reconcile(&held, &assigned, now_ms, grace_ms);
        for task in &lost {
            match is_copy(task) {
                true => self.end_copy(task, id, true),
                false => self.reset_lost(id, task).await?,
            }
        }
        self.settle(lost).await;
        Ok(cancel)
    }

    /// Binds tasks to free vcores. Also tells Ballista that the executor is there.
    async fn hand_out(&self, id: &ExecutorId, info: &ExecutorInfo, free: u32) -> Result<Vec<TaskDefinition>, Status> {
        let poll =
            PollWorkParams { metadata: Some(registration(id, info)), num_free_vcores: free, task_status: Vec::new() };
        let mut tasks = SchedulerGrpc::poll_work(&self.server, Request::new(poll)).await?.into_inner().tasks;
        self.widen(&mut tasks, info).await;
        for task in &tasks {
            tracing::debug!(task = %task_of_definition(task), executor_id = %id, "task handed out");
        }
        Ok(tasks)
    }
}

/// Ballista's picture of an executor: the same for all its life, or a poll is refused. It is not dialled: no gRPC port.
fn registration(id: &ExecutorId, info: &ExecutorInfo) -> ExecutorRegistration {
    ExecutorRegistration {
        id: id.to_string(),
        host: Some(info.host.clone()),
        port: info.port,
        grpc_port: 0,
        specification: Some(ExecutorSpecification { vcores: info.vcores }.into()),
        os_info: Some(ExecutorOperatingSystemSpecification::default().into()),
        ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
    }
}

/// The task attempt that a definition starts.
pub(super) fn task_of_definition(task: &TaskDefinition) -> TaskRef {
    TaskRef {
        job_id: task.job_id.clone(),
        stage_id: task.stage_id,
        stage_attempt: task.stage_attempt_num,
        task_id: task.task_id,
    }
}
