//! ListExecutors: the fleet as the scheduler sees it, recently lost ones included.

use selvedge_proto::v1;

use super::Api;
use crate::ballista::{ExecutorState, ExecutorView};

pub(super) fn list_executors(api: &Api) -> v1::ListExecutorsResponse {
    v1::ListExecutorsResponse { executors: api.driver.host().executors().into_iter().map(executor).collect() }
}

pub(super) fn executor(view: ExecutorView) -> v1::Executor {
    let state = match view.state {
        ExecutorState::Active => v1::ExecutorState::Active,
        ExecutorState::Draining => v1::ExecutorState::Draining,
        ExecutorState::Lost => v1::ExecutorState::Lost,
    };
    v1::Executor {
        executor_id: view.id.into(),
        host: view.host,
        port: view.port,
        pool: view.pool,
        state: state.into(),
        vcores: view.vcores,
        free_vcores: view.free_vcores,
        memory_limit_bytes: view.memory_limit_bytes,
        memory_used_bytes: view.memory_used_bytes,
        disk_limit_bytes: view.disk_limit_bytes,
        disk_used_bytes: view.disk_used_bytes,
        running_tasks: view.running_tasks,
        started_ms: view.started_ms,
        last_seen_ms: view.last_seen_ms,
        version: view.version,
    }
}
