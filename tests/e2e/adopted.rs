//! Delta tables that another engine made, with and without checkpoints and with odd partition values: read right, appended to,
//! and read back by that engine.

use selvedge_tests::readback::{Source, duckdb, python};
use selvedge_tests::rows::Order;

use crate::stage::{BUCKET, CLUSTER, S3, heavy, same, unique};

const WRITER: &str = include_str!("adopted.py");

const ALL: &str =
    "SELECT id, value, CAST(price AS VARCHAR) AS price, region, CAST(day AS VARCHAR) AS day FROM t ORDER BY id";

fn adopted(checkpoint: bool) {
    let _turn = heavy();
    let table = unique("adopted");
    let location = format!("s3://{BUCKET}/{table}");
    python(WRITER, &S3.access(), &[&location, if checkpoint { "true" } else { "false" }]).unwrap();
    let cli = CLUSTER.cli().unwrap();
    let run = |sql: &str| cli.run(&["sql", "-c", sql]).unwrap().succeeded().unwrap();
    run(&format!("CREATE EXTERNAL TABLE {table} STORED AS DELTA LOCATION '{location}'"));
    let theirs = || duckdb(ALL, &[Source::delta("t", &location)], Some(&S3.access())).unwrap();
    let ours = || cli.query(&ALL.replace("FROM t", &format!("FROM {table}"))).unwrap();
    assert_eq!(theirs().rows.len(), if checkpoint { 39 } else { 31 });
    same(&ours(), &theirs(), Order::Total, "as it was made");
    // Each odd value is found by itself.
    for (value, rows) in [("a/b", 4), ("50%", 4), ("ü=ö", 4), ("two words", 3), ("x:y?z", 4), ("tab\there", 4)] {
        let found = cli.query(&format!("SELECT count(*) FROM {table} WHERE region = '{value}'")).unwrap();
        assert_eq!(found.single().unwrap(), (rows + usize::from(checkpoint)).to_string(), "{value}");
    }
    run(&format!(
        "INSERT INTO {table} (id, value, region, day) VALUES (5000, 'ours', 'a/b', DATE '2026-01-31'), (5001, 'ours', NULL, NULL);
         INSERT OVERWRITE {table} PARTITION (region = 'ü=ö') (id, value, day) SELECT 6000, 'over', DATE '2026-02-01'"
    ));
    same(&ours(), &theirs(), Order::Total, "after we wrote to it");
    assert_eq!(
        cli.query(&format!("SELECT count(*) FROM {table} WHERE region = 'ü=ö'")).unwrap().single().unwrap(),
        "1"
    );
}

#[test]
fn a_table_of_another_engine_is_read_and_written() {
    adopted(false);
}

#[test]
fn a_table_of_another_engine_with_a_checkpoint_is_read_and_written() {
    adopted(true);
}
