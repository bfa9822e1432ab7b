//! A table's columns as JSON: names, types, nullability, metadata.
//!
//! Simple types are written as arrow writes them (`Decimal128(15, 2)`), nested ones as objects that hold their fields, since
//! arrow's text leaves out what those carry. The form is ours, so that it outlives the library's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Serialize, Deserialize)]
struct StoredSchema {
    fields: Vec<StoredField>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct StoredField {
    name: String,
    #[serde(rename = "type")]
    data_type: StoredType,
    nullable: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredType {
    Simple(String),
    Nested(Box<StoredNested>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredNested {
    List(StoredField),
    LargeList(StoredField),
    FixedSizeList { size: i32, of: StoredField },
    Struct(Vec<StoredField>),
    Map { entries: StoredField, sorted: bool },
    Dictionary { keys: StoredType, values: StoredType },
}

/// A schema as JSON.
pub(super) fn to_json(schema: &Schema) -> Result<Value, String> {
    let fields = schema.fields().iter().map(|f| stored(f)).collect::<Result<_, _>>()?;
    let metadata = sorted(schema.metadata());
    serde_json::to_value(StoredSchema { fields, metadata }).map_err(|e| e.to_string())
}

/// The inverse of [`to_json`].
pub(super) fn from_json(json: &Value) -> Result<SchemaRef, String> {
    let StoredSchema { fields, metadata } = StoredSchema::deserialize(json).map_err(|e| e.to_string())?;
    let fields = fields.into_iter().map(field).collect::<Result<Fields, _>>()?;
    Ok(Arc::new(Schema::new_with_metadata(fields, metadata.into_iter().collect())))
}

fn sorted(metadata: &HashMap<String, String>) -> BTreeMap<String, String> {
    metadata.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn stored(field: &Field) -> Result<StoredField, String> {
    Ok(StoredField {
        name: field.name().clone(),
        data_type: stored_type(field.data_type())?,
        nullable: field.is_nullable(),
        metadata: sorted(field.metadata()),
    })
}

fn stored_type(data_type: &DataType) -> Result<StoredType, String> {
    let nested = match data_type {
        DataType::List(of) => StoredNested::List(stored(of)?),
        DataType::LargeList(of) => StoredNested::LargeList(stored(of)?),
        DataType::FixedSizeList(of, size) => StoredNested::FixedSizeList { size: *size, of: stored(of)? },
        DataType::Struct(fields) => StoredNested::Struct(fields.iter().map(|f| stored(f)).collect::<Result<_, _>>()?),
        DataType::Map(entries, sorted) => StoredNested::Map { entries: stored(entries)?, sorted: *sorted },
        DataType::Dictionary(keys, values) => {
            StoredNested::Dictionary { keys: stored_type(keys)?, values: stored_type(values)? }
        }
        simple => {
            let text = simple.to_string();
            return match text.parse::<DataType>() {
                Ok(read) if read == *simple => Ok(StoredType::Simple(text)),
                _ => Err(format!("there is no form for columns of type {simple}")),
            };
        }
    };
    Ok(StoredType::Nested(Box::new(nested)))
}

fn field(stored: StoredField) -> Result<FieldRef, String> {
    let field = Field::new(stored.name, data_type(stored.data_type)?, stored.nullable);
    Ok(Arc::new(field.with_metadata(stored.metadata.into_iter().collect())))
}

fn data_type(stored: StoredType) -> Result<DataType, String> {
    let nested = match stored {
        StoredType::Simple(text) => return text.parse::<DataType>().map_err(|e| format!("{text} is not a type: {e}")),
        StoredType::Nested(nested) => *nested,
    };
    Ok(match nested {
        StoredNested::List(of) => DataType::List(field(of)?),
        StoredNested::LargeList(of) => DataType::LargeList(field(of)?),
        StoredNested::FixedSizeList { size, of } => DataType::FixedSizeList(field(of)?, size),
        StoredNested::Struct(fields) => DataType::Struct(fields.into_iter().map(field).collect::<Result<_, _>>()?),
        StoredNested::Map { entries, sorted } => DataType::Map(field(entries)?, sorted),
        StoredNested::Dictionary { keys, values } => {
            DataType::Dictionary(Box::new(data_type(keys)?), Box::new(data_type(values)?))
        }
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{IntervalUnit, TimeUnit};

    use super::*;

    #[test]
    fn whatever_a_table_may_hold_reads_back() {
        use DataType::*;
        let simple = [
            Boolean,
            Int8,
            UInt64,
            Float64,
            Utf8,
            LargeUtf8,
            Binary,
            FixedSizeBinary(16),
            Date32,
            Time64(TimeUnit::Microsecond),
            Timestamp(TimeUnit::Nanosecond, None),
            Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into())),
            Duration(TimeUnit::Second),
            Interval(IntervalUnit::MonthDayNano),
            Decimal128(15, 2),
            Decimal256(40, -3),
        ];
        let note = |field: Field| field.with_metadata(HashMap::from([("comment".to_owned(), "a \"note\"".to_owned())]));
        let item = Arc::new(note(Field::new("element", Int32, false)));
        let pair = Struct(vec![Field::new("key", Utf8, false), Field::new("value", List(item.clone()), true)].into());
        let nested = [
            List(item.clone()),
            LargeList(item.clone()),
            FixedSizeList(item, 3),
            pair.clone(),
            Map(Arc::new(Field::new("entries", pair, false)), true),
            Dictionary(Box::new(Int32), Box::new(Utf8)),
        ];
        let column = |(i, t): (usize, DataType)| note(Field::new(format!("c {i}"), t, i % 2 == 0));
        let fields: Vec<Field> = simple.into_iter().chain(nested).enumerate().map(column).collect();
        let schema = Schema::new_with_metadata(fields, HashMap::from([("k".to_owned(), "v".to_owned())]));
        let json = to_json(&schema).unwrap().to_string();
        assert_eq!(*from_json(&serde_json::from_str(&json).unwrap()).unwrap(), schema, "{json}");
    }

    #[test]
    fn the_form_is_the_one_that_stores_have() {
        let schema = Schema::new(vec![Field::new("a", DataType::Decimal128(9, 2), false)]);
        let json = r#"{"fields":[{"name":"a","nullable":false,"type":"Decimal128(9, 2)"}]}"#;
        assert_eq!(to_json(&schema).unwrap(), serde_json::from_str::<Value>(json).unwrap());
        assert!(from_json(&serde_json::json!({"fields": [{"name": "a", "type": "Int33", "nullable": true}]})).is_err());
    }
}
