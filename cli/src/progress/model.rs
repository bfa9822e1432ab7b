//! What there is to say about a run, without saying it: pure, time comes in.

use selvedge::model::{RunRecord, StageRecord, StatementRecord, StatementState};
use selvedge_model::words::counted;

use crate::output::units;

/// A stage that is under way or done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StageProgress {
    pub statement: u32,
    pub attempt: u32,
    pub stage: u32,
    pub description: String,
    pub tasks_done: u32,
    pub tasks_total: u32,
    pub rows: u64,
    pub bytes: u64,
    /// How much longer, if anything can be said.
    pub left_ms: Option<u64>,
}

impl StageProgress {
    pub fn is_done(&self) -> bool {
        self.tasks_total > 0 && self.tasks_done >= self.tasks_total
    }

    /// `1,200,000 rows, 34 MiB, about 12.0 s left`.
    pub fn figures(&self) -> String {
        let mut parts = vec![counted(self.rows, "row")];
        if self.bytes > 0 {
            parts.push(units::bytes(self.bytes));
        }
        if let Some(left) = self.left_ms.filter(|_| !self.is_done()) {
            parts.push(format!("about {} left", units::duration(left)));
        }
        parts.join(", ")
    }
}

/// The stages of the statement that runs, in order.
pub(super) fn running_stages(run: &RunRecord, now_ms: i64) -> Vec<StageProgress> {
    let running = run.statements.iter().filter(|s| s.state == StatementState::Running);
    running.flat_map(|s| s.stages.iter().map(|stage| stage_progress(s, stage, now_ms))).collect()
}

fn stage_progress(statement: &StatementRecord, stage: &StageRecord, now_ms: i64) -> StageProgress {
    let counters = &stage.counters;
    StageProgress {
        statement: statement.index,
        attempt: statement.attempt,
        stage: stage.stage_id,
        description: stage.description.clone(),
        tasks_done: stage.tasks_done.min(stage.tasks_total),
        tasks_total: stage.tasks_total,
        rows: counters.rows_out.max(counters.rows_written),
        bytes: counters.bytes_read + counters.shuffle_bytes_read,
        left_ms: left_ms(stage, now_ms),
    }
}

/// Tasks of a stage are alike, so the rest takes as long as its share of what is done took. Nothing before the first is.
fn left_ms(stage: &StageRecord, now_ms: i64) -> Option<u64> {
    let spent = units::elapsed(stage.started_ms, now_ms)?;
    let rest = u64::from(stage.tasks_total.checked_sub(stage.tasks_done)?);
    (stage.tasks_done > 0).then(|| spent * rest / u64::from(stage.tasks_done))
}

/// `2/5`: the statement among all.
pub(super) fn position(run: &RunRecord, statement: &StatementRecord) -> String {
    format!("{}/{}", statement.index, run.statements.len())
}

/// `INSERT OVERWRITE mart.revenue`.
pub(super) fn title(statement: &StatementRecord) -> String {
    if statement.target.is_empty() {
        statement.kind.clone()
    } else {
        format!("{} {}", statement.kind, statement.target)
    }
}

/// What a statement does now: `runs`, or `waiting for executors: none registered`.
pub(super) fn doing(statement: &StatementRecord) -> String {
    if statement.waiting.is_empty() { outcome(statement) } else { format!("waiting for {}", statement.waiting) }
}

/// What an ended statement did: `done in 3.1 s, 1,000 rows in 2 files (34 MiB) written`.
pub(super) fn outcome(statement: &StatementRecord) -> String {
    let time = units::elapsed(statement.started_ms, statement.ended_ms).map(units::duration);
    let time = time.map(|t| format!(" in {t}")).unwrap_or_default();
    let again = if statement.attempt > 1 { format!(", attempt {}", statement.attempt) } else { String::new() };
    match statement.state {
        StatementState::Succeeded => format!("done{time}{}{again}", written(statement)),
        StatementState::Failed => format!("failed{}{again}", time.replace(" in ", " after ")),
        StatementState::Cancelled if statement.started_ms == 0 => "not run".to_owned(),
        StatementState::Cancelled => format!("cancelled{}", time.replace(" in ", " after ")),
        StatementState::Pending => "waits".to_owned(),
        StatementState::Running => "runs".to_owned(),
        StatementState::Publishing => "publishes".to_owned(),
    }
}

fn written(statement: &StatementRecord) -> String {
    let c = &statement.counters;
    if c.files_written == 0 {
        return String::new();
    }
    let (rows, files) = (counted(c.rows_written, "row"), counted(c.files_written, "file"));
    format!(", {rows} in {files} ({}) written", units::bytes(c.bytes_written))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::samples;

    #[test]
    fn the_time_left_follows_from_the_tasks_done() {
        let run = samples::running();
        let stages = running_stages(&run, 11_000);
        let left: Vec<Option<u64>> = stages.iter().map(|s| s.left_ms).collect();
        // Stage 1 is done; stage 2 began at 7 s and did 1 of 4 tasks in 4 s; stage 3 has not begun.
        assert_eq!(left, [Some(0), Some(12_000), None]);
        assert_eq!(stages[1].figures(), "250,000 rows, 8.00 MiB, about 12.0 s left");
    }

    #[test]
    fn an_ended_statement_tells_what_it_wrote() {
        let run = samples::succeeded();
        let text = outcome(&run.statements[1]);
        assert_eq!(text, "done in 9.0 s, 1,000,000 rows in 12 files (34.0 MiB) written");
        assert_eq!(title(&run.statements[1]), "INSERT OVERWRITE mart.revenue");
    }
}
