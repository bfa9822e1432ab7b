//! The executor's HTTP port: `/metrics`, `/healthz` (this process lives), `/readyz` (it can be given work). Nothing here
//! changes anything.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::task::TaskRunner;

/// An executor that the scheduler has not answered for so long is not ready.
const READY_WITHIN: Duration = Duration::from_secs(15);

/// What the pages show.
#[derive(Clone)]
pub(crate) struct Pages {
    pub metrics: Arc<Metrics>,
    pub runner: Arc<TaskRunner>,
    pub draining: CancellationToken,
}

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, pages: Pages, stop: CancellationToken) {
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(pages);
    if let Err(cause) = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await {
        tracing::error!(%cause, "the HTTP port stopped");
    }
}

async fn metrics(State(pages): State<Pages>) -> (StatusCode, String) {
    let Pages { metrics, runner, .. } = pages;
    metrics.vcores_free.set(runner.free_vcores().into());
    metrics.memory_used_bytes.set(i64::try_from(runner.memory_used_bytes()).unwrap_or(i64::MAX));
    metrics.disk_used_bytes.set(i64::try_from(runner.disk_used_bytes()).unwrap_or(i64::MAX));
    match metrics.render() {
        Ok(text) => (StatusCode::OK, text),
        Err(cause) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{cause}\n")),
    }
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    if pages.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    match pages.metrics.since_poll() {
        Some(since) if since < READY_WITHIN => (StatusCode::OK, "ok\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the scheduler does not answer\n"),
    }
}
