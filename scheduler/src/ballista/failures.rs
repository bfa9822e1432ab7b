//! From what a task or the engine says went wrong to a typed failure, and to what Ballista is told of it.
//!
//! Executors send `selvedge-failure:` and the JSON of a [`Failure`]. Ballista retries by its own reason codes, some of which
//! hang or kill a job, so [`for_engine`] sends it only the three that do what we mean. Pure.

use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::{ExecutionError, FailedTask, IoError, ResultLost, TaskKilled};
use selvedge_model::{Domain, Failure, Retry, TaskRef};

/// What precedes a failure's JSON in a failed task's error.
pub(super) const FAILURE_PREFIX: &str = "selvedge-failure:";

/// The typed failure in a text, wherever it stands in it.
pub(super) fn parse(text: &str) -> Option<Failure> {
    let (_, json) = text.split_once(FAILURE_PREFIX)?;
    serde_json::Deserializer::from_str(json.trim_start()).into_iter::<Failure>().next()?.ok()
}

/// The failure a task reports. A task that does not say is judged by whether it may be tried again.
pub(super) fn of_task(task: &FailedTask) -> Failure {
    if let Some(failure) = parse(&task.error) {
        return failure;
    }
    let cause = first_line(&task.error);
    match task.failed_reason {
        Some(FailedReason::FetchPartitionError(_)) => Failure::external("SHUFFLE_LOST", cause),
        _ if task.retryable => Failure::external("TASK_FAILED", cause),
        _ => Failure::internal("TASK_FAILED", cause),
    }
}

/// What Ballista is told of a failed task.
///
/// - A fetch failure hangs the adaptive planner and rolls stages back in the static one: it becomes a counted I/O error, so
///   that the task is tried again, four times at most.
/// - `ExecutionError` fails the job whatever `retryable` says, and every other reason, not retryable, leaves its task failed
///   for ever: the reason is made to agree with the flag.
pub(super) fn for_engine(mut task: FailedTask) -> FailedTask {
    if matches!(task.failed_reason, Some(FailedReason::FetchPartitionError(_))) {
        task.retryable = true;
        task.count_to_failures = true;
    }
    task.failed_reason = Some(match (task.retryable, task.count_to_failures) {
        (true, true) => FailedReason::IoError(IoError {}),
        (true, false) => FailedReason::TaskKilled(TaskKilled {}),
        (false, _) => FailedReason::ExecutionError(ExecutionError {}),
    });
    task
}

/// What Ballista is told of a task whose hand-out never arrived: run it again, at nobody's expense.
pub(super) fn never_arrived() -> FailedTask {
    FailedTask {
        error: "the executor does not hold this task: the reply that carried it was lost".to_owned(),
        retryable: true,
        count_to_failures: false,
        failed_reason: Some(FailedReason::ResultLost(ResultLost {})),
    }
}

/// Which of two failures of one job to show: one that cannot be retried is the cause, what comes after it is noise.
pub(super) fn worse(known: Option<Failure>, new: Failure) -> Failure {
    match known {
        Some(known) if !known.is_retryable() => known,
        _ => new,
    }
}

/// The failure of a job of which Ballista says only a text.
pub(super) fn of_job(text: &str) -> Failure {
    parse(text).unwrap_or_else(|| Failure::internal("ENGINE", first_line(text)))
}

pub(super) fn cancelled() -> Failure {
    Failure::user("CANCELLED", "The run was cancelled")
}

pub(super) fn stuck(why: &str) -> Failure {
    Failure::external("STUCK", format!("The statement stopped making progress: {why}"))
}

/// Planning failed for a reason that has passed: a listing that broke off, a store that was away.
pub(super) fn not_planned(text: &str) -> Failure {
    Failure::external("PLANNING_FAILED", format!("The statement could not be planned: {}", first_line(text)))
}

/// A task's output is gone for good; the statement begins anew.
pub(super) fn output_lost(task: &TaskRef, why: &str) -> Failure {
    let cause = format!("The output of task {} of stage {} is missing, and {why}", task.task_id, task.stage_id);
    Failure::external("SHUFFLE_LOST", cause)
}

pub(super) fn executor_lost(executor: &str) -> Failure {
    Failure::external("EXECUTOR_LOST", format!("Executor {executor} went away with results that were still needed"))
        .with_hint("Set a shuffle location, so that results outlive the executor that made them")
}

pub(super) fn no_executors(waited_s: u64) -> Failure {
    let cause = format!("No executor has been there to run the statement for {waited_s} s");
    Failure::new(Domain::External, Retry::Never, "NO_EXECUTORS", cause).with_hint(
        "Start one with `selvedge executor --scheduler URL`, or see `selvedge executors list`; the scheduler's \
             no_executors_timeout says how long a run waits",
    )
}

pub(super) fn undeliverable(stage_id: u32, partition: u32, executor: &str, times: u32) -> Failure {
    let cause = format!(
        "A task of stage {stage_id} (partition {partition}) was handed out {times} times and never arrived, the last time at \
         executor {executor}"
    );
    Failure::external("TASK_UNDELIVERABLE", cause).with_hint(
        "See that executor's log: it may be of another version than the scheduler, or the network loses the replies",
    )
}

pub(super) fn task_too_large(stage_id: u32, size_bytes: usize, limit_bytes: usize) -> Failure {
    let mib = |bytes: usize| bytes.div_ceil(1 << 20);
    let cause = format!(
        "A task of stage {stage_id} takes {} MiB to describe, and a message to an executor holds {} MiB",
        mib(size_bytes),
        mib(limit_bytes)
    );
    Failure::user("TASK_TOO_LARGE", cause).with_hint(
        "Raise selvedge.planner.target_partitions if it reads very many files; move long lists of values into a table",
    )
}

fn first_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason was given").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ballista_core::serde::protobuf::FetchPartitionError;

    #[test]
    fn a_typed_failure_is_found_inside_the_engines_own_words() {
        let failure = Failure::user("BAD_DATA", "row 3: 'x' is not an Int64 \"quoted\"").with_hint("mend it");
        let json = serde_json::to_string(&failure).unwrap();
        let text = format!("Job failed due to stage 1 failed: {FAILURE_PREFIX}{json}\n");
        assert_eq!(of_job(&text), failure);
        assert_eq!(of_job("\n plain \n").cause, "plain");
    }

    #[test]
    fn only_reasons_that_ballista_handles_reach_it() {
        let task = |retryable, count, reason| FailedTask {
            error: "e".into(),
            retryable,
            count_to_failures: count,
            failed_reason: reason,
        };
        let fetch = FailedReason::FetchPartitionError(FetchPartitionError::default());
        let told = for_engine(task(false, false, Some(fetch)));
        assert_eq!(told, task(true, true, Some(FailedReason::IoError(IoError {}))));
        let told = for_engine(task(true, true, Some(FailedReason::ExecutionError(ExecutionError {}))));
        assert_eq!(told.failed_reason, Some(FailedReason::IoError(IoError {})));
        for unhandled in [None, Some(FailedReason::TaskKilled(TaskKilled {}))] {
            let told = for_engine(task(false, false, unhandled));
            assert_eq!(told.failed_reason, Some(FailedReason::ExecutionError(ExecutionError {})));
        }
    }

    #[test]
    fn the_cause_is_not_hidden_by_what_follows_it() {
        let cause = Failure::user("BAD_DATA", "x");
        let noise = Failure::external("SHUFFLE_LOST", "y");
        assert_eq!(worse(Some(cause.clone()), noise.clone()), cause);
        assert_eq!(worse(Some(noise), cause.clone()), cause);
    }
}
