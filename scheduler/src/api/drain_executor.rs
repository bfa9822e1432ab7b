//! DrainExecutor: the executor takes nothing new, ends what it runs, and leaves.

use selvedge_model::id::InvalidId;
use selvedge_model::{ExecutorId, Failure};
use selvedge_proto::v1;

use super::{Api, list_executors};

pub(super) fn drain_executor(
    api: &Api,
    request: v1::DrainExecutorRequest,
) -> Result<v1::DrainExecutorResponse, Failure> {
    let id: ExecutorId = request.executor_id.parse().map_err(|error: InvalidId| {
        Failure::user("INVALID_EXECUTOR_ID", error.to_string()).with_hint("`selvedge executors list` shows their ids")
    })?;
    let view = api.driver.host().drain(&id)?;
    tracing::info!(executor_id = %id, "Executor asked to drain");
    Ok(v1::DrainExecutorResponse { executor: Some(list_executors::executor(view)) })
}
