//! Who gets tasks, and what operators see.

use std::time::Duration;

use selvedge_proto::internal::v1::TaskLogLine;

use super::super::{ExecutorState, HostOptions};
use super::fake::{FakeExecutor, SCAN, host, options, submit};

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_executor_is_told_and_gets_no_task() {
    let host = host(options()).await;
    let job = submit(&host, "drain", true, SCAN).await;
    let mut executor = FakeExecutor::new(&host, "e1", 1);
    executor.take().await;
    let view = host.drain(&"e1".parse().unwrap()).unwrap();
    assert_eq!((view.state, host.fleet_size().vcores), (ExecutorState::Draining, 0));
    let mut idle = executor.request(&[]);
    idle.load.as_mut().unwrap().free_vcores = 1;
    let reply = executor.send(idle).await;
    assert!(reply.drain && reply.tasks.is_empty());
    assert_eq!(host.drain(&"nobody".parse().unwrap()).unwrap_err().code, "EXECUTOR_NOT_FOUND");
    drop(job);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_stops_polling_is_shown_as_lost_and_comes_back() {
    let host = host(HostOptions { lease: Duration::from_millis(200), ..options() }).await;
    let mut executor = FakeExecutor::new(&host, "e1", 4);
    executor.poll(&[]).await;
    assert_eq!((host.executors()[0].state, host.fleet_size().vcores), (ExecutorState::Active, 4));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((host.executors()[0].state, host.fleet_size().vcores), (ExecutorState::Lost, 0));
    executor.poll(&[]).await;
    assert_eq!(host.executors()[0].state, ExecutorState::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_poll_is_answered_as_soon_as_there_is_work() {
    let host = host(options()).await;
    let mut executor = FakeExecutor::new(&host, "e1", 3);
    executor.wait_ms = 10_000;
    let begun = std::time::Instant::now();
    let waiting = tokio::spawn(async move { executor.poll(&[]).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let job = submit(&host, "wake", true, SCAN).await;
    assert_eq!(waiting.await.unwrap().len(), 3);
    assert!(begun.elapsed() < Duration::from_secs(3));
    drop(job);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_executor_keeps_may_go_when_it_is_not_needed_however_often_the_reply_is_lost() {
    let host = host(options()).await;
    let mut executor = FakeExecutor::new(&host, "e1", 1);
    let job = submit(&host, "logs", true, SCAN).await;
    executor.take().await;
    let mut request = executor.request(&[]);
    let task = request.held[0].clone();
    request.logs.push(TaskLogLine { task: Some(task), time_ms: 7, level: "WARN".into(), message: "spilled".into() });
    executor.send(request).await;
    executor.kept_jobs = vec!["logs-s1-a1".to_owned(), "of-an-earlier-scheduler-s1-a1".to_owned()];
    assert_eq!(executor.send(executor.request(&[])).await.forget_jobs, ["of-an-earlier-scheduler-s1-a1"]);
    host.forget(&job.job_id).await;
    for _ in 0..2 {
        assert_eq!(executor.send(executor.request(&[])).await.forget_jobs, executor.kept_jobs);
    }
    executor.kept_jobs.clear();
    assert!(executor.send(executor.request(&[])).await.forget_jobs.is_empty());
    let line = &host.logs("logs-s1-a1")[0];
    assert_eq!((line.message.as_str(), line.executor.as_str()), ("spilled", "e1"));
}
