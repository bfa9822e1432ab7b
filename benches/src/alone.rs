//! DataFusion alone: one process, as many threads and partitions as the cluster has vcores, its own defaults, no memory limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use selvedge_tests::seaweed::S3Access;
use selvedge_tests::{Outcome, fail, tpch};
use tokio::runtime::Runtime;
use url::Url;

use crate::stage::BUCKET;

/// The session and its own threads.
pub struct Alone {
    context: SessionContext,
    runtime: Runtime,
}

impl Alone {
    /// Over the tables under `root`.
    pub fn new(root: &str, s3: Option<&S3Access>, cores: usize) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(cores).enable_all().build()?;
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(cores));
        if let Some(access) = s3 {
            let url = Url::parse(&format!("s3://{BUCKET}"))?;
            context.register_object_store(&url, Arc::new(access.client(BUCKET)?));
        }
        let alone = Self { context, runtime };
        for table in tpch::TABLES {
            alone.register(table, &format!("{root}/{table}/"))?;
        }
        Ok(alone)
    }

    /// Names a directory of Parquet files.
    pub fn register(&self, name: &str, location: &str) -> Outcome<()> {
        self.runtime.block_on(self.context.register_parquet(name, location, ParquetReadOptions::default()))?;
        Ok(())
    }

    /// Runs one statement.
    pub fn run(&self, sql: &str) -> Outcome<(Vec<RecordBatch>, Duration)> {
        let context = self.context.clone();
        let sql = sql.to_owned();
        let started = Instant::now();
        // On a thread of its runtime, as a server would.
        let task = self.runtime.spawn(async move { context.sql(&sql).await?.collect().await });
        let batches = self.runtime.block_on(task)?.map_err(|e| fail(format!("DataFusion alone: {e}")))?;
        Ok((batches, started.elapsed()))
    }
}
