//! DELETE, UPDATE and MERGE: which files are rewritten, what counts as read, and what each mistake is called and where.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use selvedge_engine::delta::{AddFile, NewTable, Operation, create_table};

use super::*;

/// A managed table of files that nobody opens here: two of partition `a`, one each of `b` and NULL.
async fn with_table() -> Bench {
    let mut bench = Bench::new().await;
    let location = format!("{}/", bench.path("d"));
    let file = |name: &str, ds: Option<&str>, ids: [i64; 2]| AddFile {
        path: name.to_owned(),
        partition: vec![ds.map(str::to_owned)],
        bytes: 1000,
        rows: 10,
        stats: Some(format!(
            r#"{{"numRecords":10,"minValues":{{"id":{}}},"maxValues":{{"id":{}}},"nullCount":{{"id":0,"name":3,"n":0}}}}"#,
            ids[0], ids[1]
        )),
    };
    let table = NewTable {
        app_id: "test".into(),
        schema: Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("n", DataType::Int32, true),
            Field::new("ds", DataType::Utf8, true),
        ])),
        partition_by: vec!["ds".into()],
        properties: Default::default(),
        description: None,
        adds: vec![
            file("a1", Some("a"), [0, 9]),
            file("a2", Some("a"), [10, 19]),
            file("b1", Some("b"), [20, 29]),
            file("c1", None, [30, 39]),
        ],
        operation: Operation { name: "CREATE TABLE".into(), ..Default::default() },
        run: None,
    };
    create_table(bench.planner.engine.stores(), &Location::parse(&location).unwrap(), &table).await.unwrap();
    bench.run(&format!("CREATE EXTERNAL TABLE d STORED AS DELTA LOCATION '{location}'")).await.unwrap();
    bench
}

fn log(write: &PlannedWrite) -> &LogTarget {
    write.log.as_ref().expect("a write to a log")
}

fn rewrites(write: &PlannedWrite) -> Vec<&str> {
    log(write).rewrites.iter().flatten().map(String::as_str).collect()
}

fn reads(write: &PlannedWrite, ds: &str) -> bool {
    log(write).reads.contains(&[Some(ds.to_owned())])
}

fn searches(write: &PlannedWrite, ds: &str) -> bool {
    log(write).searched.contains(&[Some(ds.to_owned())])
}

/// The plan below the write, as it would run.
fn optimized(state: &SessionState, write: &PlannedWrite) -> String {
    let input = write.plan.inputs().into_iter().next().cloned().unwrap();
    state.optimize(&input).unwrap().display_indent().to_string()
}

impl Bench {
    async fn plan_of(&mut self, sql: &str) -> String {
        let (state, planned) = self.run(sql).await.unwrap_or_else(|f| panic!("{sql}: {f}")).pop().unwrap();
        let Planned::Write(write) = planned else { panic!("{sql} is not a write") };
        optimized(&state, &write)
    }

    async fn done(&mut self, sql: &str) -> String {
        match self.run(sql).await.unwrap_or_else(|f| panic!("{sql}: {f}")).pop() {
            Some((_, Planned::Done { message, .. })) => message,
            _ => panic!("{sql} has something to do"),
        }
    }
}

const COLUMNS: [&str; 4] = ["id Int64", "name Utf8", "n Int32", "ds Utf8"];

#[tokio::test]
async fn only_files_that_may_hold_the_rows_are_written_anew() {
    let mut bench = with_table().await;
    for (sql, expected) in [
        ("DELETE FROM d WHERE id = 15", vec!["a2"]),
        ("DELETE FROM d AS x WHERE x.id > 8 AND x.ds = 'a'", vec!["a1", "a2"]),
        ("DELETE FROM public.d WHERE public.d.id = 25", vec!["b1"]),
        ("DELETE FROM d WHERE name = 'x'", vec!["a1", "a2", "b1", "c1"]),
        ("DELETE FROM d WHERE id < 12 AND id IN (SELECT id FROM orders)", vec!["a1", "a2"]),
        ("UPDATE d SET n = 1 WHERE ds = 'b'", vec!["b1"]),
        ("UPDATE d SET n = 1 WHERE ds IS NULL", vec!["c1"]),
        ("UPDATE d SET n = n + 1", vec!["a1", "a2", "b1", "c1"]),
    ] {
        let write = bench.write(sql).await;
        assert_eq!(rewrites(&write), expected, "{sql}");
        assert_eq!((write.kind.clone(), columns(&write)), (WriteKind::Append, COLUMNS.map(str::to_owned).to_vec()));
        assert!(log(&write).changes_rows && log(&write).base.is_some());
        let expected = if sql.starts_with("DELETE") {
            Rows::Remaining { before: 10 * expected.len() as u64 }
        } else {
            Rows::OfPlan
        };
        assert_eq!(write.rows, expected, "{sql}");
    }
}

#[tokio::test]
async fn what_was_read_is_what_others_may_not_change() {
    let mut bench = with_table().await;
    let one = bench.write("DELETE FROM d WHERE ds = 'a' AND id = 3").await;
    assert!(searches(&one, "a") && !searches(&one, "b") && log(&one).reads.is_empty());
    let all = bench.write("DELETE FROM d WHERE id = 3").await;
    assert!(searches(&all, "a") && searches(&all, "new"));
    let more = bench.write("UPDATE d SET n = 0 WHERE ds = 'a' AND id IN (SELECT id FROM d WHERE ds = 'b')").await;
    assert!(searches(&more, "a") && !searches(&more, "c"));
    assert!(reads(&more, "b") && !reads(&more, "a"), "it asks b about the rows of a");
    assert_eq!(rewrites(&more), ["a1", "a2"]);
}

#[tokio::test]
async fn whole_files_go_without_a_row_written() {
    let mut bench = with_table().await;
    for (sql, expected) in [
        ("DELETE FROM d", vec!["a1", "a2", "b1", "c1"]),
        ("DELETE FROM d WHERE true", vec!["a1", "a2", "b1", "c1"]),
        ("DELETE FROM d WHERE ds = 'a'", vec!["a1", "a2"]),
        ("DELETE FROM d x WHERE x.ds > 'a' OR x.ds IS NULL", vec!["b1", "c1"]),
    ] {
        let write = bench.write(sql).await;
        assert_eq!((rewrites(&write), write.rows), (expected.clone(), Rows::None), "{sql}");
        assert_eq!(write.done, format!("{} rows deleted from public.d", 10 * expected.len()));
    }
    for sql in ["DELETE FROM d WHERE ds = 'z'", "DELETE FROM d WHERE id > 1000", "DELETE FROM d WHERE 1 = 2"] {
        assert_eq!(bench.done(sql).await, "no row of public.d is deleted", "{sql}");
    }
    assert_eq!(bench.done("UPDATE d SET n = 0 WHERE id < 0").await, "no row of public.d is updated");
}

#[tokio::test]
async fn a_merge_joins_what_its_clauses_need() {
    let mut bench = with_table().await;
    let using = "MERGE INTO d AS t USING (SELECT id, name, 1 AS n, 'a' AS ds FROM orders) AS s";
    let upsert = format!("{using} ON t.id = s.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *");
    let write = bench.write(&upsert).await;
    assert_eq!(
        (rewrites(&write), columns(&write)),
        (vec!["a1", "a2", "b1", "c1"], COLUMNS.map(str::to_owned).to_vec())
    );
    let plan = bench.plan_of(&upsert).await;
    assert!(plan.contains("Full Join: t.id = s.id"), "{plan}");
    assert!(plan.contains("row_number() PARTITION BY [s.id]") && plan.contains("selvedge_merge_action"), "{plan}");
    // Of the table only what matches can change, and no row comes into it.
    let part = format!("{using} ON t.id = s.id AND t.ds = 'b' WHEN MATCHED AND s.n > t.n THEN UPDATE SET n = s.n");
    let write = bench.write(&part).await;
    assert_eq!(rewrites(&write), ["b1"]);
    assert!(searches(&write, "b") && !searches(&write, "a"));
    let plan = bench.plan_of(&part).await;
    assert!(plan.contains("Left Join: ") && plan.contains("PARTITION BY [t.id]"), "{plan}");
    // Rows that the source does not have may be anywhere, unless the clause says where.
    let sync = format!("{using} ON t.id = s.id AND t.ds = 'b' WHEN NOT MATCHED BY SOURCE THEN DELETE");
    assert_eq!(rewrites(&bench.write(&sync).await), ["a1", "a2", "b1", "c1"]);
    let sync = format!("{using} ON t.id = s.id AND t.ds = 'b' WHEN NOT MATCHED BY SOURCE AND t.ds = 'b' THEN DELETE");
    assert_eq!(rewrites(&bench.write(&sync).await), ["b1"]);
    // Nothing but new rows.
    let new = format!(
        "{using} ON t.id = s.id AND t.ds = 'a' WHEN NOT MATCHED AND s.id > 3 THEN INSERT (ds, id) VALUES ('a', s.id)"
    );
    let write = bench.write(&new).await;
    assert!(log(&write).rewrites.is_none() && reads(&write, "a") && !reads(&write, "b"));
    assert_eq!((write.kind.clone(), columns(&write)), (WriteKind::Append, COLUMNS.map(str::to_owned).to_vec()));
    let plan = bench.plan_of(&new).await;
    assert!(plan.contains("LeftAnti Join"), "{plan}");
}

/// Whatever keeps or drops pairs comes after they were looked at.
#[tokio::test]
async fn no_filter_gets_below_the_check_for_repeated_changes() {
    let mut bench = with_table().await;
    let using = "MERGE INTO d AS t USING orders AS s ON t.id = s.id";
    for clauses in [
        "WHEN MATCHED THEN DELETE",
        "WHEN MATCHED AND s.price > 1 THEN DELETE",
        "WHEN MATCHED THEN UPDATE SET n = 1 WHEN NOT MATCHED THEN INSERT (id, ds) VALUES (s.id, 'x')",
        "WHEN MATCHED AND t.n = 1 THEN UPDATE SET n = 2 WHEN NOT MATCHED BY SOURCE THEN DELETE",
    ] {
        let plan = bench.plan_of(&format!("{using} {clauses}")).await;
        let below = plan.split("selvedge_merge_action").nth(1).unwrap_or_else(|| panic!("{clauses}: {plan}"));
        assert!(!below.contains("Filter: __selvedge") && !below.contains("Filter: NOT"), "{clauses}: {plan}");
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_is_refused_where_it_is_written() {
    let mut bench = with_table().await;
    let merge = "MERGE INTO d t USING orders s ON t.id = s.id";
    for (sql, expected) in [
        (
            "DELETE FROM flat WHERE id = 1".to_owned(),
            "NOT_SUPPORTED 1:13 the rows of public.flat, a table of PARQUET files",
        ),
        ("DELETE FROM dd".to_owned(), "TABLE_NOT_FOUND 1:13 "),
        ("DELETE FROM d FOR VERSION AS OF 0".to_owned(), "TABLE_NOT_FOUND 1:13 "),
        ("DELETE FROM d WHERE idd = 1".to_owned(), "COLUMN_NOT_FOUND 1:21 column idd does not exist"),
        ("DELETE FROM d WHERE n".to_owned(), "TYPE_MISMATCH 1:21 a condition must be true or false"),
        ("DELETE FROM d WHERE id NOT IN (SELECT id FROM orders)".to_owned(), "NOT_SUPPORTED 1:21 DELETE takes IN"),
        ("DELETE FROM d WHERE max(id) = 1".to_owned(), "NOT_SUPPORTED 1:1 aggregates"),
        ("UPDATE d SET nn = 1".to_owned(), "COLUMN_NOT_FOUND 1:14 table public.d has no column nn"),
        (
            "UPDATE d SET n = 1 WHERE id IN (SELECT id FROM orders LIMIT 1)".to_owned(),
            "NOT_SUPPORTED 1:26 the condition of this UPDATE asks a query whose answer may be another",
        ),
        ("UPDATE d SET n = 1, n = 2".to_owned(), "DUPLICATE_COLUMN 1:21 column n is set twice"),
        (
            "UPDATE d SET n = 'x'".to_owned(),
            "SCHEMA_MISMATCH 1:18 column n of public.d is Int32, but its new value is Utf8",
        ),
        ("UPDATE d SET n = 1.5".to_owned(), "SCHEMA_MISMATCH 1:18 "),
        ("UPDATE d AS x SET d.n = 1".to_owned(), "COLUMN_NOT_FOUND 1:19 d.n is not a column of public.d"),
        ("UPDATE d SET n = id IN (SELECT id FROM orders)".to_owned(), "NOT_SUPPORTED 1:18 IN and EXISTS"),
        (
            "MERGE INTO d USING orders ON true WHEN MATCHED THEN DELETE".to_owned(),
            "NOT_SUPPORTED 1:30 ON asks for no value",
        ),
        (
            "MERGE INTO d t USING orders s ON t.id > s.id WHEN MATCHED THEN DELETE".to_owned(),
            "NOT_SUPPORTED 1:34 ON asks",
        ),
        (
            "MERGE INTO d USING d ON d.id = 1 WHEN MATCHED THEN DELETE".to_owned(),
            "INVALID_NAME 1:20 the table and the source",
        ),
        (
            "MERGE INTO d USING (SELECT 1 AS id) ON d.id = id WHEN MATCHED THEN DELETE".to_owned(),
            "NOT_SUPPORTED 1:1 the source",
        ),
        (
            format!("{merge} WHEN NOT MATCHED THEN INSERT (id, ds) VALUES (s.id, t.ds)"),
            "NOT_SUPPORTED 1:98 WHEN NOT MATCHED is for",
        ),
        (
            format!("{merge} WHEN NOT MATCHED BY SOURCE AND s.id = 1 THEN DELETE"),
            "NOT_SUPPORTED 1:77 WHEN NOT MATCHED BY SOURCE",
        ),
        (format!("{merge} WHEN MATCHED THEN UPDATE SET *"), "COLUMN_NOT_FOUND 1:12 the source has no column n"),
        (
            format!("{merge} WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)"),
            "SCHEMA_MISMATCH 1:76 partition column ds",
        ),
        (
            format!("{merge} WHEN NOT MATCHED THEN INSERT (ds) VALUES ('x')"),
            "SCHEMA_MISMATCH 1:76 column id of public.d is NOT NULL",
        ),
        (
            format!("{merge} WHEN NOT MATCHED THEN INSERT VALUES (s.id)"),
            "SCHEMA_MISMATCH 1:83 the INSERT of this MERGE has 1 value for 4 columns",
        ),
        (format!("{merge} WHEN MATCHED AND s.nam = 'x' THEN DELETE"), "COLUMN_NOT_FOUND 1:63 "),
    ] {
        let found = bench.refusal(&sql).await;
        assert!(found.starts_with(expected), "{sql}\nexpected {expected}\nfound    {found}");
    }
}

#[tokio::test]
async fn changes_of_tables_that_are_still_to_come_are_rehearsed() {
    let bench = Bench::new().await;
    let script =
        "CREATE TABLE x (id BIGINT, n INT) PARTITIONED BY (ds DATE); INSERT INTO x VALUES (1, 2, DATE '2026-01-01');
        DELETE FROM x WHERE ds = DATE '2026-01-01' AND id = 3; UPDATE x SET n = n + 1 WHERE id > 1;
        MERGE INTO x t USING orders s ON t.id = s.id WHEN MATCHED THEN UPDATE SET n = 1
          WHEN NOT MATCHED THEN INSERT (id, ds) VALUES (s.id, s.day);
        EXPLAIN DELETE FROM x;
        DELETE FROM x WHERE nn = 1";
    let found = bench.check(script).await;
    assert!(found.len() == 1 && found[0].starts_with("COLUMN_NOT_FOUND 6:29 "), "{found:#?}");
}
