//! The bytes of one file's range, or of some pieces of it, from wherever they can be had.
//!
//! A whole file is never empty, and one that comes so counts as not there: "no rows" would be a wrong answer. Whether what
//! comes is whole is seen by its decoder. Files never change once written, so a transfer that breaks goes on at the next byte, from the same place or another.
//! Every place is asked in turn, the whole round a few times with growing pauses; then the block is lost. Decoding:
//! `decode.rs`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt;

use super::error::ShuffleError;
use super::index::Piece;
use super::peer::ByteRange;
use super::source::{Chunks, ReadCounts, Source};

/// How often every place is asked before a block counts as lost.
const ROUNDS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest wait for the next piece of a transfer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A transfer under way.
pub(super) struct Fetch {
    path: String,
    sources: Arc<[Source]>,
    counts: ReadCounts,
    next: u64,
    end: Option<u64>,
    body: Option<Chunks>,
    source: usize,
    round: u32,
    cause: Option<io::Error>,
    /// Every place asked in this round says that it has no such file.
    absent: bool,
    ended: bool,
    /// What follows the range under way.
    pieces: std::vec::IntoIter<Piece>,
}

impl Fetch {
    /// Prepares to read `range` of the file at `path`; nothing is asked yet.
    pub(super) fn new(path: String, sources: Arc<[Source]>, range: ByteRange, counts: ReadCounts) -> Self {
        let ByteRange { start, end } = range;
        let (body, cause, pieces) = Default::default();
        Self {
            path,
            sources,
            counts,
            next: start,
            end,
            body,
            source: 0,
            round: 0,
            cause,
            absent: true,
            ended: false,
            pieces,
        }
    }

    /// Prepares to read pieces one after another.
    pub(super) fn of_pieces(path: String, sources: Arc<[Source]>, pieces: Vec<Piece>, counts: ReadCounts) -> Self {
        let nothing = ByteRange { start: 0, end: Some(0) };
        Self { pieces: pieces.into_iter(), ..Self::new(path, sources, nothing, counts) }
    }

    /// How many bytes of the piece under way are still to come.
    pub(super) fn piece_left(&self) -> u64 {
        self.end.map_or(u64::MAX, |end| end.saturating_sub(self.next))
    }

    /// The file's path, for messages.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The next piece; none at the end of the range.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ShuffleError> {
        loop {
            if self.end.is_some_and(|end| self.next >= end) {
                match self.pieces.next() {
                    Some(Piece { start, end }) => (self.next, self.end, self.body) = (start, Some(end), None),
                    None => self.ended = true,
                }
            }
            if self.ended {
                return Ok(None);
            }
            let step = match self.body.take() {
                Some(body) => self.receive(body).await,
                None => self.request().await,
            };
            match step {
                Ok(Some(piece)) => return Ok(Some(piece)),
                Ok(None) => {}
                Err(cause) => self.turn_to_next(cause).await?,
            }
        }
    }

    /// All the bytes.
    pub(super) async fn collect(mut self) -> Result<Vec<u8>, ShuffleError> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    async fn request(&mut self) -> io::Result<Option<Bytes>> {
        let Some(source) = self.sources.get(self.source) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no place is known to hold it"));
        };
        let range = ByteRange { start: self.next, end: self.end };
        self.body = Some(source.request(range, &self.counts).await?);
        Ok(None)
    }

    async fn receive(&mut self, mut body: Chunks) -> io::Result<Option<Bytes>> {
        let piece = tokio::time::timeout(IDLE_TIMEOUT, body.next())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the transfer stopped"))?;
        match piece.transpose()? {
            Some(piece) => {
                let next = self.next + piece.len() as u64;
                if self.end.is_some_and(|end| next > end) {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes came than were asked for"));
                }
                self.next = next;
                // An empty piece is no progress: a place that gives nothing else is asked no more often than others.
                if !piece.is_empty() {
                    self.round = 0;
                }
                self.counts.bytes.add(piece.len());
                self.body = Some(body);
                Ok((!piece.is_empty()).then_some(piece))
            }
            None if self.end.is_some() => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the transfer ended at byte {}", self.next)))
            }
            // No writer leaves a file without a schema or an index in it: this one was cut to nothing.
            None if self.next == 0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is empty")),
            None => {
                self.ended = true;
                Ok(None)
            }
        }
    }

    /// Moves on to the next place, or after the last one pauses and begins another round.
    async fn turn_to_next(&mut self, cause: io::Error) -> Result<(), ShuffleError> {
        tracing::debug!(path = self.path, source = ?self.sources.get(self.source), %cause, "cannot read a shuffle block");
        self.absent &= cause.kind() == io::ErrorKind::NotFound;
        // That a place never had the file says less than why another one failed.
        let known = self.cause.as_ref().is_some_and(|c| c.kind() != io::ErrorKind::NotFound);
        if !known || cause.kind() != io::ErrorKind::NotFound {
            self.cause = Some(cause);
        }
        self.source += 1;
        if self.source < self.sources.len() {
            return Ok(());
        }
        self.source = 0;
        self.round += 1;
        // Files appear before anybody is told of them: one that is nowhere will not come by waiting.
        if self.round >= ROUNDS || std::mem::replace(&mut self.absent, true) {
            self.ended = true;
            let cause = self.cause.take().unwrap_or_else(|| io::Error::other("unknown"));
            return Err(ShuffleError::Unreadable { path: self.path.clone(), rounds: self.round, cause });
        }
        self.counts.retries.add(1);
        tokio::time::sleep(pause(self.round)).await;
        Ok(())
    }
}

/// The pause before round `round`: 0.1 s, 0.4 s, 1.6 s, each up to a quarter longer so that readers do not march in step.
pub(super) fn pause(round: u32) -> Duration {
    let base = FIRST_PAUSE * 4u32.saturating_pow(round.saturating_sub(1).min(4));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.subsec_nanos());
    base + base / 4 * (now % 1000) / 1000
}
