//! Builds Ballista's `SchedulerServer` for embedding: pull mode, our ids, our codec, our sessions, and none of its own
//! timers left to act.
//!
//! It is never mounted on a port, and never dials: `override_create_grpc_client_endpoint` refuses every connection it would
//! make to an executor (to cancel tasks, or to stop one), at once and outside its event loop.

use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::BallistaError;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::{BallistaCodec, BallistaLogicalExtensionCodec};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::cluster::memory::InMemoryJobState;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::metrics::NoopMetricsCollector;
use ballista_scheduler::scheduler_server::{JobIdGenerator, SchedulerServer};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use parking_lot::Mutex;
use selvedge_engine::plan::physical_codec;
use selvedge_engine::session::Engine;
use tokio::sync::Notify;

use super::cluster::VirtualCluster;
use super::fleet::Roster;
use crate::error::SchedulerError;

impl From<BallistaError> for SchedulerError {
    fn from(error: BallistaError) -> Self {
        Self::Host(error.to_string())
    }
}

/// Ballista's scheduler, as we use it.
pub(super) type Server = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// Longer than any process lives: leases, grace periods and clean-up are ours.
const NEVER_S: u64 = 10 * 365 * 24 * 3600;

/// Times a task may fail with a counted error before its job fails.
const TASK_ATTEMPTS: usize = 4;

/// Hands Ballista the job id that the caller chose. Submissions take turns, so that each gets its own.
#[derive(Default)]
pub(super) struct JobIds {
    next: Mutex<Option<String>>,
    turn: tokio::sync::Mutex<()>,
}

impl JobIds {
    /// Runs a submission under `job_id`.
    pub(super) async fn with<T>(&self, job_id: &str, submission: impl Future<Output = T>) -> T {
        let _turn = self.turn.lock().await;
        *self.next.lock() = Some(job_id.to_owned());
        submission.await
    }
}

#[async_trait]
impl JobIdGenerator for JobIds {
    async fn next_id(&self) -> String {
        self.next.lock().take().unwrap_or_else(|| format!("unnamed-{}", uuid::Uuid::now_v7()))
    }
}

/// The parts of a running server.
pub(super) struct Embedded {
    pub(super) server: Server,
    pub(super) jobs: Arc<InMemoryJobState>,
    pub(super) ids: Arc<JobIds>,
}

/// Starts the engine's event loop. `work` is notified when new tasks can start.
pub(super) async fn embed(
    engine: &Arc<Engine>,
    roster: Arc<Roster>,
    work: Arc<Notify>,
) -> Result<Embedded, BallistaError> {
    let ids = Arc::new(JobIds::default());
    let config = Arc::new(config(ids.clone(), work));
    let runtime = engine.runtime();
    let sessions = move |config: SessionConfig| {
        let state = SessionStateBuilder::new_with_default_features().with_config(config);
        Ok(state.with_runtime_env(runtime.clone()).build())
    };
    let jobs = Arc::new(InMemoryJobState::new(
        config.scheduler_id.clone(),
        Arc::new(sessions),
        Arc::new(SessionConfig::new_with_ballista),
    ));
    let cluster = BallistaCluster::new(Arc::new(VirtualCluster::new(roster)), jobs.clone());
    let codec = BallistaCodec::new(Arc::new(BallistaLogicalExtensionCodec::default()), physical_codec());
    let collector = Arc::new(NoopMetricsCollector::default());
    let mut server = Server::new("selvedge".to_owned(), cluster, codec, config, collector);
    server.init().await?;
    Ok(Embedded { server, jobs, ids })
}

fn config(ids: Arc<JobIds>, work: Arc<Notify>) -> SchedulerConfig {
    let message_bytes = selvedge_proto::MAX_MESSAGE_BYTES as u32;
    SchedulerConfig {
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        event_loop_buffer_size: 100_000,
        grpc_server_max_decoding_message_size: message_bytes,
        grpc_server_max_encoding_message_size: message_bytes,
        grpc_client_max_message_size: message_bytes,
        finished_job_data_clean_up_interval_seconds: 0,
        finished_job_state_clean_up_interval_seconds: 0,
        executor_timeout_seconds: NEVER_S,
        executor_termination_grace_period: 0,
        expire_dead_executor_interval_seconds: NEVER_S,
        no_executors_grace_period_seconds: NEVER_S,
        override_create_grpc_client_endpoint: Some(Arc::new(|_| Err("executors are not dialled".into()))),
        task_max_failures: TASK_ATTEMPTS,
        on_work_available: Some(Arc::new(move |_| work.notify_waiters())),
        job_id_generator: Some(ids),
        ..SchedulerConfig::default()
    }
}

/// A job id in Ballista's type.
pub(super) fn job(job_id: &str) -> JobId {
    JobId::new(job_id)
}
