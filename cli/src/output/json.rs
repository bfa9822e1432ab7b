//! One JSON document on stdout. The shapes are a promise: fields may be added, none is renamed or removed (docs/cli.md).

use std::io::Write;

use serde::Serialize;

use crate::error::CliError;

/// Prints a value as one indented document.
///
/// # Errors
/// When stdout is closed.
pub fn print_json<T: Serialize>(out: &mut impl Write, value: &T) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(|e| CliError::local("cannot print JSON", &e))?;
    writeln!(out, "{text}")?;
    Ok(())
}
