//! `selvedge sql`: runs statements and streams their rows to stdout. What statements without rows did goes to stderr.

use std::io::Write;

use futures::StreamExt as _;
use selvedge::{QueryEvent, QueryStream, Submission};

use super::{Engine, script};
use crate::args::{ScriptSource, Target};
use crate::error::CliError;
use crate::output::{Format, Rows};
use crate::progress::Progress;
use crate::terminal::Terminal;

/// Runs statements and prints their rows.
pub(super) async fn sql(
    source: ScriptSource,
    submission: Submission,
    target: &Target,
    terminal: Terminal,
    format: Format,
) -> Result<(), CliError> {
    let script = script::read(source)?;
    let engine = Engine::open(target, terminal).await?;
    let in_script = |source| CliError::Script { source, file: script.name.clone() };
    let result = async {
        let events = engine.client().query_with(&script.text, submission).await.map_err(in_script)?;
        let printing = print(&engine, events, terminal, format);
        tokio::select! {
            printed = printing => printed.map_err(|e| match e {
                CliError::Client(source) => in_script(source),
                other => other,
            }),
            // Dropping the stream cancels the query.
            _ = tokio::signal::ctrl_c() => Err(CliError::user("CANCELLED", "the query was cancelled", "")),
        }
    }
    .await;
    engine.close().await;
    result
}

async fn print(engine: &Engine, mut events: QueryStream, terminal: Terminal, format: Format) -> Result<(), CliError> {
    let mut shown = Shown { format, rows: None, results: 0, terminal };
    let mut progress = Waiting::default();
    loop {
        let event = tokio::select! {
            biased;
            event = events.next() => event,
            () = progress.tick() => continue,
        };
        let Some(event) = event else { break };
        match event {
            Ok(QueryEvent::Run(id)) if terminal.stderr_tty => progress.watch(engine, &id, terminal),
            Ok(QueryEvent::Schema(_)) => {
                progress.stop();
                shown.event(event?)?;
            }
            Ok(event) => shown.event(event)?,
            Err(error) => {
                progress.stop();
                return Err(error.into());
            }
        }
    }
    progress.stop();
    Ok(())
}

/// Prints events.
struct Shown {
    format: Format,
    rows: Option<Rows<Box<dyn Write + Send>>>,
    results: usize,
    terminal: Terminal,
}

impl Shown {
    fn event(&mut self, event: QueryEvent) -> Result<(), CliError> {
        match event {
            QueryEvent::Run(_) | QueryEvent::Start { .. } => {}
            QueryEvent::Schema(schema) => {
                let mut out: Box<dyn Write + Send> = Box::new(std::io::BufWriter::new(std::io::stdout()));
                if self.results > 0 && self.format != Format::Json {
                    writeln!(out)?;
                }
                self.results += 1;
                self.rows = Some(Rows::new(out, self.format, schema));
            }
            QueryEvent::Batch(batch) => {
                if let Some(rows) = &mut self.rows {
                    rows.push(&batch)?;
                }
            }
            QueryEvent::End { message, .. } => {
                if let Some(rows) = self.rows.take() {
                    rows.finish()?;
                } else if !message.is_empty() && self.terminal.stderr_tty {
                    anstream::eprintln!("{message}");
                }
            }
        }
        Ok(())
    }
}

/// Progress until the first row, on a terminal.
#[derive(Default)]
struct Waiting {
    progress: Option<Progress>,
    updates: Option<selvedge::RunStream>,
}

impl Waiting {
    fn watch(&mut self, engine: &Engine, id: &selvedge::model::RunId, terminal: Terminal) {
        self.progress = Some(Progress::new(terminal));
        self.updates = Some(engine.client().watch(id));
    }

    /// Shows the next change. Never ends when there is nothing to show.
    async fn tick(&mut self) {
        let (Some(progress), Some(updates)) = (&mut self.progress, &mut self.updates) else {
            return std::future::pending().await;
        };
        match updates.next().await {
            Some(Ok(run)) => progress.update(&run),
            // The rows are what counts; that they cannot be followed is no reason to fail.
            Some(Err(_)) | None => self.updates = None,
        }
    }

    fn stop(&mut self) {
        self.updates = None;
        if let Some(mut progress) = self.progress.take() {
            progress.finish();
        }
    }
}
