//! TPC-H tables as Parquet, one directory each, written the way other engines write them.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tpchgen::generators::{CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator};
use tpchgen_arrow::{CustomerArrow, LineItemArrow, NationArrow, OrderArrow, RecordBatchIterator};

use crate::error::CliError;

const ROWS_PER_GROUP: usize = 256 * 1024;

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub rows: u64,
    pub bytes: u64,
}

/// Makes the rows of one table when its turn comes.
type Generator = Box<dyn FnOnce() -> Box<dyn RecordBatchIterator> + Send>;

/// Writes `customer`, `orders`, `lineitem` and `nation` below `dir`, side by side.
pub(super) async fn generate(dir: &Path, scale: f64) -> Result<Vec<Written>, CliError> {
    let tables: [(&str, Generator); 4] = [
        ("lineitem", Box::new(move || Box::new(LineItemArrow::new(LineItemGenerator::new(scale, 1, 1))))),
        ("orders", Box::new(move || Box::new(OrderArrow::new(OrderGenerator::new(scale, 1, 1))))),
        ("customer", Box::new(move || Box::new(CustomerArrow::new(CustomerGenerator::new(scale, 1, 1))))),
        ("nation", Box::new(move || Box::new(NationArrow::new(NationGenerator::new(scale, 1, 1))))),
    ];
    let mut writing = Vec::new();
    for (name, rows) in tables {
        let path = dir.join(name);
        writing.push(tokio::task::spawn_blocking(move || write(path, rows())));
    }
    let mut written = Vec::new();
    for table in writing {
        let result = table.await.map_err(|e| CliError::local("generating sample data ended abruptly", &e))?;
        written.push(result.map_err(|e| CliError::local("cannot write sample data", e.as_ref()))?);
    }
    Ok(written)
}

fn write(
    dir: PathBuf,
    batches: Box<dyn RecordBatchIterator>,
) -> Result<Written, Box<dyn std::error::Error + Send + Sync>> {
    std::fs::create_dir_all(&dir)?;
    let path = dir.join("part-0.parquet");
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .build();
    // Without the Arrow schema beside it, so that strings are plain strings to every reader.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(File::create(&path)?, batches.schema().clone(), options)?;
    let mut rows = 0;
    for batch in batches {
        rows += batch.num_rows() as u64;
        writer.write(&batch)?;
    }
    writer.close()?;
    Ok(Written { rows, bytes: std::fs::metadata(&path)?.len() })
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    #[tokio::test]
    async fn the_tables_hold_what_the_benchmark_says() {
        let dir = tempfile::tempdir().unwrap();
        let written = generate(dir.path(), 0.001).await.unwrap();
        assert_eq!(written[1].rows, 1_500);
        assert_eq!(written[3].rows, 25);
        let file = File::open(dir.path().join("orders/part-0.parquet")).unwrap();
        let schema = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().schema().clone();
        let status = schema.field_with_name("o_orderstatus").unwrap();
        assert_eq!(status.data_type(), &arrow::datatypes::DataType::Utf8);
    }
}
