//! The command line.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Parser, Subcommand};

/// Compares Selvedge on a cluster of processes with DataFusion alone.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// What to measure.
    #[command(subcommand)]
    pub benchmark: Benchmark,
}

/// The benchmarks.
#[derive(Debug, Subcommand)]
pub enum Benchmark {
    /// The 22 TPC-H queries.
    Tpch(Tpch),
    /// The join of lineitem, orders and customer, written as zstd Parquet partitioned by order month.
    Etl(Etl),
    /// Managed tables: merges, an overwrite of one partition, a write with expectations.
    Tables(Tables),
}

/// What all take.
#[derive(Debug, Clone, clap::Args)]
pub struct Setup {
    /// TPC-H scale factor: 1 is about 1 GB of text.
    #[arg(long, default_value_t = 1.0)]
    pub sf: f64,
    /// Files for each big table.
    #[arg(long, default_value_t = 4)]
    pub parts: i32,
    /// Executor processes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub executors: u16,
    /// Tasks that each runs at once. DataFusion alone gets executors x vcores threads.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub vcores: u16,
    /// Memory of each executor.
    #[arg(long, default_value = "4GiB")]
    pub memory: ByteSize,
    /// Keep the data in a bucket of a local SeaweedFS instead of the local disk.
    #[arg(long)]
    pub s3: bool,
    /// Keep shuffle files in the bucket too (with --s3).
    #[arg(long, requires = "s3")]
    pub shuffle: bool,
    /// Put a proxy before the bucket that adds this to every round trip (with --s3).
    #[arg(long, requires = "s3", default_value_t = 0)]
    pub latency_ms: u64,
    /// Other engines to run beside, if installed: duckdb, spark, sail.
    #[arg(long, value_delimiter = ',', conflicts_with = "s3")]
    pub peers: Vec<String>,
    /// Where to write the figures.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Run ours only, without DataFusion alone.
    #[arg(long)]
    pub skip_alone: bool,
}

impl Setup {
    /// Cores that each side has.
    pub fn cores(&self) -> usize {
        usize::from(self.executors) * usize::from(self.vcores)
    }
}

/// `tpch`.
#[derive(Debug, clap::Args)]
pub struct Tpch {
    /// Data, cluster, output.
    #[command(flatten)]
    pub setup: Setup,
    /// Which queries; all 22 unless given.
    #[arg(long, value_delimiter = ',')]
    pub queries: Vec<u32>,
}

/// `tables`.
#[derive(Debug, clap::Args)]
pub struct Tables {
    /// Data, cluster, output.
    #[command(flatten)]
    pub setup: Setup,
}

/// `etl`.
#[derive(Debug, clap::Args)]
pub struct Etl {
    /// Data, cluster, output.
    #[command(flatten)]
    pub setup: Setup,
}
