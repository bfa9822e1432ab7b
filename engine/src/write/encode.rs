//! Encodes rows as Parquet, CSV or JSON lines, in memory; the bytes are taken away as they become ready.
//!
//! Knows nothing of stores, partitions or tasks. Next: `task.rs`, which moves the bytes.

use std::io;
use std::mem;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::plan::WriteFormat;

/// Encoded size at which a row group ends. Readers split files by row group, and a writer holds one in memory.
const ROW_GROUP_BYTES: u64 = 128 << 20;
/// Level that a bare `zstd` means: the knee of the curve for Parquet pages.
const ZSTD_LEVEL: i32 = 3;

/// An encoder of one file.
pub(crate) struct Encoder {
    kind: Kind,
    out: SharedBuffer,
    taken: u64,
    /// Of a Parquet file that has ended.
    footer: Option<ParquetMetaData>,
}

enum Kind {
    Parquet(Box<ArrowWriter<SharedBuffer>>),
    Csv(Box<arrow::csv::Writer<SharedBuffer>>),
    Json(Box<arrow::json::LineDelimitedWriter<SharedBuffer>>),
}

/// What an encoder wrote and nobody took yet.
#[derive(Clone, Default)]
struct SharedBuffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for SharedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn parquet_error(error: ParquetError) -> DataFusionError {
    DataFusionError::ParquetError(Box::new(error))
}

/// Reads a compression's name: `zstd`, `zstd(9)`, `snappy`, `gzip`, `lz4`, `uncompressed` ...
pub(crate) fn compression(name: &str) -> Result<Compression> {
    match name.trim().to_ascii_lowercase().as_str() {
        "" | "zstd" => Ok(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).map_err(parquet_error)?)),
        "none" => Ok(Compression::UNCOMPRESSED),
        "gzip" => Ok(Compression::GZIP(Default::default())),
        "brotli" => Ok(Compression::BROTLI(Default::default())),
        // The codec that the format calls LZ4 is deprecated, since writers disagreed on it.
        "lz4" => Ok(Compression::LZ4_RAW),
        other => other.parse().map_err(|_| {
            DataFusionError::Configuration(format!(
                "'{name}' is not a compression for Parquet: use zstd, zstd(1..22), snappy, gzip, lz4, brotli or uncompressed"
            ))
        }),
    }
}

fn properties(name: &str, target_file_bytes: u64) -> Result<WriterProperties> {
    let row_group_bytes = usize::try_from(ROW_GROUP_BYTES.min(target_file_bytes.max(1))).unwrap_or(usize::MAX);
    Ok(WriterProperties::builder()
        .set_created_by(concat!("selvedge ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(compression(name)?)
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(Some(row_group_bytes))
        // Page level includes row group level; the page index is written with it.
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_offset_index_disabled(false)
        .set_statistics_truncate_length(Some(64))
        .set_column_index_truncate_length(Some(64))
        .build())
}

impl Encoder {
    /// An encoder for rows of a schema.
    pub(crate) fn new(
        format: WriteFormat,
        schema: SchemaRef,
        compression: &str,
        target_file_bytes: u64,
    ) -> Result<Self> {
        let out = SharedBuffer::default();
        let kind = match format {
            WriteFormat::Parquet => {
                let properties = properties(compression, target_file_bytes)?;
                let writer = ArrowWriter::try_new(out.clone(), schema, Some(properties)).map_err(parquet_error)?;
                Kind::Parquet(Box::new(writer))
            }
            WriteFormat::Csv => {
                // The header is written even when no row follows.
                let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(out.clone());
                writer.write(&RecordBatch::new_empty(schema))?;
                Kind::Csv(Box::new(writer))
            }
            WriteFormat::Json => Kind::Json(Box::new(arrow::json::LineDelimitedWriter::new(out.clone()))),
        };
        Ok(Self { kind, out, taken: 0, footer: None })
    }

    /// Encodes rows.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        match &mut self.kind {
            Kind::Parquet(writer) => writer.write(rows).map_err(parquet_error),
            Kind::Csv(writer) => Ok(writer.write(rows)?),
            Kind::Json(writer) => Ok(writer.write(rows)?),
        }
    }

    /// Takes the bytes that are ready.
    pub(crate) fn take(&mut self) -> Bytes {
        let ready = mem::take(&mut *self.out.0.lock());
        self.taken += ready.len() as u64;
        ready.into()
    }

    /// The size that the file would have if it ended here, roughly.
    pub(crate) fn estimated_bytes(&self) -> u64 {
        let open = match &self.kind {
            Kind::Parquet(writer) => writer.in_progress_size(),
            Kind::Csv(_) | Kind::Json(_) => 0,
        };
        self.taken + (self.out.0.lock().len() + open) as u64
    }

    /// What a Parquet file's footer says, once it has ended.
    pub(crate) fn footer(&self) -> Option<&ParquetMetaData> {
        self.footer.as_ref()
    }

    /// The size of the file, once it has ended and all was taken.
    pub(crate) fn bytes(&self) -> u64 {
        self.taken
    }

    /// Memory held.
    pub(crate) fn memory(&self) -> usize {
        let open = match &self.kind {
            Kind::Parquet(writer) => writer.memory_size(),
            Kind::Csv(_) | Kind::Json(_) => 0,
        };
        self.out.0.lock().capacity() + open
    }

    /// Ends the row group before its size asks for it, to give memory back.
    pub(crate) fn end_row_group(&mut self) -> Result<()> {
        match &mut self.kind {
            Kind::Parquet(writer) => writer.flush().map_err(parquet_error),
            Kind::Csv(_) | Kind::Json(_) => Ok(()),
        }
    }

    /// Ends the file; its last bytes are ready then.
    pub(crate) fn finish(&mut self) -> Result<()> {
        match &mut self.kind {
            Kind::Parquet(writer) => {
                self.footer = Some(writer.finish().map_err(parquet_error)?);
                Ok(())
            }
            Kind::Csv(_) => Ok(()),
            Kind::Json(writer) => Ok(writer.finish()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_are_read_as_people_write_them() {
        assert_eq!(compression("zstd").unwrap(), Compression::ZSTD(ZstdLevel::try_new(3).unwrap()));
        assert_eq!(compression("ZSTD(9)").unwrap(), Compression::ZSTD(ZstdLevel::try_new(9).unwrap()));
        assert_eq!(compression("lz4").unwrap(), Compression::LZ4_RAW);
        assert!(compression("zip").unwrap_err().to_string().contains("'zip'"));
    }
}
