//! Resolved configuration: typed, bounded, nothing left to ask. Used by `crate::start`.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use selvedge_engine::config::{ConfigProblem, LogFormat, Reader, Sources, parse, render, shared};
use selvedge_engine::store::{Location, StoreOptions};
use url::Url;

use super::{KEYS, machine};

/// Below this nothing useful runs.
const LEAST_MEMORY: ByteSize = ByteSize::mib(128);
/// A thread each: more is a slip.
const MOST_VCORES: usize = 1024;
const MOST_BYTES: ByteSize = ByteSize(u64::MAX);

/// Whether the instance metadata service is asked whether this machine goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpotNotice {
    /// Where there is one.
    Auto,
    /// Never.
    Off,
    /// There must be one.
    On,
}

impl SpotNotice {
    const ALL: [(&'static str, Self); 3] = [("auto", Self::Auto), ("off", Self::Off), ("on", Self::On)];

    fn parse(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|(name, _)| *name == text);
        known.map(|(_, this)| this).ok_or_else(|| format!("'{text}' is none of auto, off, on"))
    }

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, this)| *this == self).map_or("auto", |(name, _)| name)
    }
}

/// What an executor needs to start.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// The scheduler's address, `http://host:port`.
    pub scheduler: String,
    /// Tasks of one partition that run at the same time.
    pub vcores: usize,
    /// Memory of the whole process.
    pub memory_bytes: u64,
    /// Local directory for shuffle and spill files; several executors may share it.
    pub work_dir: PathBuf,
    /// The pool this executor belongs to.
    pub pool: String,
    /// Where shuffle files survive their executor.
    pub shuffle: Option<Location>,
    /// How to reach object stores.
    pub store: StoreOptions,
    /// Name or address under which other executors reach this one.
    pub host: String,
    /// Address to listen on for them.
    pub bind: IpAddr,
    /// Port to listen on for them; 0 for a free one.
    pub port: u16,
    /// Address for `/metrics`, `/healthz` and `/readyz`; port 0 for a free one.
    pub http: SocketAddr,
    /// How long running tasks may go on once the executor drains.
    pub drain_grace: Duration,
    /// Whether the instance metadata service is asked whether this machine goes.
    pub spot_notice: SpotNotice,
    /// A task that makes no progress for so long is lost; zero for never.
    pub task_stall_timeout: Duration,
    /// Most bytes of spill files at one time.
    pub spill_limit_bytes: u64,
    /// Of the log.
    pub log_format: LogFormat,
}

impl ExecutorOptions {
    /// Reads the sources, judges every value and asks the machine for what was not given.
    ///
    /// # Errors
    /// Every problem at once, with its key and the place it was given in.
    pub fn load(sources: Sources<'_>) -> Result<Self, Vec<ConfigProblem>> {
        let mut reader = Reader::new(KEYS, sources);
        // Each read is done before the first `?`, so that all problems are found.
        let r = &mut reader;
        let scheduler = r.read("scheduler", scheduler);
        let vcores = r.read("vcores", |text| parse::optional(text, |t| parse::number(t, 1..=MOST_VCORES)));
        let memory = r.read("memory", memory);
        let work_dir = r.read("work_dir", |text| parse::optional(text, |t| Ok(PathBuf::from(t))));
        let pool = r.read("pool", pool);
        let shuffle = shared::shuffle(r);
        let host = r.read("host", |text| parse::optional(text, |t| Ok(t.to_owned())));
        let bind = r.read("bind", |text| parse::optional(text, bind));
        let port = r.number("port", 0..=u16::MAX);
        let http = r.read("http", parse::address);
        let drain_grace = r.read("drain_grace", |text| parse::duration(text, Duration::ZERO..=Duration::MAX));
        let spot_notice = r.read("spot_notice", SpotNotice::parse);
        let task_stall_timeout =
            r.read("task_stall_timeout", |text| parse::duration(text, Duration::ZERO..=Duration::MAX));
        let spill_limit = r.read("spill_limit", |text| parse::size(text, ByteSize(0)..=MOST_BYTES));
        let store = shared::store_options(r);
        let log_format = shared::log_format(r);
        let options = || {
            let scheduler = scheduler?;
            let host = host?.unwrap_or_else(|| facing(&scheduler).to_string());
            Some(Self {
                scheduler: scheduler.as_str().trim_end_matches('/').to_owned(),
                vcores: vcores?.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
                memory_bytes: memory?.as_u64(),
                work_dir: work_dir?.unwrap_or_else(|| std::env::temp_dir().join("selvedge")),
                pool: pool?,
                shuffle: shuffle?,
                store: store?,
                bind: bind?.unwrap_or_else(|| reachable_as(&host)),
                host,
                port: port?,
                http: http?,
                drain_grace: drain_grace?,
                spot_notice: spot_notice?,
                task_stall_timeout: task_stall_timeout?,
                spill_limit_bytes: spill_limit?.as_u64(),
                log_format: log_format?,
            })
        };
        let options = options();
        reader.finish(options)
    }

    /// The options as a commented TOML file.
    pub fn render(&self) -> String {
        let own = [
            ("scheduler", self.scheduler.clone()),
            ("vcores", self.vcores.to_string()),
            ("memory", self.memory_bytes.to_string()),
            ("work_dir", self.work_dir.display().to_string()),
            ("pool", self.pool.clone()),
            ("host", self.host.clone()),
            ("bind", self.bind.to_string()),
            ("port", self.port.to_string()),
            ("http", self.http.to_string()),
            ("drain_grace", humantime::format_duration(self.drain_grace).to_string()),
            ("spot_notice", self.spot_notice.name().to_owned()),
            ("task_stall_timeout", humantime::format_duration(self.task_stall_timeout).to_string()),
            ("spill_limit", self.spill_limit_bytes.to_string()),
        ];
        let shared = shared::values(self.shuffle.as_ref(), &self.store, self.log_format);
        render("executor", KEYS, own.into_iter().chain(shared))
    }
}

fn scheduler(text: &str) -> Result<Url, String> {
    if text.is_empty() {
        return Err("is missing: give --scheduler or set SELVEDGE_SCHEDULER, such as http://127.0.0.1:50050".to_owned());
    }
    parse::url(text, &["http"])
}

fn memory(text: &str) -> Result<ByteSize, String> {
    let given = parse::optional(text, |t| parse::size(t, LEAST_MEMORY..=MOST_BYTES))?;
    given
        .or_else(|| machine::memory_bytes().map(ByteSize))
        .ok_or_else(|| "cannot be found out on this machine: give --memory, such as 4GiB".to_owned())
}

fn pool(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if text.is_empty() || text.len() > 64 || !text.bytes().all(fits) {
        return Err(format!("'{text}' is not a pool's name: use 1 to 64 of a-z, 0-9, '-' and '_'"));
    }
    Ok(text.to_owned())
}

fn bind(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("'{text}' is not an address such as 0.0.0.0"))
}

/// Where to listen to be reached under this name.
fn reachable_as(host: &str) -> IpAddr {
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if is_loopback { IpAddr::from([127, 0, 0, 1]) } else { IpAddr::from([0; 4]) }
}

/// The address of this machine that faces the scheduler; nothing is sent.
fn facing(scheduler: &Url) -> IpAddr {
    let find = || {
        let host = scheduler.host_str()?.trim_matches(['[', ']']);
        let to = (host, scheduler.port_or_known_default()?).to_socket_addrs().ok()?.next()?;
        let any: IpAddr = if to.is_ipv6() { IpAddr::from([0u16; 8]) } else { IpAddr::from([0u8; 4]) };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    find().unwrap_or(IpAddr::from([127, 0, 0, 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULER: (&str, &str) = ("scheduler", "http://127.0.0.1:50050");

    fn load(toml: &str, flags: &[(&'static str, &str)]) -> Result<ExecutorOptions, Vec<ConfigProblem>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml).unwrap();
        ExecutorOptions::load(Sources { file: Some(file.path()), ..Sources::flags(flags.iter().copied()) })
    }

    #[test]
    fn an_executor_beside_its_scheduler_needs_nothing_but_its_address() {
        let options = load("", &[SCHEDULER]).unwrap();
        assert_eq!(options.scheduler, "http://127.0.0.1:50050");
        assert_eq!((options.host.as_str(), options.bind.to_string().as_str()), ("127.0.0.1", "127.0.0.1"));
        assert!(options.vcores >= 1 && options.memory_bytes > LEAST_MEMORY.as_u64());
    }

    #[test]
    fn a_given_memory_wins_over_the_machine() {
        assert_eq!(load("", &[SCHEDULER, ("memory", "2GiB")]).unwrap().memory_bytes, 2 << 30);
    }

    #[test]
    fn all_problems_come_at_once() {
        let bad =
            [("vcores", "0"), ("memory", "lots"), ("drain_grace", "soon"), ("http", "here"), ("pool", "Night Shift")];
        let keys: Vec<_> = load("", &bad).unwrap_err().into_iter().map(|p| p.key).collect();
        assert_eq!(keys, ["scheduler", "vcores", "memory", "pool", "http", "drain_grace"]);
        let vcores = load("", &[SCHEDULER, ("vcores", "0")]).unwrap_err().remove(0).to_string();
        assert!(vcores.contains("0 is not between 1 and 1024"), "{vcores}");
    }

    #[test]
    fn flags_win_over_the_file_and_numbers_may_stand_for_text() {
        let got = load("pool = 'day'\nvcores = 3\nmemory = 1073741824", &[SCHEDULER, ("pool", "night")]).unwrap();
        assert_eq!((got.pool.as_str(), got.vcores, got.memory_bytes), ("night", 3, 1_073_741_824));
    }

    #[test]
    fn every_unknown_or_ill_typed_key_is_named_with_its_place() {
        let problems = load("vcore = 3\nvcores = 'many'\npool = 'a'\nport = 99999", &[SCHEDULER]).unwrap_err();
        let mut keys: Vec<_> = problems.iter().map(|p| p.key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["port", "vcore", "vcores"], "{problems:?}");
        assert!(problems.iter().all(|p| !p.given_in.is_empty()), "{problems:?}");
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_options() {
        let flags = [SCHEDULER, ("drain_grace", "1500ms"), ("pool", "7"), ("s3.endpoint", "http://127.0.0.1:9000")];
        let printed = load("", &flags).unwrap().render();
        assert_eq!(printed.lines().filter(|line| line.contains(" = ")).count(), KEYS.len(), "{printed}");
        assert_eq!(load(&printed, &[]).unwrap().render(), printed);
    }
}
