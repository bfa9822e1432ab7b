//! `selvedge executor`: is an executor until told to stop, by a signal or by the scheduler. It drains first.

use std::io::Write as _;

use selvedge::model::HasFailure as _;
use selvedge_executor::{ExecutorOptions, fault};

use super::stdout;
use crate::args::ServiceFlags;
use crate::error::CliError;
use crate::terminal::Terminal;
use crate::{config, logging, shutdown};

/// Serves until a signal.
pub(super) async fn serve(flags: ServiceFlags, terminal: Terminal) -> Result<(), CliError> {
    let sources = config::sources(flags.config.as_deref(), flags.flags);
    let options = ExecutorOptions::load(sources).map_err(config::refused)?;
    if flags.print_config {
        write!(stdout(), "{}", options.render())?;
        return Ok(());
    }
    logging::service(options.log_format, terminal)?;
    fault::arm_from_environment().map_err(|failure| CliError::Usage(Box::new(failure)))?;
    let stop = shutdown::on_signal()?;
    let started = selvedge_executor::start(options, stop).await;
    let running = started.map_err(|e| CliError::Failed(Box::new(e.failure())))?;
    // Scripts wait for this line: its shape is a promise.
    let mut out = stdout();
    writeln!(out, "listening executor={} shuffle={} http={}", running.id, running.shuffle, running.http)?;
    out.flush()?;
    running.stopped().await;
    Ok(())
}
