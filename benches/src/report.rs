//! The figures: a table for people on standard output, JSON for scripts.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use selvedge_tests::Outcome;
use serde::Serialize;

use crate::args::Setup;
use crate::peers::Measurement;

/// One query or write.
#[derive(Debug, Serialize)]
pub struct Line {
    name: String,
    /// Our seconds.
    pub ours: Option<f64>,
    /// DataFusion's seconds alone.
    pub alone: Option<f64>,
    /// Rows of the result.
    pub rows: Option<usize>,
    /// Whether both results are the same; none when not compared.
    pub same: Option<bool>,
    failed: bool,
    note: String,
    peers: BTreeMap<String, f64>,
}

impl Line {
    /// Nothing measured yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ours: None,
            alone: None,
            rows: None,
            same: None,
            failed: false,
            note: String::new(),
            peers: BTreeMap::new(),
        }
    }

    /// Something to say that does not fail the benchmark.
    pub fn note(&mut self, text: &str) {
        let first = text.lines().next().unwrap_or_default();
        self.note =
            [self.note.as_str(), first].iter().filter(|t| !t.is_empty()).copied().collect::<Vec<_>>().join("; ");
    }

    /// Ours failed.
    pub fn fail(&mut self, text: &str) {
        self.failed = true;
        self.note(text);
    }

    /// Ours was compared with DataFusion's.
    pub fn compare(&mut self, difference: Option<String>) {
        self.same = Some(difference.is_none());
        if let Some(difference) = difference {
            self.fail(&format!("other rows: {}", difference.replace('\n', " ")));
        }
    }

    fn ratio(&self) -> Option<f64> {
        Some(self.ours? / self.alone?)
    }
}

/// A benchmark's figures.
#[derive(Debug, Serialize)]
pub struct Report {
    benchmark: &'static str,
    machine: Machine,
    scale_factor: f64,
    executors: u16,
    vcores: u16,
    memory_bytes: u64,
    s3: bool,
    shuffle_in_s3: bool,
    latency_ms: u64,
    lines: Vec<Line>,
    peer_totals: BTreeMap<String, f64>,
    /// What the second column is.
    beside: &'static str,
    #[serde(skip)]
    json: Option<std::path::PathBuf>,
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

impl Report {
    /// An empty one.
    pub fn new(benchmark: &'static str, setup: &Setup) -> Self {
        Self::beside(benchmark, setup, "DataFusion s")
    }

    /// An empty one whose second column is something else.
    pub fn beside(benchmark: &'static str, setup: &Setup, beside: &'static str) -> Self {
        Self {
            beside,
            benchmark,
            machine: Machine::here(),
            scale_factor: setup.sf,
            executors: setup.executors,
            vcores: setup.vcores,
            memory_bytes: setup.memory.as_u64(),
            s3: setup.s3,
            shuffle_in_s3: setup.shuffle,
            latency_ms: setup.latency_ms,
            lines: Vec::new(),
            peer_totals: BTreeMap::new(),
            json: setup.json.clone(),
        }
    }

    /// Takes a line; says it at once.
    pub fn add(&mut self, line: Line) {
        eprintln!("  ours {}  {} {}  {}", seconds(line.ours), self.beside, seconds(line.alone), line.note);
        self.lines.push(line);
    }

    /// Takes a peer's measurements, or why there are none.
    pub fn add_peer(&mut self, name: &str, measured: Outcome<Vec<Measurement>>) {
        let measured = match measured {
            Ok(measured) => measured,
            Err(error) => {
                eprintln!("  {error}");
                return;
            }
        };
        for measurement in measured {
            let Some(line) = self.lines.iter_mut().find(|l| l.name == measurement.name) else { continue };
            match (measurement.seconds, measurement.error) {
                (Some(seconds), _) => {
                    line.peers.insert(name.to_owned(), seconds);
                    *self.peer_totals.entry(name.to_owned()).or_default() += seconds;
                }
                (None, error) => line.note(&format!("{name}: {}", error.unwrap_or_default())),
            }
        }
    }

    fn total(&self, of: impl Fn(&Line) -> Option<f64>) -> Option<f64> {
        self.lines.iter().map(of).sum()
    }

    /// Prints the table and writes the JSON; false when a line failed.
    pub fn finish(self) -> Outcome<bool> {
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
        println!("{}", self.table());
        let failed = self.lines.iter().filter(|l| l.failed).count();
        println!("{} of {} complete and right", self.lines.len() - failed, self.lines.len());
        if let Some(path) = &self.json {
            std::fs::write(path, serde_json::to_vec_pretty(&self)?)?;
            println!("figures in {}", path.display());
        }
        Ok(failed == 0)
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        let peers: Vec<&String> = self.peer_totals.keys().collect();
        let heads = ["", "Selvedge s", self.beside, "ratio", "rows", "same"].map(str::to_owned);
        table.set_header(heads.into_iter().chain(peers.iter().map(|p| format!("{p} s"))).chain(["note".to_owned()]));
        for line in &self.lines {
            let same = line.same.map_or("-", |same| if same { "yes" } else { "NO" });
            let cells = [
                line.name.clone(),
                seconds(line.ours),
                seconds(line.alone),
                ratio(line.ratio()),
                line.rows.map_or("-".into(), |r| r.to_string()),
                same.to_owned(),
            ];
            let others = peers.iter().map(|p| seconds(line.peers.get(*p).copied()));
            table.add_row(cells.into_iter().chain(others).chain([line.note.chars().take(100).collect()]));
        }
        let (ours, alone) = (self.total(|l| l.ours), self.total(|l| l.alone));
        let whole = ours.zip(alone).map(|(o, a)| o / a);
        let cells = ["total".to_owned(), seconds(ours), seconds(alone), ratio(whole), String::new(), String::new()];
        let others = self.peer_totals.values().map(|t| seconds(Some(*t)));
        table.add_row(cells.into_iter().chain(others).chain([String::new()]));
        for column in 1..(5 + 1 + peers.len()) {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

fn seconds(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |v| format!("{v:.2}"))
}

fn ratio(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |v| format!("{v:.2}"))
}
