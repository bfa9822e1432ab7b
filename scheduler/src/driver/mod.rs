//! Drives runs: takes an accepted run through its statements, in order, to one of its ends.
//!
//! ```text
//! submit -> (turn) -> run: statements in order -> statement: attempts -> attempt: plan, then query | write
//!                                                  results -> preview, sink          manifests -> publish
//! ```
//! The driver holds no rule of its own: `model::run` says what an event does and whether a failure is tried again,
//! `model::manifest` which output counts, `commit` how it becomes visible. It sends every change to the run book.

mod analyze;
mod attempt;
mod contract;
mod deadline;
mod job;
mod preview;
mod query;
mod results;
mod run;
mod settings;
mod sink;
mod spec;
mod statement;
mod upkeep;
mod vacuum;
mod write;

use std::sync::{Arc, Weak};
use std::time::Duration;

use selvedge_engine::session::Engine;
use selvedge_model::Failure;

use crate::ballista::Host;
use crate::commit::Publishes;
use crate::http::Metrics;
use crate::planning::Planner;
use crate::runs::RunBook;

pub use sink::{ResultEvent, ResultSink, result_channel};
pub use spec::{RunSpec, Work};

/// What the driver goes by.
#[derive(Debug, Clone, Copy)]
pub struct DriverOptions {
    /// Tries of a statement in all.
    pub statement_attempts: u32,
    /// Tasks of a stage; 0 derives it from the live vcores.
    pub target_partitions: usize,
    /// Rows kept of a SELECT.
    pub preview_rows: usize,
    /// Size of what is kept of a SELECT.
    pub preview_bytes: usize,
    /// How long a cancelled job may take to stop before the run ends without it.
    pub cancel_grace: Duration,
    /// Whether runs that nobody asked for may follow others, to look after tables.
    pub upkeep: bool,
}

/// Drives the runs of one scheduler.
pub struct Driver {
    options: DriverOptions,
    engine: Arc<Engine>,
    host: Arc<Host>,
    planner: Planner,
    book: Arc<RunBook>,
    metrics: Arc<Metrics>,
    publishes: Arc<Publishes>,
    /// Itself, to submit what follows from a run.
    me: Weak<Self>,
    upkeep: upkeep::Looks,
}

impl Driver {
    /// A driver over the given parts.
    pub fn new(
        options: DriverOptions,
        engine: Arc<Engine>,
        host: Arc<Host>,
        planner: Planner,
        publishes: Arc<Publishes>,
        book: Arc<RunBook>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            options,
            engine,
            host,
            planner,
            book,
            metrics,
            publishes,
            me: me.clone(),
            upkeep: upkeep::Looks::default(),
        })
    }

    /// Plans statements and data frames.
    pub fn planner(&self) -> &Planner {
        &self.planner
    }

    /// The runs.
    pub fn book(&self) -> &Arc<RunBook> {
        &self.book
    }

    /// The fleet.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }
}

/// Why something did not come to its end.
#[derive(Debug, Clone, PartialEq)]
enum Stop {
    /// Somebody asked.
    Cancelled,
    /// It failed.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
