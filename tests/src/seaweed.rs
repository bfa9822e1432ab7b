//! A real S3 server for tests: SeaweedFS on free loopback ports with its data in a temporary directory.
//!
//! Two users: one may do everything, one may only read and list. Killed on drop (it takes 20 s to end by itself).

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutPayload};
use tempfile::TempDir;

use crate::process::Process;
use crate::{Outcome, block_on, cache, fail};

const START_LIMIT: Duration = Duration::from_secs(60);
const REGION: &str = "us-east-1";
const USERS: &str = r#"{"identities":[
  {"name":"writer","credentials":[{"accessKey":"WRITER","secretKey":"WRITERSECRET"}],
   "actions":["Admin","Read","Write","List","Tagging"]},
  {"name":"reader","credentials":[{"accessKey":"READER","secretKey":"READERSECRET"}],"actions":["Read","List"]}]}"#;

/// How to reach an S3 server, and as whom.
#[derive(Debug, Clone)]
pub struct S3Access {
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    /// Access key.
    pub key: String,
    /// Secret key.
    pub secret: String,
}

impl S3Access {
    /// The environment that gives Selvedge this access.
    pub fn envs(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", &self.key),
            ("AWS_SECRET_ACCESS_KEY", &self.secret),
            ("AWS_REGION", REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .to_vec()
    }

    /// A client for one bucket that shares nothing with Selvedge's own.
    pub fn client(&self, bucket: &str) -> Outcome<AmazonS3> {
        Ok(AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_region(REGION)
            .with_access_key_id(&self.key)
            .with_secret_access_key(&self.secret)
            .with_bucket_name(bucket)
            .build()?)
    }
}

/// A running server.
#[derive(Debug)]
pub struct SeaweedFs {
    endpoint: String,
    filer: String,
    process: Process,
    _dir: TempDir,
}

impl SeaweedFs {
    /// Starts one and waits until it answers.
    pub fn start() -> Outcome<Self> {
        let weed = cache::weed()?;
        // Its gRPC ports are the HTTP ports plus 10000, so each must be free in both places; another may still be faster.
        let mut last = fail("not tried");
        for _ in 0..3 {
            match Self::start_once(&weed) {
                Ok(server) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn start_once(weed: &Path) -> Outcome<Self> {
        let dir = TempDir::new()?;
        let users = dir.path().join("s3.json");
        std::fs::write(&users, USERS)?;
        let data = dir.path().join("data");
        std::fs::create_dir(&data)?;
        let [s3, master, volume, filer] = free_ports()?;
        let mut command = Command::new(weed);
        command
            .arg("server")
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-master.volumeSizeLimitMB=1024"])
            .args([
                "-volume.max=1000",
                "-volume.preStopSeconds=0",
                "-filer",
                "-s3",
                "-s3.allowDeleteBucketNotEmpty=false",
            ])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-dir={}", data.display()))
            .arg(format!("-s3.config={}", users.display()))
            .args([format!("-s3.port={s3}"), format!("-master.port={master}")])
            .args([format!("-volume.port={volume}"), format!("-filer.port={filer}")])
            .current_dir(dir.path());
        let process = Process::start("weed", command, dir.path())?;
        let mut server = Self {
            endpoint: format!("http://127.0.0.1:{s3}"),
            filer: format!("http://127.0.0.1:{filer}"),
            process,
            _dir: dir,
        };
        server.wait_ready()?;
        Ok(server)
    }

    fn wait_ready(&mut self) -> Outcome<()> {
        let url = format!("{}/healthz", self.endpoint);
        let started = Instant::now();
        loop {
            let answer = block_on(reqwest::get(&url))?;
            if answer.is_ok_and(|a| a.status().is_success()) {
                return Ok(());
            }
            if self.process.exited()?.is_some() || started.elapsed() > START_LIMIT {
                return Err(fail(format!("SeaweedFS does not answer\n{}", self.process.tail())));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Access as the user who may do everything.
    pub fn access(&self) -> S3Access {
        self.access_as("WRITER", "WRITERSECRET")
    }

    /// Access as the user who may read and list only.
    pub fn read_only(&self) -> S3Access {
        self.access_as("READER", "READERSECRET")
    }

    /// Access with any key.
    pub fn access_as(&self, key: &str, secret: &str) -> S3Access {
        S3Access { endpoint: self.endpoint.clone(), key: key.to_owned(), secret: secret.to_owned() }
    }

    /// Creates a bucket: a directory of the filer's.
    pub fn create_bucket(&self, name: &str) -> Outcome<()> {
        let url = format!("{}/buckets/{name}/", self.filer);
        let answer = block_on(async { reqwest::Client::new().post(&url).send().await?.error_for_status() })?;
        answer.map(drop).map_err(|e| fail(format!("cannot create bucket {name}: {e}")))
    }

    /// The uploads of parts to a bucket that are still open: the server keeps each in a directory of its own.
    pub fn open_uploads(&self, bucket: &str) -> Outcome<Vec<String>> {
        let url = format!("{}/buckets/{bucket}/.uploads/?limit=1000", self.filer);
        let (status, text) = block_on(async {
            let answer = reqwest::Client::new().get(&url).header("Accept", "application/json").send().await?;
            let status = answer.status();
            answer.text().await.map(|text| (status, text))
        })??;
        // Before the first upload there is no such directory.
        if status.as_u16() == 404 {
            return Ok(Vec::new());
        }
        let listed: serde_json::Value = serde_json::from_str(&text)?;
        let entries = listed.get("Entries").and_then(serde_json::Value::as_array);
        let name = |entry: &serde_json::Value| entry.get("FullPath")?.as_str().map(str::to_owned);
        Ok(entries.into_iter().flatten().filter_map(name).collect())
    }

    /// Copies a local directory to `s3://BUCKET/PREFIX/`.
    pub fn upload(&self, directory: &Path, bucket: &str, prefix: &str) -> Outcome<()> {
        let client = self.access().client(bucket)?;
        let mut files = Vec::new();
        list_files(directory, &mut files)?;
        block_on(
            stream::iter(files.into_iter().map(|file| {
                let client = &client;
                async move {
                    let relative = file.strip_prefix(directory)?.to_string_lossy().into_owned();
                    let body = PutPayload::from(tokio::fs::read(&file).await?);
                    client.put(&ObjectPath::from(format!("{prefix}/{relative}")), body).await?;
                    Outcome::Ok(())
                }
            }))
            .buffer_unordered(4)
            .try_collect::<Vec<()>>(),
        )??;
        Ok(())
    }

    /// The keys under `s3://BUCKET/PREFIX/`, hidden ones too.
    pub fn keys(&self, bucket: &str, prefix: &str) -> Outcome<Vec<String>> {
        let client = self.access().client(bucket)?;
        let prefix = ObjectPath::from(prefix);
        let objects = block_on(client.list(Some(&prefix)).try_collect::<Vec<_>>())??;
        let mut keys: Vec<String> = objects.into_iter().map(|o| o.location.to_string()).collect();
        keys.sort_unstable();
        Ok(keys)
    }
}

fn list_files(directory: &Path, into: &mut Vec<PathBuf>) -> Outcome<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            list_files(&path, into)?;
        } else {
            into.push(path);
        }
    }
    Ok(())
}

/// Free ports whose neighbour 10000 above is free too.
fn free_ports<const N: usize>() -> Outcome<[u16; N]> {
    let (mut held, mut ports) = (Vec::new(), Vec::new());
    for _ in 0..1000 {
        if ports.len() == N {
            break;
        }
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let above = port.checked_add(10_000).and_then(|p| TcpListener::bind(("127.0.0.1", p)).ok());
        if let Some(above) = above {
            ports.push(port);
            held.push(above);
        }
        held.push(listener);
    }
    ports.try_into().map_err(|_| fail("not enough free ports"))
}
