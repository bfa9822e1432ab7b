//! What every benchmark's figures begin with, and how tables look and JSON is written.

use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};
use selvedge_tests::Outcome;
use serde::Serialize;

use crate::args::Setup;

/// Which benchmark, on what.
#[derive(Debug, Serialize)]
pub struct Head {
    benchmark: &'static str,
    machine: Machine,
    scale_factor: f64,
    executors: u16,
    vcores: u16,
    memory_bytes: u64,
    s3: bool,
    shuffle_in_s3: bool,
    latency_ms: u64,
    #[serde(skip)]
    json: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Machine {
    processor: String,
    cores: usize,
    memory_gib: u64,
    os: String,
}

impl Machine {
    fn here() -> Self {
        let field = |file: &str, key: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|l| l.starts_with(key)).unwrap_or_default();
            line.split_once(':').map_or("unknown", |(_, v)| v.trim()).to_owned()
        };
        let kib: u64 = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or_default();
        Self {
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib >> 20,
            os: std::env::consts::OS.to_owned(),
        }
    }
}

impl Head {
    /// Of a benchmark with this setup.
    pub fn new(benchmark: &'static str, setup: &Setup) -> Self {
        Self {
            benchmark,
            machine: Machine::here(),
            scale_factor: setup.sf,
            executors: setup.executors,
            vcores: setup.vcores,
            memory_bytes: setup.memory.as_u64(),
            s3: setup.s3,
            shuffle_in_s3: setup.shuffle,
            latency_ms: setup.latency_ms,
            json: setup.json.clone(),
        }
    }

    /// Prints the line above the table.
    pub fn print(&self) {
        let machine = &self.machine;
        println!(
            "{} at scale factor {} on {} (cores: {}, memory: {} GiB); executors: {}, vcores of each: {}",
            self.benchmark,
            self.scale_factor,
            machine.processor,
            machine.cores,
            machine.memory_gib,
            self.executors,
            self.vcores
        );
    }

    /// Writes the figures where they are wanted, and says so.
    pub fn write<T: Serialize>(&self, figures: &T) -> Outcome<()> {
        if let Some(path) = &self.json {
            std::fs::write(path, serde_json::to_vec_pretty(figures)?)?;
            println!("figures in {}", path.display());
        }
        Ok(())
    }
}

/// A table with numbers to the right; the first column and one called `note` are text.
pub fn table<H: Into<String>>(heads: impl IntoIterator<Item = H>, rows: Vec<Vec<String>>) -> Table {
    let heads: Vec<String> = heads.into_iter().map(Into::into).collect();
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(&heads).add_rows(rows);
    for (position, head) in heads.iter().enumerate() {
        if position > 0
            && head != "note"
            && let Some(column) = table.column_mut(position)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Two places, or `-`.
pub fn two_places(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |v| format!("{v:.2}"))
}

/// The middle one; of an even number, the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    match sorted.len() % 2 {
        0 => Some((upper + sorted.get(middle.checked_sub(1)?)?) / 2.0),
        _ => Some(upper),
    }
}
