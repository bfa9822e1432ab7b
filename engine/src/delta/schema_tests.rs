//! Types there and back, and those that are refused.

use super::*;

fn schema(fields: Vec<Field>) -> Schema {
    Schema::new(fields)
}

#[test]
fn what_delta_has_comes_back_as_it_was() {
    let us = TimeUnit::Microsecond;
    let item = |t| Arc::new(Field::new("element", t, true));
    let entries =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int32, true)]);
    let map = DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false);
    let inner = Fields::from(vec![Field::new("x", DataType::Float32, false), Field::new("y", DataType::Date32, true)]);
    let metadata = HashMap::from([
        ("comment".to_owned(), "how many".to_owned()),
        ("CURRENT_DEFAULT".to_owned(), "0".to_owned()),
        ("delta.columnMapping.id".to_owned(), "3".to_owned()),
    ]);
    let before = schema(vec![
        Field::new("a", DataType::Utf8, false).with_metadata(metadata),
        Field::new("b", DataType::Int64, true),
        Field::new("c", DataType::Decimal128(38, 10), true),
        Field::new("d", DataType::Timestamp(us, None), true),
        Field::new("e", DataType::Timestamp(us, Some("UTC".into())), true),
        Field::new("f", DataType::List(item(DataType::Struct(inner))), true),
        Field::new("g", map, true),
        Field::new("h", DataType::Binary, true),
        Field::new("i", DataType::Boolean, true),
        Field::new("j", DataType::Int8, true),
        Field::new("k", DataType::Int16, true),
    ]);
    let json = schema_to_json(&before).unwrap();
    assert_eq!(Schema::new(fields_from_json(&json).unwrap()), before);
    let noted = &json["fields"][0]["metadata"];
    assert_eq!((&noted["CURRENT_DEFAULT"], &noted["delta.columnMapping.id"]), (&json!("0"), &json!(3)));
    assert_eq!(json["fields"][3]["type"], "timestamp_ntz");
}

#[test]
fn other_ways_to_hold_the_same_values_are_translated() {
    let ns = TimeUnit::Nanosecond;
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let rows = [
        (DataType::Utf8View, DataType::Utf8),
        (DataType::LargeBinary, DataType::Binary),
        (dictionary, DataType::Utf8),
        (DataType::Timestamp(ns, None), DataType::Timestamp(TimeUnit::Microsecond, None)),
        (
            DataType::Timestamp(TimeUnit::Second, Some("Europe/Zurich".into())),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ),
        (DataType::Decimal64(10, 2), DataType::Decimal128(10, 2)),
        (DataType::Date64, DataType::Date32),
    ];
    for (given, kept) in rows {
        let got = delta_types(&schema(vec![Field::new("c", given.clone(), false)])).unwrap();
        assert_eq!((got.field(0).data_type(), got.field(0).is_nullable()), (&kept, false), "{given}");
    }
}

#[test]
fn what_delta_lacks_is_refused_by_name() {
    let nested = DataType::Struct(vec![Field::new("n", DataType::UInt32, true)].into());
    let rows = [
        ("c", DataType::UInt64, "unsigned"),
        ("c", DataType::Time64(TimeUnit::Microsecond), "times of day"),
        ("c", DataType::Interval(IntervalUnit::MonthDayNano), "intervals"),
        ("c", DataType::Decimal256(50, 2), "38 digits"),
        ("c", DataType::Null, "Cast NULL"),
        ("c.n", nested.clone(), "unsigned"),
        ("c.element.n", DataType::List(Arc::new(Field::new("item", nested, true))), "unsigned"),
    ];
    for (column, data_type, hint) in rows {
        let failure = check_schema(&schema(vec![Field::new("c", data_type, true)]), &[]).unwrap_err();
        assert_eq!(failure.code, "UNSUPPORTED_TYPE");
        assert!(failure.cause.contains(&format!("column {column}:")), "{}", failure.cause);
        assert!(failure.hint.contains(hint), "{}", failure.hint);
    }
    let binary = schema(vec![Field::new("b", DataType::Binary, true)]);
    assert_eq!(check_schema(&binary, &["b".to_owned()]).unwrap_err().code, "INVALID_PARTITION");
}

#[test]
fn a_type_that_cannot_be_read_is_named() {
    let json = json!({"type": "struct", "fields": [
        {"name": "v", "type": "variant", "nullable": true, "metadata": {}},
    ]});
    let failure = fields_from_json(&json).unwrap_err();
    assert!(failure.cause.contains("column v") && failure.cause.contains("variant"), "{}", failure.cause);
    assert_eq!(fields_from_json(&json!({"type": "struct"})).unwrap_err().code, "INVALID_DELTA_LOG");
}
