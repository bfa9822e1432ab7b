//! Publishes on a local disk: what becomes visible, what goes, and what is left after a failure.

use std::path::Path;

use selvedge_engine::store::{Location, ObjectStores, StoreOptions};
use selvedge_model::commit::{WriteKind, partition_dir};
use selvedge_model::manifest::{ManifestRow, StagedFile, Staging};

use super::{discard_from, publish_to};

const JOB: &str = "r-s1-a1";

struct Table {
    dir: tempfile::TempDir,
    location: Location,
}

impl Table {
    fn new(old: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::parse(dir.path().to_str().unwrap()).unwrap();
        let table = Self { dir, location };
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
        publish_to(&stores(), &self.location, &kind, &["ds".to_owned()], rows, writers).await
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
    assert_eq!(failure.code, "MANIFEST_INCOMPLETE");
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
