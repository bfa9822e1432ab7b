//! Statements that change rows which are there: `DELETE`, `UPDATE`, `MERGE`. As written, not yet understood.

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, TableFactor};

/// The table whose rows change.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedTable {
    /// The table.
    pub name: ObjectName,
    /// What the statement calls it.
    pub alias: Option<Ident>,
}

/// `column = value`
#[derive(Debug, Clone, PartialEq)]
pub struct SetColumn {
    /// The column, with or without its table's name.
    pub column: ObjectName,
    /// Its new value.
    pub value: Expr,
}

/// `DELETE FROM t [alias] [WHERE condition]`
#[derive(Debug, Clone, PartialEq)]
pub struct Delete {
    /// The table.
    pub table: ChangedTable,
    /// Which rows; all when it is left out.
    pub condition: Option<Expr>,
}

/// `UPDATE t [alias] SET column = value, ... [WHERE condition]`
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The table.
    pub table: ChangedTable,
    /// New values.
    pub set: Vec<SetColumn>,
    /// Which rows; all when it is left out.
    pub condition: Option<Expr>,
}

/// `MERGE INTO t [alias] USING source ON condition WHEN ...`
#[derive(Debug, Clone, PartialEq)]
pub struct Merge {
    /// The table.
    pub table: ChangedTable,
    /// A table, a view, or a query with a name.
    pub source: TableFactor,
    /// Which rows of both match.
    pub on: Expr,
    /// What becomes of them: of the clauses for a row, the first whose condition holds.
    pub clauses: Vec<MergeClause>,
}

/// `WHEN ... [AND condition] THEN action`
#[derive(Debug, Clone, PartialEq)]
pub struct MergeClause {
    /// The rows it is for.
    pub rows: MergeRows,
    /// Which of them.
    pub condition: Option<Expr>,
    /// What becomes of them.
    pub action: MergeAction,
}

/// The rows that a clause of `MERGE` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeRows {
    /// `WHEN MATCHED`: rows of the table with a row of the source.
    Matched,
    /// `WHEN NOT MATCHED [BY TARGET]`: rows of the source without one of the table.
    OnlyInSource,
    /// `WHEN NOT MATCHED BY SOURCE`: rows of the table without one of the source.
    OnlyInTarget,
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum MergeAction {
    /// `UPDATE SET column = value, ...`
    Update(Vec<SetColumn>),
    /// `UPDATE SET *`: every column from the source's of the same name.
    UpdateAll,
    /// `DELETE`
    Delete,
    /// `INSERT (columns) VALUES (values)`
    Insert {
        /// The columns; none are named when the values are for all, in the table's order.
        columns: Vec<Ident>,
        /// Their values.
        values: Vec<Expr>,
    },
    /// `INSERT *`: every column from the source's of the same name.
    InsertAll,
}
