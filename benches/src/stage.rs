//! Data and cluster: TPC-H files generated into the cache, copied to a bucket with `--s3`, and a cluster of release-built
//! processes with the tables created.

use std::path::PathBuf;
use std::time::Duration;

use selvedge_tests::cluster::{Cluster, ClusterOptions};
use selvedge_tests::confine::Confine;
use selvedge_tests::seaweed::{S3Access, SeaweedFs};
use selvedge_tests::{Outcome, fail, tpch};
use tempfile::TempDir;

use crate::args::Setup;
use crate::latency;
use crate::ours::Ours;

pub const BUCKET: &str = "bench";

/// Everything that a benchmark runs on.
pub struct Stage {
    /// The data on the local disk.
    pub data: PathBuf,
    /// The root of the tables, as both sides read them.
    pub root: String,
    /// Access to the bucket, through the delaying proxy if there is one.
    pub s3: Option<S3Access>,
    /// The cluster's client.
    pub ours: Ours,
    /// Where outputs go.
    pub output: String,
    // In the order in which they must end.
    /// The cluster.
    pub cluster: Cluster,
    _seaweed: Option<SeaweedFs>,
    _local: TempDir,
}

impl Stage {
    /// Prepares everything; says what it does.
    pub fn prepare(setup: &Setup) -> Outcome<Self> {
        Self::confined(setup, None)
    }

    /// The same with executors that are held to a share of memory from outside.
    pub fn confined(setup: &Setup, confine: Option<Confine>) -> Outcome<Self> {
        if cfg!(debug_assertions) {
            eprintln!("warning: this is a debug build; its figures mean nothing");
        }
        eprintln!("TPC-H data at scale factor {}", setup.sf);
        let data = tpch::data(setup.sf, setup.parts)?;
        let local = tempfile::Builder::new().prefix("selvedge-bench-").tempdir()?;
        let (root, output, s3, seaweed) = if setup.s3 {
            let (access, server) = bucket(setup, &data)?;
            (format!("s3://{BUCKET}/tpch"), format!("s3://{BUCKET}/out"), Some(access), Some(server))
        } else {
            let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
            (text(&data), text(&local.path().join("out")), None, None)
        };
        eprintln!(
            "Cluster: 1 scheduler; executors: {}; of each, vcores: {}, memory: {}",
            setup.executors, setup.vcores, setup.memory
        );
        let cluster = Cluster::start(ClusterOptions {
            executors: usize::from(setup.executors),
            vcores: usize::from(setup.vcores),
            memory: setup.memory.as_u64().to_string(),
            s3: s3.clone(),
            shuffle: setup.shuffle.then(|| format!("s3://{BUCKET}/shuffle")),
            confine,
            ..ClusterOptions::default()
        })?;
        let ours = Ours::connect(&cluster.url())?;
        ours.run(&tpch::create_tables(&root)).map_err(|e| fail(format!("cannot create the tables: {e}")))?;
        warm(&data)?;
        Ok(Self { data, root, s3, ours, output, cluster, _seaweed: seaweed, _local: local })
    }
}

fn bucket(setup: &Setup, data: &std::path::Path) -> Outcome<(S3Access, SeaweedFs)> {
    eprintln!("SeaweedFS with the data in s3://{BUCKET}");
    let server = SeaweedFs::start()?;
    server.create_bucket(BUCKET)?;
    server.upload(data, BUCKET, "tpch")?;
    let mut access = server.access();
    if setup.latency_ms > 0 {
        access.endpoint = latency::start(&access.endpoint, Duration::from_millis(setup.latency_ms))?;
    }
    Ok((access, server))
}

/// Reads every file once, so that neither side pays for a cold disk.
fn warm(data: &std::path::Path) -> Outcome<()> {
    for table in tpch::TABLES {
        for file in std::fs::read_dir(data.join(table))? {
            std::io::copy(&mut std::fs::File::open(file?.path())?, &mut std::io::sink())?;
        }
    }
    Ok(())
}
