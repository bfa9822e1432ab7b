//! `DELETE`, `UPDATE` and `MERGE`.

use datafusion::sql::sqlparser::ast::{Expr, Ident};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::change::{
    ChangedTable, Delete, Merge, MergeAction, MergeClause, MergeRows, SetColumn, Update,
};
use super::super::statement::StatementKind;
use super::front::{Front, found, keyword};
use super::problem::Problem;

/// What may follow a table's name and is not its alias.
const AFTER_TABLE: [Keyword; 5] = [Keyword::WHERE, Keyword::SET, Keyword::USING, Keyword::FROM, Keyword::ON];

impl Front {
    /// Parses a `DELETE`.
    pub fn delete(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        self.parser.expect_keyword(Keyword::FROM)?;
        let table = self.changed_table()?;
        let next = self.parser.peek_token();
        if keyword(&next) == Keyword::USING {
            let cause = "DELETE takes its rows from one table, and has no USING";
            let hint = "Write WHERE EXISTS (SELECT ...), or MERGE INTO ... WHEN MATCHED THEN DELETE.";
            return Err(Problem::unsupported(cause, next.span.start).with_hint(hint));
        }
        let condition = self.condition(Keyword::WHERE)?;
        Ok(StatementKind::Delete(Delete { table, condition }))
    }

    /// Parses an `UPDATE`.
    pub fn update(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let table = self.changed_table()?;
        self.parser.expect_keyword(Keyword::SET)?;
        let set = self.set_columns()?;
        let next = self.parser.peek_token();
        if keyword(&next) == Keyword::FROM {
            let cause = "UPDATE takes its values from one table, and has no FROM";
            let hint = "Write MERGE INTO ... USING ... WHEN MATCHED THEN UPDATE SET ...";
            return Err(Problem::unsupported(cause, next.span.start).with_hint(hint));
        }
        let condition = self.condition(Keyword::WHERE)?;
        Ok(StatementKind::Update(Update { table, set, condition }))
    }

    /// Parses a `MERGE`.
    pub fn merge(&mut self) -> Result<StatementKind, Problem> {
        self.parser.next_token();
        let _ = self.parser.parse_keyword(Keyword::INTO);
        let table = self.changed_table()?;
        self.parser.expect_keyword(Keyword::USING)?;
        let source = self.parser.parse_table_factor()?;
        self.parser.expect_keyword(Keyword::ON)?;
        let on = self.parser.parse_expr()?;
        let mut clauses = Vec::new();
        while self.parser.parse_keyword(Keyword::WHEN) {
            clauses.push(self.merge_clause()?);
        }
        if clauses.is_empty() {
            let token = self.parser.peek_token();
            let cause = format!("expected WHEN, found {}", found(&token));
            let hint = "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *";
            return Err(Problem::syntax(cause, token.span.start).with_hint(hint));
        }
        Ok(StatementKind::Merge(Box::new(Merge { table, source, on, clauses })))
    }

    fn changed_table(&mut self) -> Result<ChangedTable, Problem> {
        let name = self.parser.parse_object_name(false)?;
        let explicit = self.parser.parse_keyword(Keyword::AS);
        let next = self.parser.peek_token();
        let is_name = matches!(next.token, Token::Word(_)) && !AFTER_TABLE.contains(&keyword(&next));
        let alias = match explicit || is_name {
            true => Some(self.parser.parse_identifier()?),
            false => None,
        };
        Ok(ChangedTable { name, alias })
    }

    /// The condition behind a keyword, if it stands here.
    fn condition(&mut self, behind: Keyword) -> Result<Option<Expr>, Problem> {
        match self.parser.parse_keyword(behind) {
            true => Ok(Some(self.parser.parse_expr()?)),
            false => Ok(None),
        }
    }

    /// `a = 1, b = 2`
    fn set_columns(&mut self) -> Result<Vec<SetColumn>, Problem> {
        let mut set = Vec::new();
        loop {
            let first = self.parser.peek_token();
            if first.token == Token::LParen {
                let cause = "columns are set one by one";
                return Err(Problem::unsupported(cause, first.span.start).with_hint("SET a = 1, b = 2"));
            }
            let column = self.parser.parse_object_name(false)?;
            self.parser.expect_token(&Token::Eq)?;
            set.push(SetColumn { column, value: self.parser.parse_expr()? });
            if !self.parser.consume_token(&Token::Comma) {
                return Ok(set);
            }
        }
    }

    /// What follows `WHEN`.
    fn merge_clause(&mut self) -> Result<MergeClause, Problem> {
        let is_negative = self.parser.parse_keyword(Keyword::NOT);
        self.parser.expect_keyword(Keyword::MATCHED)?;
        let rows = match is_negative {
            false => MergeRows::Matched,
            true if self.parser.parse_keywords(&[Keyword::BY, Keyword::SOURCE]) => MergeRows::OnlyInTarget,
            true => {
                let _ = self.parser.parse_keywords(&[Keyword::BY, Keyword::TARGET]);
                MergeRows::OnlyInSource
            }
        };
        let condition = self.condition(Keyword::AND)?;
        self.parser.expect_keyword(Keyword::THEN)?;
        let action = self.merge_action(rows)?;
        Ok(MergeClause { rows, condition, action })
    }

    fn merge_action(&mut self, rows: MergeRows) -> Result<MergeAction, Problem> {
        let word = self.parser.next_token();
        match (keyword(&word), rows) {
            (Keyword::INSERT, MergeRows::OnlyInSource) => self.merge_insert(),
            (Keyword::DELETE, MergeRows::Matched | MergeRows::OnlyInTarget) => Ok(MergeAction::Delete),
            (Keyword::UPDATE, MergeRows::Matched | MergeRows::OnlyInTarget) => {
                self.parser.expect_keyword(Keyword::SET)?;
                let star = self.parser.peek_token();
                if star.token != Token::Mul {
                    return Ok(MergeAction::Update(self.set_columns()?));
                }
                if rows == MergeRows::OnlyInTarget {
                    let cause = "UPDATE SET * takes values from the source, and WHEN NOT MATCHED BY SOURCE has no row of it";
                    return Err(Problem::syntax(cause, star.span.start).with_hint("Name the columns: SET a = 1"));
                }
                self.parser.next_token();
                Ok(MergeAction::UpdateAll)
            }
            _ => Err(wrong_action(rows, &word)),
        }
    }

    /// What follows `INSERT`.
    fn merge_insert(&mut self) -> Result<MergeAction, Problem> {
        if self.parser.consume_token(&Token::Mul) {
            return Ok(MergeAction::InsertAll);
        }
        let mut columns: Vec<Ident> = Vec::new();
        if self.parser.consume_token(&Token::LParen) {
            loop {
                columns.push(self.parser.parse_identifier()?);
                if !self.parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            self.parser.expect_token(&Token::RParen)?;
        }
        self.parser.expect_keyword(Keyword::VALUES)?;
        self.parser.expect_token(&Token::LParen)?;
        let mut values = Vec::new();
        loop {
            values.push(self.parser.parse_expr()?);
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.parser.expect_token(&Token::RParen)?;
        Ok(MergeAction::Insert { columns, values })
    }
}

fn wrong_action(rows: MergeRows, word: &TokenWithSpan) -> Problem {
    let (clause, expected) = match rows {
        MergeRows::Matched => ("WHEN MATCHED", "UPDATE or DELETE"),
        MergeRows::OnlyInSource => ("WHEN NOT MATCHED", "INSERT"),
        MergeRows::OnlyInTarget => ("WHEN NOT MATCHED BY SOURCE", "UPDATE or DELETE"),
    };
    Problem::syntax(format!("expected {expected} after {clause}, found {}", found(word)), word.span.start)
}
