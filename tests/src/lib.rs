//! The harness of the end-to-end tests and benchmarks: a real S3 server, real Selvedge processes, and oracles.
//!
//! Nothing here knows how Selvedge works inside: it starts the binary, talks to its ports and reads what it wrote with
//! other engines. Start with [`cluster`]; `e2e/` holds the tests, `benches/` the benchmark that uses the same parts.

pub mod cache;
pub mod cli;
pub mod cluster;
pub mod confine;
pub mod error;
pub mod fault_proxy;
pub mod fleet;
pub mod microburst;
pub mod oracle;
pub mod process;
pub mod readback;
pub mod reaper;
pub mod rows;
pub mod seaweed;
pub mod skewed_clock;
pub mod tpch;

pub use error::{HarnessError, Outcome, fail};

use std::future::Future;
use std::path::PathBuf;
use std::sync::LazyLock;

static RUNTIME: LazyLock<std::io::Result<tokio::runtime::Runtime>> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build());

/// The runtime that the harness's clients, proxies and oracles share.
pub fn runtime() -> Outcome<&'static tokio::runtime::Runtime> {
    RUNTIME.as_ref().map_err(|e| fail(format!("cannot start a tokio runtime: {e}")))
}

/// Runs a future to its end from a plain test function.
pub fn block_on<F: Future>(future: F) -> Outcome<F::Output> {
    Ok(runtime()?.block_on(future))
}

/// The project's root. Tests run in their package's folder, so this is found as they run: a test binary kept from
/// another checkout must not look there.
pub fn checkout() -> PathBuf {
    PathBuf::from("..").canonicalize().unwrap_or_else(|_| PathBuf::from(".."))
}
