//! How rows of the input become rows of files; cuts batches that are sorted by the partition columns into runs.
//!
//! Work is done per run, never per row: boundaries come from vectorised comparison, and a value becomes text once a run.
//! Batches that are not sorted still give right runs, only more of them. Next: `encode.rs`.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, partition};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::Result;

/// A partition's columns and values, as a manifest has them.
pub(crate) type PartitionValues = Vec<(String, Option<String>)>;

/// How rows of the input become rows of files: leading columns are data, then the partition columns, then anything else.
pub(crate) struct RowLayout {
    file_schema: SchemaRef,
    partition_by: Vec<String>,
    partition_types: Vec<DataType>,
    /// Whether some column must change its type on the way.
    casts: bool,
}

impl RowLayout {
    /// The layout of an input with `partition_by` columns after its data columns. `required` columns take no NULL.
    pub(crate) fn new(input: &Schema, data_columns: usize, partition_by: Vec<String>, required: &[String]) -> Self {
        let fields = &input.fields()[..data_columns.min(input.fields().len())];
        let partition_fields = input.fields().iter().skip(data_columns).take(partition_by.len());
        let partition_types = partition_fields.map(|field| field.data_type().clone()).collect();
        let casts = fields.iter().any(|f| stored_type(f.data_type()) != *f.data_type());
        let stored = |field: &Arc<Field>| {
            Field::new(field.name(), stored_type(field.data_type()), !required.contains(field.name()))
        };
        let file_schema = Arc::new(Schema::new(fields.iter().map(stored).collect::<Vec<_>>()));
        Self { file_schema, partition_by, partition_types, casts }
    }

    /// The schema of the files: without the partition columns.
    pub(crate) fn file_schema(&self) -> &SchemaRef {
        &self.file_schema
    }

    /// The runs of a batch, each of rows of one partition.
    pub(crate) fn runs(&self, batch: &RecordBatch) -> Result<Vec<Range<usize>>> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        if self.partition_by.is_empty() {
            let all = 0..batch.num_rows();
            return Ok(Vec::from([all]));
        }
        Ok(partition(self.partition_columns(batch))?.ranges())
    }

    /// The types of the partition columns.
    pub(crate) fn partition_types(&self) -> impl Iterator<Item = &DataType> {
        self.partition_types.iter()
    }

    /// The partition columns of a batch.
    pub(crate) fn partition_columns<'a>(&self, batch: &'a RecordBatch) -> &'a [ArrayRef] {
        let first = self.file_schema.fields().len();
        &batch.columns()[first..first + self.partition_by.len()]
    }

    /// The partition that a row belongs to.
    pub(crate) fn partition_of(&self, batch: &RecordBatch, row: usize) -> Result<PartitionValues> {
        let columns = self.partition_columns(batch);
        self.partition_by.iter().zip(columns).map(|(name, column)| Ok((name.clone(), text(column, row)?))).collect()
    }

    /// The part of a run that goes into a file.
    pub(crate) fn file_rows(&self, batch: &RecordBatch, run: Range<usize>) -> Result<RecordBatch> {
        let stored = |(column, field): (&ArrayRef, &Arc<Field>)| -> Result<ArrayRef> {
            let column = column.slice(run.start, run.len());
            match self.casts && column.data_type() != field.data_type() {
                true => Ok(cast_with_options(&column, field.data_type(), &STRICT)?),
                false => Ok(column),
            }
        };
        let fields = self.file_schema.fields();
        let columns = batch.columns().iter().zip(fields).map(stored).collect::<Result<Vec<_>>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(run.len()));
        Ok(RecordBatch::try_new_with_options(self.file_schema.clone(), columns, &options)?)
    }
}

const STRICT: CastOptions<'static> = CastOptions { safe: false, format_options: FORMAT };
const FORMAT: arrow::util::display::FormatOptions<'static> = arrow::util::display::FormatOptions::new();

/// String views sort badly and are read back as strings: none is written.
fn stored_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// A value as it stands in a path, before it is made safe for one; `None` is NULL.
pub(crate) fn text(column: &ArrayRef, row: usize) -> Result<Option<String>> {
    let one = cast_with_options(&column.slice(row, 1), &DataType::Utf8, &STRICT)?;
    let one = one.as_string::<i32>();
    Ok((!one.is_null(0)).then(|| one.value(0).to_owned()))
}

/// Whether values of a type can name a partition.
pub(crate) fn can_partition(data_type: &DataType) -> bool {
    use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary};
    !data_type.is_nested() && !matches!(data_type, Binary | LargeBinary | BinaryView | FixedSizeBinary(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Date32Array, Int32Array, StringViewArray};

    #[test]
    fn runs_follow_the_partition_columns_and_files_leave_them_out() {
        let schema = Schema::new(vec![
            Field::new("v", DataType::Utf8View, true),
            Field::new("k", DataType::Int32, true),
            Field::new("ds", DataType::Date32, true),
        ]);
        let batch = RecordBatch::try_new(
            Arc::new(schema.clone()),
            vec![
                Arc::new(StringViewArray::from(vec!["a", "b", "c", "d"])),
                Arc::new(Int32Array::from(vec![None, Some(1), Some(1), Some(1)])),
                Arc::new(Date32Array::from(vec![0, 0, 0, 1])),
            ],
        )
        .unwrap();
        let layout = RowLayout::new(&schema, 1, vec!["k".into(), "ds".into()], &[]);
        assert_eq!(layout.runs(&batch).unwrap(), [0..1, 1..3, 3..4]);
        let values = |row| layout.partition_of(&batch, row).unwrap().into_iter().map(|v| v.1).collect::<Vec<_>>();
        assert_eq!(values(0), [None, Some("1970-01-01".into())]);
        assert_eq!(values(3), [Some("1".into()), Some("1970-01-02".into())]);
        let rows = layout.file_rows(&batch, 1..3).unwrap();
        assert_eq!(rows.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(rows.num_columns(), 1);
    }

    #[test]
    fn a_null_in_a_required_column_is_refused() {
        let schema = Schema::new(vec![Field::new("v", DataType::Int32, true)]);
        let batch =
            RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(Int32Array::from(vec![None]))]).unwrap();
        let layout = RowLayout::new(&schema, 1, vec![], &["v".into()]);
        assert!(layout.file_rows(&batch, 0..1).unwrap_err().to_string().contains("'v'"));
    }
}
