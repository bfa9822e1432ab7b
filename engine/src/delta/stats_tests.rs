//! Statistics of files that are written, and what is read back of them.

use std::sync::Arc;

use arrow::array::{
    BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::*;

fn written(batches: &[RecordBatch]) -> (ParquetMetaData, SchemaRef) {
    let schema = batches[0].schema();
    let properties = WriterProperties::builder().set_statistics_truncate_length(Some(64)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
        // Each its own row group.
        writer.flush().unwrap();
    }
    (writer.close().unwrap(), schema)
}

fn stats(batches: &[RecordBatch]) -> Value {
    let (footer, schema) = written(batches);
    serde_json::from_str(&file_stats(&footer, &schema).unwrap()).unwrap()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

#[test]
fn bounds_of_all_row_groups_together() {
    let part = |i: Vec<Option<i64>>, s: Vec<Option<&str>>, us: Vec<i64>, f: Vec<f64>| {
        let at = TimestampMicrosecondArray::from(us.clone());
        let decimal = Decimal128Array::from_iter_values(us.iter().map(|v| i128::from(*v)));
        batch(vec![
            ("i", Arc::new(Int64Array::from(i))),
            ("s", Arc::new(StringArray::from(s))),
            ("at", Arc::new(at.clone())),
            ("zoned", Arc::new(at.with_timezone("UTC"))),
            ("f", Arc::new(Float64Array::from(f.clone()))),
            ("d", Arc::new(Date32Array::from(vec![-1; us.len()]))),
            ("n", Arc::new(decimal.with_precision_and_scale(10, 2).unwrap())),
            ("b", Arc::new(BooleanArray::from(vec![true; us.len()]))),
        ])
    };
    let got = stats(&[
        part(vec![Some(5), None], vec![Some("b"), Some("a")], vec![1_500, 3_000], vec![1.5, 2.0]),
        part(vec![None, None], vec![None, None], vec![-1, 2_001], vec![f64::NAN, 7.25]),
        part(vec![Some(-7)], vec![Some("zz")], vec![4_001], vec![-0.5]),
    ]);
    assert_eq!(got["numRecords"], 5);
    let column = |name: &str| (got["minValues"][name].clone(), got["maxValues"][name].clone(), &got["nullCount"][name]);
    assert_eq!(column("i"), (json!(-7), json!(5), &json!(3)));
    assert_eq!(column("s"), (json!("a"), json!("zz"), &json!(2)));
    let (from, to) = ("1969-12-31T23:59:59.999", "1970-01-01T00:00:00.005");
    assert_eq!(column("at"), (json!(from), json!(to), &json!(0)));
    assert_eq!(column("zoned"), (json!(format!("{from}Z")), json!(format!("{to}Z")), &json!(0)));
    assert_eq!(column("f"), (json!(-0.5), json!(7.25), &json!(0)));
    assert_eq!(column("d"), (json!("1969-12-31"), json!("1969-12-31"), &json!(0)));
    assert_eq!(column("n"), (json!(-0.01), json!(40.01), &json!(0)));
    assert_eq!(column("b"), (Value::Null, Value::Null, &json!(0)));
}

#[test]
fn long_texts_are_cut_and_still_bound_what_they_stand_for() {
    for text in ["ü".repeat(33), "x".repeat(200), "\u{10FFFF}".repeat(40)] {
        let got = stats(&[batch(vec![("s", Arc::new(StringArray::from(vec![text.as_str()])))])]);
        let (Some(min), Some(max)) = (got["minValues"]["s"].as_str(), got["maxValues"]["s"].as_str()) else {
            // Parquet's own cut has no greater text to offer.
            assert!(text.starts_with('\u{10FFFF}'), "{got}");
            continue;
        };
        assert!(min <= text.as_str() && text.as_str() <= max, "{min} {max}");
        assert!(min.chars().count() <= CHARACTERS && max.chars().count() <= CHARACTERS + 1);
    }
    let short = stats(&[batch(vec![("s", Arc::new(StringArray::from(vec!["x".repeat(32)])))])]);
    assert_eq!(short["maxValues"]["s"], json!("x".repeat(32)));
}

#[test]
fn a_column_of_nulls_and_a_file_without_rows_have_no_bounds() {
    let nulls = stats(&[batch(vec![("i", Arc::new(Int64Array::from(vec![None, None])))])]);
    assert_eq!((&nulls["minValues"], &nulls["nullCount"]["i"]), (&json!({}), &json!(2)));
    let empty = stats(&[batch(vec![("i", Arc::new(Int64Array::from(Vec::<i64>::new())))])]);
    assert_eq!((&empty["numRecords"], &empty["minValues"]), (&json!(0), &json!({})));
}
