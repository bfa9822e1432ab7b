//! `selvedge submit`: hands a script to the scheduler; with --wait follows the run to its end.

use std::io::Write as _;

use selvedge::{RunHandle, Selvedge, Submission};
use serde_json::json;

use super::run::conclude;
use super::{script, stdout};
use crate::args::ScriptSource;
use crate::error::CliError;
use crate::follow::{CtrlC, follow};
use crate::output::{Format, print_json};
use crate::terminal::Terminal;

/// Submits a script.
pub(super) async fn submit(
    scheduler: &str,
    source: ScriptSource,
    submission: Submission,
    wait: bool,
    terminal: Terminal,
    format: Format,
) -> Result<(), CliError> {
    let script = script::read(source)?;
    let client = Selvedge::connect(scheduler).await?;
    let ctrl_c = wait.then(CtrlC::listen).transpose()?;
    let submitted = client.submit_script(&script.text, &script.name, submission).await;
    let run = submitted.map_err(|source| CliError::Script { source, file: script.name.clone() })?;
    submitted_run(&run, Some(script.name), ctrl_c, terminal, format).await
}

/// Says that a run was submitted, or follows it when Ctrl-C is listened to.
pub(super) async fn submitted_run(
    run: &RunHandle,
    file: Option<String>,
    ctrl_c: Option<CtrlC>,
    terminal: Terminal,
    format: Format,
) -> Result<(), CliError> {
    if let Some(ctrl_c) = ctrl_c {
        anstream::eprintln!("submitted run {}", run.id());
        let record = follow(run, terminal, false, ctrl_c).await?;
        return conclude(record, file, format);
    }
    let mut out = stdout();
    match format {
        Format::Json => print_json(&mut out, &json!({"run": run.id()}))?,
        Format::Table | Format::Csv => {
            // The id alone goes to stdout, so that scripts can catch it.
            writeln!(out, "{}", run.id())?;
            anstream::eprintln!("submitted; `selvedge runs watch {}` follows it", run.id());
        }
    }
    Ok(())
}
