//! Publish and discard: what becomes of the files that a write staged.
//!
//! The decisions are pure and stand in `selvedge_model` (`manifest::accept`, `commit::plan_publish`, `publish`); here they are
//! carried out: record the publish in the journal, make its files visible, remove what they replace, register the table, clear
//! the staging. Only the driver calls this, and only after the last task succeeded; what it publishes is [`Proven`], and only
//! [`prove`] makes that. Once recorded, a publish only goes forward, in a later scheduler if need be: `journal` and
//! `roll_forward`. Publishes to one place take turns: `turns`. What late tasks stage afterwards is `leftovers`'.

mod journal;
mod leftovers;
mod log;
mod roll_forward;
#[cfg(test)]
mod tests;
mod turns;
mod vacuum;

use std::collections::BTreeSet;

use arrow::datatypes::FieldRef;
use futures::{StreamExt, stream};
use selvedge_engine::delta::{check_there, is_delta_table};
use selvedge_engine::session::Engine;
use selvedge_engine::store::{Location, ObjectStores};
use selvedge_engine::write;
use selvedge_model::commit::{WriteKind, plan_publish};
use selvedge_model::expectation::WriterReport;
use selvedge_model::manifest::{Accepted, ManifestRow, StagedFile, accept};
use selvedge_model::publish::{PublishId, PublishKind, PublishRecord, PublishState};
use selvedge_model::run::Counters;
use selvedge_model::{Domain, Failure, Retry};

pub use journal::Publishes;
pub use leftovers::{sweep_dead, sweep_later};
pub(crate) use roll_forward::is_clash;
pub use turns::Turns;
pub use vacuum::vacuum;

use crate::catalog;
use crate::planning::{PlannedWrite, open_rejected};
use crate::store::{PublishEntry, TableKind};

/// Files published at once: requests overlap, and no store is flooded.
const CONCURRENCY: usize = 16;

/// The reports of a write's tasks, proven whole: each writer ended exactly once. Nothing else is ever published.
#[derive(Debug)]
pub struct Proven {
    accepted: Accepted,
    /// The jobs whose tasks reported.
    jobs: BTreeSet<String>,
}

impl Proven {
    /// Of a statement that writes no rows.
    pub fn nothing() -> Self {
        Self { accepted: Accepted::default(), jobs: BTreeSet::new() }
    }

    /// What each writer found of what is expected.
    pub fn reports(&self) -> &[WriterReport] {
        &self.accepted.reports
    }

    /// The files that are to be the table's.
    pub fn files(&self) -> &[StagedFile] {
        &self.accepted.files
    }

    /// The rows that are written.
    pub fn rows(&self) -> u64 {
        self.accepted.rows
    }
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
/// `LOCATION_NOT_EMPTY` or `TABLE_EXISTS` when another statement was faster; otherwise what the store says. Nothing was
/// published then, unless [`Publishes::is_left`] says afterwards that files may be visible: all of them will be.
pub async fn publish(
    publishes: &Publishes,
    write: &PlannedWrite,
    id: PublishId,
    proven: Proven,
) -> Result<Option<Counters>, Failure> {
    let location = &write.location;
    let _place = publishes.turn(location).await;
    let _name = match &write.create {
        Some(table) => Some(publishes.turn_of_name(&table.name).await),
        None => None,
    };
    publishes.settle(location).await?;
    let is_there = write.create.as_ref().is_some_and(|table| publishes.catalog.has_table(&table.name));
    if is_there && write.may_exist {
        return Ok(None);
    }
    if let Some(table) = &write.create {
        let reserved = publishes.catalog.reserve(&id, table, !write.is_first).await;
        reserved.map_err(|failure| overtaken(write, failure))?;
    }
    let (entry, counters) = match record(publishes, write, id.clone(), proven).await {
        Ok(recorded) => recorded,
        Err(failure) => {
            publishes.catalog.release(&id);
            return Err(overtaken(write, failure));
        }
    };
    let removed = entry.record.remove.len();
    if let Err(failure) = publishes.carry_on(entry).await {
        return Err(match publishes.will_come(&id) {
            true => unfinished(location, failure),
            false => failure,
        });
    }
    let Counters { files_written, rows_written, bytes_written, .. } = counters;
    tracing::info!(%location, files = files_written, removed, rows = rows_written, bytes = bytes_written, "published");
    Ok(Some(counters))
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

/// Decides what a publish does, and records it. With it goes what it will have written.
async fn record(
    publishes: &Publishes,
    write: &PlannedWrite,
    id: PublishId,
    proven: Proven,
) -> Result<(PublishEntry, Counters), Failure> {
    let PlannedWrite { location, kind, .. } = write;
    // Checked before, but not yet when nobody else could publish there.
    if write.is_first {
        write::check_empty(&publishes.stores, location).await?;
    }
    if let Some(files) = write.log.as_ref().and_then(|log| log.change.restores.as_ref()) {
        check_there(&publishes.stores, location, files).await?;
    }
    if write.log.is_none()
        && let Some(table) = managed_around(&publishes.stores, location).await?
    {
        let cause = format!("there is a managed table at {table}, and plain files are not written among its own");
        return Err(Failure::user("NOT_SUPPORTED", cause).with_hint("Write to the table by its name, or elsewhere."));
    }
    let Proven { accepted: Accepted { files, rejected, superseded, rows, bytes, .. }, jobs } = proven;
    let visible = match kind {
        _ if write.log.is_some() => Vec::new(),
        WriteKind::Append => Vec::new(),
        _ => write::list_visible(&publishes.stores, location, &partition_fields(write)).await?,
    };
    let mut plan = plan_publish(kind, files, &visible);
    tracing::debug!(%location, superseded = superseded.len(), "files of attempts that do not count stay hidden");
    let files_written = plan.publish.len() as u64;
    let log = write.log.as_ref().map(|target| log::change(write, target, &id, &plan.publish)).transpose()?;
    let rejected_log = match rejected.is_empty() {
        true => None,
        false if !write.keeps_rejected => {
            return Err(Failure::internal("INTERNAL", format!("rows left out of {} have nowhere to go", write.target)));
        }
        false => Some(log::rejected(write, &open_rejected(&publishes.stores, location).await?, &id, &rejected)?),
    };
    plan.publish.extend(rejected);
    let record = PublishRecord {
        id,
        kind: if log.is_some() { PublishKind::Log } else { PublishKind::Files },
        marks_success: write.marks_success,
        location: location.to_string(),
        publish: plan.publish,
        remove: plan.remove,
        jobs: jobs.into_iter().collect(),
    };
    let create = write.create.clone().map(|def| catalog::record(def, TableKind::Managed));
    let entry = PublishEntry { record, state: PublishState::Prepared, create, log, rejected: rejected_log };
    publishes.open(&entry).await?;
    Ok((entry, Counters { rows_written: rows, bytes_written: bytes, files_written, ..Counters::default() }))
}

/// The managed table in whose directory a place is.
async fn managed_around(stores: &ObjectStores, place: &Location) -> Result<Option<Location>, Failure> {
    if is_delta_table(stores, place).await? {
        return Ok(Some(place.clone()));
    }
    let parts: Vec<_> = place.path().parts().collect();
    for above in (0..parts.len()).rev() {
        let above = place.with_path(parts.iter().take(above).cloned().collect()).as_directory();
        // Who may only see the place itself has no table around it that is theirs.
        if is_delta_table(stores, &above).await.unwrap_or(false) {
            return Ok(Some(above));
        }
    }
    Ok(None)
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

/// New files and the files they replace may both be visible then, until the publish is carried on.
fn unfinished(location: &Location, failure: Failure) -> Failure {
    let cause = format!("the publish to '{location}' has begun and not come to its end: {}", failure.cause);
    let hint = "Do not run the statement again: its rows will be there. The next statement that reads or writes this place \
                carries the publish on, as does the next start of the scheduler";
    Failure { code: "PUBLISH_UNFINISHED".to_owned(), cause, ..failure }.with_hint(hint)
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
