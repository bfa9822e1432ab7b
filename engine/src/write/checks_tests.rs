//! Batches go in, counts, samples and what is left come out.

use arrow::array::{Date32Array, Float64Array, Int64Array, StringArray, TimestampSecondArray};
use arrow::datatypes::{Field, Int32Type, Int64Type};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{binary, col, lit};

use super::*;
use crate::plan::WriteFormat;
use crate::store::Location;

fn spec(data_columns: usize, required: &[&str]) -> SinkSpec {
    SinkSpec {
        location: Location::parse("/t/").unwrap(),
        partition_by: vec![],
        data_columns,
        required: required.iter().map(|name| (*name).to_owned()).collect(),
        job_id: "r-s1-a1".into(),
        target_file_bytes: 1,
        compression: "zstd(3)".into(),
        single_file: None,
        format: WriteFormat::Parquet,
        with_stats: false,
        directory: String::new(),
    }
}

fn batch(values: &[Option<i64>]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..values.len() as i64));
    let values: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("a", values, true)]).unwrap()
}

/// `a > least`
fn above(index: usize, least: i64, drops: bool) -> RowCheck {
    let schema = batch(&[]).schema();
    let condition = binary(col("a", &schema).unwrap(), Operator::Gt, lit(least), &schema).unwrap();
    RowCheck { index, drops, kept_as: None, condition }
}

fn checker(rows: Vec<RowCheck>, required: &[&str]) -> RowChecker {
    let checks = Arc::new(WriteChecks { rows, newest: vec![] });
    RowChecker::new(checks, &spec(2, required), &batch(&[]).schema())
}

fn ids(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn rows_that_are_left_out_are_kept_with_what_they_violate() {
    let kept_as = |name: &str, check: RowCheck| RowCheck { kept_as: Some(name.to_owned()), ..check };
    let checks = vec![kept_as("positive", above(0, 0, true)), above(1, -5, true), kept_as("big", above(2, -7, true))];
    let mut checker = checker(checks, &[]);
    let checked = checker.check(batch(&[Some(7), Some(-6), None, Some(0), Some(-9)])).unwrap();
    assert_eq!(ids(&checked.rows), [0, 2]);
    let rejected = checked.rejected.unwrap();
    assert_eq!(rejected.schema(), rejects::rejected_schema());
    let text = |column: usize| rejected.column(column).as_string::<i32>().iter().flatten().collect::<Vec<_>>();
    assert_eq!(text(0), ["positive", "positive", "positive, big"]);
    assert_eq!(text(1), [r#"{"id":1,"a":-6}"#, r#"{"id":3,"a":0}"#, r#"{"id":4,"a":-9}"#]);
    assert_eq!((text(2), rejected.column(3).as_primitive::<Int32Type>().value(0)), (vec!["r"; 3], 1));
    assert!(checker.check(batch(&[Some(1)])).unwrap().rejected.is_none());
}

#[test]
fn rows_are_left_out_before_the_others_are_counted() {
    let mut checker = checker(vec![above(0, 5, false), above(3, 0, true)], &[]);
    let kept = checker.check(batch(&[Some(7), None, Some(0), Some(3), Some(-1)])).unwrap().rows;
    assert_eq!(ids(&kept), [0, 1, 3], "NULL is not false");
    assert_eq!(checker.check(batch(&[Some(-5)])).unwrap().rows.num_rows(), 0);
    let report = checker.report().unwrap();
    let sample = |id: i64, a: i64| format!("{{\"id\":{id},\"a\":{a}}}");
    let expected = [
        CheckReport { index: 0, violations: 1, samples: vec![sample(3, 3)] },
        CheckReport { index: 3, violations: 3, samples: vec![sample(2, 0), sample(4, -1), sample(0, -5)] },
    ];
    assert_eq!(report.checks, expected);
}

#[test]
fn twenty_rows_are_kept_and_all_are_counted() {
    let mut checker = checker(vec![above(0, 0, false)], &[]);
    for _ in 0..3 {
        assert_eq!(checker.check(batch(&[Some(-1); 15])).unwrap().rows.num_rows(), 15);
    }
    let report = checker.report().unwrap();
    assert_eq!((report.checks[0].violations, report.checks[0].samples.len()), (45, 20));
}

#[test]
fn a_null_where_none_may_be_is_refused_by_the_columns_name() {
    let mut checker = checker(vec![above(0, 0, true)], &["a"]);
    let error = checker.check(batch(&[Some(1), None])).unwrap_err();
    let failure = crate::error::classify(&error);
    assert_eq!(failure.code, "NOT_NULL_VIOLATED");
    assert!(failure.cause.contains("column a ") && failure.cause.contains("{\"id\":1,\"a\":null}"), "{failure}");
    assert_eq!(ids(&checker.check(batch(&[Some(1)])).unwrap().rows), [0]);
}

#[test]
fn the_newest_value_is_found_in_times_of_every_kind() {
    let day = 86_400;
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(2), None, Some(1)]));
    let seconds: ArrayRef = Arc::new(TimestampSecondArray::from(vec![2 * day, 1]).with_timezone("Europe/Berlin"));
    assert_eq!(newest(&dates).unwrap(), Some(2 * day * 1_000_000));
    assert_eq!(newest(&seconds).unwrap(), Some(2 * day * 1_000_000));
    assert_eq!(newest(&dates.slice(1, 1)).unwrap(), None);

    let batch = RecordBatch::try_from_iter_with_nullable([("at", dates, true)]).unwrap();
    let checks = WriteChecks { rows: vec![], newest: vec![NewestOf { index: 4, column: 0 }] };
    let mut checker = RowChecker::new(Arc::new(checks), &spec(1, &[]), &batch.schema());
    checker.check(batch.slice(1, 2)).unwrap();
    checker.check(batch.slice(0, 1)).unwrap();
    let newest = NewestReport { index: 4, newest_us: Some(2 * day * 1_000_000) };
    assert_eq!(checker.report().unwrap().newest, [newest]);
}

#[test]
fn rows_are_shown_as_json_and_cut() {
    let long = "é\"".repeat(300);
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("b", Arc::new(BooleanArray::from(vec![true])), true),
        ("f", Arc::new(Float64Array::from(vec![f64::NAN])), true),
        ("d", Arc::new(Date32Array::from(vec![20_000])), true),
        ("s", Arc::new(StringArray::from(vec![long.as_str()])), true),
        ("chunk", Arc::new(Int64Array::from(vec![0])), true),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let text = row_text(&batch, 4, 0);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["b"], &value["f"], &value["d"]), (&true.into(), &"NaN".into(), &"2024-10-04".into()));
    assert_eq!(value["s"].as_str().unwrap().chars().count(), VALUE_CHARS + 3);
    assert!(value.get("chunk").is_none());

    let wide = (0..100).map(|i| (format!("column {i}"), Arc::new(StringArray::from(vec![long.as_str()])) as ArrayRef));
    let wide = RecordBatch::try_from_iter(wide).unwrap();
    let text = row_text(&wide, 100, 0);
    assert!(text.len() < 2 * ROW_CHARS && text.contains("more columns"), "{text}");
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
}

#[test]
fn without_expectations_there_is_no_report() {
    let mut checker = checker(vec![], &[]);
    assert_eq!(ids(&checker.check(batch(&[Some(1), None])).unwrap().rows), [0, 1]);
    assert!(checker.report().is_none());
    let field = Field::new("a", DataType::Null, true);
    let nulls = Arc::new(arrow::array::NullArray::new(2));
    let nulls = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![nulls]).unwrap();
    let check = RowCheck { index: 0, drops: true, kept_as: None, condition: col("a", &nulls.schema()).unwrap() };
    assert_eq!(violations(&check, &nulls).unwrap().count_set_bits(), 0);
}
