//! Publish and discard: what becomes of the files that a write staged.
//!
//! The decisions are pure and stand in `selvedge_model` (`manifest::accept`, `commit::plan_publish`); here they are carried
//! out: publish, then remove what was replaced, then clear the staging. Only the driver calls this, and only after the
//! last task succeeded. A publish that fails half-way takes back what it published.
//! Not crash-safe yet: [`publish_files`] is the seam where a durable record of the plan goes, before its first file.

#[cfg(test)]
mod tests;

mod turns;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, stream};
use selvedge_engine::session::Engine;
use selvedge_engine::store::{Location, ObjectStores};
use selvedge_engine::write;
use selvedge_model::Failure;
use selvedge_model::commit::{WriteKind, plan_publish};
use selvedge_model::manifest::{Accepted, ManifestRow, StagedFile, accept};
use selvedge_model::run::Counters;

pub use turns::Turns;

use crate::planning::PlannedWrite;

/// Files published at once: requests overlap, and no store is flooded.
const CONCURRENCY: usize = 16;

/// Publishes the files of a write whose tasks all succeeded. `writers` is the number of the final stage's partitions.
///
/// # Errors
/// `MANIFEST_INCOMPLETE` when the reports are not whole: then nothing was published. Otherwise the store's refusal.
pub async fn publish(
    engine: &Engine,
    write: &PlannedWrite,
    rows: Vec<ManifestRow>,
    writers: u32,
    turns: &Arc<Turns>,
) -> Result<Counters, Failure> {
    let _turn = turns.take(&write.location).await;
    publish_to(engine.stores(), &write.location, &write.kind, &write.partition_by, rows, writers).await
}

/// Throws away all that a failed or cancelled statement attempt staged, reported or not.
///
/// What cannot be cleared now is logged and stays hidden from readers; sweeping the job again clears it.
pub async fn discard(engine: &Engine, location: &Location, rows: Vec<ManifestRow>, job_id: &str) {
    discard_from(engine.stores(), location, rows, job_id).await;
}

async fn publish_to(
    stores: &ObjectStores,
    location: &Location,
    kind: &WriteKind,
    partition_by: &[String],
    rows: Vec<ManifestRow>,
    writers: u32,
) -> Result<Counters, Failure> {
    let jobs = jobs_of(&rows);
    let Accepted { files, superseded, rows, bytes } =
        accept(rows, writers).map_err(|e| Failure::internal("MANIFEST_INCOMPLETE", e.to_string()))?;
    let visible = match kind {
        WriteKind::Append => Vec::new(),
        _ => write::list_visible(stores, location, partition_by).await?,
    };
    let plan = plan_publish(kind, files, &visible);
    publish_files(stores, location, &plan.publish, &jobs).await?;
    write::remove_files(stores, location, &plan.remove).await.map_err(|e| half_replaced(location, e))?;
    tracing::info!(
        %location, files = plan.publish.len(), removed = plan.remove.len(), superseded = superseded.len(), rows, bytes,
        "published"
    );
    for job_id in jobs {
        if let Err(failure) = write::close_staging(stores, location, &job_id, &plan.publish).await {
            tracing::warn!(%location, job_id, %failure, "staging of a published write is not cleared");
        }
    }
    Ok(Counters {
        rows_written: rows,
        bytes_written: bytes,
        files_written: plan.publish.len() as u64,
        ..Counters::default()
    })
}

/// Publishes all files or, when one is refused, takes back those that are out.
async fn publish_files(
    stores: &ObjectStores,
    location: &Location,
    files: &[StagedFile],
    jobs: &BTreeSet<String>,
) -> Result<(), Failure> {
    // Gathered first: a stream over a borrowing closure is not `Send` to the compiler.
    let publishing: Vec<_> =
        files.iter().map(|file| async move { (file, write::publish_file(stores, location, file).await) }).collect();
    let outcomes: Vec<(&StagedFile, Result<(), Failure>)> =
        stream::iter(publishing).buffer_unordered(CONCURRENCY).collect().await;
    let Some(failure) = outcomes.iter().find_map(|(_, outcome)| outcome.as_ref().err().cloned()) else {
        return Ok(());
    };
    // A file whose publish was refused may be out all the same: its answer may have been lost.
    for (file, outcome) in &outcomes {
        if outcome.is_err()
            && let Err(error) = write::discard_file(stores, location, file).await
        {
            tracing::warn!(%location, file = file.path, %error, "a file that was not published could not be discarded");
        }
    }
    let out = outcomes.iter().filter(|(file, _)| is_ours(file, jobs));
    let out: Vec<String> = out.map(|(file, _)| file.path.clone()).collect();
    if let Err(error) = write::remove_files(stores, location, &out).await {
        tracing::error!(%location, files = ?out, %error, "a failed publish could not take back what it published");
    }
    Err(failure)
}

/// Whether a file's name is its write's own. One that the user named may have replaced an older file: removing it would
/// not bring that back.
fn is_ours(file: &StagedFile, jobs: &BTreeSet<String>) -> bool {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    jobs.iter().any(|job_id| name.strip_prefix(job_id.as_str()).is_some_and(|rest| rest.starts_with('-')))
}

/// New files and the files they replace are both visible then. Running the statement again replaces both.
fn half_replaced(location: &Location, failure: Failure) -> Failure {
    let cause = format!(
        "the new files of '{location}' are visible, but files that they replace could not be removed: {}",
        failure.cause
    );
    Failure { cause, ..failure }.with_hint("Run the statement again: it replaces old and new files alike")
}

/// The jobs whose tasks reported; a task is named `job/stage.attempt/task`.
fn jobs_of(rows: &[ManifestRow]) -> BTreeSet<String> {
    rows.iter().filter_map(|row| row.task.split('/').next()).map(str::to_owned).collect()
}

async fn discard_from(stores: &ObjectStores, location: &Location, rows: Vec<ManifestRow>, job_id: &str) {
    let swept = match write::sweep_staging(stores, location, job_id).await {
        Ok(swept) => {
            tracing::info!(%location, job_id, swept, "discarded staged files");
            return;
        }
        Err(failure) => failure,
    };
    tracing::warn!(%location, job_id, failure = %swept, "cannot sweep staging; discarding the reported files one by one");
    let reported = rows.into_iter().filter_map(|row| row.file);
    stream::iter(reported)
        .for_each_concurrent(CONCURRENCY, |file| async move {
            if let Err(failure) = write::discard_file(stores, location, &file).await {
                tracing::warn!(%location, path = file.path, %failure, "a staged file is not discarded");
            }
        })
        .await;
}
