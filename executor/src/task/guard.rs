//! What really stops a task.
//!
//! Ballista's shuffle writers drain their input in detached tasks: neither dropping the task's future nor aborting it
//! reaches them. So their input is made to end: a wrapper around the plan's streams gives an error once the task is to
//! stop, the writers give up, and with their input drop everything below. The wrapper is invisible to Ballista's looks
//! at the plan and to the list of metrics. It also sees each error before the writers wrap it, and keeps the first one; and it
//! counts that streams are asked, which is how a task that hangs is told from one that works (`progress.rs`).

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::statistics::ChildStats;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, EmptyRecordBatchStream, ExecutionPlan, PhysicalExpr, PlanProperties, StatisticsArgs,
    replace_children_if_necessary,
};
use futures::{Future, Stream, StreamExt};
use selvedge_model::Failure;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::failure::failure_of;
use super::progress::Progress;

/// The first error that any operator gave, once there is one.
pub(super) type Cause = Arc<OnceLock<Failure>>;

/// Makes a stage's plan end when `stop` is cancelled.
///
/// The writer's input is wrapped, and every operator with several inputs: a join makes many rows of few and may keep the
/// operator above it busy for minutes without anything else being polled. What computes for long without asking for a
/// batch or giving one (a nested-loop join of many rows whose condition never holds) stops only at its next batch. Sources are
/// wrapped to see them move: an aggregate over a long scan gives nothing for long.
pub(super) fn guard(
    stage: Arc<dyn ExecutionPlan>,
    stop: &CancellationToken,
    cause: &Cause,
    progress: &Progress,
) -> Result<Arc<dyn ExecutionPlan>> {
    let wrap = |inner| {
        let (stop, cause, progress) = (stop.clone(), cause.clone(), progress.clone());
        Arc::new(GuardExec { inner, stop, cause, progress }) as Arc<dyn ExecutionPlan>
    };
    let wrapped = stage.transform_up(|node| match node.children().len() {
        1 => Ok(Transformed::no(node)),
        _ => Ok(Transformed::yes(wrap(node))),
    })?;
    let inputs = wrapped.data.children().into_iter().cloned().map(wrap).collect();
    replace_children_if_necessary(wrapped.data, inputs)
}

/// An operator whose streams end with an error once the task is to stop.
#[derive(Debug)]
struct GuardExec {
    inner: Arc<dyn ExecutionPlan>,
    stop: CancellationToken,
    cause: Cause,
    progress: Progress,
}

impl DisplayAs for GuardExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_as(format, f)
    }
}

impl ExecutionPlan for GuardExec {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        Some(self.inner.as_ref())
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inner.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let inner = replace_children_if_necessary(self.inner.clone(), children)?;
        let (stop, cause, progress) = (self.stop.clone(), self.cause.clone(), self.progress.clone());
        Ok(Arc::new(Self { inner, stop, cause, progress }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let inner = self.inner.execute(partition, context)?;
        let stop = Box::pin(self.stop.clone().cancelled_owned());
        let (cause, progress) = (self.cause.clone(), self.progress.clone());
        Ok(Box::pin(cooperative(Guarded { inner, stop: Some(stop), cause, progress })))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.inner.metrics()
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        self.inner.statistics_from_inputs(inputs, args)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        self.inner.child_stats_requests(partition)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.inner.maintains_input_order()
    }

    fn fetch(&self) -> Option<usize> {
        self.inner.fetch()
    }
}

struct Guarded {
    inner: SendableRecordBatchStream,
    /// None once the stream was stopped.
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    cause: Cause,
    progress: Progress,
}

impl Stream for Guarded {
    type Item = Result<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(stop) = &mut this.stop else { return Poll::Ready(None) };
        if stop.as_mut().poll(cx).is_pending() {
            let computing = this.progress.computing();
            let polled = this.inner.poll_next_unpin(cx);
            drop(computing);
            if let Poll::Ready(Some(Err(error))) = &polled {
                this.cause.get_or_init(|| failure_of(error));
            }
            return polled;
        }
        this.stop = None;
        // Dropping the input now is what stops everything below.
        this.inner = Box::pin(EmptyRecordBatchStream::new(this.inner.schema()));
        Poll::Ready(Some(Err(DataFusionError::Execution("the task was stopped".to_owned()))))
    }
}

impl RecordBatchStream for Guarded {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }
}
