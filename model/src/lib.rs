//! The vocabulary of Selvedge and its pure rules.
//!
//! Nothing here does I/O, awaits, reads a clock or draws a random number: time and facts come in as arguments, decisions
//! go out as values. Scheduler and executor act on them at the edge. `tests/tidy.rs` keeps it so.

pub mod commit;
pub mod compaction;
pub mod copies;
pub mod deadline;
pub mod delta;
pub mod durability;
pub mod expectation;
pub mod failure;
pub mod handout;
pub mod id;
pub mod liveness;
pub mod manifest;
pub mod notice;
pub mod params;
pub mod pressure;
pub mod publish;
pub mod run;
pub mod speculation;
pub mod stall;
pub mod suspects;
pub mod vacuum;
pub mod words;

pub use failure::{Domain, Failure, Place, Retry};
pub use id::{ExecutorId, RunId, StatementAttempt, TaskRef};
