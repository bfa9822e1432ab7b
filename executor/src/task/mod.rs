//! Runs tasks: takes them, gives each its vcores, its memory and a way to be stopped, and puts its end into the outbox.
//!
//! `run.rs` is the life of one task, `stage.rs` its plan, `guard.rs` what really stops it, `failure.rs` what its errors mean,
//! `copier.rs` what becomes of its output.
//! Nothing here talks to the scheduler.

mod copier;
mod exchange;
mod facts;
mod failure;
mod guard;
mod held;
mod progress;
mod run;
mod stage;
mod status;
#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::serde::protobuf::TaskDefinition;
use datafusion::execution::SessionState;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use parking_lot::Mutex;
use selvedge_engine::session::Engine;
use selvedge_engine::shuffle::{Copied, MissingOutputs, ShuffleStore};
use selvedge_model::{Failure, TaskRef};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore};

use crate::error::ExecutorError;
use crate::metrics::Metrics;
use crate::poll::Outbox;
use copier::Copier;
use held::Held;

/// The code of a failure for want of disk.
const DISK_FULL: &str = "DISK_FULL";
/// For how long an executor takes no task after one failed of that.
const DISK_REST: Duration = Duration::from_secs(5);

/// What all tasks of an executor share.
pub(crate) struct TaskRunner {
    executor_id: String,
    vcores: usize,
    stall_timeout: Duration,
    permits: Arc<Semaphore>,
    /// Tasks that copy their output before they succeed, having computed: as many as compute.
    uploads: Semaphore,
    engine: Arc<Engine>,
    session: SessionState,
    codec: Arc<dyn PhysicalExtensionCodec>,
    shuffle: Arc<ShuffleStore>,
    shuffle_dir: PathBuf,
    missing: Arc<MissingOutputs>,
    copier: Arc<Copier>,
    outbox: Arc<Outbox>,
    held: Held,
    disk_was_full: Mutex<Option<Instant>>,
    metrics: Arc<Metrics>,
    /// Rung whenever there is something to tell the scheduler: a task ended, an output is missing.
    news: Notify,
    /// Operators compute for long stretches: on threads of their own they cannot keep polls and shuffle reads waiting.
    runtime: Option<Runtime>,
}

/// What a [`TaskRunner`] is made of.
pub(crate) struct TaskRunnerParts {
    pub executor_id: String,
    pub vcores: usize,
    /// A task whose streams do nothing for so long has failed; zero for never.
    pub stall_timeout: Duration,
    pub engine: Arc<Engine>,
    pub shuffle: Arc<ShuffleStore>,
    pub shuffle_dir: PathBuf,
    /// The same that `shuffle` asks.
    pub missing: Arc<MissingOutputs>,
    pub outbox: Arc<Outbox>,
    pub metrics: Arc<Metrics>,
}

impl TaskRunner {
    /// A runner with no task.
    pub(crate) fn new(parts: TaskRunnerParts) -> Result<Arc<Self>, ExecutorError> {
        let TaskRunnerParts {
            executor_id,
            vcores,
            stall_timeout,
            engine,
            shuffle,
            shuffle_dir,
            missing,
            outbox,
            metrics,
        } = parts;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(vcores)
            .thread_name("task")
            // Plans nest, and so do the calls that decode and run them.
            .thread_stack_size(8 << 20)
            .enable_all()
            .build()
            .map_err(|e| ExecutorError::Setup { what: "task threads", cause: e.to_string() })?;
        Ok(Arc::new(Self {
            executor_id,
            vcores,
            stall_timeout,
            permits: Arc::new(Semaphore::new(vcores)),
            uploads: Semaphore::new(vcores),
            session: engine.registry_state()?,
            engine,
            codec: selvedge_engine::plan::physical_codec(),
            copier: Arc::new(Copier::new(shuffle.clone(), shuffle_dir.clone())),
            shuffle,
            shuffle_dir,
            missing,
            outbox,
            held: Held::default(),
            disk_was_full: Mutex::default(),
            metrics,
            news: Notify::new(),
            runtime: Some(runtime),
        }))
    }

    /// Starts a task, unless it is already held.
    pub(crate) fn start(self: &Arc<Self>, definition: TaskDefinition) {
        let task = status::task_ref(&definition);
        if self.outbox.holds(&task) {
            return;
        }
        let Some(stop) = self.held.take(&task, self.vcores_of(&definition)) else { return };
        let runner = self.clone();
        if let Some(runtime) = &self.runtime {
            runtime.spawn(runner.run(definition, task, stop));
        }
    }

    /// What a task takes: never more than there is, or it would wait for ever.
    fn vcores_of(&self, definition: &TaskDefinition) -> usize {
        usize::try_from(definition.vcores_consumed).unwrap_or(usize::MAX).clamp(1, self.vcores.max(1))
    }

    /// Gives back a task that came while the executor drains.
    pub(crate) fn refuse(&self, definition: &TaskDefinition) {
        self.outbox.push_status(status::task_ref(definition), status::handed_back(definition));
    }

    /// Stops a task; its end is not reported, since nobody waits for it.
    pub(crate) fn cancel(&self, task: &TaskRef) {
        if self.held.stop(task) {
            tracing::info!(%task, executor_id = self.executor_id, "stopping a task");
        }
    }

    /// Gives back every task that still runs: others will run them again at once.
    pub(crate) fn hand_back_all(&self) {
        for (task, definition) in self.held.stop_all() {
            tracing::warn!(%task, executor_id = self.executor_id, "handing back a task: the time to drain is up");
            self.outbox.push_status(task, definition);
        }
    }

    /// The tasks that run.
    pub(crate) fn running(&self) -> Vec<TaskRef> {
        self.held.tasks()
    }

    /// Copies outputs to the shuffle location, until dropped.
    pub(crate) async fn background(&self) {
        let copied = |task: &TaskRef, amount: Copied| {
            self.metrics.shuffle_uploaded_bytes.inc_by(amount.bytes);
            self.outbox.push_copied(task, amount);
        };
        self.copier.run(copied).await;
    }

    /// What readers here miss.
    pub(crate) fn missing(&self) -> &MissingOutputs {
        &self.missing
    }

    /// Copies every output to the shuffle location that is not there yet.
    pub(crate) fn copy_all(&self) {
        self.copier.copy_all();
    }

    /// Vcores promised to no task. A task that was accepted counts before it has begun: asking for work to put in its place
    /// would let tasks queue here while other executors idle.
    pub(crate) fn free_vcores(&self) -> u32 {
        let free = self.vcores.saturating_sub(self.held.vcores());
        if self.is_resting() { 0 } else { u32::try_from(free).unwrap_or(u32::MAX) }
    }

    /// Vcores for copies: the free ones, and those of tasks that wait for a missing output and so compute nothing. The copy
    /// they wait for may find room nowhere else, when every executor is full of tasks that wait.
    pub(crate) fn copy_vcores(&self) -> u32 {
        let free = (self.vcores + self.missing.waiting_tasks()).saturating_sub(self.held.vcores());
        if self.is_resting() { 0 } else { u32::try_from(free).unwrap_or(u32::MAX) }
    }

    /// Whether the disk was full a moment ago: another executor's may not be.
    fn is_resting(&self) -> bool {
        self.disk_was_full.lock().is_some_and(|at| at.elapsed() < DISK_REST)
    }

    /// Notes what a task failed of.
    fn note_failure(&self, failure: &Failure) {
        if failure.code == DISK_FULL {
            *self.disk_was_full.lock() = Some(Instant::now());
        }
    }

    /// Memory operators have reserved.
    pub(crate) fn memory_used_bytes(&self) -> u64 {
        self.engine.runtime().memory_pool.reserved() as u64
    }

    /// Bytes of spill and shuffle files.
    pub(crate) fn disk_used_bytes(&self) -> u64 {
        self.engine.runtime().disk_manager.used_disk_space() + self.held.shuffle_bytes()
    }

    /// Whether any job may still read shuffle that only this executor has.
    pub(crate) fn is_needed_by_readers(&self) -> bool {
        if self.shuffle.has_remote() { self.copier.is_busy() } else { self.held.has_shuffle() }
    }

    /// Jobs that may have files here.
    pub(crate) fn kept_jobs(&self) -> Vec<String> {
        self.held.kept_jobs()
    }

    /// Deletes the local shuffle of an ended job.
    pub(crate) fn forget_job(self: &Arc<Self>, job_id: &str) {
        self.missing.forget(job_id);
        let (runner, job_id) = (self.clone(), job_id.to_owned());
        tokio::spawn(async move {
            // Named until nothing of it is on its way to the shuffle location any more.
            runner.copier.forget(&job_id).await;
            runner.held.forget_shuffle(&job_id);
            if selvedge_engine::shuffle::is_plain_name(&job_id) {
                let folder = runner.shuffle_dir.join(&job_id);
                tokio::task::spawn_blocking(move || run::remove_folder(&folder));
            }
        });
    }

    /// Waits until there is something to tell the scheduler.
    pub(crate) async fn has_news(&self) {
        tokio::select! {
            () = self.news.notified() => {}
            () = self.missing.changed() => {}
        }
    }
}

impl Drop for TaskRunner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
