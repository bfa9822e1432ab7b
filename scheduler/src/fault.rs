//! Named steps at which a test lets the scheduler's process end at once, as a crash would.
//!
//! For tests only: `SELVEDGE_FAULT=STEP[:N]` in the environment of `selvedge scheduler` aborts it when it reaches the step for
//! the N-th time (the first unless said). Without the variable every step is passed. `selvedge scheduler --list-faults`
//! prints the names and what passes them, so that a test goes through all of them without a list of its own.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use selvedge_model::Failure;

/// The variable that arms a step.
pub const VARIABLE: &str = "SELVEDGE_FAULT";

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Where the process may be told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A publish is decided, and nothing of it recorded.
    PublishDecided,
    /// A publish is in the journal, and no file of it visible.
    JournalWritten,
    /// A file has become visible.
    FileCompleted,
    /// All files are visible, and that is not recorded.
    FilesCompleted,
    /// That all files are visible is recorded.
    CompletionRecorded,
    /// A table's log names the files, and that is not recorded.
    LogCommitted,
    /// The first replaced file has been removed.
    FirstRemoved,
    /// All replaced files are removed, and that is not recorded.
    FilesRemoved,
    /// That they are removed is recorded.
    RemovalRecorded,
    /// Rows that were left out are in the log of the table that keeps them, and that is not recorded.
    RejectedAppended,
    /// The staging is cleared, and the journal still holds the publish.
    StagingCleared,
    /// The journal has forgotten the publish; nobody has been told of its end.
    JournalClosed,
    /// A change of the catalog is in the store, and not in the catalog that statements are planned from.
    CatalogWritten,
}

impl Step {
    /// All steps.
    pub const ALL: [Step; 13] = [
        Self::PublishDecided,
        Self::JournalWritten,
        Self::FileCompleted,
        Self::FilesCompleted,
        Self::CompletionRecorded,
        Self::LogCommitted,
        Self::FirstRemoved,
        Self::FilesRemoved,
        Self::RemovalRecorded,
        Self::RejectedAppended,
        Self::StagingCleared,
        Self::JournalClosed,
        Self::CatalogWritten,
    ];

    /// What passes it: a publish of whatever kind, one of plain files, one to a log, or a change of the catalog.
    pub fn passed_by(self) -> &'static str {
        match self {
            Self::FirstRemoved | Self::FilesRemoved => "files",
            Self::LogCommitted | Self::RejectedAppended => "log",
            Self::CatalogWritten => "catalog",
            _ => "publish",
        }
    }

    /// The name that arms it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PublishDecided => "publish-decided",
            Self::JournalWritten => "journal-written",
            Self::FileCompleted => "file-completed",
            Self::FilesCompleted => "files-completed",
            Self::CompletionRecorded => "completion-recorded",
            Self::LogCommitted => "log-committed",
            Self::FirstRemoved => "first-removed",
            Self::FilesRemoved => "files-removed",
            Self::RemovalRecorded => "removal-recorded",
            Self::RejectedAppended => "rejected-appended",
            Self::StagingCleared => "staging-cleared",
            Self::JournalClosed => "journal-closed",
            Self::CatalogWritten => "catalog-written",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug)]
struct Armed {
    step: Step,
    /// How often it is still to be passed, and once more.
    left: AtomicU32,
}

/// Arms the step that the environment names, once for the life of the process.
///
/// # Errors
/// `USAGE` when it names none.
pub fn arm_from_environment() -> Result<(), Failure> {
    let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) else { return Ok(()) };
    let armed = parse(&text)?;
    tracing::warn!(step = %armed.step, "{VARIABLE} is set: this process ends at that step");
    let _ = ARMED.set(armed);
    Ok(())
}

fn parse(text: &str) -> Result<Armed, Failure> {
    let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
    let step = Step::ALL.into_iter().find(|step| step.name() == name);
    match (step, nth.parse()) {
        (Some(step), Ok(nth)) if nth > 0 => Ok(Armed { step, left: AtomicU32::new(nth) }),
        _ => Err(Failure::user("USAGE", format!("{VARIABLE}={text} is not STEP or STEP:N"))
            .with_hint("`selvedge scheduler --list-faults` prints the steps")),
    }
}

/// Whether a step is armed: what has to be done otherwise to be able to stop there.
pub(crate) fn is_armed(step: Step) -> bool {
    ARMED.get().is_some_and(|armed| armed.step == step)
}

/// Passes a step, or ends the process there.
pub(crate) fn reach(step: Step) {
    let Some(armed) = ARMED.get().filter(|armed| armed.step == step) else { return };
    if armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
        tracing::error!(%step, "ending as {VARIABLE} says");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_step_and_how_often_it_is_passed_before() {
        for step in Step::ALL {
            assert_eq!(parse(step.name()).unwrap().step, step);
        }
        let third = parse("file-completed:3").unwrap();
        assert_eq!((third.step, third.left.into_inner()), (Step::FileCompleted, 3));
        for text in ["no-such-step", "file-completed:0", "file-completed:x", ":1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
