//! `REFRESH` and `MSCK REPAIR`: nothing to do, since every scan lists anew; what is there is looked at and counted.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::ObjectName;
use selvedge_engine::catalog::{Format, Survey, TableDef, survey};
use selvedge_engine::delta::{DeltaSnapshot, VersionSpec};
use selvedge_model::Failure;

use super::statement::Context;
use super::{Planned, insert, names, show};

pub(super) async fn refresh(context: &Context<'_>, name: &ObjectName) -> Result<Planned, Failure> {
    let at_name = |f: Failure| f.at(context.statement.place_of_name(name));
    let table = names::table(context.statement, name)?;
    let def = insert::existing(context.planner, &table, "refreshed").map_err(at_name)?;
    // Its files may be an earlier statement's, and not be there yet.
    if context.planner.is_rehearsal() {
        return Ok(Planned::done("refreshed"));
    }
    let found = match def.format {
        Format::Delta => logged(context, &def).await,
        _ => survey(&context.state, &def).await,
    };
    let found = found.map_err(at_name)?;
    let row = vec![table.to_string(), found.partitions.to_string(), found.files.to_string()];
    show::done(&["table", "partitions", "files"], vec![row])
}

/// What the log of a Delta table holds now. Files beside it that the log does not name are not the table's.
async fn logged(context: &Context<'_>, def: &TableDef) -> Result<Survey, Failure> {
    let stores = context.planner.engine.stores();
    let snapshot = Box::pin(DeltaSnapshot::open(stores, &def.location, VersionSpec::Latest)).await?;
    let files = snapshot.files().await?;
    let partitions: BTreeSet<_> = files.iter().map(|file| &file.key).collect();
    let partitions = if snapshot.partition_by().is_empty() { 0 } else { partitions.len() };
    Ok(Survey { files: files.len(), partitions })
}
