//! Work that is done once more beside the graph: what was lost, and what is slow.

use std::time::Duration;

use selvedge_model::TaskRef;
use selvedge_model::copies::is_copy;
use selvedge_proto::internal::v1::PollRequest;

use super::super::HostOptions;
use super::super::poll::task_of_definition;
use super::fake::{FakeExecutor, GROUP, ROWS, SCAN, decode, host, options, rows, submit, success};

fn misses(request: PollRequest, task: &TaskRef) -> PollRequest {
    PollRequest { missing: vec![task.clone().into()], ..request }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_output_is_made_again_and_its_readers_are_told_where() {
    for adaptive in [true, false] {
        let host = host(options()).await;
        let job = submit(&host, "missing", adaptive, GROUP).await;
        let mut maker = FakeExecutor::new(&host, "maker", 3);
        let made = maker.take().await;
        let statuses: Vec<_> = made.iter().map(success).collect();
        let readers = maker.poll(&statuses).await;
        assert!(!readers.is_empty());
        let lost = task_of_definition(&made[1]);
        let mut other = FakeExecutor::new(&host, "other", 1);
        let asked = other.send(misses(other.request(&[]), &lost)).await;
        assert!(asked.replaced.is_empty());
        let copies: Vec<_> = asked.tasks.iter().map(decode).collect();
        let [copy] = copies.as_slice() else { panic!("one copy: {copies:?}") };
        assert!(is_copy(&task_of_definition(copy)) && copy.stage_id == lost.stage_id);
        other.held.push(task_of_definition(copy));
        let told = other.send(misses(other.request(&[success(copy)]), &lost)).await;
        assert_eq!(told.replaced.len(), 1, "adaptive {adaptive}");
        assert_eq!(told.replaced[0].executor_id, "other");
        assert_eq!(told.replaced[0].task.as_ref().map(|task| task.task_id), Some(copy.task_id));
        assert_eq!((told.replaced[0].host.as_str(), told.replaced[0].port), ("10.0.0.1", 4444));
        let output = maker.work_off(readers, job).await;
        assert_eq!(rows(&output), output.results.len() as u64 * ROWS, "the graph heard of no copy");
        let rerun: u32 = output.stages.iter().map(|stage| stage.tasks_rerun).sum();
        assert_eq!(rerun, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_first_ends_its_slow_original_which_is_then_stopped() {
    let host = host(HostOptions { lost_task_grace: Duration::from_secs(60), ..options() }).await;
    let job = submit(&host, "slow", false, SCAN).await;
    let mut slow = FakeExecutor::new(&host, "slow", 3);
    let tasks = slow.take().await;
    slow.poll(&[success(&tasks[0]), success(&tasks[1])]).await;
    let original = task_of_definition(&tasks[2]);
    assert!(host.copies.lock().overtake(&original, &"slow".parse().unwrap()));
    assert!(slow.poll(&[]).await.is_empty(), "not where it is slow");
    let mut fast = FakeExecutor::new(&host, "fast", 1);
    let copies = fast.take().await;
    assert!(is_copy(&task_of_definition(&copies[0])));
    let outcome = tokio::spawn(job.outcome());
    fast.poll(&[success(&copies[0])]).await;
    let output = tokio::time::timeout(Duration::from_secs(5), outcome).await.unwrap().unwrap().unwrap();
    assert_eq!((output.results.len(), rows(&output)), (3, 3 * ROWS));
    let late = slow.send(slow.request(&[success(&tasks[2])])).await;
    assert!(late.tasks.is_empty());
    let reply = slow.send(slow.request(&[])).await;
    assert_eq!(reply.cancel.len(), 1, "nobody waits for it");
}
