//! What went wrong, whose it is, and whether to try again. Decisions read this, never an error's text.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// The request, the script or its data is wrong.
    User,
    /// Something we depend on failed: object storage, the network, a lost node.
    External,
    /// Selvedge itself is at fault.
    Internal,
}

/// Whether the same action may succeed when tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// It will fail again.
    Never,
    /// It may succeed later.
    Later,
}

/// The place in a script that a failure points at. Lines and columns count from 1; columns count characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Position of the statement in its script, from 1; 0 for the script as a whole.
    pub statement: u32,
    /// Line in the script.
    pub line: u32,
    /// Column in that line.
    pub column: u32,
    /// The text of that line.
    pub line_text: String,
}

/// What failed, where, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Who has to act.
    pub domain: Domain,
    /// Whether to try again.
    pub retry: Retry,
    /// A stable name to script against, in capitals: `TABLE_NOT_FOUND`.
    pub code: String,
    /// What failed and why, for a person who wrote SQL.
    pub cause: String,
    /// What to do about it; empty when there is nothing to say.
    pub hint: String,
    /// Where, when the failure has a place in a script.
    pub place: Option<Place>,
    /// Further problems found in the same pass.
    pub others: Vec<Failure>,
}

impl Failure {
    /// A failure without hint or place; add them with [`Self::with_hint`] and [`Self::at`].
    pub fn new(domain: Domain, retry: Retry, code: &str, cause: impl Into<String>) -> Self {
        Self {
            domain,
            retry,
            code: code.to_owned(),
            cause: cause.into(),
            hint: String::new(),
            place: None,
            others: Vec::new(),
        }
    }

    /// The user's to mend; never retried.
    pub fn user(code: &str, cause: impl Into<String>) -> Self {
        Self::new(Domain::User, Retry::Never, code, cause)
    }

    /// A dependency's fault that may pass.
    pub fn external(code: &str, cause: impl Into<String>) -> Self {
        Self::new(Domain::External, Retry::Later, code, cause)
    }

    /// Ours; never retried.
    pub fn internal(code: &str, cause: impl Into<String>) -> Self {
        Self::new(Domain::Internal, Retry::Never, code, cause)
    }

    /// Says what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Says where, unless a nearer place is already known.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }

    /// Joins several failures into the first one; `None` when there are none.
    pub fn join(failures: Vec<Failure>) -> Option<Failure> {
        let mut all = failures.into_iter();
        let mut first = all.next()?;
        first.others.extend(all);
        Some(first)
    }

    /// Whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        self.retry == Retry::Later
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        if let Some(place) = &self.place {
            write!(f, " (line {}, column {})", place.line, place.column)?;
        }
        if !self.hint.is_empty() {
            write!(f, ". {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Implemented by every crate's error: the one way from an error to a decision.
pub trait HasFailure {
    /// The error as a failure.
    fn failure(&self) -> Failure;
}

impl HasFailure for Failure {
    fn failure(&self) -> Failure {
        self.clone()
    }
}
