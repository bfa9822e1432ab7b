//! Joins small batches into batches of the session's size.
//!
//! A block of a wide shuffle holds a few rows a batch; operators above pay per batch. Batches of more than half the size
//! pass as they are. Also the place where the reader's output is counted, see `reader.rs`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::physical_plan::RecordBatchStream;
use datafusion::physical_plan::coalesce::LimitedBatchCoalescer;
use datafusion::physical_plan::metrics::BaselineMetrics;
use futures::{Stream, StreamExt};

use super::block::Batches;

/// A stream of batches joined to `batch_size` rows.
pub(super) struct Coalesced {
    input: Batches,
    joined: LimitedBatchCoalescer,
    input_ended: bool,
    metrics: Option<BaselineMetrics>,
}

impl Coalesced {
    pub(super) fn new(input: Batches, schema: SchemaRef, batch_size: usize, metrics: Option<BaselineMetrics>) -> Self {
        let joined = LimitedBatchCoalescer::new(schema, batch_size.max(1), None);
        Self { input, joined, input_ended: false, metrics }
    }

    fn poll_joined(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        loop {
            if let Some(batch) = self.joined.next_completed_batch() {
                return Poll::Ready(Some(Ok(batch)));
            }
            if self.input_ended {
                return Poll::Ready(None);
            }
            let step = match ready!(self.input.poll_next_unpin(cx)) {
                Some(Ok(batch)) if batch.num_rows() == 0 => Ok(()),
                Some(Ok(batch)) => self.joined.push_batch(batch).map(|_| ()),
                Some(Err(e)) => Err(e),
                None => {
                    self.input_ended = true;
                    self.joined.finish()
                }
            };
            if let Err(e) = step {
                self.input_ended = true;
                return Poll::Ready(Some(Err(e)));
            }
        }
    }
}

impl Stream for Coalesced {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(metrics) = self.metrics.clone() else { return self.poll_joined(cx) };
        let _timer = metrics.elapsed_compute().timer();
        let polled = self.poll_joined(cx);
        metrics.record_poll(polled)
    }
}

impl RecordBatchStream for Coalesced {
    fn schema(&self) -> SchemaRef {
        self.joined.schema()
    }
}
