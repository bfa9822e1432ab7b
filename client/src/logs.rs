//! A run's log lines, as they were or as they come.

use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use selvedge_model::id::RunId;
use selvedge_proto::v1;
use serde::Serialize;

use crate::connect::Selvedge;
use crate::error::Result;

/// One line of a run's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// When, in milliseconds since the epoch.
    pub time_ms: i64,
    /// `INFO`, `WARN` or `ERROR`.
    pub level: String,
    /// What.
    pub message: String,
    /// The statement it belongs to; 0 for the run as a whole.
    pub statement: u32,
    /// The stage, when it comes from a task.
    pub stage_id: u32,
    /// The task.
    pub task_id: u32,
    /// The executor; empty when the scheduler wrote it.
    pub executor_id: String,
}

impl From<v1::LogLine> for LogLine {
    fn from(line: v1::LogLine) -> Self {
        Self {
            time_ms: line.time_ms,
            level: line.level,
            message: line.message,
            statement: line.statement,
            stage_id: line.stage_id,
            task_id: line.task_id,
            executor_id: line.executor_id,
        }
    }
}

impl Selvedge {
    /// The run's log lines in order. With `follow` the stream stays open until the run ends.
    ///
    /// # Errors
    /// When there is no such run, or nobody answers.
    pub async fn logs(&self, id: &RunId, follow: bool) -> Result<BoxStream<'static, Result<LogLine>>> {
        let request = v1::GetRunLogsRequest { run_id: id.to_string(), follow };
        let reply = self.jobs().get_run_logs(request).await.map_err(|e| self.fail(&e))?;
        let client = self.clone();
        let lines = reply
            .into_inner()
            .map_err(move |status| client.fail(&status))
            .map_ok(|page| futures::stream::iter(page.lines.into_iter().map(|line| Ok(line.into()))))
            .try_flatten();
        Ok(lines.boxed())
    }
}
