//! The gRPC services that clients call: one RPC, one file.
//!
//! Each decodes, hands a command to the driver, the run book or the host, and encodes what comes back. Wire types stop
//! here, and so do errors: a `Failure` becomes a status in [`answer`] and nowhere else. Nothing here decides about
//! runs.

mod cancel_run;
mod drain_executor;
mod execute_query;
mod get_run;
mod get_run_logs;
mod list_executors;
mod list_runs;
mod request;
mod resolve_table;
mod services;
mod submit_run;
mod watch_run;

use std::sync::Arc;

use futures::stream::BoxStream;
use selvedge_model::{Domain, Failure};
use selvedge_proto::status_from;
use selvedge_proto::v1::catalog_service_server::CatalogServiceServer;
use selvedge_proto::v1::cluster_service_server::ClusterServiceServer;
use selvedge_proto::v1::job_service_server::JobServiceServer;
use selvedge_proto::v1::query_service_server::QueryServiceServer;
use tonic::codec::CompressionEncoding;
use tonic::{Response, Status};

use crate::driver::Driver;

/// What a streaming RPC answers with.
type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// All RPCs over one driver.
#[derive(Clone)]
pub struct Api {
    driver: Arc<Driver>,
}

macro_rules! sized {
    ($service:expr) => {
        $service
            .max_decoding_message_size(selvedge_proto::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(selvedge_proto::MAX_MESSAGE_BYTES)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip)
    };
}

impl Api {
    /// The RPCs over a driver.
    pub fn new(driver: Arc<Driver>) -> Self {
        Self { driver }
    }

    /// Jobs and runs.
    pub fn jobs(&self) -> JobServiceServer<Self> {
        sized!(JobServiceServer::new(self.clone()))
    }

    /// Interactive SQL. Results go uncompressed: loopback and data-centre networks are faster than gzip.
    pub fn queries(&self) -> QueryServiceServer<Self> {
        QueryServiceServer::new(self.clone())
            .max_decoding_message_size(selvedge_proto::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(selvedge_proto::MAX_MESSAGE_BYTES)
    }

    /// The fleet.
    pub fn cluster(&self) -> ClusterServiceServer<Self> {
        sized!(ClusterServiceServer::new(self.clone()))
    }

    /// Tables.
    pub fn catalog(&self) -> CatalogServiceServer<Self> {
        sized!(CatalogServiceServer::new(self.clone()))
    }
}

/// The end of an RPC: errors are logged here, once, and become statuses.
fn answer<T>(rpc: &'static str, result: Result<T, Failure>) -> Result<Response<T>, Status> {
    match result {
        Ok(answer) => Ok(Response::new(answer)),
        Err(failure) => Err(refuse(rpc, &failure)),
    }
}

fn refuse(rpc: &'static str, failure: &Failure) -> Status {
    match failure.domain {
        Domain::User => tracing::debug!(rpc, code = %failure.code, cause = %failure.cause, "Request refused"),
        Domain::External => tracing::warn!(rpc, code = %failure.code, cause = %failure.cause, "Request failed"),
        Domain::Internal => tracing::error!(rpc, code = %failure.code, cause = %failure.cause, "Request failed"),
    }
    status_from(failure)
}
