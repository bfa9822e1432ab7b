//! Metrics and health over HTTP: `/metrics` for Prometheus, `/healthz` (the process lives), `/readyz` (it takes runs).
//!
//! Read-only, and without anything secret: no configuration, no SQL. `metrics` holds the numbers, `pages` serves them.

mod metrics;
mod pages;

pub use metrics::Metrics;
pub(crate) use pages::{Pages, router};
