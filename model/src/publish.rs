//! Publishing by roll-forward: what is recorded before the first file of a write becomes visible, and what follows from it.
//!
//! ```text
//! NOTHING --record--> PREPARED --complete--> PUBLISHED --remove or commit--> REMOVED --close--> DONE
//!                         | staged data is gone  | the log refuses
//!                         +----------------------+--> WITHDRAWN --take back, close--> DONE
//! ```
//! A table of files shows what lies in it: its files become visible one after the other, and those that they replace are
//! removed. A table with a log shows what its newest version names: files are put into place unseen, and one commit makes
//! all of them visible and hides what they replace. A commit may be refused for what others committed meanwhile; it has
//! not happened then and will not, so that the files can go.
//!
//! Rows that a write leaves out may have a table of their own, with a log. Their files are put into place with the others,
//! and appended to that log once the write itself is visible: after REMOVED, so that nothing has to be taken back from it.
//!
//! The record is durable in each state before the action of that state begins. Every action may be carried out any number
//! of times, from the record alone: so a crash anywhere is mended by carrying on. Files that are replaced go last; until
//! PUBLISHED is recorded none has gone, so that a write whose staged data was lost can still be taken back whole.
//! The scheduler's `commit` carries the actions out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::RunId;
use crate::manifest::StagedFile;

/// Which publish: a statement publishes once, whichever of its attempts gets so far.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublishId {
    /// The run.
    pub run: RunId,
    /// The statement, from 1.
    pub statement: u32,
}

impl fmt::Display for PublishId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement {} of run {}", self.statement, self.run)
    }
}

/// How far a publish has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PublishState {
    /// Nothing is recorded: nothing is visible, and nothing may become so.
    Nothing,
    /// Recorded. Any of its files may be visible.
    Prepared,
    /// All its files are in place. Any of those that they replace may have gone; the log may name the new ones.
    Published,
    /// What they replace has gone; the log names the new ones.
    Removed,
    /// What was staged is lost in part, so that it can never be whole. What it replaces is all there.
    Withdrawn,
    /// Forgotten.
    Done,
}

/// What makes the files of a publish visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishKind {
    /// That they are there.
    #[default]
    Files,
    /// The version of a log that names them.
    Log,
}

impl PublishState {
    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "NOTHING",
            Self::Prepared => "PREPARED",
            Self::Published => "PUBLISHED",
            Self::Removed => "REMOVED",
            Self::Withdrawn => "WITHDRAWN",
            Self::Done => "DONE",
        }
    }

    /// What is to be done in this state.
    pub fn action(self, kind: PublishKind) -> Action {
        match self {
            Self::Nothing => Action::Record,
            Self::Prepared => Action::Complete,
            Self::Published if kind == PublishKind::Log => Action::Commit,
            Self::Published => Action::Remove,
            Self::Removed => Action::Close,
            Self::Withdrawn => Action::TakeBack,
            Self::Done => Action::Rest,
        }
    }

    /// The state after its action, by what became of each of the action's requests; `None` when it stays and the action is
    /// to be carried out again, later.
    pub fn after(self, kind: PublishKind, replies: &[Reply]) -> Option<PublishState> {
        let refused = replies.contains(&Reply::Refused);
        match self {
            // Nothing has been removed yet: lost data ends it, whatever else was refused.
            Self::Prepared if replies.contains(&Reply::Lost) => Some(Self::Withdrawn),
            // A refused commit has not happened.
            Self::Published if kind == PublishKind::Log && replies.contains(&Reply::Lost) => Some(Self::Withdrawn),
            _ if refused => None,
            Self::Nothing => Some(Self::Prepared),
            Self::Prepared => Some(Self::Published),
            Self::Published => Some(Self::Removed),
            Self::Removed | Self::Withdrawn | Self::Done => Some(Self::Done),
        }
    }
}

/// A state's name that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the state of a publish")]
pub struct UnknownState(String);

impl FromStr for PublishState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let all = [Self::Nothing, Self::Prepared, Self::Published, Self::Removed, Self::Withdrawn, Self::Done];
        all.into_iter().find(|s| s.name() == text).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// What to do next. All of them may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make the record durable.
    Record,
    /// Make every file visible: complete its upload, rename its temporary file.
    Complete,
    /// Remove every file that is replaced.
    Remove,
    /// Make the version of the log that names the files, unless it is there.
    Commit,
    /// Append the rows that were left out to the table that keeps them, put `_SUCCESS` if it is wanted, clear the staging, then
    /// forget the record.
    Close,
    /// Throw away what is staged, remove what became visible, then forget the record.
    TakeBack,
    /// Nothing.
    Rest,
}

/// What became of one request of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Done, now or before.
    Done,
    /// It failed, or its answer was lost: it may be done or not.
    Refused,
    /// It can never be done: the staged data is gone and the file is not there, or the log refuses the commit.
    Lost,
}

/// The durable record of a publish: all that carrying on needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishRecord {
    /// Which publish.
    pub id: PublishId,
    /// The table's root or the directory, as a URL.
    pub location: String,
    /// Files to make visible.
    pub publish: Vec<StagedFile>,
    /// Paths to remove afterwards.
    pub remove: Vec<String>,
    /// The engine's jobs whose staging is cleared at the end.
    pub jobs: Vec<String>,
    /// What makes the files visible.
    #[serde(default)]
    pub kind: PublishKind,
    /// Whether an empty `_SUCCESS` says at the end that all is there.
    #[serde(default)]
    pub marks_success: bool,
}

impl PublishRecord {
    /// Files that a withdrawal removes: those whose names are the write's own. One that the user named may have replaced an
    /// older file, and removing it would not bring that back.
    pub fn withdrawable(&self) -> Vec<String> {
        let own = |file: &&StagedFile| {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            self.jobs.iter().any(|job| name.strip_prefix(job.as_str()).is_some_and(|rest| rest.starts_with('-')))
        };
        self.publish.iter().filter(own).map(|file| file.path.clone()).collect()
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
