//! `EXPECT`, `DROP EXPECT` and `SHOW EXPECTS`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, visit_expressions};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};
use selvedge_model::expectation::OnViolation;

use super::super::expect::{DropExpect, Expect, ExpectRule};
use super::super::statement::{Show, StatementKind};
use super::front::{Front, found};
use super::problem::Problem;

const FORMS: &str = "EXPECT name ON t CHECK (a > 0), ROWS >= 1, ROWS BETWEEN 1 AND 9 or FRESH at WITHIN INTERVAL '1 day', \
                     then FAIL, WARN, DROP or DROP INTO REJECTED.";

impl Front {
    /// Parses an `EXPECT`.
    pub fn expectation(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let name = self.parser.parse_identifier()?;
        self.parser.expect_keyword(Keyword::ON)?;
        let table = self.parser.parse_object_name(false)?;
        let what = self.parser.next_token();
        let rule = match word(&what).as_str() {
            "CHECK" => self.check(what.span.start)?,
            "ROWS" => self.rows()?,
            "FRESH" => self.fresh()?,
            _ => {
                let cause = format!("expected CHECK, ROWS or FRESH, found {}", found(&what));
                return Err(Problem::syntax(cause, what.span.start).with_hint(FORMS));
            }
        };
        let on_violation = self.on_violation(&rule)?;
        Ok(StatementKind::Expect(Expect { name, table, rule, on_violation }))
    }

    fn check(&mut self, at: Location) -> Result<ExpectRule, Problem> {
        self.parser.expect_token(&Token::LParen)?;
        let condition = self.parser.parse_expr()?;
        self.parser.expect_token(&Token::RParen)?;
        let asks = visit_expressions(&condition, |expr| match expr {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        if asks.is_break() {
            let cause = "a CHECK looks at one row at a time, and cannot hold a query";
            return Err(Problem::unsupported(cause, at).with_hint("Join what it needs into the rows that are written."));
        }
        Ok(ExpectRule::Check(Box::new(condition)))
    }

    fn rows(&mut self) -> Result<ExpectRule, Problem> {
        let token = self.parser.next_token();
        if token.token == Token::GtEq {
            return Ok(ExpectRule::Rows { at_least: self.parser.parse_literal_uint()?, at_most: None });
        }
        if word(&token) != "BETWEEN" {
            let cause = format!("expected '>=' or BETWEEN after ROWS, found {}", found(&token));
            return Err(Problem::syntax(cause, token.span.start).with_hint(FORMS));
        }
        let at_least = self.parser.parse_literal_uint()?;
        self.parser.expect_keyword(Keyword::AND)?;
        let at_most = self.parser.parse_literal_uint()?;
        if at_least > at_most {
            let cause = format!("no number is between {at_least} and {at_most}");
            return Err(Problem::syntax(cause, token.span.start).with_hint("Write the smaller one first."));
        }
        Ok(ExpectRule::Rows { at_least, at_most: Some(at_most) })
    }

    fn fresh(&mut self) -> Result<ExpectRule, Problem> {
        let column = self.parser.parse_identifier()?;
        let token = self.parser.next_token();
        if word(&token) != "WITHIN" {
            let cause = format!("expected WITHIN and an interval, found {}", found(&token));
            return Err(Problem::syntax(cause, token.span.start).with_hint(FORMS));
        }
        self.parser.expect_keyword(Keyword::INTERVAL)?;
        Ok(ExpectRule::Fresh { column, within: Box::new(self.parser.parse_interval()?) })
    }

    fn on_violation(&mut self, rule: &ExpectRule) -> Result<OnViolation, Problem> {
        let token = self.parser.peek_token();
        let on_violation = match word(&token).as_str() {
            "FAIL" => OnViolation::Fail,
            "WARN" => OnViolation::Warn,
            "DROP" => OnViolation::Drop,
            _ => return Ok(OnViolation::Fail),
        };
        self.parser.next_token();
        if on_violation == OnViolation::Drop && !matches!(rule, ExpectRule::Check(_)) {
            let cause = "DROP leaves out the rows that violate a CHECK; this is about all rows together";
            return Err(Problem::unsupported(cause, token.span.start).with_hint("Write FAIL or WARN."));
        }
        if on_violation != OnViolation::Drop || !self.parser.parse_keyword(Keyword::INTO) {
            return Ok(on_violation);
        }
        let token = self.parser.next_token();
        match word(&token).as_str() {
            "REJECTED" => Ok(OnViolation::Reject),
            _ => {
                let cause = format!("expected REJECTED after DROP INTO, found {}", found(&token));
                let hint = "DROP INTO REJECTED keeps the rows in the table's own t__rejected, and in no other.";
                Err(Problem::syntax(cause, token.span.start).with_hint(hint))
            }
        }
    }

    /// Parses what stands behind `DROP EXPECT`.
    pub fn drop_expect(&mut self) -> Result<StatementKind, Problem> {
        let if_exists = self.parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        let name = self.parser.parse_identifier()?;
        self.parser.expect_keyword(Keyword::ON)?;
        let table = self.parser.parse_object_name(false)?;
        Ok(StatementKind::DropExpect(DropExpect { name, table, if_exists }))
    }

    /// Parses what stands behind `SHOW EXPECTS`.
    pub fn show_expects(&mut self) -> Result<Show, Problem> {
        Ok(Show::Expects(match self.parser.parse_keyword(Keyword::ON) {
            true => Some(self.parser.parse_object_name(false)?),
            false => None,
        }))
    }
}

/// A word without quotes, in capitals; empty for anything else.
pub(super) fn word(token: &TokenWithSpan) -> String {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_uppercase(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::super::{StatementKind, prepare};
    use super::*;

    fn parsed(sql: &str) -> StatementKind {
        let script = prepare(sql, &BTreeMap::new()).unwrap_or_else(|f| panic!("{sql}: {f}"));
        script.statements[0].kind.clone()
    }

    fn refused(sql: &str) -> String {
        let failure = prepare(sql, &BTreeMap::new()).expect_err(sql);
        let place = failure.place.unwrap();
        format!("{} {}:{} {}", failure.code, place.line, place.column, failure.cause)
    }

    #[test]
    fn every_form_is_taken_apart() {
        use OnViolation::{Drop, Fail, Warn};
        let rows = |at_least, at_most| ExpectRule::Rows { at_least, at_most };
        for (sql, rule, on_violation) in [
            ("EXPECT e ON s.t ROWS >= 1", rows(1, None), Fail),
            ("expect e on s.t rows between 1 and 1000000 warn", rows(1, Some(1_000_000)), Warn),
        ] {
            let StatementKind::Expect(expect) = parsed(sql) else { panic!("{sql}") };
            assert_eq!((expect.rule, expect.on_violation), (rule, on_violation), "{sql}");
            assert_eq!((expect.name.value.as_str(), expect.table.to_string().as_str()), ("e", "s.t"));
        }
        for (sql, text, on_violation) in [
            (
                "EXPECT e ON t CHECK (a > 0 AND (b IS NULL OR b <> 'it''s')) DROP",
                { "a > 0 AND (b IS NULL OR b <> 'it''s')" },
                Drop,
            ),
            ("EXPECT e ON t CHECK (\"Odd name\" IN (1, 2)) FAIL", "\"Odd name\" IN (1, 2)", Fail),
        ] {
            let StatementKind::Expect(Expect { rule: ExpectRule::Check(expr), on_violation: on, .. }) = parsed(sql)
            else {
                panic!("{sql}")
            };
            assert_eq!((expr.to_string().as_str(), on), (text, on_violation), "{sql}");
        }
        for (sql, text, on_violation) in [
            ("EXPECT e ON t FRESH at WITHIN INTERVAL '1 day' WARN", "INTERVAL '1 day'", Warn),
            ("EXPECT e ON t FRESH at WITHIN INTERVAL '90' MINUTE", "INTERVAL '90' MINUTE", Fail),
        ] {
            let StatementKind::Expect(Expect { rule: ExpectRule::Fresh { column, within }, on_violation: on, .. }) =
                parsed(sql)
            else {
                panic!("{sql}")
            };
            assert_eq!((column.value.as_str(), within.to_string().as_str(), on), ("at", text, on_violation), "{sql}");
        }
        assert_eq!(parsed("EXPECT e ON s.t ROWS >= 1").to_string(), "EXPECT s.t");
        let StatementKind::DropExpect(drop) = parsed("DROP EXPECT IF EXISTS e ON s.t") else { panic!("no drop") };
        assert!(drop.if_exists && drop.name.value == "e" && drop.table.to_string() == "s.t");
        assert!(matches!(parsed("SHOW EXPECTS"), StatementKind::Show(Show::Expects(None))));
        assert!(matches!(parsed("SHOW EXPECTS ON s.t"), StatementKind::Show(Show::Expects(Some(_)))));
    }

    #[test]
    fn mistakes_are_refused_where_they_are() {
        for (sql, expected) in [
            ("EXPECT e ON t", "SYNTAX_ERROR 1:14 expected CHECK, ROWS or FRESH, found the end of the statement"),
            ("EXPECT e ON t UNIQUE (a)", "SYNTAX_ERROR 1:15 expected CHECK, ROWS or FRESH, found UNIQUE"),
            ("EXPECT e CHECK (a > 0)", "SYNTAX_ERROR 1:10 expected ON, found CHECK"),
            ("EXPECT e ON t CHECK a > 0", "SYNTAX_ERROR 1:21 expected (, found a"),
            ("EXPECT e ON t CHECK (a > (SELECT 1))", "NOT_SUPPORTED 1:15 a CHECK looks at one row"),
            ("EXPECT e ON t CHECK (a IN (SELECT 1))", "NOT_SUPPORTED 1:15 a CHECK looks at one row"),
            ("EXPECT e ON t ROWS 5", "SYNTAX_ERROR 1:20 expected '>=' or BETWEEN after ROWS, found 5"),
            ("EXPECT e ON t ROWS BETWEEN 5 AND 3", "SYNTAX_ERROR 1:20 no number is between 5 and 3"),
            ("EXPECT e ON t ROWS >= 1 DROP", "NOT_SUPPORTED 1:25 DROP leaves out the rows"),
            ("EXPECT e ON t FRESH at < 5", "SYNTAX_ERROR 1:24 expected WITHIN and an interval, found <"),
            ("EXPECT e ON t ROWS >= 1 LOUD", "SYNTAX_ERROR 1:25 expected the end of the statement, found LOUD"),
            ("DROP EXPECT e", "SYNTAX_ERROR 1:14 expected ON, found the end of the statement"),
        ] {
            let got = refused(sql);
            assert!(got.to_lowercase().starts_with(&expected.to_lowercase()), "{sql}: {got}");
        }
    }
}
