//! GetRunLogs: a run's own story and what its tasks said, in chunks; when following, until the run has ended.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use selvedge_model::Failure;
use selvedge_model::run::RunRecord;
use selvedge_proto::v1;
use tokio::sync::watch;

use super::{Answers, Api, request};
use crate::runs::{RunLine, RunLog};

const MAX_LINES_PER_CHUNK: usize = 500;

struct Reader {
    log: Arc<RunLog>,
    run: watch::Receiver<Arc<RunRecord>>,
    follow: bool,
    seen: u64,
}

pub(super) fn get_run_logs(
    api: &Api,
    request: v1::GetRunLogsRequest,
) -> Result<Answers<v1::GetRunLogsResponse>, Failure> {
    let id = request::run_id(&request.run_id)?;
    let book = api.driver.book();
    let reader = Reader { log: book.log(&id)?, run: book.watch(&id)?, follow: request.follow, seen: 0 };
    Ok(stream::unfold(reader, next).map(Ok).boxed())
}

async fn next(mut reader: Reader) -> Option<(v1::GetRunLogsResponse, Reader)> {
    let mut written = reader.log.subscribe();
    loop {
        // Looked at before the log is read: a final state seen here has all its lines there already.
        let ended = reader.run.borrow_and_update().state.is_final();
        written.mark_unchanged();
        let (lines, seen) = reader.log.after(reader.seen, MAX_LINES_PER_CHUNK);
        reader.seen = seen;
        if !lines.is_empty() {
            let lines = lines.into_iter().map(line).collect();
            return Some((v1::GetRunLogsResponse { lines }, reader));
        }
        if !reader.follow || ended {
            return None;
        }
        let changed = tokio::select! {
            changed = written.changed() => changed,
            changed = reader.run.changed() => changed,
        };
        changed.ok()?;
    }
}

fn line(line: RunLine) -> v1::LogLine {
    let (stage_id, task_id) = line.task.map(|t| (t.stage_id, t.task_id)).unwrap_or_default();
    v1::LogLine {
        time_ms: line.time_ms,
        level: line.level.name().to_owned(),
        message: line.message,
        statement: line.statement,
        stage_id,
        task_id,
        executor_id: line.executor,
    }
}
