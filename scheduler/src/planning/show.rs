//! `SHOW` and `DESCRIBE`: rows about the catalog and the session.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::sql::sqlparser::ast::ObjectName;
use selvedge_engine::catalog::{TableDef, TableName};
use selvedge_engine::delta::{COMMENT_KEY, DEFAULT_KEY, DeltaTable};
use selvedge_engine::error::nearest;
use selvedge_engine::sql::Show;
use selvedge_model::Failure;
use selvedge_model::words::counted;

use super::statement::Context;
use super::{Planned, expect, names, resolve};

pub(super) async fn show(context: &Context<'_>, show: &Show) -> Result<Planned, Failure> {
    match show {
        Show::Tables(schema) => {
            let schema = schema.as_ref().map(names::ident);
            tables(context, schema.as_deref())
        }
        Show::Schemas => schemas(context),
        Show::Columns(name) => describe(context, name).await,
        Show::All => settings(context, None),
        Show::Setting(key) => settings(context, Some(key)),
        Show::Expects(name) => expect::show_all(context, name.as_ref()),
    }
}

fn tables(context: &Context<'_>, schema: Option<&str>) -> Result<Planned, Failure> {
    if let Some(schema) = schema
        && context.planner.engine.catalog().schema_location(schema).is_none()
    {
        return Err(Failure::user("SCHEMA_NOT_FOUND", format!("schema {schema} does not exist")));
    }
    let mut rows = Vec::new();
    for name in names::in_schemas(context.planner).into_iter().filter(|n| schema.is_none_or(|s| s == n.schema)) {
        // Not by its provider: a view that can no longer be planned is listed, too, and so is a table that cannot be opened.
        rows.push(match context.planner.engine.catalog().table(&name) {
            Some(TableDef { format, location, partition_by, owner, .. }) => {
                let (kind, format, by) = ("table".to_owned(), format.to_string(), partition_by.join(", "));
                vec![name.schema, name.table, kind, format, location.to_string(), by, owner]
            }
            None => {
                let nothing = std::iter::repeat_n(String::new(), 4);
                [name.schema, name.table, "view".to_owned()].into_iter().chain(nothing).collect()
            }
        });
    }
    done(&["schema", "name", "kind", "format", "location", "partition_by", "owner"], rows)
}

fn schemas(context: &Context<'_>) -> Result<Planned, Failure> {
    let engine = &context.planner.engine;
    let catalog = engine.catalog_list().catalog(names::CATALOG);
    let mut schemas = catalog.map(|c| c.schema_names()).unwrap_or_default();
    schemas.retain(|s| s != names::INFORMATION_SCHEMA);
    schemas.sort();
    let row = |schema: String| {
        let location = match engine.catalog().schema_location(&schema).flatten() {
            Some(location) => location,
            None => engine.warehouse().join(&format!("{schema}/")),
        };
        vec![schema, location.to_string()]
    };
    done(&["schema", "location"], schemas.into_iter().map(row).collect())
}

pub(super) async fn describe(context: &Context<'_>, name: &ObjectName) -> Result<Planned, Failure> {
    let at_name = |f: Failure| f.at(context.statement.place_of_name(name));
    let table = names::table(context.statement, name)?;
    let provider = resolve::provider(context.planner, context.state.catalog_list(), &table).await.map_err(at_name)?;
    let (partition_by, logged) = match provider.downcast_ref::<DeltaTable>() {
        Some(table) => (table.snapshot().partition_by().to_vec(), table.snapshot().schema().clone()),
        None => (partition_columns(context, &table), Arc::new(Schema::empty())),
    };
    let logged = |name: &str, key: &str| {
        let known = logged.field_with_name(name).ok().and_then(|field| field.metadata().get(key).cloned());
        known.unwrap_or_default()
    };
    let schema = provider.schema();
    let rows = schema.fields().iter().map(|field| {
        let nullable = if field.is_nullable() { "YES" } else { "NO" };
        let partition = if partition_by.contains(field.name()) { "YES" } else { "NO" };
        let (name, data_type) = (field.name().clone(), field.data_type().to_string());
        let (default, comment) = (logged(field.name(), DEFAULT_KEY), logged(field.name(), COMMENT_KEY));
        vec![name, data_type, nullable.to_owned(), partition.to_owned(), default, comment]
    });
    done(&["column", "type", "nullable", "partition", "default", "comment"], rows.collect())
}

fn partition_columns(context: &Context<'_>, table: &TableName) -> Vec<String> {
    context.planner.engine.catalog().table(table).map(|def| def.partition_by).unwrap_or_default()
}

fn settings(context: &Context<'_>, key: Option<&str>) -> Result<Planned, Failure> {
    let mut entries = context.state.config_options().entries();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    if let Some(key) = key {
        if !entries.iter().any(|e| e.key == key) {
            let failure = Failure::user("INVALID_SETTING", format!("there is no setting {key}"));
            return Err(match nearest(key, entries.iter().map(|e| e.key.as_str())) {
                Some(near) => failure.with_hint(format!("Did you mean {near}?")),
                None => failure.with_hint("SHOW ALL lists what there is."),
            });
        }
        entries.retain(|e| e.key == key);
    }
    let rows = entries.into_iter().map(|e| vec![e.key, e.value.unwrap_or_default(), e.description.to_owned()]);
    done(&["setting", "value", "description"], rows.collect())
}

pub(super) fn done(columns: &[&str], rows: Vec<Vec<String>>) -> Result<Planned, Failure> {
    let fields: Vec<Field> = columns.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect();
    let schema = Arc::new(Schema::new(fields));
    let column = |i: usize| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.get(i).map_or("", String::as_str))))
    };
    let arrays = (0..columns.len()).map(column).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays)
        .map_err(|e| Failure::internal("INTERNAL", format!("cannot show rows: {e}")))?;
    Ok(Planned::Done { message: counted(rows.len(), "row"), result: Some(vec![batch]), schema })
}
