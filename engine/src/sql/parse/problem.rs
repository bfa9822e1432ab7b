//! A syntax error with its place, in words for the author of the script.
//!
//! sqlparser puts places into its messages only; they are taken out of there in this one file.

use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, TokenWithSpan, TokenizerError};
use selvedge_model::Failure;

use super::super::source::ScriptSource;

/// What is wrong with a statement, and where in the rendered text.
#[derive(Debug)]
pub(super) struct Problem {
    code: &'static str,
    cause: String,
    hint: String,
    at: Option<Location>,
}

impl Problem {
    /// A syntax error at a token.
    pub fn syntax(cause: impl Into<String>, at: Location) -> Self {
        Self { code: "SYNTAX_ERROR", cause: cause.into(), hint: String::new(), at: known(at) }
    }

    /// A statement, or a part of one, that is recognised but cannot be done.
    pub fn unsupported(cause: impl Into<String>, at: Location) -> Self {
        Self { code: "NOT_SUPPORTED", ..Self::syntax(cause, at) }
    }

    /// Says what to do.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// The failure. An error at the end of the statement points behind its last token.
    pub fn into_failure(
        self,
        source: &ScriptSource,
        index: u32,
        (first, last): (&TokenWithSpan, &TokenWithSpan),
    ) -> Failure {
        let at = match self.at {
            Some(at) => at,
            None if self.cause.ends_with(END) => last.span.end,
            None => first.span.start,
        };
        Failure::user(self.code, self.cause).with_hint(self.hint).at(source.place(index, at.line, at.column))
    }
}

const END: &str = "found the end of the statement";

/// Line 0 is sqlparser's way to say that it does not know.
fn known(at: Location) -> Option<Location> {
    (at.line > 0).then_some(at)
}

impl From<ParserError> for Problem {
    fn from(error: ParserError) -> Self {
        let text = match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
            ParserError::RecursionLimitExceeded => {
                let cause = "the statement nests queries or expressions too deeply";
                return Self::syntax(cause, Location::new(0, 0)).with_hint("Name parts of it in a WITH clause.");
            }
        };
        let (message, at) = split_place(&text);
        let message = match message.strip_prefix("Expected: ").and_then(|m| m.split_once(", found: ")) {
            Some((expected, "EOF")) => format!("expected {expected}, {END}"),
            Some((expected, found)) => format!("expected {expected}, found {found}"),
            None => lower_first(message),
        };
        Self::syntax(message, at)
    }
}

/// Takes `... at Line: 1, Column: 2` apart.
fn split_place(text: &str) -> (&str, Location) {
    let unknown = Location::new(0, 0);
    let Some((message, place)) = text.rsplit_once(" at Line: ") else { return (text, unknown) };
    let Some((line, column)) = place.split_once(", Column: ") else { return (text, unknown) };
    match (line.trim().parse(), column.trim().parse()) {
        (Ok(line), Ok(column)) => (message, Location::new(line, column)),
        _ => (text, unknown),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !chars.as_str().starts_with(char::is_uppercase) => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

/// The failure of a text that cannot be cut into tokens, most often a quote that is never closed.
pub(super) fn unreadable(
    source: &ScriptSource,
    index: u32,
    error: &TokenizerError,
    statement_start: Option<Location>,
) -> Failure {
    let at = known(error.location).or(statement_start).unwrap_or(Location::new(1, 1));
    let hint = match error.message.starts_with("Unterminated") {
        true => "Close it; inside a string, write '' for a quote.",
        false => "",
    };
    Failure::user("SYNTAX_ERROR", lower_first(&error.message))
        .with_hint(hint)
        .at(source.place(index, at.line, at.column))
}
