//! The one binary, `selvedge`: submits and follows runs, queries, and is the scheduler and the executor.
//!
//! The way of a call: `args` (as typed, then resolved) -> `commands` (one file each) -> `output` to stdout, `progress` and
//! `report` to stderr -> exit code: 0 succeeded, 1 the run failed, 2 usage, 3 no scheduler.

mod args;
mod commands;
mod config;
mod demo;
mod embedded;
mod error;
mod follow;
mod interrupt;
mod logging;
mod output;
mod progress;
mod report;
mod shutdown;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;
use crate::error::CliError;
use crate::terminal::Terminal;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Deep plans recurse deeply, above all in unoptimised builds.
const THREAD_STACK_BYTES: usize = 16 * 1024 * 1024;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::look(cli.global.color.unwrap_or_default());
    let format = cli.global.format.unwrap_or_default();
    let result = start(cli, terminal);
    if let Err(error) = &result {
        report::print(error, format);
    }
    ExitCode::from(result.err().map_or(0, |error| error.exit_code()))
}

fn start(cli: Cli, terminal: Terminal) -> Result<(), CliError> {
    let invocation = args::resolve(cli, terminal).map_err(CliError::Usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("selvedge")
        .thread_stack_size(THREAD_STACK_BYTES)
        .build()
        .map_err(|e| CliError::local("cannot start threads", &e))?;
    let result = runtime.block_on(async { tokio::spawn(commands::dispatch(invocation)).await });
    // A thread may still wait for an answer on the terminal; nobody waits for it.
    runtime.shutdown_background();
    result.unwrap_or_else(|e| Err(CliError::local("a command ended abruptly", &e)))
}
