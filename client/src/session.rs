//! DataFrames on the cluster's tables and files. The scheduler is asked for the schema, once per table; then all planning
//! is local. `write.rs` sends the finished plan.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use datafusion::common::TableReference;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use selvedge_proto::v1;
use selvedge_proto::v1::resolve_table_request::Source;

use crate::connect::Selvedge;
use crate::error::{Error, Result};
use crate::functions;
use crate::table::NamedTable;

/// How files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values; the first line names the columns unless an option says otherwise.
    Csv,
    /// One JSON object a line.
    Json,
    /// Apache Avro.
    Avro,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Parquet => "PARQUET",
            Self::Csv => "CSV",
            Self::Json => "JSON",
            Self::Avro => "AVRO",
        }
    }
}

impl Selvedge {
    /// A table or view of the catalog as a DataFrame: `orders` or `sales.orders`. Its columns may be named `o_orderkey` or
    /// `orders.o_orderkey`.
    ///
    /// # Errors
    /// When there is no such table, or nobody answers.
    pub async fn table(&self, name: &str) -> Result<DataFrame> {
        self.frame(Source::Table(name.to_owned()), TableReference::parse_str(name)).await
    }

    /// Parquet files as a DataFrame: a file, a directory (Hive partitions become columns) or a glob, on `s3://`, `s3a://`,
    /// `file://` or `http(s)://`. A path without a scheme is local, and must mean the same on every executor.
    ///
    /// # Errors
    /// When there is nothing at the location, it cannot be read, or nobody answers.
    pub async fn read_parquet(&self, location: &str) -> Result<DataFrame> {
        self.read(Format::Parquet, location, BTreeMap::new()).await
    }

    /// CSV files (also `.gz` and `.zst`) as a DataFrame, as [`Self::read_parquet`].
    ///
    /// # Errors
    /// As [`Self::read_parquet`].
    pub async fn read_csv(&self, location: &str) -> Result<DataFrame> {
        self.read(Format::Csv, location, BTreeMap::new()).await
    }

    /// Files of one JSON object a line (also `.gz` and `.zst`) as a DataFrame, as [`Self::read_parquet`].
    ///
    /// # Errors
    /// As [`Self::read_parquet`].
    pub async fn read_json(&self, location: &str) -> Result<DataFrame> {
        self.read(Format::Json, location, BTreeMap::new()).await
    }

    /// Avro files as a DataFrame, as [`Self::read_parquet`].
    ///
    /// # Errors
    /// As [`Self::read_parquet`].
    pub async fn read_avro(&self, location: &str) -> Result<DataFrame> {
        self.read(Format::Avro, location, BTreeMap::new()).await
    }

    /// Files as a DataFrame, with the options that `CREATE EXTERNAL TABLE ... OPTIONS` takes. Its columns may be qualified
    /// by the location's last name: `.../orders/` or `.../orders.csv` by `orders`.
    ///
    /// # Errors
    /// As [`Self::read_parquet`].
    pub async fn read(&self, format: Format, location: &str, options: BTreeMap<String, String>) -> Result<DataFrame> {
        let location = absolute(location)?;
        let reference = TableReference::bare(stem(&location));
        let files =
            v1::FileSource { location, format: format.name().to_owned(), options: options.into_iter().collect() };
        self.frame(Source::Files(files), reference).await
    }

    async fn frame(&self, source: Source, reference: TableReference) -> Result<DataFrame> {
        let request = v1::ResolveTableRequest { source: Some(source) };
        let reply = self.catalog().resolve_table(request).await.map_err(|e| self.fail(&e))?.into_inner();
        let schema = decode_schema(&reply.schema)?;
        frame_on(NamedTable::new(reply.table, schema), reference)
    }
}

pub(crate) fn frame_on(table: NamedTable, reference: TableReference) -> Result<DataFrame> {
    let plan = LogicalPlanBuilder::scan(reference, provider_as_source(Arc::new(table)), None)?.build()?;
    Ok(DataFrame::new(functions::state().clone(), plan))
}

fn decode_schema(bytes: &[u8]) -> Result<SchemaRef> {
    let reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(|e| Error::Reply(e.to_string()))?;
    Ok(reader.schema())
}

/// A path without a scheme is this process's: the scheduler's working directory is another.
pub(crate) fn absolute(location: &str) -> Result<String> {
    if location.contains("://") {
        return Ok(location.to_owned());
    }
    let slash = if location.ends_with('/') { "/" } else { "" };
    let bad = |e: std::io::Error| Error::Reply(format!("'{location}' is not a path: {e}"));
    let path = std::path::absolute(location).map_err(bad)?.to_string_lossy().into_owned();
    Ok(if path.ends_with('/') { path } else { path + slash })
}

/// `s3://b/sales/orders/` and `/x/orders.csv.gz` give `orders`; a glob gives the directory before it.
fn stem(location: &str) -> String {
    let path = location.split_once("://").map_or(location, |(_, rest)| rest);
    let name = path.split('/').rev().find(|part| !part.is_empty() && !part.contains(['*', '?', '[', '{', '=']));
    name.and_then(|n| n.split('.').find(|p| !p.is_empty())).unwrap_or("files").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_their_location() {
        for (location, name) in [
            ("s3://bucket/sales/orders/", "orders"),
            ("/x/Orders.csv.gz", "orders"),
            ("s3://bucket/orders/ds=2026-01-01/*.parquet", "orders"),
            ("s3://bucket", "bucket"),
        ] {
            assert_eq!(stem(location), name, "{location}");
        }
    }

    #[test]
    fn relative_paths_become_absolute_and_keep_their_slash() {
        let path = absolute("data/orders/").unwrap();
        assert!(path.starts_with('/') && path.ends_with("/data/orders/"), "{path}");
        assert_eq!(absolute("s3://b/x").unwrap(), "s3://b/x");
    }
}
