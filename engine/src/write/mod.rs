//! Data files of tables: written by tasks, staged, then published, listed and removed by the scheduler.
//!
//! A task stages files and reports them; only the scheduler calls [`publish_file`], and only after the last task
//! succeeded. Nothing here decides what to publish or remove: that is `selvedge_model::commit`. In the order of the data:
//! `checks` -> `rows` -> `groups` (and `overflow`) -> `encode` -> `task` -> `remote` or `local` (staging) -> `store` (publish);
//! `visible` reads listings, `rejects` keeps rows that are left out.

mod checks;
mod encode;
mod error;
mod groups;
mod layout;
mod local;
mod open;
mod overflow;
mod rejects;
mod remote;
#[cfg(test)]
mod remote_tests;
mod rows;
mod store;
mod task;
mod visible;

use arrow::datatypes::FieldRef;
use object_store::{ObjectStoreExt as _, PutPayload};
use selvedge_model::commit::VisibleFile;
use selvedge_model::failure::{Failure, HasFailure};
use selvedge_model::manifest::StagedFile;
use selvedge_model::words::counted;

pub(crate) use checks::{Checked, NewestOf, RowCheck, RowChecker, WriteChecks};
pub(crate) use encode::compression;
pub use error::{STAGING_LOST, WriteError};
pub(crate) use layout::TaskTag;
pub(crate) use overflow::Overflow;
pub(crate) use rejects::Rejects;
pub use rejects::{REJECTED_DIR, rejected_schema};
pub(crate) use rows::{RowLayout, can_partition};
pub(crate) use store::TableStore;
pub(crate) use task::{TaskMetrics, TaskWriter};

use crate::store::{Location, ObjectStores};

/// Makes a staged file visible. Repeating it is harmless: a file that is there already, with the same size, is done.
///
/// # Errors
/// The store's refusal, or `STAGING_LOST` when neither the staged data nor the file is there.
pub async fn publish_file(stores: &ObjectStores, root: &Location, file: &StagedFile) -> Result<(), Failure> {
    TableStore::open(stores, root)?.publish(file).await.map_err(|e| e.failure())
}

/// Throws a staged file away. One that is gone is done; a published one stays.
///
/// # Errors
/// The store's refusal.
pub async fn discard_file(stores: &ObjectStores, root: &Location, file: &StagedFile) -> Result<(), Failure> {
    TableStore::open(stores, root)?.discard(file).await.map_err(|e| e.failure())
}

/// Lists the data files that readers of a table with these partition columns see now.
///
/// # Errors
/// `TABLE_BELOW` when some of them are a managed table's; the store's refusal.
pub async fn list_visible(
    stores: &ObjectStores,
    root: &Location,
    partition_by: &[FieldRef],
) -> Result<Vec<VisibleFile>, Failure> {
    TableStore::open(stores, root)?.list_visible(root.path(), partition_by).await.map_err(|e| e.failure())
}

/// Proves that readers see nothing at a location. One that does not exist is empty.
///
/// # Errors
/// `LOCATION_NOT_EMPTY`, or the store's refusal.
pub async fn check_empty(stores: &ObjectStores, root: &Location) -> Result<(), Failure> {
    match list_visible(stores, root, &[]).await {
        Ok(files) if files.is_empty() => Ok(()),
        Err(failure) if failure.code == error::TABLE_BELOW => {
            let cause = format!("{root} is not empty: {}", failure.cause);
            Err(Failure::user("LOCATION_NOT_EMPTY", cause))
        }
        Ok(files) => {
            let cause = format!("{root} is not empty: it holds {}", counted(files.len(), "file"));
            Err(Failure::user("LOCATION_NOT_EMPTY", cause))
        }
        Err(failure) if matches!(failure.code.as_str(), "FILE_NOT_FOUND" | "NOT_FOUND") => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Removes files by their paths within the store. Those that are gone are done.
///
/// # Errors
/// The store's refusal; files before it may be gone.
pub async fn remove_files(stores: &ObjectStores, root: &Location, paths: &[String]) -> Result<(), Failure> {
    TableStore::open(stores, root)?.remove(root.path(), paths).await.map_err(|e| e.failure())
}

/// Proves, before any work starts, that a location can be written: puts a probe there and removes it.
///
/// # Errors
/// `LOCATION_NOT_WRITABLE`, saying why; a store that does not answer keeps its own retryable failure.
pub async fn check_writable(stores: &ObjectStores, root: &Location) -> Result<(), Failure> {
    let (failure, may_pass) = match TableStore::open(stores, root) {
        Ok(store) => match store.probe(root.path()).await {
            Ok(()) => return Ok(()),
            Err(error) => (error.failure(), !error.is_lasting()),
        },
        Err(failure) => (failure.clone(), failure.is_retryable()),
    };
    if may_pass {
        return Err(failure);
    }
    let hint = match failure.hint.is_empty() {
        true => "Check that the bucket or directory exists and that Selvedge may write there".to_owned(),
        false => failure.hint,
    };
    let cause = format!("cannot write to '{root}': {}", failure.cause);
    Err(Failure::user("LOCATION_NOT_WRITABLE", cause).with_hint(hint))
}

/// Puts the empty `_SUCCESS` by which Hadoop's readers know that a directory is whole. Repeating it is harmless.
///
/// # Errors
/// The store's refusal.
pub async fn mark_success(stores: &ObjectStores, root: &Location) -> Result<(), Failure> {
    let put = || async {
        let path = layout::below(root.path(), "_SUCCESS")?;
        let put = stores.get(root)?.put(&path, PutPayload::new()).await;
        put.map(|_| ()).map_err(WriteError::store(format!("cannot put '{path}'")))
    };
    put().await.map_err(|e: WriteError| e.failure())
}

/// Throws away all that a job staged under a table, also what no task reported, and says how many files that were.
///
/// A prefix that names a run (`RUN`) or a statement (`RUN-s1`) sweeps all its jobs.
///
/// # Errors
/// The store's refusal; what was swept before it stays swept.
pub async fn sweep_staging(stores: &ObjectStores, root: &Location, job_id_prefix: &str) -> Result<u64, Failure> {
    TableStore::open(stores, root)?.sweep(root.path(), job_id_prefix, &[]).await.map_err(|e| e.failure())
}

/// Clears a job's staging once its files are published: forgets their journal, throws away what no manifest claimed.
///
/// # Errors
/// The store's refusal; the published files are safe whatever happens here.
pub async fn close_staging(
    stores: &ObjectStores,
    root: &Location,
    job_id: &str,
    published: &[StagedFile],
) -> Result<u64, Failure> {
    TableStore::open(stores, root)?.sweep(root.path(), job_id, published).await.map_err(|e| e.failure())
}
