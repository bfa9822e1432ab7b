//! AWS credentials and region, found on this node.
//!
//! The chain is the SDK's: environment, profile, web identity, container, instance role. What it answers is kept until
//! shortly before it expires. Credentials never leave this module except to sign a request; they are not logged.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use selvedge_model::Failure;
use tokio::sync::{Mutex, OnceCell};

use super::StoreOptions;

/// Credentials are looked up again this long before they expire.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// The credentials in use, and until when.
#[derive(Clone)]
struct Held {
    credential: Arc<AwsCredential>,
    expires: Option<SystemTime>,
}

/// The AWS chain of this node, shared by all buckets.
pub(super) struct AwsChain {
    profile: Option<String>,
    region: Option<String>,
    config: OnceCell<SdkConfig>,
    held: Mutex<Option<Held>>,
    found_region: OnceLock<Option<String>>,
}

impl std::fmt::Debug for AwsChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsChain").field("profile", &self.profile).field("region", &self.region).finish_non_exhaustive()
    }
}

impl AwsChain {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self {
            profile: options.profile.clone(),
            region: options.region.clone(),
            config: OnceCell::new(),
            held: Mutex::new(None),
            found_region: OnceLock::new(),
        }
    }

    /// The region given, or else the one of the profile or of the instance. The first call may ask the instance metadata
    /// service, on a thread of its own, for at most a few seconds.
    pub(super) fn region(self: &Arc<Self>) -> Option<String> {
        if self.region.is_some() {
            return self.region.clone();
        }
        self.found_region
            .get_or_init(|| {
                let (profile, region) = (self.profile.clone(), self.region.clone());
                let asked = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
                    let config = runtime.block_on(load(profile, region));
                    config.region().map(ToString::to_string)
                });
                asked.join().ok().flatten()
            })
            .clone()
    }

    async fn look_up(&self) -> Result<Held, Failure> {
        let config = self.config.get_or_init(|| load(self.profile.clone(), self.region.clone())).await;
        let Some(provider) = config.credentials_provider() else {
            return Err(no_credentials("the AWS chain is empty"));
        };
        let found = provider.provide_credentials().await.map_err(|e| no_credentials(&reason(&e)))?;
        let credential = AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        };
        Ok(Held { credential: Arc::new(credential), expires: found.expiry() })
    }
}

#[async_trait]
impl CredentialProvider for AwsChain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        if let Some(current) = held.as_ref()
            && is_fresh(current.expires, SystemTime::now())
        {
            return Ok(Arc::clone(&current.credential));
        }
        let found = self
            .look_up()
            .await
            .map_err(|failure| object_store::Error::Generic { store: "S3", source: Box::new(failure) })?;
        let credential = Arc::clone(&found.credential);
        *held = Some(found);
        Ok(credential)
    }
}

fn is_fresh(expires: Option<SystemTime>, now: SystemTime) -> bool {
    expires.is_none_or(|at| at > now + RENEW_BEFORE)
}

async fn load(profile: Option<String>, region: Option<String>) -> SdkConfig {
    let client = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(client);
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    loader.load().await
}

fn no_credentials(reason: &str) -> Failure {
    Failure::user("NO_CREDENTIALS", format!("no AWS credentials were found on this node ({reason})")).with_hint(
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine an instance role; \
         every scheduler and executor needs them",
    )
}

/// The innermost cause: the outer ones only say that the chain failed.
fn reason(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string().split('\n').map(str::trim).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_renewed_before_they_expire() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert!(is_fresh(None, now));
        assert!(is_fresh(Some(now + Duration::from_secs(301)), now));
        assert!(!is_fresh(Some(now + Duration::from_secs(299)), now));
    }

    #[test]
    fn debug_shows_no_secret_and_a_given_region_needs_no_lookup() {
        let options = StoreOptions { region: Some("eu-west-1".into()), ..StoreOptions::default() };
        let chain = Arc::new(AwsChain::new(&options));
        assert_eq!(chain.region().as_deref(), Some("eu-west-1"));
        assert!(!format!("{chain:?}").contains("secret"));
    }
}
