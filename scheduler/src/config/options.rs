//! Resolved configuration: typed, bounded, nothing left to ask. Used by `crate::server`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use selvedge_engine::config::{ConfigProblem, LogFormat, Reader, Sources, parse, render, shared};
use selvedge_engine::store::{Location, StoreOptions};

use super::KEYS;
use crate::store::StoreUrl;

/// A clean start of an executor takes a second; nobody waits for a month.
const NO_EXECUTORS_TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 3600);
const LEASES: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(600);

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
    /// Whether tables are looked after in runs that nobody asked for. The embedded engine ends with its one run instead.
    pub upkeep: bool,
    /// Where the catalog and the journal of publishes are kept.
    pub store: StoreUrl,
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
    /// How long a run waits for an executor that takes its tasks.
    pub no_executors_timeout: Duration,
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

impl SchedulerOptions {
    /// Reads the sources and judges every value.
    ///
    /// # Errors
    /// Every problem at once, with its key and the place it was given in.
    pub fn load(sources: Sources<'_>) -> Result<Self, Vec<ConfigProblem>> {
        let mut reader = Reader::new(KEYS, sources);
        // Each read is done before the first `?`, so that all problems are found.
        let r = &mut reader;
        let listen = r.read("listen", parse::address);
        let http = r.read("http", parse::address);
        let warehouse = r.read("warehouse", parse::location);
        let shuffle = shared::shuffle(r);
        let store = r.read("store", store_url);
        let s3 = shared::store_options(r);
        let max_running_runs = r.number("max_running_runs", 1..=10_000);
        let max_queued_runs = r.number("max_queued_runs", 0..=1_000_000);
        let retained_runs = r.number("retained_runs", 1..=1_000_000);
        let lease = r.read("lease", |text| parse::duration(text, LEASES));
        let no_executors_timeout = r.read("no_executors_timeout", |text| parse::duration(text, NO_EXECUTORS_TIMEOUTS));
        let statement_attempts = r.number("statement_attempts", 1..=100);
        let target_partitions = r.number("target_partitions", 0..=100_000);
        let preview_rows = r.number("preview_rows", 0..=10_000);
        let preview_bytes = r.read("preview_bytes", |text| parse::size(text, ByteSize(0)..=ByteSize::mib(16)));
        let log_format = shared::log_format(r);
        let options = || {
            Some(Self {
                listen: listen?,
                http: http?,
                warehouse: warehouse?,
                shuffle: shuffle?,
                local_shuffle_dir: None,
                upkeep: true,
                store: store?,
                s3: s3?,
                max_running_runs: max_running_runs?,
                max_queued_runs: max_queued_runs?,
                retained_runs: retained_runs?,
                lease: lease?,
                no_executors_timeout: no_executors_timeout?,
                statement_attempts: statement_attempts?,
                target_partitions: target_partitions?,
                preview_rows: preview_rows?,
                preview_bytes: preview_bytes?,
                log_format: log_format?,
            })
        };
        let options = options();
        reader.finish(options)
    }

    /// The options as a commented TOML file.
    pub fn render(&self) -> String {
        let own = [
            ("listen", self.listen.to_string()),
            ("http", self.http.to_string()),
            ("warehouse", self.warehouse.to_string()),
            ("store", self.store.to_string()),
            ("max_running_runs", self.max_running_runs.to_string()),
            ("max_queued_runs", self.max_queued_runs.to_string()),
            ("retained_runs", self.retained_runs.to_string()),
            ("lease", humantime::format_duration(self.lease).to_string()),
            ("no_executors_timeout", humantime::format_duration(self.no_executors_timeout).to_string()),
            ("statement_attempts", self.statement_attempts.to_string()),
            ("target_partitions", self.target_partitions.to_string()),
            ("preview_rows", self.preview_rows.to_string()),
            ("preview_bytes", self.preview_bytes.as_u64().to_string()),
        ];
        let shared = shared::values(self.shuffle.as_ref(), &self.s3, self.log_format);
        render("scheduler", KEYS, own.into_iter().chain(shared))
    }
}

fn store_url(text: &str) -> Result<StoreUrl, String> {
    if !text.is_empty() {
        return text.parse();
    }
    let of_user = StoreUrl::of_user(|name| std::env::var(name).ok());
    of_user.ok_or_else(|| "neither XDG_DATA_HOME nor HOME is set: say where it is to be, sqlite:PATH".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(flags: &[(&'static str, &str)]) -> Result<SchedulerOptions, Vec<ConfigProblem>> {
        SchedulerOptions::load(Sources::flags(flags.iter().copied()))
    }

    #[test]
    fn the_defaults_resolve() {
        let options = load(&[]).unwrap();
        assert_eq!(options.listen.to_string(), "127.0.0.1:50050");
        assert_eq!((options.lease, options.preview_bytes), (Duration::from_secs(5), ByteSize::kib(256)));
        assert_eq!(options.no_executors_timeout, Duration::from_secs(300));
    }

    #[test]
    fn all_problems_are_reported_at_once_with_their_keys() {
        let problems = load(&[
            ("listen", "everywhere"),
            ("lease", "1ms"),
            ("no_executors_timeout", "0s"),
            ("max_running_runs", "0"),
            ("store", "postgres://user:secret@db/x"),
            ("s3.endpoint", "http://key:secret@minio:9000"),
            ("preview_bytes", "1TiB"),
            ("log.format", "xml"),
        ])
        .unwrap_err();
        let keys: Vec<&str> = problems.iter().map(|p| p.key.as_str()).collect();
        let expected = [
            "listen",
            "store",
            "s3.endpoint",
            "max_running_runs",
            "lease",
            "no_executors_timeout",
            "preview_bytes",
            "log.format",
        ];
        assert_eq!(keys, expected);
        assert!(problems.iter().all(|p| !p.to_string().contains("secret")), "{problems:?}");
    }

    #[test]
    fn path_style_follows_the_endpoint_unless_said() {
        let minio = ("s3.endpoint", "http://127.0.0.1:9000");
        let s3 = load(&[minio]).unwrap().s3;
        assert!(s3.is_path_style() && s3.allow_http);
        assert!(!load(&[minio, ("s3.path_style", "false")]).unwrap().s3.is_path_style());
        // Printed as it was said: with the environment's endpoint, `auto` still means what it says.
        for said in ["auto", "true", "false"] {
            let printed = load(&[minio, ("s3.path_style", said)]).unwrap().render();
            let expected =
                if said == "auto" { "path_style = \"auto\"".to_owned() } else { format!("path_style = {said}") };
            assert!(printed.contains(&expected), "{printed}");
        }
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_options() {
        let flags = [
            ("lease", "7s"),
            ("no_executors_timeout", "90s"),
            ("s3.endpoint", "http://127.0.0.1:9000"),
            ("warehouse", "s3://b/we\"ird"),
        ];
        let printed = load(&flags).unwrap().render();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &printed).unwrap();
        assert_eq!(printed.lines().filter(|line| line.contains(" = ")).count(), KEYS.len(), "{printed}");
        let again = SchedulerOptions::load(Sources { file: Some(file.path()), ..Sources::default() });
        assert_eq!(again.unwrap().render(), printed);
    }
}
