//! Follows a run to its end with progress on stderr, and heeds Ctrl-C. What Ctrl-C means is decided in `interrupt.rs`.

use futures::StreamExt as _;
use selvedge::RunHandle;
use selvedge::model::RunRecord;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::CliError;
use crate::interrupt::{Action, Interrupts};
use crate::progress::Progress;
use crate::terminal::Terminal;

/// Hears Ctrl-C from the moment it is made, which is before the run is submitted: a press in between counts too.
#[derive(Debug)]
pub struct CtrlC(Signal);

impl CtrlC {
    /// Begins to listen; from now on Ctrl-C does not end the process by itself.
    ///
    /// # Errors
    /// When the system offers no signals.
    pub fn listen() -> Result<Self, CliError> {
        signal(SignalKind::interrupt()).map(Self).map_err(|e| CliError::local("cannot wait for Ctrl-C", &e))
    }
}

/// Follows a run to its end, however it ends.
///
/// # Errors
/// When it cannot be followed, or is left going.
pub async fn follow(
    run: &RunHandle,
    terminal: Terminal,
    embedded: bool,
    mut ctrl_c: CtrlC,
) -> Result<RunRecord, CliError> {
    let mut progress = Progress::new(terminal);
    let interrupts = Interrupts::new(terminal.can_ask(), embedded);
    let result = follow_with(run, &mut progress, interrupts, &mut ctrl_c.0).await;
    progress.finish();
    result
}

async fn follow_with(
    run: &RunHandle,
    progress: &mut Progress,
    mut interrupts: Interrupts,
    ctrl_c: &mut Signal,
) -> Result<RunRecord, CliError> {
    let mut updates = run.watch();
    let mut last = None;
    let (answer, mut answers) = mpsc::channel(1);
    loop {
        let action = tokio::select! {
            update = updates.next() => match update {
                Some(record) => {
                    let record = record.map_err(|error| lost(run, error))?;
                    progress.update(&record);
                    last = Some(record);
                    Action::GoOn
                }
                None => break,
            },
            Some(()) = ctrl_c.recv() => interrupts.pressed(),
            Some(yes) = answers.recv() => interrupts.answered(yes),
        };
        match action {
            Action::GoOn => {}
            Action::Ask => {
                progress.say(&format!("Cancel run {}? [y/N] (Ctrl-C again: {})", run.id(), second(&interrupts)));
                ask(answer.clone());
            }
            Action::Cancel => {
                progress.say(&format!("cancelling run {}", run.id()));
                run.cancel().await?;
            }
            Action::Leave => return Err(CliError::LeftRunning(run.id().clone())),
        }
    }
    last.filter(|r| r.state.is_final()).ok_or_else(|| CliError::LeftRunning(run.id().clone()))
}

/// What was lost is the run's end, not only a connection: it is said which run.
fn lost(run: &RunHandle, error: selvedge::Error) -> CliError {
    if error.is_unreachable() { CliError::Lost { run: run.id().clone(), source: error } } else { error.into() }
}

fn second(interrupts: &Interrupts) -> &'static str {
    if interrupts.is_embedded() { "cancel it" } else { "leave it going" }
}

/// Reads a line in a thread of its own: nothing else can wait for a terminal without blocking.
fn ask(answer: mpsc::Sender<bool>) {
    std::thread::spawn(move || {
        let mut line = String::new();
        let yes = std::io::stdin().read_line(&mut line).is_ok() && line.trim().to_lowercase().starts_with('y');
        // Nobody waits for it once the run has ended.
        let _ = answer.blocking_send(yes);
    });
}
