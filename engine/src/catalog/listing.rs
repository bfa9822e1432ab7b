//! Finds the files of a table.
//!
//! Lists what lies at a location: one file, a directory or a glob. Hidden names (beginning with `_` or `.`) are left out:
//! staging, logs and markers live there. Directories that partition filters rule out are not listed. Nothing is read
//! here, and no order of listing is relied on: files come back sorted by path.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use selvedge_model::Failure;

use super::partitions::{PartitionFilter, parse_segment, values_of};
use crate::error::{EngineError, classify_store};
use crate::store::Location;

/// Directories listed at the same time.
const LISTED_AT_ONCE: usize = 16;

/// Where the files of a location are: a place, and a pattern for what is below it.
#[derive(Debug)]
pub(super) struct Root {
    location: Location,
    pattern: Option<glob::Pattern>,
}

impl Root {
    /// Takes a location apart at its first glob character.
    pub(super) fn of(location: &Location) -> Result<Self, Failure> {
        let key = location.path().as_ref();
        let Some(at) = key.find(['*', '?', '[']) else {
            return Ok(Self { location: location.clone(), pattern: None });
        };
        let (base, pattern) = match key[..at].rfind('/') {
            Some(slash) => (&key[..slash], &key[slash + 1..]),
            None => ("", key),
        };
        let bad = |why: String| Failure::user("INVALID_LOCATION", format!("{location} is not a pattern: {why}"));
        let pattern = glob::Pattern::new(pattern).map_err(|e| bad(e.to_string()))?;
        let base = Path::parse(base).map_err(|e| bad(e.to_string()))?;
        Ok(Self { location: location.with_path(base).as_directory(), pattern: Some(pattern) })
    }

    /// The directories and the name of a file below the root.
    pub(super) fn relative<'a>(&self, file: &'a Path) -> &'a str {
        let root = self.location.path().as_ref();
        file.as_ref().strip_prefix(root).unwrap_or(file.as_ref()).trim_start_matches('/')
    }

    /// The directories of a file below the root.
    pub(super) fn directories<'a>(&self, file: &'a Path) -> impl Iterator<Item = &'a str> {
        let relative = self.relative(file);
        relative.rsplit_once('/').map_or("", |(dirs, _)| dirs).split('/').filter(|s| !s.is_empty())
    }

    /// Every visible file at the root.
    ///
    /// # Errors
    /// What the store answers; an empty or missing directory is no error.
    pub(super) async fn list(
        &self,
        store: &Arc<dyn ObjectStore>,
        filter: Option<&PartitionFilter<'_>>,
    ) -> Result<Vec<ObjectMeta>, EngineError> {
        if let Some(file) = self.single(store).await? {
            return Ok(vec![file]);
        }
        if matches!(self.location.scheme(), "http" | "https") {
            let failure = Failure::user("FILE_NOT_FOUND", format!("{} does not exist", self.location));
            return Err(failure.with_hint("Over http only single files can be read, not directories or globs").into());
        }
        let roots = match filter {
            Some(filter) if self.pattern.is_none() => self.wanted_directories(store, filter).await?,
            _ => vec![self.location.path().clone()],
        };
        let found: Vec<Vec<ObjectMeta>> = stream::iter(roots)
            .map(|dir| {
                let store = Arc::clone(store);
                async move {
                    let files: Vec<ObjectMeta> = store.list(Some(&dir)).try_collect().await?;
                    Ok::<_, object_store::Error>(files)
                }
            })
            .buffer_unordered(LISTED_AT_ONCE)
            .try_collect()
            .await
            .map_err(|e| self.failed(&e))?;
        let mut files: Vec<ObjectMeta> = found.into_iter().flatten().filter(|f| self.is_wanted(f)).collect();
        files.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(files)
    }

    /// The file, when the location is one and not a directory.
    async fn single(&self, store: &Arc<dyn ObjectStore>) -> Result<Option<ObjectMeta>, EngineError> {
        if self.pattern.is_some() || self.location.is_directory_hint() {
            return Ok(None);
        }
        match store.head(self.location.path()).await {
            Ok(file) => Ok(Some(file)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.failed(&e)),
        }
    }

    /// Walks down partition directories as long as a filter can rule some out.
    async fn wanted_directories(
        &self,
        store: &Arc<dyn ObjectStore>,
        filter: &PartitionFilter<'_>,
    ) -> Result<Vec<Path>, EngineError> {
        let mut wanted = vec![self.location.path().clone()];
        let deepest = (1..=filter.fields.len()).rev().find(|d| filter.decides_at(*d)).unwrap_or(0);
        for _ in 0..deepest {
            let below: Vec<Vec<Path>> = stream::iter(wanted)
                .map(|dir| {
                    let store = Arc::clone(store);
                    async move { store.list_with_delimiter(Some(&dir)).await.map(|found| found.common_prefixes) }
                })
                .buffer_unordered(LISTED_AT_ONCE)
                .try_collect()
                .await
                .map_err(|e| self.failed(&e))?;
            wanted = Vec::new();
            for dir in below.into_iter().flatten() {
                if self.may_hold_wanted(&dir, filter)? {
                    wanted.push(dir);
                }
            }
        }
        Ok(wanted)
    }

    fn may_hold_wanted(&self, dir: &Path, filter: &PartitionFilter<'_>) -> Result<bool, EngineError> {
        let relative = self.relative(dir);
        if relative.split('/').any(is_hidden) {
            return Ok(false);
        }
        let segments: Vec<&str> = relative.split('/').filter(|s| parse_segment(s).is_some()).collect();
        let depth = segments.len().min(filter.fields.len());
        let values: Vec<ScalarValue> = values_of(segments.into_iter(), &filter.fields[..depth], dir.as_ref())?;
        Ok(filter.keeps(&values)?)
    }

    /// Visible, matched, and not the empty object that stands for a directory. An empty Parquet file is kept: it is torn.
    fn is_wanted(&self, file: &ObjectMeta) -> bool {
        let relative = self.relative(&file.location);
        if relative.is_empty() || relative.split('/').any(is_hidden) {
            return false;
        }
        if file.size == 0 && !relative.ends_with(".parquet") {
            return false;
        }
        self.pattern.as_ref().is_none_or(|p| matches_with_ancestors(p, relative))
    }

    fn failed(&self, error: &object_store::Error) -> EngineError {
        classify_store(error, &format!("listing {}", self.location)).into()
    }
}

/// Names that are not data. `_c=1` is: a partition column may begin with an underscore.
pub(crate) fn is_hidden(segment: &str) -> bool {
    segment.starts_with('.') || (segment.starts_with('_') && !segment.contains('='))
}

/// A pattern that matches a directory stands for all below it.
fn matches_with_ancestors(pattern: &glob::Pattern, relative: &str) -> bool {
    let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::default() };
    let ends = relative.match_indices('/').map(|(i, _)| i).chain(std::iter::once(relative.len()));
    ends.into_iter().any(|end| pattern.matches_with(&relative[..end], options))
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    async fn listed(location: &str, keys: &[&str]) -> Vec<String> {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for key in keys {
            store.put(&Path::from(*key), "x".into()).await.unwrap();
        }
        let root = Root::of(&Location::parse(location).unwrap()).unwrap();
        let files = root.list(&store, None).await.unwrap();
        files.iter().map(|f| f.location.to_string()).collect()
    }

    #[tokio::test]
    async fn hidden_names_are_not_data() {
        let keys = ["t/b", "t/a", "t/_SUCCESS", "t/.staging/x", "t/_delta_log/0.json", "t/_c=1/y", "tt/z"];
        assert_eq!(listed("s3://b/t/", &keys).await, ["t/_c=1/y", "t/a", "t/b"]);
        assert_eq!(listed("s3://b/t", &keys).await.len(), 3);
        assert_eq!(listed("s3://b/t/a", &keys).await, ["t/a"]);
        assert!(listed("s3://b/none/", &keys).await.is_empty());
    }

    #[tokio::test]
    async fn globs_stay_within_a_segment_and_take_whole_directories() {
        let keys = ["t/ds=1/a.csv", "t/ds=2/a.csv", "t/ds=2/b.json", "t/c.csv"];
        assert_eq!(listed("s3://b/t/*.csv", &keys).await, ["t/c.csv"]);
        assert_eq!(listed("s3://b/t/*/*.csv", &keys).await, ["t/ds=1/a.csv", "t/ds=2/a.csv"]);
        assert_eq!(listed("s3://b/t/ds=[2-9]", &keys).await, ["t/ds=2/a.csv", "t/ds=2/b.json"]);
        assert_eq!(listed("s3://b/t/**/*.csv", &keys).await.len(), 3);
    }
}
