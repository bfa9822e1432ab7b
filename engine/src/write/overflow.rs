//! Rows of partitions for which no file could be kept open: sorted by partition, on disk when there are many, so that they
//! can be written one file after the other once the open ones are done.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Batches on their way to the sort, and from it.
const WAITING: usize = 2;

/// Sorts what does not fit; nothing is started before the first row.
pub(crate) struct Overflow {
    schema: SchemaRef,
    order: LexOrdering,
    context: Arc<TaskContext>,
    running: Option<Running>,
}

struct Running {
    to_sort: mpsc::Sender<RecordBatch>,
    sorted: SendableRecordBatchStream,
}

impl Overflow {
    /// For rows of `schema`, to be sorted by `order`.
    pub(crate) fn new(schema: SchemaRef, order: LexOrdering, context: Arc<TaskContext>) -> Self {
        Self { schema, order, context, running: None }
    }

    /// Takes rows; they may be spilled.
    pub(crate) async fn push(&mut self, rows: RecordBatch) -> Result<()> {
        let running = match &mut self.running {
            Some(running) => running,
            None => self.running.insert(start(&self.schema, self.order.clone(), &self.context)?),
        };
        if running.to_sort.send(rows).await.is_ok() {
            return Ok(());
        }
        // It stopped early: it has said why.
        match running.sorted.next().await {
            Some(Err(error)) => Err(error),
            _ => Err(DataFusionError::Execution("the sort of a write ended before its input".to_owned())),
        }
    }

    /// All rows taken, sorted; `None` when there were none.
    pub(crate) fn finish(self) -> Option<SendableRecordBatchStream> {
        // The other end of its input goes, so that the sort knows it has all.
        self.running.map(|running| running.sorted)
    }
}

fn start(schema: &SchemaRef, order: LexOrdering, context: &Arc<TaskContext>) -> Result<Running> {
    let (to_sort, unsorted) = mpsc::channel(WAITING);
    let source = Arc::new(Unsorted { schema: schema.clone(), batches: Mutex::new(Some(unsorted)) });
    let input = StreamingTableExec::try_new(schema.clone(), vec![source], None, [], false, None)?;
    let mut stream = SortExec::new(order, Arc::new(input)).execute(0, context.clone())?;
    // Ends when it is dropped, and hands on a panic: rows must not be missing without a word.
    let mut sorted = RecordBatchReceiverStream::builder(schema.clone(), WAITING);
    let out = sorted.tx();
    sorted.spawn(async move {
        while let Some(batch) = stream.next().await {
            let failed = batch.is_err();
            if out.send(batch).await.is_err() || failed {
                break;
            }
        }
        Ok(())
    });
    Ok(Running { to_sort, sorted: sorted.build() })
}

/// The source of the sort: what was pushed.
struct Unsorted {
    schema: SchemaRef,
    batches: Mutex<Option<mpsc::Receiver<RecordBatch>>>,
}

impl fmt::Debug for Unsorted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unsorted")
    }
}

impl PartitionStream for Unsorted {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.batches.lock().take();
        let stream = futures::stream::unfold(batches, |batches| async move {
            let mut batches = batches?;
            let batch = batches.recv().await?;
            Some((Ok(batch), Some(batches)))
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_expr::PhysicalSortExpr;
    use datafusion::physical_expr::expressions::Column;

    use super::*;

    fn batch(values: &[i64]) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        RecordBatch::try_from_iter([("k", column)]).unwrap()
    }

    fn overflow(pool_bytes: usize) -> Overflow {
        let pool = Arc::new(GreedyMemoryPool::new(pool_bytes));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
        let context = TaskContext::default().with_runtime(runtime);
        let order = LexOrdering::new([PhysicalSortExpr::new_default(Arc::new(Column::new("k", 0)))]).unwrap();
        Overflow::new(batch(&[]).schema(), order, Arc::new(context))
    }

    #[tokio::test]
    async fn all_rows_pushed_come_back_sorted() {
        assert!(overflow(0).finish().is_none());
        let mut rows = overflow(64 << 20);
        for i in 0..20_i64 {
            rows.push(batch(&[20 - i, 40 - i])).await.unwrap();
        }
        let mut sorted = rows.finish().unwrap();
        let mut found: Vec<i64> = Vec::new();
        while let Some(batch) = sorted.next().await {
            found.extend(batch.unwrap().column(0).as_primitive::<Int64Type>().values());
        }
        assert_eq!(found, (1..=40).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_sort_that_fails_says_so_and_never_looks_like_an_end() {
        let mut rows = overflow(1);
        let mut failed = None;
        for _ in 0..20 {
            if let Err(error) = rows.push(batch(&[1, 2])).await {
                failed = Some(error);
                break;
            }
        }
        assert!(matches!(failed.unwrap().find_root(), DataFusionError::ResourcesExhausted(_)));
    }
}
