//! What the log is to say of a file: rows, and of its columns the least value, the greatest, and how many are NULL.
//!
//! Taken from the footer that was just written; no row is looked at. What Delta has no bounds for (nested columns,
//! binaries, booleans) goes without.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, Schema};
use chrono::{DateTime, SecondsFormat};
use datafusion::common::ScalarValue;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::ParquetMetaData;
use selvedge_model::Failure;
use serde_json::{Map, Value, json};

use super::statistics::JSON_DIGITS;
use super::values::date;

/// Most columns whose bounds are kept, as in other engines.
const COLUMNS: usize = 32;
/// Most characters of a text's bounds.
const CHARACTERS: usize = 32;
/// The greatest character: what is put behind a text that was cut, so that it is not below what it stands for.
const GREATEST: char = '\u{10FFFF}';

/// The statistics of a Parquet file with these columns, as JSON for its add action.
///
/// # Errors
/// `INTERNAL` when the footer is not of such a file.
pub fn file_stats(footer: &ParquetMetaData, columns: &Schema) -> Result<String, Failure> {
    let rows: i64 = footer.row_groups().iter().map(|group| group.num_rows()).sum();
    let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
    for field in columns.fields().iter().filter(|f| !f.data_type().is_nested()).take(COLUMNS) {
        let known = Bounds::read(footer, columns, field)
            .map_err(|e| Failure::internal("INTERNAL", format!("statistics of column {}: {e}", field.name())))?;
        let keep = |into: &mut Map<String, Value>, value: Option<Value>| {
            if let Some(value) = value {
                into.insert(field.name().clone(), value);
            }
        };
        keep(&mut nulls, known.nulls.map(Value::from));
        // Both or none: readers expect a range.
        if let (Some(min), Some(max)) = (known.min.as_ref().and_then(lower), known.max.as_ref().and_then(upper)) {
            keep(&mut least, Some(min));
            keep(&mut greatest, Some(max));
        }
    }
    let stats = json!({ "numRecords": rows, "minValues": least, "maxValues": greatest, "nullCount": nulls });
    Ok(stats.to_string())
}

/// What all row groups say of a column.
#[derive(Debug, Default)]
struct Bounds {
    min: Option<ScalarValue>,
    max: Option<ScalarValue>,
    nulls: Option<u64>,
}

impl Bounds {
    fn read(footer: &ParquetMetaData, columns: &Schema, field: &Field) -> datafusion::error::Result<Self> {
        let schema = footer.file_metadata().schema_descr();
        let converter =
            StatisticsConverter::try_new(field.name(), columns, schema)?.with_missing_null_counts_as_zero(false);
        let groups = || footer.row_groups().iter();
        let counted = converter.row_group_null_counts(groups())?;
        let rows = groups().map(|g| u64::try_from(g.num_rows()).unwrap_or(0));
        // A row group of NULLs alone has no bounds and needs none.
        let is_empty: Vec<bool> =
            rows.enumerate().map(|(i, rows)| rows == 0 || (counted.is_valid(i) && counted.value(i) == rows)).collect();
        let has_bounds = !matches!(
            field.data_type(),
            DataType::Boolean | DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::Null
        );
        let (min, max) = match has_bounds {
            true => (
                extreme(&converter.row_group_mins(groups())?, &is_empty, Ordering::Less)?,
                extreme(&converter.row_group_maxes(groups())?, &is_empty, Ordering::Greater)?,
            ),
            false => (None, None),
        };
        let nulls = (counted.null_count() == 0).then(|| counted.values().iter().sum());
        Ok(Self { min, max, nulls })
    }
}

/// The least or the greatest of the row groups' values; `None` when one is not known.
fn extreme(values: &ArrayRef, is_empty: &[bool], wanted: Ordering) -> datafusion::error::Result<Option<ScalarValue>> {
    let mut found: Option<ScalarValue> = None;
    for (i, is_empty) in is_empty.iter().enumerate() {
        if *is_empty {
            continue;
        }
        if values.is_null(i) {
            return Ok(None);
        }
        let value = ScalarValue::try_from_array(values, i)?;
        found = match found {
            Some(best) if value.partial_cmp(&best) != Some(wanted) => Some(best),
            _ => Some(value),
        };
    }
    Ok(found)
}

fn lower(value: &ScalarValue) -> Option<Value> {
    match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            Some(text.chars().take(CHARACTERS).collect::<String>().into())
        }
        ScalarValue::TimestampMicrosecond(Some(us), zone) => time(us.div_euclid(1_000), zone.is_some()),
        other => number(other),
    }
}

fn upper(value: &ScalarValue) -> Option<Value> {
    match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            if text.chars().nth(CHARACTERS).is_none() {
                return Some(text.clone().into());
            }
            let cut: String = text.chars().take(CHARACTERS).chain([GREATEST]).collect();
            (cut >= *text).then(|| cut.into())
        }
        // The next millisecond, unless it is one exactly.
        ScalarValue::TimestampMicrosecond(Some(us), zone) => {
            time(us.div_euclid(1_000) + i64::from(us.rem_euclid(1_000) != 0), zone.is_some())
        }
        other => number(other),
    }
}

fn time(ms: i64, is_zoned: bool) -> Option<Value> {
    let text = DateTime::from_timestamp_millis(ms)?.to_rfc3339_opts(SecondsFormat::Millis, true);
    Some(if is_zoned { text } else { text.trim_end_matches('Z').to_owned() }.into())
}

/// Bounds that need no rounding. Numbers that JSON lacks (NaN, infinity) have none.
fn number(value: &ScalarValue) -> Option<Value> {
    match value {
        ScalarValue::Int8(Some(v)) => Some((*v).into()),
        ScalarValue::Int16(Some(v)) => Some((*v).into()),
        ScalarValue::Int32(Some(v)) => Some((*v).into()),
        ScalarValue::Int64(Some(v)) => Some((*v).into()),
        ScalarValue::Float32(Some(v)) => serde_json::from_str(&v.to_string()).ok(),
        ScalarValue::Float64(Some(v)) => serde_json::Number::from_f64(*v).map(Value::Number),
        ScalarValue::Date32(Some(days)) => Some(date(*days)?.format("%Y-%m-%d").to_string().into()),
        ScalarValue::Decimal128(Some(_), precision, _) if *precision <= JSON_DIGITS => {
            match value.cast_to(&DataType::Utf8).ok()? {
                ScalarValue::Utf8(Some(text)) => serde_json::from_str(&text).ok(),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "stats_tests.rs"]
mod tests;
