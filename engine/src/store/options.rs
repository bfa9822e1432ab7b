//! How to reach object stores from this node.
//!
//! Values given here win over the `AWS_*` environment, which wins over the AWS profile. There is no secret among them:
//! credentials come from the chain in `credentials.rs` only.

use std::time::Duration;

use url::Url;

/// How to reach object stores from this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// The S3 endpoint, for anything but AWS.
    pub endpoint: Option<Url>,
    /// The region to sign for.
    pub region: Option<String>,
    /// Whether the bucket is part of the path (`host/bucket/key`) rather than of the host name. `None` is what the endpoint
    /// calls for: see [`Self::is_path_style`].
    pub path_style: Option<bool>,
    /// Whether S3 may be spoken to without TLS.
    pub allow_http: bool,
    /// The AWS profile to take credentials and region from.
    pub profile: Option<String>,
    /// Longest time for one request, body included.
    pub request_timeout: Duration,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// How often one request is tried again.
    pub max_retries: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self::with_endpoint(None)
    }
}

impl StoreOptions {
    /// Options for an endpoint: plain HTTP when it says so.
    pub fn with_endpoint(endpoint: Option<Url>) -> Self {
        Self {
            path_style: None,
            allow_http: endpoint.as_ref().is_some_and(|e| e.scheme() == "http"),
            endpoint,
            region: None,
            profile: None,
            request_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            max_retries: 8,
        }
    }

    /// Whether buckets are addressed by path: as said, or else wherever there is an endpoint, since few of those servers
    /// have a host name for each bucket.
    pub fn is_path_style(&self) -> bool {
        self.path_style.unwrap_or(self.endpoint.is_some())
    }

    /// Fills what was not given from the `AWS_*` environment as `variable` answers it.
    ///
    /// An endpoint in the environment that is no URL is left out: the SDK's own chain will complain about it.
    #[must_use]
    pub fn or_environment(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|n| variable(n)).filter(|v| !v.is_empty());
        if self.endpoint.is_none()
            && let Some(url) = first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
            && let Ok(url) = Url::parse(&url)
        {
            self.allow_http |= url.scheme() == "http";
            self.endpoint = Some(url);
        }
        self.region = self.region.or_else(|| first(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
        self.profile = self.profile.or_else(|| first(&["AWS_PROFILE"]));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_fills_only_what_is_missing() {
        let environment = |name: &str| match name {
            "AWS_ENDPOINT_URL" => Some("http://127.0.0.1:8333".to_owned()),
            "AWS_REGION" => Some("eu-west-1".to_owned()),
            _ => None,
        };
        let got = StoreOptions::default().or_environment(environment);
        assert_eq!(got.endpoint, Url::parse("http://127.0.0.1:8333").ok());
        assert!(got.is_path_style() && got.allow_http);
        let hosted = StoreOptions { path_style: Some(false), ..StoreOptions::default() };
        assert!(!hosted.or_environment(environment).is_path_style(), "what was said stands");
        assert_eq!(got.region.as_deref(), Some("eu-west-1"));

        let given = StoreOptions {
            region: Some("us-west-2".into()),
            ..StoreOptions::with_endpoint(Url::parse("https://s3.example.com").ok())
        };
        let got = given.or_environment(environment);
        assert_eq!(got.endpoint, Url::parse("https://s3.example.com").ok());
        assert!(got.is_path_style() && !got.allow_http);
        assert_eq!(got.region.as_deref(), Some("us-west-2"));
    }
}
