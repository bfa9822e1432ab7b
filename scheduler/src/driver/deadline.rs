//! The time that a statement and its run are given. When it is up, the statement is ended as a cancel ends it, and fails.
//!
//! Which limit counts, and what is said, stands in `selvedge_model::deadline`.

use std::time::Duration;

use selvedge_model::deadline::{Deadline, deadline};
use selvedge_model::run::Counters;
use tokio_util::sync::CancellationToken;

use super::run::{OpenRun, Step};
use super::{Driver, Stop};
use crate::runs::now_ms;

impl Driver {
    /// A statement within its time.
    pub(super) async fn in_time(&self, run: &mut OpenRun, step: Step<'_>) -> Result<(), Stop> {
        let Some(deadline) = self.deadline(run) else { return self.attempts(run, step).await };
        // What is waiting in it sees its own token alone.
        let outer = run.cancel.clone();
        let token = outer.child_token();
        run.cancel = token.clone();
        let (result, is_over) = within(deadline.left, &token, self.attempts(run, step)).await;
        run.cancel = outer;
        match result {
            Err(stop) if is_over && !run.cancel.is_cancelled() && is_cancelled(&stop) => {
                self.metrics.statement_ended(&step.kind(), "failed", &Counters::default());
                Err(self.exceeded(run, step, deadline).unwrap_or(stop))
            }
            other => other,
        }
    }

    fn deadline(&self, run: &OpenRun) -> Option<Deadline> {
        let (statement, whole) = (run.settings.statement_timeout(), run.settings.run_timeout());
        let started_ms = match whole {
            Some(_) => self.book.get(&run.id).ok()?.started_ms,
            None => now_ms(),
        };
        let age = u64::try_from(now_ms() - started_ms).unwrap_or(0);
        deadline(statement, whole, Duration::from_millis(age))
    }

    fn exceeded(&self, run: &OpenRun, step: Step<'_>, deadline: Deadline) -> Option<Stop> {
        let record = self.book.get(&run.id).ok()?;
        let statement = record.statements.iter().find(|statement| statement.index == step.index())?;
        let allowed = humantime::format_duration(deadline.allowed).to_string();
        let failure = deadline.exceeded(&allowed, statement);
        Some(Stop::Failed(match step.place() {
            Some(place) => failure.at(place),
            None => failure,
        }))
    }
}

/// A job that is told to stop may say so itself.
fn is_cancelled(stop: &Stop) -> bool {
    match stop {
        Stop::Cancelled => true,
        Stop::Failed(failure) => failure.code == "CANCELLED",
    }
}

/// Awaits `work`; when `limit` is over, cancels and awaits it all the same. Says whether it was over.
async fn within<T>(limit: Duration, cancel: &CancellationToken, work: impl Future<Output = T>) -> (T, bool) {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return (done, false),
        () = tokio::time::sleep(limit) => cancel.cancel(),
    }
    (work.await, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_told_when_its_time_is_up_and_awaited() {
        let (token, short) = (CancellationToken::new(), Duration::from_millis(20));
        assert_eq!(within(Duration::from_secs(60), &token, async { 1 }).await, (1, false));
        assert!(!token.is_cancelled());
        // It cannot be stopped at once, and what it then says counts.
        let slow = async {
            token.cancelled().await;
            tokio::time::sleep(short * 2).await;
            2
        };
        assert_eq!(within(short, &token, slow).await, (2, true));
    }
}
