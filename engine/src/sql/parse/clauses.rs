//! Clauses that several statements share: columns, `PARTITIONED BY`, `OPTIONS`, `LOCATION`, `STORED AS`.

use datafusion::sql::sqlparser::ast::{ColumnOption, DataType, Ident};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token};

use super::super::statement::ColumnSpec;
use super::front::{Front, found, keyword};
use super::problem::Problem;

/// The clauses behind a table's name, in any order, each at most once.
#[derive(Debug, Default)]
pub(super) struct Clauses {
    pub format: Option<Ident>,
    pub partition_by: Option<Vec<PartitionColumn>>,
    pub location: Option<String>,
    pub options: Option<Vec<(String, String)>>,
}

/// A column in `PARTITIONED BY`, with its type where one is given.
#[derive(Debug)]
pub(super) struct PartitionColumn {
    pub name: Ident,
    pub spec: Option<ColumnSpec>,
}

impl Front {
    /// Parses the clauses that stand here.
    pub fn clauses(&mut self) -> Result<Clauses, Problem> {
        let mut clauses = Clauses::default();
        loop {
            let token = self.parser.peek_token();
            let at = token.span.start;
            match keyword(&token) {
                Keyword::STORED => {
                    self.parser.next_token();
                    self.parser.expect_keyword(Keyword::AS)?;
                    let format = self.parser.parse_identifier()?;
                    once(&mut clauses.format, format, "STORED AS", at)?;
                }
                Keyword::USING => {
                    self.parser.next_token();
                    let format = self.parser.parse_identifier()?;
                    once(&mut clauses.format, format, "STORED AS", at)?;
                }
                Keyword::PARTITIONED => {
                    self.parser.next_token();
                    self.parser.expect_keyword(Keyword::BY)?;
                    let columns = self.partition_columns()?;
                    once(&mut clauses.partition_by, columns, "PARTITIONED BY", at)?;
                }
                Keyword::LOCATION => {
                    self.parser.next_token();
                    let location = self.location()?;
                    once(&mut clauses.location, location, "LOCATION", at)?;
                }
                Keyword::OPTIONS => {
                    self.parser.next_token();
                    let options = self.options()?;
                    once(&mut clauses.options, options, "OPTIONS", at)?;
                }
                _ => return Ok(clauses),
            }
        }
    }

    /// A location in quotes.
    pub fn location(&mut self) -> Result<String, Problem> {
        let token = self.parser.next_token();
        match token.token {
            Token::SingleQuotedString(text) if !text.trim().is_empty() => Ok(text),
            _ => {
                let cause = format!("expected a location in quotes, found {}", found(&token));
                let hint = "Write it as 's3://bucket/path' or '/path'.";
                Err(Problem::syntax(cause, token.span.start).with_hint(hint))
            }
        }
    }

    fn partition_columns(&mut self) -> Result<Vec<PartitionColumn>, Problem> {
        self.parser.expect_token(&Token::LParen)?;
        let mut columns = Vec::new();
        loop {
            let name = self.parser.parse_identifier()?;
            let next = self.parser.peek_token();
            let spec = match next.token {
                Token::Comma | Token::RParen => None,
                _ => {
                    let data_type = self.parser.parse_data_type()?;
                    Some(ColumnSpec { name: name.clone(), data_type, options: vec![] })
                }
            };
            columns.push(PartitionColumn { name, spec });
            if !self.parser.consume_token(&Token::Comma) {
                self.parser.expect_token(&Token::RParen)?;
                return Ok(columns);
            }
        }
    }

    /// `(a INT, b STRING NOT NULL)`, or `(a, b)` where the types come from a query.
    pub fn columns(&mut self) -> Result<Vec<ColumnSpec>, Problem> {
        self.parser.expect_token(&Token::LParen)?;
        let mut columns: Vec<ColumnSpec> = Vec::new();
        loop {
            columns.push(self.column()?);
            if !self.parser.consume_token(&Token::Comma) {
                self.parser.expect_token(&Token::RParen)?;
                return Ok(columns);
            }
        }
    }

    /// One column with its type.
    pub fn column(&mut self) -> Result<ColumnSpec, Problem> {
        let first = self.parser.peek_token();
        let constraint = matches!(
            keyword(&first),
            Keyword::PRIMARY | Keyword::FOREIGN | Keyword::UNIQUE | Keyword::CONSTRAINT | Keyword::CHECK
        );
        let name = self.parser.parse_identifier()?;
        let untyped = matches!(self.parser.peek_token().token, Token::Comma | Token::RParen);
        if constraint && !untyped {
            let cause = format!("{} constraints are not supported", name.value.to_uppercase());
            return Err(Problem::unsupported(cause, first.span.start).with_hint("NOT NULL is."));
        }
        let data_type = if untyped { DataType::Unspecified } else { self.parser.parse_data_type()? };
        let mut options = Vec::new();
        loop {
            let at = self.parser.peek_token().span.start;
            let Some(option) = self.parser.parse_optional_column_option()? else { break };
            match option {
                ColumnOption::NotNull | ColumnOption::Null | ColumnOption::Default(_) | ColumnOption::Comment(_) => {
                    options.push(datafusion::sql::sqlparser::ast::ColumnOptionDef { name: None, option });
                }
                other => {
                    return Err(Problem::unsupported(format!("'{other}' is not supported for a column"), at));
                }
            }
        }
        Ok(ColumnSpec { name, data_type, options })
    }

    /// `(key 'value', 'key' = 'value', a.b true)`
    pub fn options(&mut self) -> Result<Vec<(String, String)>, Problem> {
        self.parser.expect_token(&Token::LParen)?;
        let mut options = Vec::new();
        loop {
            let key = self.option_key()?;
            let _ = self.parser.consume_token(&Token::Eq);
            let token = self.parser.next_token();
            let value = match token.token {
                Token::Word(word) => word.value,
                Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => text,
                Token::EscapedStringLiteral(text) => text,
                Token::Number(text, _) => text,
                _ => {
                    let cause = format!("expected a value for option {key}, found {}", found(&token));
                    return Err(Problem::syntax(cause, token.span.start));
                }
            };
            options.push((key, value));
            if !self.parser.consume_token(&Token::Comma) {
                self.parser.expect_token(&Token::RParen)?;
                return Ok(options);
            }
        }
    }

    fn option_key(&mut self) -> Result<String, Problem> {
        let token = self.parser.next_token();
        let mut key = match token.token {
            Token::Word(word) => word.value,
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => text,
            _ => {
                let cause = format!("expected an option's name, found {}", found(&token));
                return Err(Problem::syntax(cause, token.span.start));
            }
        };
        while self.parser.consume_token(&Token::Period) {
            key.push('.');
            key.push_str(&self.parser.parse_identifier()?.value);
        }
        Ok(key.to_lowercase())
    }
}

/// Refuses defaults where there can be none.
pub(super) fn without_defaults(columns: &[ColumnSpec], what: &str) -> Result<(), Problem> {
    let has_default =
        |column: &&ColumnSpec| column.options.iter().any(|o| matches!(o.option, ColumnOption::Default(_)));
    match columns.iter().find(has_default) {
        None => Ok(()),
        Some(column) => {
            let cause = format!("column {} cannot have a default: {what}", column.name);
            Err(Problem::unsupported(cause, column.name.span.start))
        }
    }
}

fn once<T>(field: &mut Option<T>, value: T, clause: &str, at: Location) -> Result<(), Problem> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(Problem::syntax(format!("{clause} is given twice"), at)),
    }
}
