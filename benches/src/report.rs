//! The figures: a table for people on standard output, JSON for scripts.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::Table;
use selvedge_tests::Outcome;
use serde::Serialize;

use crate::args::Setup;
use crate::head::{Head, median, table, two_places};
use crate::peers::Measurement;

/// One query or write.
#[derive(Debug, Serialize)]
pub struct Line {
    name: String,
    /// Our seconds; of several passes the median.
    ours: Option<f64>,
    /// The same of what stands beside.
    alone: Option<f64>,
    ours_passes: Vec<f64>,
    alone_passes: Vec<f64>,
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
            ours_passes: Vec::new(),
            alone_passes: Vec::new(),
            rows: None,
            same: None,
            failed: false,
            note: String::new(),
            peers: BTreeMap::new(),
        }
    }

    /// A pass of ours.
    pub fn took(&mut self, time: Duration) {
        self.ours_passes.push(time.as_secs_f64());
        self.ours = median(&self.ours_passes);
    }

    /// A pass of what stands beside.
    pub fn took_beside(&mut self, time: Duration) {
        self.alone_passes.push(time.as_secs_f64());
        self.alone = median(&self.alone_passes);
    }

    /// Says the latest pass.
    pub fn say(&self, beside: &str) {
        let latest = |passes: &[f64]| two_places(passes.last().copied());
        eprintln!("  ours {}  {beside} {}  {}", latest(&self.ours_passes), latest(&self.alone_passes), self.note);
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
        self.same = Some(difference.is_none() && self.same != Some(false));
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
    #[serde(flatten)]
    head: Head,
    lines: Vec<Line>,
    peer_totals: BTreeMap<String, f64>,
    /// What the second column is.
    beside: &'static str,
}

impl Report {
    /// An empty one.
    pub fn new(benchmark: &'static str, setup: &Setup) -> Self {
        Self::beside(benchmark, setup, "DataFusion s")
    }

    /// An empty one whose second column is something else.
    pub fn beside(benchmark: &'static str, setup: &Setup, beside: &'static str) -> Self {
        Self { head: Head::new(benchmark, setup), lines: Vec::new(), peer_totals: BTreeMap::new(), beside }
    }

    /// Takes a line; says it at once.
    pub fn add(&mut self, line: Line) {
        line.say(self.beside);
        self.keep(line);
    }

    /// Takes a line that was said.
    pub fn keep(&mut self, line: Line) {
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
        self.head.print();
        println!("{}", self.table());
        let failed = self.lines.iter().filter(|l| l.failed).count();
        println!("{} of {} complete and right", self.lines.len() - failed, self.lines.len());
        self.head.write(&self)?;
        Ok(failed == 0)
    }

    fn table(&self) -> Table {
        let peers: Vec<&String> = self.peer_totals.keys().collect();
        let heads = ["", "Selvedge s", self.beside, "ratio", "rows", "same"].map(str::to_owned);
        let heads = heads.into_iter().chain(peers.iter().map(|p| format!("{p} s"))).chain(["note".to_owned()]);
        let mut rows: Vec<Vec<String>> = Vec::new();
        for line in &self.lines {
            let same = line.same.map_or("-", |same| if same { "yes" } else { "NO" });
            let cells = [
                line.name.clone(),
                two_places(line.ours),
                two_places(line.alone),
                two_places(line.ratio()),
                line.rows.map_or("-".into(), |r| r.to_string()),
                same.to_owned(),
            ];
            let others = peers.iter().map(|p| two_places(line.peers.get(*p).copied()));
            rows.push(cells.into_iter().chain(others).chain([line.note.chars().take(100).collect()]).collect());
        }
        let (ours, alone) = (self.total(|l| l.ours), self.total(|l| l.alone));
        let whole = ours.zip(alone).map(|(o, a)| o / a);
        let totals = [two_places(ours), two_places(alone), two_places(whole)];
        let cells = ["total".to_owned()].into_iter().chain(totals).chain([String::new(), String::new()]);
        rows.push(
            cells.chain(self.peer_totals.values().map(|t| two_places(Some(*t)))).chain([String::new()]).collect(),
        );
        table(heads, rows)
    }
}
