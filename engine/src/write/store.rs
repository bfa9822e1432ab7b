//! The store that a table lives in, and what the scheduler does to its files there.
//!
//! One enum, two ways to stage: multipart uploads left open in an object store (`remote.rs`), temporary files on a local
//! disk (`local.rs`). Everything here may be repeated.

use arrow::datatypes::FieldRef;
use object_store::path::Path;
use selvedge_model::commit::VisibleFile;
use selvedge_model::failure::{Failure, HasFailure};
use selvedge_model::manifest::{StagedFile, Staging};

use super::error::WriteError;
use super::layout::{self, TaskTag};
use super::local::{self, LocalSink};
use super::remote::{RemoteSink, RemoteStore};
use super::visible::{Visible, nested_table};
use crate::store::{Location, ObjectStores};

/// Where a table's files live.
#[derive(Debug, Clone)]
pub(crate) enum TableStore {
    Local,
    Remote(RemoteStore),
}

/// A file being staged. Dropping it before [`Self::finish`] throws it away.
pub(crate) enum StagedSink {
    Local(LocalSink),
    Remote(Box<RemoteSink>),
}

/// Where a file is to appear and who stages it.
pub(crate) struct Target<'a> {
    pub(crate) root: &'a Path,
    pub(crate) path: Path,
    pub(crate) tag: &'a TaskTag,
    pub(crate) file_name: &'a str,
    /// The size of an upload's parts.
    pub(crate) part_bytes: usize,
}

impl TableStore {
    /// The store of a location.
    pub(crate) fn open(stores: &ObjectStores, root: &Location) -> Result<Self, Failure> {
        Self::try_open(stores, root).map_err(|e| e.failure())
    }

    fn try_open(stores: &ObjectStores, root: &Location) -> Result<Self, WriteError> {
        if root.is_local() {
            return Self::local(root);
        }
        let objects = stores.get(root)?;
        match stores.multipart(root)? {
            Some(uploads) => Ok(Self::Remote(RemoteStore::new(objects, uploads, stores.open_uploads(root)?))),
            None => Err(WriteError::ReadOnly { location: root.to_string() }),
        }
    }

    /// The local disk, below a directory. Its root is no table: an overwrite would take every file of the machine for the
    /// table's.
    pub(crate) fn local(root: &Location) -> Result<Self, WriteError> {
        match root.path().as_ref().is_empty() {
            true => Err(WriteError::ReadOnly { location: root.to_string() }),
            false => Ok(Self::Local),
        }
    }

    /// Begins to stage a file.
    pub(crate) async fn stage(&self, target: Target<'_>) -> Result<StagedSink, WriteError> {
        match self {
            Self::Local => Ok(StagedSink::Local(LocalSink::create(&target).await?)),
            Self::Remote(store) => Ok(StagedSink::Remote(Box::new(store.stage(target).await?))),
        }
    }

    pub(crate) async fn publish(&self, file: &StagedFile) -> Result<(), WriteError> {
        let path = layout::parse(&file.path)?;
        match (self, &file.staging) {
            (Self::Local, Staging::Temporary { path: temporary }) => {
                local::publish(&path, &layout::parse(temporary)?, file.bytes).await
            }
            (Self::Remote(store), Staging::Multipart { upload_id, parts }) => {
                store.publish(&path, upload_id, parts, file.bytes).await
            }
            _ => Err(WriteError::Lost { path: file.path.clone() }),
        }
    }

    pub(crate) async fn discard(&self, file: &StagedFile) -> Result<(), WriteError> {
        match (self, &file.staging) {
            (Self::Local, Staging::Temporary { path }) => local::remove(&layout::parse(path)?).await,
            (Self::Remote(store), Staging::Multipart { upload_id, .. }) => {
                store.abort(&layout::parse(&file.path)?, upload_id).await
            }
            _ => Ok(()),
        }
    }

    pub(crate) async fn list_visible(&self, root: &Path, by: &[FieldRef]) -> Result<Vec<VisibleFile>, WriteError> {
        let paths = match self {
            Self::Local => local::list(root).await?,
            Self::Remote(store) => store.list(root).await?,
        };
        if let Some(table) = paths.iter().find_map(|path| nested_table(root, path)) {
            return Err(WriteError::TableBelow { root: root.to_string(), table: table.to_string() });
        }
        let mut visible = Visible::new(root, by);
        Ok(paths.iter().filter_map(|path| visible.file(path)).collect())
    }

    pub(crate) async fn remove(&self, root: &Path, paths: &[String]) -> Result<(), WriteError> {
        let paths = paths.iter().map(|p| layout::parse(p)).collect::<Result<Vec<_>, _>>()?;
        match self {
            Self::Local => {
                for path in &paths {
                    local::remove(path).await?;
                    local::prune(root, path).await;
                }
                Ok(())
            }
            Self::Remote(store) => store.remove(paths).await,
        }
    }

    pub(crate) async fn probe(&self, root: &Path) -> Result<(), WriteError> {
        match self {
            Self::Local => local::probe(root).await,
            Self::Remote(store) => store.probe(root).await,
        }
    }

    /// Throws away what jobs of a prefix staged, except uploads of `published` files.
    pub(crate) async fn sweep(&self, root: &Path, prefix: &str, published: &[StagedFile]) -> Result<u64, WriteError> {
        match self {
            Self::Local => local::sweep(root, prefix).await,
            Self::Remote(store) => store.sweep(root, prefix, published).await,
        }
    }
}

impl StagedSink {
    /// Takes the next bytes of the file.
    pub(crate) async fn push(&mut self, bytes: bytes::Bytes) -> Result<(), WriteError> {
        match self {
            Self::Local(sink) => sink.push(&bytes).await,
            Self::Remote(sink) => sink.push(bytes).await,
        }
    }

    /// Bytes held in memory.
    pub(crate) fn buffered(&self) -> usize {
        match self {
            Self::Local(_) => 0,
            Self::Remote(sink) => sink.buffered(),
        }
    }

    /// Waits until nothing is under way, so that its memory is free.
    pub(crate) async fn drain(&mut self) -> Result<(), WriteError> {
        match self {
            Self::Local(_) => Ok(()),
            Self::Remote(sink) => sink.drain().await,
        }
    }

    /// Ends the file; it waits to be published.
    pub(crate) async fn finish(self) -> Result<Staging, WriteError> {
        match self {
            Self::Local(sink) => sink.finish().await,
            Self::Remote(sink) => sink.finish().await,
        }
    }

    /// Throws the file away.
    pub(crate) async fn abort(self) -> Result<(), WriteError> {
        match self {
            Self::Local(sink) => sink.abort().await,
            Self::Remote(sink) => sink.abort().await,
        }
    }
}
