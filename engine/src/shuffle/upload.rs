//! Copies a finished task's shuffle files to the shuffle location.
//!
//! Called before a task's success is reported: from then on its output survives the executor. Small files go up in one
//! request, large ones in parts; a few files at a time. A copy that is dropped half-way aborts its upload: stores keep the
//! parts of open ones, unseen. Reading them back: `source.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

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

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes of the files.
    pub bytes: u64,
    /// Requests it took, those in vain included.
    pub requests: u64,
}

impl ShuffleStore {
    /// Copies `files` (relative paths) from `folder` to the shuffle location. Without a location nothing is done.
    pub async fn upload(&self, folder: &Path, files: &[String]) -> Result<Copied, ShuffleError> {
        let Some((root, stores)) = self.remote() else { return Ok(Copied::default()) };
        let store = stores.get(root).map_err(|e| not_uploaded("", &root.to_string(), e))?;
        let mut uploads: Vec<BoxFuture<'static, Result<Copied, ShuffleError>>> = Vec::with_capacity(files.len());
        for file in files {
            if !is_plain_path(file) {
                return Err(ShuffleError::BadLocation { what: format!("'{file}' is not a shuffle path") });
            }
            uploads.push(upload_file(store.clone(), folder.join(file), root.join(file)).boxed());
        }
        let mut sum = Copied::default();
        let mut uploads = stream::iter(uploads).buffer_unordered(FILES);
        while let Some(file) = uploads.try_next().await? {
            sum.bytes += file.bytes;
            sum.requests += file.requests;
        }
        Ok(sum)
    }
}

fn not_uploaded(path: &str, to: &str, cause: impl ToString) -> ShuffleError {
    ShuffleError::NotUploaded { path: path.to_owned(), to: to.to_owned(), cause: cause.to_string() }
}

async fn upload_file(store: Arc<dyn ObjectStore>, from: PathBuf, to: Location) -> Result<Copied, ShuffleError> {
    let (mut round, mut requests) = (0, 0);
    loop {
        round += 1;
        match try_upload(&store, &from, to.path(), &mut requests).await {
            Ok(bytes) => return Ok(Copied { bytes, requests }),
            Err(cause) if round < TRIES => {
                tracing::debug!(%to, %cause, round, "trying again to copy a shuffle file");
                tokio::time::sleep(pause(round)).await;
            }
            Err(cause) => return Err(not_uploaded(&from.to_string_lossy(), &to.to_string(), cause)),
        }
    }
}

async fn try_upload(
    store: &Arc<dyn ObjectStore>,
    from: &Path,
    to: &object_store::path::Path,
    requests: &mut u64,
) -> object_store::Result<u64> {
    let mut file = tokio::fs::File::open(from).await.map_err(local_error)?;
    let size = file.metadata().await.map_err(local_error)?.len();
    if size <= PART_BYTES as u64 {
        *requests += 1;
        store.put(to, read_part(&mut file).await?.into()).await?;
        return Ok(size);
    }
    // One to open it, one to complete it, and the parts.
    *requests += 2 + size.div_ceil(PART_BYTES as u64);
    let mut upload = begin(store.clone(), to.clone()).await?;
    match send_parts(&mut file, &mut upload).await {
        Ok(()) => Ok(size),
        Err(e) => {
            upload.abort().await;
            Err(e)
        }
    }
}

/// Opens an upload, in a task of its own: dropped while the store answers, it would leave one open that nobody knows.
async fn begin(store: Arc<dyn ObjectStore>, to: object_store::path::Path) -> object_store::Result<OpenUpload> {
    let opening = tokio::spawn(async move {
        let upload = store.put_multipart(&to).await?;
        Ok::<_, object_store::Error>(OpenUpload { upload: Some(upload), sending: JoinSet::new(), to })
    });
    opening.await.map_err(|source| object_store::Error::JoinError { source })?
}

async fn send_parts(file: &mut tokio::fs::File, upload: &mut OpenUpload) -> object_store::Result<()> {
    loop {
        let part = read_part(file).await?;
        if part.is_empty() {
            return upload.complete().await;
        }
        upload.put(part).await?;
    }
}

/// An open upload. Dropped before its end, it aborts itself.
struct OpenUpload {
    /// `None` once completed or aborted.
    upload: Option<Box<dyn MultipartUpload>>,
    sending: JoinSet<object_store::Result<()>>,
    to: object_store::path::Path,
}

impl OpenUpload {
    async fn put(&mut self, part: Bytes) -> object_store::Result<()> {
        while self.sending.len() >= PARTS {
            self.receive().await?;
        }
        if let Some(upload) = &mut self.upload {
            self.sending.spawn(upload.put_part(part.into()));
        }
        Ok(())
    }

    async fn receive(&mut self) -> object_store::Result<()> {
        match self.sending.join_next().await {
            Some(sent) => sent.map_err(|source| object_store::Error::JoinError { source })?,
            None => Ok(()),
        }
    }

    async fn complete(&mut self) -> object_store::Result<()> {
        while !self.sending.is_empty() {
            self.receive().await?;
        }
        if let Some(upload) = &mut self.upload {
            upload.complete().await?;
        }
        self.upload = None;
        Ok(())
    }

    async fn abort(mut self) {
        if let Some(upload) = self.upload.take() {
            abort(upload, std::mem::take(&mut self.sending), &self.to).await;
        }
    }
}

impl Drop for OpenUpload {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        // Without a runtime the process ends; the store's own rule for open uploads is left then.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (sending, to) = (std::mem::take(&mut self.sending), self.to.clone());
        runtime.spawn(async move { abort(upload, sending, &to).await });
    }
}

/// Stops the parts first: one that arrives after the abort would open the upload's room again.
async fn abort(
    mut upload: Box<dyn MultipartUpload>,
    mut sending: JoinSet<object_store::Result<()>>,
    to: &object_store::path::Path,
) {
    sending.shutdown().await;
    if let Err(cause) = upload.abort().await {
        tracing::warn!(%to, %cause, "the upload of a shuffle file could not be aborted");
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use object_store::{PutPayload, PutResult, UploadPart};

    use super::*;

    /// What a store saw of an upload.
    #[derive(Debug, Default)]
    struct Seen {
        parts: AtomicUsize,
        completed: AtomicUsize,
        aborted: AtomicUsize,
    }

    /// An upload whose parts or completion may take for ever.
    #[derive(Debug)]
    struct Scripted {
        seen: Arc<Seen>,
        parts_hang: bool,
        completion_hangs: bool,
    }

    #[async_trait]
    impl MultipartUpload for Scripted {
        fn put_part(&mut self, _: PutPayload) -> UploadPart {
            self.seen.parts.fetch_add(1, Ordering::SeqCst);
            let hangs = self.parts_hang;
            async move { if hangs { std::future::pending().await } else { Ok(()) } }.boxed()
        }

        async fn complete(&mut self) -> object_store::Result<PutResult> {
            self.seen.completed.fetch_add(1, Ordering::SeqCst);
            if self.completion_hangs {
                std::future::pending::<()>().await;
            }
            Ok(PutResult { e_tag: None, version: None })
        }

        async fn abort(&mut self) -> object_store::Result<()> {
            self.seen.aborted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    fn open(parts_hang: bool, completion_hangs: bool) -> (Arc<Seen>, OpenUpload) {
        let seen = Arc::new(Seen::default());
        let upload = Box::new(Scripted { seen: seen.clone(), parts_hang, completion_hangs });
        (seen, OpenUpload { upload: Some(upload), sending: JoinSet::new(), to: "j/1".into() })
    }

    /// Sends a small file as if it were large, for at most a moment; then gives the drop time to act.
    async fn send(mut upload: OpenUpload) -> bool {
        let mut from = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut from, b"rows").unwrap();
        let mut file = tokio::fs::File::open(from.path()).await.unwrap();
        let sent = tokio::time::timeout(Duration::from_millis(100), send_parts(&mut file, &mut upload)).await;
        drop(upload);
        tokio::time::sleep(Duration::from_millis(100)).await;
        sent.is_ok_and(|sent| sent.is_ok())
    }

    #[tokio::test]
    async fn a_copy_dropped_half_way_aborts_its_upload_and_a_whole_one_does_not() {
        for (parts_hang, completion_hangs, is_sent) in
            [(true, false, false), (false, true, false), (false, false, true)]
        {
            let (seen, upload) = open(parts_hang, completion_hangs);
            assert_eq!(send(upload).await, is_sent);
            let [parts, completed, aborted] =
                [&seen.parts, &seen.completed, &seen.aborted].map(|count| count.load(Ordering::SeqCst));
            assert_eq!((parts, completed, aborted), (1, usize::from(!parts_hang), usize::from(!is_sent)));
        }
    }
}
