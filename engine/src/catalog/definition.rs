//! What a table or a view is.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use selvedge_model::Failure;
use serde::{Deserialize, Serialize};

use super::TableName;
use crate::store::Location;

/// The format of a table's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Delimited text.
    Csv,
    /// One JSON object a line.
    Json,
    /// Apache Avro.
    Avro,
    /// Parquet files under a log: Delta Lake. The log is the truth about columns and files.
    Delta,
}

impl Format {
    /// The name as SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "PARQUET",
            Self::Csv => "CSV",
            Self::Json => "JSON",
            Self::Avro => "AVRO",
            Self::Delta => "DELTA",
        }
    }

    /// The format that a file's name tells, before the ending of its compression.
    pub fn of_file(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let bare = [".gz", ".zst", ".bz2", ".xz"].into_iter().find_map(|e| name.strip_suffix(e)).unwrap_or(&name);
        match bare.rsplit_once('.')?.1 {
            "parquet" | "parq" | "pq" => Some(Self::Parquet),
            "csv" | "tsv" => Some(Self::Csv),
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            "avro" => Some(Self::Avro),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        match text.trim().to_uppercase().as_str() {
            "PARQUET" => Ok(Self::Parquet),
            "CSV" => Ok(Self::Csv),
            "JSON" | "NDJSON" | "JSONL" => Ok(Self::Json),
            "AVRO" => Ok(Self::Avro),
            "DELTA" => Ok(Self::Delta),
            _ => Err(Failure::user("UNKNOWN_FORMAT", format!("there is no format {text}"))
                .with_hint("STORED AS takes PARQUET, DELTA, CSV, JSON or AVRO")),
        }
    }
}

/// A table of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDef {
    /// Its name.
    pub name: TableName,
    /// The format of its files.
    pub format: Format,
    /// The directory, file or glob where they are.
    pub location: Location,
    /// All columns, those of the partitions last. Of a Delta table, as they were when it was registered: the log may say
    /// otherwise by now.
    pub schema: SchemaRef,
    /// The columns that are in directory names, in the order of the directories.
    pub partition_by: Vec<String>,
    /// How the files are to be read, as written after OPTIONS.
    pub options: BTreeMap<String, String>,
    /// Who made it, as the client said; empty when it did not.
    pub owner: String,
}

impl TableDef {
    /// The columns that are in the files.
    pub fn file_schema(&self) -> SchemaRef {
        let kept = self.schema.fields().len().saturating_sub(self.partition_by.len());
        Arc::new(Schema::new(self.schema.fields().iter().take(kept).cloned().collect::<Fields>()))
    }

    /// The columns that are in directory names.
    pub fn partition_fields(&self) -> Vec<FieldRef> {
        let kept = self.schema.fields().len().saturating_sub(self.partition_by.len());
        self.schema.fields().iter().skip(kept).cloned().collect()
    }
}

/// A view.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewDef {
    /// Its name.
    pub name: TableName,
    /// The query as written.
    pub sql: String,
    /// The query as planned, or why it no longer can be: what it selects from has gone since it was made.
    pub plan: Result<LogicalPlan, Failure>,
}

/// The schema with strings and binaries in their plain types, also where nested: views blow up in sorts and shuffles.
pub fn plain_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(plain_field).collect::<Fields>()))
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let plain = plain_type(field.data_type());
    if &plain == field.data_type() && field.metadata().is_empty() {
        return Arc::clone(field);
    }
    Arc::new(Field::new(field.name(), plain, field.is_nullable()))
}

/// The type with strings and binaries plain.
pub(super) fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(plain_field(item)),
        DataType::LargeList(item) => DataType::LargeList(plain_field(item)),
        DataType::FixedSizeList(item, n) => DataType::FixedSizeList(plain_field(item), *n),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        DataType::Dictionary(key, value) => DataType::Dictionary(key.clone(), Box::new(plain_type(value))),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_from_sql_and_from_names() {
        assert_eq!("parquet".parse::<Format>().unwrap(), Format::Parquet);
        assert_eq!("Delta".parse::<Format>().unwrap(), Format::Delta);
        assert!("orc".parse::<Format>().is_err());
        let rows = [
            ("a/b.snappy.parquet", Some(Format::Parquet)),
            ("a.CSV.gz", Some(Format::Csv)),
            ("a.jsonl.zst", Some(Format::Json)),
            ("part-0000", None),
        ];
        for (name, format) in rows {
            assert_eq!(Format::of_file(name), format, "{name}");
        }
    }

    #[test]
    fn views_become_plain_at_every_depth() {
        let item = Arc::new(Field::new("item", DataType::Utf8View, true));
        let schema = Schema::new(vec![
            Field::new("s", DataType::Utf8View, true),
            Field::new("b", DataType::BinaryView, false),
            Field::new("l", DataType::List(Arc::clone(&item)), true),
            Field::new("n", DataType::Int64, true),
        ]);
        let plain = plain_schema(&schema);
        assert_eq!(plain.field(0).data_type(), &DataType::Utf8);
        assert_eq!(plain.field(1).data_type(), &DataType::Binary);
        assert!(!plain.field(1).is_nullable());
        assert!(matches!(plain.field(2).data_type(), DataType::List(i) if i.data_type() == &DataType::Utf8));
        assert_eq!(plain.field(3), schema.field(3));
    }
}
