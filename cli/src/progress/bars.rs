//! Progress as bars on a terminal: one a stage of the statement that runs, below what is already done.

use std::collections::HashMap;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use selvedge::model::{RunRecord, RunState, StatementState};

use super::model::{StageProgress, doing, outcome, position, running_stages, title};

const DONE: Style = AnsiColor::Green.on_default().bold();
const FAILED: Style = AnsiColor::Red.on_default().bold();
const TICK: Duration = Duration::from_millis(120);
/// More stages than this at once would push the earlier lines off the screen.
const MAX_BARS: usize = 12;

/// The bars.
pub struct Bars {
    screen: MultiProgress,
    status: ProgressBar,
    stages: HashMap<(u32, u32, u32), ProgressBar>,
    ended: HashMap<u32, ()>,
}

impl Bars {
    pub(super) fn new() -> Self {
        let screen = MultiProgress::new();
        let status = screen.add(ProgressBar::new_spinner());
        status.set_style(style("{spinner} {msg}"));
        status.enable_steady_tick(TICK);
        Self { screen, status, stages: HashMap::new(), ended: HashMap::new() }
    }

    pub(super) fn update(&mut self, run: &RunRecord, now_ms: i64) {
        for statement in run.statements.iter().filter(|s| s.state.is_final() && s.started_ms > 0) {
            if self.ended.insert(statement.index, ()).is_none() {
                let (mark, color) =
                    if statement.state == StatementState::Succeeded { ("✓", DONE) } else { ("✗", FAILED) };
                let line = format!("[{}] {}: {}", position(run, statement), title(statement), outcome(statement));
                self.say(&format!("{color}{mark}{color:#} {line}"));
            }
        }
        let current = running_stages(run, now_ms);
        self.stages.retain(|key, bar| {
            let stays = current.iter().any(|s| key_of(s) == *key);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for stage in &current {
            self.stage(stage);
        }
        self.status.set_message(status(run));
    }

    fn stage(&mut self, stage: &StageProgress) {
        let key = key_of(stage);
        if stage.tasks_total == 0 || (self.stages.len() >= MAX_BARS && !self.stages.contains_key(&key)) {
            return;
        }
        let bar = self.stages.entry(key).or_insert_with(|| {
            let bar = self.screen.add(ProgressBar::new(0));
            bar.set_style(style("  {prefix:>9} {bar:24.cyan/dim} {pos:>4}/{len} tasks  {wide_msg}"));
            bar.set_prefix(format!("stage {}", stage.stage));
            bar
        });
        bar.set_length(u64::from(stage.tasks_total));
        bar.set_position(u64::from(stage.tasks_done));
        bar.set_message(stage.figures());
    }

    pub(super) fn say(&self, line: &str) {
        let colors = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        let line = if colors { line.to_owned() } else { anstream::adapter::strip_str(line).to_string() };
        // A terminal that cannot move its cursor has no bars, and nothing would be printed above them.
        if self.screen.is_hidden() || self.screen.println(&line).is_err() {
            anstream::eprintln!("{line}");
        }
    }

    pub(super) fn clear(&mut self) {
        for (_, bar) in self.stages.drain() {
            bar.finish_and_clear();
        }
        self.status.finish_and_clear();
        let _ = self.screen.clear();
    }
}

fn key_of(stage: &StageProgress) -> (u32, u32, u32) {
    (stage.statement, stage.attempt, stage.stage)
}

fn status(run: &RunRecord) -> String {
    let current = run.statements.iter().find(|s| !s.state.is_final());
    match (run.state, current) {
        (RunState::Queued, _) => format!("waits in queue '{}'", run.queue),
        (_, Some(s)) if run.cancel_requested => format!("[{}] {}: cancelling", position(run, s), title(s)),
        (_, Some(s)) => format!("[{}] {}: {}", position(run, s), title(s), doing(s)),
        (_, None) => String::new(),
    }
}

/// A template that does not parse is a slip of ours that costs the looks only.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::samples;

    #[test]
    fn the_line_below_the_bars_says_what_is_waited_for() {
        let mut run = samples::running();
        assert_eq!(status(&run), "[2/2] INSERT OVERWRITE mart.revenue: runs");
        run.statements[1].waiting = "executors: none registered".into();
        assert_eq!(status(&run), "[2/2] INSERT OVERWRITE mart.revenue: waiting for executors: none registered");
    }
}
