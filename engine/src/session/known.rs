//! The settings of ours: key, meaning, default, and how a value is brought to its one form. What reads them: `settings.rs`.

use std::str::FromStr;

use bytesize::ByteSize;
use datafusion::parquet::basic::Compression;
use selvedge_model::durability::Durability;

pub(super) const TARGET_FILE_BYTES: &str = "selvedge.write.target_file_bytes";
pub(super) const COMPRESSION: &str = "selvedge.write.compression";
pub(super) const ADAPTIVE: &str = "selvedge.planner.adaptive";
pub(super) const TARGET_PARTITIONS: &str = "selvedge.planner.target_partitions";
pub(super) const STATEMENT_TIMEOUT: &str = "selvedge.statement.timeout";
pub(super) const RUN_TIMEOUT: &str = "selvedge.run.timeout";
pub(super) const SUCCESS_FILE: &str = "selvedge.write.success_file";
pub(super) const AUTO_OPTIMIZE_FILES: &str = "selvedge.write.auto_optimize_files";
pub(super) const DURABILITY: &str = "selvedge.shuffle.durability";
pub(super) const SPECULATION: &str = "selvedge.task.speculation";
pub(super) const SHORT_RETENTION: &str = "selvedge.vacuum.allow_short_retention";
pub(super) const HASH_JOIN_BUILD_BYTES: &str = "selvedge.planner.hash_join_build_bytes";

pub(super) const DEFAULT_TARGET_FILE_BYTES: u64 = 256 << 20;
pub(super) const DEFAULT_COMPRESSION: &str = "zstd(3)";
/// As many as other engines let come together before they compact by themselves.
pub(super) const DEFAULT_AUTO_OPTIMIZE_FILES: usize = 50;
/// Where the fleet says nothing: an eighth of a task's 2 GiB.
pub(super) const DEFAULT_HASH_JOIN_BUILD_BYTES: u64 = 256 << 20;

/// A setting of ours: its key, what it is for, its default as shown, and how a value is brought to its one form.
pub(super) struct Known {
    pub(super) key: &'static str,
    pub(super) description: &'static str,
    pub(super) default: Option<&'static str>,
    pub(super) normal: fn(&str) -> Option<String>,
    pub(super) expected: &'static str,
}

pub(super) static KNOWN: &[Known] = &[
    Known {
        key: TARGET_FILE_BYTES,
        description: "Size that written files are cut at",
        default: Some("268435456"),
        normal: size,
        expected: "a size: 256MiB, or a number of bytes of at least 1",
    },
    Known {
        key: COMPRESSION,
        description: "Codec of written Parquet",
        default: Some(DEFAULT_COMPRESSION),
        normal: codec,
        expected: "zstd, zstd(1) to zstd(22), snappy, lz4, gzip, brotli or uncompressed",
    },
    Known {
        key: AUTO_OPTIMIZE_FILES,
        description: "Small files of a partition after a write from which on an OPTIMIZE of it follows by itself; 0 for never",
        default: Some("50"),
        normal: |v| v.parse::<usize>().ok().filter(|n| *n <= 1_000_000).map(|n| n.to_string()),
        expected: "a whole number from 0 to 1000000",
    },
    Known {
        key: ADAPTIVE,
        description: "Whether plans are adapted to what is measured while they run; the planner decides when unset",
        default: None,
        normal: flag,
        expected: "true or false",
    },
    Known {
        key: TARGET_PARTITIONS,
        description: "Partitions to plan for; follows the fleet when unset",
        default: None,
        normal: |v| v.parse::<usize>().ok().filter(|n| (1..=100_000).contains(n)).map(|n| n.to_string()),
        expected: "a whole number from 1 to 100000",
    },
    Known {
        key: HASH_JOIN_BUILD_BYTES,
        description: "Largest share of a join's smaller side that a task keeps in memory; larger ones are sorted and merged, \
                      which spills. Follows the executors' memory when unset",
        default: None,
        normal: |v| ByteSize::from_str(v).ok().map(|size| size.as_u64().to_string()),
        expected: "a size: 256MiB, or 0 to sort always",
    },
    Known {
        key: SUCCESS_FILE,
        description: "Whether a write of plain files ends with an empty _SUCCESS in the directory",
        default: Some("false"),
        normal: flag,
        expected: "true or false",
    },
    Known {
        key: SHORT_RETENTION,
        description: "Whether VACUUM may delete files sooner than the table keeps them",
        default: Some("false"),
        normal: flag,
        expected: "true or false",
    },
    Known {
        key: STATEMENT_TIMEOUT,
        description: "How long each statement may take, all its attempts together; 0 for as long as it takes",
        default: Some("0s"),
        normal: time,
        expected: "a time with its unit: 30m, 2h 15m, or 0",
    },
    Known {
        key: RUN_TIMEOUT,
        description: "How long the run may take from the start of its first statement; 0 for as long as it takes",
        default: Some("0s"),
        normal: time,
        expected: "a time with its unit: 30m, 2h 15m, or 0",
    },
    Known {
        key: DURABILITY,
        description: "When a task's output is copied to the shuffle location: before the task succeeds (eager), in the background \
                      by what it would cost to make again (lazy), or when its executor leaves (local)",
        default: Some("lazy"),
        normal: |v| v.parse::<Durability>().ok().map(|durability| durability.to_string()),
        expected: "eager, lazy or local",
    },
    Known {
        key: SPECULATION,
        description: "Whether a task that is far slower than its peers is run once more elsewhere; the first to end wins",
        default: Some("true"),
        normal: flag,
        expected: "true or false",
    },
];

fn flag(value: &str) -> Option<String> {
    value.to_lowercase().parse::<bool>().ok().map(|flag| flag.to_string())
}

fn size(value: &str) -> Option<String> {
    let bytes = ByteSize::from_str(value).ok()?.as_u64();
    (bytes >= 1).then(|| bytes.to_string())
}

fn time(value: &str) -> Option<String> {
    let value = if value == "0" { "0s" } else { value };
    humantime::parse_duration(value).ok().map(|time| humantime::format_duration(time).to_string())
}

/// With the level that Parquet's parser wants to see.
fn codec(value: &str) -> Option<String> {
    let value = value.to_lowercase();
    let full = match value.as_str() {
        "zstd" => DEFAULT_COMPRESSION,
        "gzip" => "gzip(6)",
        "brotli" => "brotli(4)",
        "lz4" => "lz4_raw",
        "none" => "uncompressed",
        other => other,
    };
    let known = Compression::from_str(full).ok()?;
    (!matches!(known, Compression::LZO)).then(|| full.to_owned())
}
