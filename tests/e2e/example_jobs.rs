//! The jobs under jobs/, which are real: submitted to the cluster over s3://, their output compared with the same query in
//! DuckDB, row for row.

use std::process::Command;

use selvedge_tests::cache;
use selvedge_tests::cli::{Selvedge, program};
use selvedge_tests::readback::{Source, duckdb};
use selvedge_tests::rows::Order;
use selvedge_tests::tpch::TABLES;
use tempfile::TempDir;

use crate::stage::{BUCKET, CLUSTER, LONG, S3, TPCH_URL, heavy, same, unique};

fn job(name: &str) -> String {
    selvedge_tests::checkout().join("jobs").join(name).to_string_lossy().into_owned()
}

fn sources(output: &str) -> Vec<Source> {
    let tables = TABLES.iter().map(|t| Source::new(t, &format!("{}/{t}", *TPCH_URL)));
    tables.chain([Source::new("written", output)]).collect()
}

/// The job's output and what DuckDB makes of the same sources.
#[track_caller]
fn expect_same(written: &str, wanted: &str, sources: &[Source]) {
    let access = S3.access();
    let got = duckdb(written, sources, Some(&access)).unwrap();
    let want = duckdb(wanted, sources, Some(&access)).unwrap();
    assert!(!want.rows.is_empty());
    same(&got, &want, Order::Any, "the job's output and DuckDB's");
}

#[test]
fn the_tpch_revenue_mart() {
    let _turn = heavy();
    let mart = format!("s3://{BUCKET}/{}", unique("revenue"));
    let cli = CLUSTER.cli().unwrap().limit(LONG);
    let (file, data) = (job("tpch_revenue_mart.sql"), format!("data={}", *TPCH_URL));
    let target = format!("mart={mart}");
    // Twice: a month that is written again is replaced.
    for _ in 0..2 {
        cli.run(&["submit", "--wait", &file, "-p", &data, "-p", &target]).unwrap().succeeded().unwrap();
    }
    expect_same(
        "SELECT nation, market_segment, orders, customers, items, revenue, CAST(month AS VARCHAR) FROM written",
        "SELECT n_name, c_mktsegment, count(DISTINCT o_orderkey), count(DISTINCT c_custkey), count(*),
                CAST(sum(l_extendedprice * (1 - l_discount)) AS DECIMAL(38, 2)), strftime(o_orderdate, '%Y-%m')
         FROM lineitem JOIN orders ON l_orderkey = o_orderkey JOIN customer ON o_custkey = c_custkey
              JOIN nation ON c_nationkey = n_nationkey
         WHERE o_orderdate BETWEEN DATE '1992-01-01' AND DATE '1998-12-31' GROUP BY ALL",
        &sources(&format!("{mart}/revenue_mart")),
    );
}

/// Events of 50 users as JSON lines, gzipped, and the same as Parquet for DuckDB. Amounts are quarters: sums are exact.
const EVENTS: &str = r#"
import datetime, gzip, json, os, random, sys
import pyarrow as pa, pyarrow.parquet as pq
root, seed = sys.argv[1], random.Random(7)
events, start = [], datetime.datetime(2024, 3, 1)
for user in range(50):
    at = start + datetime.timedelta(seconds=seed.randrange(86400))
    for _ in range(seed.randrange(1, 80)):
        at += datetime.timedelta(seconds=seed.choice([0, 20, 400, 1799, 1800, 1801, 9000, 90000]))
        events.append({"event_id": len(events), "user_id": user, "event_time": at.isoformat(),
                       "page": seed.choice(["/", "/cart", "/help", "/pay"]), "amount": seed.choice([None, 0.25, 19.75])})
os.makedirs(f"{root}/json"), os.makedirs(f"{root}/parquet")
half = len(events) // 2
gzip.open(f"{root}/json/a.json.gz", "wt").write("".join(json.dumps(e) + "\n" for e in events[:half]))
gzip.open(f"{root}/json/b.json.gz", "wt").write("".join(json.dumps(e) + "\n" for e in events[half:]))
for e in events: e["event_time"] = datetime.datetime.fromisoformat(e["event_time"])
pq.write_table(pa.Table.from_pylist(events), f"{root}/parquet/events.parquet")
"#;

#[test]
fn the_events_sessionisation() {
    let _turn = heavy();
    let local = TempDir::new().unwrap();
    let made = Command::new(cache::python().unwrap()).args(["-c", EVENTS]).arg(local.path()).status().unwrap();
    assert!(made.success());
    let prefix = unique("events");
    S3.upload(&local.path().join("json"), BUCKET, &format!("{prefix}/in")).unwrap();
    let events = format!("events=s3://{BUCKET}/{prefix}/in/");
    let sessions = format!("sessions=s3://{BUCKET}/{prefix}/out/");
    let args = ["submit", "--wait", &job("events_sessionisation.sql"), "-p", &events, "-p", &sessions];
    CLUSTER.cli().unwrap().limit(LONG).run(&args).unwrap().succeeded().unwrap();
    expect_same(
        "SELECT user_id, session_number, started_at, ended_at, events, pages, landing_page, amount,
                CAST(day AS DATE) FROM written",
        "WITH p AS (SELECT *, lag(event_time) OVER (PARTITION BY user_id ORDER BY event_time, event_id) AS before FROM events),
              n AS (SELECT *, sum(CASE WHEN before IS NULL OR event_time > before + INTERVAL 30 MINUTE THEN 1 ELSE 0 END)
                              OVER (PARTITION BY user_id ORDER BY event_time, event_id) AS session FROM p)
         SELECT user_id, CAST(session AS BIGINT), min(event_time), max(event_time), count(*), count(DISTINCT page),
                first(page ORDER BY event_time, event_id), sum(coalesce(amount, 0)), CAST(min(event_time) AS DATE)
         FROM n GROUP BY user_id, session",
        &[
            Source::new("events", &local.path().join("parquet").to_string_lossy()),
            Source::new("written", &format!("s3://{BUCKET}/{prefix}/out")),
        ],
    );
}

#[test]
fn the_customer_360_crate_run_as_its_own_program() {
    let _turn = heavy();
    let target = format!("s3://{BUCKET}/{}", unique("customer_360"));
    let job = CLUSTER.point(Selvedge::of(program("customer-360", "CUSTOMER_360_BIN").unwrap())).limit(LONG);
    job.run(&[TPCH_URL.as_str(), &target]).unwrap().succeeded().unwrap();
    expect_same(
        "SELECT customer, name, orders, items, returns, first_order, last_order, lifetime_value, segment_rank,
                CAST(segment AS VARCHAR) FROM written",
        "WITH value AS (SELECT l_orderkey, sum(l_extendedprice * (1 - l_discount)) AS order_value, count(*) AS items,
                               count(*) FILTER (l_returnflag = 'R') AS returns FROM lineitem GROUP BY l_orderkey),
              history AS (SELECT o_custkey, count(*) AS orders, min(o_orderdate) AS first_order, max(o_orderdate) AS last_order,
                                 CAST(sum(items) AS BIGINT) AS items, CAST(sum(returns) AS BIGINT) AS returns,
                                 sum(order_value) AS lifetime
                          FROM orders JOIN value ON o_orderkey = l_orderkey GROUP BY o_custkey),
              profile AS (SELECT c_custkey, c_name, coalesce(orders, 0) AS orders, coalesce(items, 0) AS items,
                                 coalesce(returns, 0) AS returns, first_order, last_order,
                                 CAST(coalesce(lifetime, 0) AS DECIMAL(38, 2)) AS lifetime_value, c_mktsegment
                          FROM customer LEFT JOIN history ON c_custkey = o_custkey)
         SELECT c_custkey, c_name, orders, items, returns, first_order, last_order, lifetime_value,
                row_number() OVER (PARTITION BY c_mktsegment ORDER BY lifetime_value DESC, c_custkey), c_mktsegment
         FROM profile",
        &sources(&target),
    );
}

#[test]
fn a_dataframe_job_without_a_scheduler_says_so() {
    let job = Selvedge::of(program("customer-360", "CUSTOMER_360_BIN").unwrap());
    let output = job.run(&["in", "out"]).unwrap();
    assert_eq!(output.code, 3, "{}", output.report());
    assert!(output.stderr.contains("SELVEDGE_SCHEDULER"), "{}", output.report());
}
