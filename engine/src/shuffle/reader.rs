//! The plan node that reads shuffle in place of Ballista's two readers.
//!
//! Swapped in on the executor after the plan is decoded, so it needs no codec; the scheduler never sees it. Several
//! blocks are on their way at once, each holding one piece and one batch, so memory does not grow with the number of
//! blocks. Blocks are opened in `block.rs`.

use std::fmt;
use std::sync::Arc;

use ballista_core::execution_plans::{RangeShuffleReaderExec, ShuffleReaderExec, WidenedBound};
use ballista_core::serde::scheduler::PartitionLocation;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Statistics, internal_datafusion_err};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, StatisticsArgs,
};
use futures::{StreamExt, stream};

use super::block::{BlockRequest, lazily};
use super::coalesce::Coalesced;
use super::source::ReadCounts;
use super::store::ShuffleStore;
use super::{LOCAL_READS, PEER_READS, REMOTE_READS, SHUFFLE_BYTES_READ, SHUFFLE_ROWS_READ};

/// Blocks read at the same time by one partition of one reader.
const BLOCKS_IN_FLIGHT: usize = 8;

/// Replaces every shuffle reader of a decoded stage plan by one that reads from `store`.
pub fn replace_readers(plan: Arc<dyn ExecutionPlan>, store: Arc<ShuffleStore>) -> Result<Arc<dyn ExecutionPlan>> {
    let replaced = plan.transform_up(|node| {
        let (partitions, merges, broadcast) = if let Some(reader) = node.downcast_ref::<ShuffleReaderExec>() {
            (reader.partition.clone(), false, reader.broadcast)
        } else if let Some(reader) = node.downcast_ref::<RangeShuffleReaderExec>() {
            (reader.partition.clone(), true, false)
        } else {
            return Ok(Transformed::no(node));
        };
        let (store, metrics) = (store.clone(), ExecutionPlanMetricsSet::new());
        let reader = DurableShuffleReaderExec { original: node, partitions, merges, broadcast, store, metrics };
        Ok(Transformed::yes(Arc::new(reader) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(replaced.data)
}

/// Reads shuffle blocks from local disk, their writer or object storage.
#[derive(Debug)]
pub struct DurableShuffleReaderExec {
    /// Ballista's reader: what the plan says about partitioning, order and size is its word.
    original: Arc<dyn ExecutionPlan>,
    partitions: Vec<Vec<PartitionLocation>>,
    /// Whether blocks are sorted and must come out merged.
    merges: bool,
    /// Whether every partition reads the same blocks.
    broadcast: bool,
    store: Arc<ShuffleStore>,
    metrics: ExecutionPlanMetricsSet,
}

impl DurableShuffleReaderExec {
    fn counts(&self, partition: usize) -> ReadCounts {
        let counter = |name: &'static str| MetricBuilder::new(&self.metrics).counter(name, partition);
        ReadCounts {
            bytes: counter(SHUFFLE_BYTES_READ),
            rows: counter(SHUFFLE_ROWS_READ),
            local: counter(LOCAL_READS),
            peer: counter(PEER_READS),
            remote: counter(REMOTE_READS),
            retries: counter("read_retries"),
        }
    }

    fn requests(
        &self,
        partition: usize,
        bound: Option<&WidenedBound>,
        context: &TaskContext,
    ) -> Result<Vec<BlockRequest>> {
        let locations = self
            .partitions
            .get(if self.broadcast { 0 } else { partition })
            .ok_or_else(|| internal_datafusion_err!("shuffle partition {partition} of {}", self.partitions.len()))?;
        let counts = self.counts(partition);
        let reader = context.task_id().unwrap_or_default();
        let request = |location: &PartitionLocation| BlockRequest {
            location: location.clone(),
            bound: bound.cloned(),
            with_schema: false,
            counts: counts.clone(),
            reader: reader.clone(),
        };
        Ok(locations.iter().map(request).collect())
    }

    fn merge(
        &self,
        reader: &RangeShuffleReaderExec,
        partition: usize,
        context: &TaskContext,
    ) -> Result<SendableRecordBatchStream> {
        let bound = reader.bounds().and_then(|bounds| bounds.get(partition));
        let schema = self.schema();
        let streams: Vec<SendableRecordBatchStream> = self
            .requests(partition, bound, context)?
            .into_iter()
            .map(|request| lazily(self.store.clone(), request))
            .map(|blocks| Box::pin(RecordBatchStreamAdapter::new(schema.clone(), blocks)) as _)
            .collect();
        if streams.is_empty() {
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream::empty())));
        }
        StreamingMergeBuilder::new()
            .with_streams(streams)
            .with_schema(schema)
            .with_expressions(reader.merge_ordering())
            .with_batch_size(context.session_config().batch_size())
            .with_fetch(reader.fetch())
            .with_metrics(BaselineMetrics::new(&self.metrics, partition))
            .with_reservation(MemoryConsumer::new("DurableShuffleReader").register(context.memory_pool()))
            .build()
    }

    fn concatenate(&self, partition: usize, context: &TaskContext) -> Result<SendableRecordBatchStream> {
        let mut requests = self.requests(partition, None, context)?;
        if !requests.is_empty() {
            // Readers of different partitions begin with different writers, so that none is asked by all at once.
            let first = partition % requests.len();
            requests.rotate_left(first);
        }
        let store = self.store.clone();
        let blocks = stream::iter(requests)
            .map(move |request| lazily(store.clone(), request))
            .flatten_unordered(BLOCKS_IN_FLIGHT)
            .boxed();
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batch_size = context.session_config().batch_size();
        Ok(Box::pin(cooperative(Coalesced::new(blocks, self.schema(), batch_size, Some(metrics)))))
    }
}

impl DisplayAs for DurableShuffleReaderExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DurableShuffleReaderExec: ")?;
        self.original.fmt_as(format, f)
    }
}

impl ExecutionPlan for DurableShuffleReaderExec {
    fn name(&self) -> &str {
        "DurableShuffleReaderExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.original.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.original.apply_expressions(f)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        match self.original.downcast_ref::<RangeShuffleReaderExec>() {
            Some(reader) if self.merges => self.merge(reader, partition, &context),
            _ => self.concatenate(partition, &context),
        }
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        self.original.statistics_from_inputs(inputs, args)
    }
}
