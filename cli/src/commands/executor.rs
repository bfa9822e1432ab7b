//! `selvedge executor`: is an executor until told to stop, by a signal or by the scheduler. It drains first.

use std::io::Write as _;

use selvedge::model::HasFailure as _;
use selvedge_executor::{ExecutorConfig, ExecutorOptions};

use super::stdout;
use crate::args::ExecutorFlags;
use crate::embedded::executor_problems;
use crate::error::CliError;
use crate::terminal::Terminal;
use crate::{logging, shutdown};

/// Serves until a signal.
pub(super) async fn serve(flags: ExecutorFlags, terminal: Terminal) -> Result<(), CliError> {
    let config = ExecutorConfig::load(flags.config.as_deref(), flags.flags);
    let options = config.and_then(ExecutorConfig::resolve).map_err(|problems| executor_problems(&problems))?;
    if flags.print_config {
        write!(stdout(), "{}", render(&options))?;
        return Ok(());
    }
    logging::service(flags.log_format, terminal)?;
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

/// The options as TOML that `--config` reads back.
fn render(options: &ExecutorOptions) -> String {
    let text = |value: &dyn std::fmt::Display| format!("{:?}", value.to_string());
    let lines = [
        ("scheduler", Some(text(&options.scheduler))),
        ("vcores", Some(options.vcores.to_string())),
        ("memory", Some(text(&format!("{}B", options.memory_bytes)))),
        ("work_dir", Some(text(&options.work_dir.display()))),
        ("pool", Some(text(&options.pool))),
        ("shuffle", options.shuffle.as_ref().map(|l| text(l))),
        ("host", Some(text(&options.host))),
        ("bind", Some(text(&options.bind))),
        ("port", Some(options.port.to_string())),
        ("http", Some(text(&options.http))),
        ("drain_grace", Some(text(&format!("{}s", options.drain_grace.as_secs())))),
        ("spill_limit", Some(text(&format!("{}B", options.spill_limit_bytes)))),
        ("s3_endpoint", options.store.endpoint.as_ref().map(|e| text(e))),
        ("s3_region", options.store.region.as_ref().map(|r| text(r))),
        ("s3_path_style", Some(options.store.path_style.to_string())),
        ("s3_profile", options.store.profile.as_ref().map(|p| text(p))),
    ];
    let mut out = String::from("# The executor's configuration as resolved: file < SELVEDGE_* environment < flags.\n");
    for (key, value) in lines {
        match value {
            Some(value) => out += &format!("{key} = {value}\n"),
            None => out += &format!("# {key} is not set\n"),
        }
    }
    out
}
