//! Jobs as people write them: scripts with header and parameters, many statements, every input format, views, all on the
//! cluster over s3://. The jobs under jobs/ have tests of their own in `example_jobs`.

use std::process::Command;

use selvedge_tests::cache;
use selvedge_tests::cli::Selvedge;
use selvedge_tests::readback::{Source, duckdb};
use selvedge_tests::rows::Order;
use tempfile::TempDir;

use crate::stage::{BUCKET, CLUSTER, DATA, LONG, ORACLE, S3, heavy, same, unique};

#[test]
fn a_script_with_header_and_parameters_runs_with_submit_wait() {
    let _turn = heavy();
    let table = unique("daily");
    let location = format!("s3://{BUCKET}/{table}/");
    let script = CLUSTER.dir().join("daily.sql");
    let text = format!(
        "-- @job daily_orders
-- @param from date
-- @param days int = 3
-- @param status string = F
CREATE EXTERNAL TABLE IF NOT EXISTS {table} (o_orderkey BIGINT, o_totalprice DECIMAL(15, 2), ds DATE)
  STORED AS PARQUET PARTITIONED BY (ds) LOCATION '{location}';
CREATE OR REPLACE VIEW {table}_source AS
  SELECT * FROM orders WHERE o_orderdate >= DATE '{{{{ from }}}}'
    AND o_orderdate < DATE '{{{{ from }}}}' + INTERVAL '{{{{ days }}}}' DAY AND o_orderstatus = '{{{{ status }}}}';
INSERT OVERWRITE {table} SELECT o_orderkey, o_totalprice, o_orderdate FROM {table}_source;
DROP VIEW {table}_source;
"
    );
    std::fs::write(&script, text).unwrap();
    let cli = CLUSTER.cli().unwrap();
    let file = script.to_string_lossy();
    for days in ["3", "5"] {
        let days = format!("days={days}");
        let args = ["submit", &file, "-p", "from=1994-03-01", "-p", &days, "--wait"];
        cli.run(&args).unwrap().succeeded().unwrap();
    }
    let want = "SELECT o_orderkey, o_totalprice, o_orderdate FROM orders WHERE o_orderstatus = 'F' \
                AND o_orderdate >= DATE '1994-03-01' AND o_orderdate < DATE '1994-03-06'";
    let sql = "SELECT o_orderkey, o_totalprice, CAST(ds AS DATE) FROM t";
    let got = duckdb(sql, &[Source::new("t", &location)], Some(&S3.access())).unwrap();
    same(&got, &ORACLE.query(want).unwrap(), Order::Any, "daily orders");
    let listed = cli.run(&["--format", "csv", "runs", "list"]).unwrap().succeeded().unwrap();
    assert!(listed.stdout.contains("daily_orders"), "the header names the job\n{}", listed.report());
}

#[test]
fn a_failed_statement_names_itself_and_later_ones_do_not_run() {
    let _turn = heavy();
    let table = unique("never");
    let script = CLUSTER.dir().join("fails.sql");
    let text = format!(
        "SELECT count(*) FROM nation;\nSELECT 1 / (n_nationkey - n_nationkey) FROM nation;\n\
         CREATE TABLE {table} AS SELECT * FROM nation;\n"
    );
    std::fs::write(&script, text).unwrap();
    let cli = CLUSTER.cli().unwrap();
    let output = cli.run(&["submit", &script.to_string_lossy(), "--wait"]).unwrap();
    assert_eq!(output.code, 1, "{}", output.report());
    assert!(
        output.stderr.contains("fails.sql:2:") && output.stderr.to_lowercase().contains("zero"),
        "{}",
        output.report()
    );
    assert_eq!(
        cli.run(&["sql", "-c", &format!("SELECT * FROM {table}")]).unwrap().code,
        1,
        "the third must not have run"
    );
}

/// Writes the same 1,000 people in every format we read; returns the directory.
fn people() -> TempDir {
    let dir = TempDir::new().unwrap();
    let make = r#"
import gzip, json, os, sys
import pyarrow as pa, pyarrow.compute, pyarrow.parquet as pq
root = sys.argv[1]
people = [{"id": i, "name": f"person {i}", "born": f"{1950 + i % 60}-01-02", "city": ["Oslo", "Rome", "Lima"][i % 3]} for i in range(1000)]
lines = "".join(json.dumps(p) + "\n" for p in people)
table = "id,name,born,city\n" + "".join(f'{p["id"]},"{p["name"]}",{p["born"]},{p["city"]}\n' for p in people)
for d in ["csv", "gz", "json", "zst", "glob"]: os.makedirs(f"{root}/{d}")
open(f"{root}/csv/people.csv", "w").write(table)
gzip.open(f"{root}/gz/people.csv.gz", "wt").write(table)
open(f"{root}/json/people.json", "w").write(lines)
with pa.CompressedOutputStream(f"{root}/zst/people.json.zst", "zstd") as out: out.write(lines.encode())
arrow = pa.Table.from_pylist(people)
for city in ["Oslo", "Rome", "Lima"]:
    os.makedirs(f"{root}/hive/city={city}")
    part = arrow.filter(pa.compute.equal(arrow["city"], city))
    pq.write_table(part.drop_columns(["city"]), f"{root}/hive/city={city}/data.parquet")
    pq.write_table(part, f"{root}/glob/people-{city}.parquet")
pq.write_table(arrow.slice(0, 1), f"{root}/glob/other.parquet")
"#;
    let done = Command::new(cache::python().unwrap()).args(["-c", make]).arg(dir.path()).status().unwrap();
    assert!(done.success());
    dir
}

#[test]
fn every_input_format_gives_the_same_rows() {
    let _turn = heavy();
    let people = people();
    let cli = CLUSTER.cli().unwrap();
    let root = people.path().display();
    let csv = "(id BIGINT, name VARCHAR, born DATE, city VARCHAR) STORED AS CSV";
    let header = "OPTIONS ('format.has_header' 'true')";
    let forms = [
        ("csv", format!("{csv} LOCATION '{root}/csv/' {header}")),
        ("gz", format!("{csv} LOCATION '{root}/gz/' {header}")),
        ("json", format!("STORED AS JSON LOCATION '{root}/json/'")),
        ("zst", format!("STORED AS JSON LOCATION '{root}/zst/'")),
        ("hive", format!("STORED AS PARQUET LOCATION '{root}/hive/'")),
        ("glob", format!("STORED AS PARQUET LOCATION '{root}/glob/people-*.parquet'")),
    ];
    for (name, form) in forms {
        let table = unique(name);
        let sql = format!(
            "CREATE EXTERNAL TABLE {table} {form};
             SELECT city, count(*), min(name), max(CAST(born AS DATE)), sum(id) FROM {table} GROUP BY city ORDER BY city"
        );
        let rows = cli.query(&sql).unwrap().rows;
        let want = [
            ["Lima", "333", "person 101", "2009-01-02", "166500"],
            ["Oslo", "334", "person 0", "2007-01-02", "166833"],
            ["Rome", "333", "person 1", "2008-01-02", "166167"],
        ];
        assert_eq!(rows, want, "{name}");
    }
}

#[test]
fn the_small_statements_answer() {
    let _turn = heavy();
    let cli = CLUSTER.cli().unwrap();
    let tables = cli.query("SHOW TABLES").unwrap();
    assert!(tables.rows.iter().flatten().any(|cell| cell == "lineitem"), "{tables:?}");
    let columns = cli.query("DESCRIBE nation").unwrap();
    assert!(columns.rows.iter().flatten().any(|cell| cell == "n_name"), "{columns:?}");
    let plan = cli
        .run(&["sql", "-c", "EXPLAIN SELECT n_regionkey, count(*) FROM nation GROUP BY n_regionkey"])
        .unwrap()
        .succeeded()
        .unwrap();
    assert!(plan.stdout.contains("AggregateExec") && plan.stdout.contains("stage 1"), "{}", plan.report());
    // Runs the query and shows its stages, not its rows.
    let analyzed = cli.query("EXPLAIN ANALYZE SELECT n_regionkey, count(*) FROM nation GROUP BY n_regionkey").unwrap();
    let read: u64 = analyzed.rows.iter().map(|stage| stage[2].parse::<u64>().unwrap()).sum();
    assert!(read == 25 && analyzed.rows[0][10].contains("Aggregate"), "{analyzed:?}");
    // A union whose tasks have plans of different shapes: both rows come.
    let union = cli.query("SELECT n_nationkey FROM nation WHERE n_nationkey = 1 UNION ALL SELECT 2").unwrap();
    assert_eq!(union.rows.len(), 2, "{union:?}");
    // A window over input that is empty at run time: ends.
    let window = "SELECT sum(n_nationkey) OVER (PARTITION BY n_regionkey) FROM nation WHERE n_name LIKE 'no such%'";
    assert!(cli.query(window).unwrap().rows.is_empty());
    let json =
        cli.run(&["--format", "json", "sql", "-c", "SELECT 1 AS one, 'x' AS letter"]).unwrap().succeeded().unwrap();
    assert!(json.json().unwrap().to_string().contains("letter"), "{}", json.report());
}

#[test]
fn one_big_file_is_read_by_many_tasks() {
    let _turn = heavy();
    let name = unique("one_file");
    let cli = CLUSTER.cli().unwrap();
    let copy = format!("COPY (SELECT * FROM lineitem) TO 's3://{BUCKET}/{name}.parquet' STORED AS PARQUET;");
    cli.run(&["sql", "-c", &copy]).unwrap().succeeded().unwrap();
    let script = CLUSTER.dir().join("one_file.sql");
    let text = format!(
        "SET selvedge.planner.target_partitions = 8;\n\
         CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION 's3://{BUCKET}/{name}.parquet';\n\
         SELECT l_returnflag, sum(l_quantity) FROM {name} GROUP BY l_returnflag;\n"
    );
    std::fs::write(&script, text).unwrap();
    let output =
        cli.run(&["--format", "json", "submit", &script.to_string_lossy(), "--wait"]).unwrap().succeeded().unwrap();
    let run = output.run_id().unwrap();
    let record = CLUSTER.fleet().unwrap().wait_final(&run, LONG).unwrap();
    let scan = record
        .statements
        .iter()
        .flat_map(|s| &s.stages)
        .find(|s| s.counters.unwrap_or_default().rows_read > 0)
        .unwrap();
    assert!(scan.tasks_total >= 4, "the scan had {} tasks: {}", scan.tasks_total, scan.description);
}

#[test]
fn run_works_embedded_without_a_cluster() {
    let dir = TempDir::new().unwrap();
    let script = dir.path().join("job.sql");
    let text = format!(
        "CREATE EXTERNAL TABLE orders STORED AS PARQUET LOCATION '{}/';\n\
         CREATE TABLE priorities AS SELECT o_orderpriority, count(*) AS n FROM orders GROUP BY o_orderpriority;\n\
         SELECT * FROM priorities ORDER BY o_orderpriority;\n",
        DATA.join("orders").display()
    );
    std::fs::write(&script, text).unwrap();
    let state = dir.path().join("state");
    let cli = Selvedge::new().unwrap().dir(dir.path()).limit(LONG);
    let args = ["run", &script.to_string_lossy(), "--data-dir", &state.to_string_lossy(), "--executors", "2"];
    let output = cli.run(&args).unwrap().succeeded().unwrap();
    assert!(output.stdout.contains("1-URGENT"), "{}", output.report());
}
