//! Says what happened to a run, once: as a structured log event of the scheduler, and as a line of the run's own log.

use selvedge_model::expectation::ExpectationResult;
use selvedge_model::run::{RunEvent, RunRecord, RunState, StatementRecord};
use selvedge_model::words::counted;

use super::log::{Level, RunLine};

/// What an applied event is to a reader. `None` for what is too frequent to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chapter {
    Started,
    StatementStarted(u32),
    Waits(u32),
    GoesOn(u32),
    Judged(u32),
    Publishing(u32),
    StatementSucceeded(u32),
    Failed(u32),
    CancelRequested,
    Cancelled,
}

impl Chapter {
    pub(super) fn of(event: &RunEvent) -> Option<Self> {
        Some(match event {
            RunEvent::Started => Self::Started,
            RunEvent::StatementStarted { index } => Self::StatementStarted(*index),
            RunEvent::Progress { .. } => return None,
            RunEvent::Waiting { index, reason } if reason.is_empty() => Self::GoesOn(*index),
            RunEvent::Waiting { index, .. } => Self::Waits(*index),
            RunEvent::Judged { index, .. } => Self::Judged(*index),
            RunEvent::Publishing { index } => Self::Publishing(*index),
            RunEvent::StatementSucceeded { index, .. } => Self::StatementSucceeded(*index),
            RunEvent::Failed { index, .. } => Self::Failed(index.unwrap_or(0)),
            RunEvent::CancelRequested => Self::CancelRequested,
            RunEvent::Cancelled => Self::Cancelled,
        })
    }

    fn statement(self) -> u32 {
        match self {
            Self::StatementStarted(i) | Self::Waits(i) | Self::GoesOn(i) | Self::Publishing(i) => i,
            Self::Judged(i) | Self::StatementSucceeded(i) | Self::Failed(i) => i,
            Self::Started | Self::CancelRequested | Self::Cancelled => 0,
        }
    }
}

/// Tells it: logs at INFO (a failure of ours at ERROR), and returns the lines for the run's log.
pub(super) fn tell(run: &RunRecord, chapter: Chapter, now_ms: i64) -> Vec<RunLine> {
    let index = chapter.statement();
    let statement = run.statements.iter().find(|s| s.index == index);
    let attempt = statement.map_or(0, |s| s.attempt);
    let kind = statement.map_or("", |s| s.kind.as_str());
    let (level, message) = words(run, statement, chapter);
    tracing::info!(
        run_id = %run.id,
        name = %run.name,
        statement = index,
        attempt,
        kind,
        run_state = ?run.state,
        statement_state = ?statement.map(|s| s.state),
        failure_code = run.failure.as_ref().map_or("", |f| f.code.as_str()),
        "{message}"
    );
    let line = |level, message, statement| RunLine {
        time_ms: now_ms,
        level,
        message,
        statement,
        task: None,
        executor: String::new(),
    };
    let mut lines = vec![line(level, message, index)];
    if run.state == RunState::Succeeded {
        let took = seconds(run.submitted_ms, run.ended_ms);
        tracing::info!(run_id = %run.id, name = %run.name, run_state = ?run.state, seconds = took, "Run succeeded");
        lines.push(line(Level::Info, format!("Run succeeded after {took:.1} s"), 0));
    }
    lines
}

fn words(run: &RunRecord, statement: Option<&StatementRecord>, chapter: Chapter) -> (Level, String) {
    let named = |s: &StatementRecord| match s.target.as_str() {
        "" => format!("Statement {} ({})", s.index, s.kind),
        target => format!("Statement {} ({} {target})", s.index, s.kind),
    };
    let name = statement.map(named).unwrap_or_default();
    match chapter {
        Chapter::Started => (
            Level::Info,
            format!("Run started after {:.1} s in the queue", { seconds(run.submitted_ms, run.started_ms) }),
        ),
        Chapter::StatementStarted(_) => {
            (Level::Info, format!("{name} started, attempt {}", statement.map_or(0, |s| s.attempt)))
        }
        Chapter::Waits(_) => {
            (Level::Warn, format!("{name} is waiting for {}", statement.map_or("", |s| s.waiting.as_str())))
        }
        Chapter::GoesOn(_) => (Level::Info, format!("{name} goes on")),
        Chapter::Judged(_) => judged(&name, statement.map_or(&[], |s| s.expectations.as_slice())),
        Chapter::Publishing(_) => (Level::Info, format!("{name} publishes its files")),
        Chapter::StatementSucceeded(_) => {
            (Level::Info, format!("{name} succeeded{}", statement.map(done).unwrap_or_default()))
        }
        Chapter::Failed(_) => {
            let cause = run.failure.as_ref().map(|f| format!("{f} [{}]", f.code)).unwrap_or_default();
            let what = if name.is_empty() { "Run" } else { name.as_str() };
            (Level::Error, format!("{what} failed: {cause}"))
        }
        Chapter::CancelRequested => (Level::Info, "Cancel requested".to_owned()),
        Chapter::Cancelled => (Level::Warn, "Run cancelled".to_owned()),
    }
}

/// How what was written stands to what its table expects: what is not met, or how many all are.
fn judged(name: &str, results: &[ExpectationResult]) -> (Level, String) {
    let unmet =
        |r: &ExpectationResult| format!("{} of {} ({}): {}: {}", r.name, r.table, r.on_violation, r.rule, r.found);
    let unmet: Vec<String> = results.iter().filter(|r| !r.is_met).map(unmet).collect();
    match unmet.is_empty() {
        true => (Level::Info, format!("{name} meets {}", counted(results.len(), "expectation"))),
        false => (Level::Warn, format!("{name} does not meet {}", unmet.join("; "))),
    }
}

fn done(statement: &StatementRecord) -> String {
    let took = seconds(statement.started_ms, statement.ended_ms);
    let written = &statement.counters;
    if written.files_written == 0 {
        return format!(" after {took:.1} s");
    }
    let (rows, files) = (counted(written.rows_written, "row"), counted(written.files_written, "file"));
    format!(" after {took:.1} s: {rows} in {files} written")
}

fn seconds(from_ms: i64, to_ms: i64) -> f64 {
    // Far below 2^53 milliseconds.
    (to_ms - from_ms).max(0) as f64 / 1000.0
}
