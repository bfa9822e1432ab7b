//! One process, two ports: every gRPC service on one, metrics and health on the other. Started together, stopped
//! together.
//!
//! Ports are taken before anything else is started, so that a port in use costs nothing. Going down: health says so,
//! runs end as SCHEDULER_STOPPED (their watchers hear of it), then the servers stop, at the latest after their grace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use selvedge_engine::session::{Engine, EngineOptions};
use selvedge_model::failure::HasFailure as _;
use selvedge_proto::FILE_DESCRIPTOR_SET;
use selvedge_proto::internal::v1::fleet_service_server::FleetServiceServer;
use selvedge_proto::v1::catalog_service_server::CatalogServiceServer;
use selvedge_proto::v1::cluster_service_server::ClusterServiceServer;
use selvedge_proto::v1::job_service_server::JobServiceServer;
use selvedge_proto::v1::query_service_server::QueryServiceServer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::api::Api;
use crate::ballista::{FleetFacade, Host, HostOptions};
use crate::catalog::DurableCatalog;
use crate::commit::{self, Publishes};
use crate::config::SchedulerOptions;
use crate::driver::{Driver, DriverOptions};
use crate::error::SchedulerError;
use crate::http::{Metrics, Pages, router};
use crate::planning::Planner;
use crate::runs::{BookOptions, RunBook};
use crate::store::{self, ViewRecord};

/// A unary RPC, or the time to the first message of a streaming one, may take this long: checking a script lists
/// tables.
const RPC_TIMEOUT: Duration = Duration::from_secs(120);
const RPCS_PER_CONNECTION: usize = 256;
const STREAMS_PER_CONNECTION: u32 = 1_024;
const WINDOW_BYTES: u32 = 4 << 20;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a cancelled job may take to stop.
const CANCEL_GRACE: Duration = Duration::from_secs(10);
/// How long open runs may take to end when the scheduler goes down, a publish under way included.
const RUNS_GRACE: Duration = Duration::from_secs(30);
/// How long open RPCs may take after that.
const RPCS_GRACE: Duration = Duration::from_secs(3);

/// A scheduler that runs.
#[derive(Debug)]
pub struct RunningScheduler {
    /// Where the gRPC services listen.
    pub grpc: SocketAddr,
    /// Where metrics and health listen.
    pub http: SocketAddr,
    ended: JoinHandle<Result<(), SchedulerError>>,
}

impl RunningScheduler {
    /// Waits until it has stopped: because it was told to, or because a server failed.
    ///
    /// # Errors
    /// When a server ended by itself.
    pub async fn stopped(self) -> Result<(), SchedulerError> {
        self.ended.await.unwrap_or_else(|error| Err(stopped("scheduler", error)))
    }
}

/// The parts that outlive `start`.
struct Parts {
    api: Api,
    book: Arc<RunBook>,
    host: Arc<Host>,
    metrics: Arc<Metrics>,
}

/// Starts a scheduler; it runs until `shutdown` fires.
///
/// # Errors
/// When a port is taken, or options do not fit this machine.
pub async fn start(options: SchedulerOptions, shutdown: CancellationToken) -> Result<RunningScheduler, SchedulerError> {
    let (grpc_listener, grpc) = listen(options.listen).await?;
    let (http_listener, http) = listen(options.http).await?;
    let parts = assemble(options, &shutdown).await?;
    let stop = CancellationToken::new();
    let (reporter, health) = tonic_health::server::health_reporter();
    let pages = Pages {
        metrics: Arc::clone(&parts.metrics),
        book: Arc::clone(&parts.book),
        host: Arc::clone(&parts.host),
        shutdown: shutdown.clone(),
    };
    let grpc_server =
        tokio::spawn(serve_grpc(parts.api, Arc::clone(&parts.host), health, grpc_listener, stop.clone())?);
    let http_server = axum::serve(http_listener, router(pages)).with_graceful_shutdown(stop.clone().cancelled_owned());
    let http_server = tokio::spawn(async move { http_server.await.map_err(|e| stopped("HTTP", e)) });
    report(&reporter, ServingStatus::Serving).await;
    tracing::info!(%grpc, %http, version = env!("CARGO_PKG_VERSION"), "Scheduler started");
    let servers = Servers { grpc: grpc_server, http: http_server, stop };
    let ended = tokio::spawn(supervise(servers, parts.book, reporter, shutdown));
    Ok(RunningScheduler { grpc, http, ended })
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), SchedulerError> {
    let refused = |source| SchedulerError::Listen { address: address.to_string(), source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let taken = listener.local_addr().map_err(refused)?;
    Ok((listener, taken))
}

async fn assemble(options: SchedulerOptions, shutdown: &CancellationToken) -> Result<Parts, SchedulerError> {
    // Before anything that others could reach: nobody else has it then.
    let store = store::open(&options.store).await.map_err(|e| e.failure())?;
    let engine = Engine::new(EngineOptions {
        store: options.s3.clone(),
        target_partitions: options.target_partitions.max(4),
        ..EngineOptions::new(options.warehouse.clone())
    })?;
    let host_options = HostOptions {
        lease: options.lease,
        shuffle: options.shuffle.clone(),
        local_shuffle_dir: options.local_shuffle_dir.clone(),
        no_executors_grace: options.no_executors_timeout,
        ..HostOptions::default()
    };
    let host = Host::start(host_options, Arc::clone(&engine)).await?;
    let book = RunBook::new(BookOptions {
        max_running: options.max_running_runs,
        max_queued: options.max_queued_runs,
        retained: options.retained_runs,
    });
    let metrics = Arc::new(Metrics::new()?);
    let driver_options = DriverOptions {
        statement_attempts: options.statement_attempts,
        target_partitions: options.target_partitions,
        preview_rows: options.preview_rows,
        preview_bytes: usize::try_from(options.preview_bytes.as_u64()).unwrap_or(usize::MAX),
        cancel_grace: CANCEL_GRACE,
        upkeep: options.upkeep,
    };
    let catalog = DurableCatalog::new(Arc::clone(engine.catalog()), Arc::clone(&store));
    let planner = Planner::new(Arc::clone(&engine), Arc::clone(&catalog));
    let unplanned = catalog.load(&planner).await?;
    mend_views(Arc::clone(&catalog), planner.clone(), unplanned, shutdown.clone());
    let publishes = Publishes::new(engine.stores().clone(), store, catalog);
    publishes.recover().await?;
    commit::sweep_dead(&host, &publishes).await?;
    let parts = (Arc::clone(&host), Arc::clone(&book), Arc::clone(&metrics));
    let driver = Driver::new(driver_options, engine, parts.0, planner, publishes, parts.1, parts.2);
    Ok(Parts { api: Api::new(driver), book, host, metrics })
}

/// Plans in the background the views whose tables could not be opened yet.
fn mend_views(catalog: Arc<DurableCatalog>, planner: Planner, views: Vec<ViewRecord>, shutdown: CancellationToken) {
    if !views.is_empty() {
        tokio::spawn(async move {
            shutdown.run_until_cancelled(catalog.mend_views(&planner, views)).await;
        });
    }
}

fn serve_grpc(
    api: Api,
    host: Arc<Host>,
    health: tonic_health::pb::health_server::HealthServer<impl tonic_health::pb::health_server::Health>,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<impl Future<Output = Result<(), SchedulerError>> + Send + 'static, SchedulerError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|e| stopped("reflection", e))?;
    let router = Server::builder()
        .timeout(RPC_TIMEOUT)
        .concurrency_limit_per_connection(RPCS_PER_CONNECTION)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(api.jobs())
        .add_service(api.queries())
        .add_service(api.cluster())
        .add_service(api.catalog())
        .add_service(host.fleet_service())
        .add_service(health)
        .add_service(reflection);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(async move {
        let served = router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await;
        served.map_err(|e| stopped("gRPC", e))
    })
}

struct Servers {
    grpc: JoinHandle<Result<(), SchedulerError>>,
    http: JoinHandle<Result<(), SchedulerError>>,
    stop: CancellationToken,
}

/// Waits for the order to stop, or for a server that fails, and takes everything down in order.
async fn supervise(
    mut servers: Servers,
    book: Arc<RunBook>,
    reporter: HealthReporter,
    shutdown: CancellationToken,
) -> Result<(), SchedulerError> {
    let failed = tokio::select! {
        () = shutdown.cancelled() => None,
        ended = &mut servers.grpc => Some(ended_early("gRPC", ended)),
        ended = &mut servers.http => Some(ended_early("HTTP", ended)),
    };
    tracing::info!("Scheduler stops");
    report(&reporter, ServingStatus::NotServing).await;
    book.close();
    if timeout(RUNS_GRACE, book.idle()).await.is_err() {
        tracing::warn!("Some runs did not end in time; they end with the scheduler");
    }
    servers.stop.cancel();
    for server in [&mut servers.grpc, &mut servers.http] {
        if !server.is_finished() && timeout(RPCS_GRACE, &mut *server).await.is_err() {
            // Long polls of executors and idle streams: they learn by their connection's end.
            server.abort();
        }
    }
    match failed {
        Some(error) => {
            tracing::error!(%error, "Scheduler stopped by itself");
            Err(error)
        }
        None => {
            tracing::info!("Scheduler stopped");
            Ok(())
        }
    }
}

async fn report(reporter: &HealthReporter, status: ServingStatus) {
    use tonic::server::NamedService;
    let names = [
        "",
        JobServiceServer::<Api>::NAME,
        QueryServiceServer::<Api>::NAME,
        ClusterServiceServer::<Api>::NAME,
        CatalogServiceServer::<Api>::NAME,
        FleetServiceServer::<FleetFacade>::NAME,
    ];
    for name in names {
        reporter.set_service_status(name, status).await;
    }
}

fn ended_early(
    service: &'static str,
    ended: Result<Result<(), SchedulerError>, tokio::task::JoinError>,
) -> SchedulerError {
    match ended {
        Ok(Ok(())) => stopped(service, "it ended without being told to"),
        Ok(Err(error)) => error,
        Err(error) => stopped(service, error),
    }
}

fn stopped(service: &'static str, cause: impl ToString) -> SchedulerError {
    SchedulerError::Serve { service, cause: cause.to_string() }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
