//! What tables expect, in SQLite: each as JSON beside its table's name.

use selvedge_engine::catalog::TableName;
use selvedge_model::expectation::Expectation;
use sqlx::{SqliteConnection, query, query_as};

use super::{ExpectationRecord, StoreError};

/// All of them, by table and name.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<ExpectationRecord>, StoreError> {
    let sql = "SELECT schema_name, table_name, expectation FROM catalog_expectations \
               ORDER BY schema_name, table_name, name";
    let rows: Vec<(String, String, String)> =
        query_as(sql).fetch_all(connection).await.map_err(StoreError::database("reading the expectations"))?;
    let record = |(schema, table, json): (String, String, String)| -> Result<ExpectationRecord, StoreError> {
        let table = TableName::new(schema, table);
        let corrupt = |e| StoreError::corrupt(format!("an expectation of {table}"), e);
        let expectation: Expectation = serde_json::from_str(&json).map_err(corrupt)?;
        Ok(ExpectationRecord { table, expectation })
    };
    rows.into_iter().map(record).collect()
}

/// Puts one in the place of that of its name.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    record: &ExpectationRecord,
    now_ms: i64,
) -> Result<(), StoreError> {
    let ExpectationRecord { table, expectation } = record;
    let json = serde_json::to_string(expectation)
        .map_err(|e| StoreError::Unstorable { what: format!("an expectation of {table}"), why: e.to_string() })?;
    let sql = "INSERT INTO catalog_expectations (schema_name, table_name, name, expectation, created_ms, updated_ms) \
               VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (schema_name, table_name, name) \
               DO UPDATE SET expectation = excluded.expectation, updated_ms = excluded.updated_ms";
    let put = query(sql)
        .bind(&table.schema)
        .bind(&table.table)
        .bind(&expectation.name)
        .bind(json)
        .bind(now_ms)
        .bind(now_ms)
        .execute(connection)
        .await;
    put.map(|_| ()).map_err(StoreError::database("changing the catalog"))
}

/// Forgets one. One that is not there is forgotten.
pub(super) async fn remove(connection: &mut SqliteConnection, table: &TableName, name: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM catalog_expectations WHERE schema_name = ? AND table_name = ? AND name = ?";
    let removed = query(sql).bind(&table.schema).bind(&table.table).bind(name).execute(connection).await;
    removed.map(|_| ()).map_err(StoreError::database("changing the catalog"))
}
