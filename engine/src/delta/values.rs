//! Partition values: as the log writes them, as columns hold them, and in the one spelling by which they are compared.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, FieldRef};
use chrono::{DateTime, NaiveDate};
use datafusion::common::ScalarValue;
use selvedge_model::Failure;
use selvedge_model::delta::PartitionKey;

/// A file's partition values, typed and in their one spelling, from what the log says.
///
/// # Errors
/// `BAD_PARTITION` when a value is not of its column's type or a column is missing.
pub(super) fn parse_partition(
    values: &HashMap<String, Option<String>>,
    fields: &[FieldRef],
    shown: &str,
) -> Result<(Vec<ScalarValue>, PartitionKey), Failure> {
    let mut typed = Vec::with_capacity(fields.len());
    for field in fields {
        let Some(value) = values.get(field.name()) else {
            let cause = format!("{shown}: the log has no value for partition column {}", field.name());
            return Err(Failure::user("BAD_PARTITION", cause));
        };
        typed.push(parse(value.as_deref(), field, shown)?);
    }
    let key = partition_key(&typed);
    Ok((typed, key))
}

/// A value in its one spelling.
pub(super) fn canonical(value: Option<&str>, field: &Field, shown: &str) -> Result<Option<String>, Failure> {
    Ok(text(&parse(value, field, shown)?))
}

/// Partition values in their one spelling, by which they are written to the log and compared.
pub fn partition_key(values: &[ScalarValue]) -> PartitionKey {
    values.iter().map(text).collect()
}

/// In the log, NULL and the empty string are the same, of whatever type.
fn parse(value: Option<&str>, field: &Field, shown: &str) -> Result<ScalarValue, Failure> {
    let bad = |why: String| {
        let cause =
            format!("{shown}: partition value {value:?} of {} is not a {} ({why})", field.name(), field.data_type());
        Failure::user("BAD_PARTITION", cause)
    };
    match value {
        None | Some("") => ScalarValue::try_from(field.data_type()).map_err(|e| bad(e.strip_backtrace())),
        Some(text) => ScalarValue::try_from_string(text.to_owned(), field.data_type())
            .map_err(|e| bad(e.strip_backtrace()))
            .and_then(|value| match value.is_null() {
                true => Err(bad("it cannot be read".to_owned())),
                false => Ok(value),
            }),
    }
}

/// As the protocol writes values of each type; an instant in UTC, marked so.
fn text(value: &ScalarValue) -> Option<String> {
    let text = match value {
        ScalarValue::Date32(Some(days)) => date(*days)?.format("%Y-%m-%d").to_string(),
        ScalarValue::TimestampMicrosecond(Some(us), zone) => {
            let at = DateTime::from_timestamp_micros(*us)?;
            let format = if zone.is_some() { "%Y-%m-%dT%H:%M:%S%.6fZ" } else { "%Y-%m-%d %H:%M:%S%.6f" };
            at.format(format).to_string()
        }
        value if value.is_null() => return None,
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            text.clone()
        }
        other => match other.cast_to(&DataType::Utf8) {
            Ok(ScalarValue::Utf8(Some(text))) => text,
            _ => other.to_string(),
        },
    };
    (!text.is_empty()).then_some(text)
}

/// A day counted from 1970.
pub(super) fn date(days: i32) -> Option<NaiveDate> {
    DateTime::from_timestamp(i64::from(days) * 86_400, 0).map(|at| at.date_naive())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn equal_values_have_one_spelling() {
        let us = TimeUnit::Microsecond;
        let rows = [
            (DataType::Int32, "007", "7"),
            (DataType::Boolean, "TRUE", "true"),
            (DataType::Utf8, " a/b=ü ", " a/b=ü "),
            (DataType::Date32, "2026-01-31", "2026-01-31"),
            (DataType::Decimal128(10, 2), "1.5", "1.50"),
            (DataType::Timestamp(us, None), "2026-01-31 10:00:00", "2026-01-31 10:00:00.000000"),
            (DataType::Timestamp(us, Some("UTC".into())), "2026-01-31 10:00:00", "2026-01-31T10:00:00.000000Z"),
            (DataType::Timestamp(us, Some("UTC".into())), "2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00.000000Z"),
        ];
        for (data_type, written, expected) in rows {
            let field = Field::new("c", data_type.clone(), true);
            let got = canonical(Some(written), &field, "x").unwrap();
            assert_eq!(got.as_deref(), Some(expected), "{written} as {data_type}");
            assert_eq!(canonical(Some(expected), &field, "x").unwrap(), got, "it is read back as itself");
            assert_eq!(canonical(Some(""), &field, "x").unwrap(), None);
            assert_eq!(canonical(None, &field, "x").unwrap(), None);
        }
        let int = Field::new("c", DataType::Int32, true);
        assert_eq!(canonical(Some("x"), &int, "f").unwrap_err().code, "BAD_PARTITION");
    }

    #[test]
    fn days_before_1970_are_days() {
        assert_eq!(date(-1).unwrap().to_string(), "1969-12-31");
    }
}
