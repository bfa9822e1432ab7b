//! Statements planned on a real catalog and real files: what comes out, and what each mistake is called and where.

use std::collections::BTreeMap;

use ballista_core::extension::SessionConfigExt as _;
use datafusion::arrow::array::{Array, AsArray};
use datafusion::prelude::SessionContext;
use selvedge_engine::session::EngineOptions;
use selvedge_engine::sql::{Script, prepare};

use super::*;

mod dataframe;
mod defaults;
mod delta;
mod dml;
mod expect;
mod insert;
mod maintain;

struct Bench {
    planner: Planner,
    settings: Settings,
    dir: tempfile::TempDir,
}

impl Bench {
    /// Orders in Parquet, and a partitioned table to write to.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::new(EngineOptions {
            target_partitions: 2,
            ..EngineOptions::new(Location::parse(dir.path().join("warehouse").to_str().unwrap()).unwrap())
        })
        .unwrap();
        let orders = dir.path().join("orders.parquet");
        SessionContext::new()
            .sql("SELECT * FROM (VALUES (1, 'a', 1.5, DATE '2026-01-01')) AS t(id, name, price, day)")
            .await
            .unwrap()
            .write_parquet(orders.to_str().unwrap(), Default::default(), None)
            .await
            .unwrap();
        let catalog = DurableCatalog::rehearsed(Arc::clone(engine.catalog()));
        let mut bench = Self { planner: Planner::new(engine, catalog), settings: Settings::new(), dir };
        let setup = format!(
            "CREATE EXTERNAL TABLE orders STORED AS PARQUET LOCATION '{}';
             CREATE TABLE mart (id BIGINT NOT NULL, name STRING, n INT) STORED AS PARQUET
               PARTITIONED BY (ds DATE, region STRING);
             CREATE TABLE flat (id BIGINT, name STRING) STORED AS PARQUET",
            orders.display()
        );
        bench.run(&setup).await.unwrap();
        bench
    }

    async fn run(&mut self, text: &str) -> Result<Vec<(SessionState, Planned)>, Failure> {
        let mut all = Vec::new();
        for statement in script(text).statements {
            let attempt = StatementAttempt { run: "r1".parse().unwrap(), statement: statement.index, attempt: 1 };
            all.push(self.planner.plan(&statement, &mut self.settings, &attempt).await?);
        }
        Ok(all)
    }

    async fn write(&mut self, text: &str) -> PlannedWrite {
        match self.run(text).await.unwrap_or_else(|f| panic!("{text}: {f}")).pop() {
            Some((_, Planned::Write(write))) => *write,
            _ => panic!("{text} is not a write"),
        }
    }

    async fn refusal(&mut self, text: &str) -> String {
        match self.run(text).await {
            Ok(_) => panic!("{text} was planned"),
            Err(failure) => shown(&failure),
        }
    }

    async fn check(&self, text: &str) -> Vec<String> {
        match self.planner.check(&script(text), &self.settings).await {
            Ok(()) => Vec::new(),
            Err(failure) => std::iter::once(&failure).chain(&failure.others).map(shown).collect(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

fn script(text: &str) -> Script {
    prepare(text, &BTreeMap::new()).unwrap_or_else(|f| panic!("{text}: {f}"))
}

fn shown(f: &Failure) -> String {
    let at = f.place.as_ref().map(|p| format!("{}:{} ", p.line, p.column)).unwrap_or_default();
    format!("{} {at}{} | {}", f.code, f.cause, f.hint)
}

fn columns(write: &PlannedWrite) -> Vec<String> {
    // The write's own output is the manifest; below it is the query, cast and ordered.
    let input = write.plan.inputs().into_iter().next().cloned().unwrap();
    input.schema().fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect()
}

#[tokio::test]
async fn planning_errors_point_at_the_name() {
    let mut bench = Bench::new().await;
    for (sql, expected) in [
        (
            "SELECT id\nFROM ordrs",
            "TABLE_NOT_FOUND 2:6 table public.ordrs does not exist | Did you mean public.orders?",
        ),
        ("SELECT\n  nam FROM orders", "COLUMN_NOT_FOUND 2:3 column nam does not exist | Did you mean name?"),
        ("SELECT uppr(name) FROM orders", "FUNCTION_NOT_FOUND 1:8 function uppr does not exist | Did you mean"),
        ("SELECT sum(id),\n sum(name)\nFROM orders", "INVALID_ARGUMENTS 2:2 sum does not take ("),
        (
            "SELECT upper(upper(id, 1)) FROM orders",
            "INVALID_ARGUMENTS 1:14 upper does not take (Int64, Int64), it takes",
        ),
        ("SELECT id FROM orders ORDER BY upper(1, 2)", "INVALID_ARGUMENTS 1:32 upper does not take "),
        ("INSERT INTO flat SELECT id,\n date_trunc(1) FROM orders", "INVALID_ARGUMENTS 2:2 date_trunc does not take"),
        ("SELECT 1 INTO t", "NOT_SUPPORTED 1:1 a query cannot also write"),
        ("{# é #} SELECT '{{ 'long' }}' AS a,\n b FROM orders", "COLUMN_NOT_FOUND 2:2 "),
    ] {
        let found = bench.refusal(sql).await;
        assert!(found.starts_with(expected), "{sql}\nexpected {expected}\nfound    {found}");
    }
}

#[tokio::test]
async fn a_new_table_takes_its_columns_and_place_from_the_statement() {
    let mut bench = Bench::new().await;
    bench.run("CREATE SCHEMA s").await.unwrap();
    let sql = "CREATE TABLE s.t PARTITIONED BY (day) AS SELECT id, day, name FROM orders";
    let write = bench.write(sql).await;
    let def = write.create.clone().unwrap();
    assert_eq!((def.name.to_string().as_str(), write.is_first), ("s.t", true));
    assert!(def.location.to_string().ends_with("/warehouse/s/t/"), "{}", def.location);
    assert_eq!(columns(&write), ["id Int64", "name Utf8", "day Date32"]);
    assert_eq!(write.kind, WriteKind::Overwrite);
    for (sql, expected) in [
        ("CREATE TABLE flat AS SELECT 1 AS a", "TABLE_EXISTS 1:14 "),
        ("CREATE TABLE nos.t AS SELECT 1 AS a", "SCHEMA_NOT_FOUND 1:14 schema nos does not exist"),
        ("CREATE TABLE t AS SELECT 1 AS a, 2 AS a", "DUPLICATE_COLUMN 1:1 two columns"),
        ("CREATE TABLE t AS SELECT a.id, b.id FROM orders a, orders b", "DUPLICATE_COLUMN 1:1 the query has two"),
        ("CREATE TABLE t AS SELECT NULL AS a", "INVALID_COLUMN 1:1 column a is NULL in every row"),
        ("CREATE TABLE t PARTITIONED BY (dy) AS SELECT 1 AS a, 2 AS ds", "COLUMN_NOT_FOUND 1:1 partition column dy"),
        ("CREATE TABLE t PARTITIONED BY (a) AS SELECT 1 AS a", "INVALID_PARTITION 1:1 every column"),
        ("CREATE TABLE t (a, b) AS SELECT 1", "SCHEMA_MISMATCH 1:20 2 columns are named, but the query has 1"),
        ("CREATE TABLE t (a INT, A STRING)", "DUPLICATE_COLUMN 1:24 column A is declared twice"),
    ] {
        let found = bench.refusal(sql).await;
        assert!(found.starts_with(expected), "{sql}\nexpected {expected}\nfound    {found}");
    }
    let occupied = format!("CREATE TABLE t LOCATION '{}' AS SELECT 1 AS a", bench.dir.path().display());
    assert!(bench.refusal(&occupied).await.starts_with("LOCATION_NOT_EMPTY"));
    let replaced = occupied.replace("CREATE TABLE t", "CREATE OR REPLACE TABLE t STORED AS PARQUET");
    let write = bench.write(&replaced).await;
    assert_eq!((write.kind, write.is_first), (WriteKind::Overwrite, false));
}

#[tokio::test]
async fn copies_go_to_files_and_empty_directories() {
    let mut bench = Bench::new().await;
    let file = bench.path("out/x.csv");
    let write = bench.write(&format!("COPY orders TO '{file}'")).await;
    assert!(write.location.to_string().ends_with("/out/") && !write.is_first, "{}", write.location);
    assert_eq!(write.target, format!("file://{file}"));
    let dir = bench.path("parts/");
    let write = bench.write(&format!("COPY (SELECT id, day FROM orders) TO '{dir}' PARTITIONED BY (day)")).await;
    assert_eq!((write.kind, write.partition_by, write.is_first), (WriteKind::Append, vec!["day".to_owned()], true));
    let full = bench.path("");
    assert!(bench.refusal(&format!("COPY orders TO '{full}'")).await.starts_with("LOCATION_NOT_EMPTY"));
    let write = bench.write(&format!("COPY orders TO '{full}' OPTIONS (mode 'overwrite')")).await;
    assert_eq!(write.kind, WriteKind::Overwrite);
    let found = bench.refusal(&format!("COPY orders TO '{dir}' OPTIONS (modee 'append')")).await;
    assert!(found.starts_with("INVALID_OPTION 1:1 COPY has no option modee | Did you mean mode?"), "{found}");
}

#[tokio::test]
async fn views_are_planned_and_read_back() {
    let mut bench = Bench::new().await;
    bench
        .run("CREATE VIEW v (k, v) AS SELECT id, name FROM orders; SELECT k, v FROM v; COPY v TO '/tmp/never/x.csv'")
        .await
        .unwrap();
    let found = bench.refusal("INSERT INTO v SELECT 1, 'a'").await;
    assert!(found.starts_with("NOT_A_TABLE 1:13 public.v is a view"), "{found}");
    let found = bench.refusal("MSCK REPAIR TABLE v").await;
    assert!(found.starts_with("NOT_A_TABLE 1:19 public.v is a view"), "{found}");
}

#[tokio::test]
async fn only_plans_that_cannot_loop_are_adaptive_and_only_when_asked() {
    let mut bench = Bench::new().await;
    let window = "PARTITION BY name ORDER BY id";
    for (sql, adaptive) in [
        ("SELECT id FROM orders".to_owned(), true),
        ("SELECT row_number() OVER (ORDER BY id) FROM orders".to_owned(), true),
        ("SELECT a.id FROM orders a JOIN orders b ON a.id = b.id".to_owned(), true),
        (format!("SELECT row_number() OVER ({window}) FROM orders"), false),
        (format!("SELECT * FROM orders WHERE id IN (SELECT sum(id) OVER ({window}) FROM orders)"), false),
        (format!("INSERT INTO flat SELECT sum(id) OVER ({window}) AS s, name FROM orders"), false),
        ("SELECT a.id FROM orders a LEFT JOIN orders b ON a.id = b.id".to_owned(), false),
        ("SELECT id FROM orders a WHERE NOT EXISTS (SELECT 1 FROM orders b WHERE b.id = a.id + 1)".to_owned(), false),
    ] {
        for (setting, expected) in [("true", adaptive), ("false", false)] {
            let script = format!("SET selvedge.planner.adaptive = {setting}; {sql}");
            let (state, _) = bench.run(&script).await.unwrap().pop().unwrap();
            assert_eq!(state.config().ballista_adaptive_query_planner_enabled(), expected, "{script}");
        }
        let (state, _) = Bench::new().await.run(&sql).await.unwrap().pop().unwrap();
        assert!(!state.config().ballista_adaptive_query_planner_enabled(), "{sql}");
    }
}

#[tokio::test]
async fn show_and_describe_give_rows() {
    let mut bench = Bench::new().await;
    for (sql, expected) in [
        ("SHOW TABLES", "public"),
        ("SHOW SCHEMAS", "public"),
        ("DESCRIBE mart", "id"),
        ("REFRESH TABLE mart", "public.mart"),
        ("SHOW datafusion.execution.batch_size", "datafusion.execution.batch_size"),
        ("EXPLAIN SELECT id FROM orders", "logical_plan"),
    ] {
        let Some((_, Planned::Done { result: Some(rows), .. })) = bench.run(sql).await.unwrap().pop() else {
            panic!("{sql}")
        };
        let first = rows[0].column(0);
        let first = first.as_string_opt::<i32>().map(|a| a.value(0).to_owned());
        assert_eq!(first.as_deref(), Some(expected), "{sql}");
        assert!(rows[0].column(0).null_count() == 0);
    }
}

#[tokio::test]
async fn explain_shows_the_logical_plan_and_then_stages() {
    let mut bench = Bench::new().await;
    for sql in [
        "EXPLAIN SELECT name, count(*) FROM orders GROUP BY name",
        "EXPLAIN VERBOSE SELECT name, count(*) FROM orders GROUP BY name",
        "EXPLAIN INSERT OVERWRITE mart PARTITION (ds = '2026-01-01', region) SELECT id, name, 1, 'eu' FROM orders",
    ] {
        let Some((_, Planned::Done { result: Some(rows), .. })) = bench.run(sql).await.unwrap().pop() else {
            panic!("{sql}")
        };
        let column = |i: usize| -> Vec<String> {
            rows[0].column(i).as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
        };
        let (kinds, plans) = (column(0), column(1));
        let logical = kinds.iter().position(|kind| kind == "logical_plan").unwrap();
        assert_eq!(logical, usize::from(sql.contains("VERBOSE")), "{kinds:?}");
        assert_eq!(kinds[logical + 1], "stage 1", "{kinds:?}");
        assert!(plans[logical + 1].starts_with("inputs: orders.parquet\npartitions: 1 in, "), "{plans:#?}");
        let wanted = if sql.contains("INSERT") { "WriteExec" } else { "AggregateExec" };
        assert!(plans.last().unwrap().contains(wanted), "{plans:#?}");
    }
}

#[tokio::test]
async fn explain_analyze_is_for_queries() {
    let mut bench = Bench::new().await;
    let planned = bench.run("EXPLAIN ANALYZE SELECT id FROM orders").await.unwrap().pop();
    assert!(matches!(planned, Some((_, Planned::Analyze { .. }))));
    let found = bench.refusal("EXPLAIN ANALYZE INSERT INTO flat SELECT id, name FROM orders").await;
    assert!(found.starts_with("NOT_SUPPORTED 1:1 EXPLAIN ANALYZE runs what it explains, and INSERT"), "{found}");
    assert!(found.contains("runs show"), "{found}");
}

#[tokio::test]
async fn a_script_is_checked_as_a_whole_and_changes_nothing() {
    let bench = Bench::new().await;
    let out = bench.path("made");
    let good = format!(
        "CREATE TABLE a AS SELECT id, name FROM orders;
         INSERT INTO a SELECT id, name FROM a;
         COPY a TO '{out}/';
         CREATE EXTERNAL TABLE made STORED AS PARQUET LOCATION '{out}';
         SELECT name FROM made;
         DROP TABLE a;
         CREATE TABLE a AS SELECT 1 AS x;
         SELECT x FROM a"
    );
    assert_eq!(bench.check(&good).await, Vec::<String>::new());
    assert!(!names::known(&bench.planner).contains(&"public.a".to_owned()));
    let bad = "CREATE TABLE a AS SELECT id, nme FROM orders;\nSELECT * FROM a;\nSET selvedge.no = 1;\nSELECT * FROM b";
    let found = bench.check(bad).await;
    let codes: Vec<_> = found.iter().map(|f| f.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(codes[0], "COLUMN_NOT_FOUND 1:30", "{found:#?}");
    assert_eq!(codes.len(), 3, "{found:#?}");
    let unwritable = bench.check("COPY orders TO '/proc/x/';\nCOPY orders TO '/proc/x/y.csv'").await;
    for (found, line) in unwritable.iter().zip(1..) {
        let expected = format!("LOCATION_NOT_WRITABLE {line}:1 cannot write to 'file:///proc/x/'");
        assert!(found.starts_with(&expected) && found.contains(" | Check that"), "{unwritable:#?}");
    }
    assert_eq!(unwritable.len(), 2);
    assert!(codes[1].ends_with("3:1") && codes[2] == "TABLE_NOT_FOUND 4:15", "{found:#?}");
}
