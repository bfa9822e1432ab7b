//! Names as the catalog knows them: unquoted ones in lower case, tables without a schema in `public`.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use selvedge_engine::catalog::TableName;
use selvedge_engine::sql::{ScriptStatement, name_text};
use selvedge_model::Failure;

use super::Planner;

/// The one catalog.
pub(super) const CATALOG: &str = "selvedge";
/// The schema of names without one.
const DEFAULT_SCHEMA: &str = "public";
/// DataFusion's own views of the catalog.
pub(super) const INFORMATION_SCHEMA: &str = "information_schema";

/// A name as SQL means it: lower case unless quoted.
pub(super) fn ident(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The table or view that is named.
pub(super) fn table(statement: &ScriptStatement, name: &ObjectName) -> Result<TableName, Failure> {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(ident)).collect();
    let table_name = match parts.as_deref() {
        Some([table]) => TableName { schema: DEFAULT_SCHEMA.to_owned(), table: table.clone() },
        Some([schema, table]) => TableName { schema: schema.clone(), table: table.clone() },
        Some([catalog, schema, table]) if catalog == CATALOG => {
            TableName { schema: schema.clone(), table: table.clone() }
        }
        _ => {
            let cause = format!("'{}' is not a table's name", name_text(name));
            let failure = Failure::user("INVALID_NAME", cause).with_hint("Write table or schema.table.");
            return Err(failure.at(statement.place_of_name(name)));
        }
    };
    if table_name.schema == INFORMATION_SCHEMA {
        let cause = format!("{INFORMATION_SCHEMA} cannot be changed");
        return Err(Failure::user("INVALID_NAME", cause).at(statement.place_of_name(name)));
    }
    Ok(table_name)
}

/// All tables and views, in order.
pub(super) fn known(planner: &Planner) -> Vec<String> {
    let mut names: Vec<String> = in_schemas(planner).into_iter().map(|name| name.to_string()).collect();
    names.sort();
    names
}

/// All tables and views of all schemas but DataFusion's own.
pub(super) fn in_schemas(planner: &Planner) -> Vec<TableName> {
    let Some(catalog) = planner.engine.catalog_list().catalog(CATALOG) else { return Vec::new() };
    let mut names = Vec::new();
    for schema in catalog.schema_names().into_iter().filter(|s| s != INFORMATION_SCHEMA) {
        let tables = catalog.schema(&schema).map(|s| s.table_names()).unwrap_or_default();
        names.extend(tables.into_iter().map(|table| TableName { schema: schema.clone(), table }));
    }
    names.sort_by_key(ToString::to_string);
    names
}
