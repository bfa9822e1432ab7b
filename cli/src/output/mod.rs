//! Results to stdout: rows of queries (`rows`), runs (`runs`, `run_details`), executors (`executors`), as tables for people,
//! JSON or CSV for programs. Progress and errors are not here: they go to stderr.

mod executors;
mod expectations;
mod grid;
mod json;
mod rows;
mod run_details;
mod runs;
pub mod units;

use clap::ValueEnum;

pub use executors::print_executors;
pub use grid::Grid;
pub use json::print_json;
pub use rows::{Rows, rows_as_json};
pub use run_details::print_run;
pub use runs::{print_result_rows, print_run_json, print_runs};

/// How results look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: rows as one object a line, everything else as one document.
    Json,
    /// For programs: a header, then one line a row.
    Csv,
}
