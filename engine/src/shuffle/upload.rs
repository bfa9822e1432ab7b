//! Copies a finished task's shuffle files to the shuffle location.
//!
//! Called before a task's success is reported: from then on its output survives the executor. Small files go up in one
//! request, large ones in parts; a few files at a time. Reading them back: `source.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::io::AsyncReadExt;

use super::error::ShuffleError;
use super::fetch::pause;
use super::paths::is_plain_path;
use super::store::ShuffleStore;
use crate::store::Location;

/// Files larger than this go up in parts of this size.
const PART_BYTES: usize = 16 * 1024 * 1024;
/// Parts of one file on their way at one time.
const PARTS: usize = 2;
/// Files on their way at one time.
const FILES: usize = 4;
const TRIES: u32 = 3;

impl ShuffleStore {
    /// Copies `files` (relative paths) from `folder` to the shuffle location; returns the bytes copied. Without a
    /// location nothing is done.
    pub async fn upload(&self, folder: &Path, files: &[String]) -> Result<u64, ShuffleError> {
        let Some((root, stores)) = self.remote() else { return Ok(0) };
        let store = stores.get(root).map_err(|e| not_uploaded("", &root.to_string(), e))?;
        let mut uploads: Vec<BoxFuture<'static, Result<u64, ShuffleError>>> = Vec::with_capacity(files.len());
        for file in files {
            if !is_plain_path(file) {
                return Err(ShuffleError::BadLocation { what: format!("'{file}' is not a shuffle path") });
            }
            uploads.push(upload_file(store.clone(), folder.join(file), root.join(file)).boxed());
        }
        let mut sum = 0;
        let mut uploads = stream::iter(uploads).buffer_unordered(FILES);
        while let Some(bytes) = uploads.try_next().await? {
            sum += bytes;
        }
        Ok(sum)
    }
}

fn not_uploaded(path: &str, to: &str, cause: impl ToString) -> ShuffleError {
    ShuffleError::NotUploaded { path: path.to_owned(), to: to.to_owned(), cause: cause.to_string() }
}

async fn upload_file(store: Arc<dyn ObjectStore>, from: PathBuf, to: Location) -> Result<u64, ShuffleError> {
    let mut round = 0;
    loop {
        round += 1;
        match try_upload(store.as_ref(), &from, to.path()).await {
            Ok(bytes) => return Ok(bytes),
            Err(cause) if round < TRIES => {
                tracing::debug!(%to, %cause, round, "trying again to copy a shuffle file");
                tokio::time::sleep(pause(round)).await;
            }
            Err(cause) => return Err(not_uploaded(&from.to_string_lossy(), &to.to_string(), cause)),
        }
    }
}

async fn try_upload(store: &dyn ObjectStore, from: &Path, to: &object_store::path::Path) -> object_store::Result<u64> {
    let mut file = tokio::fs::File::open(from).await.map_err(local_error)?;
    let size = file.metadata().await.map_err(local_error)?.len();
    if size <= PART_BYTES as u64 {
        store.put(to, read_part(&mut file).await?.into()).await?;
        return Ok(size);
    }
    let mut upload = WriteMultipart::new_with_chunk_size(store.put_multipart(to).await?, PART_BYTES);
    let sent = send_parts(&mut file, &mut upload).await;
    match sent {
        Ok(()) => upload.finish().await.map(|_| size),
        Err(e) => {
            if let Err(cause) = upload.abort().await {
                tracing::warn!(%to, %cause, "an upload that failed could not be aborted");
            }
            Err(e)
        }
    }
}

async fn send_parts(file: &mut tokio::fs::File, upload: &mut WriteMultipart) -> object_store::Result<()> {
    loop {
        let part = read_part(file).await?;
        if part.is_empty() {
            return Ok(());
        }
        upload.wait_for_capacity(PARTS).await?;
        upload.put(part);
    }
}

async fn read_part(file: &mut tokio::fs::File) -> object_store::Result<Bytes> {
    let mut part = Vec::with_capacity(PART_BYTES.min(1024 * 1024));
    file.take(PART_BYTES as u64).read_to_end(&mut part).await.map_err(local_error)?;
    Ok(part.into())
}

fn local_error(error: std::io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "local disk", source: Box::new(error) }
}
