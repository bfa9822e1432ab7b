//! What lies below a table, and what its versions say of it. Which of it may be deleted is decided in
//! `selvedge_model::vacuum`; nothing is deleted here.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt};
use selvedge_model::Failure;
use selvedge_model::vacuum::ListedFile;
use selvedge_model::words::counted;

use super::action::AddFile;
use super::history::times;
use super::snapshot::DeltaSnapshot;
use super::version::VersionSpec;
use crate::error::classify_store;
use crate::store::{Location, ObjectStores};

/// Commits whose lines are in memory at once.
const COMMITS_AT_ONCE: usize = 256;
/// Files that are asked for at the same time.
const ASK_AT_ONCE: usize = 16;

/// The files below a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableFiles {
    /// All of them, hidden ones too.
    pub listed: Vec<ListedFile>,
    /// Paths that the newest version names.
    pub live: BTreeSet<String>,
    /// Paths that versions removed, and when the last one did that. Older ones are left out.
    pub removed: BTreeMap<String, i64>,
}

/// Lists the files below a table, and then reads what its versions since a time, in milliseconds since 1970, say of them.
/// In this order: whatever was committed before the log is read is known to be named.
///
/// # Errors
/// `FILES_MISSING` when a live file is not there. As [`DeltaSnapshot::open`], [`DeltaSnapshot::files`] and [`DeltaSnapshot::check_write`]; what the store says.
pub async fn table_files(stores: &ObjectStores, location: &Location, since_ms: i64) -> Result<TableFiles, Failure> {
    let listed = listed(stores, location).await?;
    let snapshot = Box::pin(DeltaSnapshot::open(stores, location, VersionSpec::Latest)).await?;
    snapshot.check_write(false)?;
    let live = snapshot.files().await?.iter().map(|file| file.path.clone()).collect();
    let removed = removed(&snapshot, since_ms).await?;
    let files = TableFiles { listed, live, removed };
    check_listed(stores, location, &files).await?;
    Ok(files)
}

async fn listed(stores: &ObjectStores, location: &Location) -> Result<Vec<ListedFile>, Failure> {
    let root = location.path();
    let found: Vec<_> = stores
        .get(location)?
        .list(Some(root))
        .try_collect()
        .await
        .map_err(|e| classify_store(&e, &format!("listing the files of {location}")))?;
    let relative = |path: &str| match root.as_ref() {
        "" => Some(path.to_owned()),
        root => path.strip_prefix(root)?.strip_prefix('/').map(str::to_owned),
    };
    let file = |meta: object_store::ObjectMeta| {
        let path = relative(meta.location.as_ref())?;
        Some(ListedFile { path, modified_ms: meta.last_modified.timestamp_millis(), bytes: meta.size })
    };
    Ok(found.into_iter().filter_map(file).collect())
}

/// What versions removed since a time. The version that was the newest then is not among them: what it named is live, or
/// was removed by a later one.
async fn removed(snapshot: &DeltaSnapshot, since_ms: i64) -> Result<BTreeMap<String, i64>, Failure> {
    let log = snapshot.log();
    let times = times(&log.versions().await?);
    let recent: Vec<(i64, i64)> = times.into_iter().filter(|(_, at)| *at >= since_ms).collect();
    let mut removed: BTreeMap<String, i64> = BTreeMap::new();
    for some in recent.chunks(COMMITS_AT_ONCE) {
        let at: BTreeMap<i64, i64> = some.iter().copied().collect();
        for (version, lines) in log.commits(at.keys().copied()).await? {
            let gone = lines.iter().filter_map(|line| line.remove.as_ref());
            let time = at.get(&version).copied().unwrap_or(i64::MAX);
            for file in gone {
                let last = removed.entry(file.path()).or_insert(time);
                *last = time.max(*last);
            }
        }
    }
    Ok(removed)
}

/// Proves that files which a table is to name again are still there.
///
/// # Errors
/// `FILES_DELETED`, naming one that is not; what the store says.
pub async fn check_there(stores: &ObjectStores, location: &Location, files: &[AddFile]) -> Result<(), Failure> {
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let gone = missing(stores, location, &paths).await?;
    let Some((first, others)) = gone.split_first() else { return Ok(()) };
    let others = match others.len() {
        0 => String::new(),
        n => format!(" and {}", counted(n, "other")),
    };
    let cause =
        format!("{first}{others} of the table at {location} has been deleted, so that the version cannot be restored");
    Err(Failure::user("FILES_DELETED", cause).with_hint("Restore a version that VACUUM has left: a newer one"))
}

/// Proves that what a version names is what was listed. A log that names something else is not to be trusted with what may be
/// deleted.
async fn check_listed(stores: &ObjectStores, location: &Location, files: &TableFiles) -> Result<(), Failure> {
    let listed: BTreeSet<&str> = files.listed.iter().map(|file| file.path.as_str()).collect();
    // What was committed after the listing is there all the same.
    let unlisted: Vec<&str> = files.live.iter().map(String::as_str).filter(|path| !listed.contains(path)).collect();
    match missing(stores, location, &unlisted).await?.first() {
        None => Ok(()),
        Some(path) => {
            let cause = format!("the log of the table at {location} names {path}, which is not there");
            let hint = "Nothing is deleted. Restore the table to a version whose files are there, and try again";
            Err(Failure::user("FILES_MISSING", cause).with_hint(hint))
        }
    }
}

/// Those of these files that are not there.
async fn missing<'a>(stores: &ObjectStores, location: &Location, paths: &[&'a str]) -> Result<Vec<&'a str>, Failure> {
    let store = stores.get(location)?;
    let asked: Vec<_> = paths.iter().map(|path| is_there(store.as_ref(), location, path)).collect();
    let there: Vec<bool> = stream::iter(asked).buffered(ASK_AT_ONCE).try_collect().await?;
    Ok(paths.iter().zip(there).filter(|(_, there)| !there).map(|(path, _)| *path).collect())
}

async fn is_there(store: &dyn ObjectStore, location: &Location, path: &str) -> Result<bool, Failure> {
    let file = location.join(path);
    if !file.path().as_ref().ends_with(path) {
        // Another spelling of a file's path: a listing does not know it by this one.
        return Ok(false);
    }
    match store.head(file.path()).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(e) => Err(classify_store(&e, &format!("looking for {file}"))),
    }
}
