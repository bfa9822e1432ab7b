//! Decides by a statement's first words what it is. Its parts are parsed in `create`, `write`, `change` and
//! `clauses`.

use datafusion::sql::sqlparser::ast::{Query, SetExpr};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::statement::{Drop, DropKind, Show, StatementKind};
use super::expect::word;
use super::problem::Problem;
use crate::error::nearest;

const DIALECT: GenericDialect = GenericDialect {};

/// What a statement may begin with.
const FIRST_WORDS: [&str; 18] = [
    "SELECT", "WITH", "VALUES", "INSERT", "CREATE", "DROP", "COPY", "SET", "SHOW", "DESCRIBE", "EXPLAIN", "DESC",
    "REFRESH", "MSCK", "DELETE", "UPDATE", "MERGE", "EXPECT",
];

/// Statements of other engines, or of a later version of this one.
const LATER: [(&str, &str); 4] = [
    ("OPTIMIZE", "It comes with managed tables; SET selvedge.write.target_file_bytes decides how large files are."),
    ("VACUUM", "It comes with managed tables; external tables keep no old files."),
    ("ALTER", "Drop the table, whose files stay, and create it anew."),
    ("ANALYZE", "Statistics are read from the Parquet files; leave the statement out."),
];

/// The parser of one statement.
pub(super) struct Front {
    pub(super) parser: Parser<'static>,
}

impl Front {
    /// A parser of these tokens.
    pub fn new(tokens: Vec<TokenWithSpan>, nesting: usize) -> Self {
        let parser = Parser::new(&DIALECT).with_recursion_limit(nesting).with_tokens_with_locations(tokens);
        Self { parser }
    }

    /// Parses a statement.
    pub fn statement(&mut self) -> Result<StatementKind, Problem> {
        let first = self.parser.peek_token();
        let word = match &first.token {
            Token::LParen => "SELECT".to_owned(),
            Token::Word(word) if word.quote_style.is_none() => word.value.to_uppercase(),
            Token::EOF => {
                let cause = "expected a statement, found the end of the statement";
                return Err(Problem::syntax(cause, first.span.start));
            }
            other => return Err(unknown(&other.to_string(), &first)),
        };
        match word.as_str() {
            "SELECT" | "WITH" | "VALUES" | "FROM" | "TABLE" => Ok(StatementKind::Query(self.query()?)),
            "EXPLAIN" => self.explain(),
            "CREATE" => self.create(),
            "DROP" => self.drop(),
            "INSERT" => self.insert(),
            "DELETE" => self.delete(),
            "UPDATE" => self.update(),
            "MERGE" => self.merge(),
            "COPY" => self.copy(),
            "SET" => self.set(),
            "SHOW" => self.show(),
            "EXPECT" => self.expectation(),
            "DESCRIBE" | "DESC" => {
                self.parser.next_token();
                let _ = self.parser.parse_keyword(Keyword::TABLE);
                Ok(StatementKind::Describe(self.parser.parse_object_name(false)?))
            }
            "REFRESH" => {
                self.parser.next_token();
                let _ = self.parser.parse_keyword(Keyword::TABLE);
                Ok(StatementKind::Refresh(self.parser.parse_object_name(false)?))
            }
            "MSCK" => {
                self.parser.next_token();
                self.parser.expect_keyword(Keyword::REPAIR)?;
                self.parser.expect_keyword(Keyword::TABLE)?;
                Ok(StatementKind::Refresh(self.parser.parse_object_name(false)?))
            }
            word => Err(match LATER.iter().find(|(later, _)| *later == word) {
                Some((_, hint)) => {
                    Problem::unsupported(format!("{word} is not supported yet"), first.span.start).with_hint(*hint)
                }
                None => unknown(word, &first),
            }),
        }
    }

    /// Nothing may follow the statement.
    pub fn end(&mut self) -> Result<(), Problem> {
        let token = self.parser.peek_token();
        if token.token == Token::EOF {
            return Ok(());
        }
        let cause = format!("expected the end of the statement, found {}", token.token);
        let hint = match &token.token {
            Token::Word(word) if FIRST_WORDS.contains(&word.value.to_uppercase().as_str()) => {
                "Statements are separated by ';'."
            }
            _ => "",
        };
        Err(Problem::syntax(cause, token.span.start).with_hint(hint))
    }

    /// Parses a query that changes nothing.
    pub fn query(&mut self) -> Result<Box<Query>, Problem> {
        let first = self.parser.peek_token();
        let query = self.parser.parse_query()?;
        match query.body.as_ref() {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                let cause = "a WITH clause cannot be followed by a statement that writes";
                let hint = "Put WITH behind it: INSERT INTO t WITH ... SELECT ...";
                Err(Problem::unsupported(cause, first.span.start).with_hint(hint))
            }
            _ => Ok(query),
        }
    }

    fn explain(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let analyze = self.parser.parse_keyword(Keyword::ANALYZE);
        let verbose = self.parser.parse_keyword(Keyword::VERBOSE);
        let inner = self.parser.peek_token();
        let statement = Box::new(self.statement()?);
        match *statement {
            StatementKind::Query(_)
            | StatementKind::Insert(_)
            | StatementKind::CreateTableAs(_)
            | StatementKind::Delete(_)
            | StatementKind::Update(_)
            | StatementKind::Merge(_)
            | StatementKind::Copy(_) => Ok(StatementKind::Explain { analyze, verbose, statement }),
            other => {
                let cause = format!("{} has no plan to explain", other.label());
                Err(Problem::unsupported(cause, inner.span.start))
            }
        }
    }

    fn drop(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let what = self.parser.next_token();
        if word(&what) == "EXPECT" {
            return self.drop_expect();
        }
        let kind = match keyword(&what) {
            Keyword::TABLE => DropKind::Table,
            Keyword::VIEW => DropKind::View,
            Keyword::SCHEMA | Keyword::DATABASE => DropKind::Schema,
            _ => {
                let cause = format!("expected TABLE, VIEW or SCHEMA, found {}", found(&what));
                return Err(Problem::syntax(cause, what.span.start));
            }
        };
        let if_exists = self.parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        let name = self.parser.parse_object_name(false)?;
        let cascade = self.parser.parse_keyword(Keyword::CASCADE);
        let _ = !cascade && self.parser.parse_keyword(Keyword::RESTRICT);
        Ok(StatementKind::Drop(Drop { kind, name, if_exists, cascade }))
    }

    /// `SET key = value` and `SET key TO value`; the value may be written without quotes.
    fn set(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let key = self.dotted_key()?;
        if !self.parser.consume_token(&Token::Eq) && !self.parser.parse_keyword(Keyword::TO) {
            let token = self.parser.peek_token();
            let cause = format!("expected '=' after {key}, found {}", found(&token));
            return Err(Problem::syntax(cause, token.span.start));
        }
        let first = self.parser.next_token();
        let mut value = match first.token {
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => text,
            Token::Word(word) => word.value,
            Token::EOF => return Err(Problem::syntax(format!("expected a value for {key}"), first.span.start)),
            token => token.to_string(),
        };
        // `256 MiB`, `-1`, `s3://...` are several tokens.
        loop {
            let token = self.parser.next_token();
            match token.token {
                Token::EOF => break,
                token => value.push_str(&token.to_string()),
            }
        }
        Ok(StatementKind::Set { key, value })
    }

    fn dotted_key(&mut self) -> Result<String, Problem> {
        let mut parts = Vec::new();
        loop {
            let token = self.parser.next_token();
            match token.token {
                Token::Word(word) => parts.push(word.value),
                _ => {
                    let cause = format!("expected a setting's name, found {}", found(&token));
                    return Err(Problem::syntax(cause, token.span.start));
                }
            }
            if !self.parser.consume_token(&Token::Period) {
                return Ok(parts.join(".").to_lowercase());
            }
        }
    }

    fn show(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let from = [Keyword::FROM, Keyword::IN];
        let what = self.parser.peek_token();
        let show = match keyword(&what) {
            Keyword::TABLES => {
                self.parser.next_token();
                let schema = match self.parser.parse_one_of_keywords(&from) {
                    Some(_) => Some(self.parser.parse_identifier()?),
                    None => None,
                };
                Show::Tables(schema)
            }
            Keyword::SCHEMAS | Keyword::DATABASES => {
                self.parser.next_token();
                Show::Schemas
            }
            Keyword::COLUMNS => {
                self.parser.next_token();
                self.parser.expect_one_of_keywords(&from)?;
                Show::Columns(self.parser.parse_object_name(false)?)
            }
            Keyword::ALL => {
                self.parser.next_token();
                Show::All
            }
            _ if word(&what) == "EXPECTS" => {
                self.parser.next_token();
                self.show_expects()?
            }
            _ => Show::Setting(self.dotted_key()?),
        };
        Ok(StatementKind::Show(show))
    }
}

/// The keyword of a word without quotes.
pub(super) fn keyword(token: &TokenWithSpan) -> Keyword {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// A token as a message names it.
pub(super) fn found(token: &TokenWithSpan) -> String {
    match &token.token {
        Token::EOF => "the end of the statement".to_owned(),
        token => token.to_string(),
    }
}

fn unknown(word: &str, at: &TokenWithSpan) -> Problem {
    let words = FIRST_WORDS.into_iter().chain(LATER.iter().map(|(later, _)| *later));
    let hint = match nearest(word, words) {
        Some(near) => format!("Did you mean {near}?"),
        None => "A statement begins with SELECT, WITH, INSERT, CREATE, DROP, COPY, SET, SHOW, DESCRIBE or EXPLAIN."
            .to_owned(),
    };
    Problem::syntax(format!("no statement begins with '{word}'"), at.span.start).with_hint(hint)
}
