//! The oracle: DataFusion alone, in this process, over the same files. What the cluster answers must equal it.

use std::path::Path;

use arrow::record_batch::RecordBatch;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

use crate::rows::Rows;
use crate::{Outcome, block_on, fail, tpch};

/// A single-process session.
#[derive(Clone)]
pub struct Oracle {
    context: SessionContext,
}

impl Oracle {
    /// A session with this many partitions and no tables.
    pub fn new(target_partitions: usize) -> Self {
        let config = SessionConfig::new().with_target_partitions(target_partitions).with_information_schema(true);
        Self { context: SessionContext::new_with_config(config) }
    }

    /// A session with the TPC-H tables under `data`.
    pub fn tpch(data: &Path, target_partitions: usize) -> Outcome<Self> {
        let oracle = Self::new(target_partitions);
        for table in tpch::TABLES {
            oracle.register(table, &data.join(table).to_string_lossy())?;
        }
        Ok(oracle)
    }

    /// The session itself.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Names a directory of Parquet files.
    pub fn register(&self, name: &str, directory: &str) -> Outcome<()> {
        let url = format!("{}/", directory.trim_end_matches('/'));
        block_on(self.context.register_parquet(name, url, ParquetReadOptions::default()))??;
        Ok(())
    }

    /// Runs one statement.
    pub fn batches(&self, sql: &str) -> Outcome<Vec<RecordBatch>> {
        let run = async { self.context.sql(sql).await?.collect().await };
        block_on(run)?.map_err(|e| fail(format!("the oracle cannot run {sql}: {e}")))
    }

    /// Runs one query.
    pub fn query(&self, sql: &str) -> Outcome<Rows> {
        Rows::from_batches(&self.batches(sql)?)
    }
}
