//! Makes sure that a read brings the bytes it was asked for.
//!
//! A proxy or a server that ends a body early, and says so nowhere, would otherwise be believed: Parquet readers panic over a
//! range that came short, and a text file just ends. What came short counts as not answered: ranges are asked for again
//! here, and for whole objects the task is tried again.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result, coalesce_ranges,
};

/// Times a range is asked for.
const TRIES: u32 = 4;
/// The pause before it is asked for again; it doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// A store whose reads are whole or fail.
#[derive(Debug)]
pub(super) struct WholeReads<T>(pub(super) T);

impl<T: fmt::Display> fmt::Display for WholeReads<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn short(location: &Path, came: u64, wanted: u64) -> Error {
    let source = format!("{location}: the transfer ended after {came} of {wanted} bytes").into();
    Error::Generic { store: "object store", source }
}

/// Ends with an error unless `wanted` bytes came. Some readers ask on after the end.
fn whole(body: BoxStream<'static, Result<Bytes>>, location: Path, wanted: u64) -> BoxStream<'static, Result<Bytes>> {
    stream::unfold(Some((body, 0)), move |state| {
        let location = location.clone();
        async move {
            let (mut body, came) = state?;
            match body.next().await {
                Some(Ok(piece)) => {
                    let came = came + piece.len() as u64;
                    Some((Ok(piece), Some((body, came))))
                }
                Some(Err(error)) => Some((Err(error), None)),
                None if came == wanted => None,
                None => Some((Err(short(&location, came, wanted)), None)),
            }
        }
    })
    .fuse()
    .boxed()
}

impl<T: ObjectStore> WholeReads<T> {
    async fn read(&self, location: &Path, range: Range<u64>) -> Result<Bytes> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.get_range(location, range.clone()).await {
                // What is no answer may come the next time; what is one will not change.
                Err(Error::Generic { store, source }) if tries < TRIES => {
                    tracing::debug!(%location, store, %source, tries, "asking again for a range");
                    tokio::time::sleep(PAUSE * (1 << tries)).await;
                }
                answered => return answered,
            }
        }
    }
}

#[async_trait]
impl<T: ObjectStore> ObjectStore for WholeReads<T> {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_head = options.head;
        let mut result = self.0.get_opts(location, options).await?;
        if let GetResultPayload::Stream(body) = result.payload {
            let wanted = result.range.end - result.range.start;
            let body = if is_head { body } else { whole(body, location.clone(), wanted) };
            result.payload = GetResultPayload::Stream(body);
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        coalesce_ranges(ranges, |range| self.read(location, range), OBJECT_STORE_COALESCE_DEFAULT).await
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(pieces: &[&'static str], wanted: u64) -> Result<usize> {
        let body =
            stream::iter(pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect::<Vec<_>>());
        let mut body = whole(body.boxed(), Path::from("k"), wanted);
        let mut came = 0;
        while let Some(piece) = body.next().await {
            came += piece?.len();
        }
        assert!(body.next().await.is_none(), "asked once more");
        Ok(came)
    }

    #[tokio::test]
    async fn a_body_that_ends_early_is_no_answer() {
        assert_eq!(read(&["ab", "cd"], 4).await.unwrap(), 4);
        assert_eq!(read(&[], 0).await.unwrap(), 0);
        for (pieces, wanted) in [(&["ab", "c"][..], 4), (&[][..], 1), (&["abc"][..], 2)] {
            let error = read(pieces, wanted).await.unwrap_err().to_string();
            assert!(error.contains("the transfer ended after"), "{error}");
        }
    }
}
