//! Work that kills its executors is run no more, and what only stood beside it is not blamed.

use std::sync::Arc;
use std::time::Duration;

use selvedge_model::{Failure, Retry};

use super::super::{Host, HostOptions};
use super::fake::{FakeExecutor, ROWS, SCAN, host, options, rows, submit};

const LEASE: Duration = Duration::from_millis(200);

async fn frail() -> Arc<Host> {
    host(HostOptions { lease: LEASE, ..options() }).await
}

/// One executor after another takes all it can and dies, until the job ends. Returns how many it took.
async fn die_out(host: &Arc<Host>, name: &str, vcores: u32) -> (usize, Failure) {
    let job = submit(host, name, false, SCAN).await;
    let outcome = tokio::spawn(job.outcome());
    for dead in 0..12 {
        if outcome.is_finished() {
            return (dead, outcome.await.unwrap().unwrap_err());
        }
        FakeExecutor::new(host, &format!("{name}-{dead}"), vcores).take().await;
        tokio::time::sleep(LEASE * 3).await;
    }
    panic!("the job goes on killing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_kills_each_executor_it_runs_on_ends_its_job_for_good() {
    let (dead, failure) = die_out(&frail().await, "alone", 1).await;
    // Three tasks, one at a time: whatever the order, one of them has had two executors by the fourth.
    assert!((2..=4).contains(&dead), "{dead} executors died");
    assert_eq!((failure.code.as_str(), failure.retry), ("POISONED_TASK", Retry::Never));
    assert!(failure.cause.contains("2 executors") && failure.cause.contains("alone-"), "{failure}");

    let (dead, failure) = die_out(&frail().await, "company", 3).await;
    assert_eq!((dead, failure.code.as_str()), (3, "POISONED_TASK"), "three tasks at once: twice may be bad luck");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_suspected_of_executors_that_leave() {
    let host = frail().await;
    let job = submit(&host, "leaving", false, SCAN).await;
    for number in 0..4 {
        let mut leaving = FakeExecutor::new(&host, &format!("leaving-{number}"), 1);
        leaving.take().await;
        if number % 2 == 0 {
            leaving.leave().await;
        } else {
            // Asked to go, and gone before it could say goodbye.
            host.drain(&leaving.id.parse().unwrap()).unwrap();
            tokio::time::sleep(LEASE * 3).await;
        }
    }
    let mut heir = FakeExecutor::new(&host, "heir", 3);
    let tasks = heir.take().await;
    assert_eq!(rows(&heir.work_off(tasks, job).await), 3 * ROWS);
}
