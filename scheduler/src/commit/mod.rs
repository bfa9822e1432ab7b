//! Publish and discard: what becomes of the files that a write staged.
//!
//! The decisions are pure and stand in `selvedge_model` (`manifest::accept`, `commit::plan_publish`); here they are carried
//! out: publish, then remove what was replaced, register the table, clear the staging. Only the driver calls this, and only
//! after the last task succeeded; what it publishes is [`Proven`], and only [`prove`] makes that. A publish that fails
//! half-way takes back what it published. What late tasks stage afterwards is `leftovers`'.
//! Not crash-safe yet: [`publish_files`] is the seam where a durable record of the plan goes, before its first file.

mod leftovers;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use futures::{StreamExt, stream};
use selvedge_engine::session::Engine;
use selvedge_engine::store::{Location, ObjectStores};
use selvedge_engine::write;
use selvedge_model::commit::{WriteKind, plan_publish};
use selvedge_model::manifest::{Accepted, ManifestRow, StagedFile, accept};
use selvedge_model::run::Counters;
use selvedge_model::{Domain, Failure, Retry};

pub use leftovers::sweep_later;
pub use turns::Turns;

use crate::planning::PlannedWrite;

/// Files published at once: requests overlap, and no store is flooded.
const CONCURRENCY: usize = 16;

/// The reports of a write's tasks, proven whole: each writer ended exactly once. Nothing else is ever published.
#[derive(Debug)]
pub struct Proven {
    accepted: Accepted,
    /// The jobs whose tasks reported.
    jobs: BTreeSet<String>,
}

/// Proves reports whole. `writers` is the number of the final stage's partitions.
///
/// # Errors
/// `RESULT_DOUBTFUL` when they are not. Nothing has become visible then, so the statement is worth another attempt.
pub fn prove(rows: &[ManifestRow], writers: u32) -> Result<Proven, Failure> {
    let accepted = accept(rows.to_vec(), writers).map_err(|error| {
        let cause = format!("The reports of the writing tasks are not whole: {error}");
        Failure::new(Domain::Internal, Retry::Later, "RESULT_DOUBTFUL", cause)
    })?;
    Ok(Proven { accepted, jobs: jobs_of(rows) })
}

/// Publishes the files of a write whose tasks all succeeded, and registers the table that it makes. `None` when that one is
/// there by now and may be: nothing is published then.
///
/// # Errors
/// `LOCATION_NOT_EMPTY` or `TABLE_EXISTS` when another statement was faster; otherwise the store's refusal. What is
/// visible then is said in the failure's cause.
pub async fn publish(
    engine: &Engine,
    write: &PlannedWrite,
    proven: Proven,
    turns: &Arc<Turns>,
) -> Result<Option<Counters>, Failure> {
    let _place = turns.take(&write.location).await;
    let _name = match &write.create {
        Some(table) => Some(turns.take_name(&table.name).await),
        None => None,
    };
    let is_there = write.create.as_ref().is_some_and(|table| engine.catalog().table(&table.name).is_some());
    if is_there && write.may_exist {
        return Ok(None);
    }
    check_first(engine, write).await.map_err(|failure| overtaken(write, failure))?;
    let fields = partition_fields(write);
    let Published { counters, files } =
        publish_to(engine.stores(), &write.location, &write.kind, &fields, proven).await?;
    let Some(table) = write.create.clone() else { return Ok(Some(counters)) };
    match engine.catalog().create_table(table, false, !write.is_first) {
        Ok(_) => Ok(Some(counters)),
        Err(failure) => {
            // What it replaced, if anything, does not come back; then its files had better stay.
            if write.is_first {
                take_back(engine.stores(), &write.location, &files).await;
            }
            Err(overtaken(write, failure))
        }
    }
}

/// Checks again, now that nobody else publishes there, that a write which must find nothing does.
async fn check_first(engine: &Engine, write: &PlannedWrite) -> Result<(), Failure> {
    if let Some(table) = &write.create {
        engine.catalog().fork().create_table(table.clone(), false, !write.is_first)?;
    }
    match write.is_first {
        true => write::check_empty(engine.stores(), &write.location).await,
        false => Ok(()),
    }
}

/// Says why what was fine when the statement began is refused at its end.
fn overtaken(write: &PlannedWrite, failure: Failure) -> Failure {
    if !matches!(failure.code.as_str(), "LOCATION_NOT_EMPTY" | "TABLE_EXISTS") {
        return failure;
    }
    let cause = format!("{}; it was not so when this statement began, another one was faster", failure.cause);
    let hint = match write.create {
        Some(_) => {
            "Nothing of this statement was kept. To replace what is there, write CREATE OR REPLACE TABLE ... AS."
        }
        None => "Nothing of this statement was kept. Write elsewhere, or say whether to append or to overwrite.",
    };
    Failure { cause, ..failure }.with_hint(hint)
}

fn partition_fields(write: &PlannedWrite) -> Vec<FieldRef> {
    let field = |column: &String| write.schema.fields().find(column).map(|(_, field)| field.clone());
    write.partition_by.iter().filter_map(field).collect()
}

/// Throws away all that a failed or cancelled statement attempt staged, reported or not.
///
/// What cannot be cleared now is logged and stays hidden from readers; sweeping the job again clears it.
pub async fn discard(engine: &Engine, location: &Location, rows: Vec<ManifestRow>, job_id: &str) {
    discard_from(engine.stores(), location, rows, job_id).await;
}

/// What became visible.
#[derive(Debug)]
struct Published {
    counters: Counters,
    /// Paths of the files.
    files: Vec<String>,
}

async fn publish_to(
    stores: &ObjectStores,
    location: &Location,
    kind: &WriteKind,
    partition_by: &[FieldRef],
    proven: Proven,
) -> Result<Published, Failure> {
    let Proven { accepted: Accepted { files, superseded, rows, bytes }, jobs } = proven;
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
    let counters = Counters {
        rows_written: rows,
        bytes_written: bytes,
        files_written: plan.publish.len() as u64,
        ..Counters::default()
    };
    Ok(Published { counters, files: plan.publish.into_iter().map(|file| file.path).collect() })
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
    take_back(stores, location, &out).await;
    Err(failure)
}

async fn take_back(stores: &ObjectStores, location: &Location, files: &[String]) {
    if let Err(error) = write::remove_files(stores, location, files).await {
        tracing::error!(%location, ?files, %error, "a failed publish could not take back what it published");
    }
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
