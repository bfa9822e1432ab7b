//! `selvedge executors ...`: list the fleet, drain one of it.

use selvedge::Selvedge;
use selvedge::model::ExecutorId;
use selvedge_model::words::counted;

use super::stdout;
use crate::error::CliError;
use crate::output::{Format, print_executors};

pub(super) async fn list(scheduler: &str, format: Format) -> Result<(), CliError> {
    let executors = Selvedge::connect(scheduler).await?.executors().await?;
    print_executors(&mut stdout(), format, &executors)
}

pub(super) async fn drain(scheduler: &str, id: &ExecutorId, format: Format) -> Result<(), CliError> {
    let executor = Selvedge::connect(scheduler).await?.drain(id).await?;
    if format == Format::Table {
        let running = counted(executor.running_tasks, "task");
        anstream::eprintln!("executor {id} takes no new task, ends the {running} it runs, and leaves");
        return Ok(());
    }
    print_executors(&mut stdout(), format, &[executor])
}
