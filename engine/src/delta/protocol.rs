//! What a table asks of those who read and write it, and what we can do.
//!
//! Features that are merely listed do no harm; those that are in use and that we lack are refused, by name, before a row
//! is read or written.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Schema};
use selvedge_model::Failure;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::store::Location;

/// Features of the reading side that make no difference to us, unless a property or a file uses them.
const READS: [&str; 6] =
    ["columnMapping", "deletionVectors", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "domainMetadata"];

/// Features of the writing side that we keep, or that bind nobody unless a property or a column uses them.
const WRITES: [&str; 15] = [
    "allowColumnDefaults",
    "appendOnly",
    "changeDataFeed",
    "checkConstraints",
    "columnMapping",
    "deletionVectors",
    "domainMetadata",
    "generatedColumns",
    "identityColumns",
    "inCommitTimestamp",
    "invariants",
    "rowTracking",
    "timestampNtz",
    "v2Checkpoint",
    "vacuumProtocolCheck",
];

/// Writer versions below 7 imply their features, and 7 lists them.
const FEATURES_WRITER: i32 = 7;
const FEATURES_READER: i32 = 3;

/// A table's protocol.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TableProtocol {
    min_reader_version: i32,
    min_writer_version: i32,
    #[serde(default)]
    reader_features: Option<BTreeSet<String>>,
    #[serde(default)]
    writer_features: Option<BTreeSet<String>>,
}

/// What a table uses, as far as its metadata tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct InUse<'a> {
    pub location: &'a Location,
    pub properties: &'a BTreeMap<String, String>,
    pub schema: &'a Schema,
}

impl InUse<'_> {
    fn is_set(&self, property: &str) -> bool {
        self.properties.get(property).is_some_and(|v| v.eq_ignore_ascii_case("true"))
    }

    fn column_with(&self, metadata: &str) -> Option<&str> {
        let has = |f: &&std::sync::Arc<arrow::datatypes::Field>| f.metadata().keys().any(|k| k.starts_with(metadata));
        self.schema.fields().iter().find(has).map(|f| f.name().as_str())
    }
}

impl TableProtocol {
    /// The protocol that a new table with these columns needs, as the log writes it.
    pub fn needed_by(schema: &Schema, has_defaults: bool) -> Value {
        let mut both: BTreeSet<&str> = BTreeSet::new();
        let mut writer: BTreeSet<&str> = ["appendOnly", "invariants"].into();
        if schema.fields().iter().any(|f| has_local_time(f.data_type())) {
            both.insert("timestampNtz");
        }
        if has_defaults {
            writer.insert("allowColumnDefaults");
        }
        if both.is_empty() && !has_defaults {
            return json!({ "minReaderVersion": 1, "minWriterVersion": 2 });
        }
        writer.extend(&both);
        let mut protocol =
            json!({ "minReaderVersion": 1, "minWriterVersion": FEATURES_WRITER, "writerFeatures": writer });
        if !both.is_empty() {
            protocol["minReaderVersion"] = FEATURES_READER.into();
            protocol["readerFeatures"] = json!(both);
        }
        protocol
    }

    /// The protocol that a table needs once it has these columns; `None` when it has it.
    pub fn raised_for(&self, schema: &Schema, has_defaults: bool) -> Option<Value> {
        let needs_time = schema.fields().iter().any(|f| has_local_time(f.data_type()));
        let has = |features: &Option<BTreeSet<String>>, name: &str| features.as_ref().is_some_and(|f| f.contains(name));
        let lacks_time = needs_time && !has(&self.reader_features, "timestampNtz");
        let lacks_defaults = has_defaults && !has(&self.writer_features, "allowColumnDefaults");
        if !lacks_time && !lacks_defaults {
            return None;
        }
        let mut writer = self.writer_features.clone().unwrap_or_else(|| implied(self.min_writer_version));
        let mut reader = self.reader_features.clone().unwrap_or_default();
        if self.min_reader_version == 2 {
            reader.insert("columnMapping".to_owned());
        }
        if lacks_time {
            reader.insert("timestampNtz".to_owned());
            writer.insert("timestampNtz".to_owned());
        }
        if lacks_defaults {
            writer.insert("allowColumnDefaults".to_owned());
        }
        let mut protocol = json!({
            "minReaderVersion": self.min_reader_version,
            "minWriterVersion": FEATURES_WRITER,
            "writerFeatures": writer,
        });
        if !reader.is_empty() {
            protocol["minReaderVersion"] = FEATURES_READER.into();
            protocol["readerFeatures"] = json!(reader);
        }
        Some(protocol)
    }

    /// Refuses a table that we would read wrongly.
    pub fn check_read(&self, table: &InUse<'_>) -> Result<(), Failure> {
        if self.min_reader_version > FEATURES_READER {
            let what = format!("reader version {}", self.min_reader_version);
            return Err(refused(table, "read", &what, "It was written by something newer"));
        }
        let mapping = table.properties.get("delta.columnMapping.mode");
        if let Some(mode) = mapping.filter(|mode| !mode.eq_ignore_ascii_case("none")) {
            let hint = "Copy it to a table without: its columns have other names in its files";
            return Err(refused(table, "read", &format!("column mapping (by {mode})"), hint));
        }
        let unknown = self.reader_features.iter().flatten().find(|f| !READS.contains(&f.as_str()));
        match unknown {
            Some(feature) => Err(refused(table, "read", &format!("the feature {feature}"), DROP_FEATURE)),
            None => Ok(()),
        }
    }

    /// Refuses a write that would not keep what the table asks. `removes` when it removes rows that are there.
    pub fn check_write(&self, table: &InUse<'_>, removes: bool) -> Result<(), Failure> {
        self.check_read(table)?;
        let no = |what: &str, hint: &str| Err(refused(table, "written", what, hint));
        if self.min_writer_version > FEATURES_WRITER {
            return no(&format!("writer version {}", self.min_writer_version), "It was written by something newer");
        }
        if let Some(feature) = self.writer_features.iter().flatten().find(|f| !WRITES.contains(&f.as_str())) {
            return no(&format!("the feature {feature}"), DROP_FEATURE);
        }
        if removes && table.is_set("delta.appendOnly") {
            let cause = format!("the table at {} takes appends only (delta.appendOnly)", table.location);
            return Err(Failure::user("APPEND_ONLY", cause).with_hint("Unset the property to change its rows"));
        }
        if removes && table.is_set("delta.enableChangeDataFeed") {
            return no(
                "a change data feed",
                "Only appends are written to such tables; unset delta.enableChangeDataFeed",
            );
        }
        for (property, what) in [
            ("delta.enableRowTracking", "row tracking"),
            ("delta.enableInCommitTimestamps", "timestamps within commits"),
            ("delta.enableIcebergCompatV1", "Iceberg compatibility"),
            ("delta.enableIcebergCompatV2", "Iceberg compatibility"),
        ] {
            if table.is_set(property) {
                return no(what, &format!("Unset {property} to write to it"));
            }
        }
        if let Some(name) = table.properties.keys().find_map(|k| k.strip_prefix("delta.constraints.")) {
            return no(&format!("the constraint {name}"), "Drop the constraint, and declare it with EXPECT");
        }
        for (metadata, what) in [
            ("delta.invariants", "an invariant"),
            ("delta.generationExpression", "a generated value"),
            ("delta.identity.", "an identity"),
        ] {
            if let Some(column) = table.column_with(metadata) {
                return no(&format!("{what} on column {column}"), "Write to it with the engine that made it");
            }
        }
        Ok(())
    }
}

const DROP_FEATURE: &str = "Drop the feature with the engine that uses it, or copy the table";

/// Features of the writer versions that do not list theirs.
fn implied(writer_version: i32) -> BTreeSet<String> {
    let by_version = [
        (2, "appendOnly"),
        (2, "invariants"),
        (3, "checkConstraints"),
        (4, "changeDataFeed"),
        (4, "generatedColumns"),
        (5, "columnMapping"),
        (6, "identityColumns"),
    ];
    by_version.iter().filter(|(v, _)| *v <= writer_version).map(|(_, f)| (*f).to_owned()).collect()
}

fn refused(table: &InUse<'_>, verb: &str, what: &str, hint: &str) -> Failure {
    let cause = format!("the Delta table at {} uses {what} and cannot be {verb} here", table.location);
    Failure::user("UNSUPPORTED_TABLE", cause).with_hint(hint)
}

/// Whether there is a time without a zone at any depth.
fn has_local_time(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, None) => true,
        DataType::Dictionary(_, value) => has_local_time(value),
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) | DataType::Map(f, _) => {
            has_local_time(f.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|f| has_local_time(f.data_type())),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, TimeUnit};

    use super::*;

    fn protocol(value: Value) -> TableProtocol {
        serde_json::from_value(value).unwrap()
    }

    fn checked(protocol: &TableProtocol, properties: &[(&str, &str)], schema: &Schema, write: Option<bool>) -> String {
        let properties = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let location = Location::parse("s3://b/t").unwrap();
        let table = InUse { location: &location, properties: &properties, schema };
        let result = match write {
            None => protocol.check_read(&table),
            Some(removes) => protocol.check_write(&table, removes),
        };
        result.map_or_else(|f| f.cause, |()| "fine".to_owned())
    }

    #[test]
    fn what_is_in_use_and_lacking_is_refused_by_name() {
        let old = protocol(json!({"minReaderVersion": 1, "minWriterVersion": 2}));
        let mapped = protocol(json!({"minReaderVersion": 2, "minWriterVersion": 5}));
        let listing = |name: &str| {
            protocol(json!({"minReaderVersion": 3, "minWriterVersion": 7,
                "readerFeatures": [name], "writerFeatures": [name]}))
        };
        let tracked = protocol(json!({"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["clustering"]}));
        let on = |name: &'static str| [(name, "true")];
        let plain = Schema::new(vec![Field::new("a", DataType::Int32, true)]);
        type Row<'a> = (&'a TableProtocol, &'a [(&'a str, &'a str)], Option<bool>, &'a str);
        let rows: [Row<'_>; 13] = [
            (&old, &[], None, "fine"),
            (&old, &[], Some(true), "fine"),
            (&mapped, &[], None, "fine"),
            (&mapped, &[("delta.columnMapping.mode", "name")], None, "column mapping (by name)"),
            (&listing("deletionVectors"), &[], Some(true), "fine"),
            (&listing("variantType"), &[], None, "variantType"),
            (&tracked, &[], None, "fine"),
            (&tracked, &[], Some(false), "clustering"),
            (&old, &on("delta.appendOnly"), Some(false), "fine"),
            (&old, &on("delta.appendOnly"), Some(true), "appends only"),
            (&old, &on("delta.enableChangeDataFeed"), Some(true), "change data feed"),
            (&old, &[("delta.constraints.positive", "a > 0")], Some(false), "constraint positive"),
            (&protocol(json!({"minReaderVersion": 4, "minWriterVersion": 7})), &[], None, "reader version 4"),
        ];
        for (protocol, properties, write, expected) in rows {
            let got = checked(protocol, properties, &plain, write);
            assert!(got.contains(expected), "{got} for {properties:?} {protocol:?}");
        }
        let generated = [("delta.generationExpression".to_owned(), "b + 1".to_owned())].into();
        let schema = Schema::new(vec![Field::new("a", DataType::Int32, true).with_metadata(generated)]);
        assert_eq!(checked(&old, &[], &schema, None), "fine");
        assert!(checked(&old, &[], &schema, Some(false)).contains("column a"));
    }

    #[test]
    fn a_protocol_is_no_higher_than_the_columns_need() {
        let local = DataType::Timestamp(TimeUnit::Microsecond, None);
        let plain = Schema::new(vec![Field::new("a", DataType::Int32, true)]);
        let timed = Schema::new(vec![Field::new_list("a", Field::new("item", local, true), true)]);
        let old = TableProtocol::needed_by(&plain, false);
        assert_eq!(old, json!({"minReaderVersion": 1, "minWriterVersion": 2}));
        let new = TableProtocol::needed_by(&timed, false);
        assert_eq!((&new["minReaderVersion"], &new["readerFeatures"]), (&json!(3), &json!(["timestampNtz"])));
        assert_eq!(new["writerFeatures"], json!(["appendOnly", "invariants", "timestampNtz"]));
        assert_eq!(TableProtocol::needed_by(&plain, true)["minReaderVersion"], 1);
        assert_eq!(protocol(old.clone()).raised_for(&plain, false), None);
        assert_eq!(protocol(old).raised_for(&timed, false), Some(new.clone()));
        assert_eq!(protocol(new).raised_for(&timed, false), None);
    }
}
