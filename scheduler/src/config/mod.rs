//! Configuration of the scheduler, in two stages: as typed (`raw`), then resolved into typed options (`options`).
//!
//! `keys` is the one table of keys, defaults and their meaning; `render` prints resolved options from it. Nothing here
//! reads a global: file, environment and flags come in as arguments. The next file in the way of a start is
//! `crate::server`.

mod keys;
mod options;
mod parse;
mod raw;
mod render;

use std::fmt;

pub use keys::{KEYS, Key};
pub use options::{LogFormat, SchedulerOptions, StateStore};
pub use raw::SchedulerConfig;
use selvedge_model::Failure;

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key, dotted as in the file; empty when the file itself is at fault.
    pub key: String,
    /// Where it was given: a file name, `environment variable SELVEDGE_...`, `flag --...`.
    pub given_in: String,
    /// What is wrong.
    pub problem: String,
    /// What to do; empty when there is nothing to say.
    pub hint: String,
}

impl ConfigProblem {
    /// Every problem as one failure of the user's; `None` when there is none.
    pub fn failure(problems: &[ConfigProblem]) -> Option<Failure> {
        Failure::join(
            problems.iter().map(|p| Failure::user("BAD_CONFIG", p.located()).with_hint(p.hint.clone())).collect(),
        )
    }

    fn located(&self) -> String {
        match (self.key.as_str(), self.given_in.as_str()) {
            ("", "") => self.problem.clone(),
            ("", given_in) => format!("{given_in}: {}", self.problem),
            (key, "") => format!("{key}: {}", self.problem),
            (key, given_in) => format!("{key} ({given_in}): {}", self.problem),
        }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.located())?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, ". {}", self.hint) }
    }
}
