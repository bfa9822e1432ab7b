//! What a write comes to by what its table expects: judged once all its tasks have reported, before anything is published.
//!
//! The rule is `selvedge_model::expectation`; here it gets its facts, and the run is told.

use selvedge_engine::plan::contract_of;
use selvedge_model::expectation::{judge, refusal};
use selvedge_model::run::RunEvent;
use selvedge_model::{Domain, Failure, Retry, StatementAttempt};

use super::Driver;
use super::run::OpenRun;
use crate::commit::Proven;
use crate::planning::PlannedWrite;
use crate::runs::now_ms;

impl Driver {
    /// Lets a write pass that may be published, and tells the run how it stands to each expectation.
    ///
    /// # Errors
    /// `EXPECTATION_FAILED`; `RESULT_DOUBTFUL` when a task has not said what it found.
    pub(super) fn meet_contract(
        &self,
        run: &OpenRun,
        ids: &StatementAttempt,
        write: &PlannedWrite,
        proven: &Proven,
    ) -> Result<(), Failure> {
        let contract = contract_of(&write.plan);
        if contract.is_empty() {
            return Ok(());
        }
        let results = judge(&contract, proven.reports(), proven.rows(), now_ms()).map_err(|error| {
            let cause = format!("The reports of the writing tasks are not whole: {error}");
            Failure::new(Domain::Internal, Retry::Later, "RESULT_DOUBTFUL", cause)
        })?;
        let refused = refusal(&results);
        self.book.apply(&run.id, RunEvent::Judged { index: ids.statement, results });
        refused.map_or(Ok(()), Err)
    }

    /// What a statement has done, and what of its table's expectations it does not meet all the same.
    pub(super) fn with_unmet(&self, run: &OpenRun, ids: &StatementAttempt, message: String) -> String {
        let Ok(record) = self.book.get(&run.id) else { return message };
        let results = record.statements.iter().filter(|s| s.index == ids.statement).flat_map(|s| &s.expectations);
        let unmet = results.filter(|result| !result.is_met);
        unmet.fold(message, |message, r| format!("{message}; expectation {} is not met: {}", r.name, r.found))
    }
}
