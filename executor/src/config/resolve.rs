//! From configuration as typed to options with nothing left open: parses, fills in what was not given, and collects every
//! problem before it gives up.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use humantime_serde::re::humantime;
use selvedge_engine::store::{Location, StoreOptions};
use selvedge_model::failure::HasFailure;
use url::Url;

use super::{ConfigProblem, ExecutorConfig, ExecutorOptions, machine};

pub(super) const DEFAULT_POOL: &str = "default";
/// DataFusion's own default; a full disk stops tasks before that.
pub(super) const DEFAULT_SPILL_LIMIT_BYTES: u64 = 100 << 30;
/// A spot instance is given two minutes; leave some for the last uploads.
const DEFAULT_DRAIN_GRACE: Duration = Duration::from_secs(90);
/// Below this nothing useful runs.
const LEAST_MEMORY_BYTES: u64 = 128 << 20;

impl ExecutorConfig {
    /// Judges every value and fills in the defaults.
    ///
    /// # Errors
    /// Every problem, with its key.
    pub fn resolve(self) -> Result<ExecutorOptions, Vec<ConfigProblem>> {
        let mut problems = Problems::default();
        let scheduler = problems.scheduler(self.scheduler.as_deref());
        let host = self.host.unwrap_or_else(|| facing(scheduler.as_ref()).to_string());
        let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let bind = problems.parse("bind", self.bind, "an address such as 0.0.0.0");
        let options = ExecutorOptions {
            scheduler: scheduler.map_or(String::new(), |url| url.as_str().trim_end_matches('/').to_owned()),
            vcores: problems.vcores(self.vcores),
            memory_bytes: problems.memory(self.memory),
            work_dir: self.work_dir.map_or_else(|| std::env::temp_dir().join("selvedge"), Into::into),
            pool: problems.pool(self.pool),
            shuffle: problems.location("shuffle", self.shuffle),
            store: problems.store(self.s3_endpoint, self.s3_region, self.s3_path_style, self.s3_profile),
            bind: bind.unwrap_or(if is_loopback { IpAddr::from([127, 0, 0, 1]) } else { IpAddr::from([0; 4]) }),
            host,
            port: self.port.unwrap_or(0),
            http: problems
                .parse("http", self.http, "an address such as 0.0.0.0:50081")
                .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
            drain_grace: problems.duration("drain_grace", self.drain_grace).unwrap_or(DEFAULT_DRAIN_GRACE),
            spill_limit_bytes: problems.bytes("spill_limit", self.spill_limit).unwrap_or(DEFAULT_SPILL_LIMIT_BYTES),
        };
        if problems.0.is_empty() { Ok(options) } else { Err(problems.0) }
    }
}

/// The address of this machine that faces the scheduler; nothing is sent.
fn facing(scheduler: Option<&Url>) -> IpAddr {
    let find = || {
        let scheduler = scheduler?;
        let host = scheduler.host_str()?.trim_matches(['[', ']']);
        let to = (host, scheduler.port_or_known_default()?).to_socket_addrs().ok()?.next()?;
        let any: IpAddr = if to.is_ipv6() { IpAddr::from([0u16; 8]) } else { IpAddr::from([0u8; 4]) };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    find().unwrap_or(IpAddr::from([127, 0, 0, 1]))
}

#[derive(Default)]
struct Problems(Vec<ConfigProblem>);

impl Problems {
    fn add(&mut self, key: &str, problem: impl Into<String>) {
        self.0.push(ConfigProblem::new(key, problem));
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, key: &str, value: Option<String>, wanted: &str) -> Option<T> {
        let value = value?;
        let parsed = value.parse();
        parsed.map_err(|e| self.add(key, format!("'{value}' is not {wanted} ({e})"))).ok()
    }

    fn scheduler(&mut self, value: Option<&str>) -> Option<Url> {
        let problem = match value.map(Url::parse) {
            None => "is missing: give --scheduler or set SELVEDGE_SCHEDULER, such as http://127.0.0.1:50050".to_owned(),
            Some(Ok(url)) if url.scheme() == "http" && url.host_str().is_some() => return Some(url),
            Some(Ok(url)) => format!("'{url}' must begin with http:// and name a host"),
            Some(Err(e)) => format!("'{}' is not an address such as http://127.0.0.1:50050 ({e})", value.unwrap_or("")),
        };
        self.add("scheduler", problem);
        None
    }

    fn vcores(&mut self, value: Option<usize>) -> usize {
        if value == Some(0) {
            self.add("vcores", "must be at least 1");
        }
        value.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    fn memory(&mut self, value: Option<String>) -> u64 {
        let given = value.is_some();
        let bytes = match self.bytes("memory", value) {
            Some(bytes) => bytes,
            None if given => return LEAST_MEMORY_BYTES,
            None => machine::memory_bytes().unwrap_or_else(|| {
                self.add("memory", "cannot be found out on this machine: give --memory, such as 4GiB");
                LEAST_MEMORY_BYTES
            }),
        };
        if bytes < LEAST_MEMORY_BYTES {
            self.add("memory", format!("{} is less than 128 MiB", ByteSize::b(bytes)));
        }
        bytes
    }

    fn pool(&mut self, value: Option<String>) -> String {
        let pool = value.unwrap_or_else(|| DEFAULT_POOL.to_owned());
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if pool.is_empty() || pool.len() > 64 || !pool.bytes().all(fits) {
            self.add("pool", format!("'{pool}' is not a pool's name: use 1 to 64 of a-z, 0-9, '-' and '_'"));
        }
        pool
    }

    fn bytes(&mut self, key: &str, value: Option<String>) -> Option<u64> {
        self.parse::<ByteSize>(key, value, "a size such as 4GiB").map(|size| size.as_u64())
    }

    fn duration(&mut self, key: &str, value: Option<String>) -> Option<Duration> {
        self.parse::<humantime::Duration>(key, value, "a time such as 90s").map(Into::into)
    }

    fn location(&mut self, key: &str, value: Option<String>) -> Option<Location> {
        Location::parse(&value?).map_err(|e| self.add(key, e.failure().to_string())).ok()
    }

    fn store(
        &mut self,
        endpoint: Option<String>,
        region: Option<String>,
        path_style: Option<bool>,
        profile: Option<String>,
    ) -> StoreOptions {
        let endpoint: Option<Url> = self.parse("s3_endpoint", endpoint, "an address such as http://127.0.0.1:8333");
        let mut store = StoreOptions::with_endpoint(endpoint);
        store.region = region;
        store.profile = profile;
        store.path_style = path_style.unwrap_or(store.path_style);
        store
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ExecutorConfig {
        ExecutorConfig { scheduler: Some("http://127.0.0.1:50050".into()), ..Default::default() }
    }

    #[test]
    fn an_executor_beside_its_scheduler_needs_nothing_but_its_address() {
        let options = config().resolve().unwrap();
        assert_eq!(options.scheduler, "http://127.0.0.1:50050");
        assert_eq!((options.host.as_str(), options.bind.to_string().as_str()), ("127.0.0.1", "127.0.0.1"));
        assert!(options.vcores >= 1 && options.memory_bytes > LEAST_MEMORY_BYTES);
    }

    #[test]
    fn a_given_memory_wins_over_the_machine() {
        let options = ExecutorConfig { memory: Some("2GiB".into()), ..config() }.resolve().unwrap();
        assert_eq!(options.memory_bytes, 2 << 30);
    }

    #[test]
    fn all_problems_come_at_once() {
        let bad = ExecutorConfig {
            vcores: Some(0),
            memory: Some("lots".into()),
            drain_grace: Some("soon".into()),
            http: Some("here".into()),
            pool: Some("Night Shift".into()),
            ..Default::default()
        };
        let keys: Vec<_> = bad.resolve().unwrap_err().into_iter().map(|p| p.key).collect();
        assert_eq!(keys, ["scheduler", "vcores", "memory", "pool", "http", "drain_grace"]);
    }
}
