//! The scheduler ends, as if killed, at each named step of a publish, to plain files and to a managed table, and is started
//! again: the table is exactly as before or exactly as after, nothing is doubled, and nothing staged is left.
//!
//! The steps are those that the binary lists (`selvedge scheduler --list-faults`), so that a new one is tried without a word
//! here.

use std::path::Path;

use selvedge_tests::cli::Selvedge;
use selvedge_tests::cluster::{Cluster, ClusterOptions, eventually};
use selvedge_tests::fail;
use selvedge_tests::readback::{Source, duckdb};

use crate::stage::{BUCKET, LONG, S3, heavy, unique};

/// The one step at which nothing is recorded yet: the statement has never been.
const BEFORE_THE_RECORD: &str = "publish-decided";

const BEFORE: [[&str; 3]; 4] = [["1", "old", "a"], ["2", "old", "b"], ["3", "old", "c"], ["4", "old", "d"]];
const AFTER: [[&str; 3]; 4] = [["10", "new", "a"], ["20", "new", "b"], ["30", "new", "c"], ["4", "old", "d"]];

/// The steps that something passes: `files` and `log` pass those of every publish, too.
fn steps(of: &str) -> Vec<String> {
    let listed = Selvedge::new().unwrap().run(&["scheduler", "--list-faults"]).unwrap().succeeded().unwrap();
    let all: Vec<(&str, &str)> = listed.stdout.lines().map(|line| line.split_once('\t').unwrap()).collect();
    let passes = |by: &str| by == of || (by == "publish" && of != "catalog");
    let steps: Vec<String> = all.iter().filter(|(_, by)| passes(by)).map(|(step, _)| (*step).to_owned()).collect();
    assert!(of == "catalog" || steps.len() >= 7 && steps.iter().any(|s| s == BEFORE_THE_RECORD), "{all:?}");
    assert!(!steps.is_empty());
    steps
}

fn execute(cluster: &Cluster, sql: &str) {
    cluster.cli().unwrap().run(&["sql", "-c", sql]).unwrap().succeeded().unwrap();
}

/// Runs a statement on a scheduler that ends at a step, and starts it again without that.
fn crash(cluster: &mut Cluster, step: &str, sql: &str) {
    cluster.restart_scheduler(&[("SELVEDGE_FAULT", step)]).unwrap();
    let output = cluster.cli().unwrap().run(&["sql", "-c", sql]).unwrap();
    assert_ne!(output.code, 0, "nobody told the end of this one: {}", output.report());
    let status = cluster.scheduler().wait(LONG).unwrap();
    assert_eq!(status.code(), None, "the scheduler was to abort at {step}, but ended with {status}");
    cluster.restart_scheduler(&[]).unwrap();
}

/// Rows as another engine and as our own find them.
fn expect_rows(cluster: &Cluster, (kind, table): (Kind, &str), location: &str, expected: &[[&str; 3]], step: &str) {
    let sql = "SELECT id, version, CAST(p AS VARCHAR) FROM t ORDER BY p, id";
    let found = duckdb(sql, &[kind.source(location)], Some(&S3.access())).unwrap();
    assert_eq!(found.rows, expected, "{step}, read by DuckDB");
    let own = cluster.cli().unwrap().query(&format!("SELECT id, version, p FROM {table} ORDER BY p, id")).unwrap();
    assert_eq!(own.rows, expected, "{step}, read by Selvedge");
}

/// The row that is left out is kept once for each statement that has been, if it is kept.
fn expect_rejected(cluster: &Cluster, table: &str, times: usize, step: &str) {
    if times == 0 {
        return;
    }
    let sql = format!("SELECT expectation, rejected_row FROM {table}__rejected");
    let row = r#"{"id":999,"version":"new","p":"a"}"#;
    assert_eq!(cluster.cli().unwrap().query(&sql).unwrap().rows, vec![["small", row]; times], "{step}");
}

/// Everything below a location, hidden or not.
fn everything(location: &str) -> Vec<String> {
    if let Some(prefix) = location.strip_prefix(&format!("s3://{BUCKET}/")) {
        return S3.keys(BUCKET, prefix.trim_end_matches('/')).unwrap();
    }
    let mut found = Vec::new();
    walk(Path::new(location), &mut found);
    found
}

fn walk(directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path.to_string_lossy().into_owned());
        }
    }
}

/// What is told apart of the two formats.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Files,
    Managed,
}

impl Kind {
    fn create(self, table: &str, location: &str) -> String {
        let (external, format, on_violation) = match self {
            Self::Files => ("EXTERNAL ", "PARQUET", "DROP"),
            Self::Managed => ("", "DELTA", "DROP INTO REJECTED"),
        };
        format!(
            "CREATE {external}TABLE {table} (id BIGINT, version VARCHAR, p VARCHAR) STORED AS {format} PARTITIONED BY (p)
               LOCATION '{location}';
             EXPECT small ON {table} CHECK (id < 100) {on_violation}"
        )
    }

    fn source(self, location: &str) -> Source {
        match self {
            Self::Files => Source::new("t", location),
            Self::Managed => Source::delta("t", location),
        }
    }

    /// The data files that are to be there, apart from logs: a managed table keeps those that were replaced, and the row
    /// that was left out has one.
    fn files(self) -> usize {
        match self {
            Self::Files => 4,
            Self::Managed => 8,
        }
    }
}

fn overwrite_crashes(cluster: &mut Cluster, kind: Kind, step: &str, table: &str, location: &str) {
    execute(
        cluster,
        &format!(
            "{};
             INSERT INTO {table} SELECT column1, 'old', column2 FROM (VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'))",
            kind.create(table, location)
        ),
    );
    let overwrite = format!(
        "INSERT OVERWRITE {table} SELECT column1, 'new', column2 FROM (VALUES (10, 'a'), (20, 'b'), (30, 'c'), (999, 'a'))"
    );
    crash(cluster, step, &overwrite);
    // Only what was recorded is carried on. What was staged before is hidden, and is swept later.
    let never = step == BEFORE_THE_RECORD;
    expect_rows(cluster, (kind, table), location, if never { &BEFORE } else { &AFTER }, step);
    let kept = usize::from(kind == Kind::Managed);
    expect_rejected(cluster, table, kept * usize::from(!never), step);
    let files: Vec<String> = everything(location).into_iter().filter(|f| !f.contains("_delta_log")).collect();
    assert!(never || files.len() == kind.files(), "{step}: {files:?}");
    assert!(never || files.iter().all(|f| !f.contains("staging")), "{step}: {files:?}");
    if never {
        eventually(LONG, || match everything(location).iter().find(|f| f.contains("staging")) {
            Some(left) => Err(fail(format!("{left} is still staged"))),
            None => Ok(()),
        })
        .unwrap();
    }
    // And the table is as good as any.
    execute(cluster, &overwrite);
    expect_rows(cluster, (kind, table), location, &AFTER, &format!("again after {step}"));
    expect_rejected(cluster, table, kept * (usize::from(!never) + 1), &format!("again after {step}"));
}

fn ddl_crashes(cluster: &mut Cluster, step: &str, table: &str, location: &str) {
    let create = format!("CREATE EXTERNAL TABLE {table} (a BIGINT) STORED AS PARQUET LOCATION '{location}'");
    crash(cluster, step, &create);
    assert_eq!(cluster.cli().unwrap().query(&format!("SELECT count(*) FROM {table}")).unwrap().single().unwrap(), "0");
}

fn crash_everywhere(location: impl Fn(&Cluster, &str) -> String) {
    let _turn = heavy();
    let options = ClusterOptions { s3: Some(S3.access()), executors: 1, ..Default::default() };
    let mut cluster = Cluster::start(options).unwrap();
    let place = |cluster: &Cluster| {
        let table = unique("crash");
        (table.clone(), location(cluster, &table))
    };
    for (of, kind) in [("files", Kind::Files), ("log", Kind::Managed)] {
        for step in steps(of) {
            let (table, location) = place(&cluster);
            overwrite_crashes(&mut cluster, kind, &step, &table, &location);
        }
    }
    for step in steps("catalog") {
        let (table, location) = place(&cluster);
        ddl_crashes(&mut cluster, &step, &table, &location);
    }
}

#[test]
fn a_publish_to_s3_is_whole_wherever_the_scheduler_ends() {
    crash_everywhere(|_, table| format!("s3://{BUCKET}/{table}/"));
}

#[test]
fn a_publish_to_a_local_disk_is_whole_wherever_the_scheduler_ends() {
    crash_everywhere(|cluster, table| format!("{}/", cluster.dir().join(table).display()));
}
