//! A faulty S3 server for tests: microburst as a proxy before a healthy one. It answers with errors, late, in part, wrongly or
//! not at all, as often as its rules say.
//!
//! Rules take effect at once and for every bucket whose name contains a word, so that reads of sources, shuffle and
//! writes can be hit one by one when they are in buckets of their own.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Process;
use crate::seaweed::S3Access;
use crate::{Outcome, block_on, cache, cli, fail};

const START_LIMIT: Duration = Duration::from_secs(60);
const SCRIPT: &str = include_str!("microburst.py");

/// What a request may meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// 503 `SlowDown`.
    SlowDown,
    /// The answer comes up to a second late.
    Latency,
    /// The connection is reset before anything is answered.
    Reset,
    /// Nothing for three seconds, then 504.
    Timeout,
    /// The connection ends in the middle of the answer's body.
    Abort,
    /// Half of an object's bytes, as if that were all of them.
    Truncate,
    /// An object's bytes with some of them flipped.
    Corrupt,
    /// The connection is reset in the middle of an upload.
    CutUpload,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::SlowDown,
        Self::Latency,
        Self::Reset,
        Self::Timeout,
        Self::Abort,
        Self::Truncate,
        Self::Corrupt,
        Self::CutUpload,
    ];

    /// The rule that does it to `share` of the requests to buckets whose name contains `bucket`.
    pub fn rule(self, share: f64, bucket: &str) -> Value {
        let (what, how) = match self {
            Self::SlowDown => ("error", json!({"code": "SlowDown", "status": 503})),
            Self::Latency => ("latency", json!({"min": 100, "max": 1000})),
            Self::Reset => ("reset", json!(true)),
            Self::Timeout => ("timeout_ms", json!(3000)),
            Self::Abort => ("response", json!({"abort_frac": 0.5})),
            Self::Truncate => ("response", json!({"truncate_frac": 0.5})),
            Self::Corrupt => ("response", json!({"corrupt_bytes": 16})),
            Self::CutUpload => ("request", json!({"cut_upload": {"after_frac": 0.5}})),
        };
        let mut rule = json!({"service": "s3", "resource": bucket, "probability": share});
        rule[what] = how;
        // What else the server says is no object: a list of files that is silently cut would be a server that lies.
        if matches!(self, Self::Truncate | Self::Corrupt) {
            rule["operation"] = json!("GetObject");
        }
        rule
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct Microburst {
    endpoint: String,
    process: Process,
    _dir: TempDir,
}

impl Microburst {
    /// Starts one before the server at `upstream`, without rules. Its draws follow from `seed`.
    pub fn start(upstream: &str, seed: u64) -> Outcome<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let dir = TempDir::new()?;
        let mut command = cli::clean_command(&cache::python()?);
        command
            .args(["-B", "-c", SCRIPT, "--no-resign", "--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--upstream", upstream])
            .env("MICROBURST_SEED", seed.to_string())
            .current_dir(dir.path());
        let process = Process::start("microburst", command, dir.path())?;
        let mut proxy = Self { endpoint: format!("http://127.0.0.1:{port}"), process, _dir: dir };
        let started = Instant::now();
        while proxy.ask(reqwest::Method::GET, "health", None).is_err() {
            if proxy.process.exited()?.is_some() || started.elapsed() > START_LIMIT {
                return Err(fail(format!("microburst does not answer\n{}", proxy.process.tail())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(proxy)
    }

    /// The same user, through the proxy.
    pub fn access(&self, direct: &S3Access) -> S3Access {
        S3Access { endpoint: self.endpoint.clone(), ..direct.clone() }
    }

    /// Replaces the rules; none means a plain relay.
    pub fn set_rules(&self, rules: &[Value]) -> Outcome<()> {
        self.ask(reqwest::Method::POST, "rules", Some(json!(rules))).map(drop)
    }

    /// How often each rule has been applied since the rules were set, in their order.
    pub fn fired(&self) -> Outcome<Vec<u64>> {
        let rules = self.ask(reqwest::Method::GET, "rules", None)?;
        let count = |rule: &Value| rule.get("fired_count").and_then(Value::as_u64).unwrap_or_default();
        Ok(rules.as_array().into_iter().flatten().map(count).collect())
    }

    fn ask(&self, method: reqwest::Method, what: &str, body: Option<Value>) -> Outcome<Value> {
        let url = format!("{}/_microburst/{what}", self.endpoint);
        let mut request = reqwest::Client::new().request(method, url).timeout(START_LIMIT);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Ok(block_on(async { request.send().await?.error_for_status()?.json().await })??)
    }
}
