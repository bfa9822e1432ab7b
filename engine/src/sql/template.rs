//! Fills a script's Jinja parameters in.
//!
//! Undefined variables are refused, nothing is escaped, and there is nothing to include: a script is one text. Fuel
//! bounds how long a template may take. `parse` comes next.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, OutputSpan, OutputSpanKind, Template, UndefinedBehavior};
use selvedge_model::Failure;
use selvedge_model::params::ParamType;

use super::MAX_SCRIPT_BYTES;
use super::header::ParsedHeader;
use super::source::{Origin, ScriptSource};

/// Enough for a loop of a hundred thousand turns; gone in about a second.
const FUEL: u64 = 5_000_000;

/// Renders a script. Missing parameters are stood in for, so that the statements can be checked all the same. `None`
/// when there is no text to parse.
pub(super) fn render(
    source: &ScriptSource,
    header: &ParsedHeader,
    params: &BTreeMap<String, String>,
    problems: &mut Vec<Failure>,
) -> Option<ScriptSource> {
    let text = source.written();
    let environment = environment();
    let template = match environment.template_from_str(text) {
        Ok(template) => template,
        Err(error) => {
            problems.push(failure(source, &error));
            return None;
        }
    };
    let undeclared = undeclared(&environment, &template, source, header);
    if !undeclared.is_empty() {
        problems.extend(undeclared);
        return None;
    }
    let (rendered, spans) = match template.render_with_spans(context(header, params)) {
        Ok(rendered) => rendered,
        Err(error) => {
            problems.push(failure(source, &error));
            return None;
        }
    };
    if rendered.len() > MAX_SCRIPT_BYTES {
        problems.push(too_long("the script after its parameters are filled in"));
        return None;
    }
    let origin = |span: &OutputSpan| Origin {
        rendered: span.output_range().start,
        written: span.source_range().start,
        verbatim: span.kind() == OutputSpanKind::Raw,
    };
    let origins = spans.iter().map(origin).collect();
    Some(ScriptSource::rendered(text, rendered, origins))
}

/// Refusal of a text that is too long.
pub(super) fn too_long(what: &str) -> Failure {
    Failure::user("SCRIPT_TOO_LONG", format!("{what} is longer than {} MiB", MAX_SCRIPT_BYTES / 1024 / 1024))
        .with_hint("Keep data out of the script: put it in a file and read it from there.")
}

/// Refusal of a script with too many statements.
pub(super) fn too_many(most: usize) -> Failure {
    Failure::user("SCRIPT_TOO_LONG", format!("the script has more than {most} statements"))
        .with_hint("Split it into several scripts.")
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_debug(true);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(|out, state, value| match value.kind() {
        // As SQL writes it, and as it was given; Jinja would write `True`.
        ValueKind::Bool => out.write_str(if value.is_true() { "true" } else { "false" }).map_err(Error::from),
        _ => minijinja::escape_formatter(out, state, value),
    });
    environment
}

/// A problem for every variable that the text uses and the header does not declare, in the order of their places.
fn undeclared(
    environment: &Environment<'_>,
    template: &Template<'_, '_>,
    source: &ScriptSource,
    header: &ParsedHeader,
) -> Vec<Failure> {
    let mut known: BTreeSet<&str> = environment.globals().map(|(name, _)| name).collect();
    known.extend(header.params().iter().map(|p| p.name.as_str()));
    let used: BTreeSet<String> = template.undeclared_variables(false).into_iter().collect();
    let mut undeclared: Vec<(usize, Failure)> = used
        .iter()
        .filter(|name| !known.contains(name.as_str()))
        .map(|name| {
            let at = find_in_tags(source.written(), name).unwrap_or(0);
            let cause = format!("'{name}' is used but not declared as a parameter");
            let failure = Failure::user("PARAM_UNDECLARED", cause).with_hint(header.undeclared_hint(name));
            (at, failure.at(source.place_of_byte(0, at)))
        })
        .collect();
    undeclared.sort_by_key(|(at, _)| *at);
    undeclared.into_iter().map(|(_, failure)| failure).collect()
}

/// The first byte where a variable is named within a tag.
fn find_in_tags(text: &str, name: &str) -> Option<usize> {
    let in_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.');
    let last = |before: &str, tags: [&str; 2]| tags.iter().filter_map(|tag| before.rfind(tag)).max();
    text.match_indices(name).map(|(at, _)| at).find(|at| {
        let (before, rest) = text.split_at(*at);
        let after = rest.get(name.len()..).and_then(|t| t.chars().next());
        let whole = !in_word(before.chars().next_back()) && !in_word(after.filter(|c| *c != '.'));
        whole && last(before, ["{{", "{%"]) > last(before, ["}}", "%}"])
    })
}

fn context(header: &ParsedHeader, params: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    let value = |kind: ParamType, given: Option<&String>| match (kind, given.map(String::as_str)) {
        (ParamType::String, text) => Value::from(text.unwrap_or("text")),
        (ParamType::Date, text) => Value::from(text.unwrap_or("2026-01-31")),
        (ParamType::Bool, text) => Value::from(text.unwrap_or("true") == "true"),
        (ParamType::Int, text) => Value::from(text.and_then(|t| t.parse::<i64>().ok()).unwrap_or(1)),
        (ParamType::Float, text) => Value::from(text.and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.5)),
    };
    header.params().iter().map(|p| (p.name.clone(), value(p.kind, params.get(&p.name)))).collect()
}

fn failure(source: &ScriptSource, error: &Error) -> Failure {
    let what = match error.kind() {
        ErrorKind::OutOfFuel => "the template does not come to an end".to_owned(),
        kind => error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}")),
    };
    let failure = Failure::user("TEMPLATE_ERROR", format!("the script's Jinja cannot be filled in: {what}"));
    let place = match (error.range(), error.line()) {
        (Some(range), _) => source.place_of_byte(0, range.start),
        (None, Some(line)) => source.place(0, u64::try_from(line).unwrap_or(1), 1),
        (None, None) => return failure,
    };
    failure.at(place)
}
