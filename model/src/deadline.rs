//! How long a statement may go on, and what is said when it is over. Both limits are given by settings; the clock is the
//! caller's.

use std::time::Duration;

use crate::failure::{Domain, Failure, Retry};
use crate::run::{StatementRecord, StatementState};

/// Whose time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One statement's, over all its attempts.
    Statement,
    /// The run's, from the start of its first statement.
    Run,
}

/// The limit that is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// Whose it is.
    pub scope: Scope,
    /// How long it allows in all.
    pub allowed: Duration,
    /// What is left of that.
    pub left: Duration,
}

/// The limit of a statement that begins now, in a run that began `run_age` ago.
pub fn deadline(statement: Option<Duration>, run: Option<Duration>, run_age: Duration) -> Option<Deadline> {
    let statement = statement.map(|allowed| Deadline { scope: Scope::Statement, allowed, left: allowed });
    let run = run.map(|allowed| Deadline { scope: Scope::Run, allowed, left: allowed.saturating_sub(run_age) });
    // Of two that end together the statement's says more.
    [statement, run].into_iter().flatten().min_by_key(|deadline| deadline.left)
}

impl Deadline {
    /// What a statement fails with when the time is up. `allowed` is how people write it.
    pub fn exceeded(&self, allowed: &str, statement: &StatementRecord) -> Failure {
        let (code, what, setting) = match self.scope {
            Scope::Statement => ("STATEMENT_TIMEOUT", "The statement", "selvedge.statement.timeout"),
            Scope::Run => ("RUN_TIMEOUT", "The run", "selvedge.run.timeout"),
        };
        let cause =
            format!("{what} was ended after {allowed}, which is all that {setting} allows: {}", doing(statement));
        Failure::new(Domain::User, Retry::Never, code, cause).with_hint(match self.scope {
            Scope::Statement => "Give it longer with SET selvedge.statement.timeout, or look for the slow stage with `selvedge runs show`",
            Scope::Run => "Give it longer with --timeout, or look for the slow statement with `selvedge runs show`",
        })
    }
}

/// What a statement is at, for people.
fn doing(statement: &StatementRecord) -> String {
    let who = format!("statement {} ({})", statement.index, statement.kind);
    match statement.state {
        StatementState::Pending => return format!("{who} had not begun"),
        StatementState::Publishing => return format!("{who} was publishing what it wrote"),
        _ => {}
    }
    if !statement.waiting.is_empty() {
        return format!("{who} waited for {}", statement.waiting);
    }
    let open = statement.stages.iter().filter(|s| s.tasks_done < s.tasks_total);
    match open.max_by_key(|stage| (stage.tasks_running, stage.stage_id)) {
        Some(stage) => format!(
            "{who} was in stage {} with {} of {} tasks done, {} running",
            stage.stage_id, stage.tasks_done, stage.tasks_total, stage.tasks_running
        ),
        None => format!("{who} was being planned or between two stages"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::StageRecord;

    #[test]
    fn the_limit_that_is_reached_first_counts() {
        let seconds = |n: Option<u64>| n.map(Duration::from_secs);
        for (statement, run, age, expected) in [
            (None, None, 5, None),
            (Some(10), None, 5, Some((Scope::Statement, 10, 10))),
            (None, Some(10), 4, Some((Scope::Run, 10, 6))),
            (Some(10), Some(30), 4, Some((Scope::Statement, 10, 10))),
            (Some(10), Some(30), 25, Some((Scope::Run, 30, 5))),
            (Some(10), Some(30), 20, Some((Scope::Statement, 10, 10))),
            // It was over before this one began.
            (None, Some(10), 11, Some((Scope::Run, 10, 0))),
        ] {
            let got = deadline(seconds(statement), seconds(run), Duration::from_secs(age));
            let got = got.map(|d| (d.scope, d.allowed.as_secs(), d.left.as_secs()));
            assert_eq!(got, expected, "{statement:?} {run:?} {age}");
        }
    }

    #[test]
    fn what_it_was_doing_is_said() {
        let mut statement = StatementRecord::pending(2, "SELECT", "SELECT 1", "");
        let over = |statement: &StatementRecord, scope| {
            let minute = Duration::from_secs(60);
            Deadline { scope, allowed: minute, left: minute }.exceeded("1m", statement)
        };
        let says = |statement: &StatementRecord, text: &str| {
            let failure = over(statement, Scope::Statement);
            assert!(failure.cause.contains(text) && failure.cause.contains("1m"), "{failure}");
            assert_eq!((failure.code.as_str(), failure.is_retryable()), ("STATEMENT_TIMEOUT", false));
        };
        says(&statement, "statement 2 (SELECT) had not begun");
        statement.state = StatementState::Running;
        says(&statement, "being planned");
        let stage = |stage_id, tasks_done, tasks_running| StageRecord {
            stage_id,
            tasks_total: 8,
            tasks_done,
            tasks_running,
            ..StageRecord::default()
        };
        statement.stages = vec![stage(1, 8, 0), stage(2, 3, 4), stage(3, 0, 0)];
        says(&statement, "stage 2 with 3 of 8 tasks done, 4 running");
        statement.waiting = "executors: none registered".into();
        says(&statement, "waited for executors: none registered");
        statement.state = StatementState::Publishing;
        says(&statement, "publishing");
        assert_eq!(over(&statement, Scope::Run).code, "RUN_TIMEOUT");
    }
}
