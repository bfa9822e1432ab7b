//! `INSERT INTO`, `INSERT OVERWRITE` with its `PARTITION` clause, and `COPY`.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::super::statement::{CopySource, CopyTo, Insert, PartitionItem, PartitionValue, StatementKind};
use super::expect::word;
use super::front::{Front, found, keyword};
use super::problem::Problem;

impl Front {
    /// Parses an `INSERT`.
    pub fn insert(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let evolution = self.schema_evolution()?;
        let mode = self.parser.next_token();
        let overwrite = match keyword(&mode) {
            Keyword::INTO => false,
            Keyword::OVERWRITE => {
                let _ = self.parser.parse_keyword(Keyword::INTO);
                true
            }
            _ => {
                let cause = format!("expected INTO or OVERWRITE, found {}", found(&mode));
                return Err(Problem::syntax(cause, mode.span.start));
            }
        };
        let _ = self.parser.parse_keyword(Keyword::TABLE);
        let first = self.parser.peek_token();
        if keyword(&first) == Keyword::DIRECTORY {
            let cause = "INSERT OVERWRITE DIRECTORY is not supported";
            return Err(Problem::unsupported(cause, first.span.start).with_hint("Use COPY (SELECT ...) TO '...'."));
        }
        let table = self.parser.parse_object_name(false)?;
        let partition = match self.parser.parse_keyword(Keyword::PARTITION) {
            true => self.partition()?,
            false => Vec::new(),
        };
        let by = self.parser.peek_token();
        let by_name = keyword(&by) == Keyword::BY && word(&self.parser.peek_nth_token(1)) == "NAME";
        if by_name {
            self.parser.next_token();
            self.parser.next_token();
        } else if let Some(at) = evolution {
            let cause = "WITH SCHEMA EVOLUTION needs columns that go by name";
            return Err(Problem::syntax(cause, at).with_hint("INSERT WITH SCHEMA EVOLUTION INTO t BY NAME SELECT ..."));
        }
        let columns = if !by_name && self.at_column_list() { self.names()? } else { Vec::new() };
        let next = self.parser.peek_token();
        match keyword(&next) {
            Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::FROM | Keyword::TABLE => {}
            _ if next.token == Token::LParen => {}
            _ => {
                let cause = format!("expected SELECT, WITH or VALUES, found {}", found(&next));
                return Err(Problem::syntax(cause, next.span.start));
            }
        }
        let source = self.query()?;
        let evolves = evolution.is_some();
        Ok(StatementKind::Insert(Insert { table, columns, by_name, evolves, overwrite, partition, source }))
    }

    /// Where `WITH SCHEMA EVOLUTION` stands, if it does.
    fn schema_evolution(&mut self) -> Result<Option<Location>, Problem> {
        let at = self.parser.peek_token();
        if keyword(&at) != Keyword::WITH {
            return Ok(None);
        }
        self.parser.next_token();
        for expected in ["SCHEMA", "EVOLUTION"] {
            let token = self.parser.next_token();
            if word(&token) != expected {
                let cause = format!("expected WITH SCHEMA EVOLUTION, found {}", found(&token));
                return Err(Problem::syntax(cause, token.span.start));
            }
        }
        Ok(Some(at.span.start))
    }

    /// Whether `(` begins a list of columns rather than a query.
    fn at_column_list(&self) -> bool {
        let inner = self.parser.peek_nth_token(1);
        self.parser.peek_token().token == Token::LParen
            && inner.token != Token::LParen
            && !matches!(keyword(&inner), Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::FROM)
    }

    /// `(a, b)`
    fn names(&mut self) -> Result<Vec<Ident>, Problem> {
        self.parser.expect_token(&Token::LParen)?;
        let mut names = Vec::new();
        loop {
            names.push(self.parser.parse_identifier()?);
            if !self.parser.consume_token(&Token::Comma) {
                self.parser.expect_token(&Token::RParen)?;
                return Ok(names);
            }
        }
    }

    fn partition(&mut self) -> Result<Vec<PartitionItem>, Problem> {
        self.parser.expect_token(&Token::LParen)?;
        let mut items: Vec<PartitionItem> = Vec::new();
        loop {
            let column = self.parser.parse_identifier()?;
            if items.iter().any(|i| i.column.value == column.value) {
                let cause = format!("partition column {column} is named twice");
                return Err(Problem::syntax(cause, column.span.start));
            }
            let value = match self.parser.consume_token(&Token::Eq) {
                true => PartitionValue::Static(self.literal()?),
                false => PartitionValue::Dynamic,
            };
            items.push(PartitionItem { column, value });
            if !self.parser.consume_token(&Token::Comma) {
                self.parser.expect_token(&Token::RParen)?;
                return Ok(items);
            }
        }
    }

    /// A partition's value as text; `None` is `NULL`.
    fn literal(&mut self) -> Result<Option<String>, Problem> {
        let token = self.parser.next_token();
        match (&token.token, keyword(&token)) {
            (_, Keyword::NULL) => Ok(None),
            (_, Keyword::TRUE) => Ok(Some("true".to_owned())),
            (_, Keyword::FALSE) => Ok(Some("false".to_owned())),
            (_, Keyword::DATE | Keyword::TIMESTAMP) => self.text(),
            (Token::SingleQuotedString(text) | Token::DoubleQuotedString(text), _) => Ok(Some(text.clone())),
            (Token::Number(number, _), _) => Ok(Some(number.clone())),
            (Token::Minus, _) => match self.parser.next_token().token {
                Token::Number(number, _) => Ok(Some(format!("-{number}"))),
                _ => Err(not_literal(&token)),
            },
            _ => Err(not_literal(&token)),
        }
    }

    fn text(&mut self) -> Result<Option<String>, Problem> {
        let token = self.parser.next_token();
        match token.token {
            Token::SingleQuotedString(text) => Ok(Some(text)),
            _ => Err(not_literal(&token)),
        }
    }

    /// Parses a `COPY`.
    pub fn copy(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let source = if self.parser.consume_token(&Token::LParen) {
            let query = self.query()?;
            self.parser.expect_token(&Token::RParen)?;
            CopySource::Query(query)
        } else {
            CopySource::Table(self.parser.parse_object_name(false)?)
        };
        let to = self.parser.peek_token();
        if !self.parser.parse_keyword(Keyword::TO) {
            let hint = "COPY (SELECT ...) TO 's3://bucket/path/' STORED AS PARQUET";
            let cause = format!("expected TO, found {}", found(&to));
            return Err(Problem::syntax(cause, to.span.start).with_hint(hint));
        }
        let target = self.location()?;
        let clauses = self.clauses()?;
        if clauses.location.is_some() {
            return Err(Problem::syntax("COPY takes its location after TO", to.span.start));
        }
        let mut partition_by = Vec::new();
        for column in clauses.partition_by.unwrap_or_default() {
            if column.spec.is_some() {
                let cause = format!("the type of {} comes from the query", column.name);
                return Err(Problem::syntax(cause, column.name.span.start));
            }
            partition_by.push(column.name);
        }
        let options = clauses.options.unwrap_or_default();
        Ok(StatementKind::Copy(CopyTo { source, target, format: clauses.format, partition_by, options }))
    }
}

fn not_literal(token: &TokenWithSpan) -> Problem {
    let cause = format!("expected a partition's value, found {}", found(token));
    let hint = "Write it out, as in PARTITION (ds = '2026-01-31'), or name the column alone to take it from the rows.";
    Problem::syntax(cause, token.span.start).with_hint(hint)
}
