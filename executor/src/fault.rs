//! A task at which a test lets this process end at once, as a crash in native code or the kernel's memory killer would.
//!
//! For tests only: `SELVEDGE_TASK_FAULT=abort:TEXT` in the environment of `selvedge executor` aborts it when it begins a task
//! whose plan has that text in it, a literal of the statement for instance. Without the variable every task is run.

use std::sync::OnceLock;

use selvedge_model::Failure;

/// The variable that arms it.
pub const VARIABLE: &str = "SELVEDGE_TASK_FAULT";

const ABORT: &str = "abort:";

static MARK: OnceLock<String> = OnceLock::new();

/// Arms what the environment says, once for the life of the process.
///
/// # Errors
/// `USAGE` when it cannot be read.
pub fn arm_from_environment() -> Result<(), Failure> {
    let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) else { return Ok(()) };
    let mark = parse(&text)?;
    tracing::warn!(mark, "{VARIABLE} is set: this process ends at such a task");
    let _ = MARK.set(mark.to_owned());
    Ok(())
}

fn parse(text: &str) -> Result<&str, Failure> {
    let mark = text.strip_prefix(ABORT).filter(|mark| !mark.is_empty());
    mark.ok_or_else(|| Failure::user("USAGE", format!("{VARIABLE}={text} is not {ABORT}TEXT")))
}

/// Passes a task, or ends the process with it.
pub(crate) fn reach(plan: &[u8]) {
    let Some(mark) = MARK.get() else { return };
    if has(plan, mark) {
        tracing::error!("ending as {VARIABLE} says");
        std::process::abort();
    }
}

fn has(plan: &[u8], mark: &str) -> bool {
    plan.windows(mark.len()).any(|window| window == mark.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_known_by_a_text_in_its_plan() {
        let mark = parse("abort:deadly").unwrap();
        assert!(has(b"\x00\x01deadly\xff", mark) && has(b"deadly", mark));
        assert!(!has(b"deadl", mark) && !has(b"", mark));
        for text in ["abort:", "abort", "hang:x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
