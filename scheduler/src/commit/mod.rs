//! Publish and discard: what becomes of the files that a write staged.
//!
//! The decisions are pure and stand in `selvedge_model` (`manifest::accept`, `commit::plan_publish`, `publish`); here they are
//! carried out: record the publish in the journal, make its files visible, remove what they replace, clear the staging. Only
//! the driver calls this, and only after the last task succeeded. Once recorded, a publish only goes forward, in a later
//! scheduler if need be: `journal` and `roll_forward`. Publishes to one place take turns: `turns`.

mod journal;
mod roll_forward;
#[cfg(test)]
mod tests;

mod turns;

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use selvedge_engine::session::Engine;
use selvedge_engine::store::{Location, ObjectStores};
use selvedge_engine::write;
use selvedge_model::Failure;
use selvedge_model::commit::{WriteKind, plan_publish};
use selvedge_model::manifest::{Accepted, ManifestRow, accept};
use selvedge_model::publish::{PublishId, PublishRecord, PublishState};
use selvedge_model::run::Counters;

pub use journal::Publishes;
pub use turns::Turns;

use crate::catalog::record;
use crate::planning::PlannedWrite;
use crate::store::{PublishEntry, TableKind};

/// Files published at once: requests overlap, and no store is flooded.
const CONCURRENCY: usize = 16;

/// Publishes the files of a write whose tasks all succeeded, and makes the table that it is for, if any. `writers` is the
/// number of the final stage's partitions.
///
/// # Errors
/// `MANIFEST_INCOMPLETE` when the reports are not whole, or what the store says: then nothing was published. Only when
/// [`Publishes::is_left`] says so afterwards, files may be visible; all of them will be.
pub async fn publish(
    publishes: &Publishes,
    write: &PlannedWrite,
    id: PublishId,
    rows: Vec<ManifestRow>,
    writers: u32,
) -> Result<Counters, Failure> {
    let PlannedWrite { location, kind, partition_by, .. } = write;
    let _turn = publishes.turn(location).await;
    publishes.settle(location).await?;
    let jobs = jobs_of(&rows);
    let Accepted { files, superseded, rows, bytes } =
        accept(rows, writers).map_err(|e| Failure::internal("MANIFEST_INCOMPLETE", e.to_string()))?;
    let visible = match kind {
        WriteKind::Append => Vec::new(),
        _ => write::list_visible(&publishes.stores, location, partition_by).await?,
    };
    let plan = plan_publish(kind, files, &visible);
    let (published, removed) = (plan.publish.len(), plan.remove.len());
    let entry = PublishEntry {
        record: PublishRecord {
            id: id.clone(),
            location: location.to_string(),
            publish: plan.publish,
            remove: plan.remove,
            jobs: jobs.into_iter().collect(),
        },
        state: PublishState::Prepared,
        create: write.create.clone().map(|def| record(def, TableKind::Managed)),
    };
    publishes.open(&entry).await?;
    if let Err(failure) = publishes.carry_on(entry).await {
        return Err(if publishes.is_left(&id) { unfinished(location, failure) } else { failure });
    }
    tracing::info!(%location, files = published, removed, superseded = superseded.len(), rows, bytes, "published");
    let files_written = published as u64;
    Ok(Counters { rows_written: rows, bytes_written: bytes, files_written, ..Counters::default() })
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
