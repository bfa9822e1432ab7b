//! SIGTERM and SIGINT of the long-running commands: the first one drains, the second one ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::CliError;

/// A token that the first signal cancels.
///
/// # Errors
/// When signals cannot be waited for.
pub fn on_signal() -> Result<CancellationToken, CliError> {
    let cannot = |e: std::io::Error| CliError::local("cannot wait for signals", &e);
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        next(&mut terminate, &mut interrupt).await;
        tracing::info!("stopping: draining first, a second signal stops at once");
        cancelled.cancel();
        next(&mut terminate, &mut interrupt).await;
        tracing::warn!("stopping at once");
        std::process::exit(1);
    });
    Ok(token)
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
