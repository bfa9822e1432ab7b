//! Puts an executor together and starts it.
//!
//! Order matters: directories before the engine that spills into them, ports before the first poll that names them, and the
//! services outlive the pull loop, since others may read shuffle until the executor has left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use selvedge_engine::session::{Engine, EngineOptions};
use selvedge_engine::shuffle::{MissingOutputs, ShuffleStore};
use selvedge_engine::store::Location;
use selvedge_model::ExecutorId;
use selvedge_proto::internal::v1::ExecutorInfo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};

use crate::clock::now_ms;
use crate::config::ExecutorOptions;
use crate::error::ExecutorError;
use crate::http::{self, Pages};
use crate::metrics::Metrics;
use crate::poll::{Grace, Outbox, PullLoop, PullParts};
use crate::shuffle_service::ShuffleService;
use crate::spot::SpotWatch;
use crate::task::{TaskRunner, TaskRunnerParts};
use crate::work_dir::WorkDir;

/// Operators get seven tenths of the memory. The rest is for what no pool counts: Parquet pages and shuffle pieces while they
/// are decoded, a batch in the hands of each operator, buffers of uploads, connections, and what the allocator keeps.
const POOL_TENTHS: u64 = 7;
/// The services of a stopped executor are given this long for answers under way.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// An executor that runs until it is told to drain.
#[derive(Debug)]
pub struct RunningExecutor {
    /// Unique for each process.
    pub id: ExecutorId,
    /// Where it serves shuffle.
    pub shuffle: SocketAddr,
    /// Where it serves `/metrics`, `/healthz` and `/readyz`.
    pub http: SocketAddr,
    ended: JoinHandle<()>,
}

impl RunningExecutor {
    /// Waits until it has drained and left.
    pub async fn stopped(self) {
        if let Err(cause) = self.ended.await {
            tracing::error!(%cause, executor_id = %self.id, "the executor ended abnormally");
        }
    }
}

/// Starts an executor. `shutdown` makes it drain and then stop; the scheduler may make it so too.
///
/// # Errors
/// When a directory, a port or an address cannot be used. A scheduler that does not answer is no error: it is waited for.
pub async fn start(options: ExecutorOptions, shutdown: CancellationToken) -> Result<RunningExecutor, ExecutorError> {
    // A notice that this machine goes drains this executor alone.
    let shutdown = shutdown.child_token();
    let id = new_id()?;
    let channel = connect(&options.scheduler)?;
    let dirs = WorkDir::claim(&options.work_dir, &id)?;
    let engine = engine(&options, &dirs)?;
    let remote = options.shuffle.clone().map(|location| (location, engine.stores().clone()));
    let missing = Arc::new(MissingOutputs::default());
    let shuffle = ShuffleStore::of_executor(dirs.shuffle_root(), remote, dirs.spill_dir(), missing.clone());
    let (shuffle_listener, shuffle_address) = listen(SocketAddr::new(options.bind, options.port)).await?;
    let (http_listener, http_address) = listen(options.http).await?;

    let metrics = Arc::new(Metrics::new()?);
    let outbox = Arc::new(Outbox::default());
    let runner = TaskRunner::new(TaskRunnerParts {
        executor_id: id.to_string(),
        vcores: options.vcores,
        stall_timeout: options.task_stall_timeout,
        engine,
        shuffle,
        shuffle_dir: dirs.shuffle_dir(),
        missing,
        outbox: outbox.clone(),
        metrics: metrics.clone(),
    })?;
    let info = info(&options, &id, shuffle_address.port());
    tracing::info!(executor_id = %id, shuffle = %shuffle_address, http = %http_address, vcores = options.vcores,
        memory_bytes = options.memory_bytes, scheduler = options.scheduler, "executor started");

    let stop = CancellationToken::new();
    let service = ShuffleService::new(dirs.shuffle_dir(), metrics.clone());
    let pages = Pages { metrics: metrics.clone(), runner: runner.clone(), draining: shutdown.clone() };
    let services = [
        tokio::spawn(serve_shuffle(shuffle_listener, service, stop.clone())),
        tokio::spawn(http::serve(http_listener, pages, stop.clone())),
    ];
    let background = runner.clone();
    let drain_grace = Arc::new(Grace::new(options.drain_grace));
    if let Some(watch) = SpotWatch::new(options.spot_notice)? {
        let watching = watch.run(drain_grace.clone(), shutdown.clone());
        let stop = stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(watching).await });
    }
    let pull = PullLoop::new(PullParts { channel, info, runner, outbox, metrics, drain_grace });
    let ended = tokio::spawn(async move {
        tokio::select! {
            () = pull.run(shutdown) => {}
            () = background.background() => {}
        }
        stop.cancel();
        for mut service in services {
            // A reader that never finishes must not keep the process.
            if tokio::time::timeout(STOP_GRACE, &mut service).await.is_err() {
                service.abort();
            }
        }
        drop(dirs);
        tracing::info!("executor stopped");
    });
    Ok(RunningExecutor { id, shuffle: shuffle_address, http: http_address, ended })
}

fn new_id() -> Result<ExecutorId, ExecutorError> {
    let id = format!("e-{}", uuid::Uuid::now_v7().simple());
    id.parse().map_err(|e: selvedge_model::id::InvalidId| ExecutorError::Setup { what: "an id", cause: e.to_string() })
}

fn connect(scheduler: &str) -> Result<Channel, ExecutorError> {
    let endpoint = Endpoint::from_shared(scheduler.to_owned())
        .map_err(|e| ExecutorError::SchedulerAddress { url: scheduler.to_owned(), cause: e.to_string() })?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10))
        .connect_lazy())
}

fn engine(options: &ExecutorOptions, dirs: &WorkDir) -> Result<Arc<Engine>, ExecutorError> {
    Ok(Engine::new(EngineOptions {
        store: options.store.clone(),
        // Names are resolved on the scheduler: an executor never asks where the warehouse is.
        warehouse: Location::parse(&dirs.spill_dir().to_string_lossy())?,
        memory_bytes: Some(options.memory_bytes / 10 * POOL_TENTHS),
        spill_dir: Some(dirs.spill_dir()),
        spill_limit_bytes: Some(options.spill_limit_bytes),
        target_partitions: options.vcores,
    })?)
}

fn info(options: &ExecutorOptions, id: &ExecutorId, port: u16) -> ExecutorInfo {
    ExecutorInfo {
        executor_id: id.to_string(),
        host: options.host.clone(),
        port: port.into(),
        pool: options.pool.clone(),
        vcores: u32::try_from(options.vcores).unwrap_or(u32::MAX),
        memory_limit_bytes: options.memory_bytes,
        disk_limit_bytes: options.spill_limit_bytes,
        started_ms: i64::try_from(now_ms()).unwrap_or(i64::MAX),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ExecutorError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bound.await.map_err(|cause| ExecutorError::Listen { address, cause })
}

async fn serve_shuffle(listener: TcpListener, service: ShuffleService, stop: CancellationToken) {
    // Without it every small block waits 40 ms for an acknowledgement. The builder's own setting is for listeners it opens.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .initial_stream_window_size(1024 * 1024)
        .max_concurrent_streams(256)
        .add_service(FlightServiceServer::new(service))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await;
    if let Err(cause) = served {
        tracing::error!(%cause, "the shuffle service stopped");
    }
}
