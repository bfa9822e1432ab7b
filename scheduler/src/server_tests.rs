//! A real scheduler on free ports, without executors: what it answers, refuses, and how it goes down.

use std::collections::HashMap;
use std::time::Duration;

use arrow::ipc::reader::StreamReader;
use selvedge_engine::config::Sources;
use selvedge_proto::failure_from;
use selvedge_proto::v1::cluster_service_client::ClusterServiceClient;
use selvedge_proto::v1::execute_query_response::Event;
use selvedge_proto::v1::job_service_client::JobServiceClient;
use selvedge_proto::v1::query_service_client::QueryServiceClient;
use selvedge_proto::v1::submit_run_request::Job;
use selvedge_proto::v1::{self, RunState};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Channel;

use super::*;

struct Cluster {
    channel: Channel,
    running: RunningScheduler,
    shutdown: CancellationToken,
    _warehouse: tempfile::TempDir,
}

async fn cluster(extra: &[(&'static str, &str)]) -> Cluster {
    let warehouse = tempfile::tempdir().unwrap();
    let shutdown = CancellationToken::new();
    let mut flags = vec![
        ("listen", "127.0.0.1:0".to_owned()),
        ("http", "127.0.0.1:0".to_owned()),
        ("warehouse", warehouse.path().display().to_string()),
        ("store", "sqlite::memory:".to_owned()),
    ];
    flags.extend(extra.iter().map(|(k, v)| (*k, (*v).to_owned())));
    let options = SchedulerOptions::load(Sources::flags(flags)).unwrap();
    let running = start(options, shutdown.clone()).await.unwrap();
    let channel = Channel::from_shared(format!("http://{}", running.grpc)).unwrap().connect().await.unwrap();
    Cluster { channel, running, shutdown, _warehouse: warehouse }
}

impl Cluster {
    async fn submit(&self, text: &str) -> Result<String, tonic::Status> {
        let script = v1::SqlScript { text: text.to_owned(), file_name: "mart.sql".to_owned() };
        let request = v1::SubmitRunRequest { job: Some(Job::Script(script)), ..Default::default() };
        let mut jobs = JobServiceClient::new(self.channel.clone());
        Ok(jobs.submit_run(request).await?.into_inner().run_id)
    }

    async fn end(&self, run_id: &str) -> v1::Run {
        let mut jobs = JobServiceClient::new(self.channel.clone());
        let request = v1::WatchRunRequest { run_id: run_id.to_owned() };
        let mut watch = jobs.watch_run(request).await.unwrap().into_inner();
        let mut last = None;
        while let Some(message) = watch.message().await.unwrap() {
            last = message.run;
        }
        last.unwrap()
    }

    async fn stop(self) {
        drop(self.channel);
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.running.stopped()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_script_of_ddl_runs_to_its_end_and_is_told() {
    let cluster = cluster(&[]).await;
    let run_id = cluster.submit("CREATE SCHEMA s; CREATE VIEW s.v AS SELECT 1 AS a; SHOW TABLES").await.unwrap();
    let run = cluster.end(&run_id).await;
    assert_eq!((run.state(), run.name.as_str()), (RunState::Succeeded, "mart"), "{:?}", run.failure);
    let preview = StreamReader::try_new(run.statements[2].preview.as_ref(), None).unwrap();
    assert!(preview.map(|b| b.unwrap().num_rows()).sum::<usize>() >= 1);
    let mut jobs = JobServiceClient::new(cluster.channel.clone());
    let request = v1::GetRunLogsRequest { run_id: run_id.clone(), follow: true };
    let mut logs = jobs.get_run_logs(request).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(chunk) = logs.message().await.unwrap() {
        told.extend(chunk.lines.into_iter().map(|l| l.message));
    }
    assert!(told[0].starts_with("Run started") && told.last().unwrap().starts_with("Run succeeded"), "{told:?}");
    let listed = jobs.list_runs(v1::ListRunsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.runs.iter().map(|r| r.run_id.as_str()).collect::<Vec<_>>(), [run_id]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_bad_script_is_refused_with_all_its_problems_and_leaves_no_trace() {
    let cluster = cluster(&[]).await;
    let status = cluster.submit("SELECT * FROM nowhere;\nSELECT nothing FROM nobody").await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let failure = failure_from(&status);
    let lines: Vec<u32> =
        [&failure].into_iter().chain(&failure.others).filter_map(|f| Some(f.place.as_ref()?.line)).collect();
    assert_eq!(lines, [1, 2], "{failure:?}");
    let mut jobs = JobServiceClient::new(cluster.channel.clone());
    assert!(jobs.list_runs(v1::ListRunsRequest::default()).await.unwrap().into_inner().runs.is_empty());
    let unknown = jobs.get_run(v1::GetRunRequest { run_id: "r0".to_owned() }).await.unwrap_err();
    assert_eq!((unknown.code(), failure_from(&unknown).code.as_str()), (Code::NotFound, "RUN_NOT_FOUND"));
    let malformed = jobs.cancel_run(v1::CancelRunRequest { run_id: "../x".to_owned() }).await.unwrap_err();
    assert_eq!(malformed.code(), Code::InvalidArgument);
    let mut fleet = ClusterServiceClient::new(cluster.channel.clone());
    let gone = fleet.drain_executor(v1::DrainExecutorRequest { executor_id: "e9".to_owned() }).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    cluster.stop().await;
}

#[tokio::test]
async fn query_results_stream_and_a_dropped_stream_cancels_its_run() {
    let cluster = cluster(&[("max_running_runs", "1")]).await;
    let mut queries = QueryServiceClient::new(cluster.channel.clone());
    let request = |sql: &str| v1::ExecuteQueryRequest {
        sql: sql.to_owned(),
        settings: HashMap::from([("selvedge.write.target_file_bytes".to_owned(), "1MiB".to_owned())]),
        ..Default::default()
    };
    let mut stream = queries.execute_query(request("SHOW TABLES")).await.unwrap().into_inner();
    let mut ipc = Vec::new();
    let mut order = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        match response.event.unwrap() {
            Event::RunId(_) => order.push("run"),
            Event::Start(_) => order.push("start"),
            Event::ArrowIpc(bytes) => ipc.extend_from_slice(&bytes),
            Event::End(_) => order.push("end"),
        }
    }
    assert_eq!(order, ["run", "start", "end"]);
    assert!(StreamReader::try_new(ipc.as_slice(), None).unwrap().all(|b| b.is_ok()));
    // No executor: this one can only wait.
    let mut waits = queries.execute_query(request("SELECT 1 AS a")).await.unwrap().into_inner();
    let Some(Event::RunId(run_id)) = waits.message().await.unwrap().unwrap().event else { panic!("no run id") };
    let queued = cluster.submit("SHOW TABLES").await.unwrap();
    drop(waits);
    assert_eq!(cluster.end(&run_id).await.state(), RunState::Cancelled);
    assert_eq!(cluster.end(&queued).await.state(), RunState::Succeeded);
    cluster.stop().await;
}

#[tokio::test]
async fn going_down_ends_what_runs_and_tells_its_watchers_why() {
    let cluster = cluster(&[]).await;
    let run_id = cluster.submit("SELECT 1 AS a").await.unwrap();
    let shutdown = cluster.shutdown.clone();
    let (run, ()) = tokio::join!(cluster.end(&run_id), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        shutdown.cancel();
    });
    assert_eq!((run.state(), run.cancel_requested), (RunState::Failed, false), "nobody asked to cancel it");
    let failure = run.failure.unwrap();
    assert_eq!(failure.code, "SCHEDULER_STOPPED");
    assert!(failure.hint.contains("again"), "{failure:?}");
    assert_eq!(run.statements[0].failure.as_ref().unwrap().code, "SCHEDULER_STOPPED");
    cluster.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_said_before_anything_starts() {
    let cluster = cluster(&[]).await;
    let taken = cluster.running.grpc.to_string();
    let flags =
        [("listen", taken.clone()), ("http", "127.0.0.1:0".to_owned()), ("store", "sqlite::memory:".to_owned())];
    let options = SchedulerOptions::load(Sources::flags(flags)).unwrap();
    let error = start(options, CancellationToken::new()).await.unwrap_err();
    use selvedge_model::failure::HasFailure as _;
    let failure = error.failure();
    assert!(failure.cause.contains(&taken) && failure.hint.contains("--listen"), "{failure:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn health_and_metrics_are_served() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let cluster = cluster(&[]).await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(cluster.channel.clone());
    for service in ["", "selvedge.v1.JobService", "selvedge.internal.v1.FleetService"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.to_owned() };
        assert_eq!(health.check(request).await.unwrap().into_inner().status, 1, "{service}");
    }
    let mut pages = String::new();
    for page in ["/healthz", "/readyz", "/metrics"] {
        let mut stream = tokio::net::TcpStream::connect(cluster.running.http).await.unwrap();
        let request = format!("GET {page} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_to_string(&mut pages).await.unwrap();
    }
    assert_eq!(pages.matches("HTTP/1.1 200 OK").count(), 3, "{pages}");
    assert!(
        pages.contains("selvedge_runs{state=\"running\"} 0") && pages.contains("selvedge_executors{state=\"lost\"} 0")
    );
    cluster.stop().await;
}

#[tokio::test]
async fn what_is_created_is_there_after_a_restart_on_the_same_store() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("store.db").display());
    let files = dir.path().join("files").display().to_string();
    let first = cluster(&[("store", &url)]).await;
    let script = format!(
        "CREATE SCHEMA s LOCATION '{files}/s/';
         CREATE TABLE s.t (id BIGINT NOT NULL, price DECIMAL(9, 2)) PARTITIONED BY (ds DATE);
         CREATE EXTERNAL TABLE flat (a STRING) STORED AS PARQUET LOCATION '{files}/flat/';
         CREATE VIEW a_view (k) AS SELECT id FROM z_view;
         DROP VIEW IF EXISTS none;
         CREATE VIEW broken AS SELECT * FROM flat"
    )
    // The first selects from one that comes later by name.
    .replace("CREATE VIEW a_view", "CREATE VIEW z_view AS SELECT id FROM s.t; CREATE VIEW a_view");
    let run_id = first.submit(&script).await.unwrap();
    let run = first.end(&run_id).await;
    assert_eq!(run.state(), RunState::Succeeded, "{:?}", run.failure);
    let run_id = first.submit("DROP TABLE flat").await.unwrap();
    assert_eq!(first.end(&run_id).await.state(), RunState::Succeeded);
    first.stop().await;

    let second = cluster(&[("store", &url)]).await;
    let run_id = second.submit("SHOW TABLES; DESCRIBE s.t; DESCRIBE a_view; SHOW SCHEMAS").await.unwrap();
    let run = second.end(&run_id).await;
    assert_eq!(run.state(), RunState::Succeeded, "{:?}", run.failure);
    let shown = |statement: usize| {
        let reader = StreamReader::try_new(run.statements[statement].preview.as_ref(), None).unwrap();
        let batches: Vec<_> = reader.map(|b| b.unwrap()).collect();
        arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
    };
    let tables = shown(0);
    for name in ["a_view", "z_view", "broken", "| s      | t "] {
        assert!(tables.contains(name), "{name} in {tables}");
    }
    assert!(!tables.contains("flat"), "{tables}");
    let columns = shown(1);
    assert!(columns.contains("| id     | Int64            | NO       | NO        |"), "{columns}");
    assert!(columns.contains("| ds     | Date32           | YES      | YES       |"), "{columns}");
    assert!(shown(2).contains("| k      | Int64"), "{}", shown(2));
    assert!(shown(3).contains("files/s/"), "{}", shown(3));
    let status = second.submit("SELECT * FROM broken").await.unwrap_err();
    assert_eq!(failure_from(&status).code, "VIEW_INVALID");
    second.stop().await;
}
