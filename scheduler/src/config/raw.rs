//! Configuration as typed: file < `SELVEDGE_*` environment < flags, each value with the place it was given in.
//!
//! Layers only override; nothing is interpreted here but names: unknown keys are refused, naming the near one. The next
//! stage is `options`.

use std::collections::BTreeMap;
use std::path::Path;

use figment::Provider as _;
use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Num, Value};

use super::keys::{KEYS, nearest};
use super::{ConfigProblem, SchedulerOptions, options};

const ENV_PREFIX: &str = "SELVEDGE_";

/// Variables of other parts of Selvedge: they may stand in the same environment.
const FOREIGN_VARIABLES: &[&str] = &[
    "scheduler",
    "config",
    "format",
    "log",
    "data_dir",
    "executors",
    "executor_memory",
    "vcores",
    "memory",
    "work_dir",
    "pool",
    "host",
    "port",
    "drain_grace",
    "spill_limit",
    "advertise",
];
const FOREIGN_PREFIXES: &[&str] = &["executor__", "bench_", "test_", "cache_"];

/// One value as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) value: String,
    pub(super) given_in: String,
}

/// The scheduler's configuration as typed, names checked, values not.
#[derive(Debug, Clone, Default)]
pub struct SchedulerConfig {
    pub(super) values: BTreeMap<String, Given>,
}

impl SchedulerConfig {
    /// Reads the layers: `file` if given, then the `SELVEDGE_*` ones of `environment`, then `flags` (key and value).
    ///
    /// # Errors
    /// Every unknown key of every layer, and what keeps the file from being read.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let mut config = Self::default();
        let mut problems = Vec::new();
        if let Some(path) = file {
            let given_in = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => config.add_toml(&text, &given_in, &mut problems),
                Err(error) => problems.push(problem("", &given_in, format!("cannot be read: {error}"), "")),
            }
        }
        config.add_environment(environment, &mut problems);
        for (key, value) in flags {
            config.add(key, value, format!("flag --{}", key.replace(['.', '_'], "-")), &mut problems);
        }
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Turns what was typed into options, reporting all problems at once.
    ///
    /// # Errors
    /// Every value that does not parse, or is out of bounds.
    pub fn resolve(self) -> Result<SchedulerOptions, Vec<ConfigProblem>> {
        options::resolve(&self)
    }

    fn add_toml(&mut self, text: &str, given_in: &str, problems: &mut Vec<ConfigProblem>) {
        match Toml::string(text).data() {
            Ok(profiles) => {
                for dict in profiles.values() {
                    self.add_dict("", dict, given_in, problems);
                }
            }
            Err(error) => problems.push(problem("", given_in, format!("is not valid TOML: {error}"), "")),
        }
    }

    fn add_dict(&mut self, prefix: &str, dict: &Dict, given_in: &str, problems: &mut Vec<ConfigProblem>) {
        for (name, value) in dict {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                Value::Dict(_, inner) => self.add_dict(&key, inner, given_in, problems),
                value => match scalar(value) {
                    Some(text) => self.add(&key, text, given_in.to_owned(), problems),
                    None => problems.push(problem(&key, given_in, "must be one value, not a list".into(), "")),
                },
            }
        }
    }

    fn add_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
        problems: &mut Vec<ConfigProblem>,
    ) {
        for (variable, value) in environment {
            let Some(name) = variable.strip_prefix(ENV_PREFIX).map(str::to_ascii_lowercase) else { continue };
            if !is_foreign(&name, &value) {
                self.add(&name.replace("__", "."), value, format!("environment variable {variable}"), problems);
            }
        }
    }

    fn add(&mut self, key: &str, value: String, given_in: String, problems: &mut Vec<ConfigProblem>) {
        if KEYS.iter().any(|k| k.name == key) {
            self.values.insert(key.to_owned(), Given { value, given_in });
            return;
        }
        let hint = match nearest(key) {
            Some(near) => format!("Did you mean '{near}'?"),
            None => "`selvedge scheduler --print-config` lists every key".to_owned(),
        };
        problems.push(problem(key, &given_in, "there is no such key".into(), &hint));
    }
}

pub(super) fn problem(key: &str, given_in: &str, problem: String, hint: &str) -> ConfigProblem {
    ConfigProblem { key: key.to_owned(), given_in: given_in.to_owned(), problem, hint: hint.to_owned() }
}

/// Whether a variable belongs to another part of Selvedge, or is what Kubernetes sets for a service named
/// `selvedge...`.
fn is_foreign(name: &str, value: &str) -> bool {
    let of_a_service = name.contains("service_host") || name.contains("service_port") || name.contains("_tcp");
    let of_ours = FOREIGN_VARIABLES.contains(&name) || FOREIGN_PREFIXES.iter().any(|p| name.starts_with(p));
    of_ours || of_a_service || value.starts_with("tcp://")
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Char(_, c) => Some(c.to_string()),
        Value::Bool(_, b) => Some(b.to_string()),
        Value::Num(_, number) => Some(match number {
            Num::F32(n) => n.to_string(),
            Num::F64(n) => n.to_string(),
            n => match (n.to_i128(), n.to_u128()) {
                (Some(n), _) => n.to_string(),
                (None, n) => n?.to_string(),
            },
        }),
        Value::Empty(..) | Value::Dict(..) | Value::Array(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn flags_win_over_environment_and_environment_over_the_file() {
        let dir = std::env::temp_dir().join(format!("selvedge-config-{}", std::process::id()));
        std::fs::write(&dir, "lease = '1s'\nhttp = '1.1.1.1:1'\nstatement_attempts = 7\n[s3]\nregion = 'file'\n")
            .unwrap();
        let given = env(&[("SELVEDGE_S3__REGION", "env"), ("SELVEDGE_LEASE", "2s"), ("PATH", "/bin")]);
        let config = SchedulerConfig::load(Some(&dir), given, [("lease", "3s".to_owned())]).unwrap();
        std::fs::remove_file(&dir).unwrap();
        let value = |key: &str| config.values[key].value.as_str();
        assert_eq!((value("lease"), value("s3.region"), value("http")), ("3s", "env", "1.1.1.1:1"));
        assert_eq!(value("statement_attempts"), "7");
        assert_eq!(config.values["s3.region"].given_in, "environment variable SELVEDGE_S3__REGION");
    }

    #[test]
    fn every_unknown_key_is_refused_and_the_near_one_named() {
        let given = env(&[("SELVEDGE_LISTN", "x"), ("SELVEDGE_S3__ENDPOIN", "y"), ("SELVEDGE_QUIET_HOURS", "z")]);
        let problems = SchedulerConfig::load(None, given, []).unwrap_err();
        let hints: Vec<&str> = problems.iter().map(|p| p.hint.as_str()).collect();
        assert_eq!(problems.len(), 3);
        assert_eq!(hints[..2], ["Did you mean 'listen'?", "Did you mean 's3.endpoint'?"]);
        assert!(hints[2].contains("--print-config"));
    }

    #[test]
    fn what_kubernetes_and_other_parts_set_is_left_alone() {
        let given = env(&[
            ("SELVEDGE_SCHEDULER", "http://s:1"),
            ("SELVEDGE_SCHEDULER_SERVICE_HOST", "10.0.0.1"),
            ("SELVEDGE_SCHEDULER_PORT", "tcp://10.0.0.1:50050"),
            ("SELVEDGE_SCHEDULER_PORT_50050_TCP_ADDR", "10.0.0.1"),
            ("SELVEDGE_VCORES", "4"),
        ]);
        assert!(SchedulerConfig::load(None, given, []).unwrap().values.is_empty());
    }

    #[test]
    fn a_file_that_is_not_there_is_one_clear_problem() {
        let problems = SchedulerConfig::load(Some(Path::new("/no/such.toml")), env(&[]), []).unwrap_err();
        assert!(problems[0].to_string().starts_with("/no/such.toml: cannot be read"), "{}", problems[0]);
    }
}
