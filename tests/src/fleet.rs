//! Asks a scheduler over its public API what the command line does not show soon enough: to kill an executor in the middle
//! of a run, a test must see the middle.

use std::time::{Duration, Instant};

use selvedge_proto::v1::cluster_service_client::ClusterServiceClient;
use selvedge_proto::v1::job_service_client::JobServiceClient;
use selvedge_proto::v1::{
    Executor, ExecutorState, GetRunRequest, ListExecutorsRequest, ListRunsRequest, Run, RunState,
};
use tonic::transport::{Channel, Endpoint};

use crate::{Outcome, block_on, fail};

const POLL_INTERVAL: Duration = Duration::from_millis(50);
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// The scheduler's API.
#[derive(Debug, Clone)]
pub struct Fleet {
    channel: Channel,
}

impl Fleet {
    /// For the scheduler at `http://HOST:PORT`; connects when first used.
    pub fn new(scheduler: &str) -> Outcome<Self> {
        let endpoint = Endpoint::from_shared(scheduler.to_owned())?.timeout(CALL_LIMIT).connect_timeout(CALL_LIMIT);
        Ok(Self { channel: block_on(async { endpoint.connect_lazy() })? })
    }

    /// The executors it knows.
    pub fn executors(&self) -> Outcome<Vec<Executor>> {
        let mut client = ClusterServiceClient::new(self.channel.clone());
        let response = block_on(async { client.list_executors(ListExecutorsRequest {}).await })??;
        Ok(response.into_inner().executors)
    }

    /// Those that take tasks.
    pub fn active_executors(&self) -> Outcome<Vec<Executor>> {
        let active = |e: &Executor| e.state() == ExecutorState::Active;
        Ok(self.executors()?.into_iter().filter(active).collect())
    }

    /// A run with its statements and stages.
    pub fn run(&self, run_id: &str) -> Outcome<Run> {
        let mut client = JobServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let request = GetRunRequest { run_id: run_id.to_owned() };
        let response = block_on(async { client.get_run(request).await })??;
        response.into_inner().run.ok_or_else(|| fail(format!("GetRun answered without the run {run_id}")))
    }

    /// The ids of the runs that are queued or running, newest first.
    pub fn open_runs(&self) -> Outcome<Vec<String>> {
        let mut client = JobServiceClient::new(self.channel.clone());
        let states = vec![RunState::Queued.into(), RunState::Running.into()];
        let request = ListRunsRequest { states, ..Default::default() };
        let response = block_on(async { client.list_runs(request).await })??;
        Ok(response.into_inner().runs.into_iter().map(|run| run.run_id).collect())
    }

    /// Waits until `look` finds something.
    pub fn wait<T>(&self, what: &str, limit: Duration, look: impl Fn(&Self) -> Outcome<Option<T>>) -> Outcome<T> {
        let started = Instant::now();
        let mut last = String::new();
        while started.elapsed() < limit {
            match look(self) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(error) => last = format!(" ({error})"),
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Err(fail(format!("{what}: not within {limit:?}{last}")))
    }

    /// Waits until an open run has at least `tasks` tasks done and one running. Returns its id; `None` when it ended before.
    pub fn wait_middle(&self, run_id: &str, tasks: u32, limit: Duration) -> Outcome<bool> {
        self.wait("the middle of a run", limit, |fleet| {
            let run = fleet.run(run_id)?;
            if !matches!(run.state(), RunState::Queued | RunState::Running) {
                return Ok(Some(false));
            }
            let stages = || run.statements.iter().flat_map(|s| &s.stages);
            let done: u32 = stages().map(|s| s.tasks_done).sum();
            let running: u32 = stages().map(|s| s.tasks_running).sum();
            Ok((done >= tasks && running > 0).then_some(true))
        })
    }

    /// Waits for the final state of a run.
    pub fn wait_final(&self, run_id: &str, limit: Duration) -> Outcome<Run> {
        self.wait("the end of a run", limit, |fleet| {
            let run = fleet.run(run_id)?;
            let open = matches!(run.state(), RunState::Queued | RunState::Running | RunState::Unspecified);
            Ok((!open).then_some(run))
        })
    }
}
