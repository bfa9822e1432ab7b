//! Splits a rendered script into statements and parses each on its own, so that all syntax errors are reported at once.
//!
//! sqlparser cuts tokens and parses queries, expressions and types; what a statement begins with is decided in `front`,
//! because neither it nor DataFusion knows `INSERT OVERWRITE ... PARTITION`, partitioned tables and the rest of ours.

mod change;
mod clauses;
mod create;
mod expect;
mod front;
mod problem;
mod travel;
mod write;

use std::sync::Arc;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use selvedge_model::Failure;

use super::source::ScriptSource;
use super::statement::{ScriptStatement, StatementKind};
use super::{MAX_PROBLEMS, MAX_STATEMENTS};
use problem::Problem;

/// How deep queries and expressions may nest.
const NESTING: usize = 50;

/// Parses all statements. Problems are pushed in the order of their places.
pub(super) fn parse(source: &Arc<ScriptSource>, problems: &mut Vec<Failure>) -> Vec<ScriptStatement> {
    let mut tokens = Vec::new();
    let cut = Tokenizer::new(&GenericDialect {}, source.text()).tokenize_with_location_into_buf(&mut tokens);
    let mut pieces: Vec<&[TokenWithSpan]> = tokens.split(|t| t.token == Token::SemiColon).collect();
    // What stands after the last semicolon cannot be judged when the text after it could not be cut into tokens.
    let broken = if cut.is_err() { pieces.pop() } else { None };
    let mut statements = Vec::new();
    let mut index = 0;
    for piece in pieces {
        let Some((first, last)) = ends(piece) else { continue };
        index += 1;
        if statements.len() == MAX_STATEMENTS || problems.len() >= MAX_PROBLEMS {
            if statements.len() == MAX_STATEMENTS {
                problems.push(super::template::too_many(MAX_STATEMENTS));
            }
            break;
        }
        let start = source.byte_at(first.span.start.line, first.span.start.column);
        let end = source.byte_at(last.span.end.line, last.span.end.column);
        match parse_one(piece) {
            Ok(kind) => statements.push(ScriptStatement {
                index,
                sql: source.text().get(start..end).unwrap_or_default().to_owned(),
                place: source.place_of_rendered(index, start),
                kind,
                source: Arc::clone(source),
            }),
            Err(problem) => problems.push(problem.into_failure(source, index, (first, last))),
        }
    }
    if let Err(error) = cut {
        let index = index + 1;
        let start = broken.and_then(ends).map(|(first, _)| first.span.start);
        problems.push(problem::unreadable(source, index, &error, start));
    }
    if statements.is_empty() && problems.is_empty() {
        problems.push(Failure::user("EMPTY_SCRIPT", "the script has no statement").at(source.place_of_rendered(0, 0)));
    }
    statements
}

/// The first and last token that is not white space or a comment.
fn ends(tokens: &[TokenWithSpan]) -> Option<(&TokenWithSpan, &TokenWithSpan)> {
    let mut significant = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF));
    let first = significant.next()?;
    Some((first, significant.next_back().unwrap_or(first)))
}

fn parse_one(tokens: &[TokenWithSpan]) -> Result<StatementKind, Problem> {
    let mut front = front::Front::new(travel::in_names(tokens)?, NESTING);
    let kind = front.statement()?;
    front.end()?;
    Ok(kind)
}
