//! Finds out what lies at a location: files, partitions, columns.
//!
//! Used when an external table is created and when a file is queried by its path. A declared schema is believed and lets
//! the location be empty; without one the files tell. Statistics and scans come later, in `files.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::execution::SessionState;
use object_store::{ObjectMeta, ObjectStore};
use selvedge_model::Failure;

use super::definition::plain_type;
use super::format::{by_compression, file_format, said_compression};
use super::infer::Unknown;
use super::listing::Root;
use super::partitions::{parse_segment, values_of};
use super::{Format, TableDef, TableName, plain_schema};
use crate::error::{classify, or_list};
use crate::store::Location;

/// What lies at a location, as a table called `public.files`.
///
/// With neither `partition_by` nor a declared schema, Hive partitions are discovered, their values strings.
///
/// # Errors
/// `FILE_NOT_FOUND` when there are no files and no schema was declared, `BUCKET_NOT_FOUND`, `ACCESS_DENIED`; and what is
/// wrong with the files or the options.
pub async fn resolve_files(
    state: &SessionState,
    format: Format,
    location: &Location,
    partition_by: &[String],
    options: &BTreeMap<String, String>,
    declared: Option<SchemaRef>,
) -> Result<TableDef, Failure> {
    if format == Format::Delta {
        return Err(Failure::user(
            "NOT_SUPPORTED",
            format!("the Delta table at {location} cannot be read by its location"),
        )
        .with_hint("Register it: CREATE EXTERNAL TABLE t STORED AS DELTA LOCATION '...'"));
    }
    let root = Root::of(location)?;
    let store = state.runtime_env().object_store(location.store_url()).map_err(|e| classify(&e))?;
    let files = root.list(&store, None).await?;
    let found = Found { state, format, location, options, root: &root, store: &store, files: &files };
    let (columns, partitions) = match declared {
        Some(schema) => {
            let columns = declared_columns(&schema, partition_by)?;
            found.check_declared(&columns.1)?;
            columns
        }
        None if files.is_empty() => return Err(nothing_there(location)),
        None => found.inferred_columns(partition_by).await?,
    };
    let partition_by = partitions.iter().map(|f| f.name().clone()).collect();
    let schema = Arc::new(Schema::new(columns.into_iter().chain(partitions).collect::<Fields>()));
    let name = TableName::new("public", "files");
    Ok(TableDef {
        name,
        format,
        location: location.clone(),
        schema,
        partition_by,
        options: options.clone(),
        owner: String::new(),
    })
}

/// A listing and all that is needed to look into it.
struct Found<'a> {
    state: &'a SessionState,
    format: Format,
    location: &'a Location,
    options: &'a BTreeMap<String, String>,
    root: &'a Root,
    store: &'a Arc<dyn ObjectStore>,
    files: &'a [ObjectMeta],
}

impl Found<'_> {
    /// That options, and files that are there already, fit what was declared.
    fn check_declared(&self, partitions: &[FieldRef]) -> Result<(), Failure> {
        let names = self.files.iter().collect();
        by_compression(self.format, self.options, names, |f: &&ObjectMeta| f.location.as_ref())?;
        let compression = said_compression(self.format, self.options)?.unwrap_or(CompressionTypeVariant::UNCOMPRESSED);
        file_format(self.format, self.options, compression, self.state.config_options())?;
        for file in self.files {
            values_of(self.root.directories(&file.location), partitions, file.location.as_ref())?;
        }
        Ok(())
    }

    /// Columns of the files and of the partitions, as the files tell.
    async fn inferred_columns(&self, partition_by: &[String]) -> Result<(Vec<FieldRef>, Vec<FieldRef>), Failure> {
        let names = if partition_by.is_empty() { self.discovered_partitions()? } else { partition_by.to_vec() };
        let partitions: Vec<FieldRef> =
            names.iter().map(|n| Arc::new(Field::new(n, DataType::Utf8, true)) as FieldRef).collect();
        for file in self.files {
            values_of(self.root.directories(&file.location), &partitions, file.location.as_ref())?;
        }
        let Self { state, store, format, location, options, files, .. } = *self;
        let inferred = Unknown { state, store, format, location, options, files }.columns().await?;
        let columns = self.without_partitions(&plain_schema(&inferred), &names)?;
        if columns.is_empty() && partitions.is_empty() {
            return Err(Failure::user("BAD_DATA", format!("the files at {} have no columns", self.location)));
        }
        Ok((columns, partitions))
    }

    /// The partition columns that all files' directories agree on.
    fn discovered_partitions(&self) -> Result<Vec<String>, Failure> {
        let columns = |file: &ObjectMeta| -> Vec<String> {
            self.root.directories(&file.location).filter_map(parse_segment).map(|(column, _)| column).collect()
        };
        let Some((first, others)) = self.files.split_first() else { return Ok(vec![]) };
        let names = columns(first);
        match others.iter().find(|f| columns(f) != names) {
            None => Ok(names),
            Some(other) => {
                let cause = format!("{} and {} have different partition directories", first.location, other.location);
                Err(Failure::user("BAD_PARTITION", cause).with_hint("Give a location that holds one layout only"))
            }
        }
    }

    /// A column that is both in the files and in the directories is the directories'. In CSV that cannot be: there,
    /// columns are found by their position.
    fn without_partitions(&self, inferred: &Schema, partitions: &[String]) -> Result<Vec<FieldRef>, Failure> {
        let (both, columns): (Vec<FieldRef>, Vec<FieldRef>) =
            inferred.fields().iter().cloned().partition(|f| partitions.contains(f.name()));
        match both.first() {
            Some(column) if self.format == Format::Csv => Err(Failure::user(
                "DUPLICATE_COLUMN",
                format!(
                    "column {} is both in the CSV files and in the directories of {}",
                    column.name(),
                    self.location
                ),
            )
            .with_hint("Declare the columns, under another name in the files")),
            // Readers believe the columns may be NULL whatever one file says: another file may lack them.
            _ => Ok(columns.into_iter().map(nullable).collect()),
        }
    }
}

fn nullable(field: FieldRef) -> FieldRef {
    if field.is_nullable() { field } else { Arc::new(field.as_ref().clone().with_nullable(true)) }
}

/// Columns in files and in directories, as declared. A partition column that has no declared type is a string.
fn declared_columns(schema: &Schema, partition_by: &[String]) -> Result<(Vec<FieldRef>, Vec<FieldRef>), Failure> {
    let schema = plain_schema(schema);
    let partitions: Vec<FieldRef> = partition_by
        .iter()
        .map(|name| match schema.field_with_name(name) {
            Ok(field) => Arc::new(Field::new(name, plain_type(field.data_type()), field.is_nullable())) as FieldRef,
            Err(_) => Arc::new(Field::new(name, DataType::Utf8, true)),
        })
        .collect();
    let columns: Vec<FieldRef> = schema.fields().iter().filter(|f| !partition_by.contains(f.name())).cloned().collect();
    if columns.is_empty() {
        let names = schema.fields().iter().map(|f| f.name().as_str());
        return Err(Failure::user("INVALID_STATEMENT", "all columns are partition columns: files would hold none")
            .with_hint(or_list("", "Columns", names)));
    }
    Ok((columns, partitions))
}

fn nothing_there(location: &Location) -> Failure {
    Failure::user("FILE_NOT_FOUND", format!("there are no files at {location}"))
        .with_hint("Check the path, or declare the columns of a table that is yet to be written")
}
