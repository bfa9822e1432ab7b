//! The stages that `EXPLAIN` shows are those that run.

use super::super::planned_stages;
use super::fake::{FakeExecutor, GROUP, host, options, planned, submit};

#[tokio::test(flavor = "multi_thread")]
async fn the_stages_shown_are_those_that_run() {
    let (state, plan) = planned(false, GROUP).await;
    let stages = planned_stages(&state, &plan, false).await.unwrap();
    assert_eq!(stages.iter().map(|s| s.stage_id).collect::<Vec<_>>(), [1, 2]);
    let first = &stages[0].text;
    assert!(first.starts_with("inputs: values\npartitions: 3 in, 2 out by hash of k@0\nAggregateExec: mode=Partial"));
    let second = &stages[1].text;
    assert!(second.starts_with("inputs: stage 1\npartitions: 2 in, 2 out\n"), "{second}");
    assert!(second.contains("AggregateExec: mode=FinalPartitioned") && second.contains("ShuffleReaderExec: stage=1"));

    let host = host(options()).await;
    let job = submit(&host, "explained", false, GROUP).await;
    let mut executor = FakeExecutor::new(&host, "e1", 3);
    let tasks = executor.take().await;
    let ran = executor.work_off(tasks, job).await.stages;
    let tasks: Vec<_> = ran.iter().map(|s| (s.stage_id, s.tasks_total)).collect();
    assert_eq!(tasks, [(1, 3), (2, 2)]);
}
