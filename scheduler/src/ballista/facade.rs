//! `FleetService`, the only door of executors: decodes a poll, holds the reply back while there is no work, encodes it.
//!
//! Steps run in tasks of their own: a client that goes away in the middle of one must not leave a status half delivered. What
//! such a step handed out is kept for the executor's next poll. Waiting between steps can be dropped at any time.

use std::sync::Arc;
use std::time::Duration;

use ballista_core::serde::protobuf::TaskStatus;
use prost::Message;
use selvedge_model::{ExecutorId, TaskRef};
use selvedge_proto::internal::v1::fleet_service_server::FleetService;
use selvedge_proto::internal::v1::{
    CopiedOutput, LeaveRequest, LeaveResponse, PollRequest, PollResponse, ReplacedOutput, TaskLogLine,
};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::copies::Replaced;
use super::host::Host;
use super::logs::TaskLog;
use super::poll::{Answer, Report};

/// A waiting poll looks for work this often even when nobody says that there is some.
const LOOK: Duration = Duration::from_millis(250);

/// The service; cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    host: Arc<Host>,
}

impl Fleet {
    pub(super) fn new(host: Arc<Host>) -> Self {
        Self { host }
    }

    /// What a held poll says of its sender grows old: it must be answered before a lease runs out, and before a task handed
    /// out by a newer poll could be taken for lost.
    fn patience(&self, wait_ms: u32) -> Duration {
        let options = &self.host.options;
        Duration::from_millis(u64::from(wait_ms)).min(options.lease / 3).min(options.lost_task_grace / 2)
    }
}

#[tonic::async_trait]
impl FleetService for Fleet {
    async fn poll(&self, request: Request<PollRequest>) -> Result<Response<PollResponse>, Status> {
        let request = request.into_inner();
        let deadline = Instant::now() + self.patience(request.wait_ms);
        let (mut report, logs) = decode(request)?;
        for line in logs {
            self.host.logs.push(line);
        }
        loop {
            let mut work = std::pin::pin!(self.host.work.notified());
            let mut stops = std::pin::pin!(self.host.stops.notified());
            work.as_mut().enable();
            stops.as_mut().enable();
            let answer = step(&self.host, report.clone()).await?;
            let now = Instant::now();
            if answer.is_news || now >= deadline {
                return Ok(Response::new(encode(answer)));
            }
            // They are counted; what the executor holds is as it said, until its next poll.
            let ended = std::mem::take(&mut report.statuses);
            report.copied.clear();
            report.held.retain(|task| !ended.iter().any(|status| super::statuses::task_of(status) == *task));
            tokio::select! {
                () = &mut work, if report.load.copy_vcores > 0 || !report.missing.is_empty() => {}
                () = &mut stops => {}
                () = tokio::time::sleep_until(deadline.min(now + LOOK)) => {}
            }
        }
    }

    async fn leave(&self, request: Request<LeaveRequest>) -> Result<Response<LeaveResponse>, Status> {
        let request = request.into_inner();
        let id = executor_id(request.executor_id)?;
        let statuses = request.statuses.iter().filter_map(|bytes| status(&id, bytes)).collect();
        let copied: Vec<_> = request.copied.into_iter().filter_map(copied).collect();
        let host = self.host.clone();
        let leaving = tokio::spawn(async move {
            let delivered = host.take_statuses(&id, statuses).await?;
            host.settle(delivered).await;
            host.note_copied(copied);
            if host.roster.leave(&id) {
                host.lose(&id, "left").await;
            }
            Ok(())
        });
        leaving.await.map_err(|error| Status::internal(error.to_string()))?.map(|()| Response::new(LeaveResponse {}))
    }
}

/// Runs one step to its end, whether or not the caller stays.
async fn step(host: &Arc<Host>, report: Report) -> Result<Answer, Status> {
    let (answered, answer) = oneshot::channel();
    let host = host.clone();
    tokio::spawn(async move {
        let id = report.id.clone();
        let result = host.step(report).await;
        if let Err(Ok(unheard)) = answered.send(result) {
            host.roster.keep_undelivered(&id, unheard.tasks);
        }
    });
    answer.await.unwrap_or_else(|_| Err(Status::internal("the poll was not answered")))
}

fn decode(request: PollRequest) -> Result<(Report, Vec<TaskLog>), Status> {
    let info = request.info.ok_or_else(|| Status::invalid_argument("a poll says who sends it: 'info' is missing"))?;
    let load = request.load.ok_or_else(|| Status::invalid_argument("'load' is missing"))?;
    let id = executor_id(info.executor_id.clone())?;
    let logs = request.logs.into_iter().filter_map(|line| log_line(&id, line)).collect();
    let statuses = request.statuses.iter().filter_map(|bytes| status(&id, bytes)).collect();
    let held = request.held.into_iter().map(Into::into).collect();
    let copied = request.copied.into_iter().filter_map(copied).collect();
    let missing = request.missing.into_iter().map(Into::into).collect();
    Ok((Report { id, info, load, held, kept_jobs: request.kept_jobs, statuses, copied, missing }, logs))
}

fn executor_id(id: String) -> Result<ExecutorId, Status> {
    ExecutorId::try_from(id).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// One that cannot be read would be sent again for ever, so it is taken as said; its task will be found missing.
fn status(executor: &ExecutorId, bytes: &[u8]) -> Option<TaskStatus> {
    let decoded = TaskStatus::decode(bytes);
    if let Err(error) = &decoded {
        tracing::error!(executor_id = %executor, %error, "a task status could not be read");
    }
    decoded.ok()
}

fn log_line(executor: &ExecutorId, line: TaskLogLine) -> Option<TaskLog> {
    Some(TaskLog {
        task: line.task?.into(),
        time_ms: line.time_ms,
        level: line.level,
        message: line.message,
        executor: executor.to_string(),
    })
}

fn replaced(replaced: Replaced) -> ReplacedOutput {
    let (host, port) = replaced.address.unwrap_or_default();
    ReplacedOutput {
        missing: Some(replaced.missing.into()),
        task: Some(replaced.output.task.into()),
        executor_id: replaced.output.executor.to_string(),
        host,
        port: port.into(),
    }
}

/// Which task's output is safe, and what that took.
fn copied(wire: CopiedOutput) -> Option<(TaskRef, u64)> {
    Some((wire.task?.into(), wire.put_requests))
}

fn encode(answer: Answer) -> PollResponse {
    PollResponse {
        tasks: answer.tasks.iter().map(|task| task.encode_to_vec().into()).collect(),
        cancel: answer.cancel.into_iter().map(Into::into).collect(),
        forget_jobs: answer.forget_jobs,
        drain: answer.drain,
        replaced: answer.replaced.into_iter().map(replaced).collect(),
    }
}
