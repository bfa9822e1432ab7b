//! Expectations: what can be stated, what is refused and where, and which writes they are put on.

use selvedge_engine::plan::contract_of;
use selvedge_model::expectation::OnViolation;

use super::*;

const TABLE: &str = "CREATE TABLE files (id BIGINT NOT NULL, name STRING, at TIMESTAMP, \"Odd\" INT) PARTITIONED BY (ds DATE) \
                     STORED AS PARQUET;";

async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    bench.run(TABLE).await.unwrap();
    bench
}

/// The names of what is expected of a write, and what becomes of it.
fn expected(write: &PlannedWrite) -> Vec<String> {
    let shown = |s: selvedge_model::expectation::Stated| {
        format!("{}.{} {} {}", s.table, s.expectation.name, s.expectation.rule, s.expectation.on_violation)
    };
    contract_of(&write.plan).into_iter().map(shown).collect()
}

#[tokio::test]
async fn a_write_is_planned_with_what_its_table_expects() {
    let mut bench = bench().await;
    let insert = "INSERT INTO files SELECT id, name, NULL, 1, day FROM orders";
    assert!(expected(&bench.write(insert).await).is_empty());
    bench
        .run(
            "EXPECT positive ON files CHECK (id > 0 AND name <> 'it''s');
             EXPECT Recent ON files CHECK (ds <= current_date() AND at < now()) WARN;
             EXPECT odd ON public.files CHECK (\"Odd\" IS NULL OR \"Odd\" % 2 = 1) DROP;
             EXPECT some ON files ROWS BETWEEN 1 AND 1000;
             EXPECT fresh ON files FRESH at WITHIN INTERVAL '90' MINUTE WARN;
             EXPECT fresh_days ON files FRESH ds WITHIN INTERVAL '1 day 12 hours'",
        )
        .await
        .unwrap();
    let all = [
        "public.files.fresh FRESH at WITHIN INTERVAL '90' MINUTE WARN",
        "public.files.fresh_days FRESH ds WITHIN INTERVAL '1 day 12 hours' FAIL",
        "public.files.odd CHECK (\"Odd\" IS NULL OR \"Odd\" % 2 = 1) DROP",
        "public.files.positive CHECK (id > 0 AND name <> 'it''s') FAIL",
        "public.files.recent CHECK (ds <= current_date() AND at < now()) WARN",
        "public.files.some ROWS BETWEEN 1 AND 1000 FAIL",
    ];
    assert_eq!(expected(&bench.write(insert).await), all);
    let location = bench.planner.engine.catalog().table(&"files".parse().unwrap()).unwrap().location;
    let copy = format!(
        "COPY (SELECT id, name, CAST(NULL AS TIMESTAMP) AS at, 1 AS \"Odd\", day AS ds FROM orders) TO '{location}' \
         PARTITIONED BY (ds) OPTIONS (mode 'append')"
    );
    assert_eq!(expected(&bench.write(&copy).await), all, "a COPY into the table's place is a write to it");
    let elsewhere = format!("COPY orders TO '{}/'", bench.path("elsewhere"));
    assert!(expected(&bench.write(&elsewhere).await).is_empty());
    bench.run(&format!("EXPLAIN {insert}")).await.unwrap();

    let within = |bench: &Bench, name: &str| {
        let all = bench.planner.engine.catalog().expectations(&"files".parse().unwrap());
        match all.into_iter().find(|e| e.name == name).unwrap().rule {
            selvedge_model::expectation::Rule::Fresh { within_ms, .. } => within_ms,
            other => panic!("{other}"),
        }
    };
    assert_eq!((within(&bench, "fresh"), within(&bench, "fresh_days")), (90 * 60_000, 36 * 3_600_000));
}

#[tokio::test]
async fn what_cannot_be_expected_is_refused_at_its_place() {
    let mut bench = bench().await;
    for (sql, expected) in [
        ("EXPECT e ON nowhere ROWS >= 1", "TABLE_NOT_FOUND 1:13 table public.nowhere does not exist"),
        ("EXPECT e ON files CHECK (names > 0)", "COLUMN_NOT_FOUND 1:26 column names does not exist"),
        (
            "EXPECT e ON files CHECK (id + 1)",
            "INVALID_EXPECTATION 1:26 a CHECK must be true or false, and this is Int64",
        ),
        ("EXPECT e ON files CHECK (sum(id) > 1)", "INVALID_EXPECTATION 1:26 a CHECK looks at one row at a time"),
        ("EXPECT e ON files FRESH aat WITHIN INTERVAL '1 day'", {
            "COLUMN_NOT_FOUND 1:25 table public.files has no column aat"
        }),
        ("EXPECT e ON files FRESH name WITHIN INTERVAL '1 day'", {
            "INVALID_EXPECTATION 1:25 FRESH needs a column with dates or times, and name is Utf8"
        }),
        ("EXPECT e ON files FRESH at WITHIN INTERVAL '1 month'", {
            "INVALID_EXPECTATION 1:44 INTERVAL '1 month' has no fixed length"
        }),
        ("EXPECT e ON files FRESH at WITHIN INTERVAL '0 days'", {
            "INVALID_EXPECTATION 1:44 INTERVAL '0 days' is not longer than nothing"
        }),
        ("DROP EXPECT e ON files", "EXPECTATION_NOT_FOUND 1:13 public.files has no expectation e"),
        ("DROP EXPECT e ON nowhere", "TABLE_NOT_FOUND 1:18"),
        ("SHOW EXPECTS ON nowhere", "TABLE_NOT_FOUND 1:17"),
    ] {
        let got = bench.refusal(sql).await;
        assert!(got.starts_with(expected), "{sql}\nexpected {expected}\nfound    {got}");
    }
    let csv = bench.path("c.csv");
    std::fs::write(&csv, "a\n1\n").unwrap();
    bench
        .run(&format!("CREATE EXTERNAL TABLE c STORED AS CSV LOCATION '{csv}'; CREATE VIEW v AS SELECT 1 AS a"))
        .await
        .unwrap();
    assert!(bench.refusal("EXPECT e ON c ROWS >= 1").await.starts_with("NOT_SUPPORTED 1:13"));
    assert!(bench.refusal("EXPECT e ON v ROWS >= 1").await.starts_with("NOT_A_TABLE 1:13"));
}

#[tokio::test]
async fn expectations_are_listed_replaced_and_dropped() {
    let mut bench = bench().await;
    bench
        .run(
            "EXPECT e ON files ROWS >= 1; EXPECT e ON files ROWS >= 1; EXPECT e ON files ROWS >= 2 WARN;
             EXPECT a ON files CHECK (id > 0) DROP;
             CREATE TABLE others (id BIGINT) STORED AS PARQUET; EXPECT o ON others ROWS >= 3",
        )
        .await
        .unwrap();
    let rows = async |bench: &mut Bench, sql: &str| match bench.run(sql).await.unwrap().pop() {
        Some((_, Planned::Done { result: Some(batches), .. })) => {
            let text = |c: &dyn Array, i: usize| c.as_string::<i32>().value(i).to_owned();
            let row = |i: usize| batches[0].columns().iter().map(|c| text(c.as_ref(), i)).collect::<Vec<_>>().join(" ");
            (0..batches[0].num_rows()).map(row).collect::<Vec<_>>()
        }
        _ => panic!("{sql} shows nothing"),
    };
    let files = ["public.files a CHECK (id > 0) DROP", "public.files e ROWS >= 2 WARN"];
    assert_eq!(rows(&mut bench, "SHOW EXPECTS ON files").await, files);
    assert_eq!(rows(&mut bench, "SHOW EXPECTS").await.len(), 3);
    bench
        .run("DROP EXPECT a ON files; DROP EXPECT IF EXISTS a ON files; DROP EXPECT IF EXISTS a ON none")
        .await
        .unwrap();
    assert_eq!(rows(&mut bench, "SHOW EXPECTS ON files").await, files[1..]);
    bench.run(&format!("DROP TABLE files; {TABLE}")).await.unwrap();
    assert!(rows(&mut bench, "SHOW EXPECTS ON files").await.is_empty(), "they go with the table");
}

#[tokio::test]
async fn a_table_that_has_changed_since_says_what_no_longer_fits() {
    let mut bench = bench().await;
    bench
        .run("EXPECT e ON files CHECK (name <> ''); EXPECT f ON files FRESH at WITHIN INTERVAL '1 day'")
        .await
        .unwrap();
    let other = "DROP EXPECT f ON files; CREATE OR REPLACE TABLE files (id BIGINT) STORED AS PARQUET";
    bench.run(other).await.unwrap();
    let refused = bench.refusal("INSERT INTO files SELECT 1").await;
    for part in
        ["EXPECTATION_NOT_APPLICABLE", "expectation e of public.files", "column name does not exist", "DROP EXPECT e"]
    {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let as_select = "CREATE OR REPLACE TABLE files STORED AS PARQUET AS SELECT 'x' AS name";
    assert_eq!(expected(&bench.write(as_select).await), ["public.files.e CHECK (name <> '') FAIL"]);
}

#[tokio::test]
async fn a_script_that_states_and_writes_is_checked_as_a_whole() {
    let bench = Bench::new().await;
    let good = "CREATE TABLE n (id BIGINT, at TIMESTAMP); EXPECT e ON n CHECK (id > 0); INSERT INTO n SELECT 1, now();
                EXPECT f ON n FRESH at WITHIN INTERVAL '1 day'; DROP EXPECT e ON n; SHOW EXPECTS ON n";
    assert_eq!(bench.check(good).await, [""; 0]);
    assert!(bench.planner.engine.catalog().table(&"n".parse().unwrap()).is_none());
    let bad = "CREATE TABLE n (id BIGINT); EXPECT e ON n CHECK (x > 0); DROP EXPECT g ON n; INSERT INTO n SELECT 1";
    let found = bench.check(bad).await;
    assert!(found.len() == 2 && found[0].contains("column x") && found[1].contains("no expectation g"), "{found:?}");
}

#[test]
fn writing_files_anew_expects_less() {
    use selvedge_model::expectation::{Expectation, Rule};
    let log = |name: &str, changes_rows| LogTarget {
        rewrites: Some(Default::default()),
        changes_rows,
        ..LogTarget::new(None, managed::operation(name, []))
    };
    let check = |on_violation| Expectation { name: "e".into(), rule: Rule::Check { sql: "a".into() }, on_violation };
    let rows = Expectation { rule: Rule::Rows { at_least: 1, at_most: None }, ..check(OnViolation::Fail) };
    let kind = |e: Expectation, log: &LogTarget| contract::of_kind(e, Some(log)).map(|e| e.on_violation);
    let update = log("UPDATE", true);
    assert_eq!(kind(check(OnViolation::Drop), &update), Some(OnViolation::Fail), "nobody asked to delete them");
    assert_eq!(kind(check(OnViolation::Warn), &update), Some(OnViolation::Warn));
    assert_eq!(kind(rows.clone(), &update), None);
    assert_eq!(kind(check(OnViolation::Fail), &log("OPTIMIZE", false)), None);
    assert_eq!(kind(check(OnViolation::Fail), &log("DELETE", true)), None);
    let append = LogTarget { rewrites: None, ..log("WRITE", true) };
    assert_eq!(kind(rows, &append), Some(OnViolation::Fail));
}
