//! Declared, typed parameters of a script.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamType {
    /// Any text.
    String,
    /// A whole number of 64 bits.
    Int,
    /// A decimal number.
    Float,
    /// `true` or `false`.
    Bool,
    /// `YYYY-MM-DD`.
    Date,
}

impl ParamType {
    /// All types, for messages.
    pub const ALL: [ParamType; 5] = [Self::String, Self::Int, Self::Float, Self::Bool, Self::Date];

    /// The name as a header writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Date => "date",
        }
    }

    /// The type a header names.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }

    fn accepts(self, value: &str) -> bool {
        match self {
            Self::String => true,
            Self::Int => value.parse::<i64>().is_ok(),
            Self::Float => value.parse::<f64>().is_ok_and(f64::is_finite),
            Self::Bool => matches!(value, "true" | "false"),
            Self::Date => is_date(value),
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::String => "text",
            Self::Int => "42",
            Self::Float => "0.5",
            Self::Bool => "true",
            Self::Date => "2026-01-31",
        }
    }
}

impl fmt::Display for ParamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A `YYYY-MM-DD` that exists in the calendar.
fn is_date(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    let [y, m, d] = parts.as_slice() else { return false };
    let digits = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
    if !(digits(y, 4) && digits(m, 2) && digits(d, 2)) {
        return false;
    }
    let (Ok(year), Ok(month), Ok(day)) = (y.parse::<u32>(), m.parse::<u32>(), d.parse::<u32>()) else { return false };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// One declared parameter: `-- @param ds date = 2026-01-01`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParamSpec {
    /// Its name in `{{ name }}`.
    pub name: String,
    /// Its type.
    pub kind: ParamType,
    /// The value when none is given.
    pub default: Option<String>,
}

/// What is wrong with the parameters of a submission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamProblem {
    /// Declared, without default, and not given.
    #[error("parameter '{name}' ({kind}) is missing: give it with -p {name}={example}")]
    Missing {
        /// The parameter.
        name: String,
        /// Its type.
        kind: ParamType,
        /// A value that would do.
        example: &'static str,
    },
    /// Given, but not declared.
    #[error("parameter '{name}' is not declared by this script; it declares {declared}")]
    Undeclared {
        /// The parameter.
        name: String,
        /// What is declared.
        declared: String,
    },
    /// Not of its type.
    #[error("parameter '{name}' must be a {kind} such as {example}, not '{value}'")]
    IllTyped {
        /// The parameter.
        name: String,
        /// Its type.
        kind: ParamType,
        /// A value that would do.
        example: &'static str,
        /// What was given.
        value: String,
    },
}

/// Matches given values with declared parameters.
///
/// # Errors
/// All problems at once.
pub fn resolve(
    specs: &[ParamSpec],
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Vec<ParamProblem>> {
    let mut problems = Vec::new();
    let mut values = BTreeMap::new();
    for spec in specs {
        let (name, kind, example) = (spec.name.clone(), spec.kind, spec.kind.example());
        match given.get(&spec.name).or(spec.default.as_ref()) {
            None => problems.push(ParamProblem::Missing { name, kind, example }),
            Some(value) if kind.accepts(value) => {
                values.insert(name, value.clone());
            }
            Some(value) => {
                let value = value.chars().take(80).collect();
                problems.push(ParamProblem::IllTyped { name, kind, example, value });
            }
        }
    }
    let names: Vec<&str> = specs.iter().map(|s| s.name.as_str()).collect();
    let declared = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    for name in given.keys().filter(|n| !names.contains(&n.as_str())) {
        problems.push(ParamProblem::Undeclared { name: name.clone(), declared: declared.clone() });
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, kind: ParamType, default: Option<&str>) -> ParamSpec {
        ParamSpec { name: name.into(), kind, default: default.map(Into::into) }
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let specs = [spec("ds", ParamType::Date, None), spec("n", ParamType::Int, Some("1"))];
        let given = BTreeMap::from([("n".into(), "x".into()), ("dd".into(), "1".into())]);
        let problems = resolve(&specs, &given).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn defaults_fill_in_and_given_values_win() {
        let specs = [spec("n", ParamType::Int, Some("1")), spec("m", ParamType::Bool, Some("true"))];
        let values = resolve(&specs, &BTreeMap::from([("n".into(), "-2".into())])).unwrap();
        assert_eq!(values, BTreeMap::from([("n".into(), "-2".into()), ("m".into(), "true".into())]));
    }

    #[test]
    fn dates_must_exist() {
        for (text, good) in [("2024-02-29", true), ("2026-02-29", false), ("2026-13-01", false), ("26-1-1", false)] {
            assert_eq!(is_date(text), good, "{text}");
        }
    }
}
