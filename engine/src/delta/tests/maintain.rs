//! What keeps a table in order: files rewritten, versions restored, columns and properties changed, garbage found.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use selvedge_model::delta::ClashReason;
use selvedge_model::vacuum::{Garbage, VacuumFacts, choose};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn ms(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Bench {
    async fn files(&self) -> Vec<DeltaFile> {
        let mut files = self.latest().await.files().await.unwrap().to_vec();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    /// The rows of some files, by their ids.
    async fn ids_of(&self, paths: &BTreeSet<String>, groups: usize) -> Vec<String> {
        let table = Arc::new(DeltaTable::new(Arc::new(self.latest().await), VersionSpec::Latest));
        let files = self.files().await.into_iter().filter(|file| paths.contains(&file.path)).collect();
        let files = DeltaFiles::new(table, files).in_partitions(groups);
        let plan = LogicalPlanBuilder::scan("x", provider_as_source(Arc::new(files)), None).unwrap().build().unwrap();
        let frame = self.session().execute_logical_plan(plan).await.unwrap();
        let plan = frame.clone().create_physical_plan().await.unwrap();
        let partitions = datafusion::physical_plan::ExecutionPlanProperties::output_partitioning(&plan);
        assert!(partitions.partition_count() <= groups, "{partitions:?}");
        let mut ids: Vec<String> = Vec::new();
        for batch in frame.collect().await.unwrap() {
            let column = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().clone();
            ids.extend(column.iter().flatten().map(|id| id.to_string()));
        }
        ids.sort();
        ids
    }

    /// The commit that makes a version the table again.
    async fn restoring(&self, app_id: &str, version: i64) -> CommitRequest {
        let (now, then) = (self.latest().await, self.at(VersionSpec::Version(version)).await.unwrap());
        let (before, after) = (now.files().await.unwrap(), then.files().await.unwrap());
        let lacks = |files: &[DeltaFile], file: &DeltaFile| !files.iter().any(|f| f.path == file.path);
        let removed = before.iter().filter(|f| lacks(&after, f)).map(|f| f.path.clone()).collect();
        let adds = after.iter().filter(|f| lacks(&before, f)).map(AddFile::of_file).collect();
        CommitRequest {
            reads: PartitionSet::everything(),
            searched: PartitionSet::none(),
            ..self.request(app_id, now.version(), DeltaWrite::Restore(removed), adds)
        }
    }
}

#[tokio::test]
async fn exactly_the_named_files_are_scanned() {
    let bench = Bench::memory().await;
    for (i, ds) in ["1", "1", "2"].iter().enumerate() {
        let first = i64::try_from(i).unwrap() * 2;
        bench.append(&format!("a{i}"), Some(ds), first..first + 2).await;
    }
    let by_first_id: BTreeMap<String, String> = {
        let mut found = BTreeMap::new();
        for file in bench.files().await {
            let only = [file.path.clone()].into();
            found.insert(bench.ids_of(&only, 1).await.concat(), file.path);
        }
        found
    };
    assert_eq!(by_first_id.keys().collect::<Vec<_>>(), ["01", "23", "45"]);
    let two: BTreeSet<String> = ["01", "45"].map(|ids| by_first_id[ids].clone()).into();
    assert_eq!(bench.ids_of(&two, 1).await, ["0", "1", "4", "5"]);
    assert_eq!(bench.ids_of(&two, 2).await, ["0", "1", "4", "5"]);
    assert!(bench.ids_of(&BTreeSet::new(), 1).await.is_empty());
}

#[tokio::test]
async fn a_version_is_restored_with_what_is_known_of_its_files() {
    let bench = Bench::memory().await;
    bench.append("a", Some("1"), 0..10).await;
    bench.append("b", Some("2"), 10..20).await;
    let known = bench.files().await;
    let whole = DeltaWrite::Replace(PartitionSet::everything());
    let file = bench.file(Some("3"), 7..8).await;
    bench.commit(&bench.request("c", 2, whole, vec![file])).await.unwrap();
    let done = bench.commit(&bench.restoring("d", 2).await).await.unwrap();
    assert_eq!((done.version, done.removed), (4, 1));
    assert_eq!(bench.contents().await, ["1 10 45", "2 10 145"]);
    let facts = |files: &[DeltaFile]| {
        files.iter().map(|f| (f.path.clone(), f.key.clone(), f.rows, f.stats.clone())).collect::<Vec<_>>()
    };
    assert_eq!(facts(&bench.files().await), facts(&known));
    // And the one that was replaced by it can come back in its turn.
    bench.commit(&bench.restoring("e", 3).await).await.unwrap();
    assert_eq!(bench.contents().await, ["3 1 7"]);
}

#[tokio::test]
async fn a_restore_is_run_again_when_rows_came_or_went() {
    let bench = Bench::memory().await;
    bench.append("a", Some("1"), 0..10).await;
    bench.append("b", Some("1"), 10..20).await;
    let first = bench.at(VersionSpec::Version(1)).await.unwrap().files().await.unwrap()[0].path.clone();
    let restore = bench.restoring("r", 1).await;
    // Somebody removes the file that it would leave.
    bench.commit(&bench.request("c", 2, DeltaWrite::Rewrite([first].into()), vec![])).await.unwrap();
    let error = bench.commit(&restore).await.unwrap_err();
    assert!(
        matches!(&error, CommitError::Rerun(_, clash) if matches!(clash.reason, ClashReason::ReadChanged { .. })),
        "{error:?}"
    );
    // Two that restore the same version at the same time: the second is not taken for the first.
    let (one, two) = (bench.restoring("one", 1).await, bench.restoring("two", 1).await);
    assert!(!bench.commit(&one).await.unwrap().is_repeated);
    assert!(matches!(bench.commit(&two).await, Err(CommitError::Rerun(..))));
    assert!(bench.commit(&one).await.unwrap().is_repeated);
    assert_eq!(bench.contents().await, ["1 10 45"]);
}

#[tokio::test]
async fn files_that_are_gone_are_named_before_they_are_restored() {
    let bench = Bench::memory().await;
    let there = bench.file(Some("1"), 0..1).await;
    let gone = AddFile { path: "ds=1/gone.parquet".into(), ..there.clone() };
    let (stores, location) = (bench.stores(), &bench.location);
    check_there(stores, location, &[]).await.unwrap();
    check_there(stores, location, std::slice::from_ref(&there)).await.unwrap();
    let failure = check_there(stores, location, &[there, gone.clone(), gone]).await.unwrap_err();
    assert_eq!(failure.code, "FILES_DELETED");
    assert!(failure.cause.starts_with("ds=1/gone.parquet and 1 other"), "{}", failure.cause);
}

#[tokio::test]
async fn a_table_that_lacks_a_file_is_not_vacuumed() {
    let bench = Bench::memory().await;
    bench.append("a", Some("1"), 0..1).await;
    assert_eq!(table_files(bench.stores(), &bench.location, 0).await.unwrap().live.len(), 1);
    let path = bench.location.join(&bench.files().await[0].path);
    bench.stores().get(&bench.location).unwrap().delete(path.path()).await.unwrap();
    let failure = table_files(bench.stores(), &bench.location, 0).await.unwrap_err();
    assert_eq!(failure.code, "FILES_MISSING", "{failure}");
}

#[tokio::test]
async fn columns_and_properties_are_changed_by_what_lasts_in_the_journal() {
    let bench = Bench::memory().await;
    bench.append("a", Some("1"), 0..2).await;
    let change = |app_id: &str, columns: Option<Columns>, properties: &[(&str, Option<&str>)], base| LogChange {
        app_id: app_id.into(),
        run: None,
        adds: vec![],
        operation: operation("ALTER"),
        version: NewVersion::Next {
            table_id: bench.table_id.clone(),
            base_version: base,
            write: DeltaWrite::Append,
            reads: PartitionSet::none(),
            searched: PartitionSet::none(),
            changes_rows: false,
            columns,
            properties: properties.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect(),
        },
    };
    let mut fields = schema().fields().to_vec();
    fields.insert(2, Arc::new(Field::new("score", DataType::Int32, true)));
    let columns = Columns::new(&Schema::new(fields), &["ds".to_owned()]).unwrap();
    let alter = change("alter", Some(columns), &[("p", Some("1")), ("q", Some("2"))], 1);
    let read: LogChange = serde_json::from_str(&serde_json::to_string(&alter).unwrap()).unwrap();
    assert_eq!(read, alter);
    apply_change(bench.stores(), &bench.location, &read).await.unwrap();
    assert_eq!(bench.query("SELECT id, score IS NULL, ds FROM t ORDER BY id").await.unwrap(), ["0 true 1", "1 true 1"]);
    let unset = change("unset", None, &[("p", None)], 2);
    assert_eq!(apply_change(bench.stores(), &bench.location, &unset).await.unwrap().version, 3);
    let snapshot = bench.latest().await;
    assert_eq!((snapshot.properties().get("p"), snapshot.properties()["q"].as_str()), (None, "2"));
    let names: Vec<_> = snapshot.schema().fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["id", "name", "score", "ds"]);
    // What was recorded before there were properties is still read.
    let mut old: serde_json::Value = serde_json::to_value(&unset).unwrap();
    old["version"]["next"].as_object_mut().unwrap().remove("properties");
    assert!(serde_json::from_value::<LogChange>(old).is_ok());
}

/// Makes files look as old as they are said to be.
fn age(bench: &Bench, path: &str, days: u32, now: SystemTime) {
    let path = bench.location.local_path().unwrap().join(path);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(now - DAY * days).unwrap();
}

async fn garbage(bench: &Bench, now: SystemTime, retention: Duration) -> Garbage {
    let retention_ms = i64::try_from(retention.as_millis()).unwrap();
    let found = table_files(bench.stores(), &bench.location, ms(now) - retention_ms).await.unwrap();
    choose(&VacuumFacts {
        listed: &found.listed,
        live: &found.live,
        removed: &found.removed,
        in_flight: &BTreeSet::new(),
        open_jobs: &BTreeSet::new(),
        others: &BTreeSet::new(),
        now_ms: ms(now),
        retention_ms,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_what_no_version_of_late_names() {
    let bench = Bench::disk().await;
    let now = SystemTime::now();
    let log = |version: u64| format!("_delta_log/{version:020}.json");
    let odd = "a b/50%20ü";
    // Day 40: a file; day 30: replaced; day 3: replaced again; an orphan of day 20, one of today.
    for (version, ds, days) in [(1, Some(odd), 40), (2, Some(odd), 30), (3, Some(odd), 3)] {
        let file = bench.file(ds, version..version + 1).await;
        age(&bench, &file.path, days, now);
        let write = DeltaWrite::Replace(part(odd));
        bench.commit(&bench.request(&format!("w{version}"), version - 1, write, vec![file])).await.unwrap();
        age(&bench, &log(u64::try_from(version).unwrap()), days, now);
    }
    age(&bench, &log(0), 50, now);
    let mut of_version = Vec::new();
    for version in 1..=3 {
        of_version.push(bench.at(VersionSpec::Version(version)).await.unwrap().files().await.unwrap()[0].path.clone());
    }
    let (orphan, young) = (bench.file(Some("x"), 0..1).await.path, bench.file(Some("x"), 0..1).await.path);
    age(&bench, &orphan, 20, now);
    age(&bench, &young, 0, now);
    let went = |garbage: Garbage| garbage.files.into_iter().map(|f| f.path).collect::<BTreeSet<_>>();
    let week = went(garbage(&bench, now, DAY * 7).await);
    assert_eq!(week, [of_version[0].clone(), orphan.clone()].into(), "the second was the table's until day 3");
    let month = went(garbage(&bench, now, DAY * 35).await);
    assert!(month.is_empty(), "the first was the table's until day 30, and the orphan is younger: {month:?}");
    let day = went(garbage(&bench, now, DAY).await);
    assert_eq!(day, [of_version[0].clone(), of_version[1].clone(), orphan].into());
    let all = table_files(bench.stores(), &bench.location, i64::MIN).await.unwrap();
    assert_eq!(all.live, [of_version[2].clone()].into());
    assert_eq!(
        all.removed.keys().cloned().collect::<BTreeSet<_>>(),
        of_version[..2].iter().cloned().collect::<BTreeSet<_>>()
    );
    assert!(
        all.live.iter().all(|live| all.listed.iter().any(|f| f.path == *live)),
        "live files are found by their names"
    );
    assert!(all.listed.iter().any(|f| f.path == log(0)));
}
