//! Staging on a local disk: temporary files beside the table, on its file system, renamed at publish.
//!
//! Paths are those of the object store, so that reader and writer agree on every odd character. Next: `remote.rs`.

use std::io;
use std::path::PathBuf;

use object_store::path::Path;
use selvedge_model::manifest::Staging;
use tokio::fs;
use tokio::io::AsyncWriteExt;

use super::error::WriteError;
use super::layout::{LOCAL_STAGING, belongs, below};
use super::store::Target;

/// A temporary file being written.
pub(crate) struct LocalSink {
    /// `None` once finished or removed: then dropping leaves it alone.
    file: Option<fs::File>,
    path: Path,
}

fn on_disk(path: &Path) -> PathBuf {
    PathBuf::from("/").join(path.as_ref())
}

fn gone_is_done(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a directory for staging. The sweep of another job takes the parent when it looks empty, perhaps just now.
async fn make(directory: &std::path::Path) -> io::Result<()> {
    for _ in 0..2 {
        match fs::create_dir_all(directory).await {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    fs::create_dir_all(directory).await
}

impl LocalSink {
    pub(crate) async fn create(target: &Target<'_>) -> Result<Self, WriteError> {
        let path = below(target.root, &format!("{LOCAL_STAGING}/{}/{}", target.tag.job_id, target.file_name))?;
        let disk = on_disk(&path);
        let what = || format!("cannot create '{}'", disk.display());
        if let Some(parent) = disk.parent() {
            make(parent).await.map_err(WriteError::io(what()))?;
        }
        let mut file = fs::File::create(&disk).await.map_err(WriteError::io(what()))?;
        file.set_max_buf_size(4 << 20);
        Ok(Self { file: Some(file), path })
    }

    fn what(&self) -> String {
        format!("cannot write '{}'", on_disk(&self.path).display())
    }

    pub(crate) async fn push(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let what = self.what();
        match &mut self.file {
            Some(file) => file.write_all(bytes).await.map_err(WriteError::io(what)),
            None => Err(WriteError::Lost { path: self.path.to_string() }),
        }
    }

    pub(crate) async fn finish(mut self) -> Result<Staging, WriteError> {
        let what = self.what();
        if let Some(file) = &mut self.file {
            file.flush().await.map_err(WriteError::io(what))?;
        }
        self.file = None;
        Ok(Staging::Temporary { path: self.path.to_string() })
    }

    pub(crate) async fn abort(mut self) -> Result<(), WriteError> {
        self.file = None;
        remove(&self.path).await
    }
}

impl Drop for LocalSink {
    fn drop(&mut self) {
        if self.file.take().is_some()
            && let Err(error) = gone_is_done(std::fs::remove_file(on_disk(&self.path)))
        {
            tracing::warn!(path = %self.path, %error, "a temporary file of a cancelled write stays until its job is swept");
        }
    }
}

pub(crate) async fn publish(path: &Path, temporary: &Path, bytes: u64) -> Result<(), WriteError> {
    let (to, from) = (on_disk(path), on_disk(temporary));
    let what = || format!("cannot publish '{}'", to.display());
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).await.map_err(WriteError::io(what()))?;
    }
    match fs::rename(&from, &to).await {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => match fs::metadata(&to).await {
            Ok(there) if there.len() == bytes => Ok(()),
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(WriteError::io(what())(e)),
            _ => Err(WriteError::Lost { path: path.to_string() }),
        },
        Err(e) => Err(WriteError::io(what())(e)),
    }
}

pub(crate) async fn remove(path: &Path) -> Result<(), WriteError> {
    let disk = on_disk(path);
    gone_is_done(fs::remove_file(&disk).await).map_err(WriteError::io(format!("cannot remove '{}'", disk.display())))
}

/// Removes directories that became empty, from a removed file up to the table's root, which stays.
pub(crate) async fn prune(root: &Path, removed: &Path) {
    let root = on_disk(root);
    let disk = on_disk(removed);
    for directory in disk.ancestors().skip(1).take_while(|d| *d != root && d.starts_with(&root)) {
        if fs::remove_dir(directory).await.is_err() {
            return; // Not empty, or in use by somebody: it may stay.
        }
    }
}

pub(crate) async fn list(root: &Path) -> Result<Vec<Path>, WriteError> {
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(directory) = open.pop() {
        let disk = on_disk(&directory);
        let what = || format!("cannot list '{}'", disk.display());
        let mut entries = match fs::read_dir(&disk).await {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(WriteError::io(what())(e)),
        };
        while let Some(entry) = entries.next_entry().await.map_err(WriteError::io(what()))? {
            let name = entry.file_name();
            // A name that is not UTF-8 is none of ours, and no reader of ours sees it.
            let Some(path) = name.to_str().and_then(|name| below(&directory, name).ok()) else { continue };
            let kind = match fs::metadata(entry.path()).await {
                // Another statement's staging or probe that went meanwhile, or a link to nothing.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                kind => kind.map_err(WriteError::io(what()))?,
            };
            if kind.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    Ok(found)
}

pub(crate) async fn probe(root: &Path) -> Result<(), WriteError> {
    let disk = on_disk(root);
    let what = || format!("cannot create files in '{}'", disk.display());
    let missing: Vec<PathBuf> = disk.ancestors().take_while(|d| !d.exists()).map(Into::into).collect();
    let probe = disk.join(format!(".selvedge-probe-{}", uuid::Uuid::now_v7()));
    fs::create_dir_all(&disk).await.map_err(WriteError::io(what()))?;
    fs::write(&probe, b"probe").await.map_err(WriteError::io(what()))?;
    fs::remove_file(&probe).await.map_err(WriteError::io(what()))?;
    for directory in missing {
        if fs::remove_dir(&directory).await.is_err() {
            break; // Somebody uses it already.
        }
    }
    Ok(())
}

pub(crate) async fn sweep(root: &Path, prefix: &str) -> Result<u64, WriteError> {
    let staging = below(root, LOCAL_STAGING)?;
    let disk = on_disk(&staging);
    let what = || format!("cannot clear '{}'", disk.display());
    let mut jobs = match fs::read_dir(&disk).await {
        Ok(jobs) => jobs,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(0),
        Err(e) => return Err(WriteError::io(what())(e)),
    };
    let mut swept = 0;
    while let Some(job) = jobs.next_entry().await.map_err(WriteError::io(what()))? {
        let name = job.file_name();
        let Some(job_id) = name.to_str().filter(|name| belongs(name, prefix)) else { continue };
        swept += list(&below(&staging, job_id)?).await?.len() as u64;
        gone_is_done(fs::remove_dir_all(job.path()).await).map_err(WriteError::io(what()))?;
    }
    // Fails while other jobs stage here, as it should.
    let _ = fs::remove_dir(&disk).await;
    Ok(swept)
}
