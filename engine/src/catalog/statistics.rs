//! What is known of the contents of a table's files before they are read: rows, bytes, least and greatest values.
//!
//! Comes from the footers of Parquet files, [`FOOTERS_AT_PLANNING`] of them at most, as many at a time as the setting
//! `datafusion.execution.meta_fetch_concurrency` says. Kept in the cache of the process, so that planning over the same
//! files again reads none. Estimates never pass for facts: what is not known of all files is inexact.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics, TableReference};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::cache::cache_manager::CachedFileMetadata;
use datafusion::execution::cache::{SchemaFingerprint, TableScopedPath};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore};

use crate::error::{Reading, Start, named};
use crate::store::Location;

/// Most files of a scan whose footers are read while it is planned; of the others, rows are estimated from their bytes.
/// At 32 at a time and two requests of 50 ms each, that is two seconds, once.
pub(super) const FOOTERS_AT_PLANNING: usize = 512;

/// Positions of at most `limit` of `count` files: the first, the last, and others evenly spread.
pub(super) fn spread(count: usize, limit: usize) -> Vec<usize> {
    if count <= limit || limit < 2 {
        return (0..count.min(limit)).collect();
    }
    (0..limit).map(|i| i * (count - 1) / (limit - 1)).collect()
}

/// How to look into the files of a scan.
pub(super) struct Footers<'a> {
    pub state: &'a dyn Session,
    pub store: &'a Arc<dyn ObjectStore>,
    pub format: &'a Arc<dyn FileFormat>,
    pub location: &'a Location,
    /// The columns that are in the files.
    pub schema: &'a SchemaRef,
}

impl Footers<'_> {
    /// The files with what is known of each, and what is known of all together.
    pub(super) async fn known_files(
        &self,
        mut files: Vec<PartitionedFile>,
        schema: &Schema,
    ) -> Result<(Vec<PartitionedFile>, Statistics)> {
        let options = &self.state.config_options().execution;
        if !options.collect_statistics {
            return Ok((files, Statistics::new_unknown(schema)));
        }
        let fingerprint = &Arc::new(SchemaFingerprint::from_schema(self.schema));
        let read = spread(files.len(), FOOTERS_AT_PLANNING);
        let metas: Vec<(usize, ObjectMeta)> = read.iter().map(|at| (*at, files[*at].object_meta.clone())).collect();
        let known: Vec<(usize, Arc<Statistics>)> = stream::iter(metas)
            .map(|(at, file)| async move { Ok::<_, DataFusionError>((at, self.of_file(&file, fingerprint).await?)) })
            .buffer_unordered(options.meta_fetch_concurrency.get())
            .try_collect()
            .await?;
        for file in &mut files {
            file.statistics = Some(Arc::new(with_values(Statistics::new_unknown(self.schema), file)));
        }
        for (at, known) in known {
            let file = &mut files[at];
            file.statistics = Some(Arc::new(with_values(known.as_ref().clone(), file)));
        }
        let mut total = summed(&files, schema)?;
        if read.len() < files.len() {
            extrapolate(&mut total, &files, &read);
        }
        Ok((files, total))
    }

    /// What a file's footer tells, or the cache.
    async fn of_file(&self, file: &ObjectMeta, fingerprint: &Arc<SchemaFingerprint>) -> Result<Arc<Statistics>> {
        let cache = self.state.runtime_env().cache_manager.get_file_statistic_cache();
        // The store is part of the key: buckets may hold the same paths.
        let store = TableReference::bare(self.location.store_url().as_str());
        let key = TableScopedPath { table: Some(store), path: file.location.clone() };
        if let Some(cached) = cache.as_ref().and_then(|c| c.get(&key)).filter(|c| c.is_valid_for(file, fingerprint)) {
            return Ok(cached.statistics);
        }
        let known = self.format.infer_stats(self.state, self.store, Arc::clone(self.schema), file).await;
        let known = Arc::new(known.map_err(|e| {
            let file = self.location.with_path(file.location.clone()).to_string();
            named(e, &Reading { file: &file, start: Start::Lines(0), columns: None })
        })?);
        if let Some(cache) = cache {
            let entry = CachedFileMetadata::new(file.clone(), Arc::clone(fingerprint), Arc::clone(&known), None);
            cache.put(&key, entry);
        }
        Ok(known)
    }
}

/// What is known of several files together.
pub(crate) fn summed<'a>(files: impl IntoIterator<Item = &'a PartitionedFile>, schema: &Schema) -> Result<Statistics> {
    let known: Option<Vec<&Statistics>> = files.into_iter().map(|f| f.statistics.as_deref()).collect();
    match known {
        Some(known) => Statistics::try_merge_iter(known, schema),
        None => Ok(Statistics::new_unknown(schema)),
    }
}

/// Rows and bytes of all files, estimated from those that were read: rows go with the bytes of the files.
fn extrapolate(total: &mut Statistics, files: &[PartitionedFile], read: &[usize]) {
    let bytes = |files: &mut dyn Iterator<Item = &PartitionedFile>| files.map(|f| f.object_meta.size).sum::<u64>();
    let read_bytes = bytes(&mut read.iter().map(|at| &files[*at]));
    let all_bytes = bytes(&mut files.iter());
    let sum = |what: fn(&Statistics) -> Precision<usize>| {
        let values = read.iter().map(|at| files[*at].statistics.as_deref().and_then(|s| what(s).get_value().copied()));
        values.sum::<Option<usize>>()
    };
    let scaled = |known: Option<usize>| match known {
        Some(known) if read_bytes > 0 => {
            let all = known as u128 * u128::from(all_bytes) / u128::from(read_bytes);
            Precision::Inexact(usize::try_from(all).unwrap_or(usize::MAX))
        }
        _ => Precision::Absent,
    };
    total.num_rows = scaled(sum(|s| s.num_rows));
    total.total_byte_size = scaled(sum(|s| s.total_byte_size));
}

fn with_values(known: Statistics, file: &PartitionedFile) -> Statistics {
    with_partitions(known, file.object_meta.size, &file.partition_values)
}

/// Statistics of a file's columns, and of its partition columns, which have one value each.
pub(crate) fn with_partitions(mut known: Statistics, bytes: u64, partition: &[ScalarValue]) -> Statistics {
    if matches!(known.total_byte_size, Precision::Absent) {
        known.total_byte_size = Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    for value in partition {
        let column = if value.is_null() {
            ColumnStatistics { null_count: known.num_rows, ..ColumnStatistics::new_unknown() }
        } else {
            ColumnStatistics {
                null_count: Precision::Exact(0),
                min_value: Precision::Exact(value.clone()),
                max_value: Precision::Exact(value.clone()),
                distinct_count: Precision::Exact(1),
                ..ColumnStatistics::new_unknown()
            }
        };
        known.column_statistics.push(column);
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_all_files() {
        assert_eq!(spread(3, 5), [0, 1, 2]);
        assert_eq!(spread(0, 5), [] as [usize; 0]);
        assert_eq!(spread(101, 5), [0, 25, 50, 75, 100]);
        let many = spread(10_007, FOOTERS_AT_PLANNING);
        assert_eq!((many.len(), many[0], many.last()), (FOOTERS_AT_PLANNING, 0, Some(&10_006)));
        assert!(many.windows(2).all(|w| w[0] < w[1]), "no file twice");
    }

    #[test]
    fn rows_of_files_that_were_not_read_are_estimated() {
        let file = |size: u64, rows: Option<usize>| {
            let mut file = PartitionedFile::new(format!("{size}.parquet"), size);
            let known = Statistics { num_rows: rows.map_or(Precision::Absent, Precision::Exact), ..Default::default() };
            file.statistics = Some(Arc::new(known));
            file
        };
        let files = [file(100, Some(10)), file(300, None), file(200, Some(50))];
        let mut total = Statistics::default();
        extrapolate(&mut total, &files, &[0, 2]);
        assert_eq!(total.num_rows, Precision::Inexact(120));
    }

    /// The footer is destroyed between two plans, which only a cache outlives.
    #[tokio::test]
    async fn a_second_plan_reads_no_footers() {
        use crate::catalog::files::tests::{resolve, state, write};
        use crate::catalog::{Format, table_provider};
        use datafusion::datasource::physical_plan::FileScanConfig;
        use datafusion::datasource::source::DataSourceExec;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        write(&format!("COPY (SELECT value AS id FROM generate_series(1, 70)) TO '{}'", path.display())).await;
        let def = resolve(Format::Parquet, &path.display().to_string()).await.unwrap();
        let state = state();
        let rows = async || {
            let plan = table_provider(&state, &def).unwrap().scan(&state, None, &[], None).await.unwrap();
            let scan = plan.downcast_ref::<DataSourceExec>().unwrap().data_source().downcast_ref::<FileScanConfig>();
            scan.unwrap().statistics().num_rows
        };
        assert_eq!(rows().await, Precision::Exact(70));
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let before = file.metadata().unwrap();
        std::fs::write(&path, vec![0; usize::try_from(before.len()).unwrap()]).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
        // The cache of whole footers is another one.
        state.runtime_env().cache_manager.get_file_metadata_cache().clear();
        assert_eq!(rows().await, Precision::Exact(70));
        // The file is as good as gone indeed, and it is named.
        state.runtime_env().cache_manager.get_file_statistic_cache().unwrap().clear();
        let gone = table_provider(&state, &def).unwrap().scan(&state, None, &[], None).await.unwrap_err();
        assert!(crate::error::classify(&gone).cause.contains("a.parquet"), "{gone}");
    }
}
