//! Resolved configuration: typed, bounded, nothing left to ask. Made from `raw`, printed by `render`, used by
//! `crate::server`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use selvedge_engine::store::{Location, StoreOptions};

use super::keys::KEYS;
use super::raw::{Given, problem};
use super::{ConfigProblem, SchedulerConfig, parse};

/// Where runs are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateStore {
    /// In this process: runs end with it.
    Memory,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What a scheduler needs to start.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// Of the gRPC services.
    pub listen: SocketAddr,
    /// Of metrics and health.
    pub http: SocketAddr,
    /// Where tables without a location live.
    pub warehouse: Location,
    /// Where shuffle files survive their executor.
    pub shuffle: Option<Location>,
    /// A directory that executors on this machine also see, for the embedded engine.
    pub local_shuffle_dir: Option<PathBuf>,
    /// Where runs are recorded.
    pub store: StateStore,
    /// How object stores are reached.
    pub s3: StoreOptions,
    /// Runs at the same time.
    pub max_running_runs: usize,
    /// Runs that may wait.
    pub max_queued_runs: usize,
    /// Ended runs kept.
    pub retained_runs: usize,
    /// How long an executor may be silent.
    pub lease: Duration,
    /// Tries of a statement in all.
    pub statement_attempts: u32,
    /// Tasks of a stage; 0 derives it from the live vcores.
    pub target_partitions: usize,
    /// Rows kept of a SELECT.
    pub preview_rows: usize,
    /// Size of what is kept of a SELECT.
    pub preview_bytes: ByteSize,
    /// Of the log.
    pub log_format: LogFormat,
}

/// Reads every key, gathering problems on the way.
struct Reader<'a> {
    config: &'a SchedulerConfig,
    problems: Vec<ConfigProblem>,
}

impl Reader<'_> {
    fn read<T>(&mut self, key: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let default = KEYS.iter().find(|k| k.name == key).map_or("", |k| k.default);
        let (value, given_in) = match self.config.values.get(key) {
            Some(Given { value, given_in }) => (value.as_str(), given_in.as_str()),
            None => (default, "default"),
        };
        match parse(value.trim()) {
            Ok(value) => Some(value),
            Err(why) => {
                let hint = if default.is_empty() { String::new() } else { format!("The default is {default}") };
                self.problems.push(problem(key, given_in, why, &hint));
                None
            }
        }
    }

    fn number(&mut self, key: &'static str, min: usize, max: usize) -> Option<usize> {
        self.read(key, |t| parse::number(t, min..=max))
    }
}

pub(super) fn resolve(config: &SchedulerConfig) -> Result<SchedulerOptions, Vec<ConfigProblem>> {
    let mut reader = Reader { config, problems: Vec::new() };
    // Each read is done before the first `?`, so that all problems are found.
    let r = &mut reader;
    let listen = r.read("listen", parse::address);
    let http = r.read("http", parse::address);
    let warehouse = r.read("warehouse", location);
    let shuffle = r.read("shuffle", |t| if t.is_empty() { Ok(None) } else { location(t).map(Some) });
    let store = r.read("store", state_store);
    let s3 = s3(r);
    let max_running_runs = r.number("max_running_runs", 1, 10_000);
    let max_queued_runs = r.number("max_queued_runs", 0, 1_000_000);
    let retained_runs = r.number("retained_runs", 1, 1_000_000);
    let lease = r.read("lease", |t| parse::duration(t, Duration::from_millis(500)..=Duration::from_secs(600)));
    let statement_attempts = r.number("statement_attempts", 1, 100);
    let target_partitions = r.number("target_partitions", 0, 100_000);
    let preview_rows = r.number("preview_rows", 0, 10_000);
    let preview_bytes = r.read("preview_bytes", |t| parse::size(t, ByteSize::mib(16)));
    let log_format = r.read("log.format", log_format);
    let options = || {
        Some(SchedulerOptions {
            listen: listen?,
            http: http?,
            warehouse: warehouse?,
            shuffle: shuffle?,
            local_shuffle_dir: None,
            store: store?,
            s3: s3?,
            max_running_runs: max_running_runs?,
            max_queued_runs: max_queued_runs?,
            retained_runs: retained_runs?,
            lease: lease?,
            statement_attempts: u32::try_from(statement_attempts?).ok()?,
            target_partitions: target_partitions?,
            preview_rows: preview_rows?,
            preview_bytes: preview_bytes?,
            log_format: log_format?,
        })
    };
    let options = options();
    options.ok_or(reader.problems)
}

fn s3(r: &mut Reader<'_>) -> Option<StoreOptions> {
    let endpoint = r.read("s3.endpoint", parse::endpoint);
    let region = r.read("s3.region", parse::optional);
    let path_style = r.read("s3.path_style", parse::path_style);
    let profile = r.read("s3.profile", parse::optional);
    let base = StoreOptions::with_endpoint(endpoint?);
    Some(StoreOptions {
        path_style: path_style?.unwrap_or(base.path_style),
        region: region?,
        profile: profile?,
        ..base
    })
}

fn location(text: &str) -> Result<Location, String> {
    Location::parse(text).map_err(|e| e.to_string())
}

fn state_store(text: &str) -> Result<StateStore, String> {
    match text {
        "memory" => Ok(StateStore::Memory),
        text if text.starts_with("sqlite:") || text.starts_with("postgres:") || text.starts_with("postgresql:") => {
            Err("this version keeps runs in memory only; SQLite and PostgreSQL come with a later one".to_owned())
        }
        _ => Err("the only store of this version is memory".to_owned()),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("'{text}' is neither text nor json")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(flags: &[(&'static str, &str)]) -> SchedulerConfig {
        let flags = flags.iter().map(|(k, v)| (*k, (*v).to_owned()));
        SchedulerConfig::load(None, Vec::new(), flags).unwrap()
    }

    #[test]
    fn the_defaults_resolve() {
        let options = config(&[]).resolve().unwrap();
        assert_eq!(options.listen.to_string(), "127.0.0.1:50050");
        assert_eq!((options.lease, options.preview_bytes), (Duration::from_secs(5), ByteSize::kib(256)));
    }

    #[test]
    fn all_problems_are_reported_at_once_with_their_keys() {
        let problems = config(&[
            ("listen", "everywhere"),
            ("lease", "1ms"),
            ("max_running_runs", "0"),
            ("store", "postgres://user:secret@db/x"),
            ("s3.endpoint", "http://key:secret@minio:9000"),
            ("preview_bytes", "1TiB"),
            ("log.format", "xml"),
        ])
        .resolve()
        .unwrap_err();
        let keys: Vec<&str> = problems.iter().map(|p| p.key.as_str()).collect();
        let expected = ["listen", "store", "s3.endpoint", "max_running_runs", "lease", "preview_bytes", "log.format"];
        assert_eq!(keys, expected);
        assert!(problems.iter().all(|p| !p.to_string().contains("secret")), "{problems:?}");
    }

    #[test]
    fn path_style_follows_the_endpoint_unless_said() {
        let minio = ("s3.endpoint", "http://127.0.0.1:9000");
        let s3 = config(&[minio]).resolve().unwrap().s3;
        assert!(s3.path_style && s3.allow_http);
        assert!(!config(&[minio, ("s3.path_style", "false")]).resolve().unwrap().s3.path_style);
    }
}
