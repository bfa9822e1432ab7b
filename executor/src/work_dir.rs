//! The local directories of one executor, and the cleaning up after dead ones.
//!
//! `{work_dir}/shuffle/{executor}` and `/spill/{executor}` hold its files; `/locks/{executor}.lock` is locked as long as its
//! process lives, so whoever starts next on the same directory knows whose files are nobody's any more.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use selvedge_model::ExecutorId;

use crate::error::ExecutorError;

const SHUFFLE: &str = "shuffle";
const SPILL: &str = "spill";
const LOCKS: &str = "locks";

/// An executor's claim on its directories.
#[derive(Debug)]
pub(crate) struct WorkDir {
    root: PathBuf,
    executor: String,
    _lock: File,
}

impl WorkDir {
    /// Removes what dead executors left, and makes this one's directories.
    pub(crate) fn claim(root: &Path, executor: &ExecutorId) -> Result<Self, ExecutorError> {
        let attempt = || -> io::Result<Self> {
            for part in [SHUFFLE, SPILL, LOCKS] {
                fs::create_dir_all(root.join(part))?;
            }
            let root = root.canonicalize()?;
            // Held while locks are looked at, so that nobody takes a lock that is about to be removed.
            let gate = open_lock(&root.join(".lock"))?;
            gate.lock()?;
            remove_dead(&root);
            let lock = open_lock(&lock_path(&root, executor.as_str()))?;
            lock.lock()?;
            let claim = Self { root, executor: executor.as_str().to_owned(), _lock: lock };
            fs::create_dir_all(claim.shuffle_dir())?;
            fs::create_dir_all(claim.spill_dir())?;
            Ok(claim)
        };
        attempt().map_err(|cause| ExecutorError::WorkDir { path: root.to_owned(), cause })
    }

    /// Holds a folder for each executor on this machine.
    pub(crate) fn shuffle_root(&self) -> PathBuf {
        self.root.join(SHUFFLE)
    }

    /// This executor's shuffle files.
    pub(crate) fn shuffle_dir(&self) -> PathBuf {
        self.shuffle_root().join(&self.executor)
    }

    /// This executor's spill files.
    pub(crate) fn spill_dir(&self) -> PathBuf {
        self.root.join(SPILL).join(&self.executor)
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        remove_files(&self.root, &self.executor);
    }
}

fn lock_path(root: &Path, executor: &str) -> PathBuf {
    root.join(LOCKS).join(format!("{executor}.lock"))
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

fn remove_dead(root: &Path) {
    let Ok(locks) = fs::read_dir(root.join(LOCKS)) else { return };
    for lock in locks.flatten() {
        let name = lock.file_name().to_string_lossy().into_owned();
        let Some(executor) = name.strip_suffix(".lock") else { continue };
        let dead = open_lock(&lock.path()).is_ok_and(|file| file.try_lock().is_ok());
        if dead && executor.parse::<ExecutorId>().is_ok() {
            tracing::info!(executor, "removing the files of an executor that died");
            remove_files(root, executor);
        }
    }
}

fn remove_files(root: &Path, executor: &str) {
    let folders = [root.join(SHUFFLE).join(executor), root.join(SPILL).join(executor)];
    let removed = folders.iter().map(fs::remove_dir_all).chain([fs::remove_file(lock_path(root, executor))]);
    for cause in removed.filter_map(Result::err).filter(|e| e.kind() != io::ErrorKind::NotFound) {
        tracing::warn!(executor, %cause, "cannot remove an executor's local files");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_keep_their_files_and_the_dead_do_not() {
        let root = tempfile::tempdir().unwrap();
        let claim = |id: &str| WorkDir::claim(root.path(), &id.parse().unwrap()).unwrap();
        let living = claim("living");
        fs::write(living.shuffle_dir().join("f"), "x").unwrap();
        // A process that was killed leaves its files and a lock nobody holds.
        for left in ["shuffle/killed/j", "spill/killed"] {
            fs::create_dir_all(root.path().join(left)).unwrap();
        }
        fs::write(root.path().join("locks/killed.lock"), "").unwrap();

        let next = claim("next");
        assert!(living.shuffle_dir().join("f").exists());
        assert!(!root.path().join("shuffle/killed").exists() && !root.path().join("spill/killed").exists());
        assert!(!root.path().join("locks/killed.lock").exists());
        let dir = next.shuffle_dir();
        drop(next);
        assert!(!dir.exists() && living.shuffle_dir().exists());
    }
}
