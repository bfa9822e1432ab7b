//! Where each partition lies in an exchange's data file.
//!
//! A data file begins with a stream that holds the schema and no rows. Runs follow, each with a piece of every partition;
//! the pieces of one partition, in the order of the runs, are one or more IPC streams, in frames (`frames.rs`). The index,
//! little-endian:
//!
//! ```text
//! "SVGIDX01"  u32 partitions  u32 runs  u64 end of the header
//! runs x ( u64 where the run begins, partitions x u64 length )
//! u32 CRC-32 of all before
//! ```
//!
//! One file serves as many readers as there are partitions, so its index is kept once read: the next partition then costs
//! one request instead of two. Indexes never change; only their number is bounded. Written by `write/file.rs`, used by
//! `block.rs`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use selvedge_model::words::counted;

use super::error::ShuffleError;
use super::fetch::Fetch;

const MAGIC: &[u8; 8] = b"SVGIDX01";
const HEAD_BYTES: usize = 24;
const PIECE_BYTES: usize = 8;

/// Pieces kept in all indexes: 16 MiB.
const MAX_PIECES: usize = 1024 * 1024;

/// Where one run's part of one partition lies.
pub(super) type Piece = Range<u64>;

/// The pieces of one data file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PieceIndex {
    partitions: usize,
    header_end: u64,
    /// Run by run, in each a piece for every partition.
    pieces: Vec<Piece>,
}

impl PieceIndex {
    pub(super) fn new(partitions: usize, header_end: u64) -> Self {
        Self { partitions, header_end, pieces: Vec::new() }
    }

    /// Adds a run: a piece for every partition, one behind the other.
    pub(super) fn push(&mut self, run: impl IntoIterator<Item = Piece>) {
        self.pieces.extend(run);
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let runs = self.pieces.chunks(self.partitions.max(1));
        let mut bytes = MAGIC.to_vec();
        bytes.extend((self.partitions as u32).to_le_bytes());
        bytes.extend((runs.len() as u32).to_le_bytes());
        bytes.extend(self.header_end.to_le_bytes());
        for run in runs {
            bytes.extend(run.first().map_or(0, |piece| piece.start).to_le_bytes());
            for piece in run {
                bytes.extend((piece.end - piece.start).to_le_bytes());
            }
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8], path: &str) -> Result<Self, ShuffleError> {
        let damaged = |cause: &str| ShuffleError::Damaged { path: path.to_owned(), cause: cause.to_owned() };
        let (body, checksum) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("its index is too short"))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return Err(damaged("the checksum of its index is wrong"));
        }
        read(body).ok_or_else(|| damaged("its index makes no sense"))
    }

    /// The pieces of one partition that hold bytes, in reading order.
    pub(super) fn pieces(&self, partition: usize, path: &str) -> Result<Vec<Piece>, ShuffleError> {
        if partition >= self.partitions {
            return Err(ShuffleError::Damaged {
                path: path.to_owned(),
                cause: format!("it has {}, and number {partition} is wanted", counted(self.partitions, "partition")),
            });
        }
        let of_partition = self.pieces.iter().skip(partition).step_by(self.partitions);
        Ok(of_partition.filter(|piece| !piece.is_empty()).cloned().collect())
    }

    /// Where the leading stream lies that holds the schema and no rows.
    pub(super) fn header(&self) -> Piece {
        0..self.header_end
    }
}

/// Reads all but the checksum.
fn read(bytes: &[u8]) -> Option<PieceIndex> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let (partitions, runs) = (take_u32(&mut rest)? as usize, take_u32(&mut rest)? as usize);
    let mut index = PieceIndex::new(partitions, take_u64(&mut rest)?);
    let run_bytes = partitions.checked_mul(PIECE_BYTES)?.checked_add(8)?;
    if bytes.len() != run_bytes.checked_mul(runs)?.checked_add(HEAD_BYTES)? {
        return None;
    }
    for _ in 0..runs {
        let mut start = take_u64(&mut rest)?;
        for _ in 0..partitions {
            let end = start.checked_add(take_u64(&mut rest)?)?;
            index.pieces.push(start..end);
            start = end;
        }
    }
    Some(index)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*head))
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*head))
}

/// Indexes read so far, by path.
#[derive(Debug, Default)]
pub(super) struct IndexCache {
    kept: Mutex<(usize, HashMap<String, Arc<PieceIndex>>)>,
}

impl IndexCache {
    /// The index that `fetch` brings, unless it is already here.
    pub(super) async fn get(&self, fetch: Fetch) -> Result<Arc<PieceIndex>, ShuffleError> {
        let path = fetch.path().to_owned();
        if let Some(index) = self.kept.lock().1.get(&path) {
            return Ok(index.clone());
        }
        let index = Arc::new(PieceIndex::parse(&fetch.collect().await?, &path)?);
        let mut kept = self.kept.lock();
        if kept.0 + index.pieces.len() > MAX_PIECES {
            *kept = Default::default();
        }
        kept.0 += index.pieces.len();
        kept.1.insert(path, index.clone());
        Ok(index)
    }

    /// Forgets the indexes of a job.
    pub(super) fn forget(&self, job_id: &str) {
        let mut kept = self.kept.lock();
        let prefix = format!("{job_id}/");
        kept.1.retain(|path, _| !path.starts_with(&prefix));
        kept.0 = kept.1.values().map(|index| index.pieces.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_runs() -> PieceIndex {
        let mut index = PieceIndex::new(3, 10);
        index.push([10..10, 10..30, 30..31]);
        index.push([50..60, 60..60, 60..65]);
        index
    }

    #[test]
    fn a_partition_lies_in_a_piece_of_each_run() {
        let index = PieceIndex::parse(&two_runs().encode(), "p").unwrap();
        assert_eq!(index, two_runs());
        assert_eq!(index.header(), 0..10);
        let pieces = |partition| index.pieces(partition, "p").unwrap();
        assert_eq!(pieces(0), std::slice::from_ref(&(50..60)));
        assert_eq!(pieces(1), std::slice::from_ref(&(10..30)));
        assert_eq!(pieces(2), [30..31, 60..65]);
        assert!(index.pieces(3, "p").is_err());
    }

    #[test]
    fn an_index_with_any_byte_changed_or_missing_is_damaged() {
        let whole = two_runs().encode();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            for bad in [&changed[..], &whole[..at]] {
                assert!(matches!(PieceIndex::parse(bad, "p"), Err(ShuffleError::Damaged { .. })), "{at}");
            }
        }
    }

    #[test]
    fn an_index_that_promises_more_than_it_holds_is_refused() {
        let mut body = MAGIC.to_vec();
        body.extend([u32::MAX.to_le_bytes(), u32::MAX.to_le_bytes()].concat());
        body.extend(0u64.to_le_bytes());
        assert_eq!(read(&body), None);
    }
}
