//! Statements that look after managed tables: `OPTIMIZE`, `VACUUM`, `RESTORE`, `ALTER TABLE`, `DESCRIBE HISTORY` and `DETAIL`.

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName};

use super::statement::{ColumnSpec, name_text};
use crate::delta::VersionSpec;

/// A statement that looks after a managed table.
#[derive(Debug, Clone, PartialEq)]
pub struct Maintenance {
    /// The table.
    pub table: ObjectName,
    /// What is done.
    pub task: MaintenanceTask,
}

/// What is done to a managed table.
#[derive(Debug, Clone, PartialEq)]
pub enum MaintenanceTask {
    /// `DESCRIBE HISTORY t [LIMIT n]`
    History {
        /// Most versions to show.
        limit: Option<usize>,
    },
    /// `DESCRIBE DETAIL t`
    Detail,
    /// `OPTIMIZE t [WHERE condition]`
    Optimize {
        /// What the partitions must satisfy.
        filter: Option<Box<Expr>>,
    },
    /// `VACUUM t [RETAIN n HOURS] [DRY RUN]`
    Vacuum {
        /// How long what versions no longer name is kept; the table says when nothing is said.
        retain_hours: Option<u32>,
        /// Whether only to tell what would go.
        is_dry_run: bool,
    },
    /// `RESTORE t TO VERSION AS OF n`, `RESTORE t TO TIMESTAMP AS OF '...'`
    Restore {
        /// The version.
        to: VersionSpec,
    },
    /// `ALTER TABLE t ADD COLUMNS (...)`
    AddColumns {
        /// The columns.
        columns: Vec<ColumnSpec>,
        /// Whether those that are there are left alone.
        if_not_exists: bool,
    },
    /// `ALTER TABLE t SET TBLPROPERTIES (...)`, `ALTER TABLE t UNSET TBLPROPERTIES (...)`
    Properties(Vec<Property>),
}

/// A property of a table that is set or unset.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its key, as it was written.
    pub key: Ident,
    /// Its value; `None` unsets it.
    pub value: Option<String>,
}

impl Maintenance {
    /// What kind of statement it is, for people.
    pub fn label(&self) -> &'static str {
        match self.task {
            MaintenanceTask::History { .. } => "DESCRIBE HISTORY",
            MaintenanceTask::Detail => "DESCRIBE DETAIL",
            MaintenanceTask::Optimize { .. } => "OPTIMIZE",
            MaintenanceTask::Vacuum { .. } => "VACUUM",
            MaintenanceTask::Restore { .. } => "RESTORE",
            MaintenanceTask::AddColumns { .. } | MaintenanceTask::Properties(_) => "ALTER TABLE",
        }
    }

    /// The table that it changes; empty when it changes none.
    pub fn target(&self) -> String {
        match self.task {
            MaintenanceTask::History { .. } | MaintenanceTask::Detail => String::new(),
            _ => name_text(&self.table),
        }
    }
}
