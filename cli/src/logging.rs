//! Logs to stderr. Services log at INFO; commands that embed the engine not at all, since they report what goes wrong.
//! `SELVEDGE_LOG` overrides either, as a filter: `selvedge_scheduler=debug,info`.

use selvedge_engine::config::LogFormat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::error::CliError;
use crate::terminal::Terminal;

/// The filter.
pub const VARIABLE: &str = "SELVEDGE_LOG";
// Ballista dials executors when a job is cancelled; ours are not dialled (they hear of it at their next poll), and it would
// call that an error each time.
const SERVICE: &str = "info,ballista_scheduler=warn,ballista_scheduler::state::executor_manager=off,ballista_executor=warn,\
                       ballista_core=warn,datafusion=warn,h2=warn,hyper=warn,tonic=warn,tower=warn,aws_config=warn";
const EMBEDDED: &str = "off";

/// Logs of a service.
///
/// # Errors
/// When `SELVEDGE_LOG` is not a filter.
pub fn service(format: LogFormat, terminal: Terminal) -> Result<(), CliError> {
    start(SERVICE, format, terminal)
}

/// Logs of a command that embeds the engine.
///
/// # Errors
/// As [`service`].
pub fn embedded(terminal: Terminal) -> Result<(), CliError> {
    start(EMBEDDED, LogFormat::Text, terminal)
}

fn start(default: &str, format: LogFormat, terminal: Terminal) -> Result<(), CliError> {
    let given = std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let filter = EnvFilter::builder().parse(given.as_deref().unwrap_or(default)).map_err(|e| {
        let hint = "write it as info, or selvedge_scheduler=debug,info";
        CliError::Usage(Box::new(
            selvedge::model::Failure::user("BAD_CONFIG", format!("{VARIABLE}: {e}")).with_hint(hint),
        ))
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => {
            let colors = terminal.stderr_tty && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colors).finish().try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|e| CliError::user("LOCAL", format!("cannot start logging: {e}"), ""))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn services_tell_of_errors_but_not_of_executors_that_were_never_to_be_dialled() {
        let filter = EnvFilter::builder().parse(SERVICE).unwrap();
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::sink).finish();
        tracing::subscriber::with_default(subscriber, || {
            assert!(!tracing::enabled!(target: "ballista_scheduler::state::executor_manager", Level::ERROR));
            assert!(tracing::enabled!(target: "ballista_scheduler::state::task_manager", Level::ERROR));
            assert!(!tracing::enabled!(target: "ballista_scheduler::state::task_manager", Level::INFO));
            assert!(tracing::enabled!(target: "selvedge_scheduler::ballista::watch", Level::INFO));
        });
    }
}
