//! The open multipart uploads of a bucket.
//!
//! Whoever opens an upload notes it (`write/remote.rs`), but a reply that is lost, or a process killed before the note is
//! down, leaves one whose id nobody knows. Only the store can name it then: `ListMultipartUploads`, which the store's client
//! does not have. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ClientOptions, CredentialProvider};
use serde::Deserialize;
use url::Url;

use super::credentials::AwsChain;
use super::missing_is_done;

/// Pages of one listing, each of up to 1000 uploads: a store that turns its pages in a circle is left.
const PAGES: usize = 1000;
const ABORTS_AT_ONCE: usize = 16;

/// An upload that was neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenUpload {
    pub(crate) path: Path,
    pub(crate) upload_id: String,
}

/// Lists the open uploads of one bucket, and aborts them.
#[derive(Debug)]
pub(crate) struct OpenUploads {
    client: Arc<AmazonS3>,
    http: HttpClient,
    /// Of the bucket itself.
    url: Url,
    region: String,
    chain: Arc<AwsChain>,
    has_warned: AtomicBool,
}

impl OpenUploads {
    pub(super) fn new(
        client: Arc<AmazonS3>,
        options: &ClientOptions,
        url: Url,
        region: String,
        chain: Arc<AwsChain>,
    ) -> object_store::Result<Self> {
        let http = ReqwestConnector::default().connect(options)?;
        Ok(Self { client, http, url, region, chain, has_warned: AtomicBool::new(false) })
    }

    /// Aborts those of the open uploads to paths below a folder that are `left`, and says how many. None where the store does
    /// not list them, or not for us.
    ///
    /// # Errors
    /// What the store said: to the listing after one try.
    pub(crate) async fn abort_below(
        &self,
        folder: &Path,
        left: impl Fn(&OpenUpload) -> bool,
    ) -> object_store::Result<u64> {
        let mut found = self.below(folder).await?;
        found.retain(left);
        let count = found.len() as u64;
        let aborting = found.into_iter().map(|upload| async move {
            missing_is_done(self.client.abort_multipart(&upload.path, &upload.upload_id).await)
        });
        stream::iter(aborting).buffer_unordered(ABORTS_AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok(count)
    }

    async fn below(&self, folder: &Path) -> object_store::Result<Vec<OpenUpload>> {
        let (mut found, mut after) = (Vec::new(), None);
        for _ in 0..PAGES {
            let Some(page) = self.page(folder, after.as_ref()).await? else { break };
            let next = page.next();
            // Some stores name keys with a slash before them.
            found.extend(page.uploads.into_iter().filter_map(|upload| {
                let path = Path::parse(upload.key.trim_start_matches('/')).ok()?;
                path.prefix_matches(folder).then_some(OpenUpload { path, upload_id: upload.upload_id })
            }));
            match next {
                Some(next) if after.as_ref() != Some(&next) => after = Some(next),
                _ => break,
            }
        }
        Ok(found)
    }

    async fn page(&self, folder: &Path, after: Option<&Marker>) -> object_store::Result<Option<Page>> {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = page_url(&self.url, folder, after).as_str().parse().map_err(failed)?;
        let credential = self.chain.get_credential().await?;
        AwsAuthorizer::new(&credential, "s3", &self.region).authorize(&mut request, None);
        let response = self.http.execute(request).await.map_err(failed)?;
        let status = response.status();
        let body = response.into_body().bytes().await.map_err(failed)?;
        match status.as_u16() {
            200 => Ok(Some(quick_xml::de::from_reader(body.as_ref()).map_err(failed)?)),
            403 | 404 | 405 | 501 => {
                self.warn(status.as_u16());
                Ok(None)
            }
            _ => Err(failed(format!("the open uploads cannot be listed: {status}"))),
        }
    }

    fn warn(&self, status: u16) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                bucket = %self.url, status,
                "the store does not list open uploads (s3:ListBucketMultipartUploads): keep a lifecycle rule that aborts old ones"
            );
        }
    }
}

fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: cause.into() }
}

fn page_url(bucket: &Url, folder: &Path, after: Option<&Marker>) -> Url {
    let mut url = bucket.clone();
    // A space is %20 in what is signed, never a plus.
    let encoded =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let mut query = format!("uploads=&prefix={}", encoded(&format!("{folder}/")));
    if let Some(Marker { key, upload_id }) = after {
        query.push_str(&format!("&key-marker={}&upload-id-marker={}", encoded(key), encoded(upload_id)));
    }
    url.set_query(Some(&query));
    url
}

/// Where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marker {
    key: String,
    upload_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Page {
    #[serde(rename = "Upload")]
    uploads: Vec<Upload>,
    is_truncated: bool,
    next_key_marker: String,
    next_upload_id_marker: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
}

impl Page {
    fn next(&self) -> Option<Marker> {
        let marker = Marker { key: self.next_key_marker.clone(), upload_id: self.next_upload_id_marker.clone() };
        self.is_truncated.then_some(marker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_its_uploads_and_where_the_next_begins() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <Bucket>b</Bucket><KeyMarker></KeyMarker><UploadIdMarker></UploadIdMarker>
              <NextKeyMarker>t/b</NextKeyMarker><NextUploadIdMarker>2</NextUploadIdMarker>
              <MaxUploads>2</MaxUploads><IsTruncated>true</IsTruncated>
              <Upload><Key>t/a&amp;b</Key><UploadId>1</UploadId><Initiator><ID>x</ID></Initiator></Upload>
              <Upload><Key>t/b</Key><UploadId>2</UploadId></Upload>
            </ListMultipartUploadsResult>"#;
        let page: Page = quick_xml::de::from_str(text).unwrap();
        let keys: Vec<_> = page.uploads.iter().map(|u| (u.key.as_str(), u.upload_id.as_str())).collect();
        assert_eq!(keys, [("t/a&b", "1"), ("t/b", "2")]);
        assert_eq!(page.next(), Some(Marker { key: "t/b".into(), upload_id: "2".into() }));
        let none: Page = quick_xml::de::from_str("<ListMultipartUploadsResult/>").unwrap();
        assert!(none.uploads.is_empty() && none.next().is_none());
    }

    #[test]
    fn a_page_is_asked_for_below_the_folder_after_the_last() {
        let bucket = Url::parse("http://s3.example.com/b").unwrap();
        let folder = Path::from("wh/a b");
        let marker = Marker { key: "wh/a b/1".into(), upload_id: "i&d".into() };
        let first = page_url(&bucket, &folder, None);
        assert_eq!(first.as_str(), "http://s3.example.com/b?uploads=&prefix=wh%2Fa%20b%2F");
        let second = page_url(&bucket, &folder, Some(&marker));
        assert!(second.as_str().ends_with("&key-marker=wh%2Fa%20b%2F1&upload-id-marker=i%26d"), "{second}");
    }
}
