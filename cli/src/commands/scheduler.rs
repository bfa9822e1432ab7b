//! `selvedge scheduler`: is the scheduler until told to stop.

use std::io::Write as _;

use selvedge::model::HasFailure as _;
use selvedge_scheduler::{SchedulerOptions, fault};

use super::stdout;
use crate::args::ServiceFlags;
use crate::error::CliError;
use crate::terminal::Terminal;
use crate::{config, logging, shutdown};

/// Serves until a signal.
pub(super) async fn serve(flags: ServiceFlags, terminal: Terminal) -> Result<(), CliError> {
    let sources = config::sources(flags.config.as_deref(), flags.flags);
    let options = SchedulerOptions::load(sources).map_err(config::refused)?;
    if flags.print_config {
        write!(stdout(), "{}", options.render())?;
        return Ok(());
    }
    logging::service(options.log_format, terminal)?;
    fault::arm_from_environment().map_err(|failure| CliError::Usage(Box::new(failure)))?;
    let stop = shutdown::on_signal()?;
    let failed = |e: selvedge_scheduler::SchedulerError| CliError::Failed(Box::new(e.failure()));
    let running = selvedge_scheduler::start(options, stop).await.map_err(failed)?;
    // Scripts wait for this line: its shape is a promise.
    let mut out = stdout();
    writeln!(out, "listening grpc={} http={}", running.grpc, running.http)?;
    out.flush()?;
    running.stopped().await.map_err(failed)
}

/// Prints the steps that a test may name and what passes them, one a line.
pub(super) fn list_faults() -> Result<(), CliError> {
    let mut out = stdout();
    for step in fault::Step::ALL {
        writeln!(out, "{step}\t{}", step.passed_by())?;
    }
    Ok(())
}
