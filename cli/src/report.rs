//! Prints failures: what failed, `--> file:line:column` with the line and a caret under the place, what to do, and then the
//! other problems found. [`render`] is pure; [`print`] puts it on stderr, and for programs as JSON on stdout.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use selvedge::model::{Domain, Failure, HasFailure as _, Place};
use selvedge_model::words::counted;

use crate::error::CliError;
use crate::output::Format;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const MARK: Style = AnsiColor::Red.on_default().bold();
const FRAME: Style = AnsiColor::Blue.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();
const STRONG: Style = Style::new().bold();

/// A line longer than this is cut around the caret.
const MAX_LINE_CHARS: usize = 120;

/// Prints why a command failed. Where JSON is asked for, stdout gets it too: a program should not have to read prose.
pub fn print(error: &CliError, format: Format) {
    if format == Format::Json
        && let Some(line) = as_json(error)
    {
        use std::io::Write as _;
        // That nobody reads it is no second failure.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
    match error {
        CliError::Closed => {}
        CliError::LeftRunning(run) => {
            anstream::eprintln!(
                "run {run} goes on; `selvedge runs watch {run}` follows it, `selvedge runs cancel {run}` ends it"
            );
        }
        error => anstream::eprint!("{}", render(&error.failure(), error.file())),
    }
}

/// `{"failure": {...}}` on one line, so that it can stand behind rows; `None` where the document that was printed has it.
fn as_json(error: &CliError) -> Option<String> {
    match error {
        CliError::Closed | CliError::LeftRunning(_) | CliError::Run { .. } => None,
        error => serde_json::to_string(&serde_json::json!({ "failure": error.failure() })).ok(),
    }
}

/// The failure and everything found with it, with colours (the printing macros strip them where they do not belong).
pub fn render(failure: &Failure, file: Option<&str>) -> String {
    let mut out = String::new();
    one(&mut out, failure, file);
    for other in &failure.others {
        out.push('\n');
        one(&mut out, other, file);
    }
    if !failure.others.is_empty() {
        let _ = writeln!(out, "\n{STRONG}{}{STRONG:#}", counted(failure.others.len() + 1, "problem"));
    }
    out
}

fn one(out: &mut String, failure: &Failure, file: Option<&str>) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{ERROR}error[{}]{ERROR:#}{STRONG}: {}{STRONG:#}", failure.code, failure.cause.trim_end());
    let margin = match &failure.place {
        Some(place) if place.line > 0 => self::place(out, place, file),
        _ => 0,
    };
    if !failure.hint.is_empty() {
        let _ = writeln!(out, "{:margin$} {HINT}hint:{HINT:#} {}", "", failure.hint);
    }
    if failure.domain == Domain::Internal {
        let _ = writeln!(out, "{:margin$} {HINT}note:{HINT:#} this is a fault of Selvedge's; please report it", "");
    }
}

/// The place with its line and a caret; returns the width of the margin.
fn place(out: &mut String, place: &Place, file: Option<&str>) -> usize {
    let number = place.line.to_string();
    let margin = number.len();
    let file = file.unwrap_or("script");
    let column = place.column.max(1);
    let _ = writeln!(out, "{:margin$}{FRAME}-->{FRAME:#} {file}:{}:{column}", "", place.line);
    if place.line_text.is_empty() {
        return margin;
    }
    let (text, caret) = window(&place.line_text, usize::try_from(column - 1).unwrap_or(0));
    let _ = writeln!(out, "{:margin$} {FRAME}|{FRAME:#}", "");
    let _ = writeln!(out, "{FRAME}{number} |{FRAME:#} {text}");
    let _ = writeln!(out, "{:margin$} {FRAME}|{FRAME:#} {:caret$}{MARK}^{MARK:#}", "", "");
    margin
}

/// The part of a line around the character at `at`, tabs as blanks, and where the caret goes below it.
fn window(line: &str, at: usize) -> (String, usize) {
    let chars: Vec<char> = line.trim_end().chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
    let at = at.min(chars.len());
    if chars.len() <= MAX_LINE_CHARS {
        return (chars.iter().collect(), at);
    }
    let start = at.saturating_sub(MAX_LINE_CHARS / 2).min(chars.len().saturating_sub(MAX_LINE_CHARS));
    let end = (start + MAX_LINE_CHARS).min(chars.len());
    let mut text: String = chars[start..end].iter().collect();
    let mut caret = at - start;
    if start > 0 {
        text.insert_str(0, "...");
        caret += 3;
    }
    if end < chars.len() {
        text.push_str("...");
    }
    (text, caret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(failure: &Failure, file: Option<&str>) -> String {
        anstream::adapter::strip_str(&render(failure, file)).to_string()
    }

    fn at(line: u32, column: u32, text: &str) -> Place {
        Place { statement: 1, line, column, line_text: text.into() }
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        let failure = Failure::user("TABLE_NOT_FOUND", "table 'orderz' not found")
            .with_hint("did you mean 'orders'?")
            .at(at(12, 7, "  FROM orderz o"));
        let expected = "error[TABLE_NOT_FOUND]: table 'orderz' not found\n  \
                        --> job.sql:12:7\n   \
                        |\n\
                        12 |   FROM orderz o\n   \
                        |       ^\n   \
                        hint: did you mean 'orders'?\n";
        assert_eq!(plain(&failure, Some("job.sql")), expected);
    }

    #[test]
    fn programs_get_one_object_on_one_line() {
        let failure = Failure::user("SYNTAX_ERROR", "no statement begins with 'SELEC'").at(at(1, 1, "SELEC 1"));
        let line = as_json(&CliError::Usage(Box::new(failure))).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["failure"]["code"], line.lines().count()), (&"SYNTAX_ERROR".into(), 1));
        assert_eq!(value["failure"]["place"]["line_text"], "SELEC 1");
        assert!(as_json(&CliError::Closed).is_none());
    }

    #[test]
    fn columns_count_characters_and_tabs_take_one() {
        let failure = Failure::user("X", "x").at(at(1, 4, "é\té?"));
        assert!(plain(&failure, None).contains("1 | é é?\n  |    ^\n"), "{}", plain(&failure, None));
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("{}HERE{}", "a".repeat(300), "b".repeat(300));
        let (shown, caret) = window(&text, 300);
        assert_eq!(&shown[caret..caret + 4], "HERE");
        assert!(shown.len() <= MAX_LINE_CHARS + 6);
    }

    #[test]
    fn other_problems_follow_and_are_counted() {
        let failure = Failure::join(vec![Failure::user("A", "first"), Failure::user("B", "second")]).unwrap();
        let text = plain(&failure, None);
        assert!(text.find("error[A]: first") < text.find("error[B]: second"), "{text}");
        assert!(text.ends_with("2 problems\n"), "{text}");
    }

    #[test]
    fn a_caret_past_the_end_of_the_line_stands_at_its_end() {
        assert_eq!(window("ab", 9), ("ab".to_owned(), 2));
    }
}
