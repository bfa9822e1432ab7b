//! Real stage plans through the runner: what they leave, how they fail, and that they really stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::execution_plans::sort_shuffle::SortShuffleConfig;
use ballista_core::execution_plans::{ShuffleReaderExec, ShuffleWriterExec, SortShuffleWriterExec};
use ballista_core::serde::protobuf::task_status::Status;
use ballista_core::serde::protobuf::{TaskDefinition, TaskStatus};
use ballista_core::serde::scheduler::{ExecutorMetadata, PartitionId, PartitionLocation, PartitionStats};
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::physical_plan::expressions::Column;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use object_store::local::LocalFileSystem;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use prost::Message;
use selvedge_engine::session::{Engine, EngineOptions};
use selvedge_engine::shuffle::{ShuffleStore, VirtualExecutorId, data_path};
use selvedge_engine::store::{Location, StoreOptions};
use selvedge_model::{Failure, TaskRef};
use tempfile::TempDir;
use url::Url;

use super::{TaskRunner, TaskRunnerParts, status};
use crate::metrics::Metrics;
use crate::poll::Outbox;

/// More than anyone can wait for, from a source and from a join of few rows.
pub(crate) const ENDLESS: &str = "SELECT max(value) FROM generate_series(1, 100000000000000) WHERE value % 7 = 3";
const ENDLESS_JOIN: &str = "SELECT max(a.value + b.value) \
                            FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b";

/// A task that reads shuffle of an executor that takes connections and never says a word.
async fn hanging(task_id: u32, port: u16) -> TaskDefinition {
    let context = SessionContext::new();
    let schema = context.sql("SELECT 1 AS value").await.unwrap().create_physical_plan().await.unwrap().schema();
    let written = TaskRef { job_id: "r1-s1-a1".into(), stage_id: 0, stage_attempt: 0, task_id: 0 };
    let location = PartitionLocation {
        map_partition_id: 0,
        partition_id: PartitionId { job_id: "r1-s1-a1".into(), stage_id: 0, partition_id: 0 },
        executor_meta: ExecutorMetadata {
            id: VirtualExecutorId { real: "silent".into(), task: written }.to_string(),
            host: "127.0.0.1".into(),
            port,
            grpc_port: 0,
            specification: Default::default(),
            os_info: Default::default(),
        },
        partition_stats: PartitionStats::new(None, None, None),
        file_id: Some(0),
        is_sort_shuffle: true,
    };
    let partitioning = Partitioning::UnknownPartitioning(1);
    let input = Arc::new(ShuffleReaderExec::try_new(0, vec![vec![location]], schema, partitioning).unwrap());
    definition(task_id, input, false)
}

/// A task whose stage runs `sql`; sorted: with a sort shuffle into three partitions.
pub(crate) async fn task(task_id: u32, sql: &str, sorted: bool) -> TaskDefinition {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let input = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    definition(task_id, input, sorted)
}

fn definition(task_id: u32, input: Arc<dyn ExecutionPlan>, sorted: bool) -> TaskDefinition {
    let (job, dir) = ("r1-s1-a1".to_owned(), String::new());
    let plan: Arc<dyn ExecutionPlan> = if sorted {
        let name = input.schema().field(0).name().clone();
        let hash = Partitioning::Hash(vec![Arc::new(Column::new(&name, 0))], 3);
        let config = SortShuffleConfig::new(true, 8192);
        Arc::new(SortShuffleWriterExec::try_new(job.clone().into(), 1, input, dir, hash, config).unwrap())
    } else {
        Arc::new(ShuffleWriterExec::try_new(job.clone().into(), 1, input, dir).unwrap())
    };
    let codec = selvedge_engine::plan::physical_codec();
    let plan = PhysicalPlanNode::try_from_physical_plan(plan, codec.as_ref()).unwrap();
    TaskDefinition {
        task_id,
        job_id: job,
        stage_id: 1,
        plan: plan.encode_to_vec(),
        session_id: "s".into(),
        global_output_partition_ids: if sorted { vec![0, 1, 2] } else { vec![0] },
        vcores_consumed: 1,
        ..Default::default()
    }
}

struct Bench {
    runner: Arc<TaskRunner>,
    outbox: Arc<Outbox>,
    local: TempDir,
    remote: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with_stall_timeout(Duration::ZERO)
    }

    fn with_stall_timeout(stall_timeout: Duration) -> Self {
        Self::with(stall_timeout, Duration::ZERO)
    }

    /// A shuffle location that takes its time for each request.
    fn with_slow_store(wait: Duration) -> Self {
        Self::with(Duration::ZERO, wait)
    }

    fn with(stall_timeout: Duration, store_wait: Duration) -> Self {
        let (local, remote) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let engine = Engine::new(EngineOptions {
            store: StoreOptions::default(),
            warehouse: Location::parse(&local.path().to_string_lossy()).unwrap(),
            memory_bytes: Some(256 << 20),
            spill_dir: Some(local.path().join("spill")),
            spill_limit_bytes: Some(1 << 30),
            target_partitions: 1,
        })
        .unwrap();
        let location = Location::parse(&format!("{}/", remote.path().display())).unwrap();
        let wait = ThrottleConfig { wait_put_per_call: store_wait, ..Default::default() };
        let store = Arc::new(ThrottledStore::new(LocalFileSystem::new(), wait));
        engine.stores().register_store(&Url::parse("file:///").unwrap(), store);
        let shuffle = ShuffleStore::new(None, Some((location, engine.stores().clone())));
        let outbox = Arc::new(Outbox::default());
        let runner = TaskRunner::new(TaskRunnerParts {
            executor_id: "e1".into(),
            vcores: 2,
            stall_timeout,
            engine,
            shuffle,
            shuffle_dir: local.path().join("shuffle"),
            missing: Arc::default(),
            outbox: outbox.clone(),
            metrics: Arc::new(Metrics::new().unwrap()),
        })
        .unwrap();
        Self { runner, outbox, local, remote }
    }

    async fn run(&self, definition: TaskDefinition) -> TaskStatus {
        self.runner.start(definition);
        self.next_status().await
    }

    /// The first status that was not acknowledged.
    async fn next_status(&self) -> TaskStatus {
        let told = async {
            loop {
                if let Some(status) = self.outbox.parcel().statuses.first() {
                    return TaskStatus::decode(status.as_ref()).unwrap();
                }
                self.runner.has_news().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), told).await.unwrap()
    }

    /// Spawned tasks of all kinds, also those nobody holds a handle to.
    fn alive(&self) -> usize {
        self.runner.runtime.as_ref().unwrap().metrics().num_alive_tasks()
    }
}

fn shuffle_path(root: &Path, definition: &TaskDefinition, sorted: bool) -> PathBuf {
    let task = status::task_ref(definition);
    root.join(data_path(&task, 0, Some(definition.task_id.into()), sorted).unwrap())
}

#[tokio::test]
async fn output_is_in_the_shuffle_location_before_success_is_told() {
    let bench = Bench::new();
    let definition = task(7, "SELECT value FROM generate_series(1, 1000)", true).await;
    let status = bench.run(definition.clone()).await;
    let Some(Status::Successful(success)) = status.status else { panic!("{status:?}") };
    assert_eq!(success.partitions.iter().map(|p| p.num_rows).sum::<u64>(), 1000);
    assert!(success.partitions.iter().all(|p| p.is_sort_shuffle && p.file_id == Some(7)));
    assert!(!status.metrics.is_empty());
    let data = shuffle_path(bench.remote.path(), &definition, true);
    assert!(data.exists() && data.with_extension("arrow.index").exists());
}

#[tokio::test]
async fn a_users_mistake_is_told_as_such_and_leaves_nothing() {
    let bench = Bench::new();
    let definition = task(1, "SELECT 1 / (value - 5) FROM generate_series(1, 10)", false).await;
    let status = bench.run(definition).await;
    let Some(Status::Failed(failed)) = status.status else { panic!("{status:?}") };
    let failure: Failure = serde_json::from_str(failed.error.strip_prefix(status::FAILURE_PREFIX).unwrap()).unwrap();
    assert_eq!((failure.code.as_str(), failed.retryable), ("DIVISION_BY_ZERO", false), "{failure:?}");
    assert_eq!(bench.outbox.parcel().logs.len(), 1);
    assert!(!bench.local.path().join("shuffle/r1-s1-a1/1.0.1").exists());
}

#[tokio::test]
async fn a_plan_that_does_not_decode_is_a_failed_task() {
    let bench = Bench::new();
    let mut definition = task(1, "SELECT 1", false).await;
    definition.plan = vec![1, 2, 3];
    let status = bench.run(definition).await;
    assert!(matches!(status.status, Some(Status::Failed(failed)) if !failed.retryable));
}

#[tokio::test]
async fn a_cancelled_task_stops_with_everything_it_spawned() {
    let bench = Bench::new();
    for (id, sql, sorted) in [(1, ENDLESS, false), (2, ENDLESS, true), (3, ENDLESS_JOIN, true)] {
        let definition = task(id, sql, sorted).await;
        let task = status::task_ref(&definition);
        bench.runner.start(definition);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(bench.alive() > 1, "it drains in tasks of its own");
        let told = Instant::now();
        bench.runner.cancel(&task);
        while bench.alive() > 0 {
            assert!(told.elapsed() < Duration::from_secs(2), "{sql}: {} tasks are alive", bench.alive());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(bench.runner.running().is_empty());
        assert!(bench.outbox.parcel().statuses.is_empty(), "nobody waits for its end");
    }
}

#[tokio::test]
async fn a_task_that_hangs_fails_to_be_tried_again_and_gives_its_vcores_back() {
    let bench = Bench::with_stall_timeout(Duration::from_millis(600));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let status = bench.run(hanging(1, silent.local_addr().unwrap().port()).await).await;
    let Some(Status::Failed(failed)) = status.status else { panic!("{status:?}") };
    assert!(failed.error.contains("TASK_STALLED") && failed.error.contains("600ms"), "{failed:?}");
    assert!(failed.retryable && failed.count_to_failures);
    assert_eq!((bench.runner.running().len(), bench.runner.free_vcores()), (0, 2));
}

#[tokio::test]
async fn a_task_that_computes_for_long_does_not_hang() {
    let bench = Bench::with_stall_timeout(Duration::from_millis(200));
    for (id, sql) in [(1, ENDLESS), (2, ENDLESS_JOIN)] {
        bench.runner.start(task(id, sql, true).await);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((bench.runner.running().len(), bench.outbox.parcel().statuses.len()), (2, 0));
    bench.runner.hand_back_all();
}

#[tokio::test]
async fn tasks_hold_the_vcores_they_consume() {
    let bench = Bench::new();
    let wide = TaskDefinition { vcores_consumed: 2, ..task(1, ENDLESS, false).await };
    bench.runner.start(wide.clone());
    bench.runner.start(task(2, "SELECT 1", false).await);
    assert_eq!(bench.runner.free_vcores(), 0, "promised before they have begun");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((bench.runner.free_vcores(), bench.runner.running().len()), (0, 2));
    bench.runner.hand_back_all();
    assert_eq!(bench.outbox.parcel().statuses.len(), 2);
}

#[tokio::test]
async fn while_outputs_are_copied_others_compute_unless_too_many_wait_for_the_store() {
    let bench = Bench::with_slow_store(Duration::from_secs(60));
    let counts = || (bench.runner.free_vcores(), bench.runner.running().len());
    let settles = async |expected| {
        let until = Instant::now() + Duration::from_secs(10);
        while counts() != expected && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(counts(), expected);
    };
    bench.runner.start(task(1, "SELECT 1", false).await);
    bench.runner.start(task(2, "SELECT 2", false).await);
    bench.runner.has_news().await;
    settles((2, 2)).await;
    bench.runner.start(task(3, "SELECT 3", false).await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(counts(), (1, 3), "it has computed, and waits for its turn with its vcore");
    bench.runner.cancel(&status::task_ref(&task(1, "SELECT 1", false).await));
    settles((2, 2)).await;
    assert!(bench.outbox.parcel().statuses.is_empty(), "nothing succeeds before it is copied");
    bench.runner.hand_back_all();
}

#[tokio::test]
async fn a_task_that_is_given_more_vcores_than_there_are_takes_them_all() {
    let bench = Bench::new();
    bench.runner.start(TaskDefinition { vcores_consumed: 64, ..task(1, ENDLESS, false).await });
    bench.runner.start(task(2, "SELECT 1", false).await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((bench.runner.free_vcores(), bench.runner.running().len()), (0, 2), "the other one waits");
    bench.runner.cancel(&status::task_ref(&task(1, ENDLESS, false).await));
    let status = bench.next_status().await;
    assert!(matches!(status.status, Some(Status::Successful(_))), "{status:?}");
}
