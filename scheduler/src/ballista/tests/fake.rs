//! A host to test, plans to submit, and an executor driven by hand.

use std::sync::Arc;
use std::time::Duration;

use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::PartitionStats as WireStats;
use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::task_status::Status as TaskEnd;
use ballista_core::serde::protobuf::{FailedTask, ShuffleWritePartition, SuccessfulTask, TaskDefinition, TaskStatus};
use datafusion::arrow::array::{Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use prost::Message;
use selvedge_engine::session::{Engine, EngineOptions};
use selvedge_engine::store::Location;
use selvedge_model::{StatementAttempt, TaskRef};
use selvedge_proto::internal::v1::fleet_service_server::FleetService;
use selvedge_proto::internal::v1::{ExecutorInfo, ExecutorLoad, LeaveRequest, PollRequest, PollResponse};
use tonic::Request;

use super::super::facade::Fleet;
use super::super::poll::task_of_definition;
use super::super::{Host, HostOptions, JobHandle, JobOutput, ResultPartition};

/// Rows that each made-up output partition claims.
pub(super) const ROWS: u64 = 10;

/// Results that outlive executors, a lease nobody lets run out by accident, and short patience otherwise.
pub(super) fn options() -> HostOptions {
    HostOptions {
        lease: Duration::from_secs(60),
        lost_task_grace: Duration::from_secs(60),
        watchdog_interval: Duration::from_millis(50),
        shuffle: None,
        no_executors_grace: Duration::from_secs(60),
        local_shuffle_dir: Some(std::env::temp_dir().join("selvedge-host-tests")),
        ..HostOptions::default()
    }
}

pub(super) async fn host(options: HostOptions) -> Arc<Host> {
    let warehouse = std::env::temp_dir().join("selvedge-host-tests-warehouse");
    let engine = Engine::new(EngineOptions {
        target_partitions: 2,
        ..EngineOptions::new(Location::parse(&warehouse.to_string_lossy()).unwrap())
    });
    Host::start(options, engine.unwrap()).await.unwrap()
}

pub(super) fn state(adaptive: bool) -> SessionState {
    let config = SessionConfig::new_with_ballista()
        .with_target_partitions(2)
        .with_round_robin_repartition(false)
        .set_str("ballista.planner.adaptive.enabled", if adaptive { "true" } else { "false" })
        .set_str("ballista.planner.coalesce.enabled", "false")
        .set_str("ballista.scheduler.max_partitions_per_task", "1");
    SessionStateBuilder::new_with_default_features().with_config(config).build()
}

/// The plan of SQL over `t (k, v)`, which has three partitions.
pub(super) async fn planned(adaptive: bool, sql: &str) -> (SessionState, LogicalPlan) {
    let schema =
        Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false), Field::new("v", DataType::Int64, false)]));
    let column = || Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_new(schema.clone(), vec![column(), column()]).unwrap();
    let table = MemTable::try_new(schema, vec![vec![batch.clone()], vec![batch.clone()], vec![batch]]).unwrap();
    let context = SessionContext::new_with_state(state(adaptive));
    context.register_table("t", Arc::new(table)).unwrap();
    let state = context.state();
    let plan = state.create_logical_plan(sql).await.unwrap();
    (state, plan)
}

/// Submits SQL over `t`.
pub(super) async fn submit(host: &Arc<Host>, name: &str, adaptive: bool, sql: &str) -> JobHandle {
    let (state, plan) = planned(adaptive, sql).await;
    let attempt = StatementAttempt { run: name.parse().unwrap(), statement: 1, attempt: 1 };
    host.submit(&attempt, state, plan).await.unwrap()
}

/// One stage of three tasks.
pub(super) const SCAN: &str = "SELECT k, v FROM t";

/// Three tasks that feed two.
pub(super) const GROUP: &str = "SELECT k, sum(v) FROM t GROUP BY k";

/// A task as it travels.
pub(super) fn decode(bytes: &bytes::Bytes) -> TaskDefinition {
    TaskDefinition::decode(bytes.clone()).unwrap()
}

/// An executor driven by hand.
pub(super) struct FakeExecutor {
    fleet: Fleet,
    pub(super) id: String,
    pub(super) vcores: u32,
    pub(super) held: Vec<TaskRef>,
    pub(super) kept_jobs: Vec<String>,
    pub(super) wait_ms: u32,
}

impl FakeExecutor {
    pub(super) fn new(host: &Arc<Host>, id: &str, vcores: u32) -> Self {
        let (held, kept_jobs) = Default::default();
        Self { fleet: Fleet::new(host.clone()), id: id.to_owned(), vcores, held, kept_jobs, wait_ms: 0 }
    }

    pub(super) fn request(&self, statuses: &[TaskStatus]) -> PollRequest {
        let info = ExecutorInfo {
            executor_id: self.id.clone(),
            host: "10.0.0.1".into(),
            port: 4444,
            vcores: self.vcores,
            ..ExecutorInfo::default()
        };
        let free_vcores =
            self.vcores.saturating_sub(self.held.len() as u32 - statuses.len().min(self.held.len()) as u32);
        PollRequest {
            info: Some(info),
            load: Some(ExecutorLoad { free_vcores, copy_vcores: free_vcores, ..ExecutorLoad::default() }),
            held: self.held.iter().cloned().map(Into::into).collect(),
            statuses: statuses.iter().map(|status| status.encode_to_vec().into()).collect(),
            logs: Vec::new(),
            wait_ms: self.wait_ms,
            kept_jobs: self.kept_jobs.clone(),
            ..PollRequest::default()
        }
    }

    pub(super) async fn send(&self, request: PollRequest) -> PollResponse {
        self.fleet.poll(Request::new(request)).await.unwrap().into_inner()
    }

    /// Polls as a real executor does: holds what it gets until it has reported it.
    pub(super) async fn poll(&mut self, statuses: &[TaskStatus]) -> Vec<TaskDefinition> {
        let reply = self.send(self.request(statuses)).await;
        self.held.retain(|task| !statuses.iter().any(|status| super::super::statuses::task_of(status) == *task));
        let tasks: Vec<_> = reply.tasks.iter().map(decode).collect();
        self.held.extend(tasks.iter().map(task_of_definition));
        tasks
    }

    /// Polls until tasks come.
    pub(super) async fn take(&mut self) -> Vec<TaskDefinition> {
        for _ in 0..200 {
            let tasks = self.poll(&[]).await;
            if !tasks.is_empty() {
                return tasks;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no task came to {}", self.id);
    }

    /// Takes and ends every task until the job has ended.
    pub(super) async fn work_off(&mut self, mut tasks: Vec<TaskDefinition>, job: JobHandle) -> JobOutput {
        let outcome = tokio::spawn(job.outcome());
        for _ in 0..500 {
            if outcome.is_finished() {
                break;
            }
            let statuses: Vec<_> = tasks.iter().map(success).collect();
            tasks = self.poll(&statuses).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::timeout(Duration::from_secs(5), outcome).await.expect("the job hangs").unwrap().unwrap()
    }

    pub(super) async fn leave(&self) {
        let leave = LeaveRequest { executor_id: self.id.clone(), statuses: Vec::new(), copied: Vec::new() };
        self.fleet.leave(Request::new(leave)).await.unwrap();
    }
}

fn status(task: &TaskDefinition, end: TaskEnd) -> TaskStatus {
    TaskStatus {
        task_id: task.task_id,
        job_id: task.job_id.clone(),
        stage_id: task.stage_id,
        stage_attempt_num: task.stage_attempt_num,
        launch_time: task.launch_time,
        start_exec_time: 1_000,
        end_exec_time: 1_000 + u64::from(task.task_id) + 1,
        metrics: Vec::new(),
        status: Some(end),
    }
}

/// Each output partition of the task with [`ROWS`] rows.
pub(super) fn success(task: &TaskDefinition) -> TaskStatus {
    let partition = |id: &u32| ShuffleWritePartition {
        partition_id: u64::from(*id),
        num_batches: 1,
        num_rows: ROWS,
        num_bytes: 100,
        file_id: Some(u64::from(task.task_id)),
        is_sort_shuffle: true,
    };
    let partitions = task.global_output_partition_ids.iter().map(partition).collect();
    status(task, TaskEnd::Successful(SuccessfulTask { partitions, ..SuccessfulTask::default() }))
}

pub(super) fn failed(task: &TaskDefinition, error: &str, retryable: bool, reason: FailedReason) -> TaskStatus {
    let failed =
        FailedTask { error: error.to_owned(), retryable, count_to_failures: retryable, failed_reason: Some(reason) };
    status(task, TaskEnd::Failed(failed))
}

pub(super) fn rows(output: &JobOutput) -> u64 {
    let wire = |part: &ResultPartition| -> WireStats { part.location.partition_stats.into() };
    output.results.iter().map(|part| wire(part).num_rows as u64).sum()
}
