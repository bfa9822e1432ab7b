//! Every job ends, and says why.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use selvedge_engine::error::classify;

use ballista_core::serde::protobuf::ExecutionError;
use ballista_core::serde::protobuf::failed_task::FailedReason;
use selvedge_model::{Failure, Retry, StatementAttempt};

use super::super::failures::FAILURE_PREFIX;
use super::super::{HostOptions, graph};
use super::fake::{FakeExecutor, GROUP, SCAN, failed, host, options, state, submit, success};

/// Takes all that waits out of the graph, as a status update that failed half way does.
async fn wedge(host: &super::super::Host, job_id: &str) {
    let job = graph::running_job(&host.server, job_id).expect("the job runs");
    let mut graph = job.execution_graph.write().await;
    let stage = graph.fetch_running_stage(&[]).expect("a stage waits");
    stage.pending.next_slice(usize::MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_stopped_moving_ends_as_stuck_to_be_run_again() {
    let host = host(options()).await;
    let job = submit(&host, "stuck", true, SCAN).await;
    while graph::running_job(&host.server, &job.job_id).is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    wedge(&host, &job.job_id).await;
    let job_id = job.job_id.clone();
    let failure = tokio::time::timeout(Duration::from_secs(5), job.outcome()).await.unwrap().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retry), ("STUCK", Retry::Later));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(graph::running_job(&host.server, &job_id).is_none(), "the engine has let go of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_for_executors_is_not_called_stuck() {
    let host = host(options()).await;
    let job = submit(&host, "patient", true, SCAN).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let mut executor = FakeExecutor::new(&host, "e1", 3);
    let tasks = executor.take().await;
    assert_eq!(executor.work_off(tasks, job).await.results.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_cancelled_job_come_back_to_be_stopped() {
    let host = host(options()).await;
    let job = submit(&host, "cancel", true, GROUP).await;
    let mut executor = FakeExecutor::new(&host, "e1", 2);
    let tasks = executor.take().await;
    let canceller = job.canceller();
    executor.wait_ms = 10_000;
    let waiting = tokio::spawn({
        let request = executor.request(&[]);
        let reply = FakeExecutor::new(&host, "e1", 2);
        async move { reply.send(request).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    canceller.cancel();
    assert_eq!(job.outcome().await.unwrap_err().code, "CANCELLED");
    let reply = tokio::time::timeout(Duration::from_secs(2), waiting).await.expect("a waiting poll is woken").unwrap();
    assert_eq!(reply.cancel.len(), 2);
    executor.wait_ms = 300;
    let begun = std::time::Instant::now();
    assert_eq!(executor.send(executor.request(&[])).await.cancel.len(), 2);
    assert!(begun.elapsed() > Duration::from_millis(250), "what was said before does not cut a poll short");
    assert!(executor.poll(&[success(&tasks[0])]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_cancelled_while_it_is_planned_does_not_run() {
    let host = host(options()).await;
    let job = submit(&host, "early", true, GROUP).await;
    job.canceller().cancel();
    assert_eq!(job.outcome().await.unwrap_err().code, "CANCELLED");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(graph::look(&host.server).await.open.is_empty());
    assert!(FakeExecutor::new(&host, "e1", 2).poll(&[]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_driver_went_away_is_cancelled() {
    let host = host(options()).await;
    let job = submit(&host, "orphan", true, SCAN).await;
    let mut executor = FakeExecutor::new(&host, "e1", 1);
    executor.take().await;
    drop(job);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(executor.send(executor.request(&[])).await.cancel.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_failure_a_task_reports_is_the_failure_of_its_job() {
    let host = host(options()).await;
    let job = submit(&host, "typed", true, SCAN).await;
    let mut executor = FakeExecutor::new(&host, "e1", 3);
    let tasks = executor.take().await;
    let failure = Failure::user("BAD_DATA", "row 3: 'x' is no number").with_hint("mend the file");
    let text = format!("{FAILURE_PREFIX}{}", serde_json::to_string(&failure).unwrap());
    executor.poll(&[failed(&tasks[0], &text, false, FailedReason::ExecutionError(ExecutionError {}))]).await;
    let stages = job.stages.clone();
    assert_eq!(job.outcome().await.unwrap_err(), failure);
    let stage = stages.borrow()[0].clone();
    assert_eq!((stage.tasks_total, stage.tasks_running, stage.tasks_done, stage.tasks_failed), (3, 0, 0, 1));
}

#[derive(Debug)]
struct Unreadable;

#[async_trait::async_trait]
impl TableProvider for Unreadable {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Err(DataFusionError::Plan("the third file is odd".to_owned()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_while_stages_are_planned_keeps_its_type() {
    let host = host(options()).await;
    let context = SessionContext::new_with_state(state(true));
    context.register_table("odd", Arc::new(Unreadable)).unwrap();
    let plan = context.state().create_logical_plan("SELECT x FROM odd").await.unwrap();
    let attempt = StatementAttempt { run: "unplanned".parse().unwrap(), statement: 1, attempt: 1 };
    let failure = host.submit(&attempt, context.state(), plan).await.unwrap().outcome().await.unwrap_err();
    assert_eq!(failure.code, classify(&DataFusionError::Plan("the third file is odd".to_owned())).code);
    assert!(failure.cause.contains("the third file is odd"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_can_run_says_so_after_the_grace() {
    let host = host(HostOptions { no_executors_grace: Duration::from_millis(200), ..options() }).await;
    let job = submit(&host, "alone", true, SCAN).await;
    let failure = tokio::time::timeout(Duration::from_secs(5), job.outcome()).await.unwrap().unwrap_err();
    assert_eq!(failure.code, "NO_EXECUTORS");
    assert!(failure.hint.contains("selvedge executor"), "{}", failure.hint);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_says_that_it_waits_for_executors_until_one_takes_its_tasks() {
    let host = host(HostOptions { no_executors_notice: Duration::from_millis(200), ..options() }).await;
    let job = submit(&host, "waits", true, SCAN).await;
    let job_id = job.job_id.clone();
    let waits_for = async |reason: &str| {
        for _ in 0..400 {
            if host.waiting(&job_id) == reason {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it waits for '{}', not for '{reason}'", host.waiting(&job_id));
    };
    assert_eq!(host.waiting(&job_id), "");
    waits_for("executors: none registered").await;
    FakeExecutor::new(&host, "e1", 0).poll(&[]).await;
    host.drain(&"e1".parse().unwrap()).unwrap();
    waits_for("executors: all are draining").await;
    let mut heir = FakeExecutor::new(&host, "e2", 3);
    let tasks = heir.take().await;
    waits_for("").await;
    assert_eq!(heir.work_off(tasks, job).await.results.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_id_is_taken_once() {
    let host = host(options()).await;
    let first = submit(&host, "same", true, SCAN).await;
    assert_eq!(first.job_id, "same-s1-a1");
    let end = host.book.open("same-s1-a1", 0);
    assert!(end.is_none());
}
