//! Delta tables: adopted, and read at a version.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
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
