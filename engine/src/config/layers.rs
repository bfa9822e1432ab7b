//! Configuration as typed: the layers over each other, each value with the place it was given in.
//!
//! Layers only override; nothing is interpreted here but names: unknown keys are refused, naming the near one. Values are
//! judged in `read`.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::ConfigProblem;
use super::keys::{Key, PREFIX, nearest};

/// What a configuration is read from, the strongest last.
#[derive(Debug, Clone, Default)]
pub struct Sources<'a> {
    /// The TOML file.
    pub file: Option<&'a Path>,
    /// All variables of the environment; those without the prefix are passed over.
    pub environment: Vec<(String, String)>,
    /// Variables of other programs that share the environment: not known here, and no mistake.
    pub foreign: Vec<String>,
    /// Key and value.
    pub flags: Vec<(&'static str, String)>,
}

impl<'a> Sources<'a> {
    /// Nothing but flags.
    pub fn flags<V: Into<String>>(flags: impl IntoIterator<Item = (&'static str, V)>) -> Self {
        Self { flags: flags.into_iter().map(|(key, value)| (key, value.into())).collect(), ..Self::default() }
    }
}

/// One value as typed.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) value: String,
    pub(super) given_in: String,
}

/// All values as typed, names checked, values not.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) keys: &'static [Key],
    pub(super) values: BTreeMap<String, Given>,
    pub(super) problems: Vec<ConfigProblem>,
}

impl Layers {
    pub(super) fn read(keys: &'static [Key], sources: Sources<'_>) -> Self {
        let mut layers = Self { keys, values: BTreeMap::new(), problems: Vec::new() };
        if let Some(path) = sources.file {
            layers.add_file(path);
        }
        for (name, value) in sources.environment {
            layers.add_variable(&name, value, &sources.foreign);
        }
        for (key, value) in sources.flags {
            layers.add(key, value, format!("flag --{}", key.replace(['.', '_'], "-")));
        }
        layers
    }

    fn add_file(&mut self, path: &Path) {
        let given_in = path.display().to_string();
        let table = std::fs::read_to_string(path).map_err(|e| format!("cannot be read: {e}")).and_then(|text| {
            text.parse::<Table>().map_err(|e| {
                let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                format!("is not valid TOML: {} in line {}", e.message(), before.matches('\n').count() + 1)
            })
        });
        match table {
            Ok(table) => self.add_table("", table, &given_in),
            Err(problem) => self.problems.push(ConfigProblem::new("", &given_in, problem)),
        }
    }

    fn add_table(&mut self, prefix: &str, table: Table, given_in: &str) {
        for (name, value) in table {
            let key = format!("{prefix}{name}");
            let text = match value {
                Value::Table(inner) => {
                    self.add_table(&format!("{key}."), inner, given_in);
                    continue;
                }
                Value::Array(_) => {
                    self.problems.push(ConfigProblem::new(&key, given_in, "must be one value, not a list"));
                    continue;
                }
                Value::String(text) => text,
                scalar => scalar.to_string(),
            };
            self.add(&key, text, given_in.to_owned());
        }
    }

    fn add_variable(&mut self, name: &str, value: String, foreign: &[String]) {
        let Some(key) = name.strip_prefix(PREFIX).map(|rest| rest.to_ascii_lowercase().replace("__", ".")) else {
            return;
        };
        let known = self.keys.iter().any(|k| k.name == key);
        let foreign = !known && foreign.iter().any(|f| f.eq_ignore_ascii_case(name));
        if !foreign && !is_of_kubernetes(name, &value) {
            self.add(&key, value, format!("environment variable {name}"));
        }
    }

    fn add(&mut self, key: &str, value: String, given_in: String) {
        if !self.keys.iter().any(|k| k.name == key) {
            let hint = match nearest(key, self.keys) {
                Some(near) => format!("Did you mean '{near}'?"),
                None => "`--print-config` lists every key".to_owned(),
            };
            self.problems.push(ConfigProblem { hint, ..ConfigProblem::new(key, &given_in, "there is no such key") });
            return;
        }
        // What repeats a weaker layer keeps its place: a flag may have been filled from its variable.
        if self.values.get(key).is_none_or(|given| given.value != value) {
            self.values.insert(key.to_owned(), Given { value, given_in });
        }
    }
}

/// Whether a variable is what Kubernetes sets for a service named `selvedge...`.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let of_a_port = name.ends_with("_PORT") && ["tcp://", "udp://"].iter().any(|scheme| value.starts_with(scheme));
    of_a_port || ["_SERVICE_HOST", "_SERVICE_PORT", "_TCP", "_UDP"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::super::keys::variable;
    use super::*;

    const KEYS: &[Key] = &[
        Key::new("listen", "", ""),
        Key::new("http", "", ""),
        Key::new("lease", "", ""),
        Key::new("port", "", ""),
        Key::new("statement_attempts", "", ""),
        Key::new("s3.endpoint", "", ""),
        Key::new("s3.region", "", ""),
    ];

    fn environment(pairs: &[(&str, &str)]) -> Sources<'static> {
        let environment = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Sources { environment, ..Sources::default() }
    }

    #[test]
    fn flags_win_over_environment_and_environment_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "lease = '1s'\nhttp = '1.1.1.1:1'\nstatement_attempts = 7\n[s3]\nregion = 'file'\n";
        std::fs::write(file.path(), text).unwrap();
        let sources = Sources {
            file: Some(file.path()),
            flags: vec![("lease", "3s".to_owned())],
            ..environment(&[("SELVEDGE_S3__REGION", "env"), ("SELVEDGE_LEASE", "2s"), ("PATH", "/bin")])
        };
        let layers = Layers::read(KEYS, sources);
        let value = |key: &str| layers.values[key].value.as_str();
        assert_eq!((value("lease"), value("s3.region"), value("http")), ("3s", "env", "1.1.1.1:1"));
        assert_eq!(value("statement_attempts"), "7");
        assert_eq!(layers.values["s3.region"].given_in, "environment variable SELVEDGE_S3__REGION");
        assert_eq!(layers.values["lease"].given_in, "flag --lease");
        assert_eq!(layers.values["http"].given_in, file.path().display().to_string());
    }

    #[test]
    fn every_unknown_key_is_refused_and_the_near_one_named() {
        let sources =
            environment(&[("SELVEDGE_LISTN", "x"), ("SELVEDGE_S3__ENDPOIN", "y"), ("SELVEDGE_QUIET_HOURS", "z")]);
        let problems = Layers::read(KEYS, sources).problems;
        let hints: Vec<&str> = problems.iter().map(|p| p.hint.as_str()).collect();
        assert_eq!(problems.len(), 3);
        assert_eq!(hints[..2], ["Did you mean 'listen'?", "Did you mean 's3.endpoint'?"]);
        assert!(hints[2].contains("--print-config"));
        assert!(problems[0].to_string().contains("SELVEDGE_LISTN"), "{}", problems[0]);
    }

    #[test]
    fn what_kubernetes_and_other_parts_set_is_left_alone() {
        let sources = Sources {
            foreign: vec![variable("scheduler"), variable("vcores")],
            ..environment(&[
                ("SELVEDGE_SCHEDULER", "http://s:1"),
                ("SELVEDGE_SCHEDULER_SERVICE_HOST", "10.0.0.1"),
                ("SELVEDGE_SCHEDULER_PORT", "tcp://10.0.0.1:50050"),
                ("SELVEDGE_PORT", "tcp://10.0.0.1:50050"),
                ("SELVEDGE_SCHEDULER_PORT_50050_TCP_ADDR", "10.0.0.1"),
                ("SELVEDGE_VCORES", "4"),
            ])
        };
        let layers = Layers::read(KEYS, sources);
        assert!(layers.values.is_empty() && layers.problems.is_empty(), "{layers:?}");
    }

    #[test]
    fn a_file_that_is_no_file_or_no_toml_is_one_clear_problem() {
        let read = |path: &Path| {
            let problems = Layers::read(KEYS, Sources { file: Some(path), ..Sources::default() }).problems;
            assert_eq!(problems.len(), 1, "{problems:?}");
            problems[0].to_string()
        };
        let missing = read(Path::new("/no/such.toml"));
        assert!(missing.starts_with("/no/such.toml: cannot be read"), "{missing}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "lease = '1s'\nhttp = \n").unwrap();
        let broken = read(file.path());
        assert!(broken.contains("is not valid TOML") && broken.ends_with("in line 2"), "{broken}");
    }
}
