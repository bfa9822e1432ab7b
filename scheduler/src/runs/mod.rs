//! The runs this scheduler knows: their records, who waits and who runs, and their log lines. In memory for now.
//!
//! The book decides nothing about statements: `crate::driver` sends it events, `model::run` says what they mean,
//! watchers see the result. A later issue makes the book durable behind the same type.

mod admission;
mod book;
mod ids;
mod log;
mod page;
mod story;
#[cfg(test)]
mod tests;

pub use book::{BookOptions, RunBook, RunCounts, RunPermit, Turn};
pub use log::{Level, RunLine, RunLog};
pub use page::{MAX_PAGE_SIZE, RunPage};

/// Milliseconds since the Unix epoch: the edge's clock, handed to the model as an argument.
pub(crate) fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
