//! A network between executors and scheduler that misbehaves when told to: it doubles what executors report, loses what
//! the scheduler replies, holds calls back, and cuts executors off. Everything it does a real network may do.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use selvedge_proto::MAX_MESSAGE_BYTES;
use selvedge_proto::internal::v1::fleet_service_client::FleetServiceClient;
use selvedge_proto::internal::v1::fleet_service_server::{FleetService, FleetServiceServer};
use selvedge_proto::internal::v1::{LeaveRequest, LeaveResponse, PollRequest, PollResponse};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint, Server, server::TcpIncoming};
use tonic::{Request, Response, Status};

use crate::{Outcome, block_on, runtime};

const CUT_OFF_LOOK: Duration = Duration::from_millis(20);

/// What to do to the calls from now on; all zero at first.
#[derive(Debug, Default)]
pub struct Faults {
    /// Every status is sent twice in its poll, and the whole poll again after it.
    duplicate: AtomicU32,
    /// One in so many replies that carry tasks is lost after the scheduler gave it; 0 for none.
    drop_tasks_one_in: AtomicU32,
    /// One in so many replies to a poll with statuses is lost; 0 for none.
    drop_acks_one_in: AtomicU32,
    /// Every call is held back this long on its way to the scheduler.
    delay_ms: AtomicU64,
    /// Executors of which nothing reaches the scheduler, and to which nothing comes from it.
    cut_off: Mutex<HashSet<String>>,
    tasks_replies: AtomicU32,
    acks: AtomicU32,
    duplicated: AtomicU32,
    dropped: AtomicU32,
}

/// The running proxy; it ends on drop.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    faults: Arc<Faults>,
    server: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens on a free port and forwards to `scheduler`.
    pub fn start(scheduler: &str) -> Outcome<Self> {
        let endpoint = Endpoint::from_shared(scheduler.to_owned())?;
        let faults = Arc::new(Faults::default());
        let (listener, channel) = block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            std::io::Result::Ok((listener, endpoint.connect_lazy()))
        })??;
        let address = listener.local_addr()?;
        let relay = Relay { upstream: client(channel), faults: Arc::clone(&faults) };
        let service = FleetServiceServer::new(relay)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let server = runtime()?.spawn(async move {
            // Ends with the proxy; an error shows in the executors' logs.
            let _ = Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)).await;
        });
        Ok(Self { address, faults, server })
    }

    /// Where executors call.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Doubles everything that executors report.
    pub fn duplicate_statuses(&self) {
        self.faults.duplicate.store(1, Ordering::Relaxed);
    }

    /// Loses one in `n` replies that carry tasks.
    pub fn lose_tasks(&self, n: u32) {
        self.faults.drop_tasks_one_in.store(n, Ordering::Relaxed);
    }

    /// Loses one in `n` acknowledgements of statuses.
    pub fn lose_acknowledgements(&self, n: u32) {
        self.faults.drop_acks_one_in.store(n, Ordering::Relaxed);
    }

    /// Holds every call back.
    pub fn delay(&self, delay: Duration) {
        self.faults.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Cuts an executor off: its calls, also those under way, hang until it is joined again.
    pub fn cut_off(&self, executor: &str) {
        self.faults.cut_off.lock().unwrap_or_else(PoisonError::into_inner).insert(executor.to_owned());
    }

    /// Ends what [`Self::cut_off`] began.
    pub fn join_again(&self, executor: &str) {
        self.faults.cut_off.lock().unwrap_or_else(PoisonError::into_inner).remove(executor);
    }

    /// How many messages it has doubled and lost: a test of nothing should not pass.
    pub fn done(&self) -> (u32, u32) {
        (self.faults.duplicated.load(Ordering::Relaxed), self.faults.dropped.load(Ordering::Relaxed))
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn client(channel: Channel) -> FleetServiceClient<Channel> {
    FleetServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

struct Relay {
    upstream: FleetServiceClient<Channel>,
    faults: Arc<Faults>,
}

impl Relay {
    async fn hold(&self) {
        tokio::time::sleep(Duration::from_millis(self.faults.delay_ms.load(Ordering::Relaxed))).await;
    }

    /// Waits while this executor is cut off.
    async fn reach(&self, executor: &str) {
        while self.faults.cut_off.lock().unwrap_or_else(PoisonError::into_inner).contains(executor) {
            tokio::time::sleep(CUT_OFF_LOOK).await;
        }
    }

    /// Whether this reply is the one in so many that is lost.
    fn loses(&self, reply: &PollResponse, had_statuses: bool) -> bool {
        let one_in = |limit: &AtomicU32, seen: &AtomicU32, applies: bool| {
            let limit = limit.load(Ordering::Relaxed);
            applies && limit > 0 && seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(limit)
        };
        let f = &self.faults;
        one_in(&f.drop_tasks_one_in, &f.tasks_replies, !reply.tasks.is_empty())
            || one_in(&f.drop_acks_one_in, &f.acks, had_statuses)
    }
}

/// The same report without an appetite for tasks.
fn repeated(request: &PollRequest) -> PollRequest {
    let mut again = request.clone();
    if let Some(load) = &mut again.load {
        load.free_vcores = 0;
    }
    again.wait_ms = 0;
    again
}

#[tonic::async_trait]
impl FleetService for Relay {
    async fn poll(&self, request: Request<PollRequest>) -> Result<Response<PollResponse>, Status> {
        self.hold().await;
        let mut request = request.into_inner();
        let executor = request.info.as_ref().map(|info| info.executor_id.clone()).unwrap_or_default();
        self.reach(&executor).await;
        let had_statuses = !request.statuses.is_empty();
        let doubles = had_statuses && self.faults.duplicate.load(Ordering::Relaxed) > 0;
        let again = doubles.then(|| repeated(&request));
        if doubles {
            let copies = request.statuses.clone();
            request.statuses.extend(copies);
            self.faults.duplicated.fetch_add(1, Ordering::Relaxed);
        }
        let mut reply = self.upstream.clone().poll(request).await?.into_inner();
        if let Some(again) = again {
            let second = self.upstream.clone().poll(again).await?.into_inner();
            reply.tasks.extend(second.tasks);
            reply.cancel.extend(second.cancel);
            reply.forget_jobs.extend(second.forget_jobs);
            reply.drain |= second.drain;
        }
        self.reach(&executor).await;
        if self.loses(&reply, had_statuses) {
            self.faults.dropped.fetch_add(1, Ordering::Relaxed);
            return Err(Status::unavailable("the reply was lost on its way"));
        }
        Ok(Response::new(reply))
    }

    async fn leave(&self, request: Request<LeaveRequest>) -> Result<Response<LeaveResponse>, Status> {
        self.hold().await;
        let request = request.into_inner();
        self.reach(&request.executor_id).await;
        self.upstream.clone().leave(request).await
    }
}
