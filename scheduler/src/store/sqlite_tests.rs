//! What is put into a store is there again, also in a new process's; what must not be opened is refused.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use selvedge_engine::catalog::{Format, TableDef};
use selvedge_model::expectation::{Expectation, OnViolation, Rule};
use selvedge_model::failure::HasFailure as _;
use selvedge_model::manifest::{StagedFile, Staging};
use selvedge_model::publish::{PublishKind, PublishRecord};

use super::super::{ExpectationRecord, TableKind};
use super::*;

fn table(name: &str) -> TableRecord {
    let note = HashMap::from([("comment".to_owned(), "net".to_owned())]);
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("price", DataType::Decimal128(15, 2), true).with_metadata(note),
        Field::new("ds", DataType::Date32, true),
    ];
    let def = TableDef {
        name: name.parse().unwrap(),
        format: Format::Csv,
        location: Location::parse("s3://lake/orders/").unwrap(),
        schema: Arc::new(Schema::new(fields)),
        partition_by: vec!["ds".to_owned()],
        options: BTreeMap::from([("header".to_owned(), "true".to_owned())]),
        owner: "etl".to_owned(),
    };
    TableRecord { def, kind: TableKind::External }
}

fn view(name: &str) -> ViewRecord {
    ViewRecord { name: name.parse().unwrap(), sql: "SELECT 'it''s'".to_owned(), columns: vec!["a".to_owned()] }
}

fn entry(run: &str, create: Option<TableRecord>) -> PublishEntry {
    let staging = Staging::Multipart { upload_id: "u".into(), parts: vec!["\"e\"".into()] };
    let partition = vec![("ds".to_owned(), None)];
    let record = PublishRecord {
        id: PublishId { run: run.parse().unwrap(), statement: 3 },
        location: "s3://lake/orders/".into(),
        publish: vec![StagedFile {
            path: "orders/x".into(),
            staging,
            rows: 1,
            bytes: 2,
            partition,
            stats: None,
            is_rejected: false,
        }],
        remove: vec!["orders/old".into()],
        jobs: vec![format!("{run}-s3-a1")],
        kind: PublishKind::Files,
        marks_success: false,
    };
    PublishEntry { record, state: PublishState::Prepared, create, log: None, rejected: None }
}

fn put(table: TableRecord) -> CatalogChange {
    CatalogChange::PutTable(Box::new(table))
}

#[tokio::test]
async fn the_catalog_is_there_again_when_the_store_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/store.db");
    let delta = TableRecord { kind: TableKind::Managed, ..table("sales.sold") };
    let delta = TableRecord { def: TableDef { format: Format::Delta, options: BTreeMap::new(), ..delta.def }, ..delta };
    let sales = SchemaRecord { name: "sales".into(), location: Some(Location::parse("s3://lake/sales/").unwrap()) };
    {
        let store = SqliteStore::open(&path).await.unwrap();
        let changes = [
            CatalogChange::PutSchema(sales.clone()),
            put(table("sales.orders")),
            put(delta.clone()),
            put(table("gone")),
            CatalogChange::PutView(view("sales.\"V\"")),
        ];
        store.change_catalog(&changes, 1).await.unwrap();
        store.change_catalog(&[CatalogChange::DropTable("gone".parse().unwrap())], 2).await.unwrap();
    }
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let store = SqliteStore::open(&path).await.unwrap();
    let public = SchemaRecord { name: "public".into(), location: None };
    let expected = CatalogRecord {
        schemas: vec![public.clone(), sales],
        tables: vec![table("sales.orders"), delta],
        views: vec![view("sales.\"V\"")],
        expectations: vec![],
    };
    assert_eq!(store.catalog().await.unwrap(), expected);
    store.change_catalog(&[CatalogChange::DropSchema("sales".into())], 3).await.unwrap();
    let left = CatalogRecord { schemas: vec![public], ..CatalogRecord::default() };
    assert_eq!(store.catalog().await.unwrap(), left, "a schema goes with all in it");
}

#[tokio::test]
async fn a_change_is_made_as_a_whole_or_not_at_all() {
    let store = SqliteStore::memory().await.unwrap();
    // The second cannot be: there is no such schema.
    let changes = [put(table("orders")), put(table("nowhere.orders"))];
    assert!(store.change_catalog(&changes, 1).await.is_err());
    assert!(store.catalog().await.unwrap().tables.is_empty());
    store.change_catalog(&changes[..1], 1).await.unwrap();
    let replaced = TableRecord { kind: TableKind::Managed, ..table("orders") };
    store.change_catalog(&[put(replaced.clone())], 2).await.unwrap();
    assert_eq!(store.catalog().await.unwrap().tables, [replaced]);
}

#[tokio::test]
async fn a_publish_is_kept_until_it_is_closed_and_closing_makes_its_table() {
    let store = SqliteStore::memory().await.unwrap();
    let (first, second) = (entry("r1", None), entry("r2", Some(table("orders"))));
    store.open_publish(&second, 2).await.unwrap();
    store.open_publish(&first, 1).await.unwrap();
    assert!(store.open_publish(&first, 3).await.is_err(), "a statement publishes once");
    store.advance_publish(&first.record.id, PublishState::Published, 3).await.unwrap();
    let advanced = PublishEntry { state: PublishState::Published, ..first.clone() };
    assert_eq!(store.publishes().await.unwrap(), [advanced, second.clone()]);
    let changes: Vec<_> = second.create.clone().into_iter().map(put).collect();
    for _ in 0..2 {
        store.close_publish(&second.record.id, &changes, 4).await.unwrap();
    }
    assert_eq!(store.catalog().await.unwrap().tables, [table("orders")]);
    store.close_publish(&first.record.id, &[], 4).await.unwrap();
    assert!(store.publishes().await.unwrap().is_empty());
    store.advance_publish(&first.record.id, PublishState::Removed, 5).await.unwrap();
    assert!(store.publishes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_by_name_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    {
        let store = SqliteStore::open(&path).await.unwrap();
        let newer = "INSERT INTO store_versions (version, program, at_ms) VALUES (99, '7.7.7', 0)";
        query(newer).execute(&mut *store.connection.lock().await).await.unwrap();
    }
    let failure = SqliteStore::open(&path).await.unwrap_err().failure();
    assert_eq!(failure.code, "STORE_TOO_NEW");
    for named in ["7.7.7", OURS, "99", "store.db"] {
        assert!(failure.cause.contains(named), "{failure}");
    }
}

#[tokio::test]
async fn what_is_no_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    std::fs::write(&path, "not a database, and long enough to be read as the header of one: ".repeat(20)).unwrap();
    assert_eq!(SqliteStore::open(&path).await.unwrap_err().failure().code, "STORE_NOT_USABLE");
    assert_eq!(SqliteStore::open(dir.path()).await.unwrap_err().failure().code, "STORE_NOT_USABLE");
}

#[tokio::test]
async fn a_store_serves_one_scheduler_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let first = SqliteStore::open(&path).await.unwrap();
    assert_eq!(SqliteStore::open(&path).await.unwrap_err().failure().code, "STORE_IN_USE");
    assert!(first.catalog().await.is_ok());
    drop(first);
    // Its connection is closed in the background.
    SqliteStore::open(&path).await.unwrap();
}

fn expectation(table: &str, name: &str, sql: &str) -> ExpectationRecord {
    let (rule, on_violation) = (Rule::Check { sql: sql.into() }, OnViolation::Drop);
    let expectation = Expectation { name: name.into(), rule, on_violation };
    ExpectationRecord { table: table.parse().unwrap(), expectation }
}

#[tokio::test]
async fn expectations_stay_with_their_table_and_go_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let put = |record: &ExpectationRecord| CatalogChange::PutExpectation(record.clone());
    let (first, second) = (expectation("orders", "a", "id > 0"), expectation("orders", "b", "ds <> '\"''\"'"));
    {
        let store = SqliteStore::open(&path).await.unwrap();
        let old = expectation("orders", "b", "true");
        let changes = [CatalogChange::PutTable(Box::new(table("orders"))), put(&second), put(&first), put(&old)];
        store.change_catalog(&changes, 1).await.unwrap();
        store.change_catalog(&[put(&second)], 2).await.unwrap();
        assert!(store.change_catalog(&[put(&expectation("none", "a", "true"))], 2).await.is_err());
    }
    let store = SqliteStore::open(&path).await.unwrap();
    let expectations = async || store.catalog().await.unwrap().expectations;
    assert_eq!(expectations().await, [first.clone(), second.clone()]);
    store.change_catalog(&[CatalogChange::PutTable(Box::new(table("orders")))], 3).await.unwrap();
    assert_eq!(expectations().await.len(), 2, "a table that is replaced keeps them");
    let drop = CatalogChange::DropExpectation("orders".parse().unwrap(), "a".into());
    for _ in 0..2 {
        store.change_catalog(std::slice::from_ref(&drop), 4).await.unwrap();
    }
    assert_eq!(expectations().await, [second]);
    store.change_catalog(&[CatalogChange::DropTable("orders".parse().unwrap())], 5).await.unwrap();
    assert!(expectations().await.is_empty());
}

#[tokio::test]
async fn a_store_of_the_first_version_opens_with_all_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    {
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut old = SqliteConnection::connect_with(&options).await.unwrap();
        let versions = "CREATE TABLE store_versions \
                        (version INTEGER PRIMARY KEY NOT NULL, program TEXT NOT NULL, at_ms INTEGER NOT NULL); \
                        INSERT INTO store_versions (version, program, at_ms) VALUES (1, '0.1.0', 0)";
        raw_sql(MIGRATIONS[0]).execute(&mut old).await.unwrap();
        raw_sql(versions).execute(&mut old).await.unwrap();
        put_table(&mut old, &StoredTable::try_from(&table("orders")).unwrap(), 1).await.unwrap();
        old.close().await.unwrap();
    }
    let store = SqliteStore::open(&path).await.unwrap();
    let found = store.catalog().await.unwrap();
    assert_eq!((found.tables, found.expectations), (vec![table("orders")], vec![]));
    let record = expectation("orders", "a", "id > 0");
    store.change_catalog(&[CatalogChange::PutExpectation(record.clone())], 2).await.unwrap();
    assert_eq!(store.catalog().await.unwrap().expectations, [record]);
}
