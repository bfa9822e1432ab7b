//! `SpreadExec`: numbers the chunks of each partition value, so that a huge partition becomes several tasks' work.
//!
//! A write partitioned by columns needs the rows of one value together, or every task writes a small file into every
//! partition. But hashed by value alone, one huge partition is one task, and everything waits for it. So this node adds
//! a column: the first chunk's worth of rows of a value gets 0, the next 1, and so on; the `WriteExec` above asks for a
//! hash on (partition columns, chunk). Then
//!
//! - a value smaller than a target file keeps chunk 0, goes to one task and becomes one file;
//! - a value of n target files becomes n chunks, spread over up to n tasks; the number of files is the best possible;
//! - nothing has to be known beforehand about sizes or the number of values, so plans need no statistics and it works the
//!   same with the static planner, with AQE, and after AQE coalesced or replanned stages.
//!
//! Counting costs one hash and one counter a row. Counters are shared by values whose hashes collide: such values are
//! spread a little sooner, which is harmless.
//!
//! The chunk of a row depends on the rows before it, as `row_number()` without a total order and `random()` do: a task
//! run again may place rows differently. So an *accepted* output must never be mixed with a rerun's, and it is not: the
//! host keeps accepted shuffle output, and when it is lost, runs the whole statement again.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

/// Name of the added column.
pub(crate) const CHUNK_COLUMN: &str = "__selvedge_chunk";
/// How much larger rows are in memory than in zstd Parquet, about.
const EXPANSION: u64 = 4;
/// Counters of a task: 32 KiB of them.
const COUNTERS: usize = 4096;
/// Not the seed of the exchange above: or chunks and targets would fall together.
const SEED: u64 = 0x5e17_ed9e;

/// What a [`SpreadExec`] needs to know, and what travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpreadSpec {
    /// Indices of the partition columns.
    pub(crate) columns: Vec<usize>,
    /// In-memory bytes of one value that one task puts into a chunk.
    pub(crate) chunk_bytes: u64,
}

/// Adds the chunk column as the last one. Keeps rows, their order and their partitions.
#[derive(Debug)]
pub(crate) struct SpreadExec {
    input: Arc<dyn ExecutionPlan>,
    spec: SpreadSpec,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SpreadExec {
    /// Chunks of about one target file, when `spreaders` tasks each contribute their share of it.
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        columns: Vec<usize>,
        target_file_bytes: u64,
        spreaders: usize,
    ) -> Self {
        let chunk_bytes = target_file_bytes.saturating_mul(EXPANSION) / (spreaders.max(1) as u64);
        Self::from_spec(input, SpreadSpec { columns, chunk_bytes: chunk_bytes.max(1) })
    }

    /// The node as it travelled.
    pub(crate) fn from_spec(input: Arc<dyn ExecutionPlan>, spec: SpreadSpec) -> Self {
        let mut fields = input.schema().fields().to_vec();
        fields.push(Arc::new(Field::new(CHUNK_COLUMN, DataType::UInt32, false)));
        let schema = Arc::new(Schema::new(fields));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.properties().output_partitioning().clone(),
            input.properties().emission_type,
            input.properties().boundedness,
        );
        Self { input, spec, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }

    pub(crate) fn spec(&self) -> &SpreadSpec {
        &self.spec
    }
}

impl DisplayAs for SpreadExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut Formatter) -> fmt::Result {
        let schema = self.input.schema();
        let names: Vec<&str> = self.spec.columns.iter().map(|i| schema.field(*i).name().as_str()).collect();
        write!(f, "SpreadExec: by=[{}], chunk_bytes={}", names.join(", "), self.spec.chunk_bytes)
    }
}

impl ExecutionPlan for SpreadExec {
    fn name(&self) -> &str {
        "SpreadExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// It does, but must not say so: sorts asked for above would be pushed below it, and below the exchange.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok([input]) = <[_; 1]>::try_from(children) else {
            return internal_err!("SpreadExec takes one input");
        };
        Ok(Arc::new(Self::from_spec(input, self.spec.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let mut counters = ChunkCounters::new(self.spec.clone(), self.properties.equivalence_properties().schema());
        let stream = input.map(move |batch| {
            let _timer = metrics.elapsed_compute().timer();
            let batch = counters.number(&batch?)?;
            metrics.record_output(batch.num_rows());
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// Numbers the rows of one task.
struct ChunkCounters {
    spec: SpreadSpec,
    schema: SchemaRef,
    random_state: RandomState,
    /// Rows to a chunk; known from the first rows.
    chunk_rows: u32,
    /// For each hash: rows left in its chunk, and the chunk.
    counters: Vec<(u32, u32)>,
    hashes: Vec<u64>,
}

impl ChunkCounters {
    fn new(spec: SpreadSpec, schema: &SchemaRef) -> Self {
        let random_state = RandomState::with_seed(SEED);
        Self { spec, schema: schema.clone(), random_state, chunk_rows: 0, counters: Vec::new(), hashes: Vec::new() }
    }

    fn number(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        if self.chunk_rows == 0 && rows > 0 {
            self.chunk_rows = chunk_rows(batch, self.spec.chunk_bytes)?;
            self.counters = vec![(self.chunk_rows, 0); COUNTERS];
        }
        self.hashes.clear();
        self.hashes.resize(rows, 0);
        let keys: Vec<ArrayRef> = self.spec.columns.iter().map(|i| batch.column(*i).clone()).collect();
        create_hashes(&keys, &self.random_state, &mut self.hashes)?;
        let mut chunks = Vec::with_capacity(rows);
        for hash in &self.hashes {
            let counter = &mut self.counters[(*hash as usize) % COUNTERS];
            if counter.0 == 0 {
                *counter = (self.chunk_rows, counter.1.saturating_add(1));
            }
            counter.0 -= 1;
            chunks.push(counter.1);
        }
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(UInt32Array::from(chunks)));
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

/// Rows that fill a chunk, judging by these rows. At least a batch's worth, so that chunks stay worth a file.
fn chunk_rows(batch: &RecordBatch, chunk_bytes: u64) -> Result<u32> {
    let mut bytes = 0;
    for column in batch.columns() {
        bytes += column.to_data().get_slice_memory_size()?;
    }
    let row_bytes = (bytes / batch.num_rows()).max(1) as u64;
    Ok(u32::try_from(chunk_bytes / row_bytes).unwrap_or(u32::MAX).max(1024))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::UInt32Type;
    use datafusion::datasource::memory::MemorySourceConfig;

    async fn chunks(keys: Vec<i64>, chunk_bytes: u64) -> Vec<u32> {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(keys))]).unwrap();
        let input = MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None).unwrap();
        let spread = SpreadExec::from_spec(input, SpreadSpec { columns: vec![0], chunk_bytes });
        let mut stream = spread.execute(0, Arc::new(TaskContext::default())).unwrap();
        let batch = stream.next().await.unwrap().unwrap();
        batch.column(1).as_primitive::<UInt32Type>().values().to_vec()
    }

    #[tokio::test]
    async fn only_a_value_larger_than_a_chunk_is_spread() {
        // Rows of 8 bytes; a chunk of 16 KiB takes 2048.
        let keys: Vec<i64> = (0..6000).map(|i| if i < 5000 { 7 } else { i }).collect();
        let chunks = chunks(keys, 16 << 10).await;
        assert_eq!((chunks[0], chunks[2047], chunks[2048], chunks[4999]), (0, 0, 1, 2));
        let small = chunks[5000..].iter().filter(|c| **c > 0).count();
        assert!(small <= 1, "{small} rows of small values were spread");
    }
}
