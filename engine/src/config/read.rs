//! From texts to values: every key is read once, and every problem found before anything is given up.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::layers::{Layers, Sources};
use super::parse::{self, Refused};
use super::{ConfigProblem, Key};

/// Reads the keys of one service, gathering problems on the way.
#[derive(Debug)]
pub struct Reader {
    layers: Layers,
}

impl Reader {
    /// Brings the sources together.
    pub fn new(keys: &'static [Key], sources: Sources<'_>) -> Self {
        Self { layers: Layers::read(keys, sources) }
    }

    /// The value of a key, or else of its default; `None` when that is a problem.
    pub fn read<T>(&mut self, key: &'static str, parse: impl FnOnce(&str) -> Refused<T>) -> Option<T> {
        let default = self.layers.keys.iter().find(|k| k.name == key).map_or("", |k| k.default);
        let (value, given_in) = match self.layers.values.get(key) {
            Some(given) => (given.value.as_str(), given.given_in.as_str()),
            None => (default, ""),
        };
        match parse(value.trim()) {
            Ok(value) => Some(value),
            Err(why) => {
                let hint = if default.is_empty() { String::new() } else { format!("The default is {default}") };
                let problem = ConfigProblem { hint, ..ConfigProblem::new(key, given_in, why) };
                self.layers.problems.push(problem);
                None
            }
        }
    }

    /// A whole number.
    pub fn number<T: FromStr + PartialOrd + Display>(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<T>,
    ) -> Option<T> {
        self.read(key, |text| parse::number(text, bounds))
    }

    /// The options made of what was read.
    ///
    /// # Errors
    /// Every problem, of names and of values.
    pub fn finish<T>(self, options: Option<T>) -> Result<T, Vec<ConfigProblem>> {
        options.filter(|_| self.layers.problems.is_empty()).ok_or(self.layers.problems)
    }
}
