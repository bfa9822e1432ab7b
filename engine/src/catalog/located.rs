//! A scan whose errors name the file that was being read, and which counts what it reads.
//!
//! A file source is wrapped by one that hands everything on, except that what its morselizer does (opening files, planning
//! what to read of them, reading) gives errors with the file in them. Executors wrap the scans of plans they have decoded,
//! so no downcast of planning or of encoding meets the wrapper: a wrapped source cannot be encoded. The words are found in
//! `error/reading.rs`, the counting stands in `counted.rs`.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::config::ConfigOptions;
use datafusion::datasource::listing::{FileRange, PartitionedFile};
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use super::counted::counted;
use crate::error::{Reading, Start, named};

/// Most bytes that are read to tell in which line of a file a part of it begins.
const COUNTED_BYTES: u64 = 256 * 1024 * 1024;

/// A file source whose errors name the file.
pub(super) struct LocatedSource {
    inner: Arc<dyn FileSource>,
}

impl LocatedSource {
    /// Wraps a source.
    pub(super) fn wrap(inner: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        if inner.is::<Self>() { inner } else { Arc::new(Self { inner }) }
    }
}

impl FileSource for LocatedSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.inner.create_file_opener(counted(store, self.inner.as_ref(), partition), config, partition)
    }

    fn create_morselizer(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        let counting = counted(Arc::clone(&store), self.inner.as_ref(), partition);
        let inner = self.inner.create_morselizer(counting, config, partition)?;
        Ok(Box::new(LocatedMorselizer {
            inner,
            store,
            root: config.object_store_url.as_str().to_owned(),
            columns: Arc::clone(self.inner.table_schema().file_schema()),
        }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Self::wrap(self.inner.with_batch_size(batch_size))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.inner.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_extra(format, f)
    }

    fn supports_repartitioning(&self) -> bool {
        self.inner.supports_repartitioning()
    }

    fn repartitioned(
        &self,
        partitions: usize,
        min_size: usize,
        ordering: Option<LexOrdering>,
        config: &FileScanConfig,
    ) -> Result<Option<FileScanConfig>> {
        self.inner.repartitioned(partitions, min_size, ordering, config)
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let FilterPushdownPropagation { filters, updated_node } = self.inner.try_pushdown_filters(filters, config)?;
        Ok(FilterPushdownPropagation { filters, updated_node: updated_node.map(Self::wrap) })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        Ok(self.inner.try_pushdown_sort(order, properties)?.map(Self::wrap))
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.inner.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        Ok(self.inner.try_pushdown_projection(projection)?.map(Self::wrap))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }
}

/// Begins to read files.
struct LocatedMorselizer {
    inner: Box<dyn Morselizer>,
    store: Arc<dyn ObjectStore>,
    root: String,
    columns: SchemaRef,
}

impl fmt::Debug for LocatedMorselizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Morselizer for LocatedMorselizer {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let open = Arc::new(OpenFile {
            name: format!("{}{}", self.root, file.object_meta.location),
            path: file.object_meta.location.clone(),
            start: file.range.as_ref().map_or(0, |FileRange { start, .. }| u64::try_from(*start).unwrap_or(0)),
            store: Arc::clone(&self.store),
            columns: Arc::clone(&self.columns),
        });
        let inner = self.inner.plan_file(file).map_err(|e| open.named(e))?;
        Ok(LocatedPlanner::wrap(inner, &open))
    }
}

/// A file, or a part of one, that is being read.
struct OpenFile {
    name: String,
    path: Path,
    /// The byte where reading begins.
    start: u64,
    store: Arc<dyn ObjectStore>,
    columns: SchemaRef,
}

impl OpenFile {
    fn named(&self, error: DataFusionError) -> DataFusionError {
        let error = store_error(&error).map_or(error, |e| DataFusionError::ObjectStore(Box::new(e)));
        let start = if self.start == 0 { Start::Lines(0) } else { Start::Byte(self.start) };
        named(error, &self.reading(start))
    }

    /// The same, looking once more at a file that the store did not give, and reading the file up to this part when its
    /// lines have to be counted.
    async fn explained(&self, error: DataFusionError) -> DataFusionError {
        if store_error(&error).is_some()
            && let Err(e) = self.store.head(&self.path).await
        {
            return self.named(DataFusionError::ObjectStore(Box::new(e)));
        }
        let is_text = error.to_string().contains("line ");
        if self.start == 0 || self.start > COUNTED_BYTES || !is_text {
            return self.named(error);
        }
        match self.lines_before().await {
            Ok(lines) => named(error, &self.reading(Start::Lines(lines))),
            Err(_) => self.named(error),
        }
    }

    /// Lines before the first that this part holds: a part begins after the line that its previous byte is in.
    async fn lines_before(&self) -> object_store::Result<u64> {
        let range = GetRange::Bounded(0..self.start - 1);
        let head = match self.start {
            1 => 0,
            _ => {
                let options = GetOptions { range: Some(range), ..GetOptions::default() };
                let bytes = self.store.get_opts(&self.path, options).await?.into_stream();
                let ends = |chunk: &[u8]| chunk.iter().filter(|b| **b == b'\n').count() as u64;
                bytes.try_fold(0, |lines, chunk| async move { Ok(lines + ends(&chunk)) }).await?
            }
        };
        Ok(head + 1)
    }

    fn reading(&self, start: Start) -> Reading<'_> {
        Reading { file: &self.name, start, columns: Some(&self.columns) }
    }
}

/// The store's error, when Parquet's reader could not fetch a footer: it keeps of that error nothing but the text, and calls
/// the file corrupt.
fn store_error(error: &DataFusionError) -> Option<object_store::Error> {
    let text = error.to_string();
    let (_, said) = text.split_once("Failed to fetch metadata for file")?.1.split_once("Object Store error: ")?;
    Some(object_store::Error::Generic { store: "object store", source: said.to_owned().into() })
}

/// Finds out what to read of a file.
struct LocatedPlanner {
    inner: Box<dyn MorselPlanner>,
    open: Arc<OpenFile>,
}

impl LocatedPlanner {
    fn wrap(inner: Box<dyn MorselPlanner>, open: &Arc<OpenFile>) -> Box<dyn MorselPlanner> {
        Box::new(Self { inner, open: Arc::clone(open) })
    }
}

impl fmt::Debug for LocatedPlanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl MorselPlanner for LocatedPlanner {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { inner, open } = *self;
        let Some(mut plan) = inner.plan().map_err(|e| open.named(e))? else { return Ok(None) };
        let morsel = |inner| Box::new(LocatedMorsel { inner, open: Arc::clone(&open) }) as Box<dyn Morsel>;
        let morsels = plan.take_morsels().into_iter().map(morsel).collect();
        let planners = plan.take_ready_planners().into_iter().map(|p| LocatedPlanner::wrap(p, &open)).collect();
        let mut located = MorselPlan::new().with_morsels(morsels).with_planners(planners);
        if let Some(pending) = plan.take_pending_planner() {
            let open = Arc::clone(&open);
            located.set_pending_planner(async move {
                match pending.await {
                    Ok(planner) => Ok(LocatedPlanner::wrap(planner, &open)),
                    Err(e) => Err(open.explained(e).await),
                }
            });
        }
        Ok(Some(located))
    }
}

/// Reads a piece of a file.
struct LocatedMorsel {
    inner: Box<dyn Morsel>,
    open: Arc<OpenFile>,
}

impl fmt::Debug for LocatedMorsel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Morsel for LocatedMorsel {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let open = self.open;
        let explained = move |batch: Result<RecordBatch>| {
            let open = Arc::clone(&open);
            async move {
                match batch {
                    Ok(batch) => Ok(batch),
                    Err(e) => Err(open.explained(e).await),
                }
            }
        };
        self.inner.into_stream().then(explained).boxed()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::parquet::errors::ParquetError;

    use super::*;

    /// Parquet's reader makes text of what the store answers; a retry must still be possible.
    #[test]
    fn a_store_that_fails_does_not_make_a_file_corrupt() {
        let open = OpenFile {
            name: "s3://b/a.parquet".to_owned(),
            path: Path::from("a.parquet"),
            start: 0,
            store: Arc::new(object_store::memory::InMemory::new()),
            columns: Arc::new(datafusion::arrow::datatypes::Schema::empty()),
        };
        let code = |text: &str| {
            let text = format!("Failed to fetch metadata for file a.parquet: {text}");
            let error = DataFusionError::ParquetError(Box::new(ParquetError::General(text)));
            crate::error::classify(&open.named(error)).code
        };
        assert_eq!(code("Object Store error: Generic S3 error: status code: 503 SlowDown"), "STORE_UNAVAILABLE");
        assert_eq!(code("Object Store error: Generic S3 error: status code: 403 AccessDenied"), "ACCESS_DENIED");
        assert_eq!(code("Parquet error: Invalid Parquet file. Corrupt footer"), "CORRUPT_FILE");
    }
}
