//! DDL on the catalog, and what DataFusion sees of it.

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;

use super::*;
use crate::catalog::Format;
use crate::session::{Engine, EngineOptions, Settings};

fn def(name: &str) -> TableDef {
    TableDef {
        name: name.parse().unwrap(),
        format: Format::Parquet,
        location: Location::parse("/tmp/selvedge-none/").unwrap(),
        schema: Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)])),
        partition_by: vec![],
        options: BTreeMap::new(),
        owner: String::new(),
    }
}

#[test]
fn tables_are_made_and_forgotten() {
    let catalog = Catalog::new();
    assert!(catalog.create_table(def("orders"), false, false).unwrap());
    assert_eq!(catalog.create_table(def("orders"), false, false).unwrap_err().code, "TABLE_EXISTS");
    assert!(!catalog.create_table(def("orders"), true, false).unwrap());
    assert!(catalog.create_table(def("orders"), false, true).unwrap());
    let missing = catalog.create_table(def("sales.orders"), false, false).unwrap_err();
    assert_eq!(missing.code, "SCHEMA_NOT_FOUND");
    let near = catalog.drop_table(&"ordrs".parse().unwrap(), false).unwrap_err();
    assert_eq!((near.code.as_str(), near.hint.as_str()), ("TABLE_NOT_FOUND", "Did you mean orders?"));
    assert!(!catalog.drop_table(&"ordrs".parse().unwrap(), true).unwrap());
    assert_eq!(catalog.drop_view(&"orders".parse().unwrap(), false).unwrap_err().code, "NOT_A_VIEW");
    assert!(catalog.drop_table(&"orders".parse().unwrap(), false).unwrap());
    assert!(catalog.tables().is_empty());
}

#[test]
fn schemas_guard_what_is_in_them() {
    let catalog = Catalog::new();
    let at = Location::parse("s3://b/sales").unwrap();
    catalog.create_schema("sales", Some(at), false).unwrap();
    assert_eq!(catalog.create_schema("sales", None, false).unwrap_err().code, "SCHEMA_EXISTS");
    catalog.create_schema("sales", None, true).unwrap();
    assert_eq!(catalog.schema_location("sales").unwrap().unwrap().to_string(), "s3://b/sales/");
    assert_eq!(catalog.schema_location("nope"), None);
    catalog.create_table(def("sales.orders"), false, false).unwrap();
    assert_eq!(catalog.table_not_found(&"orders".parse().unwrap()).hint, "Did you mean sales.orders?");
    assert_eq!(catalog.drop_schema("sales", false, false).unwrap_err().code, "SCHEMA_NOT_EMPTY");
    catalog.drop_schema("sales", false, true).unwrap();
    assert_eq!(catalog.drop_schema("sales", false, true).unwrap_err().code, "SCHEMA_NOT_FOUND");
    assert!(catalog.drop_schema("public", false, true).is_err());
}

#[tokio::test]
async fn datafusion_sees_tables_views_and_information_schema() {
    let engine = Engine::new(EngineOptions::new(Location::parse("/tmp/selvedge-none").unwrap())).unwrap();
    engine.catalog().create_table(def("orders"), false, false).unwrap();
    let state = engine.session(&Settings::new()).unwrap();
    let sql = "SELECT a, arrow_cast('x', 'Utf8View') AS v FROM orders";
    let plan = state.create_logical_plan(sql).await.unwrap();
    let view = ViewDef { name: "big".parse().unwrap(), sql: sql.to_owned(), plan: Ok(plan) };
    engine.catalog().create_view(view.clone(), false).unwrap();
    assert_eq!(engine.catalog().create_view(view.clone(), false).unwrap_err().code, "TABLE_EXISTS");
    engine.catalog().create_view(view, true).unwrap();
    assert!(engine.catalog().table(&"big".parse().unwrap()).is_none());

    let ctx = SessionContext::new_with_state(state);
    let df = ctx.sql("SELECT * FROM big").await.unwrap();
    assert_eq!(df.schema().field(1).data_type(), &DataType::Utf8, "views come out plain");
    assert_eq!(df.count().await.unwrap(), 0, "a declared table may have no files yet");
    let listed = ctx
        .sql(
            "SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables \
             WHERE table_schema = 'public' ORDER BY table_name",
        )
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let shown = pretty_format_batches(&listed).unwrap().to_string();
    assert!(shown.contains("| selvedge      | public       | big        | VIEW       |"), "{shown}");
    assert!(shown.contains("| selvedge      | public       | orders     | BASE TABLE |"), "{shown}");
    let gone = Failure::user("TABLE_NOT_FOUND", "table public.gone does not exist");
    let broken = ViewDef { name: "broken".parse().unwrap(), sql: "SELECT * FROM gone".to_owned(), plan: Err(gone) };
    engine.catalog().create_view(broken, false).unwrap();
    let used = ctx.sql("SELECT * FROM broken").await.unwrap_err();
    let used = crate::error::classify(&used);
    assert_eq!(used.code, "VIEW_INVALID");
    assert!(used.cause.contains("public.broken") && used.cause.contains("public.gone"), "{used}");
    let listed = ctx.sql("SELECT table_name FROM information_schema.tables WHERE table_name = 'broken'").await.unwrap();
    assert_eq!(listed.count().await.unwrap(), 1);
    let missing = ctx.sql("SELECT * FROM nope").await.unwrap_err();
    assert_eq!(crate::error::classify(&missing).cause, "table public.nope does not exist");
}
