//! The guards against what stock Ballista loses, doubles or hangs on, each against a real host in this process.
//!
//! Executors are driven by hand (`fake`): they speak `FleetService` by direct call and answer tasks with statuses made up for
//! the case. No plan is executed: rows are what the statuses claim. Each test is named for the behaviour it guards.

mod cluster;
mod copies;
mod endings;
mod explain;
mod fake;
mod fleet;
mod pressure;
mod recovery;
mod statuses;
mod suspects;
