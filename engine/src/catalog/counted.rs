//! A store that counts the bytes a scan reads from it.
//!
//! DataFusion's Parquet source counts them by itself, its others do not; what they read would show nowhere. Counted is what
//! was fetched: as stored, so compressed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::datasource::physical_plan::FileSource;
use datafusion::physical_plan::metrics::{Count, MetricBuilder};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// Name of the metric, as Parquet's source has it: by it the scheduler knows scans.
const BYTES_SCANNED: &str = "bytes_scanned";

/// The store as a source is to read from it: counting into the source's metrics, unless the source does so itself.
pub(super) fn counted(store: Arc<dyn ObjectStore>, source: &dyn FileSource, partition: usize) -> Arc<dyn ObjectStore> {
    if source.file_type() == "parquet" {
        return store;
    }
    let bytes = MetricBuilder::new(source.metrics()).counter(BYTES_SCANNED, partition);
    Arc::new(Counted { inner: store, bytes })
}

#[derive(Debug)]
struct Counted {
    inner: Arc<dyn ObjectStore>,
    bytes: Count,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut got = self.inner.get_opts(location, options).await?;
        match got.payload {
            GetResultPayload::Stream(chunks) => {
                let bytes = self.bytes.clone();
                let counting = chunks.inspect(move |chunk| {
                    if let Ok(chunk) = chunk {
                        bytes.add(chunk.len());
                    }
                });
                got.payload = GetResultPayload::Stream(counting.boxed());
            }
            // A local file is read behind our back, as a rule to the end of what was asked for.
            file => {
                self.bytes.add(size(got.range.end.saturating_sub(got.range.start)));
                got.payload = file;
            }
        }
        Ok(got)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let got = self.inner.get_ranges(location, ranges).await?;
        self.bytes.add(got.iter().map(Bytes::len).sum());
        Ok(got)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
