//! Rows that were left out, at the end of a publish: appended once, also to a table that has changed meanwhile; and no
//! reason to keep a place from being used.

use selvedge_engine::delta::{AddFile, LogChange, NewTable, NewVersion, Operation, apply_change, create_table};
use selvedge_engine::write::rejected_schema;

use super::*;
use crate::planning::{open_rejected, rejected_location};

fn new_table() -> NewTable {
    NewTable {
        app_id: "test".into(),
        schema: rejected_schema(),
        partition_by: vec![],
        properties: Default::default(),
        description: None,
        adds: vec![],
        operation: Operation::default(),
        run: None,
    }
}

async fn appended(table: &Table, app_id: &str, paths: &[&str]) -> LogChange {
    let base = open_rejected(&stores(), &table.location).await.unwrap();
    let add = |path: &&str| AddFile { path: (*path).into(), partition: vec![], bytes: 1, rows: 1, stats: None };
    LogChange {
        app_id: app_id.into(),
        run: None,
        operation: Operation::default(),
        adds: paths.iter().map(add).collect(),
        version: log::appended(&base),
    }
}

/// A publish that has done all but its last step.
async fn last_step(table: &Table, statement: u32, rejected: LogChange) -> PublishEntry {
    let stopped = table.stopped(statement, PublishState::Removed, None);
    let entry = PublishEntry { rejected: Some(rejected), ..stopped };
    table.store.open_publish(&entry, 1).await.unwrap();
    entry
}

#[tokio::test]
async fn they_are_appended_once_whatever_became_of_the_table() {
    let table = Table::new(&[]).await;
    let beside = rejected_location(&table.location);
    create_table(&stores(), &beside, &new_table()).await.unwrap();
    let rejected = appended(&table, "selvedge/r/1", &["x.parquet"]).await;
    // Somebody sets a property meanwhile.
    let mut altered = appended(&table, "other", &[]).await;
    if let NewVersion::Next { properties, .. } = &mut altered.version {
        properties.insert("team".into(), Some("us".into()));
    }
    apply_change(&stores(), &beside, &altered).await.unwrap();
    let entry = last_step(&table, 1, rejected.clone()).await;
    table.publishes.carry_on(entry).await.unwrap();
    // A crash right after it: the same again.
    let entry = last_step(&table, 1, rejected).await;
    table.publishes.carry_on(entry).await.unwrap();
    let newest = open_rejected(&stores(), &table.location).await.unwrap();
    let paths: Vec<String> = newest.files().await.unwrap().iter().map(|file| file.path.clone()).collect();
    assert_eq!((newest.version(), paths), (2, vec!["x.parquet".to_owned()]));
    assert!(!table.publishes.has_left());
}

#[tokio::test]
async fn a_table_that_is_gone_ends_the_publish_and_is_told() {
    let table = Table::new(&[]).await;
    create_table(&stores(), &rejected_location(&table.location), &new_table()).await.unwrap();
    let rejected = appended(&table, "selvedge/r/1", &["x.parquet"]).await;
    std::fs::remove_dir_all(table.dir.path().join("_rejected")).unwrap();
    let entry = last_step(&table, 1, rejected).await;
    let failure = table.publishes.carry_on(entry).await.unwrap_err();
    assert_eq!(failure.code, "REJECTED_NOT_KEPT", "{failure}");
    assert!(!table.publishes.has_left() && table.store.publishes().await.unwrap().is_empty());
}
