//! Takes in what executors say of their tasks' ends, and passes on what counts.
//!
//! A status counts once, and only while the graph has that very attempt running on the executor that says it. Metrics stay
//! here (Ballista loses rows over them), failures are remembered with their type, and a success is delivered under the
//! virtual executor id of its task, in both places where Ballista looks for one. Each goes in a call of its own.

use std::time::Duration;

use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::task_status::Status as TaskEnd;
use ballista_core::serde::protobuf::{SuccessfulTask, TaskStatus, UpdateTaskStatusParams};
use selvedge_engine::shuffle::VirtualExecutorId;
use selvedge_model::copies::is_copy;
use selvedge_model::handout::AfterReset;
use selvedge_model::{ExecutorId, TaskRef};
use tonic::{Request, Status};

use super::failures;
use super::graph;
use super::host::Host;
use super::meter::{self, TaskTimes};

/// How long a poll waits to see its own statuses in the graph, so that its reply can carry the tasks they made ready.
const SETTLE: Duration = Duration::from_millis(100);

/// Between two looks while waiting.
const SETTLE_LOOK: Duration = Duration::from_millis(2);

/// The task attempt that a status is about.
pub(super) fn task_of(status: &TaskStatus) -> TaskRef {
    TaskRef {
        job_id: status.job_id.clone(),
        stage_id: status.stage_id,
        stage_attempt: status.stage_attempt_num,
        task_id: status.task_id,
    }
}

impl Host {
    /// Delivers those statuses that count. On an error the executor must send all of them again; none is counted twice.
    pub(super) async fn take_statuses(
        &self,
        executor: &ExecutorId,
        statuses: Vec<TaskStatus>,
    ) -> Result<Vec<TaskRef>, Status> {
        let mut delivered = Vec::new();
        for status in statuses {
            let task = task_of(&status);
            if !matches!(status.status, Some(TaskEnd::Successful(_) | TaskEnd::Failed(_))) {
                tracing::warn!(%task, executor_id = %executor, "a status that is no end was dropped");
                continue;
            }
            if is_copy(&task) {
                delivered.extend(self.take_copy_status(executor, status).await?);
                continue;
            }
            if graph::holder(&self.server, &task).await.as_deref() != Some(executor.as_str()) {
                tracing::debug!(%task, executor_id = %executor, "status of a task that does not run there was dropped");
                continue;
            }
            if !self.book.claim(&task, self.roster.now_ms()) {
                tracing::debug!(%task, executor_id = %executor, "repeated status was dropped");
                continue;
            }
            if let Err(error) = self.deliver(executor, &task, status).await {
                self.book.release(&task);
                return Err(error);
            }
            self.copies.lock().ended(&task);
            delivered.push(task);
        }
        Ok(delivered)
    }

    /// Resets a task that was handed out and never arrived; one whose work got nowhere too often ends its job instead. A
    /// status of it that comes later counts no more.
    pub(super) async fn reset_lost(&self, executor: &ExecutorId, task: &TaskRef) -> Result<(), Status> {
        if !self.book.claim(task, self.roster.now_ms()) {
            return Ok(());
        }
        let partitions = graph::partitions_of(&self.server, task).await;
        if let AfterReset::Fail { partition, times } = self.book.count_reset(task, &partitions) {
            tracing::error!(%task, executor_id = %executor, partition, times, "task never reaches an executor");
            self.book.end(&task.job_id, failures::undeliverable(task.stage_id, partition, executor.as_str(), times));
            return Ok(());
        }
        tracing::warn!(%task, executor_id = %executor, "task never reached its executor: handing it out again");
        let status = TaskStatus {
            job_id: task.job_id.clone(),
            stage_id: task.stage_id,
            stage_attempt_num: task.stage_attempt,
            task_id: task.task_id,
            status: Some(TaskEnd::Failed(failures::never_arrived())),
            ..TaskStatus::default()
        };
        if let Err(error) = self.update(executor.to_string(), status).await {
            self.book.release(task);
            return Err(error);
        }
        Ok(())
    }

    /// Waits, briefly, until the graph shows the statuses just delivered; then wakes who waits for tasks, if there are any.
    pub(super) async fn settle(&self, delivered: Vec<TaskRef>) {
        if delivered.is_empty() {
            return;
        }
        let patience = tokio::time::Instant::now() + SETTLE;
        for task in delivered {
            while graph::holder(&self.server, &task).await.is_some() {
                if tokio::time::Instant::now() >= patience {
                    return;
                }
                tokio::time::sleep(SETTLE_LOOK).await;
            }
            self.book.settled(&task);
        }
        if graph::work_waits(&self.server).await {
            self.work.notify_waiters();
        }
    }

    async fn deliver(&self, executor: &ExecutorId, task: &TaskRef, mut status: TaskStatus) -> Result<(), Status> {
        match status.status.take() {
            Some(TaskEnd::Successful(success)) => {
                self.deliver_success(executor, (task, task), status, success).await?;
                tracing::debug!(%task, executor_id = %executor, "task succeeded");
            }
            Some(TaskEnd::Failed(failed)) => {
                let times = times(executor, task, &status);
                status.metrics.clear();
                let failure = failures::of_task(&failed);
                let failed = failures::for_engine(failed);
                let again = failed.retryable;
                tracing::warn!(%task, executor_id = %executor, code = %failure.code, again, "task failed: {failure}");
                self.note_exhaustion(executor, task, &failure).await;
                // Remembered before Ballista hears of it: the job may end at once.
                self.book.count_failure(task, &times, failure);
                status.status = Some(TaskEnd::Failed(failed));
                self.update(executor.to_string(), status).await?;
            }
            Some(TaskEnd::Running(_)) | None => {}
        }
        Ok(())
    }

    /// Ends a task of the graph with the output of `made_by`: itself, or a copy of it.
    pub(super) async fn deliver_success(
        &self,
        executor: &ExecutorId,
        (task, made_by): (&TaskRef, &TaskRef),
        mut status: TaskStatus,
        mut success: SuccessfulTask,
    ) -> Result<(), Status> {
        let counters = meter::count(&success, &std::mem::take(&mut status.metrics));
        let times = times(executor, task, &status);
        let virtual_id = VirtualExecutorId { real: executor.to_string(), task: made_by.clone() }.to_string();
        success.executor_id.clone_from(&virtual_id);
        status.task_id = task.task_id;
        status.status = Some(TaskEnd::Successful(success));
        self.update(virtual_id, status).await?;
        self.book.count_success(task, &times, &counters);
        self.book.note_output(made_by, executor);
        Ok(())
    }

    /// One status in one call: where output is comes from the call's executor id, not from the status.
    async fn update(&self, executor_id: String, status: TaskStatus) -> Result<(), Status> {
        let params = UpdateTaskStatusParams { executor_id, task_status: vec![status] };
        SchedulerGrpc::update_task_status(&self.server, Request::new(params)).await.map(|_| ())
    }
}

/// When and where a task of the graph ran.
fn times<'a>(executor: &'a ExecutorId, task: &TaskRef, status: &TaskStatus) -> TaskTimes<'a> {
    TaskTimes {
        task_id: task.task_id,
        executor: executor.as_str(),
        start_ms: status.start_exec_time,
        end_ms: status.end_exec_time,
    }
}
