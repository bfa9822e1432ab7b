//! Where the services of this binary read their configuration from, and how what is wrong with it is reported.
//!
//! The keys are the services' own; only here both tables are known, and with them which variable is whose.

use std::path::Path;

use clap::CommandFactory as _;
use selvedge_engine::config::{ConfigProblem, Key, Sources, variable};

use crate::args::Cli;
use crate::error::CliError;

/// Every service's keys.
const TABLES: [&[Key]; 2] = [selvedge_scheduler::config::KEYS, selvedge_executor::config::KEYS];

/// Variables that are neither a key nor a flag: the filter of logs, a test's fault, who asks, and what make and the tests of the
/// repository take.
const OTHERS: [&str; 9] = [
    crate::logging::VARIABLE,
    selvedge_scheduler::fault::VARIABLE,
    selvedge_executor::fault::VARIABLE,
    "SELVEDGE_USER",
    "SELVEDGE_CACHE",
    "SELVEDGE_BIN",
    "SELVEDGE_TEST_BUCKET",
    "SELVEDGE_TEST_PYTHON",
    "SELVEDGE_TEST_WEED",
];

/// The layers of a service's configuration: `file`, this process's environment, `flags`.
pub fn sources<'a>(file: Option<&'a Path>, flags: Vec<(&'static str, String)>) -> Sources<'a> {
    // What is not UTF-8 becomes a value that no key takes, rather than a panic.
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    Sources { file, environment, foreign: foreign(), flags }
}

/// Every problem, as wrong usage.
pub fn refused(problems: Vec<ConfigProblem>) -> CliError {
    CliError::Usage(Box::new(ConfigProblem::failure(&problems)))
}

/// The variables of all programs, of which each service refuses none: its own keys it knows.
fn foreign() -> Vec<String> {
    let mut names: Vec<String> = TABLES.iter().flat_map(|keys| keys.iter()).map(|key| variable(key.name)).collect();
    add_variables(&Cli::command(), &mut names);
    names.extend(OTHERS.map(str::to_owned));
    names
}

fn add_variables(command: &clap::Command, names: &mut Vec<String>) {
    names.extend(command.get_arguments().filter_map(|a| Some(a.get_env()?.to_string_lossy().into_owned())));
    command.get_subcommands().for_each(|c| add_variables(c, names));
}

#[cfg(test)]
mod tests {
    use selvedge_engine::config::markdown;
    use selvedge_executor::ExecutorOptions;
    use selvedge_scheduler::SchedulerOptions;

    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Sources<'static> {
        let environment = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let flags = vec![("scheduler", "http://127.0.0.1:1".to_owned())];
        Sources { environment, foreign: foreign(), flags, ..Sources::default() }
    }

    #[test]
    fn a_variable_of_the_other_program_is_let_be_and_one_of_none_refused_by_both() {
        let shared = [
            ("SELVEDGE_LEASE", "7s"),
            ("SELVEDGE_WORK_DIR", "/tmp/x"),
            ("SELVEDGE_CONFIG", "x.toml"),
            ("SELVEDGE_LOG", "debug"),
            ("SELVEDGE_S3__REGION", "eu-central-1"),
        ];
        let scheduler = |pairs: &[(&str, &str)]| SchedulerOptions::load(Sources { flags: Vec::new(), ..given(pairs) });
        assert_eq!(scheduler(&shared).unwrap().s3.region.as_deref(), Some("eu-central-1"));
        assert_eq!(ExecutorOptions::load(given(&shared)).unwrap().store.region.as_deref(), Some("eu-central-1"));
        let nobodys = [("SELVEDGE_S3_ENDPOINT", "http://127.0.0.1:9000")];
        for problems in [scheduler(&nobodys).unwrap_err(), ExecutorOptions::load(given(&nobodys)).unwrap_err()] {
            let text = problems[0].to_string();
            assert!(text.contains("variable SELVEDGE_S3_ENDPOINT") && text.contains("'s3.endpoint'"), "{text}");
        }
    }

    #[test]
    fn the_documentation_has_exactly_the_keys_there_are() {
        let docs = include_str!("../../docs/configuration.md");
        for (title, keys) in ["Scheduler", "Executor"].into_iter().zip(TABLES) {
            let expected = format!("## {title}\n\n{}\n", markdown(keys));
            assert!(docs.contains(&expected), "docs/configuration.md should have this section:\n{expected}");
        }
    }
}
