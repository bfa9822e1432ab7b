//! Scans a table of files.
//!
//! Lists at every scan (a table written a moment ago shows its new files), leaves out partitions that filters rule out,
//! reads statistics of what is left, and hands byte ranges of the files to as many partitions as the session plans for.
//! DataFusion's own listing table is not used: it takes NULL partitions for strings, believes partition columns never
//! NULL, and reads hidden files. The scan node itself is DataFusion's, which Ballista knows how to send and slice.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics, project_schema};
use datafusion::datasource::TableProvider;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore};
use selvedge_model::Failure;

use super::TableDef;
use super::format::{compression_of, file_format};
use super::listing::Root;
use super::partitions::{PartitionFilter, values_of};
use crate::error::EngineError;

/// A provider that scans the table.
///
/// # Errors
/// When the definition does not hold together: options, location, partition columns.
pub fn table_provider(state: &SessionState, def: &TableDef) -> Result<Arc<dyn TableProvider>, Failure> {
    let compression = compression_of(def.format, &def.options, &[])?;
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

    fn decided_by_partitions(&self, filter: &Expr) -> bool {
        let names: Vec<&str> = self.def.partition_by.iter().map(String::as_str).collect();
        !names.is_empty() && expr_applicable_for_cols(&names, filter)
    }

    /// Files that may hold wanted rows, with their partition values.
    async fn wanted_files(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        filters: &[Expr],
    ) -> Result<Vec<PartitionedFile>> {
        let filters: Vec<Expr> = filters.iter().filter(|f| self.decided_by_partitions(f)).cloned().collect();
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

    /// The files with what is known of their contents; reads the footers of Parquet files.
    async fn with_statistics(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        format: &Arc<dyn FileFormat>,
        files: Vec<PartitionedFile>,
    ) -> Result<Vec<PartitionedFile>> {
        let options = &state.config_options().execution;
        if !options.collect_statistics {
            return Ok(files);
        }
        let schema = self.table_schema.file_schema();
        stream::iter(files)
            .map(|mut file| async move {
                let known = format.infer_stats(state, store, Arc::clone(schema), &file.object_meta).await;
                let known = known.map_err(|e| self.named(e, &file.object_meta))?;
                file.statistics = Some(Arc::new(with_partitions(known, &file)));
                Ok::<_, DataFusionError>(file)
            })
            .buffered(options.meta_fetch_concurrency.get())
            .try_collect()
            .await
    }

    fn named(&self, error: DataFusionError, file: &ObjectMeta) -> DataFusionError {
        let shown = self.def.location.with_path(file.location.clone());
        error.context(format!("reading the footer of file {shown}"))
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
        let answer = |filter: &&Expr| match self.decided_by_partitions(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(answer).collect())
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
        let metas: Vec<ObjectMeta> = files.iter().map(|f| f.object_meta.clone()).collect();
        let compression = compression_of(self.def.format, &self.def.options, &metas).map_err(EngineError::from)?;
        let format = file_format(self.def.format, &self.def.options, compression, state.config_options())
            .map_err(EngineError::from)?;
        let files = self.with_statistics(state, &store, &format, files).await?;
        let partitions = state.config().target_partitions().max(1);
        let (groups, statistics) = grouped(files, partitions, &self.schema())?;
        let config = FileScanConfigBuilder::new(url, format.file_source(self.table_schema.clone()))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        let plan = format.create_physical_plan(state, config).await?;
        // Into byte ranges of about the same size, where the format can be entered anywhere.
        Ok(plan.repartitioned(partitions, state.config_options())?.unwrap_or(plan))
    }
}

/// Statistics of a file's columns, and of its partition columns, which have one value each.
fn with_partitions(mut known: Statistics, file: &PartitionedFile) -> Statistics {
    if matches!(known.total_byte_size, Precision::Absent) {
        known.total_byte_size = Precision::Inexact(usize::try_from(file.object_meta.size).unwrap_or(usize::MAX));
    }
    for value in &file.partition_values {
        let column = if value.is_null() {
            ColumnStatistics { null_count: known.num_rows, ..ColumnStatistics::new_unknown() }
        } else {
            ColumnStatistics {
                null_count: Precision::Exact(0),
                min_value: Precision::Exact(value.clone()),
                max_value: Precision::Exact(value.clone()),
                distinct_count: Precision::Exact(1),
                ..ColumnStatistics::new_unknown()
            }
        };
        known.column_statistics.push(column);
    }
    known
}

/// Files in at most `partitions` groups, with the statistics of each and of all.
fn grouped(files: Vec<PartitionedFile>, partitions: usize, schema: &Schema) -> Result<(Vec<FileGroup>, Statistics)> {
    let summed = |group: &FileGroup| -> Result<Statistics> {
        let known: Option<Vec<&Statistics>> = group.iter().map(|f| f.statistics.as_deref()).collect();
        match known {
            Some(known) => Statistics::try_merge_iter(known, schema),
            None => Ok(Statistics::new_unknown(schema)),
        }
    };
    let all = FileGroup::new(files);
    let total = summed(&all)?;
    let groups = all
        .split_files(partitions)
        .into_iter()
        .map(|group| {
            let known = summed(&group)?;
            Ok(group.with_statistics(Arc::new(known)))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok((groups, total))
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
