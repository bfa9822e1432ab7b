//! A table's log: which versions there are, what a version did, and the conditional put that makes the next.
//!
//! The library sees a store whose root is the table's directory, under the URL `file:///`, wherever the table is: it makes
//! URLs of paths and paths of URLs without regard to what `%` or a space in a table's own path comes to, and sorts
//! listings of `file` stores only, which on S3 costs nothing and on a disk is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use deltalake_core::DeltaTable as LogTable;
use deltalake_core::kernel::transaction::TransactionError;
use deltalake_core::logstore::{CommitOrBytes, LogStoreRef, StorageConfig, default_logstore};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use selvedge_model::Failure;
use url::Url;
use uuid::Uuid;

use super::action::{LogLine, parse_commit};
use super::error::{classify_delta, invalid_log};
use crate::error::classify_store;
use crate::store::{Location, ObjectStores};

/// Commits that are read at the same time.
const READ_AT_ONCE: usize = 16;
const LOG_DIR: &str = "_delta_log";

/// The log of one table.
#[derive(Clone)]
pub(super) struct DeltaLog {
    location: Location,
    logs: LogStoreRef,
}

impl std::fmt::Debug for DeltaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeltaLog").field("location", &self.location).finish_non_exhaustive()
    }
}

/// Whether there is a Delta table at a location, and not files alone.
///
/// # Errors
/// What the store answers.
pub async fn is_delta_table(stores: &ObjectStores, location: &Location) -> Result<bool, Failure> {
    let versions = DeltaLog::open(stores, location)?.versions().await?;
    Ok(versions.newest().is_some())
}

/// The versions that a log lists.
#[derive(Debug, Default)]
pub(super) struct LogVersions {
    /// Commits, with the time in milliseconds when they were made.
    pub commits: BTreeMap<i64, i64>,
    /// Checkpoints.
    pub checkpoints: BTreeSet<i64>,
}

impl LogVersions {
    /// The newest version.
    pub fn newest(&self) -> Option<i64> {
        self.commits.keys().chain(&self.checkpoints).max().copied()
    }

    /// The oldest version that can still be read: from the beginning, or from the first checkpoint that all later
    /// commits follow.
    pub fn oldest(&self) -> Option<i64> {
        let newest = self.newest()?;
        let first = (0..=newest).rev().take_while(|v| self.commits.contains_key(v)).last();
        let reaches = |v: &&i64| first.is_none_or(|first| **v + 1 >= first);
        match first {
            Some(0) => Some(0),
            _ => self.checkpoints.iter().find(reaches).copied().or(first),
        }
    }
}

impl DeltaLog {
    /// The log of the table at a location. Nothing is read.
    pub fn open(stores: &ObjectStores, location: &Location) -> Result<Self, Failure> {
        let store = stores.get(location)?;
        let rooted: Arc<dyn ObjectStore> = match location.path().as_ref() {
            "" => store,
            _ => Arc::new(PrefixStore::new(store, location.path().clone())),
        };
        let url = Url::parse("file:///").map_err(|e| Failure::internal("INTERNAL", e.to_string()))?;
        let logs = default_logstore(Arc::clone(&rooted), rooted, &url, &StorageConfig::default());
        Ok(Self { location: location.as_directory(), logs })
    }

    /// Where the table is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The library's side of it.
    pub fn logs(&self) -> &LogStoreRef {
        &self.logs
    }

    /// The library's table, of the newest version, with its files.
    pub async fn load(&self) -> Result<LogTable, Failure> {
        let mut table = LogTable::new(Arc::clone(&self.logs));
        match table.load().await {
            Ok(()) => Ok(table),
            Err(e) => Err(self.explained(&e).await),
        }
    }

    /// Lists the versions.
    pub async fn versions(&self) -> Result<LogVersions, Failure> {
        let dir = Path::from(LOG_DIR);
        let listed: Vec<_> = match self.logs.object_store(None).list(Some(&dir)).try_collect().await {
            Ok(listed) => listed,
            Err(object_store::Error::NotFound { .. }) => return Ok(LogVersions::default()),
            Err(e) => return Err(classify_store(&e, &format!("listing the log of {}", self.location))),
        };
        let mut found = LogVersions::default();
        for file in listed {
            // Only what lies in the directory itself: staged commits and sidecars are below it.
            let relative = file.location.as_ref().strip_prefix(LOG_DIR).unwrap_or_default().trim_start_matches('/');
            let Some((version, ending)) = relative.split_once('.') else { continue };
            let Ok(version) = version.parse::<i64>() else { continue };
            if ending == "json" {
                found.commits.insert(version, file.last_modified.timestamp_millis());
            } else if ending.starts_with("checkpoint.") && !ending.contains('/') {
                found.checkpoints.insert(version);
            }
        }
        Ok(found)
    }

    /// What a version did; `None` when its commit is not there.
    pub async fn commit_lines(&self, version: i64) -> Result<Option<Vec<LogLine>>, Failure> {
        let number = number(version)?;
        let bytes = self.logs.read_commit_entry(number).await.map_err(|e| self.failed("reading the log of", &e))?;
        let lines = bytes.map(|bytes| parse_commit(&bytes)).transpose();
        lines.map_err(|e| invalid_log(format!("version {version} of {}: {e}", self.location)))
    }

    /// What each of these versions did, those whose commits are not there left out.
    pub async fn commits(&self, versions: impl IntoIterator<Item = i64>) -> Result<Vec<(i64, Vec<LogLine>)>, Failure> {
        let wanted: Vec<i64> = versions.into_iter().collect();
        let read: Vec<Option<(i64, Vec<LogLine>)>> =
            stream::iter(wanted)
                .map(|version| async move {
                    Ok::<_, Failure>(self.commit_lines(version).await?.map(|lines| (version, lines)))
                })
                .buffered(READ_AT_ONCE)
                .try_collect()
                .await?;
        Ok(read.into_iter().flatten().collect())
    }

    /// Makes a version, unless it is there.
    pub async fn put(&self, version: i64, commit: Bytes) -> Result<Put, Failure> {
        let written = self.logs.write_commit_entry(number(version)?, CommitOrBytes::LogBytes(commit), Uuid::now_v7());
        match written.await {
            Ok(()) => Ok(Put::Made),
            Err(TransactionError::VersionAlreadyExists(_)) => Ok(Put::Taken),
            Err(e) => Ok(Put::Unknown(self.failed("committing to", &e.into()))),
        }
    }

    pub fn failed(&self, what: &str, error: &deltalake_core::DeltaTableError) -> Failure {
        classify_delta(error, &format!("{what} {}", self.location))
    }

    /// The failure of opening the table, told from there being none.
    pub async fn explained(&self, error: &deltalake_core::DeltaTableError) -> Failure {
        match self.versions().await {
            Ok(versions) if versions.newest().is_none() => super::error::not_a_table(&self.location),
            Ok(_) => self.failed("opening", error),
            Err(failure) => failure,
        }
    }
}

/// How a conditional put went.
#[derive(Debug)]
pub(super) enum Put {
    /// The version is ours.
    Made,
    /// Somebody else's is there; or our own, when the store has tried again by itself.
    Taken,
    /// It may be there or not.
    Unknown(Failure),
}

/// A version as the library counts.
pub(super) fn number(version: i64) -> Result<u64, Failure> {
    u64::try_from(version).map_err(|_| Failure::internal("INTERNAL", format!("{version} is no version of a table")))
}

/// A version as we count.
pub(super) fn version(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_version_is_the_first_that_can_be_read() {
        let oldest = |commits: &[i64], checkpoints: &[i64]| {
            let commits = commits.iter().map(|v| (*v, 0)).collect();
            LogVersions { commits, checkpoints: checkpoints.iter().copied().collect() }.oldest()
        };
        assert_eq!(oldest(&[], &[]), None);
        assert_eq!(oldest(&[0, 1, 2], &[]), Some(0));
        assert_eq!(oldest(&[0, 1, 2], &[2]), Some(0));
        assert_eq!(oldest(&[11, 12], &[10]), Some(10));
        assert_eq!(oldest(&[9, 10, 11, 12], &[3, 10, 12]), Some(10));
        assert_eq!(oldest(&[], &[10]), Some(10));
    }
}
