//! Frames: bytes that say how long they are and what they sum up to.
//!
//! ```text
//! u64 length  u32 CRC-32 of the bytes  the bytes        (little-endian)
//! ```
//!
//! What lay on a disk or crossed a network may have changed. A frame is compared before anything reads it: decoders trust
//! lengths that they find, and a wrong one may take all memory. No frame crosses the end of a piece (`index.rs`).

use bytes::Bytes;

use super::error::ShuffleError;
use super::fetch::Fetch;

const HEAD_BYTES: usize = 12;

/// Begins a frame at the end of `buffer`; returns where.
pub(super) fn begin(buffer: &mut Vec<u8>) -> usize {
    let at = buffer.len();
    buffer.extend([0; HEAD_BYTES]);
    at
}

/// Ends the frame that began at `at`: what was appended since is in it.
pub(super) fn end(buffer: &mut [u8], at: usize) {
    let (head, bytes) = buffer[at..].split_at_mut(HEAD_BYTES);
    let (length, checksum) = head.split_at_mut(8);
    length.copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    checksum.copy_from_slice(&crc32fast::hash(bytes).to_le_bytes());
}

/// Takes the frames out of what a [`Fetch`] brings.
pub(super) struct Frames {
    fetch: Fetch,
    rest: Bytes,
}

impl Frames {
    pub(super) fn new(fetch: Fetch) -> Self {
        Self { fetch, rest: Bytes::new() }
    }

    pub(super) fn path(&self) -> &str {
        self.fetch.path()
    }

    /// The bytes of the next frame; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ShuffleError> {
        let Some(head) = self.take(HEAD_BYTES).await? else { return Ok(None) };
        let Some((length, checksum)) = head.split_first_chunk::<8>() else {
            return Err(self.damaged("its frame ends"));
        };
        let length = u64::from_le_bytes(*length);
        if length > self.fetch.piece_left().saturating_add(self.rest.len() as u64) {
            return Err(self.damaged("a frame is longer than its piece"));
        }
        let bytes = self.take(length as usize).await?.unwrap_or_default();
        if crc32fast::hash(&bytes).to_le_bytes() != *checksum {
            return Err(self.damaged("a checksum is wrong"));
        }
        Ok(Some(bytes))
    }

    /// Exactly `wanted` bytes; none when not even one comes.
    async fn take(&mut self, wanted: usize) -> Result<Option<Bytes>, ShuffleError> {
        if self.rest.is_empty() {
            match self.fetch.next().await? {
                Some(piece) => self.rest = piece,
                None => return Ok(None),
            }
        }
        if self.rest.len() >= wanted {
            return Ok(Some(self.rest.split_to(wanted)));
        }
        let mut taken = Vec::with_capacity(wanted);
        loop {
            let part = self.rest.split_to(self.rest.len().min(wanted - taken.len()));
            taken.extend_from_slice(&part);
            if taken.len() == wanted {
                return Ok(Some(taken.into()));
            }
            match self.fetch.next().await? {
                Some(piece) => self.rest = piece,
                None => return Err(self.damaged("it ends in the middle of a frame")),
            }
        }
    }

    fn damaged(&self, cause: &str) -> ShuffleError {
        ShuffleError::Damaged { path: self.path().to_owned(), cause: cause.to_owned() }
    }
}
