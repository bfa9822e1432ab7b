//! How what a statement wrote stands to what its table expects: a line each, and rows that violate it.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use selvedge::model::{ExpectationResult, OnViolation, StatementRecord};

use super::Grid;
use crate::error::CliError;

const STRONG: Style = Style::new().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Prints what a statement's table expects; nothing when it expects nothing.
///
/// # Errors
/// When stdout is closed.
pub(super) fn print_expectations(out: &mut impl Write, statement: &StatementRecord) -> Result<(), CliError> {
    let results = &statement.expectations;
    if results.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{STRONG}Statement {} is expected to meet{STRONG:#}", statement.index)?;
    let mut grid = Grid::new(["table", "expectation", "rule", "or else", "outcome", "found"]);
    for r in results {
        let or_else = r.on_violation.to_string();
        grid.row([r.table.as_str(), &r.name, &r.rule, &or_else, outcome(r), &r.found]);
    }
    write!(out, "{}", grid.render())?;
    for r in results.iter().filter(|r| !r.samples.is_empty()) {
        let verb = if r.on_violation == OnViolation::Drop { "left out by" } else { "that violate" };
        writeln!(out, "{BAD}rows {verb} {}{BAD:#}", r.name)?;
        for sample in &r.samples {
            writeln!(out, "    {sample}")?;
        }
        let more = r.violations.saturating_sub(r.samples.len() as u64);
        if more > 0 {
            writeln!(out, "    and {} more", super::units::count(more))?;
        }
    }
    Ok(())
}

fn outcome(result: &ExpectationResult) -> &'static str {
    match (result.is_met, result.on_violation) {
        (true, _) => "met",
        (false, OnViolation::Fail) => "FAILED",
        (false, OnViolation::Warn) => "warned",
        (false, OnViolation::Drop) => "dropped",
        (false, OnViolation::Reject) => "rejected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_met_stands_out_with_its_rows() {
        let result = |name: &str, is_met, violations| ExpectationResult {
            table: "public.t".into(),
            name: name.into(),
            rule: "CHECK (a > 0)".into(),
            on_violation: OnViolation::Warn,
            is_met,
            violations,
            found: if is_met { String::new() } else { "1,234 rows violate it".into() },
            samples: if is_met { vec![] } else { vec!["{\"a\":0}".into()] },
        };
        let mut statement = StatementRecord::pending(2, "INSERT INTO", "INSERT", "t");
        let print = |statement: &StatementRecord| {
            let mut out = Vec::new();
            print_expectations(&mut out, statement).unwrap();
            anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
        };
        assert_eq!(print(&statement), "");
        statement.expectations = vec![result("good", true, 0), result("bad", false, 1234)];
        let text = print(&statement);
        for part in [
            "Statement 2",
            "good",
            "met",
            "bad",
            "warned",
            "1,234 rows violate it",
            "    {\"a\":0}\n",
            "and 1,233 more",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }
}
