//! From the command line as typed to an invocation with nothing left open. Pure: what it needs to know about the world
//! comes in with the terminal. Every contradiction is found here, before anything starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap_complete::Shell;
use selvedge::Submission;
use selvedge::model::{ExecutorId, Failure, RunId, RunState};

use super::{
    Cli, DemoArgs, EngineArgs, ExecutorArgs, ExecutorsCommand, Global, ParamArgs, RawCommand, RunArgs, RunsCommand,
    SchedulerArgs, SqlArgs, SubmitArgs,
};
use crate::output::Format;
use crate::terminal::Terminal;

/// The setting that `--timeout` stands for.
const RUN_TIMEOUT: &str = "selvedge.run.timeout";

/// A command and how to print.
#[derive(Debug)]
pub struct Invocation {
    /// Where results and progress go.
    pub terminal: Terminal,
    /// How results look.
    pub format: Format,
    /// What to do.
    pub command: Command,
}

/// What to do, with nothing left open.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Run a script to its end.
    Run { script: ScriptSource, given: Submission, target: Target },
    /// Submit a script.
    Submit { scheduler: String, script: ScriptSource, given: Submission, wait: bool },
    /// List runs.
    RunsList { scheduler: String, limit: usize, states: Vec<RunState> },
    /// Show a run.
    RunsShow { scheduler: String, run: RunId },
    /// Follow a run.
    RunsWatch { scheduler: String, run: RunId },
    /// Cancel a run.
    RunsCancel { scheduler: String, run: RunId },
    /// Submit a run's script again.
    RunsRetry { scheduler: String, run: RunId, wait: bool },
    /// Print a run's log.
    RunsLogs { scheduler: String, run: RunId, follow: bool },
    /// Query.
    Sql { script: ScriptSource, given: Submission, target: Target },
    /// Be the scheduler.
    Scheduler(ServiceFlags),
    /// Print the steps at which a test may end it.
    ListFaults,
    /// Be an executor.
    Executor(ServiceFlags),
    /// List executors.
    ExecutorsList { scheduler: String },
    /// Drain an executor.
    ExecutorsDrain { scheduler: String, id: ExecutorId },
    /// Show what it can do.
    Demo { scale: f64, target: Target },
    /// Print completions.
    Completions(Shell),
}

/// Where a script comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptSource {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// The command line.
    Text(String),
}

/// Where a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// On the cluster of this scheduler.
    Cluster(String),
    /// In this process.
    Embedded(EmbeddedOptions),
}

/// The engine inside this process. `None`: decided when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// Where tables and shuffle live; `None` is a temporary directory.
    pub data_dir: Option<PathBuf>,
    /// How many executors.
    pub executors: usize,
    /// Memory of each.
    pub memory_bytes: Option<u64>,
    /// Tasks each runs at once.
    pub vcores: Option<usize>,
}

/// A service's flags: keys of its configuration with the values given, above environment and file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceFlags {
    /// The file.
    pub config: Option<PathBuf>,
    /// Key and value.
    pub flags: Vec<(&'static str, String)>,
    /// Print the configuration and exit.
    pub print_config: bool,
}

impl ServiceFlags {
    fn new<const N: usize>(
        config: Option<PathBuf>,
        print_config: bool,
        given: [(&'static str, Option<String>); N],
    ) -> Self {
        let flags = given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        Self { config, flags, print_config }
    }
}

/// Checks the command line.
///
/// # Errors
/// What contradicts itself or is missing.
pub fn resolve(cli: Cli, terminal: Terminal) -> Result<Invocation, Box<Failure>> {
    let global = Given { scheduler: scheduler(&cli.global) };
    let format = cli.global.format.unwrap_or_default();
    let command = match cli.command {
        RawCommand::Run(args) => global.run(args)?,
        RawCommand::Submit(args) => global.submit(args)?,
        RawCommand::Runs(args) => global.runs(args)?,
        RawCommand::Sql(args) => global.sql(args, terminal.stdin_tty)?,
        RawCommand::Scheduler(args) if args.list_faults => Command::ListFaults,
        RawCommand::Scheduler(args) => Command::Scheduler(scheduler_flags(args)),
        RawCommand::Executor(args) => Command::Executor(global.executor_flags(args)),
        RawCommand::Executors(ExecutorsCommand::List) => Command::ExecutorsList { scheduler: global.required()? },
        RawCommand::Executors(ExecutorsCommand::Drain { id }) => {
            Command::ExecutorsDrain { scheduler: global.required()?, id: id.parse().map_err(|e| usage(&e))? }
        }
        RawCommand::Demo(args) => global.demo(args)?,
        RawCommand::Completions { shell } => Command::Completions(shell),
    };
    Ok(Invocation { terminal, format, command })
}

fn usage(problem: &dyn std::fmt::Display) -> Box<Failure> {
    Box::new(Failure::user("USAGE", problem.to_string()))
}

/// An empty variable is as good as none.
fn scheduler(global: &Global) -> Option<String> {
    global.scheduler.as_deref().map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned)
}

/// The flags of every command.
struct Given {
    scheduler: Option<String>,
}

impl Given {
    /// Nobody named a scheduler: the exit code is that of an unreachable one.
    fn required(&self) -> Result<String, Box<Failure>> {
        self.scheduler.clone().ok_or_else(|| {
            let failure = Failure::user("NO_SCHEDULER", "this command needs a scheduler, and none is named");
            Box::new(failure.with_hint("give --scheduler http://HOST:PORT or set SELVEDGE_SCHEDULER"))
        })
    }

    fn target(&self, args: EngineArgs) -> Result<Target, Box<Failure>> {
        let Some(scheduler) = self.scheduler.clone() else {
            return Ok(Target::Embedded(EmbeddedOptions {
                data_dir: args.data_dir,
                executors: args.executors.unwrap_or(1),
                memory_bytes: args.executor_memory,
                vcores: args.vcores,
            }));
        };
        let given = [
            ("--data-dir", args.data_dir.is_some()),
            ("--executors", args.executors.is_some()),
            ("--executor-memory", args.executor_memory.is_some()),
            ("--vcores", args.vcores.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            None => Ok(Target::Cluster(scheduler)),
            Some((flag, _)) => {
                let cause = format!("{flag} is for the engine inside this command, but this runs on {scheduler}");
                let hint = "leave it out, or run without --scheduler (and with SELVEDGE_SCHEDULER unset)";
                Err(Box::new(Failure::user("USAGE", cause).with_hint(hint)))
            }
        }
    }

    fn run(&self, args: RunArgs) -> Result<Command, Box<Failure>> {
        let given = submission(args.params)?;
        Ok(Command::Run { script: source(&args.file), given, target: self.target(args.engine)? })
    }

    fn submit(&self, args: SubmitArgs) -> Result<Command, Box<Failure>> {
        Ok(Command::Submit {
            script: source(&args.file),
            given: Submission { queue: args.queue, name: args.name, ..submission(args.params)? },
            wait: args.wait,
            scheduler: self.required()?,
        })
    }

    fn runs(&self, args: RunsCommand) -> Result<Command, Box<Failure>> {
        let id = |text: String| text.parse::<RunId>().map_err(|e| usage(&e));
        let scheduler = self.required()?;
        Ok(match args {
            RunsCommand::List { limit, state } => Command::RunsList { scheduler, limit, states: state },
            RunsCommand::Show { run } => Command::RunsShow { scheduler, run: id(run)? },
            RunsCommand::Watch { run } => Command::RunsWatch { scheduler, run: id(run)? },
            RunsCommand::Cancel { run } => Command::RunsCancel { scheduler, run: id(run)? },
            RunsCommand::Retry { run, wait } => Command::RunsRetry { scheduler, run: id(run)?, wait },
            RunsCommand::Logs { run, follow } => Command::RunsLogs { scheduler, run: id(run)?, follow },
        })
    }

    fn sql(&self, args: SqlArgs, stdin_tty: bool) -> Result<Command, Box<Failure>> {
        let script = match (args.command, args.file) {
            (Some(text), _) => ScriptSource::Text(text),
            (None, Some(file)) => source(&file),
            (None, None) if !stdin_tty => ScriptSource::Stdin,
            (None, None) => {
                let failure = Failure::user("USAGE", "there is no SQL to run");
                return Err(Box::new(failure.with_hint("give it with -c 'SELECT ...', as a file, or through a pipe")));
            }
        };
        Ok(Command::Sql { script, given: submission(args.params)?, target: self.target(args.engine)? })
    }

    fn demo(&self, args: DemoArgs) -> Result<Command, Box<Failure>> {
        if !(0.001..=100.0).contains(&args.scale) {
            return Err(usage(&"--scale must be between 0.001 and 100"));
        }
        Ok(Command::Demo { scale: args.scale, target: self.target(args.engine)? })
    }

    fn executor_flags(&self, args: ExecutorArgs) -> ServiceFlags {
        let given = [
            ("scheduler", self.scheduler.clone()),
            ("vcores", args.vcores.map(|n| n.to_string())),
            ("memory", args.memory),
            ("work_dir", args.work_dir),
            ("pool", args.pool),
            ("shuffle", args.shuffle),
            ("host", args.host),
            ("port", args.port.map(|n| n.to_string())),
            ("http", args.http),
            ("log.format", args.log_format),
        ];
        ServiceFlags::new(args.config, args.print_config, given)
    }
}

fn scheduler_flags(args: SchedulerArgs) -> ServiceFlags {
    let given = [
        ("listen", args.listen),
        ("http", args.http),
        ("store", args.store),
        ("warehouse", args.warehouse),
        ("shuffle", args.shuffle),
        ("log.format", args.log_format),
    ];
    ServiceFlags::new(args.config, args.print_config, given)
}

fn source(file: &Path) -> ScriptSource {
    if file == Path::new("-") { ScriptSource::Stdin } else { ScriptSource::File(file.to_owned()) }
}

/// What a script is submitted with. A parameter given twice is more likely a slip than an override.
fn submission(args: ParamArgs) -> Result<Submission, Box<Failure>> {
    let mut params = BTreeMap::new();
    for (name, value) in args.params {
        if params.insert(name.clone(), value).is_some() {
            return Err(usage(&format!("parameter '{name}' is given twice")));
        }
    }
    let settings = args.timeout.map(|timeout| (RUN_TIMEOUT.to_owned(), timeout)).into_iter().collect();
    Ok(Submission { params, settings, ..Submission::default() })
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
