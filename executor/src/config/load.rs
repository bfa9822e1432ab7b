//! Brings file, environment and flags together and finds keys nobody knows. Values are judged in `resolve.rs`.

use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};
use serde::Deserialize;

use super::{ConfigProblem, ExecutorConfig};

/// Every key of [`ExecutorConfig`].
const KEYS: &[&str] = &[
    "scheduler",
    "vcores",
    "memory",
    "work_dir",
    "pool",
    "shuffle",
    "host",
    "bind",
    "port",
    "http",
    "drain_grace",
    "spill_limit",
    "s3_endpoint",
    "s3_region",
    "s3_path_style",
    "s3_profile",
];

impl ExecutorConfig {
    /// Reads `file` and the `SELVEDGE_*` environment below `flags`.
    ///
    /// Unknown keys in the file are refused. Unknown variables are not: other commands of Selvedge share the prefix.
    ///
    /// # Errors
    /// Every key that is unknown or of a wrong type.
    pub fn load(file: Option<&Path>, flags: ExecutorConfig) -> Result<Self, Vec<ConfigProblem>> {
        let mut figment = Figment::new();
        if let Some(file) = file {
            if !file.is_file() {
                let problem = format!("there is no file {}", file.display());
                return Err(vec![ConfigProblem::new("config", problem)]);
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        let figment = figment.merge(Env::prefixed("SELVEDGE_").only(KEYS)).merge(Serialized::defaults(flags));
        let values: Dict = figment.extract().map_err(|e| vec![ConfigProblem::new("config", e.to_string())])?;
        from_values(&values)
    }
}

fn from_values(values: &Dict) -> Result<ExecutorConfig, Vec<ConfigProblem>> {
    let mut problems = Vec::new();
    for (key, value) in values {
        if !KEYS.contains(&key.as_str()) {
            problems.push(ConfigProblem::new(key, format!("no such setting. There are: {}", KEYS.join(", "))));
            continue;
        }
        // One key at a time, since deserialising stops at the first mistake.
        let alone = Value::from(Dict::from([(key.clone(), value.clone())]));
        if let Err(e) = ExecutorConfig::deserialize(&alone) {
            problems.push(ConfigProblem::new(key, e.to_string()));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    ExecutorConfig::deserialize(&Value::from(values.clone()))
        .map_err(|e| vec![ConfigProblem::new("config", e.to_string())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, flags: ExecutorConfig) -> Result<ExecutorConfig, Vec<ConfigProblem>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml).unwrap();
        ExecutorConfig::load(Some(file.path()), flags)
    }

    #[test]
    fn the_list_of_keys_is_complete() {
        let all = format!("{:?}", ExecutorConfig::default());
        for key in KEYS {
            assert!(all.contains(&format!("{key}: None")), "{key}");
        }
        assert_eq!(all.matches(": None").count(), KEYS.len());
    }

    #[test]
    fn flags_win_over_the_file_and_numbers_may_stand_for_text() {
        let flags = ExecutorConfig { pool: Some("night".into()), ..Default::default() };
        let got = load("pool = 'day'\nvcores = 3\nmemory = 1073741824", flags).unwrap();
        assert_eq!(got.pool.as_deref(), Some("night"));
        assert_eq!(got.vcores, Some(3));
        assert_eq!(got.memory.as_deref(), Some("1073741824"));
    }

    #[test]
    fn every_unknown_or_ill_typed_key_is_named() {
        let problems = load("vcore = 3\nvcores = 'many'\npool = 'a'\nport = 99999", Default::default()).unwrap_err();
        let keys: Vec<_> = problems.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["port", "vcore", "vcores"], "{problems:?}");
    }
}
