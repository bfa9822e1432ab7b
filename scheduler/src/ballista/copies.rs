//! Copies of tasks: hands them out beside the graph's own tasks, takes in how they end, tells readers where to read.
//!
//! What is asked for, by whom it is run and what follows is decided by `selvedge_model::copies`; this file finds the facts in
//! the graph and the book, and carries the decisions out. The graph never sees a copy. Called by `poll.rs` and
//! `statuses.rs`; slow tasks come from `watch.rs`.

use ballista_core::serde::protobuf::task_status::Status as TaskEnd;
use ballista_core::serde::protobuf::{SuccessfulTask, TaskDefinition, TaskStatus};
use selvedge_model::copies::{Answer, Output, Purpose};
use selvedge_model::{ExecutorId, TaskRef};
use selvedge_proto::internal::v1::ExecutorInfo;
use tonic::Status;

use super::failures;
use super::graph;
use super::host::Host;
use super::stage_plan;
use super::statuses::task_of;

/// Where to read in place of a missing output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replaced {
    pub(super) missing: TaskRef,
    pub(super) output: Output,
    /// The executor's shuffle service, while it lives.
    pub(super) address: Option<(String, u16)>,
}

impl Host {
    /// Answers readers that miss outputs: with another place, or by having the output made again.
    pub(super) async fn answer_missing(&self, missing: Vec<TaskRef>) -> Vec<Replaced> {
        let mut replaced = Vec::new();
        for missing in missing.into_iter().filter(|task| self.book.contains(&task.job_id)) {
            let is_new = !self.copies.lock().restores(&missing);
            if is_new && stage_plan::repeatable(&self.server, &missing).await == Some(false) {
                self.book.end(&missing.job_id, failures::output_lost(&missing, "it cannot be made again by itself"));
                continue;
            }
            let answer = self.copies.lock().ask(&missing);
            match answer {
                Answer::Read(output) => {
                    let address = self.roster.address(output.executor.as_str());
                    replaced.push(Replaced { missing, output, address });
                }
                Answer::GiveUp => {
                    self.book.end(&missing.job_id, failures::output_lost(&missing, "it was made again too often"));
                }
                Answer::Wait if is_new => {
                    tracing::warn!(task = %missing, "a task's output is missing: it is made again");
                    self.ask_for_its_like(&missing);
                    self.work.notify_waiters();
                }
                Answer::Wait => {}
            }
        }
        replaced
    }

    /// Of the stage, what lay on the same dead executor alone is missing too: readers would find out one by one.
    fn ask_for_its_like(&self, missing: &TaskRef) {
        let Some(executor) = self.book.executor_of(missing) else { return };
        if self.roster.address(executor.as_str()).is_some() {
            return;
        }
        let mut copies = self.copies.lock();
        for task in self.book.only_on(&executor, &missing.job_id) {
            if (task.stage_id, task.stage_attempt) == (missing.stage_id, missing.stage_attempt) {
                copies.ask(&task);
            }
        }
    }

    /// Takes in which outputs are safe.
    pub(super) fn note_copied(&self, copied: Vec<(TaskRef, u64)>) {
        for (task, put_requests) in copied {
            self.book.note_copied(&task, put_requests);
        }
    }

    /// Hands out copies for up to `free` vcores.
    pub(super) async fn hand_out_copies(
        &self,
        executor: &ExecutorId,
        info: &ExecutorInfo,
        free: u32,
    ) -> Vec<TaskDefinition> {
        let mut tasks: Vec<TaskDefinition> = Vec::new();
        while tasks.iter().map(|task| task.vcores_consumed).sum::<u32>() < free {
            let Some((original, copy)) = self.copies.lock().take(executor) else { break };
            match stage_plan::definition_of_copy(&self.server, &original, &copy).await {
                Some(definition) => {
                    tracing::info!(task = %original, copy = %copy, executor_id = %executor, "task is run once more");
                    tasks.push(definition);
                }
                None => self.end_copy(&copy, executor, true),
            }
        }
        self.widen(&mut tasks, info).await;
        tasks
    }

    /// The task whose work this one does: itself, unless it is a copy.
    pub(super) fn original(&self, task: &TaskRef) -> TaskRef {
        self.copies.lock().original(task)
    }

    /// A copy did not end well, or never began.
    pub(super) fn end_copy(&self, copy: &TaskRef, executor: &ExecutorId, counts: bool) {
        let is_one_too_many = self.copies.lock().failed(copy, executor, counts);
        if is_one_too_many {
            self.book.end(&copy.job_id, failures::output_lost(copy, "it was made again too often"));
        }
        self.work.notify_waiters();
    }

    /// Takes in how a copy ended. Returns the original, when it ended with it.
    pub(super) async fn take_copy_status(
        &self,
        executor: &ExecutorId,
        mut status: TaskStatus,
    ) -> Result<Option<TaskRef>, Status> {
        let copy = task_of(&status);
        let took_ms = status.end_exec_time.saturating_sub(status.start_exec_time);
        match status.status.take() {
            Some(TaskEnd::Successful(success)) => self.copy_succeeded(executor, &copy, status, success).await,
            Some(TaskEnd::Failed(failed)) => {
                let failure = failures::of_task(&failed);
                tracing::warn!(task = %copy, executor_id = %executor, code = %failure.code, "a copy of a task failed: {failure}");
                if self.copies.lock().runs_on(&copy, executor) {
                    self.note_exhaustion(executor, &copy, &failure).await;
                }
                self.book.count_lost(&copy, took_ms, false);
                self.end_copy(&copy, executor, failed.count_to_failures);
                Ok(None)
            }
            Some(TaskEnd::Running(_)) | None => Ok(None),
        }
    }

    async fn copy_succeeded(
        &self,
        executor: &ExecutorId,
        copy: &TaskRef,
        status: TaskStatus,
        success: SuccessfulTask,
    ) -> Result<Option<TaskRef>, Status> {
        let took_ms = status.end_exec_time.saturating_sub(status.start_exec_time);
        let Some((original, purpose)) = self.copies.lock().succeeded(copy, executor) else {
            self.book.count_lost(copy, took_ms, false);
            return Ok(None);
        };
        if purpose == Purpose::Restore {
            tracing::info!(task = %original, %copy, executor_id = %executor, "a missing output is there again");
            self.book.count_lost(copy, took_ms, true);
            self.book.note_output(copy, executor);
            self.work.notify_waiters();
            return Ok(None);
        }
        let runs = graph::holder(&self.server, &original).await.is_some();
        if !runs || !self.book.claim(&original, self.roster.now_ms()) {
            self.copies.lock().was_late(&original);
            self.book.count_lost(copy, took_ms, false);
            return Ok(None);
        }
        tracing::info!(task = %original, %copy, executor_id = %executor, "a copy was done before its slow original");
        if let Err(error) = self.deliver_success(executor, (&original, copy), status, success).await {
            self.book.release(&original);
            return Err(error);
        }
        Ok(Some(original))
    }
}
