//! `selvedge completions SHELL`.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::stdout;
use crate::args::Cli;
use crate::error::CliError;

/// Prints the completions of a shell.
pub(super) fn print(shell: Shell) -> Result<(), CliError> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "selvedge", &mut text);
    stdout().write_all(&text)?;
    Ok(())
}
