//! The store of shuffle blocks as one process sees it: its local folder, the other executors, the shuffle location.
//!
//! It knows places, not plans. Local layout: `{local}/{executor id}/{relative path}`, so that executors which share a
//! machine and a folder read each other's files directly. Remote layout: `{location}/{relative path}`.

use std::path::PathBuf;
use std::sync::Arc;

use ballista_core::serde::scheduler::PartitionLocation;
use datafusion::error::Result;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use selvedge_model::failure::HasFailure;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::block::{self, BlockRequest};
use super::coalesce::Coalesced;
use super::error::ShuffleError;
use super::id::VirtualExecutorId;
use super::index::IndexCache;
use super::missing::MissingOutputs;
use super::paths::is_plain_name;
use super::peer::Peers;
use super::source::{ReadCounts, Source};
use crate::error::EngineError;
use crate::store::{Location, ObjectStores};

/// Files brought to local disk at one time; each may be large.
const DOWNLOADS: usize = 4;

/// Where shuffle blocks are kept and found. One for each process.
#[derive(Debug)]
pub struct ShuffleStore {
    local: Option<PathBuf>,
    remote: Option<(Location, ObjectStores)>,
    peers: Arc<Peers>,
    indexes: IndexCache,
    downloads: Semaphore,
    temp_dir: PathBuf,
    missing: Option<Arc<MissingOutputs>>,
}

impl ShuffleStore {
    /// A store over a local folder, a remote location, both or none; executors are asked in any case.
    pub fn new(local: Option<PathBuf>, remote: Option<(Location, ObjectStores)>) -> Arc<Self> {
        Self::assemble(local, remote, std::env::temp_dir(), None)
    }

    /// An executor's: with a folder of its own for files that must be brought to local disk, and somebody to ask for what is
    /// missing.
    pub fn of_executor(
        local: PathBuf,
        remote: Option<(Location, ObjectStores)>,
        temp_dir: PathBuf,
        missing: Arc<MissingOutputs>,
    ) -> Arc<Self> {
        Self::assemble(Some(local), remote, temp_dir, Some(missing))
    }

    fn assemble(
        local: Option<PathBuf>,
        remote: Option<(Location, ObjectStores)>,
        temp_dir: PathBuf,
        missing: Option<Arc<MissingOutputs>>,
    ) -> Arc<Self> {
        let (peers, indexes) = Default::default();
        Arc::new(Self { local, remote, peers, indexes, downloads: Semaphore::new(DOWNLOADS), temp_dir, missing })
    }

    /// Whether finished blocks survive the executor that wrote them.
    pub fn has_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// Reads one block in batches of about `batch_size` rows.
    pub async fn open(&self, location: &PartitionLocation, batch_size: usize) -> Result<SendableRecordBatchStream> {
        let counts = ReadCounts::default();
        let reader = String::new();
        let request = BlockRequest { location: location.clone(), bound: None, with_schema: true, counts, reader };
        let block = block::open(self, request).await?;
        let schema = block.schema.ok_or_else(|| ShuffleError::Damaged {
            path: location.executor_meta.id.clone(),
            cause: "it has no schema".to_owned(),
        })?;
        Ok(Box::pin(Coalesced::new(block.batches, schema, batch_size, None)))
    }

    /// Deletes the local and remote files of a job. Files already gone are no error.
    pub async fn forget_job(&self, job_id: &str) -> Result<(), EngineError> {
        let failed = |cause: String| ShuffleError::NotForgotten { job_id: job_id.to_owned(), cause };
        if !is_plain_name(job_id) {
            return Err(failed("its name is not a folder's".to_owned()).into());
        }
        self.indexes.forget(job_id);
        if let Some(local) = &self.local {
            forget_local(local, job_id).await.map_err(|e| failed(e.to_string()))?;
        }
        let Some((location, stores)) = &self.remote else { return Ok(()) };
        let store = stores.get(location)?;
        let folder = location.join(job_id);
        let paths = store.list(Some(folder.path())).map_ok(|object| object.location).boxed();
        store.delete_stream(paths).try_for_each(|_| async { Ok(()) }).await.map_err(|e| failed(e.to_string()))?;
        // Of executors that did not live to end them.
        let Some(open) = stores.open_uploads(location)? else { return Ok(()) };
        open.abort_below(folder.path(), |_| true).await.map_err(|e| failed(e.to_string()))?;
        Ok(())
    }

    pub(super) fn missing(&self) -> Option<&MissingOutputs> {
        self.missing.as_deref()
    }

    pub(super) fn indexes(&self) -> &IndexCache {
        &self.indexes
    }

    pub(super) fn remote(&self) -> Option<&(Location, ObjectStores)> {
        self.remote.as_ref()
    }

    /// Where a file of `writer` lies on this machine, if this machine has a folder for it.
    pub(super) fn local_file(&self, writer: &VirtualExecutorId, path: &str) -> Option<PathBuf> {
        self.local.as_ref().map(|local| local.join(&writer.real).join(path))
    }

    /// The places to ask for a file, best first.
    pub(super) fn sources(
        &self,
        location: &PartitionLocation,
        writer: &VirtualExecutorId,
        path: &str,
    ) -> Result<Arc<[Source]>, ShuffleError> {
        let mut sources = Vec::with_capacity(3);
        sources.extend(self.local_file(writer, path).map(Source::Local));
        let meta = &location.executor_meta;
        if !meta.host.is_empty() && meta.port != 0 {
            let (peers, host, path) = (self.peers.clone(), meta.host.clone(), path.to_owned());
            sources.push(Source::Peer { peers, host, port: meta.port, path });
        }
        if let Some((root, stores)) = &self.remote {
            let store = stores.get(root).map_err(|e| ShuffleError::Unreadable {
                path: path.to_owned(),
                rounds: 1,
                cause: std::io::Error::other(e.failure()),
            })?;
            sources.push(Source::Remote { store, path: root.join(path).path().clone() });
        }
        Ok(sources.into())
    }

    /// Waits until another file may be brought to local disk.
    pub(super) async fn download_turn(&self) -> Option<SemaphorePermit<'_>> {
        self.downloads.acquire().await.ok()
    }

    /// A folder that disappears with its last reader.
    pub(super) fn temp_dir(&self) -> std::io::Result<TempDir> {
        tempfile::Builder::new().prefix("selvedge-fetched-").tempdir_in(&self.temp_dir)
    }
}

async fn forget_local(root: &std::path::Path, job_id: &str) -> std::io::Result<()> {
    let mut executors = match tokio::fs::read_dir(root).await {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    while let Some(executor) = executors.next_entry().await? {
        match tokio::fs::remove_dir_all(executor.path().join(job_id)).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound && e.kind() != std::io::ErrorKind::NotADirectory => {
                return Err(e);
            }
            _ => {}
        }
    }
    Ok(())
}
