//! A write: prove that the place is writable, run the job, gather what its writers staged, publish. Or discard all of
//! it.
//!
//! Cancelling counts until publishing begins; from then on the publish is carried to its end.

use std::sync::Arc;
use std::time::Instant;

use datafusion::execution::SessionState;
use futures::StreamExt as _;
use selvedge_engine::error::classify;
use selvedge_engine::plan::manifest_rows;
use selvedge_engine::write::check_writable;
use selvedge_model::failure::HasFailure as _;
use selvedge_model::manifest::ManifestRow;
use selvedge_model::publish::PublishId;
use selvedge_model::run::{Counters, RunEvent};
use selvedge_model::words::counted;
use selvedge_model::{Failure, Retry, StatementAttempt};

use super::run::OpenRun;
use super::statement::Done;
use super::upkeep::Aftermath;
use super::{Driver, Stop};
use crate::ballista::{JobOutput, ResultPartition};
use crate::commit::{self, Proven};
use crate::planning::{PlannedWrite, Rows};

impl Driver {
    pub(super) async fn write(
        &self,
        run: &OpenRun,
        ids: &StatementAttempt,
        state: SessionState,
        write: PlannedWrite,
    ) -> Result<Done, Stop> {
        check_writable(self.engine.stores(), &write.location).await?;
        if write.rows == Rows::None {
            return self.publish_nothing(run, ids, &write).await;
        }
        let job_id = ids.job_id();
        self.publishes.stages(&job_id, &write.location).await?;
        let mut rows = Vec::new();
        let written = self.stage_and_publish(run, ids, state, &write, &mut rows).await;
        // What is recorded for publishing is still needed.
        if !matches!(written, Ok(Some(_))) && !self.publishes.is_left(&publish_id(ids)) {
            tracing::debug!(run_id = %run.id, job_id, staged = rows.len(), ?written, "Discarding what a write has staged");
            commit::discard(&self.engine, &write.location, rows, &job_id).await;
        }
        let (host, publishes) = (Arc::clone(&self.host), Arc::clone(&self.publishes));
        commit::sweep_later(host, publishes, publish_id(ids), write.location.clone(), job_id.clone());
        self.host.forget(&job_id).await;
        let Some(written) = written? else {
            return Ok(Done { message: format!("table {} was there already", write.target), ..Done::default() });
        };
        let message = self.with_unmet(run, ids, told(&write, written.rows_written));
        Ok(Done { written, message, ..Done::default() })
    }

    /// A statement that changes a table and writes no rows.
    async fn publish_nothing(&self, run: &OpenRun, ids: &StatementAttempt, write: &PlannedWrite) -> Result<Done, Stop> {
        if run.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        self.book.apply(&run.id, RunEvent::Publishing { index: ids.statement });
        let published = commit::publish(&self.publishes, write, publish_id(ids), Proven::nothing()).await;
        let message = match published.map_err(after_publish)? {
            Some(_) => write.done.clone(),
            None => format!("table {} was there already", write.target),
        };
        Ok(Done { message, ..Done::default() })
    }

    /// Leaves in `rows` what has been staged. `None` when a table was there already and nothing was published.
    async fn stage_and_publish(
        &self,
        run: &OpenRun,
        ids: &StatementAttempt,
        state: SessionState,
        write: &PlannedWrite,
        rows: &mut Vec<ManifestRow>,
    ) -> Result<Option<Counters>, Stop> {
        let output = self.job(run, ids, state, write.plan.clone()).await?;
        let gathering = self.manifests(&output, rows);
        run.cancel.run_until_cancelled(gathering).await.ok_or(Stop::Cancelled)??;
        let proven = commit::prove(rows, output.partitions)?;
        self.meet_contract(run, ids, write, &proven)?;
        if run.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        self.book.apply(&run.id, RunEvent::Publishing { index: ids.statement });
        let aftermath = Aftermath::of(run, write, &proven)?;
        let began = Instant::now();
        let published = commit::publish(&self.publishes, write, publish_id(ids), proven).await;
        self.metrics.published(began.elapsed());
        let published = published.map_err(after_publish)?;
        if published.is_some() {
            run.aftermaths.lock().extend(aftermath);
        }
        Ok(published)
    }

    async fn manifests(&self, output: &JobOutput, rows: &mut Vec<ManifestRow>) -> Result<(), Failure> {
        for partition in &output.results {
            self.manifest(partition, rows).await?;
        }
        Ok(())
    }

    async fn manifest(&self, partition: &ResultPartition, rows: &mut Vec<ManifestRow>) -> Result<(), Failure> {
        let mut batches = self.host.read_partition(partition).await?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|e| classify(&e))?;
            rows.extend(manifest_rows(&batch, partition.partition).map_err(|e| e.failure())?);
        }
        Ok(())
    }
}

/// What a write did, for people.
fn told(write: &PlannedWrite, rows: u64) -> String {
    match write.rows {
        Rows::Remaining { before } => {
            format!("{} deleted from {}", counted(before.saturating_sub(rows), "row"), write.target)
        }
        _ if write.done.is_empty() => format!("{} written to {}", counted(rows, "row"), write.target),
        _ => write.done.clone(),
    }
}

fn publish_id(ids: &StatementAttempt) -> PublishId {
    PublishId { run: ids.run.clone(), statement: ids.statement }
}

/// A statement is not tried again once its publish has begun: one that is recorded will be carried to its end, and another
/// attempt would append its rows twice. Failures of a publish that is left say so themselves.
fn after_publish(mut failure: Failure) -> Failure {
    // Others changed what was read, and nothing of this write is there: it is planned anew on what is there now.
    if commit::is_clash(&failure) {
        return failure;
    }
    failure.retry = Retry::Never;
    if failure.hint.is_empty() {
        failure.hint = "Nothing of it is visible: run it again when the store answers".to_owned();
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_before_its_publish_begins_is_a_write_tried_again() {
        let failure = Failure::external("STORE_UNAVAILABLE", "S3");
        let after = after_publish(failure);
        assert!(!after.is_retryable() && !after.hint.is_empty());
    }
}
