//! Staging in an object store: multipart uploads to the final path, left open; completing one makes its object appear.
//!
//! Each is journalled when it is opened, as a small object that names path and upload. Whoever clears a job reads the
//! journal, since not every store lists its open uploads by folder; where one does, it is asked as well, for those whose
//! opening was never answered. Next: `store.rs`, which offers both ways of staging as one.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutPayload};
use selvedge_model::manifest::{StagedFile, Staging};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::error::WriteError;
use super::layout::{JOURNAL, belongs, below, parse};
use super::store::Target;
use crate::store::{OpenUpload, OpenUploads, missing_is_done};

/// Parts of one file under way at once. With parts of 8 MiB: 32 MiB of a task's memory.
const PARTS_IN_FLIGHT: usize = 4;
/// Requests under way at once while clearing.
const SWEEP_CONCURRENCY: usize = 16;

/// An object store that takes multipart uploads.
#[derive(Clone)]
pub(crate) struct RemoteStore {
    objects: Arc<dyn ObjectStore>,
    uploads: Arc<dyn MultipartStore>,
    open: Option<Arc<OpenUploads>>,
}

impl fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteStore({})", self.objects)
    }
}

#[derive(Serialize, Deserialize)]
struct JournalEntry {
    path: String,
    upload_id: String,
}

impl RemoteStore {
    pub(crate) fn new(
        objects: Arc<dyn ObjectStore>,
        uploads: Arc<dyn MultipartStore>,
        open: Option<Arc<OpenUploads>>,
    ) -> Self {
        Self { objects, uploads, open }
    }

    pub(crate) async fn stage(&self, target: Target<'_>) -> Result<RemoteSink, WriteError> {
        let Target { root, path, tag, file_name, part_bytes } = target;
        let journal = below(root, &format!("{JOURNAL}/{}/{file_name}.json", tag.job_id))?;
        let upload_id = self
            .uploads
            .create_multipart(&path)
            .await
            .map_err(WriteError::store(format!("cannot begin an upload to '{path}'")))?;
        let entry = JournalEntry { path: path.to_string(), upload_id: upload_id.clone() };
        let sink = RemoteSink {
            store: self.clone(),
            path,
            upload_id,
            journal,
            part_bytes,
            waiting: Vec::new(),
            waiting_bytes: 0,
            parts: Vec::new(),
            sending: JoinSet::new(),
            armed: true,
        };
        let entry = serde_json::to_vec(&entry)
            .map_err(|e| WriteError::Path { path: sink.path.to_string(), reason: e.to_string() })?;
        self.objects
            .put(&sink.journal, entry.into())
            .await
            .map_err(WriteError::store(format!("cannot journal the upload to '{}'", sink.path)))?;
        Ok(sink)
    }

    pub(crate) async fn publish(
        &self,
        path: &Path,
        id: &String,
        parts: &[String],
        bytes: u64,
    ) -> Result<(), WriteError> {
        let parts = parts.iter().map(|id| PartId { content_id: id.clone() }).collect();
        let Err(refused) = self.uploads.complete_multipart(path, id, parts).await else { return Ok(()) };
        // An upload that was completed before is unknown to the store now: then the object must be there.
        match (self.objects.head(path).await, refused) {
            (Ok(there), _) if there.size == bytes => Ok(()),
            // Only the store's own word that neither is there makes it lost.
            (Ok(_) | Err(StoreError::NotFound { .. }), StoreError::NotFound { .. }) => {
                Err(WriteError::Lost { path: path.to_string() })
            }
            (Err(unknown), StoreError::NotFound { .. }) => {
                Err(WriteError::store(format!("cannot find '{path}'"))(unknown))
            }
            (_, refused) => Err(WriteError::store(format!("cannot publish '{path}'"))(refused)),
        }
    }

    pub(crate) async fn abort(&self, path: &Path, upload_id: &String) -> Result<(), WriteError> {
        missing_is_done(self.uploads.abort_multipart(path, upload_id).await)
            .map_err(WriteError::store(format!("cannot abort the upload to '{path}'")))
    }

    pub(crate) async fn list(&self, root: &Path) -> Result<Vec<Path>, WriteError> {
        self.objects
            .list(Some(root))
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .map_err(WriteError::store(format!("cannot list '{root}'")))
    }

    pub(crate) async fn remove(&self, paths: Vec<Path>) -> Result<(), WriteError> {
        let mut removed = self.objects.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
        while let Some(result) = removed.next().await {
            missing_is_done(result).map_err(WriteError::store("cannot remove a file"))?;
        }
        Ok(())
    }

    pub(crate) async fn probe(&self, root: &Path) -> Result<(), WriteError> {
        let path = below(root, &format!("{JOURNAL}/probe-{}", uuid::Uuid::now_v7()))?;
        self.objects
            .put(&path, PutPayload::from_static(b"probe"))
            .await
            .map_err(WriteError::store(format!("cannot put '{path}'")))?;
        missing_is_done(self.objects.delete(&path).await).map_err(WriteError::store(format!("cannot remove '{path}'")))
    }

    pub(crate) async fn sweep(&self, root: &Path, prefix: &str, published: &[StagedFile]) -> Result<u64, WriteError> {
        let journal = below(root, JOURNAL)?;
        let jobs = self
            .objects
            .list_with_delimiter(Some(&journal))
            .await
            .map_err(WriteError::store(format!("cannot list '{journal}'")))?;
        let names: HashSet<&str> = published.iter().filter_map(|f| f.path.rsplit('/').next()).collect();
        let uploads: HashSet<&str> = published.iter().filter_map(upload_of).collect();
        let mut swept = 0;
        for job in jobs.common_prefixes {
            if !job.filename().is_some_and(|id| belongs(id, prefix)) {
                continue;
            }
            let entries = self.list(&job).await?;
            // Nearly always the name tells, and the entry need not be read.
            let is_published = |entry: &Path| {
                entry.filename().and_then(|name| name.strip_suffix(".json")).is_some_and(|name| names.contains(name))
            };
            let open = entries.iter().filter(|entry| !is_published(entry));
            let aborting: Vec<_> = open.map(|entry| self.abort_journalled(entry, &uploads)).collect();
            let aborted: Vec<bool> = stream::iter(aborting).buffer_unordered(SWEEP_CONCURRENCY).try_collect().await?;
            swept += aborted.into_iter().filter(|aborted| *aborted).count() as u64;
            self.remove(entries).await?;
        }
        Ok(swept + self.abort_unknown(root, prefix, &uploads).await?)
    }

    /// Aborts the uploads of a job that no journal names: the opener was killed, or never heard that it had opened one.
    async fn abort_unknown(&self, root: &Path, prefix: &str, published: &HashSet<&str>) -> Result<u64, WriteError> {
        let Some(open) = &self.open else { return Ok(0) };
        let is_left = |upload: &OpenUpload| {
            upload.path.filename().is_some_and(|name| belongs(name, prefix))
                && !published.contains(upload.upload_id.as_str())
        };
        open.abort_below(root, is_left)
            .await
            .map_err(WriteError::store(format!("cannot abort the uploads to '{root}'")))
    }

    /// Aborts the upload that an entry names, unless it was published, and says whether it did.
    async fn abort_journalled(&self, entry: &Path, published: &HashSet<&str>) -> Result<bool, WriteError> {
        let what = || format!("cannot read '{entry}'");
        let bytes = match self.objects.get(entry).await {
            Ok(found) => found.bytes().await.map_err(WriteError::store(what()))?,
            Err(StoreError::NotFound { .. }) => return Ok(false), // Its own task cleared it meanwhile.
            Err(e) => return Err(WriteError::store(what())(e)),
        };
        match serde_json::from_slice::<JournalEntry>(&bytes) {
            Ok(found) if published.contains(found.upload_id.as_str()) => Ok(false),
            Ok(found) => self.abort(&parse(&found.path)?, &found.upload_id).await.map(|()| true),
            Err(error) => {
                tracing::warn!(%entry, %error, "not a journal entry of ours; removing it");
                Ok(false)
            }
        }
    }
}

fn upload_of(file: &StagedFile) -> Option<&str> {
    match &file.staging {
        Staging::Multipart { upload_id, .. } => Some(upload_id),
        Staging::Temporary { .. } => None,
    }
}

/// An open upload. Parts are sent while later ones are encoded.
pub(crate) struct RemoteSink {
    store: RemoteStore,
    path: Path,
    upload_id: String,
    journal: Path,
    part_bytes: usize,
    /// Bytes of the next part.
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    /// Ids of sent parts, by index.
    parts: Vec<Option<String>>,
    sending: JoinSet<(usize, Result<PartId, StoreError>)>,
    /// Whether dropping aborts the upload.
    armed: bool,
}

impl RemoteSink {
    pub(crate) fn buffered(&self) -> usize {
        self.waiting_bytes + self.sending.len() * self.part_bytes
    }

    /// Cuts parts of one exact size, since some stores insist on it.
    pub(crate) async fn push(&mut self, mut bytes: Bytes) -> Result<(), WriteError> {
        while self.waiting_bytes + bytes.len() >= self.part_bytes {
            let rest = bytes.split_off(self.part_bytes - self.waiting_bytes);
            self.hold(std::mem::replace(&mut bytes, rest));
            self.send().await?;
        }
        self.hold(bytes);
        Ok(())
    }

    fn hold(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.waiting_bytes += bytes.len();
            self.waiting.push(bytes);
        }
    }

    async fn send(&mut self) -> Result<(), WriteError> {
        while self.sending.len() >= PARTS_IN_FLIGHT {
            self.receive().await?;
        }
        let payload: PutPayload = std::mem::take(&mut self.waiting).into_iter().collect();
        self.waiting_bytes = 0;
        let index = self.parts.len();
        self.parts.push(None);
        let (uploads, path, id) = (self.store.uploads.clone(), self.path.clone(), self.upload_id.clone());
        self.sending.spawn(async move { (index, uploads.put_part(&path, &id, index, payload).await) });
        Ok(())
    }

    pub(crate) async fn drain(&mut self) -> Result<(), WriteError> {
        while !self.sending.is_empty() {
            self.receive().await?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<(), WriteError> {
        match self.sending.join_next().await {
            None => Ok(()),
            Some(Ok((index, Ok(part)))) => {
                self.parts[index] = Some(part.content_id);
                Ok(())
            }
            Some(Ok((_, Err(e)))) => Err(WriteError::store(format!("cannot upload to '{}'", self.path))(e)),
            Some(Err(e)) => Err(WriteError::Io {
                what: format!("cannot upload to '{}'", self.path),
                source: std::io::Error::other(e),
            }),
        }
    }

    pub(crate) async fn finish(mut self) -> Result<Staging, WriteError> {
        // An upload needs a part, also when the file is empty.
        if self.waiting_bytes > 0 || self.parts.is_empty() {
            self.send().await?;
        }
        self.drain().await?;
        let parts: Option<Vec<String>> = std::mem::take(&mut self.parts).into_iter().collect();
        let parts = parts.ok_or_else(|| WriteError::Lost { path: self.path.to_string() })?;
        self.armed = false;
        Ok(Staging::Multipart { upload_id: std::mem::take(&mut self.upload_id), parts })
    }

    pub(crate) async fn abort(mut self) -> Result<(), WriteError> {
        self.armed = false;
        self.sending.shutdown().await;
        self.store.abort(&self.path, &self.upload_id).await?;
        self.store.remove(vec![self.journal.clone()]).await
    }
}

impl Drop for RemoteSink {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // Without a runtime, or when it stops first, the journal still names the upload.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (store, path, journal) = (self.store.clone(), self.path.clone(), self.journal.clone());
        let upload_id = std::mem::take(&mut self.upload_id);
        let mut sending = std::mem::take(&mut self.sending);
        runtime.spawn(async move {
            sending.shutdown().await;
            let cleared = async {
                store.abort(&path, &upload_id).await?;
                store.remove(vec![journal]).await
            };
            if let Err(error) = cleared.await {
                tracing::warn!(%path, %error, "an upload of a cancelled write stays open until its job is swept");
            }
        });
    }
}
