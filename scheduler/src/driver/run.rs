//! One run: waits for its turn, runs its statements in order, and records its end whatever happens.
//!
//! A statement is in `statement`; nothing here looks into one.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use parking_lot::Mutex;
use selvedge_engine::session::Settings;
use selvedge_engine::sql::ScriptStatement;
use selvedge_model::run::RunEvent;
use selvedge_model::{Failure, Place, RunId};
use selvedge_proto::v1;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::sink::{ResultEvent, ResultSink};
use super::upkeep::Aftermath;
use super::{Driver, RunSpec, Stop, Work};
use crate::runs::{Turn, now_ms};

/// A run that has been admitted.
pub(super) struct OpenRun {
    pub(super) id: RunId,
    pub(super) user: String,
    pub(super) settings: Settings,
    pub(super) sink: Option<ResultSink>,
    pub(super) cancel: CancellationToken,
    /// What its writes left in tables.
    pub(super) aftermaths: Mutex<Vec<Aftermath>>,
}

/// One statement to run.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Sql(&'a ScriptStatement),
    Plan(&'a v1::DataFramePlan),
}

impl Step<'_> {
    pub(super) fn index(self) -> u32 {
        match self {
            Self::Sql(statement) => statement.index,
            Self::Plan(_) => 1,
        }
    }

    pub(super) fn kind(self) -> String {
        match self {
            Self::Sql(statement) => statement.kind.label().to_owned(),
            Self::Plan(_) => "DATAFRAME".to_owned(),
        }
    }

    pub(super) fn place(self) -> Option<Place> {
        match self {
            Self::Sql(statement) => Some(statement.place.clone()),
            Self::Plan(_) => None,
        }
    }
}

impl Driver {
    /// Accepts a run and drives it in the background.
    ///
    /// # Errors
    /// When there is nothing to do, or the book refuses; nothing is recorded then.
    pub fn submit(self: &Arc<Self>, spec: RunSpec) -> Result<RunId, Failure> {
        if spec.work.is_empty() {
            return Err(Failure::user("EMPTY_SCRIPT", "The script has no statement")
                .with_hint("Write at least one SQL statement; comments alone do nothing"));
        }
        let turn = self.book.accept(spec.record(now_ms()))?;
        let cancel = self.book.cancellation(&spec.id)?;
        let id = spec.id.clone();
        let span = tracing::info_span!("run", run_id = %id, name = %spec.name);
        let driver = Arc::clone(self);
        let driven = async move {
            let id = spec.id.clone();
            if AssertUnwindSafe(driver.drive(turn, cancel, spec).boxed()).catch_unwind().await.is_err() {
                tracing::error!(run_id = %id, "The driver of a run panicked");
                let failure = Failure::internal("INTERNAL", "The scheduler failed while it drove this run")
                    .with_hint("This is a fault of Selvedge; the scheduler's log says more");
                driver.book.apply(&id, RunEvent::Failed { index: None, failure });
            }
            driver.count_end(&id);
        };
        tokio::spawn(driven.instrument(span));
        Ok(id)
    }

    async fn drive(&self, turn: Turn, cancel: CancellationToken, spec: RunSpec) {
        let RunSpec { id, user, settings, work, sink, .. } = spec;
        let permit = cancel.run_until_cancelled(turn.come()).await.flatten();
        let mut run = OpenRun { id, user, settings, sink, cancel, aftermaths: Mutex::default() };
        let outcome = match &permit {
            Some(_) => {
                self.book.apply(&run.id, RunEvent::Started);
                self.statements(&mut run, &work).await
            }
            None => Err((0, Stop::Cancelled)),
        };
        // The place is free before anybody hears of the end, so that a follower's next run is not refused.
        drop(permit);
        // Not sooner: its own statements would meet it.
        self.look_after(run.aftermaths.get_mut().split_off(0));
        let failure = match outcome {
            Ok(()) => return,
            Err((index, Stop::Cancelled)) => self.ended_from_outside(&run.id, index),
            Err((index, Stop::Failed(failure))) => {
                let event = RunEvent::Failed { index: Some(index), failure: failure.clone() };
                self.book.apply(&run.id, event);
                failure
            }
        };
        if let Some(sink) = &run.sink {
            sink.send(ResultEvent::Failed(failure)).await;
        }
    }

    /// Records why a run ended before its time: at somebody's wish, or because this scheduler goes down.
    fn ended_from_outside(&self, id: &RunId, index: u32) -> Failure {
        let wished = self.book.get(id).is_ok_and(|record| record.cancel_requested);
        if wished || !self.book.is_closed() {
            self.book.apply(id, RunEvent::Cancelled);
            return Failure::user("CANCELLED", format!("Run {id} was cancelled"));
        }
        let failure = Failure::external("SCHEDULER_STOPPED", "The scheduler was stopped before the run had ended")
            .with_hint(
                "Submit it again when a scheduler runs: what its statements published stays, of the others nothing is visible",
            );
        self.book.apply(id, RunEvent::Failed { index: (index > 0).then_some(index), failure: failure.clone() });
        failure
    }

    async fn statements(&self, run: &mut OpenRun, work: &Work) -> Result<(), (u32, Stop)> {
        match work {
            Work::Script(statements) => {
                for statement in statements {
                    self.statement(run, Step::Sql(statement)).await.map_err(|stop| (statement.index, stop))?;
                }
                Ok(())
            }
            Work::Plan { plan, .. } => self.statement(run, Step::Plan(plan)).await.map_err(|stop| (1, stop)),
        }
    }

    fn count_end(&self, id: &RunId) {
        if let Ok(record) = self.book.get(id) {
            self.metrics.run_ended(record.state);
        }
    }
}
