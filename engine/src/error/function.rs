//! A function called with arguments it does not take, from DataFusion's words to ours.
//!
//! DataFusion keeps what it knows only as text, and calls some of these errors its own bugs. The tests plan real calls, so
//! that a release which words them otherwise fails here. Where the call stands in the SQL is found by the scheduler.

use datafusion::error::DataFusionError;
use selvedge_model::Failure;

/// Signatures shown.
const SHOWN: usize = 8;

/// Types shown where a signature takes one of many.
const SHOWN_TYPES: usize = 4;

const MARK: &str = "No function matches the given name and argument types '";

/// What stands around the name of a function, and what else must be said for it to be about arguments.
const PHRASES: [(&str, &[&str]); 4] = [
    ("Failed to coerce arguments to satisfy a call to '", &["the signature"]),
    ("Function '", &["signature", "coercion failed", "expects", "requires", "could not coerce"]),
    ("The function '", &["expected"]),
    ("'", &["does not support zero arguments"]),
];

/// The function that an error says is called with wrong arguments, if it is such an error.
pub fn misused_function(error: &DataFusionError) -> Option<String> {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => misused_function(inner),
        DataFusionError::Shared(inner) => misused_function(inner),
        DataFusionError::Collection(errors) => errors.iter().find_map(misused_function),
        DataFusionError::Plan(text) | DataFusionError::Internal(text) | DataFusionError::Execution(text) => {
            Some(Misuse::parse(text)?.name.to_owned())
        }
        _ => None,
    }
}

/// The failure, if the text says that a function is called with wrong arguments.
pub(super) fn misuse(text: &str) -> Option<Failure> {
    let misuse = Misuse::parse(text)?;
    let failure = Failure::user("INVALID_ARGUMENTS", misuse.cause());
    Some(if misuse.is_about_types() {
        failure.with_hint("CAST(value AS type) gives an argument another type")
    } else {
        failure
    })
}

struct Misuse<'a> {
    name: &'a str,
    /// Types as they were given, where the text has them.
    given: Option<&'a str>,
    /// Signatures, without the name.
    accepted: Vec<String>,
    /// What DataFusion says of it.
    detail: String,
}

impl<'a> Misuse<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let Some((detail, rest)) = text.split_once(MARK) else {
            let name = name_in(text)?;
            return Some(Self { name, given: None, accepted: Vec::new(), detail: detail(text, name) });
        };
        let (call, rest) = rest.split_once("'. You might need")?;
        let (name, given) = call.split_once('(')?;
        let given = given.strip_suffix(')').unwrap_or(given);
        let listed = rest.split_once("Candidate functions:").map(|(_, list)| list).unwrap_or_default();
        let mut accepted: Vec<String> = Vec::new();
        for line in listed.lines().map(str::trim) {
            let signature = line.strip_prefix(name).and_then(|l| l.strip_prefix('(')).and_then(|l| l.strip_suffix(')'));
            let Some(signature) = signature.map(readable) else { continue };
            if !accepted.contains(&signature) {
                accepted.push(signature);
            }
        }
        // A signature that only code decides on says nothing.
        if accepted.iter().any(|signature| signature.contains("UserDefined")) {
            accepted.clear();
        }
        Some(Self { name, given: Some(given), accepted, detail: self::detail(detail, name) })
    }

    fn cause(&self) -> String {
        let Self { name, accepted, detail, .. } = self;
        let wrong = match self.given {
            Some("") => format!("{name} cannot be called without arguments"),
            Some(given) => format!("{name} does not take ({given})"),
            None => format!("{name} does not take these arguments"),
        };
        let mut calls: Vec<String> = accepted.iter().take(SHOWN).map(|types| format!("{name}({types})")).collect();
        if accepted.len() > SHOWN {
            calls.push(format!("{} other forms", accepted.len() - SHOWN));
        }
        match calls.split_last() {
            Some((last, [])) => format!("{wrong}, it takes {last}"),
            Some((last, others)) => format!("{wrong}, it takes {} or {last}", others.join(", ")),
            None if detail.is_empty() => wrong,
            None => format!("{wrong}: {detail}"),
        }
    }

    /// Whether as many arguments are given as the function takes, so that only types can be wrong.
    fn is_about_types(&self) -> bool {
        let given = self.given.map(arity).unwrap_or_default();
        given > 0 && self.accepted.iter().any(|types| arity(types) == given)
    }
}

fn name_in(text: &str) -> Option<&str> {
    let rest = PHRASES.iter().find_map(|(before, said)| {
        let rest = text.strip_prefix(before)?;
        said.iter().any(|said| rest.contains(said)).then_some(rest)
    })?;
    Some(rest.split_once('\'')?.0).filter(|name| !name.is_empty() && !name.contains(' '))
}

/// The first reason given, without the kinds of error that precede it and the request to report it.
fn detail(text: &str, name: &str) -> String {
    let text = text.split("\nThis issue was likely").next().unwrap_or(text);
    let text = text.rsplit_once("failed to match any signature, errors: ").map_or(text, |(_, reasons)| reasons);
    let text = text.rsplit_once("coercion failed with: ").map_or(text, |(_, reason)| reason);
    let text = text.split(",Error during planning: ").next().unwrap_or(text);
    let mut text = text.trim();
    for kind in ["Internal error: ", "Execution error: ", "Error during planning: "] {
        text = text.strip_prefix(kind).unwrap_or(text);
    }
    let text = text.trim_end_matches(['.', ' ']);
    let named = [format!("Function '{name}' "), format!("The function '{name}' "), format!("'{name}' ")];
    let text = named.iter().find_map(|n| text.strip_prefix(n.as_str())).map_or(text.to_owned(), |t| format!("it {t}"));
    text.replace(" 1 arguments", " 1 argument")
}

/// A signature with its long lists of types cut.
fn readable(signature: &str) -> String {
    if signature == "NullAry()" {
        return String::new();
    }
    let cut = |argument: &str| match argument.split('/').collect::<Vec<_>>() {
        types if types.len() > SHOWN_TYPES => format!("{}/...", types[..SHOWN_TYPES - 1].join("/")),
        _ => argument.to_owned(),
    };
    signature.split(", ").map(cut).collect::<Vec<_>>().join(", ")
}

/// How many arguments are listed; those within parentheses belong to one type.
fn arity(types: &str) -> usize {
    if types.is_empty() {
        return 0;
    }
    let mut depth = 0;
    let mut arguments = 1;
    for c in types.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => arguments += 1,
            _ => {}
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::super::classify;
    use super::*;

    async fn error_of(sql: &str) -> DataFusionError {
        match SessionContext::new().sql(sql).await {
            Err(error) => error,
            Ok(frame) => frame.create_physical_plan().await.unwrap_err(),
        }
    }

    #[tokio::test]
    async fn wrong_arguments_are_named_with_what_is_taken() {
        let rows = [
            ("SELECT upper(1, 2)", "upper", "upper does not take (Int64, Int64), it takes upper(String)"),
            (
                "SELECT date_trunc(1)",
                "date_trunc",
                "date_trunc does not take (Int64), it takes date_trunc(String, Timestamp) or date_trunc(String, Time)",
            ),
            (
                "SELECT sum('a')",
                "sum",
                "sum does not take (Utf8), it takes sum(Decimal), sum(UInt64), sum(Int64), sum(Float64), sum(Duration) or \
                 sum(Interval)",
            ),
            ("SELECT now(1)", "now", "now does not take (Int64), it takes now()"),
            (
                "SELECT concat()",
                "concat",
                "concat cannot be called without arguments: concat does not support zero arguments",
            ),
            (
                "SELECT nvl(1)",
                "nvl",
                "nvl does not take (Int64), it takes nvl(Boolean/UInt8/UInt16/..., Boolean/UInt8/UInt16/...)",
            ),
            // Not noticed before types are checked, and then in other words.
            ("SELECT 1 AS a ORDER BY upper(1, 2)", "upper", "upper does not take"),
        ];
        for (sql, name, cause) in rows {
            let error = error_of(sql).await;
            assert_eq!(misused_function(&error).as_deref(), Some(name), "{sql}: {error}");
            let failure = classify(&error);
            assert_eq!((failure.code.as_str(), failure.domain), ("INVALID_ARGUMENTS", selvedge_model::Domain::User));
            assert!(failure.cause.starts_with(cause), "{sql}: {}", failure.cause);
            assert!(!failure.cause.contains("likely") && failure.cause.lines().count() == 1, "{}", failure.cause);
        }
    }

    #[tokio::test]
    async fn a_cast_is_advised_where_only_types_are_wrong() {
        assert!(classify(&error_of("SELECT sum('a')").await).hint.contains("CAST"));
        assert_eq!(classify(&error_of("SELECT upper(1, 2)").await).hint, "");
    }

    #[test]
    fn other_errors_are_left_alone() {
        for text in ["table 'a' not found", "'a' is odd", "Function 'f' is volatile", "Internal error: '", ""] {
            assert!(misuse(text).is_none(), "{text}");
        }
        assert_eq!((arity(""), arity("A"), arity("List(A, B), C")), (0, 1, 2));
    }
}
