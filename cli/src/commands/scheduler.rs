//! `selvedge scheduler`: is the scheduler until told to stop.

use std::io::Write as _;

use selvedge::model::HasFailure as _;
use selvedge_scheduler::SchedulerConfig;

use super::stdout;
use crate::args::{LogFormat, SchedulerFlags};
use crate::embedded::scheduler_problems;
use crate::error::CliError;
use crate::terminal::Terminal;
use crate::{logging, shutdown};

/// Serves until a signal.
pub(super) async fn serve(flags: SchedulerFlags, terminal: Terminal) -> Result<(), CliError> {
    let config = SchedulerConfig::load(flags.config.as_deref(), std::env::vars(), flags.flags);
    let options = config.and_then(SchedulerConfig::resolve).map_err(|problems| scheduler_problems(&problems))?;
    if flags.print_config {
        write!(stdout(), "{}", options.render())?;
        return Ok(());
    }
    let format = match options.log_format {
        selvedge_scheduler::config::LogFormat::Text => LogFormat::Text,
        selvedge_scheduler::config::LogFormat::Json => LogFormat::Json,
    };
    logging::service(format, terminal)?;
    let stop = shutdown::on_signal()?;
    let failed = |e: selvedge_scheduler::SchedulerError| CliError::Failed(Box::new(e.failure()));
    let running = selvedge_scheduler::start(options, stop).await.map_err(failed)?;
    // Scripts wait for this line: its shape is a promise.
    let mut out = stdout();
    writeln!(out, "listening grpc={} http={}", running.grpc, running.http)?;
    out.flush()?;
    running.stopped().await.map_err(failed)
}
