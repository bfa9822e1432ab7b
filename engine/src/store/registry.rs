//! One client for each bucket or host, made once.
//!
//! `dyn ObjectStore` cannot be asked for its multipart side, so that is kept beside it. DataFusion reaches the same
//! clients: this is its registry. Stores are made on first use; making one does no request.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use parking_lot::RwLock;
use selvedge_model::Failure;
use url::Url;

use super::credentials::AwsChain;
use super::open_uploads::OpenUploads;
use super::read_only::ReadOnly;
use super::s3::bucket_client;
use super::whole_reads::WholeReads;
use super::{Location, StoreOptions};
use crate::error::{EngineError, classify_store};

/// The sides of one client.
#[derive(Clone)]
struct Sides {
    store: Arc<dyn ObjectStore>,
    multipart: Option<Arc<dyn MultipartStore>>,
    open_uploads: Option<Arc<OpenUploads>>,
}

impl Sides {
    /// Without uploads.
    fn plain(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, multipart: None, open_uploads: None }
    }
}

/// All object stores of this process. Clones share their clients.
#[derive(Clone)]
pub struct ObjectStores {
    inner: Arc<Inner>,
}

struct Inner {
    options: StoreOptions,
    chain: Arc<AwsChain>,
    /// By scheme and authority: `s3://bucket`.
    clients: RwLock<HashMap<String, Sides>>,
}

impl std::fmt::Debug for ObjectStores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known: Vec<String> = self.inner.clients.read().keys().cloned().collect();
        f.debug_struct("ObjectStores").field("clients", &known).finish_non_exhaustive()
    }
}

impl ObjectStores {
    /// Stores reached with these options, completed from the `AWS_*` environment.
    pub fn new(options: StoreOptions) -> Self {
        let options = options.or_environment(|name| std::env::var(name).ok());
        let chain = Arc::new(AwsChain::new(&options));
        Self { inner: Arc::new(Inner { options, chain, clients: RwLock::default() }) }
    }

    /// The store a location is in.
    ///
    /// # Errors
    /// When the store cannot be set up: no region, an endpoint that is none.
    pub fn get(&self, location: &Location) -> Result<Arc<dyn ObjectStore>, EngineError> {
        Ok(self.sides(location.scheme(), location.authority())?.store)
    }

    /// The multipart side of the store a location is in; `None` where uploads are temporary files instead.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn multipart(&self, location: &Location) -> Result<Option<Arc<dyn MultipartStore>>, EngineError> {
        Ok(self.sides(location.scheme(), location.authority())?.multipart)
    }

    /// What ends the open uploads of the store a location is in; `None` where nothing does.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) fn open_uploads(&self, location: &Location) -> Result<Option<Arc<OpenUploads>>, EngineError> {
        Ok(self.sides(location.scheme(), location.authority())?.open_uploads)
    }

    fn sides(&self, scheme: &str, authority: &str) -> Result<Sides, EngineError> {
        let key = format!("{scheme}://{authority}");
        if let Some(known) = self.inner.clients.read().get(&key) {
            return Ok(known.clone());
        }
        let made = self.make(scheme, authority)?;
        // Somebody else may have been faster: everyone uses the first.
        Ok(self.inner.clients.write().entry(key).or_insert(made).clone())
    }

    fn make(&self, scheme: &str, authority: &str) -> Result<Sides, EngineError> {
        let options = &self.inner.options;
        match scheme {
            "file" => Ok(Sides::plain(Arc::new(LocalFileSystem::new()))),
            "s3" => {
                let (client, uploads) = bucket_client(authority, options, &self.inner.chain)?;
                let (store, open_uploads) = (Arc::new(WholeReads(Arc::clone(&client))), Some(Arc::new(uploads)));
                Ok(Sides { store, multipart: Some(client), open_uploads })
            }
            "http" | "https" => {
                let client = ClientOptions::new()
                    .with_allow_http(true)
                    .with_timeout(options.request_timeout)
                    .with_connect_timeout(options.connect_timeout);
                let store = HttpBuilder::new()
                    .with_url(format!("{scheme}://{authority}"))
                    .with_client_options(client)
                    .with_retry(RetryConfig { max_retries: options.max_retries, ..RetryConfig::default() })
                    .build()
                    .map_err(|e| classify_store(&e, &format!("opening {scheme}://{authority}")))?;
                Ok(Sides::plain(Arc::new(WholeReads(ReadOnly(store)))))
            }
            "memory" => {
                let store = Arc::new(InMemory::new());
                Ok(Sides { multipart: Some(Arc::clone(&store) as _), ..Sides::plain(store) })
            }
            _ => Err(Failure::user("INVALID_LOCATION", format!("no object store for {scheme}://")).into()),
        }
    }
}

impl ObjectStoreRegistry for ObjectStores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        let (scheme, authority) = parts_of(url);
        self.inner.clients.write().insert(format!("{scheme}://{authority}"), Sides::plain(store)).map(|old| old.store)
    }

    fn deregister_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        let (scheme, authority) = parts_of(url);
        let gone = self.inner.clients.write().remove(&format!("{scheme}://{authority}"));
        gone.map(|sides| sides.store).ok_or_else(|| {
            DataFusionError::Configuration(format!("no object store is open for {scheme}://{authority}"))
        })
    }

    fn get_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        let (scheme, authority) = parts_of(url);
        Ok(self.sides(&scheme, &authority)?.store)
    }
}

/// Scheme and authority as [`Location`] has them.
fn parts_of(url: &Url) -> (String, String) {
    let scheme = if url.scheme() == "s3a" { "s3" } else { url.scheme() };
    let host = url.host_str().unwrap_or_default();
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    (scheme.to_owned(), authority)
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use selvedge_model::failure::HasFailure;

    use super::*;

    fn stores() -> ObjectStores {
        let options = StoreOptions {
            region: Some("eu-west-1".into()),
            ..StoreOptions::with_endpoint(Url::parse("http://127.0.0.1:9").ok())
        };
        ObjectStores::new(options)
    }

    fn at(text: &str) -> Location {
        Location::parse(text).unwrap()
    }

    #[test]
    fn one_client_a_bucket_whatever_its_alias() {
        let stores = stores();
        let first = stores.get(&at("s3://bucket/a")).unwrap();
        assert!(Arc::ptr_eq(&first, &stores.clone().get(&at("s3a://bucket/b")).unwrap()));
        let by_url = stores.get_store(&Url::parse("s3a://bucket").unwrap()).unwrap();
        assert!(Arc::ptr_eq(&first, &by_url));
        assert!(!Arc::ptr_eq(&first, &stores.get(&at("s3://other/a")).unwrap()));
        assert!(stores.multipart(&at("s3://bucket/a")).unwrap().is_some());
        assert!(stores.multipart(&at("/tmp/a")).unwrap().is_none());
        let local = at("/tmp/a");
        let by_url = stores.get_store(local.store_url().as_ref()).unwrap();
        assert!(Arc::ptr_eq(&stores.get(&local).unwrap(), &by_url));
    }

    #[tokio::test]
    async fn http_refuses_writes() {
        let stores = stores();
        let location = at("http://127.0.0.1:9/x.csv");
        let store = stores.get(&location).unwrap();
        let error = store.put(location.path(), "x".into()).await.unwrap_err();
        assert_eq!(classify_store(&error, "writing").code, "NOT_SUPPORTED");
    }

    #[tokio::test]
    async fn local_files_are_read_where_the_location_says() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a b%20c.txt"), "hello").unwrap();
        let location = at(&format!("{}/a b%20c.txt", dir.path().display()));
        let store = stores().get(&location).unwrap();
        let bytes = store.get(location.path()).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes.as_ref(), b"hello");
    }

    #[test]
    fn unknown_schemes_are_refused() {
        let error = stores().get_store(&Url::parse("gs://b").unwrap()).unwrap_err();
        assert_eq!(crate::error::classify(&error).code, "INVALID_LOCATION");
        let engine: EngineError = error.into();
        assert_eq!(engine.failure().code, "INVALID_LOCATION");
    }

    /// Run with `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `SELVEDGE_TEST_BUCKET` set.
    #[tokio::test]
    #[ignore = "needs an S3 server"]
    async fn a_real_s3_server_is_written_read_and_its_errors_are_told_apart() {
        let bucket = std::env::var("SELVEDGE_TEST_BUCKET").unwrap();
        let stores = ObjectStores::new(StoreOptions { max_retries: 1, ..StoreOptions::default() });
        let location = at(&format!("s3a://{bucket}/base-test/ds=a b%3Ac/x.txt"));
        let store = stores.get(&location).unwrap();
        let multipart = stores.multipart(&location).unwrap().unwrap();
        let id = multipart.create_multipart(location.path()).await.unwrap();
        let part = multipart.put_part(location.path(), &id, 0, "hello".into()).await.unwrap();
        multipart.complete_multipart(location.path(), &id, vec![part]).await.unwrap();
        let bytes = store.get(location.path()).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes.as_ref(), b"hello");
        store.delete(location.path()).await.unwrap();
        let code = |e: object_store::Error| classify_store(&e, "test").code;
        assert_eq!(code(store.get(location.path()).await.unwrap_err()), "FILE_NOT_FOUND");
        let nowhere = at("s3://selvedge-no-such-bucket/x/");
        let listed = stores.get(&nowhere).unwrap().list_with_delimiter(Some(nowhere.path())).await;
        assert_eq!(code(listed.unwrap_err()), "BUCKET_NOT_FOUND");
    }
}
