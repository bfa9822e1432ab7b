//! Other engines, each a small Python script beside this program that prints one JSON line a measurement.
//!
//! They run only when asked for and installed in the tools' Python environment (`pip install duckdb`, `pyspark`, `pysail`).

use std::path::Path;
use std::process::Command;

use selvedge_tests::tpch::Query;
use selvedge_tests::{Outcome, cache, fail};
use serde::Deserialize;

use crate::args::Setup;

/// One measurement of a peer.
#[derive(Debug, Clone, Deserialize)]
pub struct Measurement {
    /// `q1`, ... or `etl write`.
    pub name: String,
    /// Its time; none when it failed.
    pub seconds: Option<f64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// The 22 queries, or some.
pub fn tpch(name: &str, data: &Path, setup: &Setup, queries: &[Query]) -> Outcome<Vec<Measurement>> {
    let directory = tempfile::tempdir()?;
    for query in queries {
        std::fs::write(directory.path().join(format!("q{}.sql", query.number)), query.sql)?;
    }
    call(name, data, setup, &["tpch", &directory.path().to_string_lossy()])
}

/// The ETL write.
pub fn etl(name: &str, data: &Path, setup: &Setup, output: &str) -> Outcome<Vec<Measurement>> {
    call(name, data, setup, &["etl", &format!("{output}/{name}")])
}

fn call(name: &str, data: &Path, setup: &Setup, task: &[&str]) -> Outcome<Vec<Measurement>> {
    let script = match name {
        "duckdb" => include_str!("../peers/duckdb.py"),
        "spark" => include_str!("../peers/spark.py"),
        "sail" => include_str!("../peers/sail.py"),
        other => return Err(fail(format!("'{other}' is not a peer: duckdb, spark, sail"))),
    };
    eprintln!("{name}");
    // Beside the shared part, where Python finds it.
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("peer.py"), include_str!("../peers/peer.py"))?;
    let main = directory.path().join(format!("run_{name}.py"));
    std::fs::write(&main, script)?;
    let total = setup.memory.as_u64() * u64::from(setup.executors);
    let output = Command::new(cache::python()?)
        .arg(&main)
        .arg(data)
        .arg(setup.cores().to_string())
        .arg((total >> 30).max(1).to_string())
        .args(task)
        .stderr(std::process::Stdio::piped())
        .output()?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.lines().last().unwrap_or("no message");
        return Err(fail(format!("{name} did not run: {last}")));
    }
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    stdout.lines().filter(|l| l.starts_with('{')).map(|l| Ok(serde_json::from_str(l)?)).collect()
}
