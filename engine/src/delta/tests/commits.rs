//! Commits against a real log: what is won, what is lost, what is repeated.

use std::collections::BTreeMap;

use arrow::datatypes::FieldRef;
use selvedge_model::delta::{Clash, ClashReason};
use selvedge_model::failure::HasFailure;

use super::*;

#[tokio::test]
async fn a_table_is_made_once() {
    let bench = Bench::empty(None);
    let made = create_table(bench.stores(), &bench.location, &new_table()).await.unwrap();
    assert_eq!(made, CommitOutcome { version: 0, is_repeated: false, removed: 0 });
    let again = create_table(bench.stores(), &bench.location, &new_table()).await.unwrap();
    assert!(again.is_repeated);
    let other = NewTable { app_id: "other".into(), ..new_table() };
    let failure = create_table(bench.stores(), &bench.location, &other).await.unwrap_err();
    assert_eq!(failure.code, "TABLE_EXISTS");
    assert!(is_delta_table(bench.stores(), &bench.location).await.unwrap());
    assert!(!is_delta_table(bench.stores(), &bench.location.join("x/")).await.unwrap());
    let snapshot = bench.latest().await;
    assert_eq!((snapshot.version(), snapshot.schema().as_ref()), (0, schema().as_ref()));
    assert!(!snapshot.schema().field(0).is_nullable(), "NOT NULL is kept");
}

#[tokio::test]
async fn a_table_is_made_with_its_first_rows() {
    let bench = Bench::empty(None);
    let adds = vec![bench.file(Some("1"), 0..5).await];
    let bench = bench.with_table(&NewTable { adds, ..new_table() }).await;
    assert_eq!(bench.contents().await, ["1 5 10"]);
}

async fn append_and_overwrite(bench: Bench) {
    assert_eq!(bench.append("a", Some("1"), 0..10).await, 1);
    assert_eq!(bench.append("b", Some("2"), 10..20).await, 2);
    assert_eq!(bench.contents().await, ["1 10 45", "2 10 145"]);
    let file = bench.file(Some("1"), 100..101).await;
    let overwrite = bench.request("c", 2, DeltaWrite::Replace(part("1")), vec![file]);
    let done = bench.commit(&overwrite).await.unwrap();
    assert_eq!(done, CommitOutcome { version: 3, is_repeated: false, removed: 1 });
    assert_eq!(bench.contents().await, ["1 1 100", "2 10 145"]);
    // A static overwrite with no rows empties its partition; a dynamic one with none changes nothing.
    let empty = bench.request("d", 3, DeltaWrite::Replace(part("2")), vec![]);
    assert_eq!(bench.commit(&empty).await.unwrap().removed, 1);
    let nothing = bench.request("e", 4, DeltaWrite::Replace(PartitionSet::none()), vec![]);
    assert_eq!(bench.commit(&nothing).await.unwrap().removed, 0);
    assert_eq!(bench.contents().await, ["1 1 100"]);
    let whole = DeltaWrite::Replace(PartitionSet::everything());
    let file = bench.file(Some("3"), 7..8).await;
    bench.commit(&bench.request("f", 5, whole, vec![file])).await.unwrap();
    assert_eq!(bench.contents().await, ["3 1 7"]);
}

#[tokio::test]
async fn rows_are_added_and_replaced_in_memory() {
    append_and_overwrite(Bench::memory().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_added_and_replaced_on_a_disk() {
    append_and_overwrite(Bench::disk().await).await;
}

/// All planned on version 0, all at once; one of them at a time can win a version.
async fn sixteen_writers(bench: Bench) {
    let bench = Arc::new(bench);
    let mut writers = tokio::task::JoinSet::new();
    for i in 0..16 {
        let bench = Arc::clone(&bench);
        writers.spawn(async move {
            let file = bench.file(Some(&format!("{}", i % 4)), i * 10..i * 10 + 10).await;
            bench.commit(&bench.request(&format!("w{i}"), 0, DeltaWrite::Append, vec![file])).await.unwrap().version
        });
    }
    let mut versions = writers.join_all().await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=16).collect::<Vec<_>>(), "each made a version of its own");
    let seen = bench.query("SELECT count(*), count(DISTINCT id), sum(id) FROM t").await.unwrap();
    assert_eq!(seen, ["160 160 12720"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_appends_all_arrive_in_memory() {
    sixteen_writers(Bench::memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_appends_all_arrive_on_a_disk() {
    sixteen_writers(Bench::disk().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_overwrites_of_disjoint_partitions_all_win() {
    let bench = Arc::new(Bench::disk().await);
    for i in 0..6 {
        bench.append(&format!("old{i}"), Some(&i.to_string()), 0..5).await;
    }
    let mut writers = tokio::task::JoinSet::new();
    for i in 0..6_i64 {
        let bench = Arc::clone(&bench);
        writers.spawn(async move {
            let ds = i.to_string();
            let file = bench.file(Some(&ds), i..i + 1).await;
            let write = DeltaWrite::Replace(part(&ds));
            let request = CommitRequest { reads: part(&ds), ..bench.request(&format!("w{i}"), 6, write, vec![file]) };
            bench.commit(&request).await.unwrap().removed
        });
    }
    assert_eq!(writers.join_all().await, [1; 6]);
    let expected: Vec<String> = (0..6).map(|i| format!("{i} 1 {i}")).collect();
    assert_eq!(bench.contents().await, expected);
}

#[tokio::test]
async fn a_repeated_commit_changes_nothing() {
    let bench = Bench::memory().await;
    let file = bench.file(Some("1"), 0..10).await;
    let request = bench.request("once", 0, DeltaWrite::Append, vec![file]);
    let first = bench.commit(&request).await.unwrap();
    bench.append("other", Some("1"), 10..12).await;
    let again = bench.commit(&request).await.unwrap();
    assert_eq!(again, CommitOutcome { version: first.version, is_repeated: true, removed: 0 });
    // The statement ran again from a newer version and wrote other files: still the same write.
    let file = bench.file(Some("1"), 0..10).await;
    let rerun = bench.request("once", 2, DeltaWrite::Append, vec![file]);
    assert_eq!(bench.commit(&rerun).await.unwrap().version, first.version);
    assert_eq!(bench.contents().await, ["1 12 66"]);
    let snapshot = bench.latest().await;
    assert_eq!(snapshot.transaction("once").await.unwrap(), Some(1));
    assert_eq!(snapshot.transaction("never").await.unwrap(), None);
}

fn rerun(error: CommitError) -> Clash {
    match error {
        CommitError::Rerun(_, clash) => clash,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_read_or_is_rewritten_must_still_be_so() {
    let bench = Bench::memory().await;
    bench.append("a", Some("1"), 0..10).await;
    let old = bench.latest().await.files().await.unwrap()[0].path.clone();
    bench.append("b", Some("1"), 10..20).await;
    let write = DeltaWrite::Rewrite([old.clone()].into());
    let delete = CommitRequest { searched: part("1"), ..bench.request("c", 1, write.clone(), vec![]) };
    let clash = rerun(bench.commit(&delete).await.unwrap_err());
    assert_eq!((clash.version, clash.run.as_deref()), (2, Some("run of b")));
    assert_eq!(clash.reason, ClashReason::ReadChanged { partition: Some(key("1")) });
    // From the newest version it goes through, and then its file is gone for others.
    let done = bench.commit(&CommitRequest { base_version: 2, ..delete }).await.unwrap();
    assert_eq!(done.removed, 1);
    let optimize = CommitRequest { changes_rows: false, ..bench.request("d", 2, write, vec![]) };
    let error = bench.commit(&optimize).await.unwrap_err();
    assert!(error.failure().is_retryable() && error.to_string().contains("run of c"), "{error}");
    assert_eq!(rerun(error).reason, ClashReason::FileGone { path: old });
    // A blind overwrite from before all of that takes the table as it is.
    let file = bench.file(Some("1"), 5..6).await;
    bench.commit(&bench.request("e", 0, DeltaWrite::Replace(part("1")), vec![file])).await.unwrap();
    assert_eq!(bench.contents().await, ["1 1 5"]);
}

#[tokio::test]
async fn another_table_in_its_place_is_a_conflict() {
    let bench = Bench::memory().await;
    let request = CommitRequest { table_id: "x".into(), ..bench.request("a", 0, DeltaWrite::Append, vec![]) };
    let error = bench.commit(&request).await.unwrap_err();
    assert!(matches!(&error, CommitError::Conflict(_, clash) if clash.reason == ClashReason::TableReplaced));
    assert!(!error.failure().is_retryable());
    let ahead = bench.request("a", 9, DeltaWrite::Append, vec![]);
    assert!(matches!(bench.commit(&ahead).await, Err(CommitError::Conflict(..))));
}

#[tokio::test]
async fn a_new_column_is_null_in_old_rows() {
    let bench = Bench::memory().await;
    bench.append("a", Some("1"), 0..2).await;
    let metadata = [("comment".to_owned(), "of late".to_owned())].into();
    let mut fields: Vec<FieldRef> = schema().fields().iter().cloned().collect();
    fields.insert(2, Arc::new(Field::new("score", DataType::Int32, true).with_metadata(metadata)));
    let change = MetadataChange {
        schema: Some(Arc::new(Schema::new(fields))),
        properties: BTreeMap::from([("p".to_owned(), Some("1".to_owned()))]),
        ..Default::default()
    };
    let alter = CommitRequest { metadata: Some(change), ..bench.request("b", 1, DeltaWrite::Append, vec![]) };
    assert_eq!(bench.commit(&alter).await.unwrap().version, 2);
    let columns = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![7])) as arrow::array::ArrayRef),
        ("score", Arc::new(arrow::array::Int32Array::from(vec![70])) as arrow::array::ArrayRef),
    ]);
    let file = bench.write(Some("2"), &columns.unwrap()).await;
    // Planned before the change: to be planned again.
    let stale = bench.request("c", 1, DeltaWrite::Append, vec![file.clone()]);
    assert_eq!(rerun(bench.commit(&stale).await.unwrap_err()).reason, ClashReason::TableChanged);
    bench.commit(&bench.request("c", 2, DeltaWrite::Append, vec![file])).await.unwrap();
    let got = bench.query("SELECT id, name, score, ds FROM t ORDER BY id").await.unwrap();
    assert_eq!(got, ["0 n00000  1", "1 n00001  1", "7  70 2"]);
    assert_eq!(bench.query("SELECT id FROM t WHERE score IS NULL ORDER BY id").await.unwrap(), ["0", "1"]);
    assert_eq!(bench.query("SELECT id FROM t WHERE score > 5").await.unwrap(), ["7"]);
    let snapshot = bench.latest().await;
    let field = snapshot.schema().field_with_name("score").unwrap().clone();
    assert_eq!(field.metadata().get("comment").map(String::as_str), Some("of late"));
    assert_eq!(snapshot.properties().get("p").map(String::as_str), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_written_and_read_back() {
    let bench = Bench::disk().await;
    for i in 0..12 {
        bench.append(&format!("a{i}"), Some(&format!("{}", i % 2)), i..i + 1).await;
    }
    let log = bench.location.local_path().unwrap().join("_delta_log");
    let checkpoint = log.join("00000000000000000010.checkpoint.parquet");
    assert!(checkpoint.exists());
    // What is before the checkpoint is not needed any more.
    for version in 0..10 {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    assert_eq!(bench.contents().await, ["0 6 30", "1 6 36"]);
    let snapshot = bench.latest().await;
    assert_eq!(snapshot.transaction("a3").await.unwrap(), Some(1));
    let file = bench.file(Some("0"), 0..1).await;
    let repeated = bench.commit(&bench.request("a3", 12, DeltaWrite::Append, vec![file])).await.unwrap();
    assert!(repeated.is_repeated);
    let failure = bench.at(VersionSpec::Version(4)).await.unwrap_err();
    assert_eq!(failure.code, "VERSION_NOT_FOUND");
    assert!(failure.hint.contains("10 to 12"), "{}", failure.hint);
    assert_eq!(bench.query("SELECT count(*) FROM t WHERE id >= 6").await.unwrap(), ["6"]);
}
