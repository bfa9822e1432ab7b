//! What can happen to a run. What it then means: `RunRecord::apply`.

use super::{Counters, StageRecord};
use crate::expectation::ExpectationResult;
use crate::failure::Failure;

/// What happens to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEvent {
    /// Its turn has come.
    Started,
    /// A statement begins its next attempt.
    StatementStarted {
        /// The statement, from 1.
        index: u32,
    },
    /// Stages moved on.
    Progress {
        /// The statement.
        index: u32,
        /// All its stages as they are now.
        stages: Vec<StageRecord>,
    },
    /// It can go no further for a reason that is not its own, or goes on again.
    Waiting {
        /// The statement.
        index: u32,
        /// What it waits for, for people; empty when it goes on.
        reason: String,
    },
    /// What it wrote is known, and how that stands to what the table expects.
    Judged {
        /// The statement.
        index: u32,
        /// One for each expectation.
        results: Vec<ExpectationResult>,
    },
    /// Its tasks are done, its output is being published.
    Publishing {
        /// The statement.
        index: u32,
    },
    /// A statement is done.
    StatementSucceeded {
        /// The statement.
        index: u32,
        /// What it wrote, if anything.
        written: Counters,
        /// First rows of a SELECT as an Arrow IPC stream.
        preview: Vec<u8>,
    },
    /// The run fails, at a statement if one is to blame.
    Failed {
        /// The statement.
        index: Option<u32>,
        /// Why.
        failure: Failure,
    },
    /// Somebody asks to end it.
    CancelRequested,
    /// It has stopped as asked.
    Cancelled,
}
