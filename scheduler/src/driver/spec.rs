//! What is to be run: checked input from the API, not yet recorded.

use std::collections::BTreeMap;

use selvedge_engine::session::Settings;
use selvedge_engine::sql::ScriptStatement;
use selvedge_model::RunId;
use selvedge_model::run::{RunRecord, RunState, StatementRecord, Submission};
use selvedge_proto::v1;

use super::sink::ResultSink;

/// The statements of a run.
pub enum Work {
    /// A script, taken apart.
    Script(Vec<ScriptStatement>),
    /// A logical plan, run as the only statement.
    Plan {
        /// As the client sent it.
        plan: Box<v1::DataFramePlan>,
        /// Its operators, for people.
        text: String,
        /// What it writes, for people; empty when it writes nothing.
        target: String,
    },
}

impl Work {
    /// How many statements there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Script(statements) => statements.len(),
            Self::Plan { .. } => 1,
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn records(&self) -> Vec<StatementRecord> {
        match self {
            Self::Script(statements) => statements
                .iter()
                .map(|s| StatementRecord::pending(s.index, s.kind.label(), &s.sql, &s.kind.target()))
                .collect(),
            Self::Plan { text, target, .. } => {
                let kind = if target.is_empty() { "DATAFRAME" } else { "DATAFRAME WRITE" };
                vec![StatementRecord::pending(1, kind, text, target)]
            }
        }
    }
}

/// A run to be.
pub struct RunSpec {
    /// Its id.
    pub id: RunId,
    /// The job's name.
    pub name: String,
    /// The queue it waits in.
    pub queue: String,
    /// Its parameters, defaults filled in.
    pub params: BTreeMap<String, String>,
    /// Who asked for it, as the client said.
    pub user: String,
    /// What was submitted.
    pub submission: Submission,
    /// As if `SET` at its start.
    pub settings: Settings,
    /// What it does.
    pub work: Work,
    /// Where results go beside the preview, if somebody reads them.
    pub sink: Option<ResultSink>,
}

impl RunSpec {
    /// The record of the run as it is accepted.
    pub(super) fn record(&self, now_ms: i64) -> RunRecord {
        RunRecord {
            id: self.id.clone(),
            name: self.name.clone(),
            queue: self.queue.clone(),
            state: RunState::Queued,
            submitted_ms: now_ms,
            started_ms: 0,
            ended_ms: 0,
            statements: self.work.records(),
            failure: None,
            params: self.params.clone(),
            cancel_requested: false,
            user: self.user.clone(),
            submission: self.submission.clone(),
        }
    }
}
