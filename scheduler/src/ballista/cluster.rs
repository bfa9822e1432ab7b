//! Ballista's view of the fleet: its in-memory cluster state, except that no executor is ever unknown.
//!
//! A finished task's output belongs to a virtual executor of its own, so that losing the real one resets only what ran on it.
//! Ballista looks such an id up when it records where the output is; it gets the real executor's address while that lives,
//! and an empty host after. A real executor it no longer knows gets the same, since an unknown sender's status is dropped
//! with a log line and its job waits for ever.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::Result;
use ballista_core::serde::protobuf::ExecutorHeartbeat;
use ballista_core::serde::scheduler::{ExecutorData, ExecutorMetadata};
use ballista_scheduler::cluster::memory::InMemoryClusterState;
use ballista_scheduler::cluster::{BoundTask, ClusterState, ClusterStateEventStream, ExecutorSlot};
use ballista_scheduler::config::TaskDistributionPolicy;
use ballista_scheduler::state::task_manager::JobInfoCache;
use selvedge_engine::shuffle::VirtualExecutorId;

use super::fleet::Roster;

/// See the module.
pub(super) struct VirtualCluster {
    real: InMemoryClusterState,
    roster: Arc<Roster>,
}

impl VirtualCluster {
    pub(super) fn new(roster: Arc<Roster>) -> Self {
        Self { real: InMemoryClusterState::default(), roster }
    }

    fn synthesise(&self, id: &str, real: &str) -> ExecutorMetadata {
        let (host, port) = self.roster.address(real).unwrap_or_default();
        ExecutorMetadata {
            id: id.to_owned(),
            host,
            port,
            grpc_port: 0,
            specification: Default::default(),
            os_info: Default::default(),
        }
    }
}

#[async_trait]
impl ClusterState for VirtualCluster {
    async fn init(&self) -> Result<()> {
        self.real.init().await
    }

    async fn bind_schedulable_tasks(
        &self,
        distribution: TaskDistributionPolicy,
        active_jobs: Arc<HashMap<JobId, JobInfoCache>>,
        executors: Option<HashSet<String>>,
    ) -> Result<Vec<BoundTask>> {
        self.real.bind_schedulable_tasks(distribution, active_jobs, executors).await
    }

    async fn unbind_tasks(&self, slots: Vec<ExecutorSlot>) -> Result<()> {
        self.real.unbind_tasks(slots).await
    }

    async fn register_executor(&self, metadata: ExecutorMetadata, data: ExecutorData) -> Result<()> {
        self.real.register_executor(metadata, data).await
    }

    async fn save_executor_metadata(&self, metadata: ExecutorMetadata) -> Result<()> {
        self.real.save_executor_metadata(metadata).await
    }

    async fn get_executor_metadata(&self, id: &str) -> Result<ExecutorMetadata> {
        if let Ok(virtual_id) = id.parse::<VirtualExecutorId>() {
            return Ok(self.synthesise(id, &virtual_id.real));
        }
        match self.real.get_executor_metadata(id).await {
            Ok(metadata) => Ok(metadata),
            Err(_) => Ok(self.synthesise(id, id)),
        }
    }

    async fn registered_executor_metadata(&self) -> Vec<ExecutorMetadata> {
        self.real.registered_executor_metadata().await
    }

    async fn save_executor_heartbeat(&self, heartbeat: ExecutorHeartbeat) -> Result<()> {
        self.real.save_executor_heartbeat(heartbeat).await
    }

    async fn remove_executor(&self, id: &str) -> Result<()> {
        self.real.remove_executor(id).await
    }

    fn executor_heartbeats(&self) -> HashMap<String, ExecutorHeartbeat> {
        self.real.executor_heartbeats()
    }

    fn get_executor_heartbeat(&self, id: &str) -> Option<ExecutorHeartbeat> {
        self.real.get_executor_heartbeat(id)
    }

    async fn cluster_state_events(&self) -> Result<ClusterStateEventStream> {
        self.real.cluster_state_events().await
    }
}
