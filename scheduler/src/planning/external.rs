//! `CREATE EXTERNAL TABLE`: files that are there, or will be.

use std::collections::BTreeMap;

use selvedge_engine::catalog::{Format, TableDef, resolve_files};
use selvedge_engine::delta::{DeltaSnapshot, VersionSpec};
use selvedge_engine::sql::CreateExternalTable;
use selvedge_model::Failure;

use super::statement::Context;
use super::{Planned, create, names, target};
use crate::store::TableKind;

pub(super) async fn create(context: &Context<'_>, create: &CreateExternalTable) -> Result<Planned, Failure> {
    let name = names::table(context.statement, &create.name)?;
    let format: Format =
        create.format.value.parse().map_err(|f: Failure| f.at(context.statement.place_of_ident(&create.format)))?;
    if create.if_not_exists && context.planner.engine.catalog().table(&name).is_some() {
        return Ok(Planned::done(format!("table {name} was there already")));
    }
    let def = match format {
        Format::Delta => adopt(context, create).await?,
        _ => resolve(context, create, format).await?,
    };
    let def = TableDef { name, owner: context.planner.user(), ..def };
    self::create::register(context, def, TableKind::External, create.if_not_exists, create.or_replace).await
}

/// A Delta table that is there. Its log says all that could be declared.
async fn adopt(context: &Context<'_>, create: &CreateExternalTable) -> Result<TableDef, Failure> {
    let said = |what: &str| {
        Failure::user(
            "NOT_SUPPORTED",
            format!("the log of a Delta table tells its {what}, which are not declared again"),
        )
        .with_hint("Write CREATE EXTERNAL TABLE t STORED AS DELTA LOCATION '...'")
    };
    if let Some(column) = create.columns.columns.first() {
        return Err(said("columns").at(context.statement.place_of_ident(&column.name)));
    }
    if let Some(column) = create.columns.partition_by.first() {
        return Err(said("partition columns").at(context.statement.place_of_ident(column)));
    }
    if !create.options.is_empty() {
        return Err(said("options"));
    }
    let location = target::parse(&create.location)?.as_directory();
    let stores = context.planner.engine.stores();
    let snapshot = Box::pin(DeltaSnapshot::open(stores, &location, VersionSpec::Latest)).await?;
    Ok(TableDef {
        name: names::table(context.statement, &create.name)?,
        format: Format::Delta,
        location,
        schema: snapshot.schema().clone(),
        partition_by: snapshot.partition_by().to_vec(),
        options: BTreeMap::new(),
        owner: String::new(),
    })
}

async fn resolve(context: &Context<'_>, create: &CreateExternalTable, format: Format) -> Result<TableDef, Failure> {
    let location = target::parse(&create.location)?;
    let options: BTreeMap<String, String> = create.options.iter().cloned().collect();
    let partitions_only = create
        .columns
        .columns
        .iter()
        .all(|c| create.columns.partition_by.iter().any(|p| names::ident(p) == names::ident(&c.name)));
    let partition_by: Vec<String> = create.columns.partition_by.iter().map(names::ident).collect();
    let declared = match create.columns.columns.is_empty() || partitions_only {
        true => None,
        false => Some(create::declared(context, &create.name, &create.columns).await?.0),
    };
    let files = resolve_files(&context.state, format, &location, &partition_by, &options, declared.clone()).await;
    let def = match (files, declared) {
        (Ok(def), _) => def,
        // A Parquet table whose columns are known can be made before its first file, to be written to.
        (Err(failure), Some(schema)) if failure.code == "FILE_NOT_FOUND" && format == Format::Parquet => {
            let location = target::directory_only(location).map_err(|_| failure)?;
            let name = names::table(context.statement, &create.name)?;
            return Ok(TableDef { name, format, location, schema, partition_by, options, owner: String::new() });
        }
        // An earlier statement of the script will have put the files there.
        (Err(failure), _) if failure.code == "FILE_NOT_FOUND" => {
            let rehearsal = context.planner.rehearsal.as_ref();
            let expected = rehearsal.and_then(|r| r.expected(&location)).ok_or(failure)?;
            TableDef { format, options, ..expected }
        }
        (Err(failure), _) => return Err(failure),
    };
    match create.columns.columns.is_empty() {
        true => Ok(def),
        false => with_partition_types(context, create, def).await,
    }
}

/// `PARTITIONED BY (ds DATE)` without declared columns gives the types of the partition columns only.
async fn with_partition_types(
    context: &Context<'_>,
    create: &CreateExternalTable,
    def: TableDef,
) -> Result<TableDef, Failure> {
    let typed = create::arrow_schema(context, &create.name, &create.columns).await?;
    let retyped = |field: &datafusion::arrow::datatypes::FieldRef| match typed.field_with_name(field.name()) {
        Ok(declared) if def.partition_by.contains(field.name()) => std::sync::Arc::new(declared.clone()),
        _ => field.clone(),
    };
    let fields: Vec<_> = def.schema.fields().iter().map(retyped).collect();
    let schema = std::sync::Arc::new(datafusion::arrow::datatypes::Schema::new(fields));
    Ok(TableDef { schema, ..def })
}
