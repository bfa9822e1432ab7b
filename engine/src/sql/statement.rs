//! What a statement says, taken apart but not yet understood: names are as written, types and queries are sqlparser's.
//!
//! Built by `parse`; the scheduler's `planning` gives it meaning.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Span;
use datafusion::sql::sqlparser::ast::{ColumnDef, Ident, ObjectName, Query};
use selvedge_model::Place;

use super::change::{Delete, Merge, Update};
use super::expect::{DropExpect, Expect};
use super::maintenance::Maintenance;
use super::source::ScriptSource;

/// One statement of a script.
#[derive(Debug, Clone)]
pub struct ScriptStatement {
    /// Its position in the script, from 1.
    pub index: u32,
    /// Its text, parameters filled in, without the semicolon.
    pub sql: String,
    /// Where it begins.
    pub place: Place,
    /// What it says.
    pub kind: StatementKind,
    pub(super) source: Arc<ScriptSource>,
}

impl ScriptStatement {
    /// The place of a span that planning this statement's syntax tree gave; its beginning where there is none.
    pub fn place_of(&self, span: Option<Span>) -> Place {
        match span {
            Some(span) if span.start.line > 0 => self.source.place(self.index, span.start.line, span.start.column),
            _ => self.place.clone(),
        }
    }

    /// The place of a name in this statement's syntax tree.
    pub fn place_of_ident(&self, ident: &Ident) -> Place {
        self.place_of(Span::try_from_sqlparser_span(ident.span))
    }

    /// The place of a table's name.
    pub fn place_of_name(&self, name: &ObjectName) -> Place {
        match name.0.first().and_then(|part| part.as_ident()) {
            Some(ident) => self.place_of_ident(ident),
            None => self.place.clone(),
        }
    }
}

/// What a statement does.
#[derive(Debug, Clone, PartialEq)]
pub enum StatementKind {
    /// `SELECT`, `WITH`, `VALUES`
    Query(Box<Query>),
    /// `EXPLAIN [ANALYZE] [VERBOSE] statement`
    Explain {
        /// Whether to run it.
        analyze: bool,
        /// Whether to show more of the plans.
        verbose: bool,
        /// What to explain: a query, or a statement that has one.
        statement: Box<StatementKind>,
    },
    /// `CREATE SCHEMA`
    CreateSchema(CreateSchema),
    /// `CREATE EXTERNAL TABLE`
    CreateExternalTable(CreateExternalTable),
    /// `CREATE TABLE` with columns
    CreateTable(CreateTable),
    /// `CREATE TABLE AS`
    CreateTableAs(CreateTableAs),
    /// `CREATE VIEW`
    CreateView(CreateView),
    /// `DROP`
    Drop(Drop),
    /// `INSERT INTO`, `INSERT OVERWRITE`
    Insert(Insert),
    /// `DELETE FROM`
    Delete(Delete),
    /// `UPDATE`
    Update(Update),
    /// `MERGE INTO`
    Merge(Box<Merge>),
    /// `COPY TO`
    Copy(CopyTo),
    /// `SET key = value`
    Set {
        /// The setting.
        key: String,
        /// Its value.
        value: String,
    },
    /// `SHOW`
    Show(Show),
    /// `DESCRIBE table`
    Describe(ObjectName),
    /// `REFRESH [TABLE] table`, `MSCK REPAIR TABLE table`
    Refresh(ObjectName),
    /// `OPTIMIZE`, `VACUUM`, `RESTORE`, `ALTER TABLE`, `DESCRIBE HISTORY | DETAIL`
    Maintain(Box<Maintenance>),
    /// `EXPECT`
    Expect(Expect),
    /// `DROP EXPECT`
    DropExpect(DropExpect),
}

/// `CREATE SCHEMA [IF NOT EXISTS] s [LOCATION '...']`
#[derive(Debug, Clone, PartialEq)]
pub struct CreateSchema {
    /// Its name.
    pub name: Ident,
    /// Where its tables go.
    pub location: Option<String>,
    /// Whether one that exists is left alone.
    pub if_not_exists: bool,
}

/// A column that a table declares.
pub type ColumnSpec = ColumnDef;

/// The columns that a statement declares for a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableColumns {
    /// Columns with their types, also those given in `PARTITIONED BY`.
    pub columns: Vec<ColumnSpec>,
    /// Names of the partition columns, in order.
    pub partition_by: Vec<Ident>,
}

/// `CREATE EXTERNAL TABLE`: files that are there.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateExternalTable {
    /// The table.
    pub name: ObjectName,
    /// Its columns; none are declared when they are to be read from the files.
    pub columns: TableColumns,
    /// `PARQUET`, `DELTA`, `CSV`, `JSON` or `AVRO`.
    pub format: Ident,
    /// Where the files are.
    pub location: String,
    /// How to read them.
    pub options: Vec<(String, String)>,
    /// Whether one that exists is left alone.
    pub if_not_exists: bool,
    /// Whether one that exists is replaced.
    pub or_replace: bool,
}

/// `CREATE TABLE t (columns)`
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    /// The table.
    pub name: ObjectName,
    /// Its columns.
    pub columns: TableColumns,
    /// `DELTA`, `PARQUET`, or none for what is usual.
    pub format: Option<Ident>,
    /// Where its files go.
    pub location: Option<String>,
    /// Whether one that exists is left alone.
    pub if_not_exists: bool,
    /// Whether one that exists is replaced.
    pub or_replace: bool,
}

/// `CREATE TABLE t [(names)] AS query`
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTableAs {
    /// The table.
    pub name: ObjectName,
    /// New names for the query's columns, or none.
    pub columns: Vec<Ident>,
    /// Names of the partition columns, in order.
    pub partition_by: Vec<Ident>,
    /// `DELTA`, `PARQUET`, or none for what is usual.
    pub format: Option<Ident>,
    /// Where its files go.
    pub location: Option<String>,
    /// Whether one that exists is left alone.
    pub if_not_exists: bool,
    /// Whether one that exists is replaced.
    pub or_replace: bool,
    /// Its rows.
    pub source: Box<Query>,
}

/// `CREATE [OR REPLACE] VIEW v [(names)] AS query`
#[derive(Debug, Clone, PartialEq)]
pub struct CreateView {
    /// The view.
    pub name: ObjectName,
    /// New names for the query's columns, or none.
    pub columns: Vec<Ident>,
    /// Whether one that exists is replaced.
    pub or_replace: bool,
    /// Whether one that exists is left alone.
    pub if_not_exists: bool,
    /// Its rows.
    pub source: Box<Query>,
}

/// What `DROP` drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropKind {
    /// A table; its files stay.
    Table,
    /// A view.
    View,
    /// A schema.
    Schema,
}

/// `DROP TABLE | VIEW | SCHEMA [IF EXISTS] name [CASCADE | RESTRICT]`
#[derive(Debug, Clone, PartialEq)]
pub struct Drop {
    /// What.
    pub kind: DropKind,
    /// Its name.
    pub name: ObjectName,
    /// Whether one that is not there is fine.
    pub if_exists: bool,
    /// Whether a schema's tables go with it.
    pub cascade: bool,
}

/// The value of a column in `PARTITION (...)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionValue {
    /// Taken from the rows.
    Dynamic,
    /// This one, as text; `None` is `NULL`.
    Static(Option<String>),
}

/// One column in `PARTITION (...)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionItem {
    /// The column.
    pub column: Ident,
    /// Its value.
    pub value: PartitionValue,
}

/// `INSERT INTO | OVERWRITE [TABLE] t [PARTITION (...)] [(columns)] query`
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// The table.
    pub table: ObjectName,
    /// The columns that the query's columns are for; none are named when they go by position or by name.
    pub columns: Vec<Ident>,
    /// Whether the query's columns are for those of their name.
    pub by_name: bool,
    /// Whether the table gets the columns of the query that it lacks.
    pub evolves: bool,
    /// Whether what is there is replaced.
    pub overwrite: bool,
    /// The `PARTITION` clause.
    pub partition: Vec<PartitionItem>,
    /// The rows.
    pub source: Box<Query>,
}

/// What `COPY` copies.
#[derive(Debug, Clone, PartialEq)]
pub enum CopySource {
    /// A query's rows.
    Query(Box<Query>),
    /// A table's rows.
    Table(ObjectName),
}

/// `COPY source TO '...' [STORED AS f] [PARTITIONED BY (...)] [OPTIONS (...)]`
#[derive(Debug, Clone, PartialEq)]
pub struct CopyTo {
    /// The rows.
    pub source: CopySource,
    /// A file or a directory.
    pub target: String,
    /// The format; the target's extension says it where it is not given.
    pub format: Option<Ident>,
    /// Names of the partition columns, in order.
    pub partition_by: Vec<Ident>,
    /// How to write.
    pub options: Vec<(String, String)>,
}

/// What `SHOW` shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Show {
    /// Tables and views, of one schema if named.
    Tables(Option<Ident>),
    /// Schemas.
    Schemas,
    /// Columns of a table.
    Columns(ObjectName),
    /// All settings.
    All,
    /// One setting.
    Setting(String),
    /// What tables expect, of one table if named.
    Expects(Option<ObjectName>),
}

/// A name as a person reads it: `schema.table`, without quotes.
pub fn name_text(name: &ObjectName) -> String {
    let part = |p: &datafusion::sql::sqlparser::ast::ObjectNamePart| match p.as_ident() {
        Some(ident) => ident.value.clone(),
        None => p.to_string(),
    };
    name.0.iter().map(part).collect::<Vec<_>>().join(".")
}

impl StatementKind {
    /// What kind of statement it is, for people.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Query(_) => "SELECT",
            Self::Explain { analyze: true, .. } => "EXPLAIN ANALYZE",
            Self::Explain { .. } => "EXPLAIN",
            Self::CreateSchema(_) => "CREATE SCHEMA",
            Self::CreateExternalTable(_) => "CREATE EXTERNAL TABLE",
            Self::CreateTable(_) => "CREATE TABLE",
            Self::CreateTableAs(_) => "CREATE TABLE AS",
            Self::CreateView(_) => "CREATE VIEW",
            Self::Drop(drop) => match drop.kind {
                DropKind::Table => "DROP TABLE",
                DropKind::View => "DROP VIEW",
                DropKind::Schema => "DROP SCHEMA",
            },
            Self::Insert(insert) if insert.overwrite => "INSERT OVERWRITE",
            Self::Insert(_) => "INSERT INTO",
            Self::Delete(_) => "DELETE FROM",
            Self::Update(_) => "UPDATE",
            Self::Merge(_) => "MERGE INTO",
            Self::Copy(_) => "COPY",
            Self::Set { .. } => "SET",
            Self::Show(_) => "SHOW",
            Self::Describe(_) => "DESCRIBE",
            Self::Refresh(_) => "REFRESH",
            Self::Maintain(maintenance) => maintenance.label(),
            Self::Expect(_) => "EXPECT",
            Self::DropExpect(_) => "DROP EXPECT",
        }
    }

    /// The table, view, schema or location that it changes; empty when it changes none.
    pub fn target(&self) -> String {
        match self {
            Self::CreateSchema(create) => create.name.value.clone(),
            Self::CreateExternalTable(create) => name_text(&create.name),
            Self::CreateTable(create) => name_text(&create.name),
            Self::CreateTableAs(create) => name_text(&create.name),
            Self::CreateView(create) => name_text(&create.name),
            Self::Drop(drop) => name_text(&drop.name),
            Self::Insert(insert) => name_text(&insert.table),
            Self::Delete(delete) => name_text(&delete.table.name),
            Self::Update(update) => name_text(&update.table.name),
            Self::Merge(merge) => name_text(&merge.table.name),
            Self::Copy(copy) => copy.target.clone(),
            Self::Maintain(maintenance) => maintenance.target(),
            Self::Expect(expect) => name_text(&expect.table),
            Self::DropExpect(drop) => name_text(&drop.table),
            Self::Query(_)
            | Self::Explain { .. }
            | Self::Set { .. }
            | Self::Show(_)
            | Self::Describe(_)
            | Self::Refresh(_) => String::new(),
        }
    }
}

impl fmt::Display for StatementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())?;
        match self.target() {
            target if target.is_empty() => Ok(()),
            target => write!(f, " {target}"),
        }
    }
}
