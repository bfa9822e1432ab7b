//! A SELECT: run its job, then bring the result partitions, in order, to the preview and to the reader if there is one.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt as _;
use selvedge_engine::error::classify;
use selvedge_model::StatementAttempt;

use super::preview::Preview;
use super::run::OpenRun;
use super::statement::Done;
use super::{Driver, Stop, results};
use crate::ballista::ResultPartition;

impl Driver {
    pub(super) async fn query(
        &self,
        run: &mut OpenRun,
        ids: &StatementAttempt,
        state: SessionState,
        plan: LogicalPlan,
    ) -> Result<Done, Stop> {
        let schema: SchemaRef = plan.schema().inner().clone();
        let job_id = ids.job_id();
        let outcome = self.job(run, ids, state, plan).await;
        let shown = match outcome {
            Ok(output) => match results::in_order(output.results) {
                Ok(partitions) => self.bring(run, &schema, partitions).await,
                Err(doubtful) => Err(doubtful.into()),
            },
            Err(stop) => Err(stop),
        };
        self.host.forget(&job_id).await;
        shown
    }

    /// Shows rows that are here already.
    pub(super) async fn show(
        &self,
        run: &mut OpenRun,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
    ) -> Result<Done, Stop> {
        if schema.fields().is_empty() && batches.is_empty() {
            return Ok(Done::default());
        }
        let mut preview = self.preview();
        for batch in &batches {
            preview.push(batch);
            if let Some(sink) = &mut run.sink {
                sink.rows(batch).await?;
            }
        }
        if let Some(sink) = &mut run.sink {
            sink.schema(&schema).await?;
        }
        Ok(Done { preview: preview.finish(&schema)?, ..Done::default() })
    }

    async fn bring(
        &self,
        run: &mut OpenRun,
        schema: &SchemaRef,
        partitions: Vec<ResultPartition>,
    ) -> Result<Done, Stop> {
        let mut preview = self.preview();
        let cancel = run.cancel.clone();
        for partition in &partitions {
            if run.sink.is_none() && preview.is_full() {
                break;
            }
            let reading = self.bring_one(run, partition, &mut preview);
            cancel.run_until_cancelled(reading).await.ok_or(Stop::Cancelled)??;
        }
        if let Some(sink) = &mut run.sink {
            sink.schema(schema).await?;
        }
        Ok(Done { preview: preview.finish(schema)?, ..Done::default() })
    }

    async fn bring_one(
        &self,
        run: &mut OpenRun,
        partition: &ResultPartition,
        preview: &mut Preview,
    ) -> Result<(), Stop> {
        let mut batches = self.host.read_partition(partition).await?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|e| classify(&e))?;
            preview.push(&batch);
            match &mut run.sink {
                Some(sink) if batch.num_rows() > 0 => sink.rows(&batch).await?,
                None if preview.is_full() => break,
                _ => {}
            }
        }
        Ok(())
    }

    fn preview(&self) -> Preview {
        Preview::new(self.options.preview_rows, self.options.preview_bytes)
    }
}
