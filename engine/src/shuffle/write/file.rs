//! One task's data file under way: a header, then runs. What it holds is described by `../index.rs`.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::super::index::{Piece, PieceIndex};
use super::super::paths::sort_index;

/// An open data file; all inputs of a task append to it.
#[derive(Debug)]
pub(super) struct RunFile {
    path: PathBuf,
    file: File,
    at: u64,
    partitions: usize,
    header_end: u64,
    /// Each run and the input it came from.
    runs: Vec<(usize, Vec<Piece>)>,
}

impl RunFile {
    /// Begins the file with `header`, a stream that holds the schema and no rows.
    pub(super) fn create(path: &Path, header: &[u8], partitions: usize) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = File::create(path)?;
        file.write_all(header)?;
        let at = header.len() as u64;
        Ok(Self { path: path.to_owned(), file, at, partitions, header_end: at, runs: Vec::new() })
    }

    /// Appends a run: what each partition got from `input` since its last run. Runs of one input come in order.
    pub(super) fn append(&mut self, input: usize, pieces: &[Vec<u8>]) -> io::Result<()> {
        let mut run = Vec::with_capacity(pieces.len());
        for piece in pieces {
            self.file.write_all(piece)?;
            let start = self.at;
            self.at += piece.len() as u64;
            run.push(start..self.at);
        }
        self.runs.push((input, run));
        Ok(())
    }

    /// Writes the index beside the file.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        // A partition is read input by input: the streams of two inputs must not be mixed.
        self.runs.sort_by_key(|(input, _)| *input);
        let mut index = PieceIndex::new(self.partitions, self.header_end);
        for (_, run) in self.runs.drain(..) {
            index.push(run);
        }
        std::fs::write(sort_index(&self.path.to_string_lossy()), index.encode())
    }
}
