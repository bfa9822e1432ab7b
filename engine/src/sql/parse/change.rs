//! `DELETE`, `UPDATE` and `MERGE`.

use datafusion::sql::sqlparser::ast::{Expr, Ident};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::change::{ChangedTable, Delete, Merge, MergeAction, MergeClause, MergeRows, SetColumn, Update};
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
            let hint =
                "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *";
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
                    let cause =
                        "UPDATE SET * takes values from the source, and WHEN NOT MATCHED BY SOURCE has no row of it";
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

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn parsed(sql: &str) -> Result<StatementKind, Problem> {
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().unwrap();
        let mut front = Front::new(tokens, 50);
        let kind = front.statement()?;
        front.end().map(|()| kind)
    }

    fn merge(sql: &str) -> Merge {
        match parsed(sql).unwrap_or_else(|problem| panic!("{sql}: {problem:?}")) {
            StatementKind::Merge(merge) => *merge,
            other => panic!("{other:?}"),
        }
    }

    fn set(set: &[SetColumn]) -> String {
        set.iter().map(|set| format!("{}={}", set.column, set.value)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rows_to_delete_are_said_with_and_without_a_name() {
        for (sql, alias, condition) in [
            ("DELETE FROM m.t", None, None),
            ("DELETE FROM t WHERE a = 1", None, Some("a = 1")),
            ("DELETE FROM t AS x WHERE x.a IN (SELECT 1)", Some("x"), Some("x.a IN (SELECT 1)")),
            ("DELETE FROM t x WHERE x.a IS NULL", Some("x"), Some("x.a IS NULL")),
            ("DELETE FROM t \"where\"", Some("where"), None),
        ] {
            let StatementKind::Delete(delete) = parsed(sql).unwrap() else { panic!("{sql}") };
            assert_eq!(delete.table.alias.map(|ident| ident.value).as_deref(), alias, "{sql}");
            assert_eq!(delete.condition.map(|expr| expr.to_string()).as_deref(), condition, "{sql}");
        }
    }

    #[test]
    fn values_to_update_are_said_one_by_one() {
        let StatementKind::Update(update) = parsed("UPDATE s.t u SET a = a + 1, u.b = 'x' WHERE a > 1").unwrap() else {
            panic!("no update")
        };
        assert_eq!((set(&update.set).as_str(), update.condition.is_some()), ("a=a + 1 u.b='x'", true));
        let StatementKind::Update(all) = parsed("UPDATE t SET a = NULL").unwrap() else { panic!("no update") };
        assert!(all.table.alias.is_none() && all.condition.is_none());
        assert!(parsed("UPDATE t SET (a, b) = (1, 2)").is_err());
        assert!(parsed("UPDATE t SET a").is_err());
    }

    #[test]
    fn a_merge_keeps_its_clauses_in_order() {
        let merge = merge(
            "MERGE INTO t USING (SELECT 1 AS id) AS s ON t.id = s.id AND t.ds = '1'
             WHEN MATCHED AND s.id > 1 THEN DELETE
             WHEN MATCHED THEN UPDATE SET *
             WHEN NOT MATCHED BY TARGET THEN INSERT (id, n) VALUES (s.id, 1 + 1)
             WHEN NOT MATCHED THEN INSERT *
             WHEN NOT MATCHED BY SOURCE AND t.n IS NULL THEN UPDATE SET n = 0
             WHEN NOT MATCHED BY SOURCE THEN DELETE",
        );
        assert_eq!(merge.on.to_string(), "t.id = s.id AND t.ds = '1'");
        let shown = |clause: &MergeClause| {
            let action = match &clause.action {
                MergeAction::Update(columns) => set(columns),
                MergeAction::UpdateAll => "update *".to_owned(),
                MergeAction::Delete => "delete".to_owned(),
                MergeAction::Insert { columns, values } => format!("{} {}", columns.len(), values.len()),
                MergeAction::InsertAll => "insert *".to_owned(),
            };
            (clause.rows, clause.condition.is_some(), action)
        };
        let expected = [
            (MergeRows::Matched, true, "delete"),
            (MergeRows::Matched, false, "update *"),
            (MergeRows::OnlyInSource, false, "2 2"),
            (MergeRows::OnlyInSource, false, "insert *"),
            (MergeRows::OnlyInTarget, true, "n=0"),
            (MergeRows::OnlyInTarget, false, "delete"),
        ];
        let expected = expected.map(|(rows, condition, action)| (rows, condition, action.to_owned()));
        assert_eq!(merge.clauses.iter().map(shown).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_clause_does_what_its_rows_allow() {
        for action in [
            "WHEN MATCHED THEN INSERT *",
            "WHEN NOT MATCHED THEN DELETE",
            "WHEN NOT MATCHED THEN UPDATE SET a = 1",
            "WHEN NOT MATCHED BY SOURCE THEN INSERT *",
            "WHEN NOT MATCHED BY SOURCE THEN UPDATE SET *",
            "WHEN MATCHED THEN",
            "WHEN NOT MATCHED THEN INSERT (a)",
            "WHEN MATCHED THEN DELETE ELSE",
            "",
        ] {
            let problem = parsed(&format!("MERGE INTO t USING s ON t.a = s.a {action}"));
            assert!(problem.is_err(), "{action}");
        }
    }
}
