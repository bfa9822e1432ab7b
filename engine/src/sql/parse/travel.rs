//! Time travel: `t FOR VERSION AS OF 3`, `t FOR TIMESTAMP AS OF '2026-01-31'`, both also without FOR, and
//! `t FOR SYSTEM_TIME AS OF ...`.
//!
//! Neither sqlparser in this dialect nor DataFusion's planner knows them, so they are put into the table's name before
//! parsing, and an alias keeps the name that the rest of the statement uses. The catalog takes the name apart again.

use datafusion::sql::sqlparser::keywords::{Keyword, RESERVED_FOR_TABLE_ALIAS};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Whitespace};

use super::front::{found, keyword};
use super::problem::Problem;
use crate::delta::at_version;

/// The statement's tokens with versions in names.
pub(super) fn in_names(tokens: &[TokenWithSpan]) -> Result<Vec<TokenWithSpan>, Problem> {
    let mut rest = Significant { tokens, at: 0 };
    let mut named: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    while rest.at < tokens.len() {
        let clause = match named.iter().rposition(|t| !is_space(t)).filter(|at| is_name(&named[*at])) {
            Some(name) => clause(&rest)?.map(|clause| (name, clause)),
            None => None,
        };
        let Some((name, clause)) = clause else {
            named.push(tokens[rest.at].clone());
            rest.at += 1;
            continue;
        };
        let alias = match &named[name].token {
            Token::Word(word) if word.quote_style.is_some() => word.value.clone(),
            Token::Word(word) => word.value.to_lowercase(),
            _ => String::new(),
        };
        let full = at_version(&alias, clause.is_time, &clause.text);
        named[name].token = Token::make_word(&full, Some('"'));
        rest.at = clause.end;
        if !is_alias(rest.token(0)) {
            let span = named[name].span;
            let space = Token::Whitespace(Whitespace::Space);
            for token in [space, Token::make_word("AS", None), Token::make_word(&alias, Some('"'))] {
                named.push(TokenWithSpan::new(token, span));
            }
        }
    }
    Ok(named)
}

/// Tokens from a place on, without white space.
struct Significant<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
}

impl<'a> Significant<'a> {
    /// The nth token from here, and the place behind it.
    fn nth(&self, n: usize) -> Option<(&'a TokenWithSpan, usize)> {
        let rest = self.tokens.iter().enumerate().skip(self.at).filter(|(_, t)| !is_space(t));
        rest.map(|(at, token)| (token, at + 1)).nth(n)
    }

    fn token(&self, n: usize) -> Option<&'a TokenWithSpan> {
        self.nth(n).map(|(token, _)| token)
    }

    fn is_word(&self, n: usize, word: &str) -> bool {
        let is =
            |t: &Token| matches!(t, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
        self.token(n).is_some_and(|t| is(&t.token))
    }
}

/// A version that is asked for.
struct Clause {
    is_time: bool,
    text: String,
    /// The place behind it.
    end: usize,
}

/// The clause that begins here, if one does.
fn clause(rest: &Significant<'_>) -> Result<Option<Clause>, Problem> {
    // The scan comes here at every token: look at this one first.
    if rest.tokens.get(rest.at).is_none_or(|t| is_space(t) || !matches!(t.token, Token::Word(_))) {
        return Ok(None);
    }
    let has_for = rest.is_word(0, "FOR");
    let first = usize::from(has_for);
    let is_time = ["TIMESTAMP", "SYSTEM_TIME"].iter().any(|word| rest.is_word(first, word));
    let begins = (is_time || rest.is_word(first, "VERSION")) && rest.is_word(first + 1, "AS");
    if !begins || !rest.is_word(first + 2, "OF") {
        return Ok(None);
    }
    let typed = is_time && ["TIMESTAMP", "DATE"].iter().any(|word| rest.is_word(first + 3, word));
    let value = rest.nth(first + 3 + usize::from(typed));
    let text = match value.map(|(t, _)| &t.token) {
        Some(Token::Number(text, _)) if !is_time => Some(text),
        Some(Token::SingleQuotedString(text)) => Some(text),
        _ => None,
    };
    match (text, value) {
        (Some(text), Some((_, end))) => Ok(Some(Clause { is_time, text: text.clone(), end })),
        // Without FOR it may be a column with an odd alias.
        _ if !has_for => Ok(None),
        (_, value) => {
            let expected = if is_time { "a time in quotes after AS OF" } else { "a number after VERSION AS OF" };
            let cause = match value {
                Some((token, _)) => format!("expected {expected}, found {}", found(token)),
                None => format!("expected {expected}, found the end of the statement"),
            };
            let at = value.or_else(|| rest.nth(first + 2)).map_or_else(Location::empty, |(t, _)| t.span.start);
            Err(Problem::syntax(cause, at))
        }
    }
}

fn is_space(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_))
}

/// Whether a token can be the last part of a table's name.
fn is_name(token: &TokenWithSpan) -> bool {
    match &token.token {
        Token::Word(word) if word.quote_style.is_some() => true,
        Token::Word(_) => !RESERVED_FOR_TABLE_ALIAS.contains(&keyword(token)),
        _ => false,
    }
}

/// Whether what follows names the table already.
fn is_alias(token: Option<&TokenWithSpan>) -> bool {
    token.is_some_and(|token| keyword(token) == Keyword::AS || is_name(token))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn rewritten(sql: &str) -> Result<String, Problem> {
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().unwrap();
        let words = in_names(&tokens)?.into_iter().filter(|t| !is_space(t) && t.token != Token::EOF);
        Ok(words.map(|t| t.token.to_string()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn versions_go_into_names() {
        let rows = [
            ("SELECT * FROM t FOR VERSION AS OF 3", r#"SELECT * FROM "t@version=3" AS "t""#),
            ("select * from S.T version as of 3 where a", r#"select * from S . "t@version=3" AS "t" where a"#),
            (r#"FROM "T" FOR VERSION AS OF 3 x, u"#, r#"FROM "T@version=3" x , u"#),
            ("FROM t TIMESTAMP AS OF '2026-01-31' AS x", r#"FROM "t@timestamp=2026-01-31" AS x"#),
            ("FROM t FOR SYSTEM_TIME AS OF TIMESTAMP '2026-01-31 10:00' JOIN u", {
                r#"FROM "t@timestamp=2026-01-31 10:00" AS "t" JOIN u"#
            }),
            ("FROM t VERSION AS OF 1 a JOIN t VERSION AS OF 2 b ON a.x = b.x", {
                r#"FROM "t@version=1" a JOIN "t@version=2" b ON a . x = b . x"#
            }),
        ];
        for (sql, expected) in rows {
            assert_eq!(rewritten(sql).unwrap(), expected, "{sql}");
        }
    }

    #[test]
    fn other_words_stay_as_they_are() {
        for sql in [
            "SELECT version AS of FROM t",
            "SELECT a , version AS of , timestamp AS of FROM t",
            "SELECT DISTINCT version AS of FROM t",
            "SELECT substring ( a FROM 1 FOR 3 ) FROM t",
            "SELECT timestamp '2026-01-31' FROM t",
        ] {
            assert_eq!(rewritten(sql).unwrap(), sql);
        }
    }

    #[test]
    fn a_version_must_be_written_out() {
        for sql in [
            "FROM t FOR VERSION AS OF",
            "FROM t FOR VERSION AS OF x",
            "FROM t FOR TIMESTAMP AS OF 3",
            "FROM t FOR TIMESTAMP AS OF now()",
        ] {
            assert!(rewritten(sql).is_err(), "{sql}");
        }
    }
}
