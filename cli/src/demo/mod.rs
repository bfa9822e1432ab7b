//! `selvedge demo`: sample data, a real ETL job on it, and its result, told in plain words with the time each part took.

mod data;
mod events;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use selvedge::Submission;
use selvedge::model::{RunRecord, RunState};
use selvedge_model::words::counted;

use crate::args::Target;
use crate::commands::{Engine, stdout};
use crate::error::CliError;
use crate::follow::{CtrlC, follow};
use crate::output::{Format, Grid, print_result_rows, print_run_json, units};
use crate::terminal::Terminal;

const JOB: &str = include_str!("../../../jobs/tpch_revenue_mart.sql");
const JOB_NAME: &str = "tpch_revenue_mart.sql";

/// What took how long.
#[derive(Default)]
struct Parts(Vec<(String, u64)>);

impl Parts {
    fn add(&mut self, what: impl Into<String>, since: Instant) {
        self.0.push((what.into(), u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)));
    }
}

/// Shows what it can do.
///
/// # Errors
/// When data cannot be written, the engine does not start, or the job fails.
pub async fn demo(scale: f64, target: &Target, terminal: Terminal, format: Format) -> Result<(), CliError> {
    let mut parts = Parts::default();
    let started = Instant::now();
    let engine = Engine::open(target, terminal).await?;
    let (what, since) = match target {
        Target::Embedded(o) => {
            (format!("starting a scheduler and {} in this process", counted(o.executors, "executor")), started)
        }
        Target::Cluster(address) => (format!("connecting to {address}"), started),
    };
    parts.add(what, since);
    let result = story(&engine, scale, terminal, format, &mut parts).await;
    let since = Instant::now();
    engine.close().await;
    result?;
    parts.add("stopping", since);
    if format == Format::Table {
        summary(&parts);
    }
    Ok(())
}

async fn story(
    engine: &Engine,
    scale: f64,
    terminal: Terminal,
    format: Format,
    parts: &mut Parts,
) -> Result<(), CliError> {
    let dir = directory(engine)?;
    let sample = dir.join("sample");
    anstream::eprintln!("1. Generating sample data (TPC-H at scale {scale}, and click events) in {}", sample.display());
    let since = Instant::now();
    let generated = data::generate(&sample.join("tpch"), scale).await?;
    let events = events::generate(&sample.join("events"), scale).await?;
    let rows: u64 = generated.iter().map(|t| t.rows).sum::<u64>() + events.rows;
    let bytes: u64 = generated.iter().map(|t| t.bytes).sum::<u64>() + events.bytes;
    parts.add(format!("generating {} ({})", counted(rows, "row"), units::bytes(bytes)), since);

    anstream::eprintln!("2. Running jobs/{JOB_NAME}: joins four tables, writes a Parquet mart partitioned by month");
    let since = Instant::now();
    let run = job(engine, &dir, terminal).await?;
    parts.add(format!("running the job{}", written(&run)), since);
    for statement in &run.statements {
        if let Some(time) = units::elapsed(statement.started_ms, statement.ended_ms) {
            parts.0.push((format!("   {} {}", statement.kind, statement.target), time));
        }
    }

    let mut out = stdout();
    if format == Format::Json {
        return print_run_json(&mut out, &run);
    }
    anstream::eprintln!("3. The result: the ten best months");
    print_result_rows(&mut out, format, &run)?;
    if engine.embedded().is_some_and(|e| e.is_temporary()) {
        anstream::eprintln!("\nThe data was in a temporary directory and is removed now; --data-dir DIR keeps it.");
    } else {
        anstream::eprintln!("\nThe mart is in {}; more to try:", mart(&dir).join("revenue_mart").display());
        anstream::eprintln!(
            "  selvedge run jobs/events_sessionisation.sql -p events={}/ -p sessions={}/",
            sample.join("events").display(),
            dir.join("sessions").display()
        );
    }
    Ok(())
}

/// Beside the engine's own data, or in a temporary directory when the engine is a cluster.
fn directory(engine: &Engine) -> Result<PathBuf, CliError> {
    if let Some(embedded) = engine.embedded() {
        return Ok(embedded.data_dir().to_owned());
    }
    let dir = tempfile::Builder::new().prefix("selvedge-demo-").tempdir();
    let dir = dir.map_err(|e| CliError::local("cannot make a temporary directory", &e))?;
    anstream::eprintln!("The sample data is on this machine, so every executor must be too.");
    // Kept: the cluster's catalog will name it.
    Ok(dir.keep())
}

fn mart(dir: &Path) -> PathBuf {
    dir.join("mart")
}

async fn job(engine: &Engine, dir: &Path, terminal: Terminal) -> Result<RunRecord, CliError> {
    let params = BTreeMap::from([
        ("data".to_owned(), dir.join("sample").join("tpch").to_string_lossy().into_owned()),
        ("mart".to_owned(), mart(dir).to_string_lossy().into_owned()),
    ]);
    let submission = Submission { params, ..Submission::default() };
    let file = || JOB_NAME.to_owned();
    let ctrl_c = CtrlC::listen()?;
    let submitted = engine.client().submit_script(JOB, JOB_NAME, submission).await;
    let run = submitted.map_err(|source| CliError::Script { source, file: file() })?;
    let record = follow(&run, terminal, engine.embedded().is_some(), ctrl_c).await?;
    if record.state == RunState::Succeeded {
        Ok(record)
    } else {
        Err(CliError::Run { run: Box::new(record), file: Some(file()) })
    }
}

fn written(run: &RunRecord) -> String {
    let rows: u64 = run.statements.iter().map(|s| s.counters.rows_written).sum();
    let files: u64 = run.statements.iter().map(|s| s.counters.files_written).sum();
    format!(" ({} in {} written)", counted(rows, "row"), counted(files, "file"))
}

fn summary(parts: &Parts) {
    let mut grid = Grid::new(["part", ">time"]);
    for (what, ms) in &parts.0 {
        grid.row([what.as_str(), &units::duration(*ms)]);
    }
    anstream::eprintln!("\nHow long each part took:\n{}", grid.render().trim_end());
}
