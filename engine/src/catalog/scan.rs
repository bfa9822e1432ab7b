//! What the scans of tables share, whether their files are listed (`files.rs`) or come from a log (`delta/provider.rs`):
//! the node, which is DataFusion's and which Ballista knows how to send and slice, and what partition columns decide.

use std::sync::Arc;

use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::catalog::Session;
use datafusion::common::Statistics;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::statistics::summed;
use crate::store::Location;

/// Columns and rows that a scan is to give.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub projection: Option<&'a Vec<usize>>,
    pub limit: Option<usize>,
}

/// A scan of files of one format and compression.
pub(crate) struct FileScan<'a> {
    pub location: &'a Location,
    pub format: &'a Arc<dyn FileFormat>,
    pub table_schema: &'a TableSchema,
    /// How many parts it is to be read in.
    pub partitions: usize,
    pub wanted: Wanted<'a>,
}

impl FileScan<'_> {
    /// Its node, over byte ranges of about the same size where the format can be entered anywhere. `total` is what is
    /// known of all files together.
    pub(crate) async fn plan(
        &self,
        state: &dyn Session,
        files: Vec<PartitionedFile>,
        total: Statistics,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let groups = grouped(files, self.partitions, self.table_schema.table_schema())?;
        let source = self.format.file_source(self.table_schema.clone());
        let config = FileScanConfigBuilder::new(self.location.store_url(), source)
            .with_file_groups(groups)
            .with_statistics(total)
            .with_projection_indices(self.wanted.projection.cloned())?
            .with_limit(self.wanted.limit)
            .build();
        let plan = self.format.create_physical_plan(state, config).await?;
        Ok(plan.repartitioned(self.partitions, state.config_options())?.unwrap_or(plan))
    }
}

/// Files in at most `partitions` groups, with the statistics of each.
fn grouped(files: Vec<PartitionedFile>, partitions: usize, schema: &Schema) -> Result<Vec<FileGroup>> {
    let with_sum = |group: FileGroup| {
        let known = summed(group.files(), schema)?;
        Ok(group.with_statistics(Arc::new(known)))
    };
    FileGroup::new(files).split_files(partitions).into_iter().map(with_sum).collect()
}

/// Whether a filter asks for partition columns alone, so that it is answered by leaving out files.
pub(crate) fn decided_by_partitions(partitions: &[FieldRef], filter: &Expr) -> bool {
    let names: Vec<&str> = partitions.iter().map(|f| f.name().as_str()).collect();
    !names.is_empty() && expr_applicable_for_cols(&names, filter)
}

/// What a scan of partitioned files makes of each filter: other columns than those of partitions only rule out files.
pub(crate) fn filter_pushdown(partitions: &[FieldRef], filters: &[&Expr]) -> Vec<TableProviderFilterPushDown> {
    let answer = |filter: &&Expr| match decided_by_partitions(partitions, filter) {
        true => TableProviderFilterPushDown::Exact,
        false => TableProviderFilterPushDown::Inexact,
    };
    filters.iter().map(answer).collect()
}
