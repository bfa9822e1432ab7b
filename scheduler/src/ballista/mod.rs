//! The host of the distributed engine: Ballista's scheduler embedded in ours, behind a facade that we own.
//!
//! ```text
//! driver -> Host::submit -> Ballista's graph <- facade (FleetService.Poll) <- executors
//! ```
//! Executors only call; nothing here dials them. Every guard against what stock Ballista loses, doubles or hangs on (see
//! ARCHITECTURE.md) stands in this folder, and no other part of the scheduler knows Ballista's types. Start at `host`;
//! `facade` is what executors talk to; `poll` and `statuses` decide which of their words count; `copies` has work done once
//! more that was lost or is slow; `watch` ends what
//! would never end by itself.

mod cluster;
mod copies;
mod describe;
mod explain;
mod facade;
mod failures;
mod fleet;
mod graph;
mod host;
mod job;
mod jobs;
mod logs;
mod meter;
mod poll;
mod pressure;
mod server;
mod stage_plan;
mod statuses;
mod suspects;
mod watch;

#[cfg(test)]
mod tests;

pub use explain::{PlannedStage, planned_stages};
pub use facade::Fleet as FleetFacade;
pub use fleet::{ExecutorState, ExecutorView, FleetSize};
pub use host::{Host, HostOptions};
pub use job::{JobCanceller, JobHandle, JobOutput, ResultPartition};
pub use logs::TaskLog;
