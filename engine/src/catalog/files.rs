//! Scans a table of files.
//!
//! Lists at every scan (a table written a moment ago shows its new files), leaves out partitions that filters rule out,
//! reads statistics of what is left, and hands byte ranges of the files to as many partitions as the session plans for.
//! DataFusion's own listing table is not used: it takes NULL partitions for strings, believes partition columns never
//! NULL, and reads hidden files. The scan node itself is DataFusion's: see `scan.rs`.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::project_schema;
use datafusion::datasource::TableProvider;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use object_store::ObjectStore;
use selvedge_model::Failure;

use super::TableDef;
use super::format::{by_compression, file_format, said_compression};
use super::listing::Root;
use super::partitions::{PartitionFilter, values_of};
use super::scan::{FileScan, Wanted, decided_by_partitions, filter_pushdown};
use super::statistics::Footers;
use crate::error::EngineError;

/// A provider that scans the table.
///
/// # Errors
/// When the definition does not hold together: options, location, partition columns.
pub fn table_provider(state: &SessionState, def: &TableDef) -> Result<Arc<dyn TableProvider>, Failure> {
    let compression = said_compression(def.format, &def.options)?.unwrap_or(CompressionTypeVariant::UNCOMPRESSED);
    file_format(def.format, &def.options, compression, state.config_options())?;
    Ok(Arc::new(FilesTable::new(def)?))
}

/// A table of files, to be scanned.
#[derive(Debug)]
pub(super) struct FilesTable {
    def: TableDef,
    root: Root,
    partitions: Vec<FieldRef>,
    table_schema: TableSchema,
}

impl FilesTable {
    pub(super) fn new(def: &TableDef) -> Result<Self, Failure> {
        let partitions = def.partition_fields();
        if !partitions.iter().map(|f| f.name()).eq(def.partition_by.iter()) {
            let cause = format!("the partition columns of {} are not its last columns", def.name);
            return Err(Failure::internal("INTERNAL", cause));
        }
        let table_schema =
            TableSchema::builder(def.file_schema()).with_table_partition_cols(partitions.clone()).build();
        Ok(Self { def: def.clone(), root: Root::of(&def.location)?, partitions, table_schema })
    }

    /// The table that is scanned.
    pub(super) fn def(&self) -> &TableDef {
        &self.def
    }

    /// Files that may hold wanted rows, with their partition values.
    async fn wanted_files(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        filters: &[Expr],
    ) -> Result<Vec<PartitionedFile>> {
        let decided = |filter: &&Expr| decided_by_partitions(&self.partitions, filter);
        let filters: Vec<Expr> = filters.iter().filter(decided).cloned().collect();
        let filter = PartitionFilter { state, fields: &self.partitions, filters: &filters };
        let listed = self.root.list(store, (!filters.is_empty()).then_some(&filter)).await?;
        let mut wanted = Vec::with_capacity(listed.len());
        for file in listed {
            let values = values_of(self.root.directories(&file.location), &self.partitions, file.location.as_ref())
                .map_err(EngineError::from)?;
            if filter.keeps(&values)? {
                wanted.push(PartitionedFile::new_from_meta(file).with_partition_values(values));
            }
        }
        Ok(wanted)
    }

    /// One scan of files that are compressed the same way.
    async fn scan_alike(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        compression: CompressionTypeVariant,
        files: Vec<PartitionedFile>,
        wanted: Wanted<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let format = file_format(self.def.format, &self.def.options, compression, state.config_options())
            .map_err(EngineError::from)?;
        let footers = Footers {
            state,
            store,
            format: &format,
            location: &self.def.location,
            schema: self.table_schema.file_schema(),
        };
        let (files, total) = footers.known_files(files, &self.schema()).await?;
        let scan = FileScan {
            location: &self.def.location,
            format: &format,
            table_schema: &self.table_schema,
            partitions: state.config().target_partitions().max(1),
            wanted,
        };
        scan.plan(state, files, total).await
    }
}

#[async_trait]
impl TableProvider for FilesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.table_schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filter_pushdown(&self.partitions, filters))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let url = self.def.location.store_url();
        let store = state.runtime_env().object_store(&url)?;
        let files = self.wanted_files(state, &store, filters).await?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema(), projection)?)));
        }
        let kinds = by_compression(self.def.format, &self.def.options, files, |f| f.object_meta.location.as_ref())
            .map_err(EngineError::from)?;
        let wanted = Wanted { projection, limit };
        let mut scans = Vec::with_capacity(kinds.len());
        for (compression, files) in kinds {
            scans.push(self.scan_alike(state, &store, compression, files, wanted).await?);
        }
        // A scan reads files of one compression only.
        UnionExec::try_new(scans)
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
pub(super) mod tests;
