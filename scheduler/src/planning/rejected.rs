//! The tables that keep what is left out of others (`EXPECT ... DROP INTO REJECTED`): made before the expectation is stated, so
//! that no write meets one without the other; looked at by each write that may leave rows out.
//!
//! Such a table is a managed one like any other, in a hidden directory below the table that it belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use selvedge_engine::catalog::{Format, TableDef, TableName};
use selvedge_engine::delta::{DeltaSnapshot, NewTable, VersionSpec, create_table, is_delta_table};
use selvedge_engine::store::{Location, ObjectStores};
use selvedge_engine::write::{REJECTED_DIR, rejected_schema};
use selvedge_model::Failure;
use selvedge_model::expectation::rejected_table;

use super::managed;
use super::statement::Context;
use crate::store::TableKind;

/// Names the making of such a table: whoever is first makes it for all.
const APP_ID: &str = "selvedge/rejected";

/// Where the table is that keeps what is left out of the one at a location.
pub(crate) fn location_of(table: &Location) -> Location {
    table.as_directory().join(REJECTED_DIR)
}

/// Makes the table that keeps what is left out of another, unless it is there.
///
/// # Errors
/// `NOT_SUPPORTED` for a table of plain files, or with columns that cannot be kept; `TABLE_EXISTS` when its name is another
/// table's; what the store says.
pub(super) async fn make(context: &Context<'_>, of: &TableDef) -> Result<(), Failure> {
    check(of)?;
    let def = TableDef {
        name: TableName::new(of.name.schema.clone(), rejected_table(&of.name.table)),
        format: Format::Delta,
        location: location_of(&of.location),
        schema: rejected_schema(),
        partition_by: Vec::new(),
        options: BTreeMap::new(),
        owner: of.owner.clone(),
    };
    let planner = context.planner;
    let catalog = planner.engine.catalog();
    let is_other = |there: TableDef| there.location.as_directory() != def.location;
    if catalog.table(&def.name).is_some_and(is_other) || catalog.view(&def.name).is_some() {
        let cause =
            format!("{} is the table for rows that are left out, and there is another one of that name", def.name);
        let hint = "Drop that one, or write DROP without INTO REJECTED.";
        return Err(Failure::user("TABLE_EXISTS", cause).with_hint(hint));
    }
    if planner.is_rehearsal() {
        if catalog.table(&def.name).is_none() {
            catalog.pretend(def);
        }
        return Ok(());
    }
    let stores = planner.engine.stores();
    // It outlives the table that it belongs to.
    if !is_delta_table(stores, &def.location).await? {
        let table = NewTable {
            app_id: APP_ID.to_owned(),
            schema: rejected_schema(),
            partition_by: Vec::new(),
            properties: BTreeMap::new(),
            description: Some(format!("Rows that were left out of {}", of.name)),
            adds: Vec::new(),
            operation: managed::operation("CREATE TABLE", []),
            run: None,
        };
        create_table(stores, &def.location, &table).await?;
    }
    planner.catalog.create_table(def, TableKind::External, true, false).await?;
    Ok(())
}

fn check(of: &TableDef) -> Result<(), Failure> {
    if of.format != Format::Delta {
        let cause = format!("{} is a table of {} files: what is left out of it is not kept", of.name, of.format);
        let hint =
            "Engines that list its directory might find the rows again. Write DROP alone, or make it a managed table.";
        return Err(Failure::user("NOT_SUPPORTED", cause).with_hint(hint));
    }
    match of.schema.fields().iter().find(|field| !is_json(field.data_type())) {
        Some(field) => {
            let cause =
                format!("column {} of {} is a {}, which has no form in JSON", field.name(), of.name, field.data_type());
            Err(Failure::user("NOT_SUPPORTED", cause)
                .with_hint("Write DROP alone: rows that are kept are kept as JSON."))
        }
        None => Ok(()),
    }
}

/// Whether values can be members of JSON objects: those of maps need texts for keys.
fn is_json(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => {
                let is_text = |key: &Arc<Field>| {
                    matches!(key.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
                };
                pair.first().is_some_and(is_text) && pair.iter().all(|part| is_json(part.data_type()))
            }
            _ => false,
        },
        DataType::Struct(fields) => fields.iter().all(|field| is_json(field.data_type())),
        DataType::List(of) | DataType::LargeList(of) | DataType::FixedSizeList(of, _) => is_json(of.data_type()),
        _ => true,
    }
}

/// The newest version of the table that keeps what is left out of writes to a location.
///
/// # Errors
/// `EXPECTATION_NOT_APPLICABLE` when it is not there, or has not its columns any more; what the store says.
pub(crate) async fn open(stores: &ObjectStores, table: &Location) -> Result<DeltaSnapshot, Failure> {
    let location = location_of(table);
    let unfit = |what: &str| {
        let cause = format!("the table at {location}, for rows that are left out, {what}");
        let hint = "DROP EXPECT, DROP TABLE the one that keeps the rows if there is one, and state the expectation again; or with \
                    DROP alone, which keeps nothing.";
        Failure::user("EXPECTATION_NOT_APPLICABLE", cause).with_hint(hint)
    };
    if !is_delta_table(stores, &location).await? {
        return Err(unfit("is not there"));
    }
    let snapshot = Box::pin(DeltaSnapshot::open(stores, &location, VersionSpec::Latest)).await?;
    snapshot.check_write(false)?;
    let columns = snapshot.schema();
    let same = |field: &Arc<Field>| {
        columns.field_with_name(field.name()).is_ok_and(|there| there.data_type() == field.data_type())
    };
    match rejected_schema().fields().iter().all(same) && snapshot.partition_by().is_empty() {
        true => Ok(snapshot),
        false => Err(unfit("has other columns by now")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_kept_when_their_keys_are_texts() {
        let map = |key: DataType| {
            let pair = vec![Field::new("key", key, false), Field::new("value", DataType::Int32, true)];
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), false)
        };
        assert!(is_json(&map(DataType::Utf8)) && is_json(&DataType::Binary));
        assert!(!is_json(&map(DataType::Int32)) && !is_json(&DataType::new_list(map(DataType::Int32), true)));
    }
}
