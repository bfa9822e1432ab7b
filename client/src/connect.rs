//! The connection: one HTTP/2 channel that every service shares. Cheap to clone. The calls are in `runs.rs`, `query.rs`,
//! `cluster.rs` and `session.rs`.

use std::time::Duration;

use selvedge_proto::MAX_MESSAGE_BYTES;
use selvedge_proto::v1::catalog_service_client::CatalogServiceClient;
use selvedge_proto::v1::cluster_service_client::ClusterServiceClient;
use selvedge_proto::v1::job_service_client::JobServiceClient;
use selvedge_proto::v1::query_service_client::QueryServiceClient;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::error::{Error, Result, root_cause};

/// The environment variable that names the scheduler.
pub const SCHEDULER_VARIABLE: &str = "SELVEDGE_SCHEDULER";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection to a scheduler.
#[derive(Clone, Debug)]
pub struct Selvedge {
    channel: Channel,
    address: String,
}

impl Selvedge {
    /// Connects to the scheduler at `uri` (`http://HOST:PORT`; `http://` may be left out).
    ///
    /// # Errors
    /// When the address is malformed, or nobody answers within five seconds.
    pub async fn connect(uri: &str) -> Result<Self> {
        let address = normalise(uri)?;
        let bad = |e: tonic::transport::Error| Error::Address { address: uri.to_owned(), reason: root_cause(&e) };
        let endpoint = Endpoint::from_shared(address.clone())
            .map_err(bad)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(Some(KEEP_ALIVE_INTERVAL))
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .user_agent(concat!("selvedge/", env!("CARGO_PKG_VERSION")))
            .map_err(bad)?;
        let reached = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect()).await;
        let unreachable = |reason| Error::Unreachable { address: address.clone(), reason };
        let channel = reached
            .map_err(|_| unreachable(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())))?
            .map_err(|e| unreachable(root_cause(&e)))?;
        Ok(Self { channel, address })
    }

    /// Connects to the scheduler that `SELVEDGE_SCHEDULER` names.
    ///
    /// # Errors
    /// As [`Self::connect`], and when the variable is not set.
    pub async fn from_env() -> Result<Self> {
        match std::env::var(SCHEDULER_VARIABLE) {
            Ok(uri) if !uri.trim().is_empty() => Self::connect(uri.trim()).await,
            _ => Err(Error::NoScheduler),
        }
    }

    /// The scheduler's address.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn fail(&self, status: &Status) -> Error {
        Error::from_status(status, &self.address)
    }

    pub(crate) fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn queries(&self) -> QueryServiceClient<Channel> {
        QueryServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn fleet(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn catalog(&self) -> CatalogServiceClient<Channel> {
        CatalogServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

/// `HOST:PORT` becomes `http://HOST:PORT`; anything that is not plain HTTP with a host is refused. A bare name is more likely
/// a slip than a scheduler on port 80.
fn normalise(uri: &str) -> Result<String> {
    let full = if uri.contains("://") { uri.to_owned() } else { format!("http://{uri}") };
    let bad = |reason: &str| Error::Address { address: uri.to_owned(), reason: reason.to_owned() };
    let has_port = |text: &str| text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !uri.is_empty() && !uri.contains("://") && !has_port(uri.trim_end_matches('/')) {
        return Err(bad("it is neither a URL nor HOST:PORT"));
    }
    let url = url::Url::parse(&full).map_err(|e| bad(&e.to_string()))?;
    match url.scheme() {
        "http" if url.host_str().is_some_and(|h| !h.is_empty()) => Ok(full.trim_end_matches('/').to_owned()),
        "http" => Err(bad("it names no host")),
        "https" => Err(bad("TLS is not supported yet, use http://")),
        other => Err(bad(&format!("'{other}://' is not a scheduler's scheme"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed_or_refused_with_a_reason() {
        assert_eq!(normalise("127.0.0.1:50050").unwrap(), "http://127.0.0.1:50050");
        assert_eq!(normalise("http://host:1/").unwrap(), "http://host:1");
        for (bad, why) in [("https://h:1", "TLS"), ("s3://b", "scheme"), ("", "host"), ("foo", "HOST:PORT")] {
            let error = normalise(bad).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = Selvedge::connect(&format!("127.0.0.1:{port}")).await.unwrap_err();
        assert!(error.is_unreachable(), "{error:?}");
    }
}
