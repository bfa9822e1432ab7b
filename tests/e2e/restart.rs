//! A scheduler killed and started again on the same store: what was created is there, and nobody else may use the store.

use selvedge_tests::cluster::ClusterOptions;
use selvedge_tests::rows::Order;

use crate::stage::{BUCKET, heavy, same, tpch_cluster, unique};

#[test]
fn the_tables_of_a_killed_scheduler_are_there_again() {
    let _turn = heavy();
    let mut cluster = tpch_cluster(ClusterOptions::default());
    let cli = cluster.cli().unwrap();
    let schema = unique("kept");
    let script = format!(
        "CREATE SCHEMA {schema} LOCATION 's3://{BUCKET}/{schema}/';
         CREATE TABLE {schema}.names PARTITIONED BY (region) AS
           SELECT n_nationkey, n_name, r_name AS region FROM nation JOIN region ON n_regionkey = r_regionkey;
         CREATE TABLE {schema}.empty (id BIGINT NOT NULL, price DECIMAL(9, 2));
         CREATE VIEW {schema}.asian (key, name) AS SELECT n_nationkey, n_name FROM {schema}.names WHERE region = 'ASIA';
         CREATE TABLE {schema}.gone AS SELECT 1 AS a;
         DROP TABLE {schema}.gone;"
    );
    cli.run(&["sql", "-c", &script]).unwrap().succeeded().unwrap();
    let looks = [
        format!("SHOW TABLES IN {schema}"),
        format!("DESCRIBE {schema}.empty"),
        format!("SELECT * FROM {schema}.asian ORDER BY key"),
        format!("SELECT region, count(*) FROM {schema}.names GROUP BY region"),
        format!("SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = '{schema}'"),
        format!("REFRESH TABLE {schema}.names"),
        "SELECT count(*) FROM lineitem".to_owned(),
    ];
    let look = |sql: &String| cli.query(sql).unwrap();
    let before: Vec<_> = looks.iter().map(look).collect();
    assert_eq!(before[2].rows.len(), 5, "{:?}", before[2]);
    assert_eq!(before[5].rows[0][1], "5", "{:?}", before[5]);
    cluster.restart_scheduler(&[]).unwrap();
    for (sql, before) in looks.iter().zip(&before) {
        same(&look(sql), before, Order::Any, sql);
    }
    // It is written on as before.
    let insert = format!("INSERT INTO {schema}.names SELECT 100, 'ATLANTIS', 'ASIA'");
    cli.run(&["sql", "-c", &insert]).unwrap().succeeded().unwrap();
    assert_eq!(cli.query(&format!("SELECT count(*) FROM {schema}.asian")).unwrap().single().unwrap(), "6");
}

#[test]
fn a_store_in_use_is_refused_by_name() {
    let _turn = heavy();
    let cluster = tpch_cluster(ClusterOptions { executors: 1, ..Default::default() });
    let args = ["scheduler", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--store", &cluster.store()];
    let output = cluster.cli().unwrap().run(&args).unwrap();
    assert_eq!(output.code, 1, "{}", output.report());
    assert!(output.stderr.contains("STORE_IN_USE") && output.stderr.contains("scheduler.db"), "{}", output.report());
}

#[test]
fn a_data_directory_keeps_its_tables_between_commands() {
    let dir = tempfile::TempDir::new().unwrap();
    let cli = selvedge_tests::cli::Selvedge::new().unwrap().dir(dir.path());
    let state = dir.path().join("state").to_string_lossy().into_owned();
    let run = |sql: &str| cli.run(&["--format", "csv", "sql", "--data-dir", &state, "-c", sql]).unwrap();
    run("CREATE TABLE t AS SELECT 42 AS answer").succeeded().unwrap();
    assert_eq!(run("SELECT * FROM t").succeeded().unwrap().rows().unwrap().single().unwrap(), "42");
    let forgotten = cli.run(&["sql", "-c", "SELECT * FROM t"]).unwrap();
    assert_eq!(forgotten.code, 1, "{}", forgotten.report());
}
