//! Where a write goes, checked: a directory of ours to fill, with the columns in their final order.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Ident;
use selvedge_engine::catalog::{TableDef, TableName};
use selvedge_engine::error::classify;
use selvedge_engine::error::nearest;
use selvedge_engine::plan::{WriteFormat, WriteSpec, write_plan};
use selvedge_engine::session::Settings;
use selvedge_engine::store::Location;
use selvedge_engine::write::check_empty;
use selvedge_model::Failure;
use selvedge_model::commit::WriteKind;
use selvedge_model::failure::HasFailure as _;

use super::{LogTarget, PlannedWrite, Planner, Rows, names};

/// A write but for its plan.
pub(super) struct Target {
    pub location: Location,
    pub schema: SchemaRef,
    pub partition_by: Vec<String>,
    pub kind: WriteKind,
    pub label: String,
    pub create: Option<TableDef>,
    pub is_first: bool,
    pub may_exist: bool,
    pub format: WriteFormat,
    pub single_file: Option<String>,
    pub compression: Option<String>,
    pub log: Option<LogTarget>,
    pub done: String,
    pub is_spread: bool,
}

impl Target {
    /// A write of Parquet files into a directory.
    pub fn parquet(location: Location, schema: SchemaRef, partition_by: Vec<String>, kind: WriteKind) -> Self {
        let label = location.to_string();
        let (format, single_file, compression) = (WriteFormat::Parquet, None, None);
        let (create, is_first, may_exist) = (None, false, false);
        let (log, done) = (None, String::new());
        Self {
            location,
            schema,
            partition_by,
            kind,
            label,
            create,
            is_first,
            may_exist,
            format,
            single_file,
            compression,
            log,
            done,
            is_spread: true,
        }
    }
}

/// Puts the write on top of `input`, whose columns are exactly the target's.
pub(super) fn write(
    input: LogicalPlan,
    target: Target,
    settings: &Settings,
    job_id: &str,
) -> Result<PlannedWrite, Failure> {
    let marks_success = settings.success_file() && target.log.is_none() && target.single_file.is_none();
    let spec = WriteSpec {
        location: target.location.clone(),
        schema: target.schema.clone(),
        partition_by: target.partition_by.clone(),
        job_id: job_id.to_owned(),
        target_file_bytes: settings.target_file_bytes(),
        compression: target.compression.unwrap_or_else(|| settings.compression().to_owned()),
        single_file: target.single_file,
        format: target.format,
        with_stats: target.log.is_some(),
        is_spread: target.is_spread,
    };
    Ok(PlannedWrite {
        plan: write_plan(input, spec).map_err(|e| classify(&e))?,
        location: target.location,
        kind: target.kind,
        partition_by: target.partition_by,
        target: target.label,
        create: target.create,
        is_first: target.is_first,
        may_exist: target.may_exist,
        schema: target.schema,
        log: target.log,
        keeps_rejected: false,
        marks_success,
        rows: Rows::OfPlan,
        done: target.done,
    })
}

/// What overwriting does: to the partitions that the result has, or to all of an unpartitioned target.
pub(super) fn overwrite(partition_by: &[String]) -> WriteKind {
    if partition_by.is_empty() { WriteKind::Overwrite } else { WriteKind::OverwriteDynamic }
}

/// A location as somebody wrote it.
pub(super) fn parse(text: &str) -> Result<Location, Failure> {
    Location::parse(text).map_err(|e| e.failure())
}

/// Where the files of a new table go: the given location, or its schema's, or the warehouse.
pub(super) fn table_location(planner: &Planner, name: &TableName, given: Option<&str>) -> Result<Location, Failure> {
    let Some(schema) = planner.engine.catalog().schema_location(&name.schema) else {
        let cause = format!("schema {} does not exist", name.schema);
        let hint = format!("Create it first: CREATE SCHEMA {}", name.schema);
        return Err(Failure::user("SCHEMA_NOT_FOUND", cause).with_hint(hint));
    };
    let directory = format!("{}/", name.table);
    match (given, schema) {
        (Some(location), _) => directory_only(parse(location)?),
        (None, Some(location)) => Ok(location.join(&directory)),
        (None, None) => Ok(planner.engine.warehouse().join(&format!("{}/{directory}", name.schema))),
    }
}

/// Refuses a location that is a file or a pattern.
pub(super) fn directory_only(location: Location) -> Result<Location, Failure> {
    let path = location.path().as_ref();
    let last = path.rsplit('/').next().unwrap_or_default();
    let cause = if path.contains(['*', '?', '[']) {
        format!("{location} is a pattern, and only a directory can be written to")
    } else if !location.is_directory_hint() && selvedge_engine::catalog::Format::of_file(last).is_some() {
        format!("{location} is a file, and only a directory can be written to")
    } else {
        return Ok(location);
    };
    Err(Failure::user("INVALID_LOCATION", cause)
        .with_hint("Use a directory for the table: LOCATION 's3://bucket/path/'."))
}

/// Refuses a location that holds data already.
pub(super) async fn empty_only(planner: &Planner, location: &Location, hint: &str) -> Result<(), Failure> {
    check_empty(planner.engine.stores(), location).await.map_err(|failure| match failure.hint.is_empty() {
        true => failure.with_hint(hint),
        false => failure,
    })
}

/// A query's schema as a new table has it, partition columns last, and for each column its position in the query.
pub(super) fn new_schema(
    source: &LogicalPlan,
    renamed: &[Ident],
    partition_by: &[String],
) -> Result<(SchemaRef, Vec<usize>), Failure> {
    let fields: Vec<FieldRef> = source.schema().fields().iter().cloned().collect();
    let named: Vec<String> = match renamed.is_empty() {
        true => fields.iter().map(|f| f.name().clone()).collect(),
        false => renamed.iter().map(names::ident).collect(),
    };
    if let Some((i, name)) = named.iter().enumerate().find(|(i, name)| named.iter().take(*i).any(|n| n == *name)) {
        let cause = format!("the query has two columns named {name}: the second is its column {}", i + 1);
        return Err(Failure::user("DUPLICATE_COLUMN", cause).with_hint("Name them apart with AS."));
    }
    let position = |column: &String| {
        named.iter().position(|name| name == column).ok_or_else(|| {
            let cause = format!("partition column {column} is not among the query's columns");
            let hint = match nearest(column, named.iter().map(String::as_str)) {
                Some(near) => format!("Did you mean {near}?"),
                None => format!("It has {}.", named.join(", ")),
            };
            Failure::user("COLUMN_NOT_FOUND", cause).with_hint(hint)
        })
    };
    let last: Vec<usize> = partition_by.iter().map(position).collect::<Result<_, _>>()?;
    if let Some(column) = partition_by.iter().enumerate().find(|(i, c)| partition_by.iter().take(*i).any(|p| p == *c)) {
        return Err(Failure::user("INVALID_PARTITION", format!("partition column {} is named twice", column.1)));
    }
    let order: Vec<usize> = (0..fields.len()).filter(|i| !last.contains(i)).chain(last.iter().copied()).collect();
    if last.len() == fields.len() {
        let cause = "every column is a partition column, so that nothing is left for the files";
        return Err(
            Failure::user("INVALID_PARTITION", cause).with_hint("Leave at least one column out of PARTITIONED BY.")
        );
    }
    let stored = |i: &usize| {
        let (field, name) = (fields.get(*i)?, named.get(*i)?);
        Some(Field::new(name, stored_type(field.data_type()), true))
    };
    let schema = Schema::new(order.iter().filter_map(stored).collect::<Vec<_>>());
    check_columns(&schema, partition_by)?;
    Ok((Arc::new(schema), order))
}

/// The type in which a column is stored: views and dictionaries are forms of memory, not of tables.
fn stored_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, value) => stored_type(value),
        other => other.clone(),
    }
}

/// Refuses columns that cannot be stored, or cannot name directories.
pub(super) fn check_columns(schema: &Schema, partition_by: &[String]) -> Result<(), Failure> {
    for field in schema.fields() {
        let (name, data_type) = (field.name(), field.data_type());
        if data_type.is_null() {
            let cause = format!("column {name} is NULL in every row, so that its type is not known");
            return Err(Failure::user("INVALID_COLUMN", cause).with_hint(format!("CAST(NULL AS INT) AS {name}")));
        }
        if name.is_empty() {
            return Err(Failure::user("INVALID_COLUMN", "a column has no name").with_hint("Name it with AS."));
        }
        let binary = matches!(
            data_type,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        );
        if partition_by.contains(name) && (data_type.is_nested() || binary) {
            let cause = format!("a table cannot be partitioned by {name}, a {data_type}");
            return Err(Failure::user("INVALID_PARTITION", cause));
        }
    }
    Ok(())
}
