//! One job of the engine: submit it, tell the book how it goes and what it waits for, stop it when the run is cancelled,
//! await its outcome.
//!
//! Whoever calls forgets the job when its output is no longer needed.

use std::time::Duration;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use selvedge_model::run::{RunEvent, StageRecord};
use selvedge_model::{RunId, StatementAttempt};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::run::OpenRun;
use super::{Driver, Stop};
use crate::ballista::{JobOutput, TaskLog};
use crate::runs::{Level, RunLine};

/// Progress and task logs reach the book this often.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

/// Which of a job's task lines the book has.
#[derive(Debug, Default)]
struct LogCursor {
    last: Option<TaskLog>,
}

impl LogCursor {
    /// Those of `lines` that come after the last one seen; all when that one is gone.
    fn fresh(&mut self, mut lines: Vec<TaskLog>) -> Vec<TaskLog> {
        let seen = self.last.as_ref().and_then(|last| lines.iter().rposition(|line| line == last));
        let fresh = lines.split_off(seen.map_or(0, |at| at + 1));
        if let Some(last) = fresh.last() {
            self.last = Some(last.clone());
        }
        fresh
    }
}

impl Driver {
    pub(super) async fn job(
        &self,
        run: &OpenRun,
        ids: &StatementAttempt,
        state: SessionState,
        plan: LogicalPlan,
    ) -> Result<JobOutput, Stop> {
        let handle = self.host.submit(ids, state, plan).await?;
        let canceller = handle.canceller();
        let stages = handle.stages.clone();
        let job_id = handle.job_id.clone();
        let mut cursor = LogCursor::default();
        let mut outcome = Box::pin(handle.outcome());
        let ended = tokio::select! {
            ended = &mut outcome => Some(ended),
            () = run.cancel.cancelled() => None,
            () = self.follow(&run.id, ids.statement, &job_id, stages.clone(), &mut cursor) => None,
        };
        let result = match ended {
            Some(ended) => ended.map_err(Stop::Failed),
            None => {
                canceller.cancel();
                if timeout(self.options.cancel_grace, outcome).await.is_err() {
                    tracing::warn!(run_id = %run.id, job_id, "A cancelled job did not stop in time");
                }
                Err(Stop::Cancelled)
            }
        };
        let last = match &result {
            Ok(output) => output.stages.clone(),
            Err(_) => stages.borrow().clone(),
        };
        self.progress(&run.id, ids.statement, last);
        if result.is_ok() {
            self.book.apply(&run.id, RunEvent::Waiting { index: ids.statement, reason: String::new() });
        }
        self.take_logs(&run.id, ids.statement, &job_id, &mut cursor);
        result
    }

    /// Carries progress, what is waited for, and task lines to the book, for as long as it is polled.
    async fn follow(
        &self,
        run: &RunId,
        statement: u32,
        job_id: &str,
        mut stages: watch::Receiver<Vec<StageRecord>>,
        cursor: &mut LogCursor,
    ) {
        let mut waiting = String::new();
        let mut ticks = interval(FOLLOW_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // A closed channel means that the outcome is near.
            if stages.has_changed().unwrap_or(false) {
                let now = stages.borrow_and_update().clone();
                self.progress(run, statement, now);
            }
            let reason = self.host.waiting(job_id);
            if reason != waiting {
                waiting.clone_from(&reason);
                self.book.apply(run, RunEvent::Waiting { index: statement, reason });
            }
            self.take_logs(run, statement, job_id, cursor);
        }
    }

    fn progress(&self, run: &RunId, index: u32, stages: Vec<StageRecord>) {
        self.book.apply(run, RunEvent::Progress { index, stages });
    }

    fn take_logs(&self, run: &RunId, statement: u32, job_id: &str, cursor: &mut LogCursor) {
        for line in cursor.fresh(self.host.logs(job_id)) {
            let line = RunLine {
                time_ms: line.time_ms,
                level: Level::parse(&line.level),
                message: line.message,
                statement,
                task: Some(line.task),
                executor: line.executor,
            };
            self.book.tell(run, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_model::TaskRef;

    use super::*;

    fn line(message: &str) -> TaskLog {
        TaskLog {
            task: TaskRef { job_id: "j".into(), stage_id: 1, stage_attempt: 0, task_id: 0 },
            time_ms: 1,
            level: "INFO".into(),
            message: message.into(),
            executor: "e".into(),
        }
    }

    #[test]
    fn each_task_line_is_taken_once_also_when_old_ones_are_dropped() {
        let mut cursor = LogCursor::default();
        assert_eq!(cursor.fresh(vec![line("a"), line("b")]).len(), 2);
        assert!(cursor.fresh(vec![line("a"), line("b")]).is_empty());
        assert_eq!(cursor.fresh(vec![line("b"), line("c")]), [line("c")]);
        assert_eq!(cursor.fresh(vec![line("x"), line("y")]).len(), 2);
        assert!(cursor.fresh(vec![]).is_empty());
        assert_eq!(cursor.fresh(vec![line("y"), line("z")]), [line("z")]);
    }
}
