//! Builds the clients of one S3 bucket.

use std::sync::Arc;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ClientOptions, RetryConfig};
use selvedge_model::Failure;
use url::Url;

use super::StoreOptions;
use super::credentials::AwsChain;
use super::open_uploads::OpenUploads;
use crate::error::{EngineError, classify_store};

/// The region to sign for at endpoints that do not care.
const ANY_REGION: &str = "us-east-1";

/// The client of a bucket, and what ends its open uploads.
///
/// # Errors
/// `NO_REGION` when AWS itself is meant and no region is known; `INVALID_SETTING` when the endpoint is no endpoint.
pub(super) fn bucket_client(
    bucket: &str,
    options: &StoreOptions,
    chain: &Arc<AwsChain>,
) -> Result<(Arc<AmazonS3>, OpenUploads), EngineError> {
    let opened = |e| EngineError::from(classify_store(&e, &format!("opening s3://{bucket}")));
    let region = match (&options.region, &options.endpoint) {
        (Some(region), _) => region.clone(),
        (None, Some(_)) => ANY_REGION.to_owned(),
        (None, None) => chain.region().ok_or_else(|| no_region(bucket))?,
    };
    let client = ClientOptions::new()
        .with_allow_http(options.allow_http)
        .with_timeout(options.request_timeout)
        .with_connect_timeout(options.connect_timeout);
    let retry = RetryConfig { max_retries: options.max_retries, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&region)
        .with_virtual_hosted_style_request(!options.is_path_style())
        .with_client_options(client.clone())
        .with_retry(retry)
        .with_credentials(Arc::clone(chain) as _);
    let endpoint = endpoint_of(bucket, options)?;
    let url = url_of(bucket, endpoint.as_deref(), options, &region)?;
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let bucket = Arc::new(builder.build().map_err(opened)?);
    let uploads = OpenUploads::new(Arc::clone(&bucket), &client, url, region, Arc::clone(chain)).map_err(opened)?;
    Ok((bucket, uploads))
}

/// The bucket's own URL.
fn url_of(bucket: &str, endpoint: Option<&str>, options: &StoreOptions, region: &str) -> Result<Url, EngineError> {
    let url = match (endpoint, options.is_path_style()) {
        (Some(endpoint), true) => format!("{endpoint}/{bucket}"),
        (Some(endpoint), false) => endpoint.to_owned(),
        (None, true) => format!("https://s3.{region}.amazonaws.com/{bucket}"),
        (None, false) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
    };
    Url::parse(&url).map_err(|e| Failure::user("INVALID_LOCATION", format!("s3://{bucket}: {e}")).into())
}

/// The endpoint as the client wants it: with the bucket in the host when requests are virtual-hosted.
fn endpoint_of(bucket: &str, options: &StoreOptions) -> Result<Option<String>, EngineError> {
    let Some(endpoint) = &options.endpoint else { return Ok(None) };
    let refused = |why: &str| -> EngineError {
        Failure::user("INVALID_SETTING", format!("S3 endpoint {endpoint}: {why}")).into()
    };
    match endpoint.scheme() {
        "https" => {}
        "http" if options.allow_http => {}
        "http" => return Err(refused("plain http is not allowed; set allow_http")),
        _ => return Err(refused("it must begin with http:// or https://")),
    }
    let mut endpoint = endpoint.clone();
    if !options.is_path_style() {
        let host = endpoint.host_str().ok_or_else(|| refused("it has no host"))?;
        let host = format!("{bucket}.{host}");
        endpoint.set_host(Some(&host)).map_err(|e| refused(&e.to_string()))?;
    }
    Ok(Some(endpoint.as_str().trim_end_matches('/').to_owned()))
}

fn no_region(bucket: &str) -> EngineError {
    Failure::user("NO_REGION", format!("no AWS region is known for s3://{bucket}"))
        .with_hint("Set AWS_REGION, the profile's region, or an endpoint for a store that is not AWS")
        .into()
}

#[cfg(test)]
mod tests {
    use selvedge_model::failure::HasFailure;

    use super::*;

    fn options(endpoint: &str) -> StoreOptions {
        StoreOptions::with_endpoint(Url::parse(endpoint).ok())
    }

    #[test]
    fn endpoints_are_path_style_unless_told_otherwise() {
        let path = options("http://127.0.0.1:8333/");
        assert_eq!(endpoint_of("b", &path).unwrap().as_deref(), Some("http://127.0.0.1:8333"));
        let hosted = StoreOptions { path_style: Some(false), ..options("https://s3.example.com") };
        assert_eq!(endpoint_of("b", &hosted).unwrap().as_deref(), Some("https://b.s3.example.com"));
        assert_eq!(endpoint_of("b", &StoreOptions::default()).unwrap(), None);
        let url = |options: &StoreOptions| {
            let endpoint = endpoint_of("b", options).unwrap();
            url_of("b", endpoint.as_deref(), options, "eu-west-1").unwrap().to_string()
        };
        assert_eq!(url(&path), "http://127.0.0.1:8333/b");
        assert_eq!(url(&hosted), "https://b.s3.example.com/");
        assert_eq!(url(&StoreOptions::default()), "https://b.s3.eu-west-1.amazonaws.com/");
    }

    #[test]
    fn wrong_endpoints_are_refused() {
        let http = StoreOptions { allow_http: false, ..options("http://127.0.0.1:8333/") };
        let error = endpoint_of("b", &http).unwrap_err().failure();
        assert_eq!(error.code, "INVALID_SETTING");
        assert!(endpoint_of("b", &options("ftp://x")).is_err());
    }
}
