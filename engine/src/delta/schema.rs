//! Columns in the log and columns in plans.
//!
//! The log holds a schema as JSON; the translation works on that, so that what is not understood is kept as it is. A type
//! that Delta lacks is refused with the column's name, except where a wider one holds the same values: times become
//! microseconds, dictionaries what they hold.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use selvedge_model::Failure;
use serde_json::{Map, Value, json};

use super::error::invalid_log;

/// The columns with the types that they have once they are in a Delta table.
///
/// # Errors
/// `UNSUPPORTED_TYPE` naming the column.
pub fn delta_types(schema: &Schema) -> Result<SchemaRef, Failure> {
    let translated = fields_from_json(&schema_to_json(schema)?)?;
    let kept = |(new, old): (&FieldRef, &FieldRef)| new.as_ref().clone().with_metadata(old.metadata().clone());
    Ok(Arc::new(Schema::new(translated.iter().zip(schema.fields()).map(kept).collect::<Vec<_>>())))
}

/// Whether a table can have these columns.
///
/// # Errors
/// `UNSUPPORTED_TYPE` naming the column, `INVALID_PARTITION` when one of a nested type is a partition column.
pub fn check_schema(schema: &Schema, partition_by: &[String]) -> Result<(), Failure> {
    schema_to_json(schema)?;
    let nested =
        |f: &&FieldRef| partition_by.contains(f.name()) && (f.data_type().is_nested() || is_binary(f.data_type()));
    match schema.fields().iter().find(nested) {
        None => Ok(()),
        Some(field) => {
            let cause = format!("column {} is {} and cannot be a partition column", field.name(), field.data_type());
            Err(Failure::user("INVALID_PARTITION", cause))
        }
    }
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}

/// The schema as the log writes it.
pub(super) fn schema_to_json(schema: &Schema) -> Result<Value, Failure> {
    struct_to_json(schema.fields(), "")
}

fn struct_to_json(fields: &Fields, within: &str) -> Result<Value, Failure> {
    let fields = fields.iter().map(|field| {
        let path = if within.is_empty() { field.name().clone() } else { format!("{within}.{}", field.name()) };
        let metadata: Map<String, Value> =
            field.metadata().iter().map(|(k, v)| (k.clone(), metadata_to_json(k, v))).collect();
        Ok(json!({
            "name": field.name(),
            "type": type_to_json(field.data_type(), &path)?,
            "nullable": field.is_nullable(),
            "metadata": metadata,
        }))
    });
    Ok(json!({ "type": "struct", "fields": fields.collect::<Result<Vec<Value>, Failure>>()? }))
}

/// Metadata that is not a string is JSON text in plans: see [`metadata_from_json`]. Which that is, the key tells.
fn metadata_to_json(key: &str, value: &str) -> Value {
    let is_json = ["delta.columnMapping.id", "delta.columnMapping.nested.ids"].contains(&key)
        || key.starts_with("delta.identity.");
    let parsed = if is_json { serde_json::from_str(value).ok() } else { None };
    parsed.unwrap_or_else(|| Value::String(value.to_owned()))
}

pub(super) fn metadata_from_json(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn type_to_json(data_type: &DataType, path: &str) -> Result<Value, Failure> {
    let name = match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "binary".to_owned()
        }
        DataType::Int64 => "long".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int16 => "short".to_owned(),
        DataType::Int8 => "byte".to_owned(),
        DataType::Float16 | DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp".to_owned(),
        DataType::Timestamp(_, None) => "timestamp_ntz".to_owned(),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s)
            if *s >= 0 && s.unsigned_abs() <= *p =>
        {
            format!("decimal({p},{s})")
        }
        DataType::Dictionary(_, value) => return type_to_json(value, path),
        DataType::RunEndEncoded(_, value) => return type_to_json(value.data_type(), path),
        DataType::Struct(fields) => return struct_to_json(fields, path),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => return list_to_json(item, path),
        DataType::Map(entries, _) => return map_to_json(entries, path),
        other => return Err(unsupported(other, path)),
    };
    Ok(Value::String(name))
}

fn list_to_json(item: &Field, path: &str) -> Result<Value, Failure> {
    let element = type_to_json(item.data_type(), &format!("{path}.element"))?;
    Ok(json!({ "type": "array", "elementType": element, "containsNull": item.is_nullable() }))
}

fn map_to_json(entries: &Field, path: &str) -> Result<Value, Failure> {
    match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => Ok(json!({
            "type": "map",
            "keyType": type_to_json(fields[0].data_type(), &format!("{path}.key"))?,
            "valueType": type_to_json(fields[1].data_type(), &format!("{path}.value"))?,
            "valueContainsNull": fields[1].is_nullable(),
        })),
        other => Err(unsupported(other, path)),
    }
}

fn unsupported(data_type: &DataType, path: &str) -> Failure {
    let hint = match data_type {
        DataType::UInt8 => "Delta has no unsigned numbers: cast it to SMALLINT",
        DataType::UInt16 => "Delta has no unsigned numbers: cast it to INT",
        DataType::UInt32 => "Delta has no unsigned numbers: cast it to BIGINT",
        DataType::UInt64 => "Delta has no unsigned numbers: cast it to BIGINT, or to DECIMAL(20, 0)",
        DataType::Time32(_) | DataType::Time64(_) => {
            "Delta has no times of day: cast it to STRING, or keep a TIMESTAMP"
        }
        DataType::Duration(_) | DataType::Interval(IntervalUnit::DayTime | IntervalUnit::MonthDayNano) => {
            "Delta has no intervals: store a number of seconds"
        }
        DataType::Interval(IntervalUnit::YearMonth) => "Delta has no intervals: store a number of months",
        DataType::Null => "Cast NULL to the type that the column is to have",
        DataType::Decimal256(..) => "Delta has decimals of up to 38 digits",
        _ => "Cast it to another type",
    };
    Failure::user("UNSUPPORTED_TYPE", format!("column {path}: a Delta table cannot hold {data_type}")).with_hint(hint)
}

/// The columns of a schema as the log writes it.
pub(super) fn fields_from_json(schema: &Value) -> Result<Fields, Failure> {
    let fields = schema.get("fields").and_then(Value::as_array).ok_or_else(|| malformed(schema))?;
    fields.iter().map(field_from_json).collect::<Result<Vec<_>, _>>().map(Fields::from)
}

fn field_from_json(field: &Value) -> Result<Field, Failure> {
    let name = field.get("name").and_then(Value::as_str).ok_or_else(|| malformed(field))?;
    let data_type = type_from_json(field.get("type").unwrap_or(&Value::Null), name)?;
    let nullable = field.get("nullable").and_then(Value::as_bool).unwrap_or(true);
    let metadata: HashMap<String, String> = match field.get("metadata").and_then(Value::as_object) {
        Some(metadata) => metadata.iter().map(|(k, v)| (k.clone(), metadata_from_json(v))).collect(),
        None => HashMap::new(),
    };
    Ok(Field::new(name, data_type, nullable).with_metadata(metadata))
}

fn type_from_json(value: &Value, column: &str) -> Result<DataType, Failure> {
    if let Value::String(name) = value {
        return primitive(name, column);
    }
    let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
    let part = |key: &str| type_from_json(value.get(key).unwrap_or(&Value::Null), column);
    let flag = |key: &str| value.get(key).and_then(Value::as_bool).unwrap_or(true);
    match kind {
        "struct" => Ok(DataType::Struct(fields_from_json(value)?)),
        "array" => {
            let item = Field::new("element", part("elementType")?, flag("containsNull"));
            Ok(DataType::List(Arc::new(item)))
        }
        "map" => {
            let key = Field::new("key", part("keyType")?, false);
            let value = Field::new("value", part("valueType")?, flag("valueContainsNull"));
            let entries = Field::new("key_value", DataType::Struct(vec![key, value].into()), false);
            Ok(DataType::Map(Arc::new(entries), false))
        }
        _ => Err(malformed(value)),
    }
}

fn primitive(name: &str, column: &str) -> Result<DataType, Failure> {
    Ok(match name {
        "string" => DataType::Utf8,
        "binary" => DataType::Binary,
        "long" => DataType::Int64,
        "integer" => DataType::Int32,
        "short" => DataType::Int16,
        "byte" => DataType::Int8,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "timestamp_ntz" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "void" => DataType::Null,
        // As Hive and old Spark wrote it, for (10, 0).
        "decimal" => DataType::Decimal128(10, 0),
        other => return decimal(other).ok_or_else(|| unknown(other, column)),
    })
}

fn decimal(name: &str) -> Option<DataType> {
    let (precision, scale) = name.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    let (precision, scale): (u8, i8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    (precision <= 38).then_some(DataType::Decimal128(precision, scale))
}

fn unknown(name: &str, column: &str) -> Failure {
    Failure::user("UNSUPPORTED_TYPE", format!("column {column} is of Delta's type {name}, which cannot be read here"))
}

fn malformed(value: &Value) -> Failure {
    let text: String = value.to_string().chars().take(200).collect();
    invalid_log(format!("the log's schema is not understood: {text}"))
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
