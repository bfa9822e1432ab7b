//! `selvedge runs ...`: list, show, watch, cancel, retry, logs.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use futures::StreamExt as _;
use selvedge::model::{Failure, RunId, RunRecord, RunState};
use selvedge::{ListOptions, LogLine, Selvedge, Submission};

use super::run::conclude;
use super::stdout;
use super::submit::submitted_run;
use crate::error::CliError;
use crate::follow::{CtrlC, follow};
use crate::output::{Format, print_run, print_run_json, print_runs, units};
use crate::terminal::Terminal;

pub(super) async fn list(scheduler: &str, limit: usize, states: Vec<RunState>, format: Format) -> Result<(), CliError> {
    let client = Selvedge::connect(scheduler).await?;
    let runs = client.list_runs(&ListOptions { limit, states }).await?;
    print_runs(&mut stdout(), format, &runs)
}

pub(super) async fn show(scheduler: &str, id: &RunId, format: Format) -> Result<(), CliError> {
    let client = Selvedge::connect(scheduler).await?;
    let run = client.run(id).await?;
    let mut out = stdout();
    match format {
        Format::Json => print_run_json(&mut out, &run),
        Format::Csv => print_runs(&mut out, format, std::slice::from_ref(&run)),
        Format::Table => {
            print_run(&mut out, &run, units::now_ms())?;
            if let Some(failure) = &run.failure {
                writeln!(out)?;
                write!(out, "{}", crate::report::render(failure, file_name(&run)))?;
            }
            Ok(())
        }
    }
}

pub(super) async fn watch(scheduler: &str, id: RunId, terminal: Terminal, format: Format) -> Result<(), CliError> {
    let client = Selvedge::connect(scheduler).await?;
    // Looking at a run must not be a way to end it: Ctrl-C only stops looking.
    let looking = Terminal { stdin_tty: false, ..terminal };
    let record = follow(&client.handle(id), looking, false, CtrlC::listen()?).await?;
    conclude(record, None, format)
}

pub(super) async fn cancel(scheduler: &str, id: &RunId) -> Result<(), CliError> {
    let client = Selvedge::connect(scheduler).await?;
    let state = client.cancel(id).await?;
    match state {
        RunState::Succeeded | RunState::Failed => {
            let how = if state == RunState::Succeeded { "succeeded" } else { "failed" };
            anstream::eprintln!("run {id} had already {how}; nothing was cancelled");
        }
        RunState::Queued | RunState::Running | RunState::Cancelled => anstream::eprintln!("cancelling run {id}"),
    }
    Ok(())
}

pub(super) async fn retry(
    scheduler: &str,
    id: &RunId,
    wait: bool,
    terminal: Terminal,
    format: Format,
) -> Result<(), CliError> {
    let client = Selvedge::connect(scheduler).await?;
    let run = client.run(id).await?;
    if run.submission.script.is_empty() {
        let failure =
            Failure::user("NO_SCRIPT", format!("run {id} is not of a script, so it cannot be started from here"));
        return Err(CliError::Failed(Box::new(failure.with_hint("start a DataFrame job by running its program"))));
    }
    if !run.state.is_final() {
        let cause = format!("run {id} has not ended yet");
        return Err(CliError::user("RUN_NOT_ENDED", cause, format!("cancel it first: selvedge runs cancel {id}")));
    }
    let file = file_name(&run).map(str::to_owned);
    let named = |text: String| (!text.is_empty()).then_some(text);
    let submission = Submission {
        name: named(run.name),
        params: run.params,
        settings: run.submission.settings,
        user: None,
        queue: named(run.queue),
    };
    let ctrl_c = wait.then(CtrlC::listen).transpose()?;
    let again = client.submit_script(&run.submission.script, &run.submission.file_name, submission).await;
    let again = again.map_err(|source| match file.clone() {
        Some(file) => CliError::Script { source, file },
        None => CliError::Client(source),
    })?;
    submitted_run(&again, file, ctrl_c, terminal, format).await
}

/// The script that the places in a run's failure refer to.
fn file_name(run: &RunRecord) -> Option<&str> {
    Some(run.submission.file_name.as_str()).filter(|name| !name.is_empty())
}

pub(super) async fn logs(scheduler: &str, id: &RunId, follow: bool, format: Format) -> Result<(), CliError> {
    let client = Selvedge::connect(scheduler).await?;
    let mut lines = client.logs(id, follow).await?;
    let mut out = stdout();
    while let Some(line) = lines.next().await {
        let line = line?;
        match format {
            Format::Json => {
                let text = serde_json::to_string(&line).map_err(|e| CliError::local("cannot print JSON", &e))?;
                writeln!(out, "{text}")?;
            }
            Format::Table | Format::Csv => writeln!(out, "{}", log_line(&line))?,
        }
    }
    out.flush()?;
    Ok(())
}

fn log_line(line: &LogLine) -> String {
    let style = match line.level.as_str() {
        "ERROR" => AnsiColor::Red.on_default(),
        "WARN" => AnsiColor::Yellow.on_default(),
        _ => Style::new(),
    };
    let mut place = String::new();
    if line.statement > 0 {
        place = format!(" statement {}", line.statement);
    }
    if !line.executor_id.is_empty() {
        place += &format!(" stage {} task {} on {}", line.stage_id, line.task_id, line.executor_id);
    }
    let place = if place.is_empty() { String::new() } else { format!("{place}:") };
    let at = units::moment(line.time_ms);
    format!("{at} {style}{:5}{style:#}{place} {}", line.level, line.message.trim_end())
}
