//! What tables expect of the rows that are written to them, and what a write comes to by that.
//!
//! Each writer reports what it has found in its rows; [`judge`] joins the reports of all writers that count. How the rows are
//! split over writers changes nothing. Finding is the engine's part, publishing or not the scheduler's.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::words::counted;

/// Offending rows that are kept of one expectation.
pub const MAX_SAMPLES: usize = 20;

/// What a table expects of each write to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// Its name, one of a kind in its table.
    pub name: String,
    /// What is expected.
    pub rule: Rule,
    /// What becomes of a write that does not meet it.
    pub on_violation: OnViolation,
}

/// What is expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Of no row is this false. NULL is not false.
    Check {
        /// The condition as SQL.
        sql: String,
    },
    /// So many rows are written.
    Rows {
        /// Not fewer.
        at_least: u64,
        /// Not more.
        at_most: Option<u64>,
    },
    /// The newest value of a column is not older than this.
    Fresh {
        /// The column.
        column: String,
        /// The age.
        within_ms: u64,
        /// The age as SQL.
        interval: String,
    },
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check { sql } => write!(f, "CHECK ({sql})"),
            Self::Rows { at_least, at_most: None } => write!(f, "ROWS >= {at_least}"),
            Self::Rows { at_least, at_most: Some(at_most) } => write!(f, "ROWS BETWEEN {at_least} AND {at_most}"),
            Self::Fresh { column, interval, .. } => write!(f, "FRESH {column} WITHIN {interval}"),
        }
    }
}

/// What becomes of a write that does not meet an expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OnViolation {
    /// It fails, and nothing is published.
    Fail,
    /// It is published, and the run tells.
    Warn,
    /// The rows that violate it are left out.
    Drop,
    /// They are left out, and kept in a table beside: [`rejected_table`].
    Reject,
}

impl OnViolation {
    /// Whether rows that violate it are left out.
    pub fn leaves_out(self) -> bool {
        matches!(self, Self::Drop | Self::Reject)
    }
}

/// The name of the table that keeps what is left out of a table of this name.
pub fn rejected_table(table: &str) -> String {
    format!("{table}__rejected")
}

impl fmt::Display for OnViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail => "FAIL",
            Self::Warn => "WARN",
            Self::Drop => "DROP",
            Self::Reject => "DROP INTO REJECTED",
        })
    }
}

/// An expectation and whose it is. Those that a write must meet are a list; reports name them by their position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stated {
    /// The table.
    pub table: String,
    /// What it expects.
    pub expectation: Expectation,
}

/// What one writer found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WriterReport {
    /// Of each `CHECK`.
    pub checks: Vec<CheckReport>,
    /// Of each `FRESH`.
    pub newest: Vec<NewestReport>,
}

/// What one writer found of one `CHECK`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Position of the expectation.
    pub index: usize,
    /// Rows that violate it.
    pub violations: u64,
    /// The first of them, as JSON.
    pub samples: Vec<String>,
}

impl CheckReport {
    /// Nothing found yet.
    pub fn new(index: usize) -> Self {
        Self { index, violations: 0, samples: Vec::new() }
    }

    /// How many more rows are worth showing.
    pub fn wants(&self) -> usize {
        MAX_SAMPLES.saturating_sub(self.samples.len())
    }

    /// Counts rows that violate it; `samples` are the first of them.
    pub fn add(&mut self, violations: u64, samples: impl IntoIterator<Item = String>) {
        let wants = self.wants();
        self.violations += violations;
        self.samples.extend(samples.into_iter().take(wants));
    }
}

/// What one writer found of one `FRESH`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewestReport {
    /// Position of the expectation.
    pub index: usize,
    /// The newest value of its rows in microseconds since the epoch; none when they have none.
    pub newest_us: Option<i64>,
}

impl NewestReport {
    /// Takes in a value.
    pub fn add(&mut self, value_us: Option<i64>) {
        self.newest_us = self.newest_us.max(value_us);
    }
}

/// How a write stands to one expectation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectationResult {
    /// The table that expects it.
    pub table: String,
    /// The expectation's name.
    pub name: String,
    /// What is expected, as SQL.
    pub rule: String,
    /// What becomes of a write that does not meet it.
    pub on_violation: OnViolation,
    /// Whether it is met.
    pub is_met: bool,
    /// Rows that violate it; 0 where it is not about single rows.
    pub violations: u64,
    /// What was found, for people.
    pub found: String,
    /// Rows that violate it, up to [`MAX_SAMPLES`], as JSON.
    pub samples: Vec<String>,
}

/// A writer has not said what it found. It is the engine's fault, never the user's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a writer did not report on expectation {name} of {table}")]
pub struct Unreported {
    name: String,
    table: String,
}

/// Judges a write of `rows` rows by the reports of all its writers.
///
/// # Errors
/// When a report lacks what an expectation needs: then nothing is known.
pub fn judge(
    stated: &[Stated],
    reports: &[WriterReport],
    rows: u64,
    now_ms: i64,
) -> Result<Vec<ExpectationResult>, Unreported> {
    let judge_one = |(index, stated): (usize, &Stated)| {
        let Stated { table, expectation } = stated;
        let unreported = || Unreported { name: expectation.name.clone(), table: table.clone() };
        let (is_met, violations, found, samples) = match &expectation.rule {
            Rule::Check { .. } => {
                let all = joined(index, reports).ok_or_else(unreported)?;
                let found = match (all.violations, expectation.on_violation) {
                    (0, _) => String::new(),
                    (n, OnViolation::Drop) => format!("{} left out", counted(n, "row")),
                    (n, OnViolation::Reject) => format!("{} left out and kept", counted(n, "row")),
                    (n, _) => format!("{} {} it", counted(n, "row"), if n == 1 { "violates" } else { "violate" }),
                };
                (all.violations == 0, all.violations, found, all.samples)
            }
            Rule::Rows { at_least, at_most } => {
                let is_met = rows >= *at_least && at_most.is_none_or(|most| rows <= most);
                (is_met, 0, format!("{} written", counted(rows, "row")), Vec::new())
            }
            Rule::Fresh { column, within_ms, .. } => {
                let newest = newest(index, reports).ok_or_else(unreported)?;
                let (is_met, found) = freshness(column, newest, rows, *within_ms, now_ms);
                (is_met, 0, found, Vec::new())
            }
        };
        Ok(ExpectationResult {
            table: table.clone(),
            name: expectation.name.clone(),
            rule: expectation.rule.to_string(),
            on_violation: expectation.on_violation,
            is_met,
            violations,
            found,
            samples,
        })
    };
    stated.iter().enumerate().map(judge_one).collect()
}

/// What all writers found of a `CHECK`; none when one of them does not say.
fn joined(index: usize, reports: &[WriterReport]) -> Option<CheckReport> {
    let mut all = CheckReport::new(index);
    for report in reports {
        let one = report.checks.iter().find(|check| check.index == index)?;
        all.add(one.violations, one.samples.iter().cloned());
    }
    Some(all)
}

/// The newest value of all writers; none when one of them does not say.
fn newest(index: usize, reports: &[WriterReport]) -> Option<Option<i64>> {
    let mut all = NewestReport { index, newest_us: None };
    for report in reports {
        all.add(report.newest.iter().find(|newest| newest.index == index)?.newest_us);
    }
    Some(all.newest_us)
}

/// A write without rows has nothing that is old: `ROWS >= 1` refuses it.
fn freshness(column: &str, newest_us: Option<i64>, rows: u64, within_ms: u64, now_ms: i64) -> (bool, String) {
    match newest_us {
        None if rows == 0 => (true, "no rows written".to_owned()),
        None => (false, format!("{column} is NULL in all rows")),
        Some(newest_us) => {
            let age_ms = u64::try_from(now_ms.saturating_sub(newest_us.div_euclid(1000))).unwrap_or(0);
            (age_ms <= within_ms, format!("the newest {column} is {} old", age(age_ms)))
        }
    }
}

/// `3 days 2 h`, `5 h 10 min`, `12 s`: the two largest units.
fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{} {hours} h", counted(days, "day")),
    }
}

/// The failure of a write that does not meet what it must; none when it may be published.
pub fn refusal(results: &[ExpectationResult]) -> Option<Failure> {
    let failed = results.iter().filter(|result| !result.is_met && result.on_violation == OnViolation::Fail);
    Failure::join(failed.map(failure).collect())
}

fn failure(result: &ExpectationResult) -> Failure {
    let ExpectationResult { table, name, rule, found, samples, violations, .. } = result;
    let mut cause = format!("expectation {name} of {table} is not met: {rule}: {found}");
    for sample in samples {
        cause.push_str("\n    ");
        cause.push_str(sample);
    }
    let more = violations.saturating_sub(samples.len() as u64);
    if more > 0 && !samples.is_empty() {
        cause.push_str(&format!("\n    and {} more", counted(more, "row")));
    }
    Failure::user("EXPECTATION_FAILED", cause).with_hint(format!(
        "Nothing was published. Mend what is written, or state another expectation: EXPECT {name} ON {table} ... WARN \
         publishes all the same"
    ))
}

#[cfg(test)]
#[path = "expectation_tests.rs"]
mod tests;
