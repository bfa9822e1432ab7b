//! `selvedge-bench`: Selvedge on a cluster of processes beside DataFusion alone in one process, same data, same cores, same
//! run. Prints a table of ratios and writes JSON.
//!
//! `stage` prepares data and cluster, `ours` and `alone` run statements, `suite` is the queries with their right results, `work`
//! what the scheduler says a run cost. `tpch`, `etl` and `tables` are the benchmarks beside another engine or statement, `chaos`,
//! `durability` and `memory` those beside an easier pass of our own. `peers` runs other engines when they are installed, `report`
//! and `head` print.

mod alone;
mod args;
mod chaos;
mod durability;
mod etl;
mod head;
mod latency;
mod memory;
mod ours;
mod peers;
mod report;
mod stage;
mod suite;
mod tables;
mod tpch;
mod work;

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
        Benchmark::Chaos(chaos) => chaos::run(chaos),
        Benchmark::Durability(durability) => durability::run(durability),
        Benchmark::Memory(memory) => memory::run(memory),
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
