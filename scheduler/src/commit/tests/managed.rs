//! Publishes where a managed table is: plain files keep out of it, and what its log names stays.

use super::*;

#[tokio::test]
async fn plain_files_are_not_published_among_those_of_a_managed_table() {
    let table = Table::new(&["1"]).await;
    let log = table.dir.path().join("_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    std::fs::write(log.join("00000000000000000000.json"), b"{}").unwrap();
    let rows = vec![row(0, 0, Some(table.staged("1", "r-s1-a1-0.parquet"))), row(0, 0, None)];
    let failure = table.publish(WriteKind::Overwrite, rows, 1).await.unwrap_err();
    assert_eq!(failure.code, "NOT_SUPPORTED", "{failure}");
    assert!(table.dir.path().join("ds=1/old.parquet").exists());
    let part = Location::parse(&format!("{}/ds=1/", table.dir.path().display())).unwrap();
    let around = managed_around(&stores(), &part).await.unwrap().unwrap();
    assert_eq!(around.as_directory(), table.location.as_directory());
}

/// Withdrawn by mistake or not: what the log names is not removed.
#[tokio::test]
async fn files_that_the_log_names_are_never_taken_back() {
    let table = Table::new(&[]).await;
    let rows = vec![row(0, 0, Some(table.staged("1", "r-s1-a1-0.parquet"))), row(0, 0, None)];
    let log = LogTarget::of_new_table();
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("ds", DataType::Utf8, true)]);
    let write = PlannedWrite { log: Some(log), schema: Arc::new(schema), ..table.write(WriteKind::Overwrite, None) };
    let proven = prove(&rows, 1).unwrap();
    let (entry, _) = record(&table.publishes, &write, id(1), proven).await.unwrap();
    table.publishes.carry_on(entry.clone()).await.unwrap();
    let there = table.dir.path().join("ds=1/r-s1-a1-0.parquet");
    assert!(there.exists());
    let withdrawn = PublishEntry { state: PublishState::Withdrawn, ..entry };
    table.store.open_publish(&withdrawn, 1).await.unwrap();
    assert!(table.publishes.carry_on(withdrawn).await.is_err());
    assert!(there.exists(), "the newest version names it");
    table.publishes.settle_for(std::slice::from_ref(&table.location)).await.unwrap();
}
