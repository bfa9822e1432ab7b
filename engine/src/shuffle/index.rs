//! Where each partition lies in a sort shuffle's data file.
//!
//! One file serves as many readers as there are partitions, so its index is kept once read: the next partition then costs
//! one request instead of two. Indexes never change; only their number is bounded. Used by `block.rs`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use selvedge_model::words::counted;

use super::error::ShuffleError;
use super::fetch::Fetch;

/// Offsets kept in all: 8 MiB.
const MAX_OFFSETS: usize = 1024 * 1024;

/// The offsets of one data file: entry `k` is where partition `k` begins, the last one the file's length.
#[derive(Debug)]
pub(super) struct SortIndex {
    offsets: Vec<u64>,
}

impl SortIndex {
    fn parse(bytes: &[u8], path: &str) -> Result<Self, ShuffleError> {
        let damaged = |cause: &str| ShuffleError::Damaged { path: path.to_owned(), cause: cause.to_owned() };
        let (entries, rest) = bytes.as_chunks::<8>();
        if entries.len() < 2 || !rest.is_empty() {
            return Err(damaged("an index of its length is not possible"));
        }
        let offsets: Vec<u64> = entries.iter().map(|entry| u64::from_le_bytes(*entry)).collect();
        if !offsets.is_sorted() || offsets.last().is_some_and(|end| *end > i64::MAX as u64) {
            return Err(damaged("its offsets do not ascend"));
        }
        Ok(Self { offsets })
    }

    /// The bytes of one partition.
    pub(super) fn range(&self, partition: usize, path: &str) -> Result<Range<u64>, ShuffleError> {
        match self.offsets.get(partition..partition + 2) {
            Some([start, end]) => Ok(*start..*end),
            _ => Err(ShuffleError::Damaged {
                path: path.to_owned(),
                cause: format!(
                    "it has {}, and number {partition} is wanted",
                    counted(self.offsets.len() - 1, "partition")
                ),
            }),
        }
    }

    /// The bytes of the leading stream that holds the schema and no rows.
    pub(super) fn header(&self) -> Range<u64> {
        0..self.offsets.first().copied().unwrap_or(0)
    }
}

/// Indexes read so far, by path.
#[derive(Debug, Default)]
pub(super) struct IndexCache {
    kept: Mutex<(usize, HashMap<String, Arc<SortIndex>>)>,
}

impl IndexCache {
    /// The index that `fetch` brings, unless it is already here.
    pub(super) async fn get(&self, fetch: Fetch) -> Result<Arc<SortIndex>, ShuffleError> {
        let path = fetch.path().to_owned();
        if let Some(index) = self.kept.lock().1.get(&path) {
            return Ok(index.clone());
        }
        let index = Arc::new(SortIndex::parse(&fetch.collect().await?, &path)?);
        let mut kept = self.kept.lock();
        if kept.0 + index.offsets.len() > MAX_OFFSETS {
            *kept = Default::default();
        }
        kept.0 += index.offsets.len();
        kept.1.insert(path, index.clone());
        Ok(index)
    }

    /// Forgets the indexes of a job.
    pub(super) fn forget(&self, job_id: &str) {
        let mut kept = self.kept.lock();
        let prefix = format!("{job_id}/");
        kept.1.retain(|path, _| !path.starts_with(&prefix));
        kept.0 = kept.1.values().map(|index| index.offsets.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(offsets: &[u64]) -> Result<SortIndex, ShuffleError> {
        SortIndex::parse(&offsets.iter().flat_map(|o| o.to_le_bytes()).collect::<Vec<_>>(), "p")
    }

    #[test]
    fn partitions_lie_between_their_offsets() {
        let index = parse(&[10, 10, 30]).unwrap();
        assert_eq!(index.header(), 0..10);
        assert_eq!(index.range(0, "p").unwrap(), 10..10);
        assert_eq!(index.range(1, "p").unwrap(), 10..30);
        assert!(index.range(2, "p").is_err());
    }

    #[test]
    fn a_broken_index_is_damaged() {
        for bad in [&[][..], &[1], &[3, 2], &[0, u64::MAX]] {
            assert!(matches!(parse(bad), Err(ShuffleError::Damaged { .. })), "{bad:?}");
        }
    }
}
