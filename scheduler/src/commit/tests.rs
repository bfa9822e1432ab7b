//! Publishes on a local disk: what becomes visible, what goes, and what is left after a failure.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::LogicalPlanBuilder;
use selvedge_engine::catalog::{Format, TableDef};
use selvedge_engine::session::{Engine, EngineOptions};
use selvedge_engine::store::{Location, ObjectStores, StoreOptions};
use selvedge_model::commit::{WriteKind, partition_dir};
use selvedge_model::manifest::{ManifestRow, StagedFile, Staging};

use super::{Turns, discard_from, prove, publish, publish_to};
use crate::planning::PlannedWrite;

const JOB: &str = "r-s1-a1";

struct Table {
    dir: tempfile::TempDir,
    location: Location,
    /// Type of the partition column.
    ds: DataType,
}

impl Table {
    fn new(old: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::parse(dir.path().to_str().unwrap()).unwrap();
        let table = Self { dir, location, ds: DataType::Utf8 };
        for ds in old {
            let parent = table.dir.path().join(format!("ds={ds}"));
            std::fs::create_dir_all(&parent).unwrap();
            std::fs::write(parent.join("old.parquet"), b"old").unwrap();
        }
        table
    }

    fn staged(&self, ds: &str, name: &str) -> StagedFile {
        let root = self.dir.path().to_str().unwrap().trim_start_matches('/');
        let partition = vec![("ds".to_owned(), Some(ds.to_owned()))];
        let temporary = format!("{root}/.staging/{JOB}/{name}");
        let disk = Path::new("/").join(&temporary);
        std::fs::create_dir_all(disk.parent().unwrap()).unwrap();
        std::fs::write(&disk, b"new").unwrap();
        let path = format!("{root}/{}/{name}", partition_dir(&partition));
        StagedFile { path, staging: Staging::Temporary { path: temporary }, rows: 2, bytes: 3, partition }
    }

    fn unstage(&self, name: &str) {
        std::fs::remove_file(self.dir.path().join(".staging").join(JOB).join(name)).unwrap();
    }

    async fn publish(
        &self,
        kind: WriteKind,
        rows: Vec<ManifestRow>,
        writers: u32,
    ) -> Result<selvedge_model::run::Counters, selvedge_model::Failure> {
        let fields = [Arc::new(Field::new("ds", self.ds.clone(), true))];
        publish_to(&stores(), &self.location, &kind, &fields, prove(&rows, writers)?).await.map(|p| p.counters)
    }

    fn files(&self) -> Vec<String> {
        fn walk(directory: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(directory).unwrap().flatten() {
                let path = entry.path();
                match path.is_dir() {
                    true => walk(&path, root, found),
                    false => found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()),
                }
            }
        }
        let mut found = Vec::new();
        walk(self.dir.path(), self.dir.path(), &mut found);
        found.sort_unstable();
        found
    }
}

fn stores() -> ObjectStores {
    ObjectStores::new(StoreOptions::default())
}

fn row(writer: u32, stage_attempt: u32, file: Option<StagedFile>) -> ManifestRow {
    ManifestRow { writer, stage_attempt, task: format!("{JOB}/2.{stage_attempt}.{writer}.0"), file }
}

#[tokio::test]
async fn an_overwrite_replaces_what_it_says_and_clears_its_staging() {
    let table = Table::new(&["1", "2"]);
    let superseded = table.staged("1", "r-s1-a1-2.0.0.0.0-0.parquet");
    let new = table.staged("1", "r-s1-a1-2.1.0.0.0-0.parquet");
    table.staged("2", "r-s1-a1-9.9.9.9.0-0.parquet"); // An attempt that never reported.
    let rows =
        vec![row(0, 0, Some(superseded)), row(0, 0, None), row(0, 1, Some(new)), row(0, 1, None), row(1, 1, None)];
    let counters = table.publish(WriteKind::OverwriteDynamic, rows, 2).await.unwrap();
    assert_eq!((counters.rows_written, counters.bytes_written, counters.files_written), (2, 3, 1));
    assert_eq!(table.files(), ["ds=1/r-s1-a1-2.1.0.0.0-0.parquet", "ds=2/old.parquet"]);
}

#[tokio::test]
async fn an_empty_result_replaces_only_what_its_kind_promises() {
    let table = Table::new(&["1", "2"]);
    table.publish(WriteKind::OverwriteDynamic, vec![row(0, 0, None)], 1).await.unwrap();
    assert_eq!(table.files().len(), 2);
    let fixed = WriteKind::OverwriteStatic(vec![("ds".into(), Some("2".into()))]);
    table.publish(fixed, vec![row(0, 0, None)], 1).await.unwrap();
    assert_eq!(table.files(), ["ds=1/old.parquet"]);
    table.publish(WriteKind::Overwrite, vec![row(0, 0, None)], 1).await.unwrap();
    assert!(table.files().is_empty());
}

#[tokio::test]
async fn a_manifest_that_is_not_whole_publishes_and_removes_nothing() {
    let table = Table::new(&["1"]);
    let new = table.staged("1", "r-s1-a1-2.0.0.0.0-0.parquet");
    let rows = vec![row(0, 0, Some(new)), row(0, 0, None)];
    let failure = table.publish(WriteKind::Overwrite, rows.clone(), 2).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.is_retryable()), ("RESULT_DOUBTFUL", true));
    discard_from(&stores(), &table.location, rows, JOB).await;
    assert_eq!(table.files(), ["ds=1/old.parquet"]);
    // Reports that were all lost are not an empty result.
    assert!(table.publish(WriteKind::Overwrite, vec![], 1).await.is_err());
    assert_eq!(table.files(), ["ds=1/old.parquet"]);
}

#[tokio::test]
async fn a_publish_that_fails_half_way_takes_back_what_was_out() {
    let table = Table::new(&["1"]);
    let names = ["r-s1-a1-2.0.0.0.0-0.parquet", "r-s1-a1-2.0.0.0.0-1.parquet", "r-s1-a1-2.0.0.0.0-2.parquet"];
    let mut rows: Vec<_> = names.iter().map(|name| row(0, 0, Some(table.staged("1", name)))).collect();
    rows.push(row(0, 0, None));
    table.unstage(names[1]);
    let failure = table.publish(WriteKind::Overwrite, rows.clone(), 1).await.unwrap_err();
    assert_eq!(failure.code, "STAGING_LOST");
    discard_from(&stores(), &table.location, rows, JOB).await;
    assert_eq!(table.files(), ["ds=1/old.parquet"]);
}

#[tokio::test]
async fn directories_that_another_engine_spelt_otherwise_are_replaced_too() {
    let table = || Table { ds: DataType::Int32, ..Table::new(&["01", "1", "10", "__HIVE_DEFAULT_PARTITION__"]) };
    let name = "r-s1-a1-2.0.0.0.0-0.parquet";
    let kept = ["ds=1/r-s1-a1-2.0.0.0.0-0.parquet", "ds=10/old.parquet", "ds=__HIVE_DEFAULT_PARTITION__/old.parquet"];
    let fixed = |value: Option<&str>| WriteKind::OverwriteStatic(vec![("ds".into(), value.map(Into::into))]);
    for kind in [WriteKind::OverwriteDynamic, fixed(Some("1"))] {
        let table = table();
        let new = table.staged("1", name);
        table.publish(kind, vec![row(0, 0, Some(new)), row(0, 0, None)], 1).await.unwrap();
        assert_eq!(table.files(), kept);
    }
    let table = table();
    table.publish(fixed(None), vec![row(0, 0, None)], 1).await.unwrap();
    assert_eq!(table.files(), ["ds=01/old.parquet", "ds=1/old.parquet", "ds=10/old.parquet"]);
}

fn engine() -> Arc<Engine> {
    Engine::new(EngineOptions {
        store: StoreOptions::default(),
        warehouse: Location::parse("/tmp/selvedge-none").unwrap(),
        memory_bytes: None,
        spill_dir: None,
        spill_limit_bytes: None,
        target_partitions: 2,
    })
    .unwrap()
}

/// `CREATE TABLE name LOCATION '...' AS`, or `CREATE OR REPLACE` when it is not the first.
fn create_as(table: &Table, name: &str, is_first: bool) -> PlannedWrite {
    let schema = Arc::new(Schema::new(vec![Field::new("ds", table.ds.clone(), true)]));
    let create = TableDef {
        name: name.parse().unwrap(),
        format: Format::Parquet,
        location: table.location.clone(),
        schema: schema.clone(),
        partition_by: vec!["ds".to_owned()],
        options: Default::default(),
    };
    PlannedWrite {
        plan: LogicalPlanBuilder::empty(false).build().unwrap(),
        location: table.location.clone(),
        kind: WriteKind::Overwrite,
        partition_by: create.partition_by.clone(),
        target: name.to_owned(),
        create: Some(create),
        is_first,
        may_exist: false,
        schema,
    }
}

#[tokio::test]
async fn of_two_statements_that_make_one_table_or_fill_one_place_the_second_is_refused() {
    let (engine, turns) = (engine(), Arc::new(Turns::default()));
    let (here, there) = (Table::new(&[]), Table::new(&[]));
    let make = async |table: &Table, name: &str, is_first: bool, n: u32| {
        let new = table.staged("1", &format!("{JOB}-2.0.0.0.0-{n}.parquet"));
        let proven = prove(&[row(0, 0, Some(new)), row(0, 0, None)], 1).unwrap();
        let made = publish(&engine, &create_as(table, name, is_first), proven, &turns).await;
        if made.is_err() {
            discard_from(&stores(), &table.location, Vec::new(), JOB).await;
        }
        made.map(|counters| counters.unwrap().files_written).map_err(|failure| failure.code)
    };
    let both = tokio::join!(make(&here, "t", true, 0), make(&here, "u", true, 1));
    assert_eq!(both, (Ok(1), Err("LOCATION_NOT_EMPTY".to_owned())));
    assert_eq!(here.files(), ["ds=1/r-s1-a1-2.0.0.0.0-0.parquet"]);
    assert!(engine.catalog().table(&"u".parse().unwrap()).is_none());

    assert_eq!(make(&there, "t", true, 2).await, Err("TABLE_EXISTS".to_owned()));
    assert!(there.files().is_empty());
    let at = |location: &Location| engine.catalog().table(&"t".parse().unwrap()).unwrap().location == *location;
    assert!(at(&here.location));
    assert_eq!(make(&there, "t", false, 3).await, Ok(1), "a table that is to be replaced may be there");
    assert!(at(&there.location));

    // IF NOT EXISTS: one that was made meanwhile will do.
    let new = here.staged("1", &format!("{JOB}-2.0.0.0.0-4.parquet"));
    let proven = prove(&[row(0, 0, Some(new)), row(0, 0, None)], 1).unwrap();
    let again = PlannedWrite { may_exist: true, ..create_as(&here, "t", true) };
    assert_eq!(publish(&engine, &again, proven, &turns).await.unwrap(), None);
    assert!(at(&there.location));
}
