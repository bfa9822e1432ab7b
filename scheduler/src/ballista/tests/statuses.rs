//! Which statuses count, and how.

use ballista_core::serde::protobuf::operator_metric::Metric;
use ballista_core::serde::protobuf::{NamedCount, OperatorMetric, OperatorMetricsSet};
use selvedge_engine::shuffle::VirtualExecutorId;

use super::fake::{FakeExecutor, GROUP, ROWS, SCAN, host, options, rows, submit, success};

#[tokio::test(flavor = "multi_thread")]
async fn a_success_sent_again_does_not_double_rows() {
    for adaptive in [true, false] {
        let host = host(options()).await;
        let job = submit(&host, "dup", adaptive, SCAN).await;
        let mut executor = FakeExecutor::new(&host, "e1", 3);
        let tasks = executor.take().await;
        assert_eq!(tasks.len(), 3);
        let twice = [success(&tasks[0]), success(&tasks[0])];
        executor.send(executor.request(&twice)).await;
        executor.send(executor.request(&twice)).await;
        let output = executor.work_off(tasks, job).await;
        assert_eq!((output.partitions, output.results.len(), rows(&output)), (3, 3, 3 * ROWS), "adaptive {adaptive}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_polls_with_the_same_status_at_once_count_it_once() {
    let host = host(options()).await;
    let job = submit(&host, "race", true, SCAN).await;
    let mut executor = FakeExecutor::new(&host, "e1", 3);
    let tasks = executor.take().await;
    let all: Vec<_> = tasks.iter().map(success).collect();
    futures::future::join_all((0..8).map(|_| executor.send(executor.request(&all)))).await;
    let output = job.outcome().await.unwrap();
    assert_eq!((output.results.len(), rows(&output)), (3, 3 * ROWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_belongs_to_a_virtual_executor_at_the_real_ones_address() {
    let host = host(options()).await;
    let job = submit(&host, "virtual", true, SCAN).await;
    let mut executor = FakeExecutor::new(&host, "e1", 3);
    let tasks = executor.take().await;
    let output = executor.work_off(tasks, job).await;
    for part in &output.results {
        let made_by: VirtualExecutorId = part.location.executor_meta.id.parse().unwrap();
        assert_eq!((made_by.real.as_str(), made_by.task.job_id.as_str()), ("e1", "virtual-s1-a1"));
        assert_eq!((part.location.executor_meta.host.as_str(), part.location.executor_meta.port), ("10.0.0.1", 4444));
    }
}

/// Bug B: Ballista drops a finished task's rows when its metrics differ in number from its stage's.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_different_shape_lose_no_rows_and_their_metrics_are_summed() {
    for adaptive in [true, false] {
        let host = host(options()).await;
        let job = submit(&host, "shape", adaptive, SCAN).await;
        let mut executor = FakeExecutor::new(&host, "e1", 3);
        let tasks = executor.take().await;
        let count = |name: &str, value| Metric::Count(NamedCount { name: name.into(), value });
        let operator =
            |metric| OperatorMetricsSet { metrics: vec![OperatorMetric { partition: Some(0), metric: Some(metric) }] };
        let mut statuses: Vec<_> = tasks.iter().map(success).collect();
        for (extra, status) in statuses.iter_mut().enumerate() {
            status.metrics = vec![operator(Metric::OutputRows(7))];
            status.metrics.extend((0..extra).map(|_| operator(count("bytes_scanned", 5))));
        }
        executor.poll(&statuses).await;
        let output = job.outcome().await.unwrap();
        assert_eq!((output.results.len(), rows(&output)), (3, 3 * ROWS), "adaptive {adaptive}");
        let counters = output.stages[0].counters;
        assert_eq!((counters.rows_out, counters.bytes_read, counters.shuffle_bytes_written), (21, 15, 300));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_counts_the_tasks_of_each_stage() {
    let host = host(options()).await;
    let job = submit(&host, "stages", true, GROUP).await;
    let mut executor = FakeExecutor::new(&host, "e1", 2);
    let tasks = executor.take().await;
    let mut seen = job.stages.clone();
    let running = seen.wait_for(|s| s.first().is_some_and(|s| s.tasks_running == 2)).await.unwrap()[0].clone();
    assert_eq!((running.tasks_total, running.tasks_done), (3, 0));
    assert!(running.description.contains("Aggregate < values"), "{}", running.description);
    let output = executor.work_off(tasks, job).await;
    assert_eq!(output.stages.iter().map(|s| s.tasks_done).collect::<Vec<_>>(), [3, 2]);
    let first = &output.stages[0];
    assert_eq!((first.tasks_total, first.slowest_task, first.slowest_task_ms), (3, 2, 3));
    assert_eq!(first.slowest_task_executor, "e1");
    assert!(output.stages[1].description.contains("stage 0"), "{}", output.stages[1].description);
}
