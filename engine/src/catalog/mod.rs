//! Tables, views and schemas, and how their files are read.
//!
//! [`Catalog`] is what the scheduler plans from; DataFusion sees it through `provider.rs`. [`resolve_files`] finds out what
//! lies at a location, [`table_provider`] scans it. The catalog lives in memory for now: what makes it durable comes
//! behind the same type. Nothing here writes files: see `write/`.

mod definition;
mod files;
mod format;
mod listing;
mod names;
mod partitions;
mod provider;
mod resolve;
mod schemas;

pub use definition::{Format, TableDef, ViewDef, plain_schema};
pub use files::table_provider;
pub use format::restore_compression;
pub use names::TableName;
pub use resolve::resolve_files;
pub use schemas::Catalog;
