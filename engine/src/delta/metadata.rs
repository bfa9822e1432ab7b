//! What a version's metadata and protocol say of a table, and how a change of them is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Fields, Schema, SchemaRef};
use deltalake_core::kernel::{Metadata, Protocol};
use selvedge_model::Failure;
use serde_json::{Map, Value, json};

use super::action::MetadataChange;
use super::error::invalid_log;
use super::protocol::{InUse, TableProtocol};
use super::schema::{check_schema, fields_from_json, metadata_from_json, schema_to_json};
use crate::store::Location;

/// The key of a column's default, in its metadata.
pub const DEFAULT_KEY: &str = "CURRENT_DEFAULT";
/// A column's comment in its metadata.
pub const COMMENT_KEY: &str = "comment";

/// What a version says of its table.
#[derive(Debug, Clone)]
pub(super) struct TableInfo {
    /// The table's own id, which another table at the same place does not have.
    pub table_id: String,
    /// All columns with their metadata, those of the partitions last.
    pub schema: SchemaRef,
    pub partition_by: Vec<String>,
    pub properties: BTreeMap<String, String>,
    pub protocol: TableProtocol,
    /// The metadata as the log has it.
    raw: Value,
}

impl TableInfo {
    pub fn read(location: &Location, metadata: &Metadata, protocol: &Protocol) -> Result<Self, Failure> {
        let malformed = |e: serde_json::Error| invalid_log(format!("the metadata of {location}: {e}"));
        let raw = serde_json::to_value(metadata).map_err(malformed)?;
        let protocol = serde_json::to_value(protocol).and_then(serde_json::from_value).map_err(malformed)?;
        let text = raw.get("schemaString").and_then(Value::as_str).unwrap_or_default();
        let fields = fields_from_json(&serde_json::from_str(text).map_err(malformed)?)?;
        let field_of = |key: &str| raw.get(key).cloned().unwrap_or_default();
        let partition_by: Vec<String> = serde_json::from_value(field_of("partitionColumns")).map_err(malformed)?;
        let properties = serde_json::from_value(field_of("configuration")).map_err(malformed)?;
        let table_id = field_of("id").as_str().unwrap_or_default().to_owned();
        let schema = partitions_last(&fields, &partition_by)
            .ok_or_else(|| invalid_log(format!("a partition column of {location} is none of its columns")))?;
        Ok(Self { table_id, schema, partition_by, properties, protocol, raw })
    }

    /// The partition columns.
    pub fn partition_fields(&self) -> Vec<FieldRef> {
        let data = self.schema.fields().len().saturating_sub(self.partition_by.len());
        self.schema.fields().iter().skip(data).cloned().collect()
    }

    pub fn in_use<'a>(&'a self, location: &'a Location) -> InUse<'a> {
        InUse { location, properties: &self.properties, schema: &self.schema }
    }

    /// The actions that make a change: metadata, and the protocol when it has to rise.
    pub fn changed(&self, change: &MetadataChange) -> Result<Vec<Value>, Failure> {
        let mut raw = self.raw.clone();
        let mut actions = Vec::new();
        let partition_by = change.partition_by.as_ref().unwrap_or(&self.partition_by);
        if let Some(schema) = &change.schema {
            check_schema(schema, partition_by)?;
            raw["schemaString"] = merged(&raw, schema)?.to_string().into();
            if let Some(protocol) = self.protocol.raised_for(schema, has_defaults(schema)) {
                actions.push(json!({ "protocol": protocol }));
            }
        }
        raw["partitionColumns"] = json!(partition_by);
        let mut properties = self.properties.clone();
        for (key, value) in &change.properties {
            match value {
                Some(value) => properties.insert(key.clone(), value.clone()),
                None => properties.remove(key),
            };
        }
        raw["configuration"] = json!(properties);
        actions.push(json!({ "metaData": raw }));
        Ok(actions)
    }
}

/// Whether a column has a default.
pub(super) fn has_defaults(schema: &Schema) -> bool {
    schema.fields().iter().any(|f| f.metadata().contains_key(DEFAULT_KEY))
}

fn partitions_last(fields: &Fields, partition_by: &[String]) -> Option<SchemaRef> {
    let data = fields.iter().filter(|f| !partition_by.contains(f.name())).cloned();
    let find = |name: &String| fields.iter().find(|f| f.name() == name).cloned();
    let partitions = partition_by.iter().map(find).collect::<Option<Vec<_>>>()?;
    Some(Arc::new(Schema::new(data.chain(partitions).collect::<Vec<FieldRef>>())))
}

/// The new schema, with what the log says of columns that stay. Defaults are given anew, or are gone.
fn merged(raw: &Value, schema: &Schema) -> Result<Value, Failure> {
    let old: Value = raw
        .get("schemaString")
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or_else(|| invalid_log("the log's schema is not JSON"))?;
    let old_fields = fields_from_json(&old)?;
    let mut new = schema_to_json(schema)?;
    let positions = schema.fields().iter().map(|f| (f, old_fields.iter().position(|o| o.name() == f.name())));
    for (i, (field, position)) in positions.enumerate() {
        let Some(position) = position else { continue };
        let before = &old["fields"][position];
        let now = &mut new["fields"][i];
        if old_fields[position].data_type() == field.data_type() {
            now["type"] = before["type"].clone();
        }
        let mut metadata: Map<String, Value> = before["metadata"].as_object().cloned().unwrap_or_default();
        metadata.remove(DEFAULT_KEY);
        for (key, value) in now["metadata"].as_object().cloned().unwrap_or_default() {
            // Plans hold texts alone: what is unchanged stays what it was.
            if metadata.get(&key).map(metadata_from_json).as_deref() != value.as_str() {
                metadata.insert(key, value);
            }
        }
        now["metadata"] = Value::Object(metadata);
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, TimeUnit};

    use super::*;

    fn info() -> TableInfo {
        let schema = json!({"type": "struct", "fields": [
            {"name": "ds", "type": "string", "nullable": true, "metadata": {}},
            {"name": "a", "type": {"type": "array", "elementType": "integer", "containsNull": false}, "nullable": true,
             "metadata": {"comment": "kept", "x": {"y": 1}}},
        ]});
        let metadata: Metadata = serde_json::from_value(json!({
            "id": "0-1", "name": null, "description": null, "format": {"provider": "parquet", "options": {}},
            "schemaString": schema.to_string(), "partitionColumns": ["ds"],
            "configuration": {"delta.appendOnly": "false", "p": "1"}, "createdTime": 5,
        }))
        .unwrap();
        let protocol = serde_json::from_value(json!({"minReaderVersion": 1, "minWriterVersion": 2})).unwrap();
        TableInfo::read(&Location::parse("s3://b/t").unwrap(), &metadata, &protocol).unwrap()
    }

    #[test]
    fn partition_columns_come_last() {
        let info = info();
        let names: Vec<_> = info.schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!((names, info.table_id.as_str()), (vec!["a", "ds"], "0-1"));
        assert_eq!(info.partition_fields()[0].name(), "ds");
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let info = info();
        let mut fields: Vec<FieldRef> = info.schema.fields().iter().cloned().collect();
        let added = Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true);
        fields.insert(1, Arc::new(added));
        let change = MetadataChange {
            schema: Some(Arc::new(Schema::new(fields))),
            properties: [("p".to_owned(), None), ("q".to_owned(), Some("2".to_owned()))].into(),
            ..Default::default()
        };
        let actions = info.changed(&change).unwrap();
        assert_eq!(actions[0]["protocol"]["readerFeatures"], json!(["timestampNtz"]));
        let metadata = &actions[1]["metaData"];
        assert_eq!(metadata["configuration"], json!({"delta.appendOnly": "false", "q": "2"}));
        assert_eq!((&metadata["id"], &metadata["createdTime"]), (&json!("0-1"), &json!(5)));
        let schema: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
        let names: Vec<_> = (0..3).map(|i| schema["fields"][i]["name"].clone()).collect();
        assert_eq!(names, ["a", "at", "ds"]);
        assert_eq!(schema["fields"][0]["metadata"], json!({"comment": "kept", "x": {"y": 1}}));
        let properties_only = info.changed(&MetadataChange::default()).unwrap();
        assert_eq!(properties_only.len(), 1);
    }
}
