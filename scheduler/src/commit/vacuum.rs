//! `VACUUM`: looks at what lies below a table, lets `selvedge_model::vacuum` decide, and deletes that.
//!
//! It takes the table's turn as a publish does, from the look to the last deletion: no file that it sees is about to be put
//! into place or named again meanwhile by a statement of this scheduler. Other writers are kept from harm by the
//! files' age.

use std::collections::BTreeSet;

use selvedge_engine::delta::table_files;
use selvedge_engine::write;
use selvedge_model::Failure;
use selvedge_model::failure::HasFailure as _;
use selvedge_model::vacuum::{Garbage, ListedFile, VacuumFacts, choose};

use super::Publishes;
use crate::planning::PlannedVacuum;
use crate::runs::now_ms;

/// Paths that are deleted in one go.
const BATCH: usize = 1_000;

/// Finds what may go, and deletes it unless it is a dry run.
///
/// # Errors
/// `PUBLISH_UNFINISHED` when a publish to the table cannot be ended; what the log and the store say. Some files may be gone
/// then.
pub async fn vacuum(publishes: &Publishes, vacuum: &PlannedVacuum) -> Result<Garbage, Failure> {
    let location = &vacuum.location;
    let _place = publishes.turn(location).await;
    publishes.settle(location).await?;
    let garbage = find(publishes, vacuum).await?;
    if vacuum.is_dry_run {
        return Ok(garbage);
    }
    let path = |file: &ListedFile| location.join(&file.path).path().to_string();
    let paths: Vec<String> = garbage.files.iter().map(path).collect();
    for some in paths.chunks(BATCH) {
        write::remove_files(&publishes.stores, location, some).await?;
    }
    for job in &garbage.jobs {
        write::sweep_staging(&publishes.stores, location, job).await?;
    }
    tracing::info!(%location, files = paths.len(), jobs = garbage.jobs.len(), "vacuumed");
    Ok(garbage)
}

async fn find(publishes: &Publishes, vacuum: &PlannedVacuum) -> Result<Garbage, Failure> {
    let now_ms = now_ms();
    let since_ms = now_ms.saturating_sub(vacuum.retention_ms);
    let files = table_files(&publishes.stores, &vacuum.location, since_ms).await?;
    let mut open_jobs: BTreeSet<String> = BTreeSet::new();
    let mut in_flight: BTreeSet<String> = BTreeSet::new();
    let root = match vacuum.location.path().as_ref() {
        "" => String::new(),
        root => format!("{root}/"),
    };
    for entry in publishes.store.publishes().await.map_err(|e| e.failure())? {
        let below = entry.record.publish.iter().filter_map(|file| file.path.strip_prefix(&root));
        in_flight.extend(below.map(str::to_owned));
        open_jobs.extend(entry.record.jobs);
    }
    // Jobs that run, and those whose staging this scheduler is to sweep itself.
    let stagings = publishes.store.stagings().await.map_err(|e| e.failure())?;
    open_jobs.extend(stagings.into_iter().map(|staging| staging.job_id));
    Ok(choose(&VacuumFacts {
        listed: &files.listed,
        live: &files.live,
        removed: &files.removed,
        in_flight: &in_flight,
        open_jobs: &open_jobs,
        others: &vacuum.others,
        now_ms,
        retention_ms: vacuum.retention_ms,
    }))
}
