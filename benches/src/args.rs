//! The command line.

use std::fmt;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Parser, Subcommand, ValueEnum};

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
    /// The queries while executors are killed: what is run again, and whether every result is right.
    Chaos(Chaos),
    /// The queries with each durability of shuffle files, and the requests that each makes.
    Durability(Durability),
    /// The queries and the ETL write by executors held to little memory, beside the same with plenty.
    Memory(Memory),
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
    /// How often to run all; the medians are shown.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub passes: u16,
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
    /// How often to run it; the medians are shown.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub passes: u16,
}

/// What the benchmarks take whose cluster is given.
#[derive(Debug, Clone, clap::Args)]
pub struct Basis {
    /// TPC-H scale factor: 1 is about 1 GB of text.
    #[arg(long, default_value_t = 1.0)]
    pub sf: f64,
    /// Files for each big table.
    #[arg(long, default_value_t = 4)]
    pub parts: i32,
    /// Memory of each executor that is not meant to be short of it.
    #[arg(long, default_value = "4GiB")]
    pub memory: ByteSize,
    /// Which queries; all 22 unless given.
    #[arg(long, value_delimiter = ',')]
    pub queries: Vec<u32>,
    /// Where to write the figures.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

impl Basis {
    /// A cluster of this many executors of 1 vcore; with `s3`, data and shuffle are in a bucket.
    pub fn setup(&self, executors: u16, s3: bool) -> Setup {
        Setup {
            sf: self.sf,
            parts: self.parts,
            executors,
            vcores: 1,
            memory: self.memory,
            s3,
            shuffle: s3,
            latency_ms: 0,
            peers: Vec::new(),
            json: self.json.clone(),
            skip_alone: false,
        }
    }
}

/// When shuffle files are kept beyond the executor that wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Mode {
    /// As the cluster is configured.
    Default,
    /// Never.
    Local,
    /// Before long.
    Lazy,
    /// Before a task reports success.
    Eager,
}

impl Mode {
    /// The setting that asks for it, if any.
    pub fn setting(self) -> Option<(String, String)> {
        (self != Self::Default).then(|| ("selvedge.shuffle.durability".to_owned(), self.to_string()))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Local => "local",
            Self::Lazy => "lazy",
            Self::Eager => "eager",
        })
    }
}

/// `chaos`.
#[derive(Debug, clap::Args)]
pub struct Chaos {
    /// Data, queries, output.
    #[command(flatten)]
    pub basis: Basis,
    /// Durability of shuffle files.
    #[arg(long, default_value = "default")]
    pub mode: Mode,
}

/// `durability`.
#[derive(Debug, clap::Args)]
pub struct Durability {
    /// Data, queries, output.
    #[command(flatten)]
    pub basis: Basis,
    /// Which to compare with the first.
    #[arg(long, value_delimiter = ',', default_value = "local,lazy,eager")]
    pub modes: Vec<Mode>,
}

/// `memory`.
#[derive(Debug, clap::Args)]
pub struct Memory {
    /// Data, queries, output.
    #[command(flatten)]
    pub basis: Basis,
    /// What executors are held to in the second part, from outside too.
    #[arg(long, default_value = "1GiB")]
    pub limit: ByteSize,
}
