//! Old versions, and that a session sees one version from first to last.

use std::time::{Duration, SystemTime};

use super::*;
use crate::catalog::ViewDef;
use crate::sql::{StatementKind, prepare};

/// The query as our parser hands it on.
fn parsed(sql: &str) -> String {
    let script = prepare(sql, &Default::default()).unwrap();
    match &script.statements[0].kind {
        StatementKind::Query(query) => query.to_string(),
        other => panic!("{other:?}"),
    }
}

impl Bench {
    async fn travel(&self, sql: &str) -> Result<Vec<String>, Failure> {
        self.query(&parsed(sql)).await
    }
}

#[tokio::test]
async fn versions_by_number() {
    let bench = Bench::memory().await;
    bench.append("a", Some("1"), 0..1).await;
    bench.append("b", Some("1"), 1..3).await;
    for (version, expected) in [(0, "0"), (1, "1"), (2, "3")] {
        let got = bench.travel(&format!("SELECT count(*) FROM t FOR VERSION AS OF {version}")).await.unwrap();
        assert_eq!(got, [expected]);
    }
    let both = "SELECT count(*) FROM t VERSION AS OF 1 old JOIN public.t ON old.ds = t.ds WHERE t.id >= old.id";
    assert_eq!(bench.travel(both).await.unwrap(), ["3"]);
    let failure = bench.travel("SELECT * FROM t FOR VERSION AS OF 9").await.unwrap_err();
    assert_eq!(failure.code, "VERSION_NOT_FOUND");
    assert!(failure.hint.contains("0 to 2"), "{}", failure.hint);
    let failure = bench.travel("SELECT * FROM t FOR TIMESTAMP AS OF 'never'").await.unwrap_err();
    assert_eq!(failure.code, "INVALID_VERSION");
    let failure = bench.travel("SELECT * FROM missing FOR VERSION AS OF 1").await.unwrap_err();
    assert_eq!(failure.code, "TABLE_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_by_time() {
    let bench = Bench::disk().await;
    bench.append("a", Some("1"), 0..1).await;
    bench.append("b", Some("1"), 1..3).await;
    // One an hour from 2026-01-01 00:00 UTC.
    let log = bench.location.local_path().unwrap().join("_delta_log");
    for version in 0..3_u64 {
        let file = std::fs::File::options().write(true).open(log.join(format!("{version:020}.json"))).unwrap();
        let at = Duration::from_secs(1_767_225_600 + version * 3_600);
        file.set_modified(SystemTime::UNIX_EPOCH + at).unwrap();
    }
    let rows =
        [("2026-01-01", "0"), ("2026-01-01 01:30:00", "1"), ("2026-01-01T03:00:00+01:00", "3"), ("2030-01-01", "3")];
    for (time, expected) in rows {
        let got = bench.travel(&format!("SELECT count(*) FROM t FOR TIMESTAMP AS OF '{time}'")).await.unwrap();
        assert_eq!(got, [expected], "{time}");
    }
    let failure = bench.travel("SELECT * FROM t TIMESTAMP AS OF '2025-12-31'").await.unwrap_err();
    assert_eq!(failure.code, "VERSION_NOT_FOUND");
    assert!(failure.hint.contains("2026-01-01T00:00:00"), "{}", failure.hint);
}

#[tokio::test]
async fn a_session_sees_one_version_and_the_next_session_the_next() {
    let bench = Bench::memory().await;
    bench.append("a", Some("1"), 0..1).await;
    let session = bench.session();
    let count = "SELECT count(*) FROM t";
    assert_eq!(rows(&session, count).await.unwrap(), ["1"]);
    bench.append("b", Some("1"), 1..3).await;
    assert_eq!(rows(&session, count).await.unwrap(), ["1"]);
    assert_eq!(bench.query(count).await.unwrap(), ["3"]);
}

#[tokio::test]
async fn a_view_shows_the_table_as_it_is() {
    let bench = Bench::memory().await;
    bench.append("a", Some("1"), 0..1).await;
    let session = bench.session();
    for (name, table) in [("v", "t"), ("old", "\"t@version=1\""), ("outer_view", "v")] {
        let sql = format!("SELECT name, id FROM {table} x WHERE id IN (SELECT id FROM {table})");
        let sql = if name == "outer_view" { "SELECT * FROM v".to_owned() } else { sql };
        let plan = session.state().create_logical_plan(&sql).await.unwrap();
        let view = ViewDef { name: TableName::new("public", name), sql, plan: Ok(plan) };
        bench.engine.catalog().create_view(view, false).unwrap();
    }
    bench.append("b", Some("1"), 1..3).await;
    // A new column goes before the partition column: positions change, what the views show does not.
    let mut fields = schema().fields().to_vec();
    fields.insert(0, Arc::new(Field::new("score", DataType::Int32, true)));
    let change = MetadataChange { schema: Some(Arc::new(Schema::new(fields))), ..Default::default() };
    let alter = CommitRequest { metadata: Some(change), ..bench.request("c", 2, DeltaWrite::Append, vec![]) };
    bench.commit(&alter).await.unwrap();
    let both = "SELECT (SELECT count(*) FROM v) AS a, (SELECT count(*) FROM old) AS b, (SELECT count(*) FROM t) AS c";
    assert_eq!(bench.query(both).await.unwrap(), ["3 1 3"]);
    assert_eq!(bench.query("SELECT * FROM outer_view ORDER BY id LIMIT 1").await.unwrap(), ["n00000 0"]);
}

#[tokio::test]
async fn a_copy_of_the_catalog_has_tables_that_are_not_made_yet() {
    let bench = Bench::empty(None);
    assert_eq!(bench.query("SELECT * FROM t").await.unwrap_err().code, "NOT_A_DELTA_TABLE");
    let copy = bench.engine.with_catalog(bench.engine.catalog().fork());
    let session = SessionContext::new_with_state(copy.session(&Settings::new()).unwrap());
    assert_eq!(rows(&session, "SELECT ds, id FROM t").await.unwrap(), [""; 0]);
}
