//! The pull loop: asks for work and tells what was done, again and again, whatever happens to the scheduler.
//!
//! A poll waits at the scheduler until there is work. When a task ends meanwhile, its status does not wait: a poll that
//! asked for no work is given up and repeated; one that did ask may have been given tasks that are on their way, so it is
//! left alone and a second poll, asking for nothing, carries the status. How the loop ends: `drain.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use selvedge_proto::MAX_MESSAGE_BYTES;
use selvedge_proto::internal::v1 as pb;
use selvedge_proto::internal::v1::fleet_service_client::FleetServiceClient;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::backoff::Backoff;
use super::drain::Grace;
use super::outbox::{Outbox, Parcel};
use super::wire;
use crate::clock::now_ms;
use crate::metrics::Metrics;
use crate::task::TaskRunner;

/// How long a poll may wait for work. Well below the scheduler's lease, since polls renew it.
const WAIT: Duration = Duration::from_secs(1);
/// While draining there is more to look at than replies.
const DRAINING_WAIT: Duration = Duration::from_millis(200);
/// What a reply may take beyond the wait.
const REPLY_GRACE: Duration = Duration::from_secs(15);
/// Between two polls that brought nothing, should the scheduler not wait.
const LEAST_INTERVAL: Duration = Duration::from_millis(20);

/// What a [`PullLoop`] is made of.
pub(crate) struct PullParts {
    pub channel: Channel,
    pub info: pb::ExecutorInfo,
    pub runner: Arc<TaskRunner>,
    pub outbox: Arc<Outbox>,
    pub metrics: Arc<Metrics>,
    pub drain_grace: Arc<Grace>,
}

/// The pull loop of one executor.
pub(crate) struct PullLoop {
    client: FleetServiceClient<Channel>,
    info: pb::ExecutorInfo,
    pub(super) runner: Arc<TaskRunner>,
    pub(super) outbox: Arc<Outbox>,
    metrics: Arc<Metrics>,
    pub(super) drain_grace: Arc<Grace>,
    pub(super) draining: AtomicBool,
    drain_asked: CancellationToken,
    backoff: Mutex<Backoff>,
}

impl PullLoop {
    /// A loop that has not begun.
    pub(crate) fn new(parts: PullParts) -> Self {
        let PullParts { channel, info, runner, outbox, metrics, drain_grace } = parts;
        let client = FleetServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (draining, drain_asked, backoff) = Default::default();
        Self { client, info, runner, outbox, metrics, drain_grace, draining, drain_asked, backoff }
    }

    /// Polls until `shutdown` or the scheduler asks to drain, then drains and leaves.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = self.drain_asked.cancelled() => break,
                () = self.turn() => {}
            }
        }
        // A poll given up by this select may have been given tasks: the scheduler will miss them and give them to others.
        self.drain().await;
        self.leave().await;
    }

    /// One poll, its reply carried out; and a pause if it failed.
    pub(super) async fn turn(&self) {
        let began = Instant::now();
        let parcel = self.outbox.parcel();
        let (free_vcores, copy_vcores) = (self.free_vcores(), self.copy_vcores());
        let wait = if self.is_draining() { DRAINING_WAIT } else { WAIT };
        let mut poll = std::pin::pin!(self.send(&parcel, (free_vcores, copy_vcores), wait));
        let reply = loop {
            tokio::select! {
                reply = &mut poll => break reply,
                () = self.runner.has_news() => {
                    // One that asked for no work may be given up for one that does.
                    if free_vcores == 0 && copy_vcores == 0 {
                        return;
                    }
                    self.report().await;
                }
            }
        };
        match reply {
            Ok(reply) => {
                self.outbox.acknowledge(&parcel);
                let orders = wire::orders(reply);
                let idle = orders.tasks.is_empty();
                self.carry_out(orders);
                if idle && began.elapsed() < LEAST_INTERVAL {
                    tokio::time::sleep(LEAST_INTERVAL).await;
                }
            }
            Err(status) => self.pause_after(&status).await,
        }
    }

    /// Tells what was done without asking for work. Should it fail, the next poll tells it again.
    async fn report(&self) {
        let parcel = self.outbox.parcel();
        match self.send(&parcel, (0, 0), Duration::ZERO).await {
            Ok(reply) => {
                self.outbox.acknowledge(&parcel);
                self.carry_out(wire::orders(reply));
            }
            Err(status) => tracing::debug!(%status, "the scheduler did not take a report"),
        }
    }

    async fn send(
        &self,
        parcel: &Parcel,
        (free_vcores, copy_vcores): (u32, u32),
        wait: Duration,
    ) -> Result<pb::PollResponse, tonic::Status> {
        let held = self.runner.running().into_iter().chain(self.outbox.tasks());
        let request = pb::PollRequest {
            info: Some(self.info.clone()),
            load: Some(pb::ExecutorLoad {
                free_vcores,
                copy_vcores,
                memory_used_bytes: self.runner.memory_used_bytes(),
                disk_used_bytes: self.runner.disk_used_bytes(),
                draining: self.is_draining(),
            }),
            held: held.map(Into::into).collect(),
            statuses: parcel.statuses.clone(),
            logs: parcel.logs.clone(),
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            kept_jobs: self.runner.kept_jobs(),
            copied: parcel.copied.clone(),
            missing: self.runner.missing().tasks().into_iter().map(Into::into).collect(),
        };
        let mut client = self.client.clone();
        let reply = tokio::time::timeout(wait + REPLY_GRACE, client.poll(request)).await;
        let reply = reply.map_err(|_| tonic::Status::deadline_exceeded("no reply in time"))??.into_inner();
        if self.backoff.lock().failures() > 0 {
            tracing::info!(executor_id = self.info.executor_id, "the scheduler answers again");
        }
        self.backoff.lock().reset();
        self.metrics.polled();
        Ok(reply)
    }

    fn carry_out(&self, orders: wire::Orders) {
        for (missing, replacement) in orders.replaced {
            tracing::info!(%missing, by = %replacement.output, "an output was made again");
            self.runner.missing().replace(&missing, replacement);
        }
        for task in &orders.cancel {
            self.runner.cancel(task);
        }
        for job in &orders.forget_jobs {
            self.runner.forget_job(job);
        }
        if orders.drain && !self.drain_asked.is_cancelled() {
            tracing::info!(executor_id = self.info.executor_id, "the scheduler asks this executor to drain");
            self.drain_asked.cancel();
        }
        for definition in orders.tasks {
            if self.is_draining() {
                self.runner.refuse(&definition);
            } else {
                self.runner.start(definition);
            }
        }
    }

    async fn pause_after(&self, status: &tonic::Status) {
        self.metrics.poll_failures.inc();
        let pause = {
            let mut backoff = self.backoff.lock();
            // Said once, then now and then: the loop goes on forever.
            if backoff.failures().is_multiple_of(30) {
                tracing::warn!(%status, executor_id = self.info.executor_id, "cannot reach the scheduler; trying again");
            }
            backoff.next(now_ms() ^ u64::from(std::process::id()))
        };
        tokio::time::sleep(pause).await;
    }

    /// Gives the last statuses to the scheduler and ends the lease.
    async fn leave(&self) {
        let parcel = self.outbox.parcel();
        let request = pb::LeaveRequest {
            executor_id: self.info.executor_id.clone(),
            statuses: parcel.statuses.clone(),
            copied: parcel.copied.clone(),
        };
        let mut client = self.client.clone();
        match tokio::time::timeout(Duration::from_secs(3), client.leave(request)).await {
            Ok(Ok(_)) => self.outbox.acknowledge(&parcel),
            Ok(Err(status)) => tracing::warn!(%status, "could not take leave: the lease will run out by itself"),
            Err(_) => tracing::warn!("could not take leave in time: the lease will run out by itself"),
        }
    }

    fn free_vcores(&self) -> u32 {
        if self.is_draining() { 0 } else { self.runner.free_vcores() }
    }

    fn copy_vcores(&self) -> u32 {
        if self.is_draining() { 0 } else { self.runner.copy_vcores() }
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
