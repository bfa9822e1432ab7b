//! The engine's front to the rest of the scheduler: submit a statement, read its result, see the fleet.
//!
//! Holds the parts together and owns the background loops; what executors say comes in through `facade`, and each loop
//! stands in `watch`. Dropping the last handle stops the loops.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_scheduler::cluster::memory::InMemoryJobState;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use parking_lot::Mutex;
use selvedge_engine::error::classify;
use selvedge_engine::session::Engine;
use selvedge_engine::shuffle::{ShuffleStore, VirtualExecutorId};
use selvedge_engine::store::Location;
use selvedge_model::copies::Copies;
use selvedge_model::liveness::Release;
use selvedge_model::pressure::Exhaustions;
use selvedge_model::suspects::Suspects;
use selvedge_model::{ExecutorId, Failure, StatementAttempt};
use selvedge_proto::internal::v1::fleet_service_server::FleetServiceServer;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::facade::Fleet;
use super::fleet::{ExecutorView, FleetSize, Roster};
use super::job::{JobHandle, ResultPartition, Watcher};
use super::jobs::Book;
use super::logs::{Logs, TaskLog};
use super::poll::HandOuts;
use super::server::{self, JobIds, Server};
use super::watch as loops;
use crate::error::SchedulerError;

/// Rows of a batch read from a result.
const RESULT_BATCH_ROWS: usize = 8192;

/// Status updates of one job that may wait for its watcher.
const UPDATES: usize = 1024;

/// How the host treats executors and jobs.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// An executor that has not polled for this long is lost.
    pub lease: Duration,
    /// A task handed out this long ago that its executor does not hold never arrived.
    pub lost_task_grace: Duration,
    /// Between two looks of the watchdog; three idle ones in a row end a job.
    pub watchdog_interval: Duration,
    /// Where shuffle outlives executors; also read by the scheduler for results.
    pub shuffle: Option<Location>,
    /// A job ends when nobody could take its tasks for this long.
    pub no_executors_grace: Duration,
    /// That nobody takes its tasks is said after this long.
    pub no_executors_notice: Duration,
    /// Tasks in one reply to an executor take at most this; what is left of a message is for the rest of the reply.
    pub max_reply_bytes: usize,
    /// Where executors of this process keep their shuffle, when they share the scheduler's disk.
    pub local_shuffle_dir: Option<PathBuf>,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(5),
            lost_task_grace: Duration::from_secs(3),
            watchdog_interval: Duration::from_secs(1),
            shuffle: None,
            no_executors_grace: Duration::from_secs(300),
            no_executors_notice: Duration::from_secs(3),
            max_reply_bytes: selvedge_proto::MAX_MESSAGE_BYTES - (1 << 20),
            local_shuffle_dir: None,
        }
    }
}

/// See the module.
pub struct Host {
    pub(super) options: HostOptions,
    pub(super) server: Server,
    /// Ballista's store of jobs: says how one ended, and keeps its graph until it is swept.
    pub(super) finished: Arc<InMemoryJobState>,
    pub(super) roster: Arc<Roster>,
    pub(super) book: Book,
    pub(super) logs: Logs,
    pub(super) hand_outs: HandOuts,
    pub(super) copies: Mutex<Copies>,
    /// Jobs whose shuffle was removed, and when: something may have arrived since.
    pub(super) swept: Mutex<Vec<(String, Instant)>>,
    /// They outlive a job, until its statement has ended.
    pub(super) suspects: Mutex<Suspects>,
    /// What ran out of memory.
    pub(super) exhaustions: Mutex<Exhaustions>,
    /// Fired when tasks may be ready.
    pub(super) work: Arc<Notify>,
    /// Fired when an executor is to stop something.
    pub(super) stops: Notify,
    shuffle: Arc<ShuffleStore>,
    ids: Arc<JobIds>,
    stop: CancellationToken,
}

impl Host {
    /// Starts the engine and its loops.
    pub async fn start(options: HostOptions, engine: Arc<Engine>) -> Result<Arc<Self>, SchedulerError> {
        let roster = Arc::new(Roster::new());
        let work = Arc::new(Notify::new());
        let embedded = server::embed(&engine, roster.clone(), work.clone()).await?;
        let remote = options.shuffle.clone().map(|location| (location, engine.stores().clone()));
        let host = Arc::new(Self {
            shuffle: ShuffleStore::new(options.local_shuffle_dir.clone(), remote),
            options,
            server: embedded.server,
            finished: embedded.jobs,
            roster,
            book: Book::default(),
            logs: Logs::default(),
            hand_outs: HandOuts::default(),
            copies: Mutex::default(),
            swept: Mutex::default(),
            suspects: Mutex::default(),
            exhaustions: Mutex::default(),
            work,
            stops: Notify::new(),
            ids: embedded.ids,
            stop: CancellationToken::new(),
        });
        loops::spawn(&host, &host.stop);
        Ok(host)
    }

    /// What executors talk to.
    pub fn fleet_service(self: &Arc<Self>) -> FleetServiceServer<Fleet> {
        FleetServiceServer::new(Fleet::new(self.clone()))
            .max_decoding_message_size(selvedge_proto::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(selvedge_proto::MAX_MESSAGE_BYTES)
    }

    /// Plans a statement into stages and offers its tasks to executors. The job's id is the attempt's.
    ///
    /// Runs to its end even when the caller goes away; the handle is dropped then, which cancels the job.
    pub async fn submit(
        self: &Arc<Self>,
        attempt: &StatementAttempt,
        state: SessionState,
        plan: LogicalPlan,
    ) -> Result<JobHandle, Failure> {
        let submission = tokio::spawn(self.clone().submit_job(attempt.job_id(), state, plan));
        submission.await.unwrap_or_else(|error| Err(Failure::internal("ENGINE", format!("not submitted: {error}"))))
    }

    async fn submit_job(
        self: Arc<Self>,
        job_id: String,
        state: SessionState,
        plan: LogicalPlan,
    ) -> Result<JobHandle, Failure> {
        let Some(end) = self.book.open(&job_id, self.roster.now_ms()) else {
            return Err(Failure::internal("DUPLICATE_JOB", format!("job {job_id} runs already")));
        };
        let (subscriber, updates) = mpsc::channel(UPDATES);
        let context = Arc::new(SessionContext::new_with_state(state.clone()));
        let submission = self.server.submit_job(&job_id, context, &plan, Some(subscriber));
        if let Err(error) = self.ids.with(&job_id, submission).await {
            self.book.close(&job_id);
            return Err(Failure::internal("ENGINE", format!("the engine took no job: {error}")));
        }
        let (stages, stages_seen) = watch::channel(Vec::new());
        let (outcome, outcome_seen) = oneshot::channel();
        let watcher = Watcher {
            host: self.clone(),
            job_id: job_id.clone(),
            updates,
            end: end.clone(),
            stages,
            outcome,
            source: (state, plan),
        };
        tokio::spawn(watcher.run());
        Ok(JobHandle { job_id, stages: stages_seen, outcome: outcome_seen, end })
    }

    /// Every executor that polls, and those lost lately.
    pub fn executors(&self) -> Vec<ExecutorView> {
        self.roster.views()
    }

    /// Asks an executor to take nothing new, end what it runs, and leave. Idempotent.
    pub fn drain(&self, id: &ExecutorId) -> Result<ExecutorView, Failure> {
        let view = self.roster.drain(id)?;
        tracing::info!(executor_id = %id, "executor asked to drain");
        self.stops.notify_waiters();
        Ok(view)
    }

    /// What the living executors have together.
    pub fn fleet_size(&self) -> FleetSize {
        self.roster.size()
    }

    /// Streams one part of a result, from the executor that made it or from the shuffle location.
    pub async fn read_partition(&self, part: &ResultPartition) -> Result<SendableRecordBatchStream, Failure> {
        let mut location = part.location.clone();
        if let Ok(made_by) = location.executor_meta.id.parse::<VirtualExecutorId>() {
            let (host, port) = self.roster.address(&made_by.real).unwrap_or_default();
            location.executor_meta.host = host;
            location.executor_meta.port = port;
        }
        self.shuffle.open(&location, RESULT_BATCH_ROWS).await.map_err(|error| classify(&error))
    }

    /// What keeps a job waiting, for people: `executors: none registered`; empty while it goes on.
    pub fn waiting(&self, job_id: &str) -> String {
        self.book.waiting(job_id)
    }

    /// The shuffle of a job that has ended may go, here and on every executor, which is told when it next names the job.
    pub async fn forget(&self, job_id: &str) {
        self.book.forget(job_id);
        self.remove_shuffle(job_id).await;
        if self.shuffle.has_remote() {
            self.swept.lock().push((job_id.to_owned(), Instant::now()));
        }
    }

    pub(super) async fn remove_shuffle(&self, job_id: &str) {
        if let Err(error) = self.shuffle.forget_job(job_id).await {
            tracing::warn!(job_id, %error, "shuffle of an ended job was not removed");
        }
    }

    /// Whether tasks of a job that ended at `ended` may still run on some executor.
    pub fn release(&self, job_id: &str, ended: Instant) -> Release {
        self.roster.release(job_id, ended, self.options.lost_task_grace.as_millis() as u64)
    }

    /// What a job's tasks said, oldest first.
    pub fn logs(&self, job_id: &str) -> Vec<TaskLog> {
        self.logs.of(job_id)
    }

    /// Whether the scheduler reads what executors leave on their disks.
    pub(super) fn shares_disk_with_executors(&self) -> bool {
        self.options.local_shuffle_dir.is_some()
    }

    /// Takes a job out of Ballista. One still being planned is caught by the watchdog's next look.
    pub(super) async fn stop_in_engine(&self, job_id: &str) {
        if let Err(error) = self.server.cancel_job(server::job(job_id)).await {
            tracing::error!(job_id, %error, "the engine did not take a cancellation");
        }
        // The cancellation is an event in a queue: those who look at once may look too early, and look again by themselves.
        self.stops.notify_waiters();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
