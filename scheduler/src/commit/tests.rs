//! Publishes on a local disk: what becomes visible, what goes, and what is left after a failure.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::LogicalPlanBuilder;
use selvedge_engine::catalog::{Catalog, Format, TableDef};
use selvedge_engine::store::{Location, ObjectStores, StoreOptions};
use selvedge_model::Failure;
use selvedge_model::commit::partition_dir;
use selvedge_model::manifest::{StagedFile, Staging};

use super::*;
use crate::catalog::DurableCatalog;
use crate::planning::LogTarget;
use crate::store::{SqliteStore, Store};

mod managed;
mod rejected;

const JOB: &str = "r-s1-a1";

struct Table {
    dir: tempfile::TempDir,
    location: Location,
    /// Type of the partition column.
    ds: DataType,
    store: Arc<SqliteStore>,
    catalog: Arc<Catalog>,
    publishes: Arc<Publishes>,
}

impl Table {
    async fn new(old: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::parse(dir.path().to_str().unwrap()).unwrap();
        let store = Arc::new(SqliteStore::memory().await.unwrap());
        let catalog = Catalog::new();
        let durable = DurableCatalog::new(Arc::clone(&catalog), store.clone());
        let publishes = Publishes::new(stores(), store.clone(), durable);
        let table = Self { dir, location, ds: DataType::Utf8, store, catalog, publishes };
        for ds in old {
            let parent = table.dir.path().join(format!("ds={ds}"));
            std::fs::create_dir_all(&parent).unwrap();
            std::fs::write(parent.join("old.parquet"), b"old").unwrap();
        }
        table
    }

    fn staged(&self, ds: &str, name: &str) -> StagedFile {
        self.staged_by(JOB, ds, name)
    }

    fn staged_by(&self, job: &str, ds: &str, name: &str) -> StagedFile {
        let root = self.dir.path().to_str().unwrap().trim_start_matches('/');
        let partition = vec![("ds".to_owned(), Some(ds.to_owned()))];
        let temporary = format!("{root}/.staging/{job}/{name}");
        let disk = Path::new("/").join(&temporary);
        std::fs::create_dir_all(disk.parent().unwrap()).unwrap();
        std::fs::write(&disk, b"new").unwrap();
        let path = format!("{root}/{}/{name}", partition_dir(&partition));
        StagedFile {
            path,
            staging: Staging::Temporary { path: temporary },
            rows: 2,
            bytes: 3,
            partition,
            stats: None,
            is_rejected: false,
        }
    }

    fn unstage(&self, name: &str) {
        std::fs::remove_file(self.dir.path().join(".staging").join(JOB).join(name)).unwrap();
    }

    async fn publish(&self, kind: WriteKind, rows: Vec<ManifestRow>, writers: u32) -> Result<Counters, Failure> {
        self.publish_as(1, self.write(kind, None), rows, writers).await
    }

    async fn publish_as(
        &self,
        statement: u32,
        write: PlannedWrite,
        rows: Vec<ManifestRow>,
        writers: u32,
    ) -> Result<Counters, Failure> {
        publish(&self.publishes, &write, id(statement), prove(&rows, writers)?).await.map(Option::unwrap)
    }

    fn write(&self, kind: WriteKind, create: Option<TableDef>) -> PlannedWrite {
        PlannedWrite {
            plan: LogicalPlanBuilder::empty(false).build().unwrap(),
            location: self.location.clone(),
            kind,
            partition_by: vec!["ds".to_owned()],
            target: "t".to_owned(),
            create,
            is_first: false,
            may_exist: false,
            schema: self.def("t").schema,
            log: None,
            marks_success: false,
            keeps_rejected: false,
            rows: crate::planning::Rows::OfPlan,
            done: String::new(),
        }
    }

    fn def(&self, name: &str) -> TableDef {
        TableDef {
            name: name.parse().unwrap(),
            format: Format::Parquet,
            location: self.location.clone(),
            schema: Arc::new(Schema::new(vec![Field::new("ds", self.ds.clone(), true)])),
            partition_by: vec!["ds".to_owned()],
            options: Default::default(),
            owner: String::new(),
        }
    }

    /// The record of an overwrite of partition 1 that stopped in a state.
    fn stopped(&self, statement: u32, state: PublishState, create: Option<TableDef>) -> PublishEntry {
        let name = format!("r-s{statement}-a1-0.parquet");
        let root = self.dir.path().to_str().unwrap().trim_start_matches('/');
        let record = PublishRecord {
            id: id(statement),
            location: self.location.to_string(),
            publish: vec![self.staged("1", &name)],
            remove: vec![format!("{root}/ds=1/old.parquet")],
            jobs: vec![format!("r-s{statement}-a1"), JOB.to_owned()],
            kind: PublishKind::Files,
            marks_success: false,
        };
        PublishEntry {
            record,
            state,
            create: create.map(|def| catalog::record(def, TableKind::Managed)),
            log: None,
            rejected: None,
        }
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

fn id(statement: u32) -> PublishId {
    PublishId { run: "r".parse().unwrap(), statement }
}

fn stores() -> ObjectStores {
    ObjectStores::new(StoreOptions::default())
}

fn row(writer: u32, stage_attempt: u32, file: Option<StagedFile>) -> ManifestRow {
    ManifestRow { writer, stage_attempt, task: format!("{JOB}/2.{stage_attempt}.{writer}.0"), file, report: None }
}

#[tokio::test]
async fn an_overwrite_replaces_what_it_says_and_clears_its_staging() {
    let table = Table::new(&["1", "2"]).await;
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
    let table = Table::new(&["1", "2"]).await;
    table.publish(WriteKind::OverwriteDynamic, vec![row(0, 0, None)], 1).await.unwrap();
    assert_eq!(table.files().len(), 2);
    let fixed = WriteKind::OverwriteStatic(vec![("ds".into(), Some("2".into()))]);
    table.publish(fixed, vec![row(0, 0, None)], 1).await.unwrap();
    assert_eq!(table.files(), ["ds=1/old.parquet"]);
    table.publish(WriteKind::Overwrite, vec![row(0, 0, None)], 1).await.unwrap();
    assert!(table.files().is_empty());
    assert!(table.store.publishes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_manifest_that_is_not_whole_publishes_and_removes_nothing() {
    let table = Table::new(&["1"]).await;
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
    let table = Table::new(&["1"]).await;
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
    let table = async || {
        let table = Table::new(&["01", "1", "10", "__HIVE_DEFAULT_PARTITION__"]).await;
        Table { ds: DataType::Int32, ..table }
    };
    let name = "r-s1-a1-2.0.0.0.0-0.parquet";
    let kept = ["ds=1/r-s1-a1-2.0.0.0.0-0.parquet", "ds=10/old.parquet", "ds=__HIVE_DEFAULT_PARTITION__/old.parquet"];
    let fixed = |value: Option<&str>| WriteKind::OverwriteStatic(vec![("ds".into(), value.map(Into::into))]);
    for kind in [WriteKind::OverwriteDynamic, fixed(Some("1"))] {
        let table = table().await;
        let new = table.staged("1", name);
        table.publish(kind, vec![row(0, 0, Some(new)), row(0, 0, None)], 1).await.unwrap();
        assert_eq!(table.files(), kept);
    }
    let table = table().await;
    table.publish(fixed(None), vec![row(0, 0, None)], 1).await.unwrap();
    assert_eq!(table.files(), ["ds=01/old.parquet", "ds=1/old.parquet", "ds=10/old.parquet"]);
}

/// `CREATE TABLE name LOCATION '...' AS`, or `CREATE OR REPLACE` when it is not the first.
fn create_as(table: &Table, name: &str, is_first: bool) -> PlannedWrite {
    PlannedWrite { is_first, ..table.write(WriteKind::Overwrite, Some(table.def(name))) }
}

#[tokio::test]
async fn of_two_statements_that_make_one_table_or_fill_one_place_the_second_is_refused() {
    let here = Table::new(&[]).await;
    let there = Table { publishes: Arc::clone(&here.publishes), ..Table::new(&[]).await };
    let make = async |table: &Table, name: &str, is_first: bool, n: u32| {
        let new = table.staged("1", &format!("{JOB}-2.0.0.0.0-{n}.parquet"));
        let rows = vec![row(0, 0, Some(new)), row(0, 0, None)];
        let made = table.publish_as(n, create_as(table, name, is_first), rows, 1).await;
        if made.is_err() {
            discard_from(&stores(), &table.location, Vec::new(), JOB).await;
        }
        made.map(|counters| counters.files_written).map_err(|failure| failure.code)
    };
    let both = tokio::join!(make(&here, "t", true, 0), make(&here, "u", true, 1));
    assert_eq!(both, (Ok(1), Err("LOCATION_NOT_EMPTY".to_owned())));
    assert_eq!(here.files(), ["ds=1/r-s1-a1-2.0.0.0.0-0.parquet"]);
    assert!(here.catalog.table(&"u".parse().unwrap()).is_none());

    assert_eq!(make(&there, "t", true, 2).await, Err("TABLE_EXISTS".to_owned()));
    assert!(there.files().is_empty());
    let at = |location: &Location| here.catalog.table(&"t".parse().unwrap()).unwrap().location == *location;
    assert!(at(&here.location));
    assert_eq!(make(&there, "t", false, 3).await, Ok(1), "a table that is to be replaced may be there");
    assert!(at(&there.location));

    // IF NOT EXISTS: one that was made meanwhile will do.
    let new = here.staged("1", &format!("{JOB}-2.0.0.0.0-4.parquet"));
    let proven = prove(&[row(0, 0, Some(new)), row(0, 0, None)], 1).unwrap();
    let again = PlannedWrite { may_exist: true, ..create_as(&here, "t", true) };
    assert_eq!(publish(&here.publishes, &again, id(4), proven).await.unwrap(), None);
    assert!(at(&there.location));
    assert!(here.store.publishes().await.unwrap().is_empty());
}

/// Puts an obstacle in the way of a publish: a file where the directory of its partition is to be.
fn obstruct(table: &Table, ds: &str) -> std::path::PathBuf {
    let place = table.dir.path().join(format!("ds={ds}"));
    std::fs::write(&place, b"in the way").unwrap();
    place
}

#[tokio::test]
async fn a_publish_that_is_stopped_is_left_whole_and_carried_on_by_the_next_statement() {
    let table = Table::new(&["1"]).await;
    let names = ["r-s1-a1-2.0.0.0.0-0.parquet", "r-s1-a1-2.0.0.0.0-1.parquet"];
    let rows = vec![
        row(0, 0, Some(table.staged("1", names[0]))),
        row(0, 0, Some(table.staged("2", names[1]))),
        row(0, 0, None),
    ];
    let obstacle = obstruct(&table, "2");
    let failure = table.publish(WriteKind::OverwriteDynamic, rows, 1).await.unwrap_err();
    assert_eq!(failure.code, "PUBLISH_UNFINISHED", "{failure}");
    assert!(table.publishes.is_left(&id(1)));
    assert_eq!(table.store.publishes().await.unwrap()[0].state, PublishState::Prepared);
    assert!(table.dir.path().join("ds=1/old.parquet").exists(), "nothing goes before all is there");
    // As long as it cannot be ended, nobody reads or writes there; elsewhere nobody is concerned.
    let below = table.location.join("ds=1/");
    let elsewhere = Location::parse("/tmp/selvedge-elsewhere/").unwrap();
    assert_eq!(table.publishes.settle_for(&[below]).await.unwrap_err().code, "PUBLISH_UNFINISHED");
    table.publishes.settle_for(&[elsewhere]).await.unwrap();
    std::fs::remove_file(obstacle).unwrap();
    let next = table.staged_by("r-s2-a1", "3", "r-s2-a1-0.parquet");
    let mut row = row(0, 0, Some(next));
    row.task = "r-s2-a1/0.0.0.0".to_owned();
    let end = ManifestRow { file: None, ..row.clone() };
    let write = table.write(WriteKind::Append, None);
    table.publish_as(2, write, vec![row, end], 1).await.unwrap();
    let files = [format!("ds=1/{}", names[0]), format!("ds=2/{}", names[1]), "ds=3/r-s2-a1-0.parquet".to_owned()];
    assert_eq!(table.files(), files);
    assert!(!table.publishes.has_left() && table.store.publishes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_start_carries_on_from_every_recorded_state() {
    for state in [PublishState::Prepared, PublishState::Published, PublishState::Removed, PublishState::Withdrawn] {
        let table = Table::new(&["1"]).await;
        let entry = table.stopped(1, state, Some(table.def("t")));
        let disk = |path: &str| std::path::PathBuf::from("/").join(path);
        if matches!(state, PublishState::Published | PublishState::Removed) {
            write::publish_file(&stores(), &table.location, &entry.record.publish[0]).await.unwrap();
        }
        if state == PublishState::Removed {
            std::fs::remove_file(disk(&entry.record.remove[0])).unwrap();
        }
        table.store.open_publish(&entry, 1).await.unwrap();
        table.publishes.recover().await.unwrap();
        let (files, made) = match state {
            PublishState::Withdrawn => ("ds=1/old.parquet", false),
            _ => ("ds=1/r-s1-a1-0.parquet", true),
        };
        assert_eq!(table.files(), [files], "{state:?}");
        assert_eq!(table.catalog.table(&"t".parse().unwrap()).is_some(), made, "{state:?}");
        assert_eq!(table.store.catalog().await.unwrap().tables.len(), usize::from(made), "{state:?}");
        assert!(table.store.publishes().await.unwrap().is_empty());
        // Somebody who had read the record before, and wakes now.
        let _ = table.publishes.carry_on(entry).await;
        assert_eq!(table.files(), [files], "{state:?} again");
    }
}

#[tokio::test]
async fn a_new_tables_publish_makes_it_and_a_name_that_was_taken_meanwhile_does_not_undo_it() {
    let table = Table::new(&[]).await;
    let rows = vec![row(0, 0, Some(table.staged("1", "r-s1-a1-0.parquet"))), row(0, 0, None)];
    table.publish_as(1, table.write(WriteKind::Overwrite, Some(table.def("t"))), rows, 1).await.unwrap();
    assert_eq!(table.catalog.table(&"t".parse().unwrap()), Some(table.def("t")));
    // The schema of another table is dropped while that one is being published.
    let gone = TableDef { name: "gone.t".parse().unwrap(), ..table.def("t") };
    let entry = PublishEntry {
        record: PublishRecord { remove: vec![], ..table.stopped(2, PublishState::Prepared, None).record },
        state: PublishState::Prepared,
        rejected: None,
        create: Some(catalog::record(gone, TableKind::Managed)),
        log: None,
    };
    table.publishes.open(&entry).await.unwrap();
    let failure = table.publishes.carry_on(entry).await.unwrap_err();
    assert_eq!(failure.code, "SCHEMA_NOT_FOUND");
    assert_eq!(table.files(), ["ds=1/r-s1-a1-0.parquet", "ds=1/r-s2-a1-0.parquet"]);
    assert!(table.store.publishes().await.unwrap().is_empty() && !table.publishes.has_left());
}
