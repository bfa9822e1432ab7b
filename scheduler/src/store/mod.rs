//! What outlives the scheduler: the catalog, the journal of publishes, and where files may be staged.
//!
//! [`Store`] says what is kept, in terms of tables and publishes; how is a backend's own business (`sqlite`), so that callers
//! know no SQL. Each change is one transaction. Nothing secret is kept: locations carry no credentials, and options of
//! tables have none. The catalog that statements are planned from is in memory, and `crate::catalog` keeps both alike.

mod columns;
mod error;
mod expectations;
mod records;
mod sqlite;
mod url;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use selvedge_model::publish::{PublishId, PublishState};

pub use error::StoreError;
pub use records::{
    CatalogChange, CatalogRecord, ExpectationRecord, PublishEntry, SchemaRecord, StagingRecord, TableKind, TableRecord,
    ViewRecord,
};
pub use sqlite::SqliteStore;
pub use url::StoreUrl;

/// The durable side of a scheduler.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// All schemas, tables and views, and what tables expect.
    async fn catalog(&self) -> Result<CatalogRecord, StoreError>;

    /// Changes the catalog: all of it or nothing.
    async fn change_catalog(&self, changes: &[CatalogChange], now_ms: i64) -> Result<(), StoreError>;

    /// The publishes that have not ended, oldest first.
    async fn publishes(&self) -> Result<Vec<PublishEntry>, StoreError>;

    /// Records a publish. When this fails, it may be recorded all the same.
    async fn open_publish(&self, entry: &PublishEntry, now_ms: i64) -> Result<(), StoreError>;

    /// Records how far a publish has come. One that is not there is done.
    async fn advance_publish(&self, id: &PublishId, state: PublishState, now_ms: i64) -> Result<(), StoreError>;

    /// Forgets a publish, and changes the catalog with it: both or nothing. One that is not there is done.
    async fn close_publish(&self, id: &PublishId, changes: &[CatalogChange], now_ms: i64) -> Result<(), StoreError>;

    /// Jobs that may have staged files which nobody has cleared yet, oldest first.
    async fn stagings(&self) -> Result<Vec<StagingRecord>, StoreError>;

    /// Records that a job is about to stage files. Done before it is begun.
    async fn open_staging(&self, staging: &StagingRecord, now_ms: i64) -> Result<(), StoreError>;

    /// Forgets a job whose staging is cleared and can get no more. One that is not there is done.
    async fn close_staging(&self, job_id: &str) -> Result<(), StoreError>;
}

/// Opens the store at a URL, makes it when it is not there, and brings it to this version.
///
/// # Errors
/// `STORE_IN_USE`, `STORE_TOO_NEW`, or what the file system or the database says.
pub async fn open(url: &StoreUrl) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(match url {
        StoreUrl::Memory => SqliteStore::memory().await?,
        StoreUrl::Sqlite(path) => SqliteStore::open(path).await?,
    }))
}
