//! Progress as lines, for pipes and log files: each statement's begin and end, and now and then how its stages go.
//! [`Plain::lines`] is pure; the caller prints.

use std::collections::HashMap;

use selvedge::model::{RunRecord, RunState, StatementState};

use super::model::{doing, outcome, position, running_stages, title};

/// A statement that ends within this is worth one line, not two.
const SHORT_MS: i64 = 1_000;
/// Stages are mentioned this often.
const STAGES_INTERVAL_MS: i64 = 10_000;

/// Remembers what was said.
#[derive(Default)]
pub struct Plain {
    queued_said: bool,
    statements: HashMap<u32, (StatementState, u32)>,
    stages_said_ms: Option<i64>,
    /// What each statement was last said to wait for.
    waiting: HashMap<u32, String>,
}

impl Plain {
    /// What is new since the last call.
    pub(super) fn lines(&mut self, run: &RunRecord, now_ms: i64) -> Vec<String> {
        let mut lines = Vec::new();
        if run.state == RunState::Queued && !std::mem::replace(&mut self.queued_said, true) {
            lines.push(format!("run {} waits in queue '{}'", run.id, run.queue));
        }
        for statement in &run.statements {
            let seen = (statement.state, statement.attempt);
            let before = self.statements.get(&statement.index).copied();
            let place = format!("[{}] {}", position(run, statement), title(statement));
            if statement.state.is_final() {
                if before != Some(seen) && statement.started_ms > 0 {
                    lines.push(format!("{place}: {}", outcome(statement)));
                }
            } else if statement.state == StatementState::Running
                && statement.attempt > before.map_or(0, |(_, attempt)| attempt)
                && (statement.attempt > 1 || now_ms - statement.started_ms >= SHORT_MS)
            {
                self.stages_said_ms = Some(now_ms);
                let again =
                    if statement.attempt > 1 { format!(", attempt {}", statement.attempt) } else { String::new() };
                lines.push(format!("{place}: started{again}"));
            } else {
                continue;
            }
            self.statements.insert(statement.index, seen);
        }
        lines.extend(self.waiting_lines(run));
        lines.extend(self.stage_lines(run, now_ms));
        lines
    }

    fn waiting_lines(&mut self, run: &RunRecord) -> Vec<String> {
        let mut lines = Vec::new();
        for statement in &run.statements {
            let before = self.waiting.insert(statement.index, statement.waiting.clone()).unwrap_or_default();
            if !statement.waiting.is_empty() && statement.waiting != before {
                lines.push(format!("[{}] {}: {}", position(run, statement), title(statement), doing(statement)));
            }
        }
        lines
    }

    fn stage_lines(&mut self, run: &RunRecord, now_ms: i64) -> Vec<String> {
        if now_ms - *self.stages_said_ms.get_or_insert(now_ms) < STAGES_INTERVAL_MS {
            return Vec::new();
        }
        let stages = running_stages(run, now_ms);
        let under_way = stages.iter().filter(|s| !s.is_done() && s.tasks_total > 0);
        let lines: Vec<String> = under_way
            .map(|s| {
                let tasks = format!("{}/{} tasks", s.tasks_done, s.tasks_total);
                format!("[{}/{}] stage {}: {tasks}, {}", s.statement, run.statements.len(), s.stage, s.figures())
            })
            .collect();
        if !lines.is_empty() {
            self.stages_said_ms = Some(now_ms);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::samples;

    #[test]
    fn each_thing_is_said_once() {
        let mut plain = Plain::default();
        let run = samples::queued();
        assert_eq!(plain.lines(&run, 1_000), ["run r1 waits in queue 'default'"]);
        assert!(plain.lines(&run, 2_000).is_empty());
        let run = samples::running();
        assert_eq!(
            plain.lines(&run, 7_500),
            ["[1/2] CREATE EXTERNAL TABLE orders: done in 1.0 s", "[2/2] INSERT OVERWRITE mart.revenue: started"]
        );
        assert!(plain.lines(&run, 8_000).is_empty());
        let run = samples::succeeded();
        let last = plain.lines(&run, 12_000);
        assert_eq!(last.len(), 1);
        assert!(last[0].starts_with("[2/2] INSERT OVERWRITE mart.revenue: done in 9.0 s"), "{last:?}");
        assert!(plain.lines(&run, 13_000).is_empty());
    }

    #[test]
    fn stages_are_mentioned_now_and_then() {
        let mut plain = Plain::default();
        let run = samples::running();
        plain.lines(&run, 4_000);
        assert!(plain.lines(&run, 13_999).is_empty());
        assert_eq!(
            plain.lines(&run, 14_000),
            ["[2/2] stage 2: 1/4 tasks, 250,000 rows, 8.00 MiB, about 21.0 s left", "[2/2] stage 3: 0/1 tasks, 0 rows",]
        );
        assert!(plain.lines(&run, 14_500).is_empty());
    }

    #[test]
    fn what_is_waited_for_is_said_once_each_time() {
        let mut plain = Plain::default();
        let mut run = samples::running();
        plain.lines(&run, 4_000);
        for _ in 0..2 {
            run.statements[1].waiting = "executors: none registered".into();
            let said = "[2/2] INSERT OVERWRITE mart.revenue: waiting for executors: none registered";
            assert_eq!(plain.lines(&run, 5_000), [said]);
            assert!(plain.lines(&run, 6_000).is_empty());
            run.statements[1].waiting.clear();
            assert!(plain.lines(&run, 7_000).is_empty());
        }
    }

    #[test]
    fn another_attempt_is_said() {
        let mut plain = Plain::default();
        let mut run = samples::running();
        assert_eq!(plain.lines(&run, 3_999).len(), 1, "a statement that has just begun is not worth a line");
        assert_eq!(plain.lines(&run, 4_000).len(), 1);
        run.statements[1].attempt = 2;
        assert_eq!(plain.lines(&run, 5_000), ["[2/2] INSERT OVERWRITE mart.revenue: started, attempt 2"]);
    }
}
