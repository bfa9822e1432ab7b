//! The store in SQLite: one file, one connection, one process at a time.
//!
//! Opening locks the file until the process ends, so that no second scheduler publishes the same write. A commit is on the
//! disk when it is answered. All SQL of this backend stands here, in
//! `expectations.rs` and in `migrations/`.

use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use selvedge_engine::catalog::TableName;
use selvedge_engine::store::Location;
use selvedge_model::publish::{PublishId, PublishState};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, query, query_as, raw_sql};
use tokio::sync::Mutex;

use super::error::is_busy;
use super::records::{StoredPlan, StoredTable};
use super::{
    CatalogChange, CatalogRecord, PublishEntry, SchemaRecord, StagingRecord, Store, StoreError, TableRecord,
    ViewRecord, expectations,
};
use crate::runs::now_ms;

/// What brings a store from each version to the next.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/0001_catalog_and_publishes.sql"),
    include_str!("migrations/0002_stagings.sql"),
    include_str!("migrations/0003_expectations.sql"),
];
/// How long a store may be held by a process that is about to end.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const OURS: &str = env!("CARGO_PKG_VERSION");

/// An open store.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Mutex<SqliteConnection>,
}

impl SqliteStore {
    /// A store that ends with this process.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn memory() -> Result<Self, StoreError> {
        Self::connect(SqliteConnectOptions::new().in_memory(true), ":memory:").await
    }

    /// The store in a file, which is made when it is not there, readable by its owner only.
    ///
    /// # Errors
    /// As [`super::open`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        make_file(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .locking_mode(SqliteLockingMode::Exclusive)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        Self::connect(options, &path.display().to_string()).await
    }

    async fn connect(options: SqliteConnectOptions, name: &str) -> Result<Self, StoreError> {
        let options = options.foreign_keys(true).disable_statement_logging();
        let opened = |error: sqlx::Error| match is_busy(&error) {
            true => StoreError::InUse { store: name.to_owned() },
            false => StoreError::Database { what: "opening the store", source: error },
        };
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(opened)?;
        migrate(&mut connection, name).await.map_err(|error| match error {
            StoreError::Database { source, .. } => opened(source),
            other => other,
        })?;
        Ok(Self { connection: Mutex::new(connection) })
    }
}

fn make_file(path: &Path) -> Result<(), StoreError> {
    let io = |what: String| move |source| StoreError::Io { what, source };
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty() && !p.exists()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.map_err(io(format!("cannot make the store's directory {}", parent.display())))?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => {
            Err(io(format!("cannot make the store {}", path.display()))(e))
        }
        _ => Ok(()),
    }
}

/// Brings the store to this version, under SQLite's lock for writers.
async fn migrate(connection: &mut SqliteConnection, name: &str) -> Result<(), StoreError> {
    let failed = StoreError::database;
    let what = "bringing the store to this version";
    let mut change = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed(what))?;
    let versions = "CREATE TABLE IF NOT EXISTS store_versions \
                    (version INTEGER PRIMARY KEY NOT NULL, program TEXT NOT NULL, at_ms INTEGER NOT NULL)";
    raw_sql(versions).execute(&mut *change).await.map_err(failed(what))?;
    let newest = "SELECT version, program FROM store_versions ORDER BY version DESC LIMIT 1";
    let newest: Option<(i64, String)> = query_as(newest).fetch_optional(&mut *change).await.map_err(failed(what))?;
    let (found, made_by) = newest.unwrap_or_default();
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(StoreError::TooNew { store: name.to_owned(), made_by, found, ours: OURS, known });
    }
    for (version, migration) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        raw_sql(migration).execute(&mut *change).await.map_err(failed(what))?;
        let done = "INSERT INTO store_versions (version, program, at_ms) VALUES (?, ?, ?)";
        query(done).bind(version).bind(OURS).bind(now_ms()).execute(&mut *change).await.map_err(failed(what))?;
    }
    change.commit().await.map_err(failed(what))
}

async fn schemas(connection: &mut SqliteConnection) -> Result<Vec<SchemaRecord>, StoreError> {
    let rows: Vec<(String, Option<String>)> = query_as("SELECT name, location FROM catalog_schemas ORDER BY name")
        .fetch_all(connection)
        .await
        .map_err(StoreError::database("reading the schemas"))?;
    let schema = |(name, location): (String, Option<String>)| -> Result<SchemaRecord, StoreError> {
        let location = location.map(|l| Location::parse(&l)).transpose();
        let location = location.map_err(|e| StoreError::corrupt(format!("schema {name}"), e))?;
        Ok(SchemaRecord { name, location })
    };
    rows.into_iter().map(schema).collect()
}

async fn tables(connection: &mut SqliteConnection) -> Result<Vec<TableRecord>, StoreError> {
    type Row = (String, String, String, String, String, String, String, String, String);
    let sql = "SELECT schema_name, name, kind, format, location, columns, partition_by, options, owner \
               FROM catalog_tables ORDER BY schema_name, name";
    let rows: Vec<Row> =
        query_as(sql).fetch_all(connection).await.map_err(StoreError::database("reading the tables"))?;
    let table = |row: Row| -> Result<TableRecord, StoreError> {
        let (schema, name, kind, format, location, columns, partition_by, options, owner) = row;
        let corrupt = |e: serde_json::Error| StoreError::corrupt(format!("table {schema}.{name}"), e);
        let stored = StoredTable {
            columns: serde_json::from_str(&columns).map_err(corrupt)?,
            partition_by: serde_json::from_str(&partition_by).map_err(corrupt)?,
            options: serde_json::from_str(&options).map_err(corrupt)?,
            schema,
            name,
            kind,
            format,
            location,
            owner,
        };
        stored.try_into()
    };
    rows.into_iter().map(table).collect()
}

async fn views(connection: &mut SqliteConnection) -> Result<Vec<ViewRecord>, StoreError> {
    let sql = "SELECT schema_name, name, query, columns FROM catalog_views ORDER BY schema_name, name";
    let rows: Vec<(String, String, String, String)> =
        query_as(sql).fetch_all(connection).await.map_err(StoreError::database("reading the views"))?;
    let view = |row: (String, String, String, String)| -> Result<ViewRecord, StoreError> {
        let (schema, name, sql, columns) = row;
        let name = TableName::new(schema, name);
        let columns = serde_json::from_str(&columns).map_err(|e| StoreError::corrupt(format!("view {name}"), e))?;
        Ok(ViewRecord { name, sql, columns })
    };
    rows.into_iter().map(view).collect()
}

async fn change(connection: &mut SqliteConnection, change: &CatalogChange, now_ms: i64) -> Result<(), StoreError> {
    let failed = StoreError::database("changing the catalog");
    let changed = match change {
        CatalogChange::PutSchema(schema) => {
            let sql = "INSERT INTO catalog_schemas (name, location, created_ms, updated_ms) VALUES (?, ?, ?, ?) \
                       ON CONFLICT (name) DO UPDATE SET location = excluded.location, updated_ms = excluded.updated_ms";
            let location = schema.location.as_ref().map(ToString::to_string);
            query(sql).bind(&schema.name).bind(location).bind(now_ms).bind(now_ms).execute(connection).await
        }
        CatalogChange::DropSchema(name) => {
            query("DELETE FROM catalog_schemas WHERE name = ?").bind(name).execute(connection).await
        }
        CatalogChange::PutTable(table) => {
            return put_table(connection, &StoredTable::try_from(&**table)?, now_ms).await;
        }
        CatalogChange::PutView(view) => return put_view(connection, view, now_ms).await,
        CatalogChange::PutExpectation(record) => return expectations::put(connection, record, now_ms).await,
        CatalogChange::DropExpectation(table, name) => return expectations::remove(connection, table, name).await,
        CatalogChange::DropTable(name) | CatalogChange::DropView(name) => {
            let sql = "DELETE FROM catalog_entries WHERE schema_name = ? AND name = ?";
            query(sql).bind(&name.schema).bind(&name.table).execute(connection).await
        }
    };
    changed.map(|_| ()).map_err(failed)
}

async fn put_entry(connection: &mut SqliteConnection, schema: &str, name: &str, now_ms: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO catalog_entries (schema_name, name, created_ms, updated_ms) VALUES (?, ?, ?, ?) \
               ON CONFLICT (schema_name, name) DO UPDATE SET updated_ms = excluded.updated_ms";
    let put = query(sql).bind(schema).bind(name).bind(now_ms).bind(now_ms).execute(connection).await;
    put.map(|_| ()).map_err(StoreError::database("changing the catalog"))
}

async fn put_table(connection: &mut SqliteConnection, table: &StoredTable, now_ms: i64) -> Result<(), StoreError> {
    put_entry(connection, &table.schema, &table.name, now_ms).await?;
    let json = |value: serde_json::Result<String>| value.map_err(|e| StoreError::corrupt("a table", e));
    let sql = "INSERT OR REPLACE INTO catalog_tables \
               (schema_name, name, kind, format, location, columns, partition_by, options, owner) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let put = query(sql)
        .bind(&table.schema)
        .bind(&table.name)
        .bind(&table.kind)
        .bind(&table.format)
        .bind(&table.location)
        .bind(table.columns.to_string())
        .bind(json(serde_json::to_string(&table.partition_by))?)
        .bind(json(serde_json::to_string(&table.options))?)
        .bind(&table.owner)
        .execute(connection)
        .await;
    put.map(|_| ()).map_err(StoreError::database("changing the catalog"))
}

async fn put_view(connection: &mut SqliteConnection, view: &ViewRecord, now_ms: i64) -> Result<(), StoreError> {
    put_entry(connection, &view.name.schema, &view.name.table, now_ms).await?;
    let columns = serde_json::to_string(&view.columns).map_err(|e| StoreError::corrupt("a view", e))?;
    let sql = "INSERT OR REPLACE INTO catalog_views (schema_name, name, query, columns) VALUES (?, ?, ?, ?)";
    let put = query(sql).bind(&view.name.schema).bind(&view.name.table).bind(&view.sql).bind(columns);
    put.execute(connection).await.map(|_| ()).map_err(StoreError::database("changing the catalog"))
}

#[async_trait]
impl Store for SqliteStore {
    async fn catalog(&self) -> Result<CatalogRecord, StoreError> {
        let connection = &mut *self.connection.lock().await;
        Ok(CatalogRecord {
            schemas: schemas(connection).await?,
            tables: tables(connection).await?,
            views: views(connection).await?,
            expectations: expectations::all(connection).await?,
        })
    }

    async fn change_catalog(&self, changes: &[CatalogChange], now_ms: i64) -> Result<(), StoreError> {
        let failed = || StoreError::database("changing the catalog");
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin().await.map_err(failed())?;
        for one in changes {
            change(&mut transaction, one, now_ms).await?;
        }
        transaction.commit().await.map_err(failed())
    }

    async fn publishes(&self) -> Result<Vec<PublishEntry>, StoreError> {
        let connection = &mut *self.connection.lock().await;
        let sql = "SELECT plan, state FROM publishes ORDER BY created_ms, run, statement";
        let rows: Vec<(String, String)> =
            query_as(sql).fetch_all(connection).await.map_err(StoreError::database("reading the publishes"))?;
        rows.iter().map(|(plan, state)| StoredPlan::decode(plan, state)).collect()
    }

    async fn open_publish(&self, entry: &PublishEntry, now_ms: i64) -> Result<(), StoreError> {
        let plan = StoredPlan::encode(entry)?;
        let connection = &mut *self.connection.lock().await;
        let sql = "INSERT INTO publishes (run, statement, state, location, plan, created_ms, updated_ms) \
                   VALUES (?, ?, ?, ?, ?, ?, ?)";
        let id = &entry.record.id;
        let opened = query(sql)
            .bind(id.run.as_str())
            .bind(id.statement)
            .bind(entry.state.name())
            .bind(&entry.record.location)
            .bind(plan)
            .bind(now_ms)
            .bind(now_ms)
            .execute(connection)
            .await;
        opened.map(|_| ()).map_err(StoreError::database("recording a publish"))
    }

    async fn advance_publish(&self, id: &PublishId, state: PublishState, now_ms: i64) -> Result<(), StoreError> {
        let connection = &mut *self.connection.lock().await;
        let sql = "UPDATE publishes SET state = ?, updated_ms = ? WHERE run = ? AND statement = ?";
        let query = query(sql).bind(state.name()).bind(now_ms).bind(id.run.as_str()).bind(id.statement);
        query
            .execute(connection)
            .await
            .map(|_| ())
            .map_err(StoreError::database("recording how far a publish has come"))
    }

    async fn close_publish(&self, id: &PublishId, changes: &[CatalogChange], now_ms: i64) -> Result<(), StoreError> {
        let failed = || StoreError::database("forgetting a publish");
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin().await.map_err(failed())?;
        let sql = "DELETE FROM publishes WHERE run = ? AND statement = ?";
        let forget = query(sql).bind(id.run.as_str()).bind(id.statement);
        forget.execute(&mut *transaction).await.map_err(failed())?;
        for one in changes {
            change(&mut transaction, one, now_ms).await?;
        }
        transaction.commit().await.map_err(failed())
    }

    async fn stagings(&self) -> Result<Vec<StagingRecord>, StoreError> {
        let connection = &mut *self.connection.lock().await;
        let sql = "SELECT job_id, location FROM stagings ORDER BY created_ms, job_id";
        let rows: Vec<(String, String)> =
            query_as(sql).fetch_all(connection).await.map_err(StoreError::database("reading what is staged"))?;
        Ok(rows.into_iter().map(|(job_id, location)| StagingRecord { job_id, location }).collect())
    }

    async fn open_staging(&self, staging: &StagingRecord, now_ms: i64) -> Result<(), StoreError> {
        let connection = &mut *self.connection.lock().await;
        let sql = "INSERT INTO stagings (job_id, location, created_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
        let query = query(sql).bind(&staging.job_id).bind(&staging.location).bind(now_ms);
        query.execute(connection).await.map(|_| ()).map_err(StoreError::database("recording what will be staged"))
    }

    async fn close_staging(&self, job_id: &str) -> Result<(), StoreError> {
        let connection = &mut *self.connection.lock().await;
        let query = query("DELETE FROM stagings WHERE job_id = ?").bind(job_id);
        query.execute(connection).await.map(|_| ()).map_err(StoreError::database("forgetting what was staged"))
    }
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
