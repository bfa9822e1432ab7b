//! `EXPECT` and `DROP EXPECT`, taken apart.

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName};
use selvedge_model::expectation::OnViolation;

/// `EXPECT name ON t CHECK (...) | ROWS ... | FRESH ... [FAIL | WARN | DROP [INTO REJECTED]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    /// Its name.
    pub name: Ident,
    /// The table.
    pub table: ObjectName,
    /// What is expected.
    pub rule: ExpectRule,
    /// What becomes of a write that does not meet it.
    pub on_violation: OnViolation,
}

/// What is expected.
#[derive(Debug, Clone, PartialEq)]
pub enum ExpectRule {
    /// `CHECK (condition)`
    Check(Box<Expr>),
    /// `ROWS >= n`, `ROWS BETWEEN a AND b`
    Rows {
        /// Not fewer.
        at_least: u64,
        /// Not more.
        at_most: Option<u64>,
    },
    /// `FRESH column WITHIN INTERVAL '...'`
    Fresh {
        /// The column.
        column: Ident,
        /// The interval.
        within: Box<Expr>,
    },
}

/// `DROP EXPECT [IF EXISTS] name ON t`
#[derive(Debug, Clone, PartialEq)]
pub struct DropExpect {
    /// Its name.
    pub name: Ident,
    /// The table.
    pub table: ObjectName,
    /// Whether one that is not there is fine.
    pub if_exists: bool,
}
