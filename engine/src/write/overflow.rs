//! Rows of partitions for which no file could be kept open: sorted by partition, on disk when there are many, so that they
//! can be written one file after the other once the open ones are done.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Batches on their way to the sort, and from it.
const WAITING: usize = 2;

type Batches = mpsc::Receiver<Result<RecordBatch>>;

/// Sorts what does not fit; nothing is started before the first row.
pub(crate) struct Overflow {
    schema: SchemaRef,
    order: LexOrdering,
    context: Arc<TaskContext>,
    running: Option<Running>,
}

struct Running {
    to_sort: mpsc::Sender<Result<RecordBatch>>,
    sorted: Batches,
    /// Ends with it.
    _sort: SpawnedTask<()>,
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
        if running.to_sort.send(Ok(rows)).await.is_ok() {
            return Ok(());
        }
        // It stopped early: it has said why.
        match running.sorted.recv().await {
            Some(Err(error)) => Err(error),
            _ => Err(DataFusionError::Execution("the sort of a write ended before its input".to_owned())),
        }
    }

    /// All rows taken, sorted; `None` when there were none.
    pub(crate) fn finish(self) -> Option<Sorted> {
        let Running { to_sort, sorted, _sort } = self.running?;
        drop(to_sort);
        Some(Sorted { batches: sorted, _sort })
    }
}

/// The rows, sorted.
pub(crate) struct Sorted {
    batches: Batches,
    _sort: SpawnedTask<()>,
}

impl Sorted {
    /// The next rows.
    pub(crate) async fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.batches.recv().await
    }
}

fn start(schema: &SchemaRef, order: LexOrdering, context: &Arc<TaskContext>) -> Result<Running> {
    let (to_sort, unsorted) = mpsc::channel(WAITING);
    let source = Arc::new(Unsorted { schema: schema.clone(), batches: Mutex::new(Some(unsorted)) });
    let input = StreamingTableExec::try_new(schema.clone(), vec![source], None, [], false, None)?;
    let mut stream = SortExec::new(order, Arc::new(input)).execute(0, context.clone())?;
    let (out, sorted) = mpsc::channel(WAITING);
    let sort = SpawnedTask::spawn(async move {
        while let Some(batch) = stream.next().await {
            let failed = batch.is_err();
            if out.send(batch).await.is_err() || failed {
                return;
            }
        }
    });
    Ok(Running { to_sort, sorted, _sort: sort })
}

/// The source of the sort: what was pushed.
struct Unsorted {
    schema: SchemaRef,
    batches: Mutex<Option<Batches>>,
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
            Some((batch, Some(batches)))
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream))
    }
}
