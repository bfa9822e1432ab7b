//! Managed tables over s3://: made, appended to and overwritten, read back by the Python package `deltalake`, and by ours at
//! earlier versions.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use selvedge_tests::cluster::{Cluster, ClusterOptions};
use selvedge_tests::readback::{Source, duckdb, python};
use selvedge_tests::rows::Rows;

use crate::stage::{BUCKET, CLUSTER, S3, heavy, unique};

fn execute(sql: &str) {
    CLUSTER.cli().unwrap().run(&["sql", "-c", sql]).unwrap().succeeded().unwrap();
}

fn query(sql: &str) -> Vec<Vec<String>> {
    CLUSTER.cli().unwrap().query(sql).unwrap().rows
}

/// As the Python package sees it.
fn read_back(sql: &str, location: &str) -> Rows {
    duckdb(sql, &[Source::delta("t", location)], Some(&S3.access())).unwrap()
}

fn place(name: &str) -> (String, String) {
    let table = unique(name);
    let location = format!("s3://{BUCKET}/{table}/");
    (table, location)
}

const COUNTS: &str = "SELECT region, count(*) FROM t GROUP BY region ORDER BY region";

#[test]
fn a_table_is_made_filled_and_overwritten_and_every_version_stays_readable() {
    let _turn = heavy();
    let (table, location) = place("managed");
    execute(&format!(
        "CREATE TABLE {table} PARTITIONED BY (region) LOCATION '{location}' AS
           SELECT n_nationkey, n_name, r_name AS region FROM nation JOIN region ON n_regionkey = r_regionkey;
         INSERT INTO {table} (n_nationkey, region) VALUES (100, 'EUROPE'), (101, NULL);
         INSERT OVERWRITE {table} SELECT n_nationkey, 'new', 'ASIA' FROM nation WHERE n_nationkey < 2;
         INSERT OVERWRITE {table} PARTITION (region = 'AFRICA') SELECT n_nationkey, n_name FROM nation WHERE false;
         INSERT OVERWRITE {table} SELECT n_nationkey, n_name, 'AMERICA' FROM nation WHERE false"
    ));
    let last = [["AMERICA", "5"], ["ASIA", "2"], ["EUROPE", "6"], ["MIDDLE EAST", "5"], ["", "1"]];
    assert_eq!(read_back(COUNTS, &location).rows, last);
    let own = |version: &str| query(&COUNTS.replace("FROM t", &format!("FROM {table}{version}")));
    assert_eq!(own(""), last);
    let first = [["AFRICA", "5"], ["AMERICA", "5"], ["ASIA", "5"], ["EUROPE", "5"], ["MIDDLE EAST", "5"]];
    assert_eq!(own(" FOR VERSION AS OF 0"), first);
    let then = duckdb(COUNTS, &[Source::delta("t", &location).at_version(0)], Some(&S3.access())).unwrap();
    assert_eq!(then.rows, first);
    assert_eq!(own(" FOR VERSION AS OF 2")[2], ["ASIA", "2"]);
    // Statistics are there for other engines to skip files by.
    let program = "import json, sys, deltalake; t = deltalake.DeltaTable(sys.argv[2], storage_options=json.loads(sys.argv[1])); \
                   print(sorted(n for n in t.get_add_actions(flatten=True).schema.names))";
    let known = python(program, &S3.access(), &[&location]).unwrap();
    for name in ["min.n_nationkey", "max.n_name", "null_count.n_name", "num_records"] {
        assert!(known.contains(name), "{name} in {known}");
    }
}

#[test]
fn a_table_without_rows_is_one_and_takes_the_columns_that_replace_it() {
    let _turn = heavy();
    let (table, location) = place("replaced");
    execute(&format!("CREATE TABLE {table} (id BIGINT NOT NULL, at TIMESTAMP, n INT) LOCATION '{location}'"));
    assert_eq!(read_back("SELECT count(*) FROM t", &location).rows, [["0"]]);
    let refused = CLUSTER.cli().unwrap().run(&["sql", "-c", &format!("INSERT INTO {table} (n) VALUES (1)")]).unwrap();
    assert!(refused.code != 0 && refused.stderr.contains("NOT NULL"), "{}", refused.report());
    execute(&format!("INSERT INTO {table} VALUES (1, TIMESTAMP '2026-01-31 10:00:00', 2)"));
    execute(&format!(
        "CREATE OR REPLACE TABLE {table} LOCATION '{location}' AS SELECT 'a' AS x, 1.5 AS y UNION ALL SELECT 'b', 2"
    ));
    assert_eq!(
        read_back("SELECT x, CAST(y AS VARCHAR) FROM t ORDER BY x", &location).rows,
        [["a", "1.5"], ["b", "2.0"]]
    );
    assert_eq!(query(&format!("SELECT id, n FROM {table} FOR VERSION AS OF 1")), [["1", "2"]]);
    // A second one of that name or at that place is refused, and leaves the first one alone.
    for sql in [
        format!("CREATE TABLE {table} (a INT)"),
        format!("CREATE TABLE {} (a INT) LOCATION '{location}'", unique("other")),
        format!("CREATE TABLE {} LOCATION '{location}' AS SELECT 1 AS a", unique("other")),
    ] {
        let refused = CLUSTER.cli().unwrap().run(&["sql", "-c", &sql]).unwrap();
        assert!(refused.code != 0, "{}", refused.report());
    }
    execute(&format!("CREATE TABLE IF NOT EXISTS {table} (other INT)"));
    assert_eq!(query(&format!("SELECT count(*) FROM {table}")), [["2"]]);
}

#[test]
fn sixteen_writers_at_once_lose_no_row_and_double_none() {
    let _turn = heavy();
    let (table, location) = place("crowd");
    execute(&format!("CREATE TABLE {table} (writer INT, id BIGINT, p INT) PARTITIONED BY (p) LOCATION '{location}'"));
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let table = &table;
            scope.spawn(move || {
                execute(&format!("INSERT INTO {table} SELECT {writer}, n_nationkey, {writer} % 4 FROM nation"));
            });
        }
    });
    let seen = "SELECT count(*), count(DISTINCT (writer, id)), count(DISTINCT writer) FROM t";
    assert_eq!(read_back(seen, &location).rows, [["400", "400", "16"]]);
    // Those that overwrite different partitions all succeed, too.
    std::thread::scope(|scope| {
        for p in 0..4 {
            let table = &table;
            scope.spawn(move || {
                execute(&format!(
                    "INSERT OVERWRITE {table} PARTITION (p = {p}) SELECT -1, count(*) FROM {table} WHERE p = {p}"
                ));
            });
        }
    });
    assert_eq!(
        read_back("SELECT writer, id, p FROM t ORDER BY p", &location).rows,
        [["-1", "100", "0"], ["-1", "100", "1"], ["-1", "100", "2"], ["-1", "100", "3"]]
    );
}

#[test]
fn what_was_read_and_has_changed_is_read_again() {
    let _turn = heavy();
    let (table, location) = place("counter");
    execute(&format!("CREATE TABLE {table} LOCATION '{location}' AS SELECT CAST(0 AS BIGINT) AS n"));
    // Each reads the table and replaces it: none may be lost, whatever they see of each other.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let table = &table;
            scope.spawn(move || execute(&format!("INSERT OVERWRITE {table} SELECT n + 1 FROM {table}")));
        }
    });
    assert_eq!(query(&format!("SELECT n FROM {table}")), [["3"]]);
}

/// A reader in another engine never sees a mix, while the table is overwritten again and again and the scheduler is killed.
#[test]
fn a_reader_never_sees_a_mix_while_overwrites_crash() {
    let _turn = heavy();
    let options = ClusterOptions { s3: Some(S3.access()), executors: 1, ..Default::default() };
    let mut cluster = Cluster::start(options).unwrap();
    let (table, location) = place("whole");
    let rows = |generation: usize| format!("SELECT {generation} AS g, value AS id FROM generate_series(1, 1000)");
    let run = |cluster: &Cluster, sql: &str| cluster.cli().unwrap().run(&["sql", "-c", sql]).unwrap();
    run(&cluster, &format!("CREATE TABLE {table} LOCATION '{location}' AS {}", rows(0))).succeeded().unwrap();
    let steps = ["files-completed", "journal-written", "log-committed", "completion-recorded", "publish-decided"];
    let (ended, looked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut last_generation = 0;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                let sql = "SELECT count(*), count(DISTINCT id), count(DISTINCT g) FROM t";
                assert_eq!(read_back(sql, &location).rows, [["1000", "1000", "1"]]);
                looked.fetch_add(1, Ordering::SeqCst);
            }
        });
        // A slow machine's reader has few looks in fifty overwrites: they go on in whole rounds of the steps, each of which ends
        // in an overwrite that comes to be, until it has had its share.
        let ends_here = |before: usize| before >= 50 && before.is_multiple_of(25) && looked.load(Ordering::SeqCst) > 20;
        for generation in (1..).take_while(|generation| !ends_here(generation - 1)) {
            last_generation = generation;
            let overwrite = format!("INSERT OVERWRITE {table} {}", rows(generation));
            if generation % 5 < 2 {
                let step = steps[generation / 5 % steps.len()];
                cluster.restart_scheduler(&[("SELVEDGE_FAULT", step)]).unwrap();
                assert_ne!(run(&cluster, &overwrite).code, 0, "{step}");
                cluster.restart_scheduler(&[]).unwrap();
            } else {
                run(&cluster, &overwrite).succeeded().unwrap();
            }
            assert!(!reader.is_finished(), "the reader saw a mix");
        }
        ended.store(true, Ordering::SeqCst);
        reader.join().unwrap();
    });
    assert!(looked.load(Ordering::SeqCst) > 20);
    let last = run(&cluster, &format!("SELECT max(g), count(*) FROM {table}")).succeeded().unwrap();
    assert!(last.stdout.contains(&last_generation.to_string()) && last.stdout.contains("1000"), "{}", last.report());
}
