//! Ballista's task statuses as we build them. The scheduler's facade reads them back.
//!
//! A failure travels as `selvedge-failure:` and its JSON, so that the scheduler decides by the typed failure and never by
//! text. Whether a failure is retryable is the failure's word alone.

use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::task_status::Status;
use ballista_core::serde::protobuf::{
    ExecutionError, FailedTask, IoError, OperatorMetricsSet, ResultLost, SuccessfulTask, TaskDefinition, TaskStatus,
};
use selvedge_model::{Failure, TaskRef};

use crate::clock::now_ms;

/// Stands before the JSON of a failure in `FailedTask::error`.
pub(super) const FAILURE_PREFIX: &str = "selvedge-failure:";

/// The attempt a definition is for.
pub(super) fn task_ref(definition: &TaskDefinition) -> TaskRef {
    TaskRef {
        job_id: definition.job_id.clone(),
        stage_id: definition.stage_id,
        stage_attempt: definition.stage_attempt_num,
        task_id: definition.task_id,
    }
}

fn ended(task: &TaskRef, status: Status) -> TaskStatus {
    TaskStatus {
        task_id: task.task_id,
        job_id: task.job_id.clone(),
        stage_id: task.stage_id,
        stage_attempt_num: task.stage_attempt,
        launch_time: 0,
        start_exec_time: 0,
        end_exec_time: now_ms(),
        metrics: Vec::new(),
        status: Some(status),
    }
}

fn timed(definition: &TaskDefinition, started_ms: u64, status: Status) -> TaskStatus {
    let launch_time = definition.launch_time;
    TaskStatus { launch_time, start_exec_time: started_ms, ..ended(&task_ref(definition), status) }
}

/// A task that succeeded, with what its operators measured.
pub(super) fn succeeded(
    definition: &TaskDefinition,
    started_ms: u64,
    output: SuccessfulTask,
    metrics: Vec<OperatorMetricsSet>,
) -> TaskStatus {
    TaskStatus { metrics, ..timed(definition, started_ms, Status::Successful(output)) }
}

/// A task that failed.
pub(super) fn failed(definition: &TaskDefinition, started_ms: u64, failure: &Failure) -> TaskStatus {
    let retryable = failure.is_retryable();
    let reason =
        if retryable { FailedReason::IoError(IoError {}) } else { FailedReason::ExecutionError(ExecutionError {}) };
    let failed =
        FailedTask { error: encode(failure), retryable, count_to_failures: retryable, failed_reason: Some(reason) };
    timed(definition, started_ms, Status::Failed(failed))
}

/// A task that was never begun and goes to another executor.
pub(super) fn handed_back(definition: &TaskDefinition) -> TaskStatus {
    given_back(&task_ref(definition))
}

/// A task that goes to another executor; it does not count as a failed try.
pub(super) fn given_back(task: &TaskRef) -> TaskStatus {
    let failure = Failure::external("EXECUTOR_DRAINED", "the executor leaves and gave the task back");
    ended(
        task,
        Status::Failed(FailedTask {
            error: encode(&failure),
            retryable: true,
            count_to_failures: false,
            failed_reason: Some(FailedReason::ResultLost(ResultLost {})),
        }),
    )
}

fn encode(failure: &Failure) -> String {
    // A failure is plain data: its encoding does not fail. Should it, the cause still tells.
    match serde_json::to_string(failure) {
        Ok(json) => format!("{FAILURE_PREFIX}{json}"),
        Err(_) => failure.cause.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed_task(failure: &Failure) -> FailedTask {
        let definition = TaskDefinition { job_id: "j".into(), ..Default::default() };
        match failed(&definition, 1, failure).status {
            Some(Status::Failed(failed)) => failed,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_failure_travels_whole_and_decides_alone_whether_to_retry() {
        for failure in [Failure::user("BAD_DATA", "x"), Failure::external("OUT_OF_MEMORY", "y").with_hint("z")] {
            let failed = failed_task(&failure);
            assert_eq!(failed.retryable, failure.is_retryable());
            let json = failed.error.strip_prefix(FAILURE_PREFIX).unwrap();
            assert_eq!(serde_json::from_str::<Failure>(json).unwrap(), failure);
        }
    }
}
