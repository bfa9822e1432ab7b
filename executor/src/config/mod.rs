//! Configuration in two stages: [`ExecutorConfig`] as typed, [`ExecutorOptions`] with nothing left open.
//!
//! TOML file < `SELVEDGE_*` environment < flags; `load.rs` brings them together, `resolve.rs` judges them and reports all
//! problems at once. No global configuration, and no secret: credentials come from the AWS chain.

mod load;
mod machine;
mod resolve;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use selvedge_engine::store::{Location, StoreOptions};
use serde::{Deserialize, Deserializer, Serialize};

/// Configuration as typed. `None`: not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutorConfig {
    /// The scheduler's address, `http://host:port`.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// Tasks of one partition that run at the same time. Default: the cores this process may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vcores: Option<usize>,
    /// Memory this process may use, `4GiB`. Default: the limit of its cgroup, or the machine's.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Local directory for shuffle and spill files. Default: `selvedge` in the system's temporary directory.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub work_dir: Option<String>,
    /// The pool this executor belongs to. Default: `default`.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Object-store location for shuffle, so that it survives executors. Default: none, local disk only.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub shuffle: Option<String>,
    /// Name or address under which other executors reach this one. Default: the address that faces the scheduler.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Address to listen on for other executors. Default: loopback if `host` is, else all.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub bind: Option<String>,
    /// Port for other executors. Default: 0, a free one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Address for `/metrics`, `/healthz` and `/readyz`. Default: `127.0.0.1:0`, a free port.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// How long running tasks may go on once the executor drains, `90s`.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub drain_grace: Option<String>,
    /// Most bytes of spill files at one time, `100GiB`.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub spill_limit: Option<String>,
    /// S3 endpoint, for anything but AWS.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub s3_endpoint: Option<String>,
    /// S3 region.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub s3_region: Option<String>,
    /// Whether buckets are part of the path. Default: yes when an endpoint is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_path_style: Option<bool>,
    /// AWS profile.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub s3_profile: Option<String>,
}

/// Configuration with nothing left open.
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
    /// Object-store location for shuffle.
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
    /// Most bytes of spill files at one time.
    pub spill_limit_bytes: u64,
}

impl ExecutorOptions {
    /// An executor on this machine's loopback with free ports, for the engine embedded in a command: it leaves at once.
    pub fn local(scheduler: String, work_dir: PathBuf, vcores: usize, memory_bytes: u64) -> Self {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        Self {
            scheduler,
            vcores: vcores.max(1),
            memory_bytes,
            work_dir,
            pool: resolve::DEFAULT_POOL.to_owned(),
            shuffle: None,
            store: StoreOptions::default(),
            host: loopback.to_string(),
            bind: loopback,
            port: 0,
            http: SocketAddr::new(loopback, 0),
            drain_grace: Duration::ZERO,
            spill_limit_bytes: resolve::DEFAULT_SPILL_LIMIT_BYTES,
        }
    }
}

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key, as in the file.
    pub key: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl ConfigProblem {
    fn new(key: &str, problem: impl Into<String>) -> Self {
        Self { key: key.to_owned(), problem: problem.into() }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

/// Text, also when the environment or the file holds something that looks like a number.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "text")]
    enum Loose {
        Text(String),
        Whole(i64),
        Number(f64),
        Bool(bool),
    }
    Ok(Option::<Loose>::deserialize(deserializer)?.map(|loose| match loose {
        Loose::Text(text) => text,
        Loose::Whole(number) => number.to_string(),
        Loose::Number(number) => number.to_string(),
        Loose::Bool(value) => value.to_string(),
    }))
}
