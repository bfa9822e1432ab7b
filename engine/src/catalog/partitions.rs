//! Hive partitions: column values in directory names.
//!
//! `ds=2026-01-31/region=EU%2FWest/` stands for two columns. Values are percent-encoded where a path could not hold them;
//! SQL NULL has a name of its own. This is the reading side; `selvedge_model::commit::partition_dir` is the writing one,
//! and a test below holds them together.

use datafusion::arrow::array::Array;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use percent_encoding::percent_decode_str;
use selvedge_model::Failure;
use selvedge_model::commit::HIVE_NULL;

/// Column and value of a directory, if it is one of a partition.
pub(crate) fn parse_segment(segment: &str) -> Option<(String, Option<String>)> {
    let (column, value) = segment.split_once('=')?;
    let decode =
        |text: &str| percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), |t| t.into_owned());
    let column = decode(column);
    if column.is_empty() {
        return None;
    }
    Some((column, (value != HIVE_NULL).then(|| decode(value))))
}

/// The values of a file's partition columns, in the columns' order and types.
///
/// # Errors
/// `BAD_PARTITION` when the directories are not those of the columns or a value is not of its column's type.
pub(super) fn values_of<'a>(
    directories: impl Iterator<Item = &'a str>,
    fields: &[FieldRef],
    shown: &str,
) -> Result<Vec<ScalarValue>, Failure> {
    let found: Vec<(String, Option<String>)> = directories.filter_map(parse_segment).collect();
    fields
        .iter()
        .enumerate()
        .map(|(i, field)| match found.get(i) {
            Some((column, value)) if column == field.name() => scalar(value.as_deref(), field, shown),
            _ => Err(bad_layout(fields, shown)),
        })
        .collect()
}

/// One value, of its column's type.
///
/// # Errors
/// `BAD_PARTITION` when it is not one.
pub(crate) fn scalar(value: Option<&str>, field: &Field, shown: &str) -> Result<ScalarValue, Failure> {
    let bad = |e: datafusion::error::DataFusionError| {
        let cause =
            format!("{shown}: partition value {value:?} is not a {} ({})", field.data_type(), e.strip_backtrace());
        Failure::user("BAD_PARTITION", cause)
    };
    match value {
        None => ScalarValue::try_from(field.data_type()).map_err(bad),
        Some(text) => ScalarValue::try_from_string(text.to_owned(), field.data_type()).map_err(bad),
    }
}

fn bad_layout(fields: &[FieldRef], shown: &str) -> Failure {
    let expected: Vec<String> = fields.iter().map(|f| format!("{}=...", f.name())).collect();
    Failure::user("BAD_PARTITION", format!("{shown} is not below the partition directories {}/", expected.join("/")))
        .with_hint("Move it, or give a location that holds only files of this layout")
}

/// Filters on partition columns, to leave out directories and files before they are listed or read.
pub(super) struct PartitionFilter<'a> {
    pub(super) state: &'a dyn Session,
    pub(super) fields: &'a [FieldRef],
    pub(super) filters: &'a [Expr],
}

impl PartitionFilter<'_> {
    /// Whether a filter needs no more than the first `depth` columns, so that looking at that depth saves listing.
    pub(super) fn decides_at(&self, depth: usize) -> bool {
        self.filters.iter().any(|f| self.applies(f, depth) && (depth == 1 || !self.applies(f, depth - 1)))
    }

    fn applies(&self, filter: &Expr, depth: usize) -> bool {
        let names: Vec<&str> = self.fields.iter().take(depth).map(|f| f.name().as_str()).collect();
        expr_applicable_for_cols(&names, filter)
    }

    /// Whether the first partition values may belong to a wanted file. NULL is not wanted, as in WHERE.
    pub(super) fn keeps(&self, values: &[ScalarValue]) -> Result<bool> {
        if values.is_empty() {
            return Ok(true);
        }
        let known: Vec<FieldRef> = self.fields.iter().take(values.len()).cloned().collect();
        let arrays = values.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new(Schema::new(known).into(), arrays)?;
        let schema = DFSchema::try_from(batch.schema())?;
        for filter in self.filters.iter().filter(|f| self.applies(f, values.len())) {
            let expr = self.state.create_physical_expr(filter.clone(), &schema)?;
            let answer = expr.evaluate(&batch)?.into_array(1)?;
            let answer = answer.as_boolean();
            if answer.is_null(0) || !answer.value(0) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::datatypes::DataType;
    use selvedge_model::commit::partition_dir;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for value in [Some("2026-01-31 10:00"), Some("a/b=c%d"), Some("Zürich"), None] {
            let segment = partition_dir(&[("d:s".to_owned(), value.map(str::to_owned))]);
            assert_eq!(parse_segment(&segment), Some(("d:s".to_owned(), value.map(str::to_owned))), "{segment}");
        }
        assert_eq!(parse_segment("no partition"), None);
    }

    #[test]
    fn values_have_the_types_of_their_columns() {
        let fields: Vec<FieldRef> = vec![
            Arc::new(Field::new("year", DataType::Int32, true)),
            Arc::new(Field::new("region", DataType::Utf8, true)),
        ];
        let get = |dirs: &[&str]| values_of(dirs.iter().copied(), &fields, "x");
        let null = format!("region={HIVE_NULL}");
        assert_eq!(get(&["year=07", &null]).unwrap(), [ScalarValue::Int32(Some(7)), ScalarValue::Utf8(None)]);
        for wrong in [&["year=x", "region=a"][..], &["region=a", "year=7"], &["year=7"], &[]] {
            assert_eq!(get(wrong).unwrap_err().code, "BAD_PARTITION", "{wrong:?}");
        }
    }
}
