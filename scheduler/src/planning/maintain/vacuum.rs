//! `VACUUM`: how long files are kept, and where other tables lie. Looking at files and deleting them is the driver's.

use std::collections::BTreeSet;

use selvedge_engine::delta::DeltaSnapshot;
use selvedge_engine::store::Location;
use selvedge_model::Failure;
use selvedge_model::vacuum::{DEFAULT_RETENTION_MS, parse_interval, span_text};

use super::Table;
use crate::planning::statement::Context;
use crate::planning::{Planned, Planner};

const RETENTION: &str = "delta.deletedFileRetentionDuration";
const HOUR_MS: i64 = 3_600_000;

/// Files of a table to delete, or to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedVacuum {
    /// The table, for people.
    pub table: String,
    /// Where it is.
    pub location: Location,
    /// How long what versions no longer name is kept.
    pub retention_ms: i64,
    /// Whether nothing is deleted.
    pub is_dry_run: bool,
    /// Directories below it that other tables have, relative to it.
    pub others: BTreeSet<String>,
}

pub(super) fn plan(
    context: &Context<'_>,
    table: &Table,
    retain_hours: Option<u32>,
    is_dry_run: bool,
) -> Result<Planned, Failure> {
    let usual = table.snapshot.as_deref().map_or(Ok(DEFAULT_RETENTION_MS), usual_retention)?;
    let retention_ms = retain_hours.map_or(usual, |hours| i64::from(hours) * HOUR_MS);
    // An earlier statement of a script may change what the table says.
    let is_known = table.snapshot.is_some();
    if is_known && retention_ms < usual && !context.settings.allows_short_retention() {
        let (asked, usual) = (span_text(retention_ms), span_text(usual));
        let cause = format!("{asked} is shorter than the {usual} for which {} keeps its old files", table.def.name);
        let hint = "Statements that still read old versions, and writers outside this scheduler that are not done, would \
                    lose files. If there are none: SET selvedge.vacuum.allow_short_retention = true";
        return Err(Failure::user("RETENTION_TOO_SHORT", cause).with_hint(hint));
    }
    let location = table.def.location.as_directory();
    let others = others_below(context.planner, &location);
    let table = table.def.name.to_string();
    Ok(Planned::Vacuum(Box::new(PlannedVacuum { table, location, retention_ms, is_dry_run, others })))
}

fn usual_retention(snapshot: &DeltaSnapshot) -> Result<i64, Failure> {
    let Some(text) = snapshot.properties().get(RETENTION) else { return Ok(DEFAULT_RETENTION_MS) };
    parse_interval(text).ok_or_else(|| {
        let cause =
            format!("the table at {} has '{text}' for {RETENTION}, which is no span of time", snapshot.location());
        let hint = "ALTER TABLE t SET TBLPROPERTIES ('delta.deletedFileRetentionDuration' = 'interval 7 days')";
        Failure::user("INVALID_PROPERTY", cause).with_hint(hint)
    })
}

/// Where other tables of the catalog lie below a place.
fn others_below(planner: &Planner, location: &Location) -> BTreeSet<String> {
    let here = location.to_string();
    let catalog = planner.engine.catalog();
    let relative = |there: Location| {
        let there = there.as_directory().to_string();
        there.strip_prefix(&here).filter(|rest| !rest.is_empty()).map(str::to_owned)
    };
    catalog.tables().iter().filter_map(|name| relative(catalog.table(name)?.location)).collect()
}
