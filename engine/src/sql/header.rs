//! The header of a script: `-- @job name`, `-- @queue q`, `-- @param name type [= default]`.
//!
//! It is the block of comments and blank lines before the first statement. A word it does not know is refused rather
//! than passed over: a mistyped `@parm` would otherwise surface much later. `template` comes next.

use std::collections::BTreeMap;

use selvedge_model::Failure;
use selvedge_model::params::{self, ParamProblem, ParamSpec, ParamType};

use super::source::ScriptSource;
use crate::error::nearest;

const WORDS: [&str; 3] = ["job", "param", "queue"];

/// What a script declares about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The job's name.
    pub name: Option<String>,
    /// The queue it waits in.
    pub queue: Option<String>,
    /// Its parameters, in order.
    pub params: Vec<ParamSpec>,
}

/// A header with the byte at which each parameter is declared.
#[derive(Debug, Default)]
pub(super) struct ParsedHeader {
    header: Header,
    declared_at: BTreeMap<String, usize>,
}

impl ParsedHeader {
    /// The declared parameters.
    pub fn params(&self) -> &[ParamSpec] {
        &self.header.params
    }

    /// The header without its places.
    pub fn into_public(self) -> Header {
        self.header
    }

    /// Matches given values with the declared parameters; problems point at the declaration.
    pub fn resolve(
        &self,
        source: &ScriptSource,
        given: &BTreeMap<String, String>,
        problems: &mut Vec<Failure>,
    ) -> BTreeMap<String, String> {
        let mut found = Vec::new();
        let mut values = BTreeMap::new();
        match params::resolve(&self.header.params, given) {
            Ok(all) => values = all,
            Err(several) => found = several,
        }
        // A default must be of its type also when it is not needed this time.
        for spec in self.header.params.iter().filter(|s| s.default.is_some() && given.contains_key(&s.name)) {
            found.extend(params::resolve(std::slice::from_ref(spec), &BTreeMap::new()).err().unwrap_or_default());
        }
        for problem in found {
            let (code, name) = match &problem {
                ParamProblem::Missing { name, .. } => ("PARAM_MISSING", name),
                ParamProblem::Undeclared { name, .. } => ("PARAM_UNDECLARED", name),
                ParamProblem::IllTyped { name, .. } => ("PARAM_ILL_TYPED", name),
            };
            let mut failure = Failure::user(code, problem.to_string());
            if let ParamProblem::Undeclared { name, .. } = &problem {
                failure = failure.with_hint(self.undeclared_hint(name));
            }
            if let Some(at) = self.declared_at.get(name) {
                failure = failure.at(source.place_of_byte(0, *at));
            }
            problems.push(failure);
        }
        values
    }

    /// What to do about a name that is used or given without being declared.
    pub fn undeclared_hint(&self, name: &str) -> String {
        match nearest(name, self.header.params.iter().map(|p| p.name.as_str())) {
            Some(near) => format!("Did you mean '{near}'?"),
            None => format!("Declare it in the script's header: -- @param {name} string"),
        }
    }
}

/// Parses the header of a script.
pub(super) fn parse(source: &ScriptSource, problems: &mut Vec<Failure>) -> ParsedHeader {
    let mut parsed = ParsedHeader::default();
    let mut in_header = true;
    let mut start = 0;
    for line in source.written().split_inclusive('\n') {
        let text = line.trim();
        if !text.is_empty() && !text.starts_with("--") {
            in_header = false;
        }
        if let Some(body) = text.strip_prefix("--").and_then(|rest| rest.trim_start().strip_prefix('@')) {
            let at = start + line.find('@').unwrap_or(0);
            let word = body.split_whitespace().next().unwrap_or_default();
            let result = match in_header {
                true => parsed.declare(word, body, at),
                false if WORDS.contains(&word) => Err(problem(format!("@{word} stands after the first statement"))
                    .with_hint("Move it to the comments at the top of the script.")),
                false => Ok(()),
            };
            if let Err(failure) = result {
                problems.push(failure.at(source.place_of_byte(0, at)));
            }
        }
        start += line.len();
    }
    parsed
}

fn problem(cause: String) -> Failure {
    Failure::user("BAD_HEADER", cause)
}

impl ParsedHeader {
    fn declare(&mut self, word: &str, body: &str, at: usize) -> Result<(), Failure> {
        let rest = body.strip_prefix(word).unwrap_or_default().trim();
        match word {
            "job" => set_once(&mut self.header.name, word, rest),
            "queue" => set_once(&mut self.header.queue, word, rest),
            "param" => self.declare_param(rest, at),
            _ => {
                let hint = match nearest(word, WORDS) {
                    Some(near) => format!("Did you mean @{near}?"),
                    None => "A header knows @job, @param and @queue.".to_owned(),
                };
                Err(problem(format!("unknown header word '@{word}'")).with_hint(hint))
            }
        }
    }

    fn declare_param(&mut self, rest: &str, at: usize) -> Result<(), Failure> {
        let usage = "Write: -- @param name type [= default], for example: -- @param ds date = 2026-01-31";
        let (declaration, default) = match rest.split_once('=') {
            Some((declaration, default)) => (declaration, Some(unquote(default.trim()).to_owned())),
            None => (rest, None),
        };
        let mut words = declaration.split_whitespace();
        let (Some(name), Some(kind), None) = (words.next(), words.next(), words.next()) else {
            return Err(problem(format!("'@param {rest}' is not a declaration")).with_hint(usage));
        };
        if !is_name(name) {
            let cause = format!("'{name}' cannot name a parameter");
            return Err(problem(cause).with_hint("Use letters, digits and '_', not beginning with a digit."));
        }
        let Some(kind) = ParamType::parse(kind) else {
            let names = ParamType::ALL.map(ParamType::name);
            let hint = match nearest(kind, names) {
                Some(near) => format!("Did you mean {near}?"),
                None => format!("Use one of {}.", names.join(", ")),
            };
            return Err(problem(format!("parameter '{name}' has the unknown type '{kind}'")).with_hint(hint));
        };
        if self.declared_at.contains_key(name) {
            return Err(problem(format!("parameter '{name}' is declared twice")));
        }
        let spec = ParamSpec { name: name.to_owned(), kind, default };
        self.declared_at.insert(name.to_owned(), at);
        self.header.params.push(spec);
        Ok(())
    }
}

fn set_once(field: &mut Option<String>, word: &str, value: &str) -> Result<(), Failure> {
    let fits = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if value.is_empty() || value.len() > 128 || !value.chars().all(fits) {
        let cause = format!("'{value}' is not a {word} name");
        return Err(problem(cause).with_hint("Use 1 to 128 letters, digits, '-', '_' and '.', without spaces."));
    }
    if field.is_some() {
        return Err(problem(format!("@{word} is given twice")));
    }
    *field = Some(value.to_owned());
    Ok(())
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn unquote(text: &str) -> &str {
    for quote in ['\'', '"'] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}
