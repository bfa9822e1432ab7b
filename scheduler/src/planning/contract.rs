//! Puts on a write what its table expects of the rows.
//!
//! Done for every statement that writes, in one place, once it is planned: what counts is where it writes, not how it was
//! said. What tasks find is judged by the driver's `contract`.

use datafusion::execution::SessionState;
use selvedge_engine::catalog::TableName;
use selvedge_engine::error::classify;
use selvedge_engine::plan::{PlannedExpectation, with_contract};
use selvedge_model::Failure;
use selvedge_model::expectation::{Expectation, OnViolation, Rule, Stated};

use super::{LogTarget, Planned, PlannedWrite, Planner, Rows, rejected};

/// The statement with the expectations of the table that it writes to.
///
/// # Errors
/// `EXPECTATION_NOT_APPLICABLE` when one cannot be checked on what is written.
pub(super) async fn attach(planner: &Planner, state: &SessionState, planned: Planned) -> Result<Planned, Failure> {
    let mut write = match planned {
        Planned::Write(write) if write.rows != Rows::None => write,
        other => return Ok(other),
    };
    let mut contract = Vec::new();
    for stated in expected(planner, &write) {
        let Stated { table, expectation: Expectation { name, rule, .. } } = stated.clone();
        let planned = PlannedExpectation::new(stated, state, &write.schema).map_err(|error| {
            let cause = format!(
                "expectation {name} of {table}, {rule}, cannot be checked on what is written: {}",
                classify(&error).cause
            );
            let hint = format!("The table has changed since: DROP EXPECT {name} ON {table}, and state it anew");
            Failure::user("EXPECTATION_NOT_APPLICABLE", cause).with_hint(hint)
        })?;
        contract.push(planned);
    }
    if !contract.is_empty() {
        let keeps = contract.iter().any(|planned| planned.stated().expectation.on_violation == OnViolation::Reject);
        write.plan = with_contract(write.plan, contract).map_err(|e| classify(&e))?;
        if keeps {
            keep_rejected(planner, &mut write).await?;
        }
    }
    Ok(Planned::Write(write))
}

/// What is left out of the write is kept: that it can be is found out before it begins.
async fn keep_rejected(planner: &Planner, write: &mut PlannedWrite) -> Result<(), Failure> {
    if write.log.is_none() {
        let cause =
            format!("{} is written as plain files, and rows that are left out of those are not kept", write.target);
        let hint = "DROP EXPECT what says DROP INTO REJECTED, and state it with DROP alone.";
        return Err(Failure::user("EXPECTATION_NOT_APPLICABLE", cause).with_hint(hint));
    }
    if !planner.is_rehearsal() {
        rejected::open(planner.engine.stores(), &write.location).await?;
    }
    write.keeps_rejected = true;
    Ok(())
}

/// What is expected of a write: by the table that it makes anew, and by all tables that are where it writes.
fn expected(planner: &Planner, write: &PlannedWrite) -> Vec<Stated> {
    let catalog = planner.engine.catalog();
    let location = write.location.as_directory();
    let is_meant = |name: &TableName| {
        write.create.as_ref().is_some_and(|def| def.name == *name)
            || catalog.table(name).is_some_and(|def| def.location.as_directory() == location)
    };
    let mut all = Vec::new();
    for name in catalog.expecting().into_iter().filter(is_meant) {
        let stated = catalog.expectations(&name).into_iter();
        let stated = stated.filter_map(|e| of_kind(e, write.log.as_ref()));
        all.extend(stated.map(|expectation| Stated { table: name.to_string(), expectation }));
    }
    all
}

/// An expectation as it holds for a kind of write.
///
/// A statement that writes files anew (`UPDATE`, `MERGE`) also writes the rows of them that it does not mean. How many these
/// are and how old says nothing; and to leave some of them out would delete what nobody asked to delete, so it fails instead.
/// Where rows only move (`OPTIMIZE`), or those that are left are what they were (`DELETE`), nothing is expected of them.
pub(super) fn of_kind(expectation: Expectation, log: Option<&LogTarget>) -> Option<Expectation> {
    let Some(log) = log.filter(|log| log.rewrites.is_some()) else { return Some(expectation) };
    if !log.changes_rows || log.operation.name == "DELETE" || !matches!(expectation.rule, Rule::Check { .. }) {
        return None;
    }
    let on_violation = match expectation.on_violation {
        OnViolation::Drop | OnViolation::Reject => OnViolation::Fail,
        OnViolation::Fail | OnViolation::Warn => expectation.on_violation,
    };
    Some(Expectation { on_violation, ..expectation })
}
