//! Bad input: one clear message (what, where, why, what to do), the right exit code, no panic, no partial output.
//!
//! Each test runs the real binary. Scripts run embedded over local files unless the mistake is about S3.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use selvedge_tests::cli::{Output, Selvedge};
use selvedge_tests::seaweed::S3Access;
use tempfile::TempDir;

use crate::stage::{BUCKET, DATA, LONG, S3, TPCH_URL, unique};

/// The run failed.
const FAILED: &[i32] = &[1];
/// Wrong call or configuration.
const USAGE: &[i32] = &[2];
/// Refused before it ran: wrong parameters may count as a wrong call.
const REFUSED: &[i32] = &[1, 2];
const NO_SCHEDULER: &[i32] = &[3];

struct Desk {
    dir: TempDir,
}

impl Desk {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir(dir.path().join("out")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.dir.path().join(name), content).unwrap();
        self.path(name)
    }

    /// Runs a script embedded, with further arguments.
    fn run(&self, script: &str, more: &[&str]) -> Output {
        self.run_with(script, more, &[])
    }

    fn run_with(&self, script: &str, more: &[&str], envs: &[(String, String)]) -> Output {
        let file = self.write("job.sql", script);
        // A catalog of its own for each: what one run creates is there in the next.
        let state = TempDir::new_in(self.dir.path()).unwrap();
        let state = state.path().to_string_lossy();
        let args: Vec<&str> = ["run", &file, "--data-dir", &state].into_iter().chain(more.iter().copied()).collect();
        Selvedge::new().unwrap().dir(self.dir.path()).envs(envs).limit(LONG).run(&args).unwrap()
    }

    /// Nothing was written where output should have gone.
    fn expect_no_output(&self) {
        let left: Vec<_> = std::fs::read_dir(self.dir.path().join("out")).unwrap().collect();
        assert!(left.is_empty(), "partial output: {left:?}");
    }

    /// A nation table over the generated data and an empty output table.
    fn tables(&self) -> String {
        format!(
            "CREATE EXTERNAL TABLE nation STORED AS PARQUET LOCATION '{}/';\n\
             CREATE EXTERNAL TABLE target (id BIGINT, name VARCHAR) STORED AS PARQUET LOCATION '{}/';\n",
            DATA.join("nation").display(),
            self.path("out"),
        )
    }
}

/// One clear message with all of `says`, an exit code out of `codes`, and no panic.
#[track_caller]
fn expect_refused(output: &Output, codes: &[i32], says: &[&str]) {
    assert!(codes.contains(&output.code), "exit code {codes:?} expected\n{}", output.report());
    let message = output.stderr.to_lowercase();
    for leaked in ["panicked", "rust_backtrace", "stack backtrace", "internal error", "this was likely caused by a bug"]
    {
        assert!(!message.contains(leaked), "'{leaked}' must not reach a user\n{}", output.report());
    }
    for needed in says {
        assert!(message.contains(&needed.to_lowercase()), "the message lacks '{needed}'\n{}", output.report());
    }
    assert!(message.lines().count() <= 40, "not one clear message\n{}", output.report());
}

#[test]
fn syntax_error() {
    let desk = Desk::new();
    let output = desk.run("SELECT 1;\nSELECT n_name FRM nation WHERE;\n", &[]);
    expect_refused(&output, REFUSED, &["job.sql:2:", "^"]);
}

#[test]
fn unknown_table() {
    let desk = Desk::new();
    let output = desk.run(&format!("{}SELECT count(*)\nFROM nations;\n", desk.tables()), &[]);
    expect_refused(&output, FAILED, &["nations does not exist", "public.nation?", "job.sql:4:", "^"]);
}

#[test]
fn unknown_column() {
    let desk = Desk::new();
    let output = desk.run(&format!("{}SELECT n_nam FROM nation;\n", desk.tables()), &[]);
    expect_refused(&output, FAILED, &["n_nam", "n_name", "job.sql:3:", "^"]);
}

#[test]
fn unknown_function() {
    let desk = Desk::new();
    let output = desk.run(&format!("{}SELECT uper(n_name) FROM nation;\n", desk.tables()), &[]);
    expect_refused(&output, FAILED, &["uper", "upper", "job.sql:3:", "^"]);
}

#[test]
fn missing_parameter() {
    let desk = Desk::new();
    let output = desk.run("-- @param ds date\nSELECT '{{ ds }}';\n", &[]);
    expect_refused(&output, REFUSED, &["ds", "-p"]);
}

#[test]
fn undeclared_parameter() {
    let desk = Desk::new();
    let output = desk.run("-- @param ds date\nSELECT '{{ ds }}';\n", &["-p", "ds=2024-01-01", "-p", "dt=2024-01-01"]);
    expect_refused(&output, REFUSED, &["dt", "ds"]);
    let output = desk.run("SELECT '{{ day }}';\n", &[]);
    expect_refused(&output, REFUSED, &["day", "@param"]);
}

#[test]
fn ill_typed_parameter() {
    let desk = Desk::new();
    let output = desk.run("-- @param ds date\nSELECT '{{ ds }}';\n", &["-p", "ds=yesterday"]);
    expect_refused(&output, REFUSED, &["ds", "yesterday", "date"]);
}

#[test]
fn every_problem_of_a_call_is_reported_at_once() {
    let desk = Desk::new();
    let script = "-- @param ds date\n-- @param n int\n-- @param who string\nSELECT {{ n }}, '{{ ds }}', '{{ who }}';\n";
    let output = desk.run(script, &["-p", "ds=yesterday", "-p", "n=many"]);
    expect_refused(&output, REFUSED, &["yesterday", "many", "who"]);
}

#[test]
fn insert_with_a_schema_that_does_not_fit() {
    let desk = Desk::new();
    let output = desk.run(&format!("{}INSERT INTO target SELECT n_name FROM nation;\n", desk.tables()), &[]);
    expect_refused(&output, FAILED, &["target", "column"]);
    desk.expect_no_output();
    let output = desk.run(&format!("{}INSERT INTO target SELECT [1, 2], n_name FROM nation;\n", desk.tables()), &[]);
    expect_refused(&output, FAILED, &["id"]);
    desk.expect_no_output();
}

#[test]
fn a_statement_that_fails_while_it_runs_leaves_nothing() {
    let desk = Desk::new();
    let insert = "INSERT INTO target SELECT 1 / (n_nationkey - 24), n_name FROM nation;\n";
    let output = desk.run(&format!("{}{insert}", desk.tables()), &[]);
    expect_refused(&output, FAILED, &["zero", "job.sql:3:"]);
    desk.expect_no_output();
}

#[test]
fn missing_file() {
    let desk = Desk::new();
    let path = desk.path("no-such-file.parquet");
    let script = format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{path}';\nSELECT * FROM t;\n");
    expect_refused(&desk.run(&script, &[]), FAILED, &["no-such-file.parquet", "job.sql:1:"]);
}

#[test]
fn missing_script() {
    let cli = Selvedge::new().unwrap();
    // The same wherever a script is read, and before anybody is asked for a scheduler's answer.
    for command in [vec!["run"], vec!["sql"], vec!["--scheduler", "http://127.0.0.1:1", "submit"]] {
        let args: Vec<&str> = command.into_iter().chain(["no-such-script.sql"]).collect();
        expect_refused(&cli.run(&args).unwrap(), USAGE, &["no-such-script.sql", "FILE_NOT_FOUND"]);
    }
}

#[test]
fn scheduler_address_that_is_none() {
    let cli = Selvedge::new().unwrap();
    let commands = [vec!["sql", "-c", "SELECT 1"], vec!["runs", "list"], vec!["executors", "list"], vec!["executor"]];
    for command in commands {
        let args: Vec<&str> = ["--scheduler", "foo"].into_iter().chain(command).collect();
        expect_refused(&cli.run(&args).unwrap(), USAGE, &["'foo'", "http://"]);
    }
}

#[test]
fn wrong_arguments_of_a_function() {
    let desk = Desk::new();
    let call = "SELECT n_nationkey,\n  upper(n_name),\n  upper(n_nationkey, 2)\nFROM nation;\n";
    let output = desk.run(&format!("{}{call}", desk.tables()), &[]);
    expect_refused(&output, FAILED, &["INVALID_ARGUMENTS", "upper(string)", "job.sql:5:3", "^"]);
}

#[test]
fn a_refusal_is_json_where_json_is_asked_for() {
    let desk = Desk::new();
    let output = desk.run("SELEC 1;\n", &["--format", "json"]);
    expect_refused(&output, FAILED, &["SELEC"]);
    let printed = output.json().unwrap();
    assert_eq!(printed["failure"]["code"], "SYNTAX_ERROR", "{}", output.report());
    assert_eq!(printed["failure"]["place"]["line"], 1, "{}", output.report());
}

fn s3_table(root: &str) -> String {
    format!("CREATE EXTERNAL TABLE nation STORED AS PARQUET LOCATION '{root}/nation/';\nSELECT count(*) FROM nation;\n")
}

#[test]
fn missing_bucket() {
    let desk = Desk::new();
    let output = desk.run_with(&s3_table("s3://no-such-bucket"), &[], &S3.access().envs());
    expect_refused(&output, FAILED, &["no-such-bucket", "job.sql:1:"]);
}

#[test]
fn wrong_key() {
    let desk = Desk::new();
    let wrong = S3.access_as("WRITER", "not-the-secret");
    let output = desk.run_with(&s3_table(&TPCH_URL), &[], &wrong.envs());
    expect_refused(&output, FAILED, &["s3://", "denied"]);
    assert!(!output.stderr.contains("not-the-secret"), "a secret is shown\n{}", output.report());
    assert!(output.took < Duration::from_secs(60), "a wrong key is not worth retrying\n{}", output.report());
}

#[test]
fn no_key_at_all() {
    let desk = Desk::new();
    let access = S3.access();
    let envs: Vec<_> = S3Access::envs(&access).into_iter().filter(|(k, _)| !k.contains("KEY")).collect();
    let home = [("HOME".to_owned(), desk.path("home"))];
    let output = desk.run_with(&s3_table(&TPCH_URL), &[], &[envs, home.to_vec()].concat());
    expect_refused(&output, FAILED, &["credentials"]);
    assert!(output.took < Duration::from_secs(60), "{}", output.report());
}

#[test]
fn truncated_parquet() {
    let desk = Desk::new();
    let source = std::fs::read_dir(DATA.join("orders")).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(source).unwrap();
    let path = desk.write("cut.parquet", &whole[..whole.len() / 2]);
    let script = format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{path}';\nSELECT * FROM t;\n");
    expect_refused(&desk.run(&script, &[]), FAILED, &["cut.parquet"]);

    // The footer is whole here: the damage shows only when a task reads the rows.
    let mut damaged = whole;
    let middle = damaged.len() / 2;
    let cut = middle.min(200_000);
    damaged[4..4 + cut].fill(0);
    let path = desk.write("damaged.parquet", &damaged);
    let copy = format!("COPY (SELECT * FROM t) TO '{}/';\n", desk.path("out"));
    let script = format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{path}';\n{copy}");
    expect_refused(&desk.run(&script, &[]), FAILED, &["damaged.parquet"]);
    desk.expect_no_output();
}

#[test]
fn csv_row_with_too_many_fields() {
    let desk = Desk::new();
    let path = desk.write("people.csv", "id,name\n1,Ada\n2,Grace,Hopper\n3,Edsger\n");
    let script = format!(
        "CREATE EXTERNAL TABLE people (id BIGINT, name VARCHAR) STORED AS CSV LOCATION '{path}' \
         OPTIONS ('format.has_header' 'true');\nCOPY (SELECT * FROM people) TO '{}/';\n",
        desk.path("out")
    );
    expect_refused(&desk.run(&script, &[]), FAILED, &["people.csv", "line"]);
    desk.expect_no_output();
}

#[test]
fn local_location_not_writable() {
    let desk = Desk::new();
    // Below a plain file nobody can create a directory, root neither.
    let blocked = desk.write("blocked", "a file");
    let output = desk.run(&format!("{}COPY (SELECT * FROM nation) TO '{blocked}/out/';\n", desk.tables()), &[]);
    expect_refused(&output, FAILED, &["blocked", "job.sql:3:"]);
    // The kernel's directory takes none either; it says only that there is no such file.
    let output = desk.run(&format!("{}COPY (SELECT * FROM nation) TO '/proc/x/';\n", desk.tables()), &[]);
    expect_refused(&output, FAILED, &["cannot write to 'file:///proc/x/'", "LOCATION_NOT_WRITABLE", "job.sql:3:"]);
}

#[test]
fn s3_location_not_writable() {
    let desk = Desk::new();
    let prefix = unique("forbidden");
    let copy = format!("COPY (SELECT n_name FROM nation) TO 's3://{BUCKET}/{prefix}/';\n");
    let script = format!("{}{copy}", s3_table(&TPCH_URL));
    let output = desk.run_with(&script, &[], &S3.read_only().envs());
    expect_refused(&output, FAILED, &[&prefix, "denied"]);
    assert!(S3.keys(BUCKET, &prefix).unwrap().is_empty());
}

#[test]
fn port_in_use() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flags in [["--listen", &address, "--http", "127.0.0.1:0"], ["--http", &address, "--listen", "127.0.0.1:0"]] {
        let args: Vec<&str> = std::iter::once("scheduler").chain(flags).collect();
        let output = Selvedge::new().unwrap().dir(Desk::new().dir.path()).run(&args).unwrap();
        expect_refused(&output, FAILED, &[&address, "in use", "PORT_IN_USE"]);
    }
}

#[test]
fn scheduler_unreachable() {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let cli = Selvedge::new().unwrap().limit(Duration::from_secs(60));
    for command in [vec!["sql", "-c", "SELECT 1"], vec!["runs", "list"], vec!["executors", "list"]] {
        let args: Vec<&str> = ["--scheduler", &url].into_iter().chain(command).collect();
        expect_refused(&cli.run(&args).unwrap(), NO_SCHEDULER, &[&free.to_string()]);
    }
}

#[test]
fn no_scheduler_named() {
    let cli = Selvedge::new().unwrap().limit(Duration::from_secs(60));
    for args in [["runs", "list"], ["executors", "list"]] {
        expect_refused(&cli.run(&args).unwrap(), NO_SCHEDULER, &["--scheduler"]);
    }
}

#[test]
fn unknown_config_key() {
    let desk = Desk::new();
    let file = desk.write("selvedge.toml", "listn = '127.0.0.1:0'\n");
    let cli = Selvedge::new().unwrap().dir(desk.dir.path());
    let output = cli.run(&["scheduler", "--config", &file]).unwrap();
    expect_refused(&output, USAGE, &["listn", "listen", "selvedge.toml"]);
    let file = desk.write("executor.toml", "vcors = 2\n");
    let output = cli.run(&["executor", "--config", &file, "--scheduler", "http://127.0.0.1:1"]).unwrap();
    expect_refused(&output, USAGE, &["vcors", "vcores", "executor.toml"]);
    let output = cli.env("SELVEDGE_LISTN", "127.0.0.1:0").run(&["scheduler"]).unwrap();
    expect_refused(&output, USAGE, &["listen", "SELVEDGE_LISTN"]);
}

#[test]
fn unknown_setting() {
    let desk = Desk::new();
    let output = desk.run("SET selvedge.write.target_file_byte = '1MiB';\n", &[]);
    expect_refused(
        &output,
        FAILED,
        &["selvedge.write.target_file_byte", "selvedge.write.target_file_bytes", "job.sql:1:"],
    );
}

#[test]
fn wrong_usage() {
    let cli = Selvedge::new().unwrap();
    expect_refused(&cli.run(&["frobnicate"]).unwrap(), USAGE, &["frobnicate"]);
    expect_refused(&cli.run(&["run"]).unwrap(), USAGE, &["usage"]);
    expect_refused(&cli.run(&["run", "x.sql", "-p", "no-equals-sign"]).unwrap(), USAGE, &["no-equals-sign"]);
    expect_refused(
        &cli.run(&["run", Path::new("x.sql").to_str().unwrap(), "--vcores", "0"]).unwrap(),
        USAGE,
        &["vcores"],
    );
}
