//! The life of one task: wait for its vcores, prepare, execute, give them back, copy its shuffle, report.
//!
//! Whatever happens in it, also a panic, ends in exactly one status, or in none when it was told to stop. What it leaves on
//! disk when it does not succeed is removed.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::serde::protobuf::{TaskDefinition, TaskStatus};
use datafusion::error::Result;
use datafusion::physical_plan::metrics::MetricsSet;
use futures::FutureExt;
use selvedge_engine::shuffle::{Copied, task_dir};
use selvedge_model::copies::is_copy;
use selvedge_model::durability::Copying;
use selvedge_model::{Failure, StatementAttempt, TaskRef};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::copier::Uncopied;
use super::facts::Fact;
use super::stage::{Stage, encode_metrics};
use super::{TaskRunner, facts, failure, status};
use crate::clock::now_ms;

/// How long a task that was told to stop may take to notice.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How a task ended.
struct Success {
    status: TaskStatus,
    metrics: Vec<MetricsSet>,
    shuffle_bytes: u64,
    copied: Option<Copied>,
    uncopied: Option<Uncopied>,
}

/// The vcores a task computes with. Dropped, they are another's.
struct Vcores<'a> {
    runner: &'a TaskRunner,
    task: &'a TaskRef,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Vcores<'_> {
    fn drop(&mut self) {
        self.runner.held.free_vcores_of(self.task);
    }
}

impl TaskRunner {
    /// Runs a task from taking it to its end.
    pub(super) async fn run(self: Arc<Self>, definition: TaskDefinition, task: TaskRef, stop: CancellationToken) {
        let run = StatementAttempt::parse_job_id(&task.job_id);
        let span = tracing::info_span!(
            "task",
            run_id = run.as_ref().map(|r| r.run.as_str()).unwrap_or_default(),
            job = task.job_id,
            stage = task.stage_id,
            task = task.task_id,
            attempt = task.stage_attempt,
            executor_id = self.executor_id,
        );
        self.run_in_span(definition, &task, stop).instrument(span).await;
        // Held until its status is in the outbox: at no moment does the scheduler miss it.
        self.held.release(&task);
        self.news.notify_one();
    }

    async fn run_in_span(&self, definition: TaskDefinition, task: &TaskRef, stop: CancellationToken) {
        let vcores = u32::try_from(self.vcores_of(&definition)).unwrap_or(u32::MAX);
        let permit = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            permit = self.permits.clone().acquire_many_owned(vcores), if !is_copy(task) => permit.ok(),
            // Room was made for it: it was handed out for a vcore that a waiting task does not use.
            () = std::future::ready(()), if is_copy(task) => None,
        };
        // Free again before the status is seen, so that the poll which carries it asks for as much work as fits.
        let vcores = Vcores { runner: self, task, _permit: permit };
        let (began, started_ms) = (Instant::now(), now_ms());
        self.metrics.tasks_running.inc();
        let work = AssertUnwindSafe(self.work(&definition, vcores, started_ms, stop.clone()).boxed()).catch_unwind();
        let ended = tokio::select! {
            biased;
            ended = work => ended.unwrap_or_else(|panic| Err(failure::of_panic(panic.as_ref()))),
            () = overdue(stop.clone()) => {
                tracing::error!("a task does not stop; its vcores are given to others");
                Err(Failure::internal("INTERNAL", "the task does not stop"))
            }
        };
        self.metrics.tasks_running.dec();
        self.finish(&definition, task, &stop, ended, (began, started_ms)).await;
    }

    async fn work(
        &self,
        definition: &TaskDefinition,
        vcores: Vcores<'_>,
        started_ms: u64,
        stop: CancellationToken,
    ) -> Result<Success, Failure> {
        let seen = |e: &_| failure::failure_of(e);
        let stage = Stage::prepare(self, definition, &stop).map_err(|e| seen(&e))?;
        let partitions = stage.execute().await?;
        let (files, shuffle_bytes) = stage.files(&self.shuffle_dir, &partitions).map_err(|e| seen(&e))?;
        let cost_ms = now_ms().saturating_sub(started_ms);
        let (copied, uncopied) = match stage.copying(cost_ms) {
            _ if !self.shuffle.has_remote() => (None, None),
            Copying::BeforeSuccess => (Some(self.copy_now(&files, vcores, &stop).await?), None),
            later => {
                let due = match later {
                    Copying::After { wait_ms } => Some(Instant::now() + Duration::from_millis(wait_ms)),
                    _ => None,
                };
                let task = status::task_ref(definition);
                (None, Some(Uncopied { task, files, bytes: shuffle_bytes, cost_ms, due, tries: 0 }))
            }
        };
        let metrics = stage.metrics();
        let output = stage.success(&self.executor_id, partitions).map_err(|e| seen(&e))?;
        let status = status::succeeded(definition, started_ms, output, encode_metrics(metrics.clone()));
        Ok(Success { status, metrics, shuffle_bytes, copied, uncopied })
    }

    /// Copies before success. Another task computes meanwhile: an upload waits for the store, not for a vcore.
    async fn copy_now(
        &self,
        files: &[String],
        vcores: Vcores<'_>,
        stop: &CancellationToken,
    ) -> Result<Copied, Failure> {
        let copy = async {
            // Its vcores are kept until its turn comes: a slow store slows the tasks, and does not gather their uploads.
            let _turn = self.uploads.acquire().await;
            drop(vcores);
            self.news.notify_one();
            self.shuffle.upload(&self.shuffle_dir, files).await
        };
        let copied = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Failure::internal("INTERNAL", "the task was stopped")),
            copied = copy => copied.map_err(|e| failure::failure_of(&e.into()))?,
        };
        self.metrics.shuffle_uploaded_bytes.inc_by(copied.bytes);
        Ok(copied)
    }

    async fn finish(
        &self,
        definition: &TaskDefinition,
        task: &TaskRef,
        stop: &CancellationToken,
        ended: Result<Success, Failure>,
        (began, started_ms): (Instant, u64),
    ) {
        let took = began.elapsed();
        match ended {
            _ if stop.is_cancelled() => {
                self.metrics.task_ended("stopped", took);
                tracing::info!(took_ms = took.as_millis() as u64, "task stopped");
                self.remove_files(task).await;
            }
            Ok(success) => {
                self.metrics.task_ended("succeeded", took);
                tracing::info!(took_ms = took.as_millis() as u64, "task succeeded");
                self.held.add_shuffle(&task.job_id, success.shuffle_bytes);
                self.say(task, facts::of_success(took, &success.metrics));
                self.metrics.spilled_bytes.inc_by(facts::spilled_bytes(&success.metrics));
                self.outbox.push_status(task.clone(), success.status);
                if let Some(copied) = success.copied {
                    self.outbox.push_copied(task, copied);
                }
                if let Some(uncopied) = success.uncopied {
                    self.copier.add(uncopied);
                }
            }
            Err(failure) => {
                self.metrics.task_ended("failed", took);
                tracing::warn!(
                    took_ms = took.as_millis() as u64,
                    code = failure.code,
                    cause = failure.cause,
                    "task failed"
                );
                self.note_failure(&failure);
                self.remove_files(task).await;
                self.say(task, vec![facts::of_failure(&failure)]);
                self.outbox.push_status(task.clone(), status::failed(definition, started_ms, &failure));
            }
        }
    }

    fn say(&self, task: &TaskRef, facts: Vec<Fact>) {
        for (level, message) in facts {
            self.outbox.push_log(task, level, message);
        }
    }

    async fn remove_files(&self, task: &TaskRef) {
        let folder = self.shuffle_dir.join(task_dir(task));
        if let Err(cause) = tokio::task::spawn_blocking(move || remove_folder(&folder)).await {
            tracing::warn!(%cause, "cannot remove the files of a task");
        }
    }
}

async fn overdue(stop: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_GRACE).await;
}

/// Deletes a folder if it is there.
pub(super) fn remove_folder(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %cause, "cannot delete shuffle files");
        }
        _ => {}
    }
}
