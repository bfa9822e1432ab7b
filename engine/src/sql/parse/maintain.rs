//! `DESCRIBE [HISTORY | DETAIL]`, `OPTIMIZE`, `VACUUM`, `RESTORE` and `ALTER TABLE`.

use datafusion::sql::sqlparser::ast::{DataType, Ident, ObjectName};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::super::maintenance::{Maintenance, MaintenanceTask, Property};
use super::super::statement::{ColumnSpec, StatementKind};
use super::clauses::without_defaults;
use super::front::{Front, found, keyword};
use super::problem::Problem;
use crate::delta::{VersionSpec, at_version};

/// Whether a statement names a version behind its table without reading that version: then it is no part of the name.
pub(super) fn restores(tokens: &[TokenWithSpan]) -> bool {
    let first = tokens.iter().find(|t| !matches!(t.token, Token::Whitespace(_)));
    first.is_some_and(|first| is_word(first, "RESTORE"))
}

impl Front {
    /// Parses a `DESCRIBE`.
    pub fn describe(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let what = self.parser.peek_token();
        // A table may be called so.
        let is_table = matches!(self.parser.peek_nth_token(1).token, Token::EOF | Token::Period);
        if !is_table && is_word(&what, "HISTORY") {
            self.parser.next_token();
            let table = self.maintained()?;
            let limit = match self.parser.parse_keyword(Keyword::LIMIT) {
                true => Some(self.number("a number of versions")?),
                false => None,
            };
            return Ok(done(table, MaintenanceTask::History { limit }));
        }
        if !is_table && is_word(&what, "DETAIL") {
            self.parser.next_token();
            let table = self.maintained()?;
            return Ok(done(table, MaintenanceTask::Detail));
        }
        Ok(StatementKind::Describe(self.maintained()?))
    }

    /// Parses an `OPTIMIZE`.
    pub fn optimize(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let table = self.maintained()?;
        let filter = match self.parser.parse_keyword(Keyword::WHERE) {
            true => Some(Box::new(self.parser.parse_expr()?)),
            false => None,
        };
        let next = self.parser.peek_token();
        if is_word(&next, "ZORDER") || is_word(&next, "CLUSTER") {
            let cause = format!("OPTIMIZE ... {} is not supported", next.token);
            let hint = "Sort the rows where they are written: INSERT OVERWRITE t SELECT ... ORDER BY ...";
            return Err(Problem::unsupported(cause, next.span.start).with_hint(hint));
        }
        Ok(done(table, MaintenanceTask::Optimize { filter }))
    }

    /// Parses a `VACUUM`.
    pub fn vacuum(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let table = self.maintained()?;
        let retain_hours = match self.take_word("RETAIN") {
            true => {
                let hours = self.number("a number of hours")?;
                if !self.take_word("HOURS") && !self.take_word("HOUR") {
                    return Err(self.expected("HOURS").with_hint("VACUUM t RETAIN 168 HOURS keeps a week."));
                }
                Some(hours)
            }
            false => None,
        };
        let is_dry_run = self.take_word("DRY");
        if is_dry_run && !self.take_word("RUN") {
            return Err(self.expected("RUN"));
        }
        Ok(done(table, MaintenanceTask::Vacuum { retain_hours, is_dry_run }))
    }

    /// Parses a `RESTORE`.
    pub fn restore(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let table = self.maintained()?;
        let _ = self.parser.parse_keyword(Keyword::TO);
        let is_time = match (self.take_word("VERSION"), self.take_word("TIMESTAMP")) {
            (true, false) => false,
            (false, true) => true,
            _ => return Err(self.expected("TO VERSION AS OF or TO TIMESTAMP AS OF")),
        };
        self.parser.expect_keyword(Keyword::AS)?;
        self.parser.expect_keyword(Keyword::OF)?;
        let value = self.parser.next_token();
        let text = match &value.token {
            Token::Number(text, _) if !is_time => text,
            Token::SingleQuotedString(text) => text,
            _ => {
                let expected = if is_time { "a time in quotes" } else { "a number" };
                let cause = format!("expected {expected} after AS OF, found {}", found(&value));
                return Err(Problem::syntax(cause, value.span.start));
            }
        };
        let to = match VersionSpec::of_name(&at_version("t", is_time, text)) {
            Ok(Some((_, to))) => to,
            Ok(None) => return Err(self.expected("a version")),
            Err(failure) => return Err(Problem::syntax(failure.cause, value.span.start)),
        };
        Ok(done(table, MaintenanceTask::Restore { to }))
    }

    /// Parses an `ALTER TABLE`.
    pub fn alter(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let what = self.parser.next_token();
        if keyword(&what) != Keyword::TABLE {
            let cause = format!("expected TABLE, found {}", found(&what));
            let problem = match keyword(&what) {
                Keyword::VIEW | Keyword::SCHEMA | Keyword::DATABASE => {
                    Problem::unsupported(format!("ALTER {} is not supported", what.token), what.span.start)
                }
                _ => Problem::syntax(cause, what.span.start),
            };
            return Err(problem.with_hint("Only tables can be altered; make a view anew with CREATE OR REPLACE VIEW."));
        }
        let table = self.parser.parse_object_name(false)?;
        let action = self.parser.next_token();
        match keyword(&action) {
            Keyword::ADD => self.add_columns(table),
            Keyword::SET if self.take_word("TBLPROPERTIES") => {
                Ok(done(table, MaintenanceTask::Properties(self.properties(true)?)))
            }
            Keyword::UNSET if self.take_word("TBLPROPERTIES") => {
                let _ = self.parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
                Ok(done(table, MaintenanceTask::Properties(self.properties(false)?)))
            }
            _ => Err(not_alterable(&action)),
        }
    }

    /// `[TABLE] t`
    fn maintained(&mut self) -> Result<ObjectName, Problem> {
        let _ = self.parser.parse_keyword(Keyword::TABLE);
        Ok(self.parser.parse_object_name(false)?)
    }

    /// `[COLUMN | COLUMNS] [IF NOT EXISTS] a INT`, or columns in brackets.
    fn add_columns(&mut self, table: ObjectName) -> Result<StatementKind, Problem> {
        let next = self.parser.peek_token();
        let has_word = self.parser.parse_one_of_keywords(&[Keyword::COLUMN, Keyword::COLUMNS]).is_some();
        if !has_word && matches!(keyword(&next), Keyword::CONSTRAINT | Keyword::PARTITION) {
            return Err(not_alterable(&next));
        }
        let if_not_exists = self.parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
        let columns: Vec<ColumnSpec> = match self.parser.peek_token().token {
            Token::LParen => self.columns()?,
            _ => vec![self.column()?],
        };
        if let Some(column) = columns.iter().find(|c| c.data_type == DataType::Unspecified) {
            let cause = format!("expected a type for column {}", column.name);
            return Err(Problem::syntax(cause, column.name.span.start));
        }
        without_defaults(&columns, "the rows that are there would not have it")?;
        let next = self.parser.peek_token();
        if matches!(keyword(&next), Keyword::FIRST | Keyword::AFTER) {
            let cause = "a column is added after all others, before the partition columns";
            return Err(Problem::unsupported(cause, next.span.start));
        }
        Ok(done(table, MaintenanceTask::AddColumns { columns, if_not_exists }))
    }

    /// `('key' = 'value', a.b = 'c')`, or the keys alone. Keys keep their case.
    fn properties(&mut self, has_values: bool) -> Result<Vec<Property>, Problem> {
        self.parser.expect_token(&Token::LParen)?;
        let mut properties: Vec<Property> = Vec::new();
        loop {
            let key = self.property_key()?;
            if properties.iter().any(|p| p.key.value == key.value) {
                let cause = format!("property {} is named twice", key.value);
                return Err(Problem::syntax(cause, key.span.start));
            }
            let value = match has_values {
                true => Some(self.property_value(&key.value)?),
                false => None,
            };
            properties.push(Property { key, value });
            if !self.parser.consume_token(&Token::Comma) {
                self.parser.expect_token(&Token::RParen)?;
                return Ok(properties);
            }
        }
    }

    fn property_key(&mut self) -> Result<Ident, Problem> {
        let first = self.parser.next_token();
        let mut text = match &first.token {
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => text.clone(),
            Token::Word(word) => word.value.clone(),
            _ => {
                let cause = format!("expected a property's name, found {}", found(&first));
                return Err(Problem::syntax(cause, first.span.start));
            }
        };
        while self.parser.consume_token(&Token::Period) {
            text.push('.');
            text.push_str(&self.parser.parse_identifier()?.value);
        }
        Ok(Ident { value: text, quote_style: None, span: first.span })
    }

    fn property_value(&mut self, key: &str) -> Result<String, Problem> {
        let _ = self.parser.consume_token(&Token::Eq);
        let token = self.parser.next_token();
        match &token.token {
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) | Token::Number(text, _) => {
                Ok(text.clone())
            }
            Token::Word(word) if matches!(word.keyword, Keyword::TRUE | Keyword::FALSE) => {
                Ok(word.value.to_lowercase())
            }
            _ => {
                let cause = format!("expected a value for {key}, found {}", found(&token));
                Err(Problem::syntax(cause, token.span.start).with_hint("Write it in quotes: 'key' = 'value'."))
            }
        }
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, Problem> {
        let token = self.parser.next_token();
        let number = match &token.token {
            Token::Number(text, _) => text.parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| Problem::syntax(format!("expected {what}, found {}", found(&token)), token.span.start))
    }

    /// Takes the next word when it is this one.
    fn take_word(&mut self, word: &str) -> bool {
        let is_next = is_word(&self.parser.peek_token(), word);
        if is_next {
            self.parser.next_token();
        }
        is_next
    }

    fn expected(&self, what: &str) -> Problem {
        let next = self.parser.peek_token();
        Problem::syntax(format!("expected {what}, found {}", found(&next)), next.span.start)
    }
}

fn done(table: ObjectName, task: MaintenanceTask) -> StatementKind {
    StatementKind::Maintain(Box::new(Maintenance { table, task }))
}

fn is_word(token: &TokenWithSpan, wanted: &str) -> bool {
    match &token.token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted),
        _ => false,
    }
}

fn not_alterable(at: &TokenWithSpan) -> Problem {
    let place: Location = at.span.start;
    match at.token {
        Token::EOF => Problem::syntax("expected ADD COLUMN, SET or UNSET, found the end of the statement", place),
        _ => Problem::unsupported(format!("ALTER TABLE ... {} is not supported", at.token), place).with_hint(
            "ADD COLUMN, SET TBLPROPERTIES and UNSET TBLPROPERTIES are. For other columns, CREATE OR REPLACE TABLE t AS \
             SELECT ... FROM t.",
        ),
    }
}

#[cfg(test)]
#[path = "maintain_tests.rs"]
mod tests;
