//! The loops that notice what nobody says: leases that ran out, jobs that stopped moving, jobs nobody can run.
//!
//! They hold the host weakly and end with it. Decisions are pure and stand in `selvedge_model::liveness`.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ballista_core::serde::protobuf::ExecutorStoppedParams;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_scheduler::cluster::JobState;
use selvedge_model::ExecutorId;
use selvedge_model::liveness::{Release, Stuck, Waits, Watchdog, waits_for_executors};
use selvedge_model::speculation::RunningTask;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::failures;
use super::fleet::epoch_ms;
use super::graph::{self, Looks};
use super::host::Host;
use super::stage_plan;

/// A status that the engine took this long ago and does not show was lost inside it.
const DELIVERY_LIMIT_MS: u64 = 30_000;

/// An executor that was away for longer than this has lost its job's name, or its life.
const SWEEP_LIMIT: Duration = Duration::from_secs(600);

/// Looks after which a job that is done, but not said to be, is stuck. Longer than for an idle one: Ballista announces
/// ends in turn with all its other work.
const DONE_LOOKS: u32 = 30;

/// What earlier looks at the jobs saw.
#[derive(Default)]
struct Seen {
    watchdog: Watchdog,
    done_looks: HashMap<String, u32>,
    /// Jobs wait for executors, and the log says so.
    said_waiting: bool,
}

impl Seen {
    /// Jobs that will not end by themselves, and why.
    fn stuck(&mut self, looks: &Looks) -> Vec<(String, &'static str)> {
        let mut stuck: Vec<(String, &'static str)> = Vec::new();
        for (job, why) in self.watchdog.look(&looks.open) {
            stuck.push(match why {
                Stuck::Idle => (job, "no task runs and none can start"),
                Stuck::StageStorm => (job, "its plan keeps growing"),
            });
        }
        self.done_looks.retain(|job, _| looks.done.contains(job));
        for job in &looks.done {
            let seen = self.done_looks.entry(job.clone()).or_default();
            *seen += 1;
            if *seen == DONE_LOOKS {
                stuck.push((job.clone(), "its last stage is done and the job did not end"));
            }
        }
        stuck
    }
}

/// Starts the loops.
pub(super) fn spawn(host: &Arc<Host>, stop: &CancellationToken) {
    let leases = (host.options.lease / 5).max(Duration::from_millis(20));
    let ttl_ms = host.options.lease.as_millis() as u64;
    spawn_loop(host, stop, leases, (), move |host, ()| async move {
        let died = host.roster.expire(ttl_ms);
        host.suspect(&died).await;
        for id in &died {
            host.lose(id, "its lease ran out").await;
        }
    });
    spawn_loop(host, stop, host.options.watchdog_interval, Seen::default(), |host, seen| async move {
        host.watch_jobs(seen).await
    });
}

/// Calls `turn` with the host and what the last turn returned, until the host is gone.
fn spawn_loop<S, F, T>(host: &Arc<Host>, stop: &CancellationToken, every: Duration, start: S, turn: F)
where
    S: Send + 'static,
    F: Fn(Arc<Host>, S) -> T + Send + 'static,
    T: Future<Output = S> + Send + 'static,
{
    let (host, stop): (Weak<Host>, _) = (Arc::downgrade(host), stop.clone());
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = start;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let Some(host) = host.upgrade() else { return };
            state = turn(host, state).await;
        }
    });
}

impl Host {
    /// An executor is gone: what ran on it is reset, and jobs whose output went with it start again.
    pub(super) async fn lose(&self, id: &ExecutorId, why: &str) {
        tracing::warn!(executor_id = %id, "executor lost: {why}");
        let now_ms = self.roster.now_ms();
        for (task, since_ms) in self.hand_outs.forget(id) {
            self.book.count_lost(&task, now_ms.saturating_sub(since_ms), false);
        }
        self.copies.lock().lost(id);
        self.end_without_results(id).await;
        let stopped = ExecutorStoppedParams { executor_id: id.to_string(), reason: why.to_owned() };
        if let Err(error) = SchedulerGrpc::executor_stopped(&self.server, Request::new(stopped)).await {
            tracing::error!(executor_id = %id, %error, "the engine did not take the loss of an executor");
        }
    }

    /// What a lost executor had of other stages is made again when it is missed; rows of a result are read by nobody who could
    /// ask for that.
    async fn end_without_results(&self, id: &ExecutorId) {
        if self.shares_disk_with_executors() {
            return;
        }
        for job in self.book.fed_by(id) {
            let Some(last) = graph::final_stage(&self.server, &job).await else { continue };
            if self.book.only_on(id, &job).iter().any(|task| task.stage_id == last) {
                self.book.end(&job, failures::executor_lost(id.as_str()));
            }
        }
    }

    /// Has tasks that are far slower than their peers run once more, where there is somebody else to run them.
    async fn overtake_slow(&self) {
        if self.roster.active() < 2 {
            return;
        }
        for RunningTask { task, executor, .. } in stage_plan::slow_tasks(&self.server, epoch_ms() as u128).await {
            let Ok(executor) = executor.parse::<ExecutorId>() else { continue };
            if self.copies.lock().overtake(&task, &executor) {
                tracing::info!(%task, executor_id = %executor, "task is far slower than its peers: it is run elsewhere too");
                self.work.notify_waiters();
            }
        }
    }

    /// Something of an ended job may have come to the shuffle location after it was cleared: once nobody can write there
    /// any more, or has been away for too long to wait for, it is cleared again.
    async fn sweep_shuffle(&self) {
        let grace_ms = self.options.lost_task_grace.as_millis() as u64;
        let swept = std::mem::take(&mut *self.swept.lock());
        let (mut later, mut now) = (Vec::new(), Vec::new());
        for (job, ended) in swept {
            let is_free = self.roster.release_shuffle(&job, ended, grace_ms) == Release::Free;
            if is_free || ended.elapsed() > SWEEP_LIMIT { now.push(job) } else { later.push((job, ended)) }
        }
        self.swept.lock().extend(later);
        for job in now {
            self.remove_shuffle(&job).await;
        }
    }

    async fn watch_jobs(&self, mut seen: Seen) -> Seen {
        let looks = graph::look(&self.server).await;
        for (job, why) in seen.stuck(&looks) {
            tracing::error!(job_id = %job, "job is stuck: {why}");
            self.book.end(&job, failures::stuck(why));
        }
        self.end_undeliverable().await;
        seen.said_waiting = self.note_waiting(&looks, seen.said_waiting);
        self.end_without_executors();
        for job in looks.open.keys().filter(|job| !self.book.contains(job)) {
            self.stop_in_engine(job).await;
        }
        self.overtake_slow().await;
        self.sweep_finished().await;
        self.sweep_shuffle().await;
        seen
    }

    /// A status that went into the engine and changed nothing leaves its task running for ever.
    async fn end_undeliverable(&self) {
        for task in self.book.delivering_for(self.roster.now_ms(), 0) {
            if graph::holder(&self.server, &task).await.is_none() {
                self.book.settled(&task);
            }
        }
        for task in self.book.delivering_for(self.roster.now_ms(), DELIVERY_LIMIT_MS) {
            tracing::error!(%task, "the engine lost a task's status");
            self.book.end(&task.job_id, failures::stuck("the end of a task was not taken in"));
        }
    }

    /// Notes which jobs wait for executors, and says so once: nothing else tells why nothing happens.
    fn note_waiting(&self, looks: &Looks, was_said: bool) -> bool {
        let (now_ms, unable_ms) = (self.roster.now_ms(), self.roster.unable_ms());
        let notice_ms = self.options.no_executors_notice.as_millis() as u64;
        let absence = self.roster.absence();
        let mut waiting = 0;
        for (job, look) in &looks.open {
            let Some(job_age_ms) = self.book.age_ms(job, now_ms) else { continue };
            let waits = waits_for_executors(look, Waits { job_age_ms, unable_ms, notice_ms });
            waiting += usize::from(waits);
            self.book.set_waiting(job, if waits { format!("executors: {absence}") } else { String::new() });
        }
        match (waiting > 0, was_said) {
            (true, false) => {
                let grace = self.options.no_executors_grace;
                tracing::warn!(jobs = waiting, ?grace, "statements are waiting for executors: {absence}");
            }
            (false, true) => tracing::info!("no statement waits for executors any more"),
            _ => {}
        }
        waiting > 0
    }

    fn end_without_executors(&self) {
        let grace_ms = self.options.no_executors_grace.as_millis() as u64;
        if self.roster.unable_ms() <= grace_ms {
            return;
        }
        for job in self.book.older_than(self.roster.now_ms(), grace_ms) {
            self.book.end(&job, failures::no_executors(grace_ms / 1000));
        }
    }

    /// Ballista keeps the graph of a job that ended; ours are done with it when their entry is closed.
    async fn sweep_finished(&self) {
        let Ok(finished) = self.finished.get_jobs().await else { return };
        for job in finished.iter().filter(|job| !self.book.contains(job.as_str())) {
            if let Err(error) = self.finished.remove_job(job).await {
                tracing::debug!(job_id = %job, %error, "a finished job was not swept");
            }
        }
    }
}
