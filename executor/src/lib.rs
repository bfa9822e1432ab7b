//! The data plane: pulls tasks, runs them, keeps their shuffle, drains.
//!
//! An executor dials the scheduler and is never dialled by it; other executors may read its shuffle files. It keeps nothing
//! that a run needs once its output is in the shuffle location. Begin with `start.rs`; work arrives in `poll/` and is done
//! in `task/`.

mod clock;
pub mod config;
mod error;
pub mod fault;
mod http;
mod metrics;
mod poll;
mod shuffle_service;
mod spot;
mod start;
mod task;
mod work_dir;

pub use config::ExecutorOptions;
pub use error::ExecutorError;
pub use start::{RunningExecutor, start};
