//! The control plane: API, admission, planning, the engine host and its facade, publish.
//!
//! The way of a run: `api` -> `runs` (admission, record) -> `driver` -> `planning` -> `ballista` (host) -> executors; what
//! writers staged comes back through `driver` to `commit`. `store` keeps what outlives the process: `catalog` and the journal of
//! `commit`. `server` puts it together; `config` says how.

pub mod api;
pub mod ballista;
pub mod catalog;
pub mod commit;
pub mod config;
pub mod driver;
pub mod error;
pub mod fault;
pub mod http;
pub mod planning;
pub mod runs;
mod server;
pub mod store;

pub use config::SchedulerOptions;
pub use error::SchedulerError;
pub use server::{RunningScheduler, start};
