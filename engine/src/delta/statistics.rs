//! What the log says of a file's contents, as planning and pruning take it.
//!
//! Numbers and dates are exact. Texts may be cut short and times rounded by the writer, so they bound what is in the file
//! and are no facts; a bound that might be too narrow is not used at all.

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::snapshot::DeltaFile;

/// Decimals beyond this many digits are not whole in a JSON number, as it is read here.
pub(super) const JSON_DIGITS: u8 = 15;

/// Statistics as the log writes them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LogStats {
    num_records: Option<u64>,
    min_values: Map<String, Value>,
    max_values: Map<String, Value>,
    null_count: Map<String, Value>,
    tight_bounds: Option<bool>,
}

/// What is known of a file's columns.
pub(super) fn file_statistics(file: &DeltaFile, columns: &Schema) -> Statistics {
    let stats: LogStats = file.stats.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let rows = file.rows.or(stats.num_records).and_then(|rows| usize::try_from(rows).ok());
    Statistics {
        num_rows: rows.map_or(Precision::Absent, Precision::Exact),
        total_byte_size: Precision::Inexact(usize::try_from(file.bytes).unwrap_or(usize::MAX)),
        column_statistics: columns.fields().iter().map(|field| column(field, &stats, rows)).collect(),
    }
}

fn column(field: &Field, stats: &LogStats, rows: Option<usize>) -> ColumnStatistics {
    let nulls = stats.null_count.get(field.name()).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let bounded = |values: &Map<String, Value>, is_max| match values.get(field.name()) {
        // A file without a single value has no bounds, whatever is written.
        Some(value) if nulls.is_none() || nulls != rows => bound(value, field.data_type(), is_max),
        _ => None,
    };
    let is_exact = stats.tight_bounds != Some(false) && is_exact(field.data_type());
    let precise = |value: Option<ScalarValue>| match value {
        Some(value) if is_exact => Precision::Exact(value),
        Some(value) => Precision::Inexact(value),
        None => Precision::Absent,
    };
    ColumnStatistics {
        null_count: match nulls {
            Some(nulls) if stats.tight_bounds != Some(false) => Precision::Exact(nulls),
            Some(nulls) => Precision::Inexact(nulls),
            None => Precision::Absent,
        },
        min_value: precise(bounded(&stats.min_values, false)),
        max_value: precise(bounded(&stats.max_values, true)),
        ..ColumnStatistics::new_unknown()
    }
}

fn is_exact(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Date32 | DataType::Decimal128(..))
}

fn bound(value: &Value, data_type: &DataType, is_max: bool) -> Option<ScalarValue> {
    let parsed =
        |text: &str| ScalarValue::try_from_string(text.to_owned(), data_type).ok().filter(|value| !value.is_null());
    match (data_type, value) {
        (DataType::Utf8, Value::String(text)) => Some(ScalarValue::Utf8(Some(text.clone()))),
        (DataType::Date32, Value::String(text)) => parsed(text),
        (DataType::Timestamp(TimeUnit::Microsecond, zone), Value::String(text)) => match parsed(text)? {
            // Writers cut times to milliseconds, also the greatest.
            ScalarValue::TimestampMicrosecond(Some(us), _) => {
                let us = if is_max && us % 1_000 == 0 { us.saturating_add(999) } else { us };
                Some(ScalarValue::TimestampMicrosecond(Some(us), zone.clone()))
            }
            _ => None,
        },
        // Writers leave NaN out of the bounds, and it is greater than every number: the greatest is not known.
        (DataType::Float32 | DataType::Float64, Value::Number(number)) if !is_max => parsed(&number.to_string()),
        (DataType::Decimal128(precision, _), Value::Number(number)) if *precision <= JSON_DIGITS => {
            parsed(&number.to_string())
        }
        (integer, Value::Number(number)) if integer.is_integer() => parsed(&number.as_i64()?.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn known(data_type: DataType, stats: &str) -> ColumnStatistics {
        let file = DeltaFile {
            path: "x".into(),
            bytes: 10,
            modified_ms: 0,
            partition: vec![],
            key: vec![],
            rows: None,
            stats: Some(stats.to_owned()),
        };
        let schema = Schema::new(vec![Field::new("c", data_type, true)]);
        file_statistics(&file, &schema).column_statistics.remove(0)
    }

    fn bounds(data_type: DataType, min: &str, max: &str) -> (Precision<ScalarValue>, Precision<ScalarValue>) {
        let stats = format!(r#"{{"numRecords":5,"minValues":{{"c":{min}}},"maxValues":{{"c":{max}}}}}"#);
        let known = known(data_type, &stats);
        (known.min_value, known.max_value)
    }

    #[test]
    fn bounds_are_read_by_type() {
        use Precision::{Absent, Exact, Inexact};
        let int = |v| ScalarValue::Int64(Some(v));
        let text = |v: &str| ScalarValue::Utf8(Some(v.to_owned()));
        let us = |v| ScalarValue::TimestampMicrosecond(Some(v), Some(Arc::from("UTC")));
        let big = "9007199254740993";
        assert_eq!(bounds(DataType::Int64, "-1", big), (Exact(int(-1)), Exact(int(9_007_199_254_740_993))));
        assert_eq!(bounds(DataType::Utf8, "\"a\"", "\"b\""), (Inexact(text("a")), Inexact(text("b"))));
        let date = |v| Exact(ScalarValue::Date32(Some(v)));
        assert_eq!(bounds(DataType::Date32, "\"1970-01-02\"", "\"1970-01-03\""), (date(1), date(2)));
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let got = bounds(zoned.clone(), "\"1970-01-01T00:00:00.001Z\"", "\"1970-01-01T00:00:00.002Z\"");
        assert_eq!(got, (Inexact(us(1_000)), Inexact(us(2_999))));
        let got = bounds(zoned, "\"1970-01-01T01:00:00.000001+01:00\"", "\"1970-01-01T00:00:00.000002Z\"");
        assert_eq!(got, (Inexact(us(1)), Inexact(us(2))));
        let decimal = |v| Exact(ScalarValue::Decimal128(Some(v), 10, 2));
        assert_eq!(bounds(DataType::Decimal128(10, 2), "1.5", "12345678.91"), (decimal(150), decimal(1_234_567_891)));
        assert_eq!(bounds(DataType::Decimal128(30, 2), "1.5", "2.5"), (Absent, Absent));
        assert_eq!(bounds(DataType::Int32, "\"x\"", "99999999999"), (Absent, Absent));
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let nulls = known(DataType::Int64, r#"{"numRecords":5,"nullCount":{"c":5},"minValues":{"c":0}}"#);
        assert_eq!((nulls.null_count, nulls.min_value), (Precision::Exact(5), Precision::Absent));
        let loose = r#"{"numRecords":5,"nullCount":{"c":1},"minValues":{"c":0},"tightBounds":false}"#;
        let loose = known(DataType::Int64, loose);
        assert_eq!(loose.min_value, Precision::Inexact(ScalarValue::Int64(Some(0))));
        assert_eq!(known(DataType::Int64, "no json"), ColumnStatistics::new_unknown());
    }
}
