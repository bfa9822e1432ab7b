//! The command line as typed. [`resolve()`] checks it and turns it into an [`Invocation`] that leaves nothing open; the
//! commands see only that.

mod resolve;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub use self::resolve::{Command, EmbeddedOptions, Invocation, ScriptSource, ServiceFlags, Target, resolve};
use crate::output::Format;
use crate::terminal::ColorChoice;

/// Selvedge: a distributed ETL engine for Parquet warehouses on object storage.
#[derive(Debug, Parser)]
#[command(name = "selvedge", version, arg_required_else_help = true, max_term_width = 110)]
pub struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: RawCommand,
}

/// Flags of every command.
#[derive(Debug, Default, Args)]
pub struct Global {
    /// The scheduler, as http://HOST:PORT. Without it `run`, `sql` and `demo` start the engine inside this command
    #[arg(long, global = true, env = selvedge::SCHEDULER_VARIABLE, value_name = "URL", help_heading = "Global options")]
    pub scheduler: Option<String>,
    /// How results are printed to stdout [default: table]
    #[arg(long, global = true, value_enum, value_name = "FORMAT", help_heading = "Global options")]
    pub format: Option<Format>,
    /// When to use colours; `auto` also heeds NO_COLOR [default: auto]
    #[arg(long, global = true, value_enum, value_name = "WHEN", help_heading = "Global options")]
    pub color: Option<ColorChoice>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum RawCommand {
    /// Run a SQL script to its end and show how it went
    #[command(
        after_help = "Examples:\n  selvedge run orders.sql -p day=2026-01-31\n  selvedge run orders.sql --executors 2 --executor-memory 4GiB --data-dir state/"
    )]
    Run(RunArgs),
    /// Submit a SQL script to a scheduler
    #[command(
        after_help = "Examples:\n  selvedge submit orders.sql -p day=2026-01-31 --wait\n  RUN=$(selvedge --scheduler http://scheduler:50050 submit orders.sql -p day=2026-01-31)"
    )]
    Submit(SubmitArgs),
    /// Look at runs, follow them, cancel them, start them again
    #[command(
        subcommand,
        after_help = "Examples:\n  selvedge runs list --state failed\n  selvedge runs show RUN\n  selvedge runs logs -f RUN"
    )]
    Runs(RunsCommand),
    /// Run SQL and print the rows
    #[command(
        after_help = "Examples:\n  selvedge sql -c 'SELECT count(*) FROM orders'\n  selvedge --format csv sql report.sql > report.csv"
    )]
    Sql(SqlArgs),
    /// Be the scheduler
    #[command(
        after_help = "Examples:\n  selvedge scheduler --warehouse s3://lake/warehouse/ --shuffle s3://scratch/shuffle/\n  selvedge scheduler --config scheduler.toml --print-config"
    )]
    Scheduler(SchedulerArgs),
    /// Be an executor
    #[command(
        after_help = "Examples:\n  selvedge executor --scheduler http://scheduler:50050 --memory 12GiB --vcores 4"
    )]
    Executor(ExecutorArgs),
    /// Look at the fleet
    #[command(subcommand)]
    Executors(ExecutorsCommand),
    /// Generate sample data, run a real ETL job on it, and show the result
    Demo(DemoArgs),
    /// Print shell completions
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// What a script is run with: parameters, and how long it may take.
#[derive(Debug, Default, Args)]
pub struct ParamArgs {
    /// A parameter of the script; may be repeated
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", value_parser = values::name_value)]
    pub params: Vec<(String, String)>,
    /// End the run when it takes longer, 90m or 2h for example [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub timeout: Option<String>,
}

/// The engine inside this command.
#[derive(Debug, Default, Args)]
pub struct EngineArgs {
    /// Where tables, catalog and shuffle live [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR", help_heading = "Engine inside this command")]
    pub data_dir: Option<PathBuf>,
    /// How many executors [default: 1]
    #[arg(long, value_name = "N", value_parser = values::executors, help_heading = "Engine inside this command")]
    pub executors: Option<usize>,
    /// Memory of each executor [default: an equal share of 70 % of this machine's or container's]
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "Engine inside this command")]
    pub executor_memory: Option<u64>,
    /// Tasks that each executor runs at once [default: an equal share of the cores]
    #[arg(long, value_name = "N", value_parser = values::vcores, help_heading = "Engine inside this command")]
    pub vcores: Option<usize>,
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The script; `-` reads stdin
    pub file: PathBuf,
    /// Parameters.
    #[command(flatten)]
    pub params: ParamArgs,
    /// The engine.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// `submit`.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The script; `-` reads stdin
    pub file: PathBuf,
    /// Parameters.
    #[command(flatten)]
    pub params: ParamArgs,
    /// The queue, instead of the one in the script's header
    #[arg(long, value_name = "QUEUE")]
    pub queue: Option<String>,
    /// A name for the run, instead of the one in the script's header
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Wait for the run's end; the exit code then tells how it went
    #[arg(long)]
    pub wait: bool,
}

/// `runs`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List runs, newest first
    List {
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// Only runs in this state; may be repeated
        #[arg(long, value_name = "STATE", value_parser = values::run_state)]
        state: Vec<selvedge::model::RunState>,
    },
    /// Show a run: statements, stages, rows, bytes, time
    Show {
        /// Its id, as `runs list` prints it
        run: String,
    },
    /// Follow a run to its end
    Watch {
        /// Its id, as `runs list` prints it
        run: String,
    },
    /// Cancel a run
    Cancel {
        /// Its id, as `runs list` prints it
        run: String,
    },
    /// Submit a run's script again, with the same parameters
    Retry {
        /// Its id, as `runs list` prints it
        run: String,
        /// Wait for the new run's end
        #[arg(long)]
        wait: bool,
    },
    /// Print a run's log
    Logs {
        /// Its id, as `runs list` prints it
        run: String,
        /// Go on until the run ends
        #[arg(long, short = 'f')]
        follow: bool,
    },
}

/// `sql`.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// The statements
    #[arg(short = 'c', long = "command", value_name = "SQL", conflicts_with = "file", allow_hyphen_values = true)]
    pub command: Option<String>,
    /// A file of statements; `-` reads stdin
    pub file: Option<PathBuf>,
    /// Parameters.
    #[command(flatten)]
    pub params: ParamArgs,
    /// The engine.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// `scheduler`.
#[derive(Debug, Args)]
pub struct SchedulerArgs {
    /// Configuration file (TOML); environment and flags win over it
    #[arg(long, value_name = "FILE", env = "SELVEDGE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address of the gRPC services [default: 127.0.0.1:50050]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Address of metrics and health [default: 127.0.0.1:50080]
    #[arg(long, value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// Where the catalog and the journal of publishes are kept, sqlite:PATH [default: a file in the user's data directory]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Where tables without a location of their own live
    #[arg(long, value_name = "URL")]
    pub warehouse: Option<String>,
    /// Where executors also keep shuffle files, so that they survive them
    #[arg(long, value_name = "URL")]
    pub shuffle: Option<String>,
    /// Print the resolved configuration and exit
    #[arg(long)]
    pub print_config: bool,
    /// How log lines look [default: text]
    #[arg(long, value_parser = ["text", "json"], value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// For tests: print the steps that SELVEDGE_FAULT may name and exit
    #[arg(long, hide = true)]
    pub list_faults: bool,
}

/// `executor`.
#[derive(Debug, Args)]
pub struct ExecutorArgs {
    /// Configuration file (TOML); environment and flags win over it
    #[arg(long, value_name = "FILE", env = "SELVEDGE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Tasks that run at once [default: the cores this process may use]
    #[arg(long, value_name = "N", value_parser = values::vcores)]
    pub vcores: Option<usize>,
    /// Memory this process may use [default: the limit of its container, or the machine's]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Local directory for shuffle and spill files
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<String>,
    /// The pool this executor belongs to [default: default]
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    /// Where to keep shuffle files as well, so that they survive this executor
    #[arg(long, value_name = "URL")]
    pub shuffle: Option<String>,
    /// Name or address under which other executors reach this one
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Port for other executors [default: a free one]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Address of metrics and health [default: 127.0.0.1 and a free port]
    #[arg(long, value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// Print the resolved configuration and exit
    #[arg(long)]
    pub print_config: bool,
    /// How log lines look [default: text]
    #[arg(long, value_parser = ["text", "json"], value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// `executors`.
#[derive(Debug, Subcommand)]
pub enum ExecutorsCommand {
    /// List executors
    List,
    /// Let an executor end what it runs, take nothing new, and leave
    Drain {
        /// The executor
        id: String,
    },
}

/// `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How much data: TPC-H scale factor, 1 is about 1 GB
    #[arg(long, value_name = "SF", default_value_t = 0.1)]
    pub scale: f64,
    /// The engine.
    #[command(flatten)]
    pub engine: EngineArgs,
}
