//! Changes reach the store and the catalog alike, or neither.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use selvedge_engine::catalog::Format;
use selvedge_engine::session::{Engine, EngineOptions};
use selvedge_model::expectation::{OnViolation, Rule};

use super::*;
use crate::planning::Planner;
use crate::store::SqliteStore;

fn def(name: &str) -> TableDef {
    TableDef {
        name: name.parse().unwrap(),
        format: Format::Parquet,
        location: Location::parse("s3://b/t/").unwrap(),
        schema: Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)])),
        partition_by: vec![],
        options: BTreeMap::new(),
        owner: String::new(),
    }
}

async fn kept() -> (Arc<SqliteStore>, Arc<Catalog>, Arc<DurableCatalog>) {
    let store = Arc::new(SqliteStore::memory().await.unwrap());
    let catalog = Catalog::new();
    let durable = DurableCatalog::new(Arc::clone(&catalog), store.clone());
    (store, catalog, durable)
}

#[tokio::test]
async fn what_is_refused_or_there_already_changes_nothing_in_the_store() {
    let (store, catalog, durable) = kept().await;
    assert!(durable.create_table(def("t"), TableKind::External, false, false).await.unwrap());
    let other = TableDef { location: Location::parse("s3://b/other/").unwrap(), ..def("t") };
    assert!(!durable.create_table(other.clone(), TableKind::Managed, true, false).await.unwrap());
    let refused = durable.create_table(other, TableKind::Managed, false, false).await.unwrap_err();
    assert_eq!(refused.code, "TABLE_EXISTS");
    let kept = store.catalog().await.unwrap();
    assert_eq!(kept.tables, [record(def("t"), TableKind::External)]);
    assert_eq!(durable.drop_schema("public", false, true).await.unwrap_err().code, "INVALID_STATEMENT");
    assert!(!durable.drop_schema("none", true, false).await.unwrap());
    assert!(!durable.create_schema("public", None, true).await.unwrap());
    assert!(durable.drop_table(&"t".parse().unwrap(), false).await.unwrap());
    assert!(store.catalog().await.unwrap().tables.is_empty() && catalog.tables().is_empty());
}

#[tokio::test]
async fn what_the_store_refuses_is_not_in_the_catalog() {
    let (_, catalog, durable) = kept().await;
    // Known to the catalog alone: the store knows no such schema.
    catalog.create_schema("s", None, false).unwrap();
    let refused = durable.create_table(def("s.t"), TableKind::External, false, false).await.unwrap_err();
    assert_eq!(refused.code, "STORE_FAILED");
    assert!(catalog.tables().is_empty());
}

#[tokio::test]
async fn a_rehearsal_keeps_nothing() {
    let (store, catalog, _) = kept().await;
    let copy = catalog.fork();
    let rehearsed = DurableCatalog::rehearsed(Arc::clone(&copy));
    assert!(rehearsed.create_table(def("t"), TableKind::External, false, false).await.unwrap());
    assert_eq!(copy.tables().len(), 1);
    assert!(catalog.tables().is_empty() && store.catalog().await.unwrap().tables.is_empty());
}

#[tokio::test]
async fn the_name_of_a_table_that_is_being_published_is_kept_for_it() {
    let (store, catalog, durable) = kept().await;
    let id = |statement| PublishId { run: "r".parse().unwrap(), statement };
    durable.create_schema("s", None, false).await.unwrap();
    durable.reserve(&id(1), &def("s.t"), false).await.unwrap();
    assert_eq!(durable.reserve(&id(2), &def("s.t"), false).await.unwrap_err().code, "TABLE_EXISTS");
    for if_not_exists in [false, true] {
        let refused = durable.create_table(def("s.t"), TableKind::External, if_not_exists, false).await.unwrap_err();
        assert!(refused.code == "TABLE_EXISTS" && refused.cause.contains("statement 1 of run r"), "{refused}");
    }
    assert!(durable.drop_schema("s", false, true).await.is_err());
    assert!(durable.create_table(def("s.u"), TableKind::External, false, false).await.unwrap());
    durable.close_publish(id(1), Some(record(def("s.t"), TableKind::Managed))).await.unwrap();
    assert_eq!((catalog.tables().len(), store.catalog().await.unwrap().tables.len()), (2, 2));
    assert!(durable.create_table(def("s.t"), TableKind::External, false, true).await.unwrap());
    // A publish that came to nothing keeps nothing.
    durable.reserve(&id(3), &def("s.w"), false).await.unwrap();
    durable.release(&id(3));
    assert!(durable.drop_schema("s", false, true).await.unwrap());
}

#[tokio::test]
async fn expectations_reach_the_store_and_the_catalog_alike() {
    let (store, catalog, durable) = kept().await;
    let t = "t".parse().unwrap();
    let rows = |at_least| {
        let rule = Rule::Rows { at_least, at_most: None };
        Expectation { name: "e".into(), rule, on_violation: OnViolation::Warn }
    };
    assert_eq!(durable.put_expectation(&t, rows(1)).await.unwrap_err().code, "TABLE_NOT_FOUND");
    durable.create_table(def("t"), TableKind::External, false, false).await.unwrap();
    assert!(durable.put_expectation(&t, rows(1)).await.unwrap());
    assert!(durable.put_expectation(&t, rows(2)).await.unwrap());
    assert!(!durable.put_expectation(&t, rows(2)).await.unwrap());
    // A publish that replaces the table leaves them.
    let id = PublishId { run: "r".parse().unwrap(), statement: 1 };
    durable.close_publish(id, Some(record(def("t"), TableKind::Managed))).await.unwrap();
    let kept = ExpectationRecord { table: t.clone(), expectation: rows(2) };
    assert_eq!(store.catalog().await.unwrap().expectations, [kept]);
    assert_eq!(catalog.expectations(&t), [rows(2)]);
    assert_eq!(durable.drop_expectation(&t, "f", false).await.unwrap_err().code, "EXPECTATION_NOT_FOUND");
    assert!(durable.drop_expectation(&t, "e", false).await.unwrap());
    assert!(store.catalog().await.unwrap().expectations.is_empty() && catalog.expectations(&t).is_empty());
    durable.put_expectation(&t, rows(3)).await.unwrap();
    durable.drop_table(&t, false).await.unwrap();
    assert!(store.catalog().await.unwrap().expectations.is_empty() && catalog.expectations(&t).is_empty());
}

#[tokio::test]
async fn views_that_cannot_be_planned_are_kept_and_mended_when_they_can_be() {
    let view = |name: &str, from: &str| ViewRecord {
        name: name.parse().unwrap(),
        sql: format!("SELECT a FROM {from}"),
        columns: vec!["b".to_owned()],
    };
    let views = vec![view("v", "t"), view("dropped", "t"), view("lost", "nowhere")];
    let store = Arc::new(SqliteStore::memory().await.unwrap());
    let changes: Vec<_> = views.iter().cloned().map(CatalogChange::PutView).collect();
    store.change_catalog(&changes, 1).await.unwrap();
    let warehouse = Location::parse("/tmp/selvedge-none").unwrap();
    let engine = Engine::new(EngineOptions::new(warehouse)).unwrap();
    let durable = DurableCatalog::new(Arc::clone(engine.catalog()), store);
    let planner = Planner::new(Arc::clone(&engine), Arc::clone(&durable));
    // A table that is not there is no reason to try again by oneself.
    assert!(durable.load(&planner).await.unwrap().is_empty());
    let is_planned = |name: &str| engine.catalog().view(&name.parse().unwrap()).map(|view| view.plan.is_ok());
    assert_eq!(is_planned("v"), Some(false));
    durable.create_table(def("t"), TableKind::External, false, false).await.unwrap();
    durable.drop_view(&"dropped".parse().unwrap(), false).await.unwrap();
    durable.mend_views(&planner, views).await;
    assert_eq!(["v", "dropped", "lost"].map(is_planned), [Some(true), None, Some(false)]);
}
