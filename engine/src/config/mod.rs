//! Configuration of a service: file < `SELVEDGE_*` environment < flags, judged against the service's own table of keys.
//!
//! `layers` brings the sources together and refuses unknown names, `read` turns texts into values and gathers every
//! problem, `render` prints the result. Keys that services share stand in `shared`. Nothing here reads a global, and no key
//! takes a secret. What each key means to a service is in its own crate: `scheduler/src/config`, `executor/src/config`.

mod keys;
mod layers;
pub mod parse;
mod read;
mod render;
pub mod shared;

use std::fmt;

pub use keys::{Key, variable};
pub use layers::Sources;
pub use read::Reader;
pub use render::{markdown, render};
use selvedge_model::Failure;
pub use shared::LogFormat;

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key, dotted as in the file; empty when the file itself is at fault.
    pub key: String,
    /// Where it was given: a file name, `environment variable SELVEDGE_...`, `flag --...`; empty when it was not.
    pub given_in: String,
    /// What is wrong.
    pub problem: String,
    /// What to do; empty when there is nothing to say.
    pub hint: String,
}

impl ConfigProblem {
    fn new(key: &str, given_in: &str, problem: impl Into<String>) -> Self {
        Self { key: key.to_owned(), given_in: given_in.to_owned(), problem: problem.into(), hint: String::new() }
    }

    /// Every problem as one failure of the user's.
    pub fn failure(problems: &[ConfigProblem]) -> Failure {
        let failures = problems.iter().map(|p| Failure::user("BAD_CONFIG", p.located()).with_hint(p.hint.clone()));
        Failure::join(failures.collect())
            .unwrap_or_else(|| Failure::internal("INTERNAL", "the configuration was refused without a reason"))
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
