//! The fleet as operators see it: list executors, drain one.

use selvedge_model::id::ExecutorId;
use selvedge_proto::v1;
use serde::Serialize;

use crate::connect::Selvedge;
use crate::error::{Error, Result};

/// What an executor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExecutorState {
    /// Takes tasks.
    Active,
    /// Takes no new task, ends what it runs, and leaves.
    Draining,
    /// Has not been heard of for longer than its lease.
    Lost,
}

/// An executor. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Executor {
    /// Its id; a restarted process has another.
    pub id: String,
    /// Where its peers reach it.
    pub host: String,
    /// Its data port.
    pub port: u32,
    /// The pool it belongs to.
    pub pool: String,
    /// What it is doing.
    pub state: ExecutorState,
    /// Tasks it may run at once.
    pub vcores: u32,
    /// Of these, free ones.
    pub free_vcores: u32,
    /// Memory its tasks share.
    pub memory_limit_bytes: u64,
    /// Of that, reserved.
    pub memory_used_bytes: u64,
    /// Disk it may spill to.
    pub disk_limit_bytes: u64,
    /// Of that, used.
    pub disk_used_bytes: u64,
    /// Tasks it runs.
    pub running_tasks: u32,
    /// When it registered.
    pub started_ms: i64,
    /// When it was heard of last.
    pub last_seen_ms: i64,
    /// Its version.
    pub version: String,
}

impl TryFrom<v1::Executor> for Executor {
    type Error = Error;

    fn try_from(e: v1::Executor) -> Result<Self> {
        let state = match e.state() {
            v1::ExecutorState::Active => ExecutorState::Active,
            v1::ExecutorState::Draining => ExecutorState::Draining,
            v1::ExecutorState::Lost => ExecutorState::Lost,
            v1::ExecutorState::Unspecified => {
                return Err(Error::Reply(format!("executor {} has no state", e.executor_id)));
            }
        };
        Ok(Self {
            id: e.executor_id,
            host: e.host,
            port: e.port,
            pool: e.pool,
            state,
            vcores: e.vcores,
            free_vcores: e.free_vcores,
            memory_limit_bytes: e.memory_limit_bytes,
            memory_used_bytes: e.memory_used_bytes,
            disk_limit_bytes: e.disk_limit_bytes,
            disk_used_bytes: e.disk_used_bytes,
            running_tasks: e.running_tasks,
            started_ms: e.started_ms,
            last_seen_ms: e.last_seen_ms,
            version: e.version,
        })
    }
}

impl Selvedge {
    /// Every executor the scheduler knows, lost ones included.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn executors(&self) -> Result<Vec<Executor>> {
        let reply = self.fleet().list_executors(v1::ListExecutorsRequest {}).await.map_err(|e| self.fail(&e))?;
        reply.into_inner().executors.into_iter().map(Executor::try_from).collect()
    }

    /// Tells an executor to take no new task, end what it runs, and leave. Idempotent.
    ///
    /// # Errors
    /// When there is no such executor, or nobody answers.
    pub async fn drain(&self, id: &ExecutorId) -> Result<Executor> {
        let request = v1::DrainExecutorRequest { executor_id: id.to_string() };
        let reply = self.fleet().drain_executor(request).await.map_err(|e| self.fail(&e))?.into_inner();
        reply.executor.ok_or_else(|| Error::Reply("it holds no executor".to_owned()))?.try_into()
    }
}
