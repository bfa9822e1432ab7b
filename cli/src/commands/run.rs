//! `selvedge run`: a script from submission to end, on the engine inside this command or on a cluster.

use selvedge::Submission;
use selvedge::model::{RunRecord, RunState};

use super::{Engine, script, stdout};
use crate::args::{ScriptSource, Target};
use crate::error::CliError;
use crate::follow::{CtrlC, follow};
use crate::output::{Format, print_result_rows, print_run_json, units};
use crate::terminal::Terminal;

/// Runs a script to its end.
pub(super) async fn run(
    source: ScriptSource,
    submission: Submission,
    target: &Target,
    terminal: Terminal,
    format: Format,
) -> Result<(), CliError> {
    let script = script::read(source)?;
    let engine = Engine::open(target, terminal).await?;
    let result = async {
        let ctrl_c = CtrlC::listen()?;
        let submitted = engine.client().submit_script(&script.text, &script.name, submission).await;
        let run = submitted.map_err(|source| CliError::Script { source, file: script.name.clone() })?;
        let record = follow(&run, terminal, engine.embedded().is_some(), ctrl_c).await?;
        conclude(record, Some(script.name.clone()), format)
    }
    .await;
    engine.close().await;
    result
}

/// Prints what an ended run gave, and turns a run that did not succeed into an error.
pub(super) fn conclude(record: RunRecord, file: Option<String>, format: Format) -> Result<(), CliError> {
    let mut out = stdout();
    match format {
        Format::Json => print_run_json(&mut out, &record)?,
        Format::Table | Format::Csv => print_result_rows(&mut out, format, &record)?,
    }
    if record.state != RunState::Succeeded {
        return Err(CliError::Run { run: Box::new(record), file });
    }
    let time = units::elapsed(record.started_ms, record.ended_ms).map(units::duration);
    let time = time.map(|t| format!(" in {t}")).unwrap_or_default();
    anstream::eprintln!("run {} succeeded{time}", record.id);
    Ok(())
}
