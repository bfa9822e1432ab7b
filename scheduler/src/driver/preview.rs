//! The first rows of a result, kept with the run: bounded in rows and in bytes, encoded as one Arrow IPC stream.

use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use selvedge_model::Failure;

/// Gathers first rows.
#[derive(Debug)]
pub(super) struct Preview {
    max_rows: usize,
    max_bytes: usize,
    rows: usize,
    batches: Vec<RecordBatch>,
}

impl Preview {
    pub(super) fn new(max_rows: usize, max_bytes: usize) -> Self {
        Self { max_rows, max_bytes, rows: 0, batches: Vec::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.max_rows
    }

    pub(super) fn push(&mut self, batch: &RecordBatch) {
        let wanted = (self.max_rows - self.rows).min(batch.num_rows());
        if wanted > 0 {
            self.batches.push(batch.slice(0, wanted));
            self.rows += wanted;
        }
    }

    /// The rows as a whole IPC stream of at most the bound's size; fewer rows when they are wide, none when one is too
    /// wide.
    pub(super) fn finish(self, schema: &SchemaRef) -> Result<Vec<u8>, Failure> {
        let schema = self.batches.first().map_or_else(|| schema.clone(), RecordBatch::schema);
        let mut batches = self.batches;
        let mut rows = self.rows;
        loop {
            let bytes = encode(&schema, &batches).map_err(|e| {
                Failure::internal("INTERNAL", format!("The first rows of the result cannot be encoded: {e}"))
            })?;
            if bytes.len() <= self.max_bytes || rows == 0 {
                // Not even the schema fits: rather no preview than a broken one.
                return Ok(if bytes.len() <= self.max_bytes { bytes } else { Vec::new() });
            }
            rows /= 2;
            batches = first_rows(batches, rows);
        }
    }
}

fn first_rows(batches: Vec<RecordBatch>, rows: usize) -> Vec<RecordBatch> {
    let mut left = rows;
    let mut kept = Vec::new();
    for batch in batches {
        let take = left.min(batch.num_rows());
        if take > 0 {
            kept.push(batch.slice(0, take));
        }
        left -= take;
    }
    kept
}

fn encode(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>, arrow::error::ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.into_inner()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray};
    use arrow::ipc::reader::StreamReader;

    use super::*;

    fn batch(rows: usize, width: usize) -> RecordBatch {
        let column: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(width); rows]));
        RecordBatch::try_from_iter([("c", column)]).unwrap()
    }

    fn rows_in(bytes: &[u8]) -> usize {
        StreamReader::try_new(bytes, None).unwrap().map(|b| b.unwrap().num_rows()).sum()
    }

    #[test]
    fn a_preview_holds_the_first_rows_and_no_more() {
        let mut preview = Preview::new(5, 1 << 20);
        for _ in 0..3 {
            preview.push(&batch(2, 1));
        }
        assert!(preview.is_full());
        assert_eq!(rows_in(&preview.finish(&batch(1, 1).schema()).unwrap()), 5);
    }

    #[test]
    fn wide_rows_shrink_it_to_its_size_and_an_empty_result_keeps_its_schema() {
        let mut preview = Preview::new(100, 8_192);
        preview.push(&batch(100, 1_000));
        let bytes = preview.finish(&batch(1, 1).schema()).unwrap();
        assert!(bytes.len() <= 8_192 && rows_in(&bytes) >= 3, "{} bytes", bytes.len());
        let empty = Preview::new(100, 8_192).finish(&batch(1, 1).schema()).unwrap();
        assert_eq!(StreamReader::try_new(empty.as_slice(), None).unwrap().schema().field(0).name(), "c");
    }
}
