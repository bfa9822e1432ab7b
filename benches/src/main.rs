//! `selvedge-bench`: Selvedge on a cluster of processes beside DataFusion alone in one process, same data, same cores, same
//! run. Prints a table of ratios and writes JSON.
//!
//! `stage` prepares data and cluster, `ours` and `alone` run statements, `tpch`, `etl` and `tables` are the benchmarks, `peers`
//! runs other engines when they are installed, `report` prints.

mod alone;
mod args;
mod etl;
mod latency;
mod ours;
mod peers;
mod report;
mod stage;
mod tables;
mod tpch;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Benchmark};

// The allocator of the `selvedge` binary, so that both sides have the same.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let Args { benchmark } = Args::parse();
    let result = match &benchmark {
        Benchmark::Tpch(tpch) => tpch::run(tpch),
        Benchmark::Etl(etl) => etl::run(etl),
        Benchmark::Tables(tables) => tables::run(tables),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("selvedge-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
