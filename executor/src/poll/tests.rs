//! A whole executor against a scheduler of a few lines that is deaf, orders and takes note.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::task_status::Status as End;
use ballista_core::serde::protobuf::{TaskDefinition, TaskStatus};
use ballista_core::serde::scheduler::{ExecutorMetadata, PartitionId, PartitionLocation, PartitionStats};
use futures::TryStreamExt;
use parking_lot::Mutex;
use prost::Message;
use selvedge_engine::config::Sources;
use selvedge_engine::shuffle::{ShuffleStore, VirtualExecutorId};
use selvedge_model::TaskRef;
use selvedge_proto::internal::v1 as pb;
use selvedge_proto::internal::v1::fleet_service_server::{FleetService, FleetServiceServer};
use tempfile::TempDir;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::task::tests::{ENDLESS, task};
use crate::{ExecutorOptions, RunningExecutor, start};

#[derive(Default)]
struct Script {
    give: VecDeque<TaskDefinition>,
    cancel: Vec<TaskRef>,
    drain: bool,
    /// How many polls that carry a status are answered with an error.
    deaf: u32,
    heard_while_deaf: u32,
    heard: Vec<TaskStatus>,
    held: Vec<TaskRef>,
    /// Jobs to forget, and how many replies that say so are lost.
    forget: Vec<String>,
    lose_forgets: u32,
    kept: Vec<String>,
    left: u32,
}

#[derive(Clone, Default)]
struct Scheduler(Arc<Mutex<Script>>);

#[tonic::async_trait]
impl FleetService for Scheduler {
    async fn poll(&self, request: Request<pb::PollRequest>) -> Result<Response<pb::PollResponse>, Status> {
        let request = request.into_inner();
        let reply = self.answer(&request)?;
        if reply.tasks.is_empty() && reply.cancel.is_empty() {
            tokio::time::sleep(Duration::from_millis(u64::from(request.wait_ms).min(300))).await;
        }
        Ok(Response::new(reply))
    }

    async fn leave(&self, request: Request<pb::LeaveRequest>) -> Result<Response<pb::LeaveResponse>, Status> {
        let mut script = self.0.lock();
        script.left += 1;
        script.heard.extend(request.into_inner().statuses.iter().map(|s| TaskStatus::decode(s.as_ref()).unwrap()));
        Ok(Response::new(pb::LeaveResponse {}))
    }
}

impl Scheduler {
    fn answer(&self, request: &pb::PollRequest) -> Result<pb::PollResponse, Status> {
        let mut script = self.0.lock();
        script.held = request.held.iter().cloned().map(Into::into).collect();
        script.kept.clone_from(&request.kept_jobs);
        let forget_jobs: Vec<_> = script.forget.iter().filter(|job| script.kept.contains(job)).cloned().collect();
        if !forget_jobs.is_empty() && script.lose_forgets > 0 {
            script.lose_forgets -= 1;
            return Err(Status::unavailable("the reply was lost"));
        }
        if !request.statuses.is_empty() && script.deaf > 0 {
            script.deaf -= 1;
            script.heard_while_deaf += 1;
            return Err(Status::unavailable("deaf"));
        }
        script.heard.extend(request.statuses.iter().map(|s| TaskStatus::decode(s.as_ref()).unwrap()));
        let free = request.load.as_ref().unwrap().free_vcores as usize;
        let count = free.min(script.give.len());
        Ok(pb::PollResponse {
            tasks: script.give.drain(..count).map(|t| t.encode_to_vec().into()).collect(),
            cancel: script.cancel.iter().cloned().map(Into::into).collect(),
            forget_jobs,
            drain: script.drain,
            ..Default::default()
        })
    }

    async fn until(&self, what: &str, within: Duration, met: impl Fn(&Script) -> bool) {
        let began = Instant::now();
        while !met(&self.0.lock()) {
            assert!(began.elapsed() < within, "{what}: not within {within:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn cluster(script: Script) -> (Scheduler, RunningExecutor, CancellationToken, TempDir) {
    let scheduler = Scheduler(Arc::new(Mutex::new(script)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = FleetServiceServer::new(scheduler.clone());
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let (dir, shutdown) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let work_dir = dir.path().display().to_string();
    let flags = [
        ("scheduler", url.as_str()),
        ("work_dir", &work_dir),
        ("vcores", "2"),
        ("memory", "512MiB"),
        ("drain_grace", "0s"),
    ];
    let options = ExecutorOptions::load(Sources::flags(flags)).unwrap();
    let executor = start(options, shutdown.clone()).await.unwrap();
    (scheduler, executor, shutdown, dir)
}

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_status_is_sent_again_until_it_is_acknowledged_and_its_output_is_served() {
    let definition = task(3, "SELECT value FROM generate_series(1, 5000)", true).await;
    let script = Script { give: [definition].into(), deaf: 3, ..Default::default() };
    let (scheduler, executor, _shutdown, _dir) = cluster(script).await;
    scheduler.until("the status", SOON, |s| !s.heard.is_empty()).await;
    scheduler.until("the end of holding", SOON, |s| s.held.is_empty()).await;
    let success = {
        let script = scheduler.0.lock();
        assert_eq!((script.heard_while_deaf, script.heard.len()), (3, 1));
        let Some(End::Successful(success)) = script.heard[0].status.clone() else { panic!("{:?}", script.heard) };
        success
    };
    let mut rows = 0;
    for partition in success.partitions {
        let written = TaskRef { job_id: "r1-s1-a1".into(), stage_id: 1, stage_attempt: 0, task_id: 3 };
        let location = PartitionLocation {
            map_partition_id: 0,
            partition_id: PartitionId {
                job_id: "r1-s1-a1".into(),
                stage_id: 1,
                partition_id: partition.partition_id as usize,
            },
            executor_meta: ExecutorMetadata {
                id: VirtualExecutorId { real: executor.id.to_string(), task: written }.to_string(),
                host: "127.0.0.1".into(),
                port: executor.shuffle.port(),
                grpc_port: 0,
                specification: Default::default(),
                os_info: Default::default(),
            },
            partition_stats: PartitionStats::new(None, None, None),
            file_id: partition.file_id,
            is_sort_shuffle: true,
        };
        // A reader elsewhere: no local folder, no shuffle location, only the executor.
        let stream = ShuffleStore::new(None, None).open(&location, 1000).await.unwrap();
        rows += stream.try_fold(0, async |sum, batch| Ok(sum + batch.num_rows())).await.unwrap();
    }
    assert_eq!(rows, 5000);
}

#[tokio::test]
async fn a_jobs_files_are_deleted_though_the_reply_that_says_so_is_lost() {
    let definition = task(3, "SELECT value FROM generate_series(1, 50)", true).await;
    let job = definition.job_id.clone();
    let script = Script { give: [definition].into(), lose_forgets: 2, ..Default::default() };
    let (scheduler, executor, _shutdown, dir) = cluster(script).await;
    scheduler.until("the status", SOON, |s| !s.heard.is_empty() && s.held.is_empty()).await;
    let folder = dir.path().join("shuffle").join(executor.id.as_str()).join(&job);
    assert!(folder.exists() && scheduler.0.lock().kept == [job.clone()]);
    scheduler.0.lock().forget = vec![job];
    scheduler.until("the end of keeping", SOON, |s| s.lose_forgets == 0 && s.kept.is_empty()).await;
    let began = Instant::now();
    while folder.exists() {
        assert!(began.elapsed() < SOON, "{} is still there", folder.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_task_to_cancel_stops_within_two_seconds() {
    let definition = task(1, ENDLESS, true).await;
    let (scheduler, _executor, _shutdown, _dir) =
        cluster(Script { give: [definition].into(), ..Default::default() }).await;
    scheduler.until("the task", SOON, |s| s.held.len() == 1).await;
    let held = scheduler.0.lock().held.clone();
    scheduler.0.lock().cancel = held;
    scheduler.until("its stop", Duration::from_secs(2), |s| s.held.is_empty()).await;
    assert!(scheduler.0.lock().heard.is_empty());
}

#[tokio::test]
async fn draining_gives_back_what_does_not_end_and_leaves_nothing_behind() {
    let definition = task(1, ENDLESS, false).await;
    let (scheduler, executor, shutdown, dir) =
        cluster(Script { give: [definition].into(), ..Default::default() }).await;
    scheduler.until("the task", SOON, |s| s.held.len() == 1).await;
    shutdown.cancel();
    tokio::time::timeout(SOON, executor.stopped()).await.unwrap();
    let script = scheduler.0.lock();
    assert_eq!(script.left, 1);
    assert!(!script.heard.is_empty());
    // It may be told more than once, but never anything else.
    for status in &script.heard {
        let Some(End::Failed(failed)) = &status.status else { panic!("{status:?}") };
        assert!(failed.retryable && !failed.count_to_failures);
        assert!(matches!(failed.failed_reason, Some(FailedReason::ResultLost(_))));
    }
    for folder in ["shuffle", "spill", "locks"] {
        assert_eq!(std::fs::read_dir(dir.path().join(folder)).unwrap().count(), 0, "{folder}");
    }
}

#[tokio::test]
async fn the_scheduler_can_ask_to_drain() {
    let (scheduler, executor, _shutdown, _dir) = cluster(Script { drain: true, ..Default::default() }).await;
    tokio::time::timeout(SOON, executor.stopped()).await.unwrap();
    assert_eq!(scheduler.0.lock().left, 1);
}
