//! `CREATE SCHEMA`, `CREATE [EXTERNAL] TABLE`, `CREATE TABLE AS`, `CREATE VIEW`.

use datafusion::sql::sqlparser::ast::{DataType, Ident, ObjectName};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token};

use super::super::statement::{
    ColumnSpec, CreateExternalTable, CreateSchema, CreateTable, CreateTableAs, CreateView, StatementKind, TableColumns,
};
use super::clauses::{Clauses, PartitionColumn, without_defaults};
use super::front::{Front, found, keyword};
use super::problem::Problem;

/// What stands before the clauses of a `CREATE TABLE`.
struct TableHead {
    name: ObjectName,
    columns: Vec<ColumnSpec>,
    or_replace: bool,
    if_not_exists: bool,
    at: Location,
}

impl Front {
    /// Parses a `CREATE` statement.
    pub fn create(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let or_replace = self.parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
        let what = self.parser.next_token();
        match keyword(&what) {
            Keyword::SCHEMA | Keyword::DATABASE if !or_replace => self.create_schema(),
            Keyword::VIEW => self.create_view(or_replace),
            Keyword::TABLE => self.create_table(or_replace),
            Keyword::EXTERNAL => {
                self.parser.expect_keyword(Keyword::TABLE)?;
                let head = self.table_head(or_replace)?;
                let clauses = self.clauses()?;
                external(head, clauses)
            }
            Keyword::TEMP | Keyword::TEMPORARY => {
                let cause = "temporary tables and views are not supported";
                let hint = "Name the query in a WITH clause, or create a view.";
                Err(Problem::unsupported(cause, what.span.start).with_hint(hint))
            }
            _ => {
                let cause = format!("expected SCHEMA, TABLE, EXTERNAL TABLE or VIEW, found {}", found(&what));
                Err(Problem::syntax(cause, what.span.start))
            }
        }
    }

    fn if_not_exists(&mut self) -> bool {
        self.parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS])
    }

    fn create_schema(&mut self) -> Result<StatementKind, Problem> {
        let if_not_exists = self.if_not_exists();
        let name = self.parser.parse_identifier()?;
        let location = match self.parser.parse_keyword(Keyword::LOCATION) {
            true => Some(self.location()?),
            false => None,
        };
        Ok(StatementKind::CreateSchema(CreateSchema { name, location, if_not_exists }))
    }

    fn create_view(&mut self, or_replace: bool) -> Result<StatementKind, Problem> {
        let at = self.parser.peek_token().span.start;
        let if_not_exists = self.if_not_exists();
        refuse_both(or_replace, if_not_exists, at)?;
        let name = self.parser.parse_object_name(false)?;
        let columns = match self.parser.peek_token().token {
            Token::LParen => names_only(self.columns()?)?,
            _ => Vec::new(),
        };
        self.parser.expect_keyword(Keyword::AS)?;
        let source = self.query()?;
        Ok(StatementKind::CreateView(CreateView { name, columns, or_replace, if_not_exists, source }))
    }

    fn table_head(&mut self, or_replace: bool) -> Result<TableHead, Problem> {
        let at = self.parser.peek_token().span.start;
        let if_not_exists = self.if_not_exists();
        refuse_both(or_replace, if_not_exists, at)?;
        let name = self.parser.parse_object_name(false)?;
        let columns = match self.parser.peek_token().token {
            Token::LParen => self.columns()?,
            _ => Vec::new(),
        };
        Ok(TableHead { name, columns, or_replace, if_not_exists, at })
    }

    fn create_table(&mut self, or_replace: bool) -> Result<StatementKind, Problem> {
        let head = self.table_head(or_replace)?;
        let clauses = self.clauses()?;
        let next = self.parser.peek_token();
        let is_written = |f: &Ident| ["parquet", "delta"].iter().any(|known| f.value.eq_ignore_ascii_case(known));
        if !clauses.format.as_ref().is_none_or(is_written) {
            let cause = "tables are written as Delta or plain Parquet only";
            let hint = "To read other files, use CREATE EXTERNAL TABLE; to write them, COPY ... TO.";
            return Err(Problem::unsupported(cause, head.at).with_hint(hint));
        }
        if clauses.options.is_some() {
            return Err(Problem::unsupported("CREATE TABLE takes no OPTIONS", head.at));
        }
        match keyword(&next) {
            Keyword::AS => {
                self.parser.next_token();
                self.table_as(head, clauses)
            }
            Keyword::SELECT | Keyword::WITH => self.table_as(head, clauses),
            _ if head.columns.is_empty() => {
                let cause = format!("expected columns or AS and a query, found {}", found(&next));
                Err(Problem::syntax(cause, next.span.start))
            }
            _ => {
                let columns = table_columns(head.columns, clauses.partition_by.unwrap_or_default())?;
                Ok(StatementKind::CreateTable(CreateTable {
                    name: head.name,
                    columns,
                    format: clauses.format,
                    location: clauses.location,
                    if_not_exists: head.if_not_exists,
                    or_replace: head.or_replace,
                }))
            }
        }
    }

    fn table_as(&mut self, head: TableHead, clauses: Clauses) -> Result<StatementKind, Problem> {
        let mut partition_by = Vec::new();
        for column in clauses.partition_by.unwrap_or_default() {
            if column.spec.is_some() {
                let cause = format!("the type of {} comes from the query", column.name);
                let hint = "Name the partition columns only: PARTITIONED BY (ds).";
                return Err(Problem::syntax(cause, column.name.span.start).with_hint(hint));
            }
            partition_by.push(column.name);
        }
        Ok(StatementKind::CreateTableAs(CreateTableAs {
            name: head.name,
            columns: names_only(head.columns)?,
            partition_by,
            format: clauses.format,
            location: clauses.location,
            if_not_exists: head.if_not_exists,
            or_replace: head.or_replace,
            source: self.query()?,
        }))
    }
}

fn external(head: TableHead, clauses: Clauses) -> Result<StatementKind, Problem> {
    let missing = |clause: &str| {
        Problem::syntax(format!("CREATE EXTERNAL TABLE needs {clause}"), head.at)
            .with_hint("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://bucket/path'")
    };
    let Some(format) = clauses.format else { return Err(missing("STORED AS PARQUET, CSV, JSON or AVRO")) };
    let Some(location) = clauses.location else { return Err(missing("LOCATION '...'")) };
    without_defaults(&head.columns, "an external table says what is there")?;
    let partition_by = clauses.partition_by.unwrap_or_default();
    let columns = match head.columns.is_empty() {
        // Without declared columns, the types of partition columns may still be given.
        true => TableColumns {
            partition_by: partition_by.iter().map(|c| c.name.clone()).collect(),
            columns: partition_by.into_iter().filter_map(|c| c.spec).collect(),
        },
        false => table_columns(head.columns, partition_by)?,
    };
    Ok(StatementKind::CreateExternalTable(CreateExternalTable {
        name: head.name,
        columns,
        format,
        location,
        options: clauses.options.unwrap_or_default(),
        if_not_exists: head.if_not_exists,
        or_replace: head.or_replace,
    }))
}

/// Joins declared columns and partition columns. A partition column without type must be among the columns or is text.
fn table_columns(columns: Vec<ColumnSpec>, partition_by: Vec<PartitionColumn>) -> Result<TableColumns, Problem> {
    if let Some(column) = columns.iter().find(|c| c.data_type == DataType::Unspecified) {
        let cause = format!("expected a type for column {}", column.name);
        return Err(Problem::syntax(cause, column.name.span.start));
    }
    let mut table = TableColumns { columns, partition_by: Vec::new() };
    for column in partition_by {
        let declared = table.columns.iter().any(|c| c.name.value.eq_ignore_ascii_case(&column.name.value));
        match (declared, column.spec) {
            (true, Some(_)) => {
                let cause = format!("column {} is declared twice", column.name);
                let hint = "Give its type either among the columns or in PARTITIONED BY.";
                return Err(Problem::syntax(cause, column.name.span.start).with_hint(hint));
            }
            (true, None) => {}
            (false, spec) => table.columns.push(spec.unwrap_or(ColumnSpec {
                name: column.name.clone(),
                data_type: DataType::String(None),
                options: vec![],
            })),
        }
        table.partition_by.push(column.name);
    }
    Ok(table)
}

fn names_only(columns: Vec<ColumnSpec>) -> Result<Vec<Ident>, Problem> {
    let name = |column: ColumnSpec| match column.data_type {
        DataType::Unspecified => Ok(column.name),
        _ => {
            let cause = format!("the type of {} comes from the query", column.name);
            let hint = "Give the columns' names only, and CAST in the query where a type must differ.";
            Err(Problem::syntax(cause, column.name.span.start).with_hint(hint))
        }
    };
    columns.into_iter().map(name).collect()
}

fn refuse_both(or_replace: bool, if_not_exists: bool, at: Location) -> Result<(), Problem> {
    match or_replace && if_not_exists {
        true => Err(Problem::syntax("OR REPLACE and IF NOT EXISTS exclude each other", at)),
        false => Ok(()),
    }
}
