//! The fleet.

use std::io::Write;

use selvedge::{Executor, ExecutorState};

use super::{Format, Grid, print_json, units};
use crate::error::CliError;

/// Prints executors: one line each, or as one JSON array.
///
/// # Errors
/// When stdout is closed.
pub fn print_executors(out: &mut impl Write, format: Format, executors: &[Executor]) -> Result<(), CliError> {
    match format {
        Format::Json => print_json(out, &executors),
        Format::Table => {
            let headers =
                ["executor", "pool", "state", ">tasks", ">vcores", ">memory", ">disk", "address", "up since (UTC)"];
            let mut grid = Grid::new(headers);
            for e in executors {
                grid.row([
                    e.id.clone(),
                    e.pool.clone(),
                    state(e.state).to_owned(),
                    e.running_tasks.to_string(),
                    format!("{}/{}", e.vcores.saturating_sub(e.free_vcores), e.vcores),
                    of(e.memory_used_bytes, e.memory_limit_bytes),
                    of(e.disk_used_bytes, e.disk_limit_bytes),
                    format!("{}:{}", e.host, e.port),
                    units::moment(e.started_ms),
                ]);
            }
            write!(out, "{}", grid.render())?;
            Ok(())
        }
        Format::Csv => {
            writeln!(
                out,
                "executor,pool,state,running_tasks,vcores,free_vcores,memory_used_bytes,memory_limit_bytes,host,port"
            )?;
            for e in executors {
                let (id, pool, state) = (&e.id, &e.pool, state(e.state));
                let memory = format!("{},{}", e.memory_used_bytes, e.memory_limit_bytes);
                let (tasks, vcores, free) = (e.running_tasks, e.vcores, e.free_vcores);
                writeln!(out, "{id},{pool},{state},{tasks},{vcores},{free},{memory},{},{}", e.host, e.port)?;
            }
            Ok(())
        }
    }
}

fn state(state: ExecutorState) -> &'static str {
    match state {
        ExecutorState::Active => "ACTIVE",
        ExecutorState::Draining => "DRAINING",
        ExecutorState::Lost => "LOST",
    }
}

fn of(used: u64, limit: u64) -> String {
    if limit == 0 { units::bytes(used) } else { format!("{} of {}", units::bytes(used), units::bytes(limit)) }
}
