//! From a statement to a plan.
//!
//! DDL, `SET` and `SHOW` are done here, on the scheduler; queries and writes come out as plans for the Ballista host.
//! Everything that a user can get wrong is refused before work starts, with its place in the script. Nothing here runs a
//! query or touches a table's files: `driver` does. Start with `statement.rs`; `check.rs` is the same for a whole script
//! before any of it runs.

mod adaptive;
mod assign;
mod calls;
mod change;
mod check;
mod contract;
mod copy;
mod create;
mod dataframe;
mod defaults;
mod errors;
mod expect;
mod explain;
mod external;
mod files;
mod insert;
mod maintain;
mod managed;
mod names;
mod partition;
mod query;
mod refresh;
mod rejected;
mod resolve;
mod show;
mod statement;
mod target;
mod view;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use selvedge_engine::catalog::TableDef;
use selvedge_engine::error::classify;
use selvedge_engine::session::{Engine, Settings};
use selvedge_engine::sql::ScriptStatement;
use selvedge_engine::store::Location;
use selvedge_model::commit::WriteKind;
use selvedge_model::{Failure, StatementAttempt};

use check::Rehearsal;
pub use maintain::PlannedVacuum;
pub use managed::{LogTarget, TableChange};
pub(crate) use rejected::{location_of as rejected_location, open as open_rejected};

use crate::catalog::DurableCatalog;

/// What a statement comes to.
pub enum Planned {
    /// Done already: DDL, `SET`, `SHOW`, `DESCRIBE`, `EXPLAIN`.
    Done {
        /// What was done, for people.
        message: String,
        /// Rows to show, if it is a statement that shows some.
        result: Option<Vec<RecordBatch>>,
        /// Their schema; empty when there are none.
        schema: SchemaRef,
    },
    /// Rows for whoever asked.
    Query {
        /// What to run.
        plan: LogicalPlan,
    },
    /// A query to run for what its stages count, not for its rows.
    Analyze {
        /// What to run.
        plan: LogicalPlan,
    },
    /// Rows for a table or a location.
    Write(Box<PlannedWrite>),
    /// Files of a table to delete.
    Vacuum(Box<PlannedVacuum>),
}

impl From<PlannedWrite> for Planned {
    fn from(write: PlannedWrite) -> Self {
        Self::Write(Box::new(write))
    }
}

impl Planned {
    fn done(message: impl Into<String>) -> Self {
        Self::Done { message: message.into(), result: None, schema: Arc::new(Schema::empty()) }
    }
}

/// A write to run and then to publish.
pub struct PlannedWrite {
    /// What to run; its rows are the manifest.
    pub plan: LogicalPlan,
    /// The root of the table or the directory.
    pub location: Location,
    /// What it does to what is there.
    pub kind: WriteKind,
    /// Partition columns, in the order of directories.
    pub partition_by: Vec<String>,
    /// The table or location, for people.
    pub target: String,
    /// The table to register after the publish (`CREATE TABLE AS`).
    pub create: Option<TableDef>,
    /// Whether nothing may be there yet, neither files at the location nor a table of the name. It has been checked, and
    /// must be again before the publish: another statement may have been faster.
    pub is_first: bool,
    /// Whether a table of the name that was made meanwhile will do (`IF NOT EXISTS`).
    pub may_exist: bool,
    /// All columns that are written, partition columns last.
    pub schema: SchemaRef,
    /// What it does to the table's log, if there is one.
    pub log: Option<LogTarget>,
    /// Whether rows that are left out are kept in the table that belongs to this one.
    pub keeps_rejected: bool,
    /// Whether an empty `_SUCCESS` says at the end that all files are there.
    pub marks_success: bool,
    /// Whether there are rows to write.
    pub rows: Rows,
    /// What was done, for people; empty to tell the rows.
    pub done: String,
}

impl PlannedWrite {
    /// A write of a table's log alone, after which it has these columns.
    fn of_log(def: &TableDef, log: LogTarget) -> Result<Self, Failure> {
        let plan = LogicalPlanBuilder::empty(false).build().map_err(|e| classify(&e))?;
        Ok(Self {
            plan,
            location: def.location.clone(),
            kind: WriteKind::Append,
            partition_by: def.partition_by.clone(),
            target: def.name.to_string(),
            create: None,
            is_first: false,
            may_exist: false,
            schema: def.schema.clone(),
            log: Some(log),
            keeps_rejected: false,
            marks_success: false,
            rows: Rows::None,
            done: String::new(),
        })
    }
}

/// Whether a write has rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Those of its plan.
    OfPlan,
    /// Those of its plan, which are what remains of this many.
    Remaining {
        /// Rows before.
        before: u64,
    },
    /// None: it changes a table, and its plan is not run.
    None,
}

/// Plans statements on one catalog.
#[derive(Clone)]
pub struct Planner {
    engine: Arc<Engine>,
    /// Takes the changes of DDL: the engine's catalog, and what keeps it.
    catalog: Arc<DurableCatalog>,
    /// Set while a script is checked: what its statements would leave behind.
    rehearsal: Option<Arc<Rehearsal>>,
    /// Who asks: what it makes is theirs.
    user: Arc<str>,
}

impl Planner {
    /// A planner on the engine's catalog, which `catalog` changes.
    pub fn new(engine: Arc<Engine>, catalog: Arc<DurableCatalog>) -> Self {
        Self { engine, catalog, rehearsal: None, user: Arc::from("") }
    }

    /// The same for a user.
    #[must_use]
    pub fn acting_for(&self, user: &str) -> Self {
        Self { user: Arc::from(user), ..self.clone() }
    }

    fn user(&self) -> String {
        self.user.to_string()
    }

    /// Plans a statement. DDL is applied to the catalog, `SET` to `settings`.
    ///
    /// # Errors
    /// Whatever is wrong with the statement, with its place.
    pub fn plan<'a>(
        &'a self,
        statement: &'a ScriptStatement,
        settings: &'a mut Settings,
        attempt: &'a StatementAttempt,
    ) -> BoxFuture<'a, Result<(SessionState, Planned), Failure>> {
        // Boxed, so that callers need not prove that everything in here may move between threads.
        async move {
            let planned = statement::plan(self, statement, settings, attempt).await;
            planned.map_err(|failure| errors::place(failure, statement))
        }
        .boxed()
    }

    fn is_rehearsal(&self) -> bool {
        self.rehearsal.is_some()
    }
}

#[cfg(test)]
mod tests;
