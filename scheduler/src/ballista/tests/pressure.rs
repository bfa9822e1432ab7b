//! A task that ran out of memory gets more of an executor, and when it had all, its job ends to be planned again.

use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::{IoError, TaskDefinition, TaskStatus};
use selvedge_model::{Failure, Retry};

use super::super::failures::FAILURE_PREFIX;
use super::fake::{FakeExecutor, SCAN, failed, host, options, submit};

fn exhausted(task: &TaskDefinition) -> TaskStatus {
    let failure = Failure::external("OUT_OF_MEMORY", "GroupedHashAggregate needs 7 MiB more and holds 40 MiB");
    let error = format!("{FAILURE_PREFIX}{}", serde_json::to_string(&failure).unwrap());
    failed(task, &error, true, FailedReason::IoError(IoError {}))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_time_a_task_is_handed_out_with_twice_the_vcores_until_it_has_them_all() {
    let host = host(options()).await;
    let job = submit(&host, "oom", false, SCAN).await;
    let mut executor = FakeExecutor::new(&host, "e1", 4);
    let mut tasks = executor.take().await;
    assert!(tasks.len() == 3 && tasks.iter().all(|task| task.vcores_consumed == 1));
    // Only the one that fails is concerned; it may come back with the reply to its status, or later.
    let mut task = tasks.remove(0);
    for vcores in [2, 4] {
        let mut again = executor.poll(&[exhausted(&task)]).await;
        if again.is_empty() {
            again = executor.take().await;
        }
        task = again.remove(0);
        assert_eq!((again.len(), task.vcores_consumed), (0, vcores));
    }
    executor.poll(&[exhausted(&task)]).await;
    let failure = job.outcome().await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retry), ("OUT_OF_MEMORY", Retry::Later), "the statement goes on");
    assert!(failure.cause.contains("GroupedHashAggregate needs 7 MiB"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_had_its_executor_to_itself_is_not_tried_there_again() {
    let host = host(options()).await;
    let job = submit(&host, "alone-oom", false, SCAN).await;
    let mut executor = FakeExecutor::new(&host, "e1", 1);
    let tasks = executor.take().await;
    executor.poll(&[exhausted(&tasks[0])]).await;
    assert_eq!(job.outcome().await.unwrap_err().code, "OUT_OF_MEMORY");
}
