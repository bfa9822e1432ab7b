//! `runs show`: a run with its statements and stages, and which stage was slowest.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use selvedge::model::{RunRecord, StageRecord, StatementRecord, StatementState};

use super::expectations::print_expectations;
use super::runs::state;
use super::{Grid, units};
use crate::error::CliError;

const STRONG: Style = Style::new().bold();
const SLOW: Style = AnsiColor::Yellow.on_default().bold();

/// Prints a run for people.
///
/// # Errors
/// When stdout is closed.
pub fn print_run(out: &mut impl Write, run: &RunRecord, now_ms: i64) -> Result<(), CliError> {
    head(out, run, now_ms)?;
    writeln!(out, "\n{}", statements(run, now_ms).render().trim_end())?;
    for statement in &run.statements {
        print_expectations(out, statement)?;
    }
    let slowest = slowest_stage(run, now_ms);
    for statement in run.statements.iter().filter(|s| !s.stages.is_empty()) {
        let text = one_line(&statement.sql, 80);
        writeln!(out, "\n{STRONG}Statement {}{STRONG:#}  {text}", statement.index)?;
        let marked = slowest.filter(|(index, _)| *index == statement.index).map(|(_, stage)| stage);
        for line in stages(statement, marked, now_ms).render().lines() {
            match line.split_once(SLOWEST_MARK) {
                Some((line, _)) => writeln!(out, "{SLOW}{}  <- slowest{SLOW:#}", line.trim_end())?,
                None => writeln!(out, "{line}")?,
            }
        }
        if let Some(stage) = marked.and_then(|id| statement.stages.iter().find(|s| s.stage_id == id)) {
            slowest_task(out, stage)?;
        }
    }
    Ok(())
}

fn head(out: &mut impl Write, run: &RunRecord, now_ms: i64) -> Result<(), CliError> {
    writeln!(out, "{STRONG}{}{STRONG:#}  {}", run.id, state(run.state))?;
    if !run.name.is_empty() {
        writeln!(out, "job        {}", run.name)?;
    }
    writeln!(out, "queue      {}", run.queue)?;
    if !run.user.is_empty() {
        writeln!(out, "user       {}", run.user)?;
    }
    writeln!(out, "submitted  {} UTC", units::moment(run.submitted_ms))?;
    let end = if run.state.is_final() { run.ended_ms } else { now_ms };
    if let Some(time) = units::elapsed(run.started_ms, end) {
        let waited = units::elapsed(run.submitted_ms, run.started_ms).unwrap_or(0);
        writeln!(out, "time       {} (waited {})", units::duration(time), units::duration(waited))?;
    }
    if !run.params.is_empty() {
        let params: Vec<String> = run.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        writeln!(out, "params     {}", params.join(" "))?;
    }
    if !run.submission.settings.is_empty() {
        let settings = run.submission.settings.iter().map(|(name, value)| format!("{name}={value}"));
        writeln!(out, "settings   {}", settings.collect::<Vec<_>>().join(", "))?;
    }
    for statement in run.statements.iter().filter(|s| !s.waiting.is_empty()) {
        writeln!(out, "waiting    statement {} for {}", statement.index, statement.waiting)?;
    }
    if run.cancel_requested && !run.state.is_final() {
        writeln!(out, "cancel     requested")?;
    }
    Ok(())
}

fn statements(run: &RunRecord, now_ms: i64) -> Grid {
    let mut grid = Grid::new([
        ">#",
        "statement",
        "target",
        "state",
        ">try",
        ">time",
        ">rows read",
        ">read",
        ">rows written",
        ">written",
        ">files",
        ">shuffled",
        ">spilled",
    ]);
    for s in &run.statements {
        let c = &s.counters;
        grid.row([
            s.index.to_string(),
            s.kind.clone(),
            s.target.clone(),
            statement_state(s.state).to_owned(),
            number(u64::from(s.attempt)),
            statement_time(s, now_ms).map(units::duration).unwrap_or_default(),
            number(c.rows_read),
            size(c.bytes_read),
            number(c.rows_written),
            size(c.bytes_written),
            number(c.files_written),
            size(c.shuffle_bytes_written),
            size(c.spill_bytes),
        ]);
    }
    grid
}

const SLOWEST_MARK: char = '\u{1}';

fn stages(statement: &StatementRecord, slowest: Option<u32>, now_ms: i64) -> Grid {
    let mut grid = Grid::new([
        ">stage",
        ">tasks",
        ">failed",
        ">time",
        ">task time",
        ">rows out",
        ">read",
        ">shuffle in",
        ">shuffle out",
        ">spilled",
        "operators",
    ]);
    for stage in &statement.stages {
        let c = &stage.counters;
        let mark = if slowest == Some(stage.stage_id) { SLOWEST_MARK.to_string() } else { String::new() };
        grid.row([
            stage.stage_id.to_string(),
            format!("{}/{}", stage.tasks_done, stage.tasks_total),
            number(u64::from(stage.tasks_failed)),
            stage_time(stage, now_ms).map(units::duration).unwrap_or_default(),
            units::duration(stage.task_ms),
            number(c.rows_out),
            size(c.bytes_read),
            size(c.shuffle_bytes_read),
            size(c.shuffle_bytes_written),
            size(c.spill_bytes),
            one_line(&stage.description, 60) + &mark,
        ]);
    }
    grid
}

fn slowest_task(out: &mut impl Write, stage: &StageRecord) -> Result<(), CliError> {
    if stage.slowest_task_ms > 0 {
        let time = units::duration(stage.slowest_task_ms);
        let (task, executor) = (stage.slowest_task, &stage.slowest_task_executor);
        writeln!(out, "slowest task: {task} of stage {}, {time} on {executor}", stage.stage_id)?;
    }
    Ok(())
}

/// The statement and stage that took longest from its first task's start to its last one's end.
fn slowest_stage(run: &RunRecord, now_ms: i64) -> Option<(u32, u32)> {
    let all = run.statements.iter().flat_map(|s| s.stages.iter().map(move |stage| (s.index, stage)));
    all.filter_map(|(index, stage)| Some((stage_time(stage, now_ms)?, index, stage.stage_id)))
        .max_by_key(|(time, ..)| *time)
        .map(|(_, index, stage)| (index, stage))
}

fn stage_time(stage: &StageRecord, now_ms: i64) -> Option<u64> {
    units::elapsed(stage.started_ms, if stage.ended_ms > 0 { stage.ended_ms } else { now_ms })
}

fn statement_time(statement: &StatementRecord, now_ms: i64) -> Option<u64> {
    units::elapsed(statement.started_ms, if statement.ended_ms > 0 { statement.ended_ms } else { now_ms })
}

fn statement_state(state: StatementState) -> &'static str {
    match state {
        StatementState::Pending => "PENDING",
        StatementState::Running => "RUNNING",
        StatementState::Publishing => "PUBLISHING",
        StatementState::Succeeded => "SUCCEEDED",
        StatementState::Failed => "FAILED",
        StatementState::Cancelled => "CANCELLED",
    }
}

/// Zero is left empty, so that what happened stands out.
fn number(n: u64) -> String {
    if n == 0 { String::new() } else { units::count(n) }
}

fn size(n: u64) -> String {
    if n == 0 { String::new() } else { units::bytes(n) }
}

/// Text on one line, cut at `most` characters.
fn one_line(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most.saturating_sub(3)).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::samples;

    #[test]
    fn the_slowest_stage_is_marked_and_only_it() {
        let run = samples::succeeded();
        let mut out = Vec::new();
        print_run(&mut out, &run, 100_000).unwrap();
        let text = anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string();
        let marked: Vec<&str> = text.lines().filter(|l| l.ends_with("<- slowest")).collect();
        assert_eq!(marked.len(), 1, "{text}");
        assert!(marked[0].trim_start().starts_with('2') && marked[0].contains("WriteExec"), "{}", marked[0]);
        assert!(text.contains("slowest task: 3 of stage 2, 4.0 s on e2"), "{text}");
        assert!(text.contains("1,000,000") && text.contains("34.0 MiB"), "{text}");
        assert!(!text.contains(SLOWEST_MARK));
    }

    #[test]
    fn text_is_cut_by_characters() {
        assert_eq!(one_line("SELECT\n  é, b", 80), "SELECT é, b");
        assert_eq!(one_line("ééééé", 4), "é...");
    }
}
