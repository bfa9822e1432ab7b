//! Columns' defaults: declared, refused, and taken where a column is not named.

use selvedge_engine::delta::DEFAULT_KEY;

use super::*;

const MAKE: &str = "CREATE TABLE t (id BIGINT NOT NULL, n SMALLINT DEFAULT 5, s STRING NOT NULL DEFAULT 'it''s', \
                    day DATE DEFAULT '2026-01-31', ds STRING) PARTITIONED BY (ds)";

#[tokio::test]
async fn defaults_are_kept_with_the_columns() {
    let mut bench = Bench::new().await;
    let write = bench.write(MAKE).await;
    let default = |name: &str| {
        let field = write.schema.field_with_name(name).unwrap();
        field.metadata().get(DEFAULT_KEY).cloned().unwrap_or_default()
    };
    assert_eq!(["id", "n", "s", "day"].map(default), ["", "5", "'it''s'", "'2026-01-31'"]);
    for (sql, expected) in [
        ("CREATE TABLE t (a INT DEFAULT 'x')", "INVALID_DEFAULT 1:17 'x' cannot be the default of column a, a Int32"),
        ("CREATE TABLE t (a TINYINT DEFAULT 1000)", "INVALID_DEFAULT 1:17"),
        ("CREATE TABLE t (a DATE DEFAULT 'soon')", "INVALID_DEFAULT 1:17"),
        ("CREATE TABLE t (a INT NOT NULL DEFAULT NULL)", "INVALID_DEFAULT 1:17"),
        ("CREATE TABLE t (a INT, b INT DEFAULT a + 1)", "INVALID_DEFAULT 1:24"),
        ("CREATE TABLE t (a INT DEFAULT sum(1))", "INVALID_DEFAULT 1:17"),
        ("CREATE TABLE t (a INT, b INT DEFAULT 1) PARTITIONED BY (b)", "INVALID_DEFAULT 1:24 partition column b"),
        ("CREATE TABLE t (a INT DEFAULT 1) STORED AS PARQUET", "NOT_SUPPORTED 1:17 column a cannot have a default"),
    ] {
        let found = bench.refusal(sql).await;
        assert!(found.starts_with(expected), "{sql}\nexpected {expected}\nfound    {found}");
    }
}

#[tokio::test]
async fn an_insert_takes_the_defaults_of_columns_that_it_does_not_name() {
    let mut bench = Bench::new().await;
    // The table is there as after its statement; its log is not.
    let def = bench.write(MAKE).await.create.unwrap();
    let copy = bench.planner.engine.catalog().fork();
    copy.create_table(def, false, false).unwrap();
    let engine = bench.planner.engine.with_catalog(Arc::clone(&copy));
    bench.planner = Planner::new(engine, DurableCatalog::rehearsed(copy));
    let write = bench.write("INSERT INTO t (ds, id) SELECT 'a', 1").await;
    assert_eq!(columns(&write), ["id Int64", "n Int16", "s Utf8", "day Date32", "ds Utf8"]);
    let input = write.plan.inputs()[0].clone();
    let state = bench.planner.engine.session(&Settings::new()).unwrap();
    let rows =
        SessionContext::new_with_state(state).execute_logical_plan(input).await.unwrap().collect().await.unwrap();
    let shown = datafusion::arrow::util::pretty::pretty_format_batches(&rows).unwrap().to_string();
    assert!(shown.contains("| 1  | 5 | it's | 2026-01-31 | a  |"), "{shown}");
    let found = bench.refusal("INSERT INTO t (ds) SELECT 'a'").await;
    assert!(found.starts_with("SCHEMA_MISMATCH 1:13 column id of public.t is NOT NULL"), "{found}");
    let script = format!("{}; INSERT INTO u (ds, id) SELECT 'a', 1", MAKE.replace("TABLE t", "TABLE u"));
    assert_eq!(bench.check(&script).await, [""; 0]);
}
