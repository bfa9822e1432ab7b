//! The tables that keep what is left out of others (`EXPECT ... DROP INTO REJECTED`): made with the expectation, opened by each
//! write that may leave rows out.
//!
//! Such a table is a managed one like any other, in a hidden directory below the table that it belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge_engine::catalog::{Format, TableDef, TableName};
use selvedge_engine::delta::{DeltaSnapshot, VersionSpec, is_delta_table};
use selvedge_engine::store::Location;
use selvedge_engine::write::{REJECTED_DIR, rejected_schema};
use selvedge_model::Failure;
use selvedge_model::commit::WriteKind;
use selvedge_model::expectation::rejected_table;

use super::statement::Context;
use super::{LogTarget, PlannedWrite, Planner};
use crate::store::TableKind;

/// Where the table is that keeps what is left out of the one at a location.
pub(crate) fn location_of(table: &Location) -> Location {
    table.as_directory().join(REJECTED_DIR)
}

/// What makes the table that keeps what is left out of another; none when it is there.
///
/// # Errors
/// `NOT_SUPPORTED` for a table of plain files; `TABLE_EXISTS` when its name is another table's.
pub(super) async fn make(context: &Context<'_>, of: &TableDef) -> Result<Option<PlannedWrite>, Failure> {
    if of.format != Format::Delta {
        let cause = format!("{} is a table of {} files: what is left out of it is not kept", of.name, of.format);
        let hint =
            "Engines that list its directory might find the rows again. Write DROP alone, or make it a managed table.";
        return Err(Failure::user("NOT_SUPPORTED", cause).with_hint(hint));
    }
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
    if let Some(there) = catalog.table(&def.name) {
        return match there.location.as_directory() == def.location {
            true => Ok(None),
            false => Err(taken(&def.name)),
        };
    }
    if catalog.view(&def.name).is_some() {
        return Err(taken(&def.name));
    }
    // It outlives the table that it belongs to.
    if planner.is_rehearsal() || is_delta_table(planner.engine.stores(), &def.location).await? {
        planner.catalog.create_table(def, TableKind::External, true, false).await?;
        return Ok(None);
    }
    let log = LogTarget::create(None, None, &def.partition_by, &context.state)?;
    Ok(Some(PlannedWrite {
        kind: WriteKind::Overwrite,
        is_first: true,
        may_exist: true,
        create: Some(def.clone()),
        ..PlannedWrite::of_log(&def, log)?
    }))
}

fn taken(name: &TableName) -> Failure {
    let cause = format!("{name} is the table for rows that are left out, and there is another one of that name");
    Failure::user("TABLE_EXISTS", cause).with_hint("Drop that one, or write DROP without INTO REJECTED.")
}

/// The table that keeps what is left out of a write.
///
/// # Errors
/// `EXPECTATION_NOT_APPLICABLE` when it is not there, or has not its columns any more.
pub(super) async fn open(planner: &Planner, write: &PlannedWrite) -> Result<Arc<DeltaSnapshot>, Failure> {
    let location = location_of(&write.location);
    let unfit = |what: &str| {
        let cause = format!("the table at {location}, for rows that are left out, {what}");
        let hint = "State the expectation again with DROP INTO REJECTED, or with DROP alone, which keeps nothing.";
        Failure::user("EXPECTATION_NOT_APPLICABLE", cause).with_hint(hint)
    };
    let stores = planner.engine.stores();
    if !is_delta_table(stores, &location).await? {
        return Err(unfit("is not there"));
    }
    let snapshot = Box::pin(DeltaSnapshot::open(stores, &location, VersionSpec::Latest)).await?;
    snapshot.check_write(false)?;
    let columns = snapshot.schema();
    let same = |field: &Arc<datafusion::arrow::datatypes::Field>| {
        columns.field_with_name(field.name()).is_ok_and(|there| there.data_type() == field.data_type())
    };
    match rejected_schema().fields().iter().all(same) && snapshot.partition_by().is_empty() {
        true => Ok(Arc::new(snapshot)),
        false => Err(unfit("has other columns by now")),
    }
}
