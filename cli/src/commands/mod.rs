//! One file a command. Each gets its resolved arguments, talks to the scheduler through the client library, and prints.

mod completions;
mod executor;
mod executors;
mod run;
mod runs;
mod scheduler;
mod script;
mod sql;
mod submit;

use std::io::Write;

use selvedge::Selvedge;

use crate::args::{Command, Invocation, Target};
use crate::demo;
use crate::embedded::Embedded;
use crate::error::CliError;
use crate::logging;
use crate::terminal::Terminal;

/// Carries a command out.
///
/// # Errors
/// Whatever the command says; `main` prints it and exits accordingly.
pub async fn dispatch(invocation: Invocation) -> Result<(), CliError> {
    let Invocation { terminal, format, command } = invocation;
    match command {
        Command::Run { script, given, target } => run::run(script, given, &target, terminal, format).await,
        Command::Submit { scheduler, script, given, wait } => {
            submit::submit(&scheduler, script, given, wait, terminal, format).await
        }
        Command::RunsList { scheduler, limit, states } => runs::list(&scheduler, limit, states, format).await,
        Command::RunsShow { scheduler, run } => runs::show(&scheduler, &run, format).await,
        Command::RunsWatch { scheduler, run } => runs::watch(&scheduler, run, terminal, format).await,
        Command::RunsCancel { scheduler, run } => runs::cancel(&scheduler, &run).await,
        Command::RunsRetry { scheduler, run, wait } => runs::retry(&scheduler, &run, wait, terminal, format).await,
        Command::RunsLogs { scheduler, run, follow } => runs::logs(&scheduler, &run, follow, format).await,
        Command::Sql { script, given, target } => sql::sql(script, given, &target, terminal, format).await,
        Command::Scheduler(flags) => scheduler::serve(flags, terminal).await,
        Command::ListFaults => scheduler::list_faults(),
        Command::Executor(flags) => executor::serve(flags, terminal).await,
        Command::ExecutorsList { scheduler } => executors::list(&scheduler, format).await,
        Command::ExecutorsDrain { scheduler, id } => executors::drain(&scheduler, &id, format).await,
        Command::Demo { scale, target } => demo::demo(scale, &target, terminal, format).await,
        Command::Completions(shell) => completions::print(shell),
    }
}

/// Stdout with colours where they belong.
pub fn stdout() -> impl Write {
    anstream::stdout()
}

/// The engine that a command runs on: a cluster's, or one in this process.
pub struct Engine {
    client: Selvedge,
    embedded: Option<Embedded>,
}

impl Engine {
    /// Connects, or starts what is to be connected to.
    ///
    /// # Errors
    /// When the scheduler does not answer, or the engine does not start.
    pub async fn open(target: &Target, terminal: Terminal) -> Result<Self, CliError> {
        match target {
            Target::Cluster(address) => Ok(Self { client: Selvedge::connect(address).await?, embedded: None }),
            Target::Embedded(options) => {
                logging::embedded(terminal)?;
                let embedded = Embedded::start(options).await?;
                Ok(Self { client: embedded.client().clone(), embedded: Some(embedded) })
            }
        }
    }

    /// The way to it.
    pub fn client(&self) -> &Selvedge {
        &self.client
    }

    /// The one in this process, if it is.
    pub fn embedded(&self) -> Option<&Embedded> {
        self.embedded.as_ref()
    }

    /// Stops what was started.
    pub async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}
