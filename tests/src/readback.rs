//! Reads what Selvedge wrote with engines that share no code with it: pyarrow opens the files, DuckDB runs the SQL.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde::Serialize;
use serde_json::Value;

use crate::rows::Rows;
use crate::seaweed::S3Access;
use crate::{Outcome, cache, fail};

const SCRIPT: &str = include_str!("readback.py");

/// A table for the query: its name, and where its Parquet files are (`s3://...` or a local directory or file). Hive
/// directories become columns; a Delta table's log says all of that itself.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    name: String,
    location: String,
    delta: bool,
    version: Option<i64>,
}

impl Source {
    /// A named location.
    pub fn new(name: &str, location: &str) -> Self {
        Self { name: name.to_owned(), location: location.trim_end_matches('/').to_owned(), delta: false, version: None }
    }

    /// A Delta table, read by the Python package of that name: its newest version.
    pub fn delta(name: &str, location: &str) -> Self {
        Self { delta: true, ..Self::new(name, location) }
    }

    /// The same at a version.
    #[must_use]
    pub fn at_version(self, version: i64) -> Self {
        Self { version: Some(version), ..self }
    }
}

#[derive(Serialize)]
struct Request<'a> {
    sql: &'a str,
    sources: &'a [Source],
    endpoint: Option<&'a str>,
    key: Option<&'a str>,
    secret: Option<&'a str>,
}

/// Runs `sql` in DuckDB over `sources`.
pub fn duckdb(sql: &str, sources: &[Source], s3: Option<&S3Access>) -> Outcome<Rows> {
    let request = Request {
        sql,
        sources,
        endpoint: s3.map(|s| s.endpoint.as_str()),
        key: s3.map(|s| s.key.as_str()),
        secret: s3.map(|s| s.secret.as_str()),
    };
    let mut child = Command::new(cache::python()?)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&serde_json::to_vec(&request)?)?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(fail(format!("DuckDB cannot run {sql}:\n{}", String::from_utf8_lossy(&output.stderr))));
    }
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let strings = |value: &Value| -> Vec<String> {
        let cell = |cell: &Value| cell.as_str().unwrap_or_default().to_owned();
        value.as_array().map(|cells| cells.iter().map(cell).collect()).unwrap_or_default()
    };
    let rows = answer.get("rows").and_then(Value::as_array).ok_or_else(|| fail("no rows in DuckDB's answer"))?;
    Ok(Rows {
        columns: answer.get("columns").map(strings).unwrap_or_default(),
        rows: rows.iter().map(strings).collect(),
    })
}

/// Runs a Python program in the tools' environment, with the access to `s3` as JSON in its first argument and `args` behind
/// it; gives what it prints.
pub fn python(program: &str, s3: &S3Access, args: &[&str]) -> Outcome<String> {
    let options = serde_json::json!({
        "AWS_ACCESS_KEY_ID": s3.key,
        "AWS_SECRET_ACCESS_KEY": s3.secret,
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    });
    let output = Command::new(cache::python()?).args(["-c", program, &options.to_string()]).args(args).output()?;
    if !output.status.success() {
        return Err(fail(format!("the program failed:\n{}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(String::from_utf8(output.stdout)?)
}
