//! Every common type in every format, with NULLs.

use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;

use super::*;

fn sample() -> RecordBatch {
    let decimal = Decimal128Array::from(vec![Some(123_456_789_012_345_678_901_234), Some(-5), None])
        .with_precision_and_scale(38, 2)
        .unwrap();
    let at = 1_795_334_400_123_456;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(-1), None]))),
        ("f", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN), None]))),
        ("d", Arc::new(decimal)),
        ("s", Arc::new(StringArray::from(vec![Some("a,\"b\""), Some(""), None]))),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(20_780), Some(-1), None]))),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![Some(at), Some(0), None]))),
        ("tz", Arc::new(TimestampMicrosecondArray::from(vec![Some(at), Some(0), None]).with_timezone("UTC"))),
        ("x", Arc::new(BinaryArray::from(vec![Some(b"\x00\xff".as_slice()), Some(b""), None]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

fn printed(format: Format, batches: &[RecordBatch]) -> String {
    let mut out = Vec::new();
    let mut rows = Rows::new(&mut out, format, batches[0].schema());
    for batch in batches {
        rows.push(batch).unwrap();
    }
    rows.finish().unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn json_keeps_every_digit_and_writes_every_null() {
    let text = printed(Format::Json, &[sample()]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        r#"{"i":9223372036854775807,"f":0.1,"d":1234567890123456789012.34,"s":"a,\"b\"","b":true,"day":"2026-11-23","ts":"2026-11-22T08:00:00.123456","tz":"2026-11-22T08:00:00.123456Z","x":"00ff"}"#
    );
    assert!(lines[1].contains(r#""f":null,"d":-0.05,"s":"""#), "{}", lines[1]);
    assert_eq!(lines[2], r#"{"i":null,"f":null,"d":null,"s":null,"b":null,"day":null,"ts":null,"tz":null,"x":null}"#);
}

#[test]
fn csv_has_one_header_however_many_batches_and_tells_null_from_empty() {
    let text = printed(Format::Csv, &[sample(), sample()]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[0], "i,f,d,s,b,day,ts,tz,x");
    assert_eq!(
        lines[1],
        "9223372036854775807,0.1,1234567890123456789012.34,\"a,\"\"b\"\"\",true,2026-11-23,2026-11-22T08:00:00.123456,\
         2026-11-22T08:00:00.123456Z,00ff"
    );
    assert_eq!(lines[3], ",,,,,,,,");
    assert_ne!(lines[2].split(',').nth(3), Some(""), "an empty string is not NULL: {}", lines[2]);
}

#[test]
fn nulls_without_a_type_of_their_own_are_nulls() {
    let untyped = Arc::new(arrow::array::NullArray::new(1)) as ArrayRef;
    let values = Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef;
    let keys = arrow::array::Int32Array::from(vec![0]);
    let dictionary = Arc::new(arrow::array::DictionaryArray::<Int32Type>::new(keys, values)) as ArrayRef;
    let batch = RecordBatch::try_from_iter_with_nullable([("n", untyped, true), ("d", dictionary, true)]).unwrap();
    assert_eq!(printed(Format::Csv, std::slice::from_ref(&batch)), "n,d\n,\n");
    assert!(printed(Format::Json, std::slice::from_ref(&batch)).starts_with(r#"{"n":null,"#));
    assert_eq!(printed(Format::Table, &[batch]).lines().nth(2).unwrap().matches("NULL").count(), 2);
}

#[test]
fn an_empty_result_still_has_its_header() {
    let empty = RecordBatch::new_empty(sample().schema());
    assert_eq!(printed(Format::Csv, std::slice::from_ref(&empty)), "i,f,d,s,b,day,ts,tz,x\n");
    assert_eq!(printed(Format::Json, std::slice::from_ref(&empty)), "");
    assert!(printed(Format::Table, &[empty]).ends_with("(0 rows)\n"));
}

#[test]
fn a_table_shows_null_and_says_what_it_leaves_out() {
    let text = printed(Format::Table, &[sample()]);
    assert!(text.contains("NULL") && text.ends_with("(3 rows)\n"), "{text}");
    let many = RecordBatch::try_from_iter([(
        "n",
        Arc::new(Int64Array::from_iter_values(0..MAX_TABLE_ROWS as i64 + 5)) as ArrayRef,
    )])
    .unwrap();
    let text = printed(Format::Table, &[many]);
    assert_eq!(text.lines().count(), MAX_TABLE_ROWS + 3);
    assert!(text.contains("(1,005 rows, the first 1000 shown"), "{}", text.lines().last().unwrap());
}

#[test]
fn lists_and_intervals_are_printed_in_every_format() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None]);
    let interval = arrow::array::IntervalMonthDayNanoArray::from(vec![
        Some(arrow::datatypes::IntervalMonthDayNano::new(1, 2, 0)),
        None,
    ]);
    let batch =
        RecordBatch::try_from_iter([("l", Arc::new(list) as ArrayRef), ("v", Arc::new(interval) as ArrayRef)]).unwrap();
    assert!(printed(Format::Json, std::slice::from_ref(&batch)).starts_with(r#"{"l":[1,null],"v":"1 mons 2 days"}"#));
    for format in [Format::Csv, Format::Table] {
        assert!(printed(format, std::slice::from_ref(&batch)).contains("1 mons 2 days"), "{format:?}");
    }
}
