//! What is lost is made again, and only that.

use std::time::Duration;

use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::{FetchPartitionError, IoError};
use prost::Message as _;
use selvedge_model::Retry;

use super::super::{HostOptions, graph};
use super::fake::{FakeExecutor, GROUP, ROWS, SCAN, failed, host, options, rows, submit, success};

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_lost_poll_reply_are_handed_out_again_and_their_old_lives_do_not_count() {
    let host = host(HostOptions { lost_task_grace: Duration::from_millis(50), ..options() }).await;
    let job = submit(&host, "reply", true, SCAN).await;
    let mut executor = FakeExecutor::new(&host, "e1", 3);
    let lost = executor.take().await;
    executor.held.clear();
    let again = executor.take().await;
    assert_eq!((lost.len(), again.len()), (3, 3));
    assert!(lost.iter().all(|old| again.iter().all(|new| new.task_id != old.task_id)));
    let late: Vec<_> = lost.iter().map(success).collect();
    executor.send(executor.request(&late)).await;
    let output = executor.work_off(again, job).await;
    assert_eq!((output.results.len(), rows(&output)), (3, 3 * ROWS));
}

/// On one thread, where the step cannot run before the poll is dropped.
#[tokio::test]
async fn tasks_of_a_poll_that_was_dropped_come_with_the_next_one() {
    let host = host(options()).await;
    let job = submit(&host, "dropped", true, SCAN).await;
    let mut executor = FakeExecutor::new(&host, "e1", 3);
    while graph::running_job(&host.server, &job.job_id).is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut poll = Box::pin(executor.send(executor.request(&[])));
    assert!(futures::poll!(&mut poll).is_pending());
    drop(poll);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let tasks = executor.poll(&[]).await;
    assert_eq!(tasks.len(), 3);
    let output = executor.work_off(tasks, job).await;
    assert_eq!(rows(&output), 3 * ROWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_an_executor_resets_what_ran_on_it_and_nothing_that_had_finished() {
    for adaptive in [true, false] {
        let host = host(HostOptions { lease: Duration::from_millis(400), ..options() }).await;
        let job = submit(&host, "loss", adaptive, GROUP).await;
        let mut doomed = FakeExecutor::new(&host, "doomed", 3);
        let tasks = doomed.take().await;
        doomed.poll(&[success(&tasks[0]), success(&tasks[1])]).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        let mut heir = FakeExecutor::new(&host, "heir", 3);
        let inherited = heir.take().await;
        assert_eq!(inherited.len(), 1, "adaptive {adaptive}: only the task that ran is run again");
        let output = heir.work_off(inherited, job).await;
        assert_eq!((output.partitions, rows(&output)), (2, 2 * ROWS), "adaptive {adaptive}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_an_executor_after_its_stage_was_read_does_not_hang_the_job() {
    for adaptive in [true, false] {
        let host = host(HostOptions { lease: Duration::from_millis(400), ..options() }).await;
        let job = submit(&host, "late-loss", adaptive, GROUP).await;
        let mut doomed = FakeExecutor::new(&host, "doomed", 3);
        let tasks = doomed.take().await;
        let reducers = doomed.poll(&tasks.iter().map(success).collect::<Vec<_>>()).await;
        assert_eq!(reducers.len(), 2, "the reply to the last status carries the next stage");
        tokio::time::sleep(Duration::from_millis(700)).await;
        let mut heir = FakeExecutor::new(&host, "heir", 3);
        let inherited = heir.take().await;
        let output = heir.work_off(inherited, job).await;
        assert_eq!((output.results.len(), rows(&output)), (2, 2 * ROWS), "adaptive {adaptive}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_back_from_an_expired_lease_is_told_to_stop_its_old_tasks_and_they_do_not_count() {
    let host = host(HostOptions { lease: Duration::from_millis(300), ..options() }).await;
    let job = submit(&host, "late", true, SCAN).await;
    let mut late = FakeExecutor::new(&host, "late", 3);
    let old = late.take().await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let mut heir = FakeExecutor::new(&host, "heir", 3);
    let tasks = heir.take().await;
    let reply = late.send(late.request(&[success(&old[0])])).await;
    assert_eq!(reply.cancel.len(), 2, "the one that ended needs no stopping");
    let output = heir.work_off(tasks, job).await;
    assert_eq!((output.results.len(), rows(&output)), (3, 3 * ROWS));
    assert!(output.results.iter().all(|part| part.location.executor_meta.id.starts_with("s3!heir!")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_shuffle_location_a_job_whose_results_left_ends_to_be_run_again() {
    let host = host(HostOptions { local_shuffle_dir: None, ..options() }).await;
    let job = submit(&host, "bare", true, GROUP).await;
    let mut executor = FakeExecutor::new(&host, "e1", 1);
    let tasks = executor.take().await;
    executor.poll(&[success(&tasks[0])]).await;
    executor.leave().await;
    let failure = job.outcome().await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retry), ("EXECUTOR_LOST", Retry::Later));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fetch_is_tried_again_and_never_hangs() {
    for adaptive in [true, false] {
        let host = host(options()).await;
        let job = submit(&host, "fetch", adaptive, GROUP).await;
        let mut executor = FakeExecutor::new(&host, "e1", 3);
        let tasks = executor.take().await;
        let mut reducers = executor.poll(&tasks.iter().map(success).collect::<Vec<_>>()).await;
        let fetch_failed = |task: &_| {
            let reason = FailedReason::FetchPartitionError(FetchPartitionError {
                executor_id: "s3!e1!x".into(),
                map_stage_id: 1,
                map_partition_id: 0,
            });
            failed(task, "block is gone", false, reason)
        };
        let first = reducers.remove(0);
        let mut again = executor.poll(&[fetch_failed(&first)]).await;
        if again.is_empty() {
            again = executor.take().await;
        }
        assert!(again.len() == 1 && again[0].task_id != first.task_id, "adaptive {adaptive}");
        assert_eq!(again[0].global_output_partition_ids, first.global_output_partition_ids);
        again.extend(reducers);
        let output = executor.work_off(again, job).await;
        assert_eq!((output.results.len(), rows(&output)), (2, 2 * ROWS), "adaptive {adaptive}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fails_four_times_fails_its_job_so_that_the_statement_runs_again() {
    let host = host(options()).await;
    let job = submit(&host, "four", true, SCAN).await;
    let mut executor = FakeExecutor::new(&host, "e1", 1);
    let (mut tries, mut statuses) = (0, Vec::new());
    let outcome = tokio::spawn(job.outcome());
    while !outcome.is_finished() {
        let tasks = executor.poll(&statuses).await;
        tries += tasks.len();
        let reason = || FailedReason::IoError(IoError {});
        statuses = tasks.iter().map(|task| failed(task, "disk went away", true, reason())).collect();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let failure = outcome.await.unwrap().unwrap_err();
    assert_eq!((failure.retry, failure.cause.as_str(), tries), (Retry::Later, "disk went away", 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_never_arrives_ends_its_job_after_four_times_and_says_where() {
    let host = host(HostOptions { lost_task_grace: Duration::from_millis(30), ..options() }).await;
    let job = submit(&host, "vain", true, SCAN).await;
    let mut executor = FakeExecutor::new(&host, "e1", 1);
    let outcome = tokio::spawn(job.outcome());
    let mut handed_out = 0;
    while !outcome.is_finished() {
        // It can read none of its tasks, so it holds none.
        handed_out += executor.poll(&[]).await.len();
        executor.held.clear();
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let failure = outcome.await.unwrap().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retry), ("TASK_UNDELIVERABLE", Retry::Later));
    assert!(failure.cause.contains("4 times") && failure.cause.contains("e1"), "{failure}");
    assert!((4..=12).contains(&handed_out), "three partitions, each at most four times: {handed_out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_carries_what_fits_and_the_rest_comes_with_the_next_ones() {
    let all = {
        let host = host(options()).await;
        let job = submit(&host, "size", true, SCAN).await;
        let tasks = FakeExecutor::new(&host, "e1", 3).take().await;
        drop(job);
        tasks
    };
    let largest = all.iter().map(|task| task.encoded_len()).max().unwrap();
    let host = host(HostOptions { max_reply_bytes: largest * 3 / 2, ..options() }).await;
    let job = submit(&host, "full", true, SCAN).await;
    let mut executor = FakeExecutor::new(&host, "e1", 3);
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let some = executor.take().await;
        assert_eq!(some.len(), 1);
        tasks.extend(some);
    }
    let output = executor.work_off(tasks, job).await;
    assert_eq!((output.results.len(), rows(&output)), (3, 3 * ROWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_no_reply_can_carry_ends_its_job_and_says_why() {
    let host = host(HostOptions { max_reply_bytes: 100, ..options() }).await;
    let job = submit(&host, "large", true, SCAN).await;
    let outcome = tokio::spawn(job.outcome());
    let mut executor = FakeExecutor::new(&host, "e1", 3);
    while !outcome.is_finished() {
        assert!(executor.poll(&[]).await.is_empty());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let failure = outcome.await.unwrap().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retry), ("TASK_TOO_LARGE", Retry::Never));
    assert!(failure.cause.contains("MiB"), "{failure}");
}
