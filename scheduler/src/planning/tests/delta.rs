//! Delta tables: adopted, and read at a version.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use selvedge_engine::catalog::Format;
use selvedge_engine::delta::{NewTable, Operation, create_table};

use super::*;

/// A Delta table without rows at `name` below the bench's directory.
async fn made(bench: &Bench, name: &str) -> String {
    let location = format!("{}/", bench.path(name));
    let columns = vec![Field::new("ds", DataType::Utf8, true), Field::new("id", DataType::Int64, false)];
    let table = NewTable {
        app_id: "test".into(),
        schema: Arc::new(Schema::new(columns)),
        partition_by: vec!["ds".into()],
        properties: Default::default(),
        description: None,
        adds: vec![],
        operation: Operation { name: "CREATE TABLE".into(), ..Default::default() },
        run: None,
    };
    let stores = bench.planner.engine.stores();
    create_table(stores, &Location::parse(&location).unwrap(), &table).await.unwrap();
    location
}

#[tokio::test]
async fn a_delta_table_is_adopted_as_its_log_tells() {
    let mut bench = Bench::new().await;
    let at = made(&bench, "d").await;
    bench.run(&format!("CREATE EXTERNAL TABLE d STORED AS DELTA LOCATION '{at}'")).await.unwrap();
    let def = bench.planner.engine.catalog().table(&"d".parse().unwrap()).unwrap();
    assert_eq!((def.partition_by, def.schema.field(0).name().as_str()), (vec!["ds".to_owned()], "id"));
    let script = "SELECT id, d.ds FROM d FOR VERSION AS OF 0; SHOW TABLES; DESCRIBE d; REFRESH TABLE d";
    assert_eq!(bench.run(script).await.unwrap().len(), 4);
    assert_eq!(bench.check("SELECT x.id FROM d VERSION AS OF 0 x WHERE ds = '1'").await, [""; 0]);
    for (sql, expected) in [
        (format!("CREATE EXTERNAL TABLE e STORED AS DELTA LOCATION '{}'", bench.path("none")), "NOT_A_DELTA_TABLE"),
        (format!("CREATE EXTERNAL TABLE e (id BIGINT) STORED AS DELTA LOCATION '{at}'"), "NOT_SUPPORTED 1:26"),
        (format!("CREATE EXTERNAL TABLE d STORED AS DELTA LOCATION '{at}'"), "TABLE_EXISTS"),
        ("SELECT * FROM d FOR VERSION AS OF 7".to_owned(), "VERSION_NOT_FOUND"),
        ("SELECT * FROM d FOR TIMESTAMP AS OF 'x'".to_owned(), "INVALID_VERSION"),
        ("SELECT * FROM d FOR VERSION AS OF now()".to_owned(), "SYNTAX_ERROR"),
        ("SELECT * FROM flat FOR VERSION AS OF 1".to_owned(), "NOT_SUPPORTED"),
    ] {
        let shown = match prepare(&sql, &BTreeMap::new()) {
            Ok(_) => bench.refusal(&sql).await,
            Err(failure) => shown(&failure),
        };
        assert!(shown.starts_with(expected), "{sql}: {shown}");
    }
}

/// What cannot be opened is listed, so that it can be dropped.
#[tokio::test]
async fn a_table_whose_log_is_gone_is_still_listed() {
    let mut bench = Bench::new().await;
    let at = made(&bench, "d").await;
    bench.run(&format!("CREATE EXTERNAL TABLE d STORED AS DELTA LOCATION '{at}'")).await.unwrap();
    std::fs::remove_dir_all(&at).unwrap();
    assert!(bench.refusal("SELECT * FROM d").await.starts_with("NOT_A_DELTA_TABLE"));
    bench.run("SHOW TABLES; DROP TABLE d").await.unwrap();
}

/// What the log of a write is to be told.
fn log(write: &PlannedWrite) -> &LogTarget {
    write.log.as_ref().expect("a write to a log")
}

#[tokio::test]
async fn a_write_is_planned_on_the_newest_version_and_knows_what_it_reads() {
    let mut bench = Bench::new().await;
    let at = made(&bench, "d").await;
    bench.run(&format!("CREATE EXTERNAL TABLE d STORED AS DELTA LOCATION '{at}'")).await.unwrap();
    let blind = bench.write("INSERT INTO d (id, ds) SELECT id, name FROM orders").await;
    let target = log(&blind);
    assert_eq!(target.base.as_ref().map(|b| b.version()), Some(0));
    assert!(target.reads.is_empty() && !target.replaces_columns);
    let whole = bench.write("INSERT OVERWRITE d SELECT id + 1, ds FROM d").await;
    assert!(log(&whole).reads.contains(&[Some("any".to_owned())]));
    let part = bench.write("INSERT OVERWRITE d PARTITION (ds = 'a') SELECT id FROM d WHERE ds = 'a'").await;
    assert!(log(&part).reads.contains(&[Some("a".to_owned())]));
    assert!(!log(&part).reads.contains(&[Some("b".to_owned())]));
    let plain = bench.write("INSERT INTO flat SELECT id, ds FROM d").await;
    assert!(plain.log.is_none());
    let refused = bench.refusal("INSERT INTO d (ds) VALUES ('a')").await;
    assert!(refused.starts_with("SCHEMA_MISMATCH") && refused.contains("NOT NULL"), "{refused}");
}

#[tokio::test]
async fn tables_are_managed_unless_said_otherwise() {
    let mut bench = Bench::new().await;
    let made = bench.write("CREATE TABLE t (id BIGINT NOT NULL, n SMALLINT) PARTITIONED BY (ds DATE)").await;
    assert_eq!((made.rows, made.create.as_ref().unwrap().format), (Rows::None, Format::Delta));
    assert!(log(&made).base.is_none());
    let filled = bench.write("CREATE TABLE t AS SELECT id, row_number() OVER (ORDER BY id) AS n FROM orders").await;
    assert_eq!(columns(&filled), ["id Int64", "n Int64"], "the log has no unsigned numbers");
    assert!(log(&filled).base.is_none() && filled.rows == Rows::OfPlan);
    let plain = bench.write("CREATE TABLE t STORED AS PARQUET AS SELECT 1 AS a").await;
    assert!(plain.log.is_none() && plain.create.unwrap().format == Format::Parquet);
    let at = self::made(&bench, "d").await;
    let replaced = bench.write(&format!("CREATE OR REPLACE TABLE t LOCATION '{at}' AS SELECT 1 AS a")).await;
    assert!(log(&replaced).base.is_some() && log(&replaced).replaces_columns);
    for (sql, expected) in [
        (format!("CREATE TABLE t LOCATION '{at}' AS SELECT 1 AS a"), "TABLE_EXISTS"),
        ("CREATE OR REPLACE TABLE flat AS SELECT 1 AS a".to_owned(), "NOT_SUPPORTED"),
        ("CREATE TABLE t AS SELECT interval '1 day' AS a".to_owned(), "UNSUPPORTED_TYPE"),
    ] {
        let shown = bench.refusal(&sql).await;
        assert!(shown.starts_with(expected), "{sql}: {shown}");
    }
    let script = "CREATE TABLE a (id BIGINT); INSERT INTO a VALUES (1); CREATE TABLE b AS SELECT id FROM a; \
                  INSERT OVERWRITE b SELECT id FROM b; SELECT b.id FROM b";
    assert_eq!(bench.check(script).await, [""; 0]);
}

#[tokio::test]
async fn no_table_takes_the_place_of_another() {
    let mut bench = Bench::new().await;
    let at = made(&bench, "d").await;
    bench.run(&format!("CREATE EXTERNAL TABLE d STORED AS DELTA LOCATION '{at}'")).await.unwrap();
    let full = bench.path("");
    for (sql, expected) in [
        (format!("CREATE OR REPLACE TABLE other LOCATION '{at}' AS SELECT 1 AS a"), "TABLE_EXISTS"),
        (format!("CREATE OR REPLACE TABLE other (a INT) LOCATION '{full}'"), "LOCATION_NOT_EMPTY"),
        ("CREATE TABLE twins (a INT, \"A\" INT)".to_owned(), "DUPLICATE_COLUMN"),
        ("CREATE TABLE twins AS SELECT 1 AS a, 2 AS \"A\"".to_owned(), "DUPLICATE_COLUMN"),
    ] {
        let shown = bench.refusal(&sql).await;
        assert!(shown.starts_with(expected), "{sql}: {shown}");
    }
    bench.write("CREATE TABLE timed (id BIGINT, at TIMESTAMP DEFAULT now(), day DATE DEFAULT current_date)").await;
}
