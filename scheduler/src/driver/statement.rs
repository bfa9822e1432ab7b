//! One statement: its attempts, until one succeeds, what failed it will not pass, or the run is cancelled.
//!
//! Each attempt is a job of its own (`RUN-sN-aM`), so that nothing of a failed one can be taken for the next one's.
//! What an attempt does is in `attempt`.

use std::time::Duration;

use futures::FutureExt as _;
use selvedge_model::run::{AfterFailure, Counters, RunEvent, after_failure};
use selvedge_model::{Failure, Retry, StatementAttempt};
use tracing::Instrument as _;

use super::run::{OpenRun, Step};
use super::{Driver, Stop};
use crate::runs::{Level, RunLine, now_ms};

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// What a statement leaves behind.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Done {
    /// What it wrote.
    pub(super) written: Counters,
    /// First rows of its result.
    pub(super) preview: Vec<u8>,
    /// What it did, when it has no result.
    pub(super) message: String,
}

/// How long to wait after a failed attempt: 1, 2, 4, ... s, at most half a minute.
fn backoff(attempt: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(MAX_BACKOFF)
}

impl Driver {
    pub(super) async fn statement(&self, run: &mut OpenRun, step: Step<'_>) -> Result<(), Stop> {
        let index = step.index();
        if let Some(sink) = &mut run.sink {
            sink.start(index, step.kind()).await?;
        }
        let result = Box::pin(self.in_time(run, step)).await;
        let any = StatementAttempt { run: run.id.clone(), statement: index, attempt: 1 };
        self.host.statement_ended(&any.job_id());
        result
    }

    /// See the module.
    pub(super) async fn attempts(&self, run: &mut OpenRun, step: Step<'_>) -> Result<(), Stop> {
        let index = step.index();
        let mut attempt = 1;
        let mut exhausted = 0;
        loop {
            if run.cancel.is_cancelled() {
                return Err(Stop::Cancelled);
            }
            self.book.apply(&run.id, RunEvent::StatementStarted { index });
            let ids = StatementAttempt { run: run.id.clone(), statement: index, attempt };
            let span = tracing::info_span!("statement", run_id = %run.id, statement = index, attempt);
            match self.attempt(run, step, &ids, exhausted).boxed().instrument(span).await {
                Ok(done) => return self.succeed(run, step, done).await,
                Err(Stop::Cancelled) => return Err(Stop::Cancelled),
                Err(Stop::Failed(failure)) => {
                    let failure = self.judge(run, step, failure);
                    exhausted += u32::from(failure.code == "OUT_OF_MEMORY");
                    match after_failure(&failure, attempt, self.options.statement_attempts) {
                        AfterFailure::Fail => {
                            self.metrics.statement_ended(&step.kind(), "failed", &Counters::default());
                            return Err(Stop::Failed(failure));
                        }
                        AfterFailure::Again => self.wait_for_next(run, index, attempt, &failure).await?,
                    }
                }
            }
            attempt += 1;
        }
    }

    async fn succeed(&self, run: &mut OpenRun, step: Step<'_>, done: Done) -> Result<(), Stop> {
        let index = step.index();
        let Done { written, preview, message } = done;
        // The reader gets the end of the result before the run can be seen to have ended.
        if let Some(sink) = &mut run.sink {
            sink.end(index, message).await?;
        }
        self.book.apply(&run.id, RunEvent::StatementSucceeded { index, written, preview });
        let counters = self
            .book
            .get(&run.id)
            .ok()
            .and_then(|record| record.statements.iter().find(|s| s.index == index).map(|s| s.counters));
        self.metrics.statement_ended(&step.kind(), "succeeded", &counters.unwrap_or(written));
        Ok(())
    }

    /// Gives the failure its place, and takes back the advice to retry when rows have gone out already.
    fn judge(&self, run: &OpenRun, step: Step<'_>, failure: Failure) -> Failure {
        let mut failure = match step.place() {
            Some(place) => failure.at(place),
            None => failure,
        };
        if run.sink.as_ref().is_some_and(|sink| sink.has_sent_rows()) {
            failure.retry = Retry::Never;
        }
        failure
    }

    async fn wait_for_next(&self, run: &OpenRun, index: u32, attempt: u32, failure: &Failure) -> Result<(), Stop> {
        let wait = backoff(attempt);
        let seconds = wait.as_secs();
        tracing::warn!(
            run_id = %run.id, statement = index, attempt, code = %failure.code, cause = %failure.cause, seconds,
            "Statement attempt failed; trying again"
        );
        let line = RunLine {
            time_ms: now_ms(),
            level: Level::Warn,
            message: format!("Attempt {attempt} failed: {failure} [{}]. Trying again in {seconds} s", failure.code),
            statement: index,
            task: None,
            executor: String::new(),
        };
        self.book.tell(&run.id, line);
        run.cancel.run_until_cancelled(tokio::time::sleep(wait)).await.ok_or(Stop::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_and_is_bounded() {
        let seconds: Vec<u64> = [1, 2, 3, 6, 40, u32::MAX].map(|n| backoff(n).as_secs()).to_vec();
        assert_eq!(seconds, [1, 2, 4, 30, 30, 30]);
    }
}
