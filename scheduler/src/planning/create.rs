//! `CREATE SCHEMA`, `CREATE TABLE`, `CREATE TABLE AS` and `DROP`.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::sql::parser::{CreateExternalTable as DfCreateExternalTable, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::{ColumnOption, Ident, ObjectName};
use selvedge_engine::catalog::{Format, TableDef, TableName};
use selvedge_engine::delta::{COMMENT_KEY, DeltaSnapshot, is_delta_table};
use selvedge_engine::sql::{ColumnSpec, CreateSchema, CreateTable, CreateTableAs, Drop, DropKind, TableColumns};
use selvedge_model::Failure;
use selvedge_model::commit::WriteKind;

use super::assign::{self, Origin};
use super::statement::Context;
use super::target::{self, Target};
use super::{LogTarget, Planned, PlannedWrite, defaults, errors, managed, names, query};
use crate::store::TableKind;

pub(super) async fn schema(context: &Context<'_>, create: &CreateSchema) -> Result<Planned, Failure> {
    let name = names::ident(&create.name);
    let location = create.location.as_deref().map(target::parse).transpose()?;
    context.planner.catalog.create_schema(&name, location, create.if_not_exists).await?;
    Ok(Planned::done(format!("schema {name} is there")))
}

pub(super) async fn table(context: &Context<'_>, create: &CreateTable) -> Result<Planned, Failure> {
    let name = names::table(context.statement, &create.name)?;
    let format = format(context, create.format.as_ref())?;
    let location = target::table_location(context.planner, &name, create.location.as_deref())?;
    let (schema, partition_by) = declared(context, &create.name, &create.columns).await?;
    let schema = match create.columns.columns.iter().find(|spec| defaults::of_spec(spec).is_some()) {
        Some(spec) if format != Format::Delta => {
            let cause = format!("column {} cannot have a default: only managed tables keep them", spec.name);
            return Err(Failure::user("NOT_SUPPORTED", cause).at(context.statement.place_of_ident(&spec.name)));
        }
        Some(_) => defaults::with_declared(context, &schema, &create.columns.columns, &partition_by)?,
        None => schema,
    };
    let schema = match format {
        Format::Delta => with_comments(&schema, &create.columns.columns),
        _ => schema,
    };
    let def = TableDef {
        name,
        format,
        location,
        schema,
        partition_by,
        options: BTreeMap::new(),
        owner: context.planner.user(),
    };
    match format {
        Format::Delta => empty(context, create, def).await,
        _ => register(context, def, TableKind::Managed, create.if_not_exists, create.or_replace).await,
    }
}

/// The format of a table that is made: what is said, or Delta.
fn format(context: &Context<'_>, said: Option<&Ident>) -> Result<Format, Failure> {
    let Some(ident) = said else { return Ok(Format::Delta) };
    ident.value.parse().map_err(|f: Failure| f.at(context.statement.place_of_ident(ident)))
}

/// A managed table without rows.
async fn empty(context: &Context<'_>, create: &CreateTable, def: TableDef) -> Result<Planned, Failure> {
    let at_name = |f: Failure| f.at(context.statement.place_of_name(&create.name));
    if let Some(there) = already(context, &def.name, create.if_not_exists, create.or_replace).map_err(at_name)? {
        return Ok(there);
    }
    let schema = managed::columns(&def.schema, &def.partition_by).map_err(at_name)?;
    let def = TableDef { schema, ..def };
    let replaced = in_place_of(context, &def, create.or_replace).await.map_err(at_name)?;
    let log = LogTarget::create(replaced, None, &def.partition_by, &context.state).map_err(at_name)?;
    Ok(Planned::from(PlannedWrite {
        kind: WriteKind::Overwrite,
        done: format!("table {} is created", def.name),
        is_first: !create.or_replace,
        may_exist: create.if_not_exists,
        create: Some(def.clone()),
        ..PlannedWrite::of_log(&def, log)?
    }))
}

/// What is to be said when a name is taken: that the table was there, an error, or nothing when it is to be replaced.
fn already(
    context: &Context<'_>,
    name: &TableName,
    if_not_exists: bool,
    or_replace: bool,
) -> Result<Option<Planned>, Failure> {
    if !names::in_schemas(context.planner).contains(name) {
        return Ok(None);
    }
    let is_table = context.planner.engine.catalog().table(name).is_some();
    match (if_not_exists, or_replace && is_table) {
        (true, _) => Ok(Some(Planned::done(format!("table {name} was there already")))),
        (false, true) => Ok(None),
        (false, false) => Err(exists(name)),
    }
}

/// The log that a managed table takes the place of, if there is one. Where none may be, there must be nothing at all.
async fn in_place_of(
    context: &Context<'_>,
    def: &TableDef,
    or_replace: bool,
) -> Result<Option<Arc<DeltaSnapshot>>, Failure> {
    if !or_replace {
        target::empty_only(context.planner, &def.location, EMPTY_HINT).await?;
        if is_delta_table(context.planner.engine.stores(), &def.location).await? {
            let cause = format!("there is a Delta table at {} already", def.location);
            return Err(Failure::user("TABLE_EXISTS", cause).with_hint(EMPTY_HINT));
        }
        return Ok(None);
    }
    if let Some(old) = context.planner.engine.catalog().table(&def.name)
        && old.format != Format::Delta
        && old.location.as_directory() == def.location.as_directory()
    {
        let cause =
            format!("{} is a table of {} files, and cannot become a managed one in its place", def.name, old.format);
        let hint = "Write STORED AS PARQUET to replace it as it is, or give another LOCATION.";
        return Err(Failure::user("NOT_SUPPORTED", cause).with_hint(hint));
    }
    let catalog = context.planner.engine.catalog();
    let here = |name: &TableName| {
        catalog.table(name).is_some_and(|table| table.location.as_directory() == def.location.as_directory())
    };
    if let Some(other) = catalog.tables().into_iter().find(|name| *name != def.name && here(name)) {
        let cause = format!("{} is the place of {other}", def.location);
        return Err(Failure::user("TABLE_EXISTS", cause).with_hint("Give another LOCATION, or replace that table."));
    }
    let replaced = managed::replaced(context.planner, &def.location).await?;
    if replaced.is_none() {
        target::empty_only(context.planner, &def.location, EMPTY_HINT).await?;
    }
    Ok(replaced)
}

const EMPTY_HINT: &str = "Give another LOCATION, register what is there with CREATE EXTERNAL TABLE, or replace it with \
                          CREATE OR REPLACE TABLE ... AS.";

/// Puts a table into the catalog.
pub(super) async fn register(
    context: &Context<'_>,
    def: TableDef,
    kind: TableKind,
    if_not_exists: bool,
    or_replace: bool,
) -> Result<Planned, Failure> {
    let name = def.name.clone();
    let created = context.planner.catalog.create_table(def, kind, if_not_exists, or_replace).await?;
    Ok(Planned::done(match created {
        true => format!("table {name} is created"),
        false => format!("table {name} was there already"),
    }))
}

/// The schema that columns declare, partition columns last.
pub(super) async fn declared(
    context: &Context<'_>,
    name: &ObjectName,
    columns: &TableColumns,
) -> Result<(SchemaRef, Vec<String>), Failure> {
    let schema = arrow_schema(context, name, columns).await?;
    let partition_by: Vec<String> = columns.partition_by.iter().map(names::ident).collect();
    for (i, ident) in columns.partition_by.iter().enumerate() {
        let column = names::ident(ident);
        if partition_by.iter().take(i).any(|c| *c == column) {
            let cause = format!("partition column {column} is named twice");
            return Err(Failure::user("INVALID_PARTITION", cause).at(context.statement.place_of_ident(ident)));
        }
    }
    let find = |column: &String| schema.fields().iter().find(|f| f.name() == column).cloned();
    let data = schema.fields().iter().filter(|f| !partition_by.contains(f.name())).cloned();
    let fields: Vec<FieldRef> = data.chain(partition_by.iter().filter_map(find)).collect();
    if fields.len() == partition_by.len() && !fields.is_empty() {
        let cause = "every column is a partition column, so that nothing is left for the files";
        return Err(Failure::user("INVALID_PARTITION", cause));
    }
    let schema = Schema::new(fields);
    target::check_columns(&schema, &partition_by)?;
    Ok((Arc::new(schema), partition_by))
}

/// Types as DataFusion's planner reads them: it is asked to plan an external table of these columns.
pub(super) async fn arrow_schema(
    context: &Context<'_>,
    name: &ObjectName,
    columns: &TableColumns,
) -> Result<Schema, Failure> {
    let fail = |e| errors::planning(context.planner, context.statement, &e);
    if let Some(twice) = duplicate(columns.columns.iter().map(|c| &c.name)) {
        let cause = format!("column {twice} is declared twice");
        return Err(Failure::user("DUPLICATE_COLUMN", cause).at(context.statement.place_of_ident(twice)));
    }
    let statement = DfStatement::CreateExternalTable(DfCreateExternalTable {
        name: name.clone(),
        columns: columns.columns.iter().map(plain).collect(),
        file_type: "PARQUET".to_owned(),
        locations: vec!["declared".to_owned()],
        table_partition_cols: Vec::new(),
        order_exprs: Vec::new(),
        if_not_exists: false,
        or_replace: false,
        temporary: false,
        unbounded: false,
        options: Vec::new(),
        constraints: Vec::new(),
    });
    match context.state.statement_to_plan(statement).await.map_err(fail)? {
        LogicalPlan::Ddl(DdlStatement::CreateExternalTable(planned)) => {
            let fields = planned.schema.fields().iter();
            let plain = |f: &FieldRef| Field::new(f.name(), f.data_type().clone(), f.is_nullable());
            Ok(Schema::new(fields.map(plain).collect::<Vec<_>>()))
        }
        _ => Err(Failure::internal("INTERNAL", "declared columns were not planned as a table")),
    }
}

/// The columns of a managed table with the comments that they are declared with, as its log keeps them.
pub(super) fn with_comments(schema: &Schema, specs: &[ColumnSpec]) -> SchemaRef {
    let comment_of = |field: &Field| {
        let spec = specs.iter().find(|spec| names::ident(&spec.name) == *field.name())?;
        spec.options.iter().find_map(|option| match &option.option {
            ColumnOption::Comment(text) => Some(text.clone()),
            _ => None,
        })
    };
    let commented = |field: &FieldRef| match comment_of(field) {
        Some(comment) => {
            let mut metadata = field.metadata().clone();
            metadata.insert(COMMENT_KEY.to_owned(), comment);
            Arc::new(field.as_ref().clone().with_metadata(metadata))
        }
        None => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(commented).collect::<Vec<_>>()))
}

/// Defaults and comments are looked at for themselves.
fn plain(spec: &ColumnSpec) -> ColumnSpec {
    let is_plain = |option: &ColumnOption| !matches!(option, ColumnOption::Default(_) | ColumnOption::Comment(_));
    let options = spec.options.iter().filter(|o| is_plain(&o.option));
    ColumnSpec { options: options.cloned().collect(), ..spec.clone() }
}

fn duplicate<'a>(idents: impl Iterator<Item = &'a Ident>) -> Option<&'a Ident> {
    let mut seen = Vec::new();
    for ident in idents {
        let name = names::ident(ident);
        if seen.contains(&name) {
            return Some(ident);
        }
        seen.push(name);
    }
    None
}

pub(super) async fn table_as(context: &Context<'_>, create: &CreateTableAs) -> Result<Planned, Failure> {
    let planner = context.planner;
    let name = names::table(context.statement, &create.name)?;
    let at_name = |f: Failure| f.at(context.statement.place_of_name(&create.name));
    let format = format(context, create.format.as_ref())?;
    if let Some(there) = already(context, &name, create.if_not_exists, create.or_replace).map_err(at_name)? {
        return Ok(there);
    }
    let location = target::table_location(planner, &name, create.location.as_deref()).map_err(at_name)?;
    let source = query::source(context, &create.source).await?;
    query::check_names(context, &create.columns, &source)?;
    let partition_by: Vec<String> = create.partition_by.iter().map(names::ident).collect();
    let (schema, order) = target::new_schema(&source, &create.columns, &partition_by)?;
    let schema = match format {
        Format::Delta => managed::columns(&schema, &partition_by)?,
        _ => schema,
    };
    let def = TableDef {
        name: name.clone(),
        format,
        location: location.clone(),
        schema: schema.clone(),
        partition_by: partition_by.clone(),
        options: BTreeMap::new(),
        owner: context.planner.user(),
    };
    let targets: Vec<_> = schema.fields().iter().cloned().zip(order.into_iter().map(Origin::Query)).collect();
    let input = assign::fit(source, &targets, &name.to_string())?;
    // That the place is empty is asked at every attempt: one that has begun to publish is the last one.
    let log = match format {
        Format::Delta => {
            let replaced = in_place_of(context, &def, create.or_replace).await?;
            Some(LogTarget::create(replaced, Some(&input), &partition_by, &context.state)?)
        }
        _ if !create.or_replace => {
            target::empty_only(planner, &location, EMPTY_HINT).await?;
            None
        }
        _ => None,
    };
    let target = Target::parquet(location, schema, partition_by, WriteKind::Overwrite);
    let target = Target {
        label: name.to_string(),
        log,
        create: Some(def),
        is_first: !create.or_replace,
        may_exist: create.if_not_exists,
        ..target
    };
    target::write(input, target, context.settings, &context.job_id).map(Planned::from)
}

fn exists(name: &TableName) -> Failure {
    Failure::user("TABLE_EXISTS", format!("{name} exists already"))
        .with_hint("Drop it first, or write CREATE OR REPLACE TABLE, or CREATE TABLE IF NOT EXISTS.")
}

pub(super) async fn drop(context: &Context<'_>, drop: &Drop) -> Result<Planned, Failure> {
    let catalog = &context.planner.catalog;
    let at_name = |f: Failure| f.at(context.statement.place_of_name(&drop.name));
    let (what, name, dropped) = match drop.kind {
        DropKind::Schema => {
            let [part] = drop.name.0.as_slice() else {
                return Err(at_name(Failure::user("INVALID_NAME", format!("'{}' is not a schema's name", drop.name))));
            };
            let name = part.as_ident().map(names::ident).unwrap_or_default();
            let dropped = catalog.drop_schema(&name, drop.if_exists, drop.cascade).await.map_err(at_name)?;
            ("schema", name, dropped)
        }
        DropKind::Table => {
            let name = names::table(context.statement, &drop.name)?;
            ("table", name.to_string(), catalog.drop_table(&name, drop.if_exists).await.map_err(at_name)?)
        }
        DropKind::View => {
            let name = names::table(context.statement, &drop.name)?;
            ("view", name.to_string(), catalog.drop_view(&name, drop.if_exists).await.map_err(at_name)?)
        }
    };
    Ok(Planned::done(match dropped {
        true => format!("{what} {name} is dropped"),
        false => format!("there was no {what} {name}"),
    }))
}
