//! Tables, views and schemas, and how their files are read.
//!
//! [`Catalog`] is what the scheduler plans from; DataFusion sees it through `provider.rs`. [`resolve_files`] finds out what
//! lies at a location, [`table_provider`] scans it, [`prepare_scans`] makes a scan run on an executor. The catalog lives in
//! memory; the scheduler keeps what lasts. Nothing here writes files: see `write/`.

mod counted;
mod definition;
mod expectations;
mod files;
mod format;
mod infer;
mod information;
mod listing;
mod located;
mod names;
mod partitions;
mod prepare;
mod provider;
mod resolve;
mod scan;
mod schemas;
mod statistics;
mod survey;

pub use definition::{Format, TableDef, ViewDef, plain_schema};
pub use files::table_provider;
pub(crate) use format::file_format;
pub(crate) use listing::is_hidden;
pub use names::TableName;
pub(crate) use partitions::{parse_segment, scalar};
pub use prepare::prepare_scans;
pub use resolve::resolve_files;
pub(crate) use scan::{FileScan, Wanted, decided_by_partitions, filter_pushdown};
pub use schemas::Catalog;
pub(crate) use statistics::{summed, with_partitions};
pub use survey::{Survey, scanned_locations, survey};
