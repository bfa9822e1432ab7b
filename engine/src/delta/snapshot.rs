//! One version of a table: its columns, its files, its history. It never changes, whatever is committed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::ScalarValue;
use deltalake_core::DeltaResult;
use deltalake_core::kernel::{LogicalFileView, Snapshot as LogSnapshot};
use futures::{Stream, TryStreamExt};
use selvedge_model::Failure;
use selvedge_model::delta::PartitionKey;
use tokio::sync::OnceCell;

use super::error::invalid_log;
use super::history::{HistoryEntry, times};
use super::log::{DeltaLog, LogVersions, number, version};
use super::metadata::TableInfo;
use super::values::parse_partition;
use super::version::{VersionSpec, shown};
use crate::store::{Location, ObjectStores};

/// A data file of a version.
#[derive(Debug, Clone, PartialEq)]
pub struct DeltaFile {
    /// Its path, relative to the table, as the object store has it.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// The values of the partition columns.
    pub partition: Vec<ScalarValue>,
    /// The same in the spelling by which partitions are compared.
    pub key: PartitionKey,
    /// Its rows, when the log says.
    pub rows: Option<u64>,
    /// What the log says of its contents, as JSON.
    pub stats: Option<String>,
}

/// A version of a table.
#[derive(Debug)]
pub struct DeltaSnapshot {
    log: DeltaLog,
    inner: LogSnapshot,
    info: TableInfo,
    files: OnceCell<Arc<[DeltaFile]>>,
}

impl DeltaSnapshot {
    /// Opens a version of the table at a location.
    ///
    /// # Errors
    /// `NOT_A_DELTA_TABLE`, `VERSION_NOT_FOUND`; `UNSUPPORTED_TABLE` when it uses what we cannot read; what the store says.
    pub async fn open(stores: &ObjectStores, location: &Location, spec: VersionSpec) -> Result<Self, Failure> {
        let log = DeltaLog::open(stores, location)?;
        let wanted = match spec {
            VersionSpec::Latest => None,
            VersionSpec::Version(version) => Some(version),
            VersionSpec::Timestamp(ms) => Some(version_at(&log.versions().await?, ms, &log)?),
        };
        let inner = match Box::pin(LogSnapshot::try_new(log.logs().as_ref(), wanted.map(number).transpose()?)).await {
            Ok(inner) => inner,
            Err(e) => {
                let failure = log.explained(&e).await;
                return Err(match wanted {
                    Some(version) => missing_version(&log, version).await.unwrap_or(failure),
                    None => failure,
                });
            }
        };
        let info = TableInfo::read(log.location(), inner.metadata(), inner.protocol())?;
        info.protocol.check_read(&info.in_use(log.location()))?;
        Ok(Self { log, inner, info, files: OnceCell::new() })
    }

    pub(super) fn log(&self) -> &DeltaLog {
        &self.log
    }

    /// The version.
    pub fn version(&self) -> i64 {
        version(self.inner.version())
    }

    /// Where the table is.
    pub fn location(&self) -> &Location {
        self.log.location()
    }

    /// The table's own id.
    pub fn table_id(&self) -> &str {
        &self.info.table_id
    }

    /// All columns, those of the partitions last. Comments and defaults are in their metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.info.schema
    }

    /// The partition columns.
    pub fn partition_by(&self) -> &[String] {
        &self.info.partition_by
    }

    /// The partition columns with their types.
    pub fn partition_fields(&self) -> Vec<FieldRef> {
        self.info.partition_fields()
    }

    /// The table's properties.
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.info.properties
    }

    /// The data files, read when they are first asked for.
    ///
    /// # Errors
    /// `UNSUPPORTED_TABLE` when one has a deletion vector or lies elsewhere, `BAD_PARTITION`, what the store says.
    pub async fn files(&self) -> Result<Arc<[DeltaFile]>, Failure> {
        let read = || async {
            let views = self.inner.file_views(self.log.logs().as_ref(), None);
            data_files(views, &self.info, &self.log).await.map(Arc::from)
        };
        self.files.get_or_try_init(read).await.cloned()
    }

    /// Whether a write may be made to the table; `removes` when it removes rows that are there.
    ///
    /// # Errors
    /// `UNSUPPORTED_TABLE` or `APPEND_ONLY`.
    pub fn check_write(&self, removes: bool) -> Result<(), Failure> {
        self.info.protocol.check_write(&self.info.in_use(self.location()), removes)
    }

    /// The number that an application's last transaction carried, up to this version.
    ///
    /// # Errors
    /// What the store says.
    pub async fn transaction(&self, app_id: &str) -> Result<Option<i64>, Failure> {
        let failed = |e| self.log.failed("reading the transactions of", &e);
        let mut table = deltalake_core::DeltaTable::new(Arc::clone(self.log.logs()));
        Box::pin(table.load_version(self.inner.version())).await.map_err(failed)?;
        let state = table.snapshot().map_err(failed)?;
        state.transaction_version(self.log.logs().as_ref(), app_id).await.map_err(failed)
    }

    /// What was committed up to this version, the newest first; `limit` versions at most. Commits that the log no longer
    /// holds are left out.
    ///
    /// # Errors
    /// What the store says.
    pub async fn history(&self, limit: Option<usize>) -> Result<Vec<HistoryEntry>, Failure> {
        let times = times(&self.log.versions().await?);
        let wanted =
            times.range(..=self.version()).rev().take(limit.unwrap_or(usize::MAX)).map(|(version, _)| *version);
        let commits = self.log.commits(wanted).await?;
        let time = |version: i64| times.get(&version).copied().unwrap_or_default();
        Ok(commits.into_iter().map(|(version, lines)| HistoryEntry::of(version, time(version), lines)).collect())
    }
}

/// The files that the log tells of.
pub(super) async fn data_files(
    views: impl Stream<Item = DeltaResult<LogicalFileView>>,
    info: &TableInfo,
    log: &DeltaLog,
) -> Result<Vec<DeltaFile>, Failure> {
    let fields = info.partition_fields();
    let views = views.map_err(|e| log.failed("reading the files of", &e));
    views.and_then(async |view| data_file(&view, &fields, log.location())).try_collect().await
}

/// A file as the log tells.
fn data_file(view: &LogicalFileView, fields: &[FieldRef], location: &Location) -> Result<DeltaFile, Failure> {
    let path = view.path().into_owned();
    if view.deletion_vector_descriptor().is_some() {
        let cause = format!("the Delta table at {location} uses deletion vectors ({path}) and cannot be read here");
        let hint = "Purge them with the engine that wrote them: REORG TABLE ... APPLY (PURGE)";
        return Err(Failure::user("UNSUPPORTED_TABLE", cause).with_hint(hint));
    }
    if path.contains("://") || path.starts_with('/') {
        let cause = format!("the Delta table at {location} has files elsewhere ({path}) and cannot be read here");
        return Err(Failure::user("UNSUPPORTED_TABLE", cause).with_hint("It is a shallow clone: copy it"));
    }
    let (partition, key) = parse_partition(&view.partition_values_map(), fields, &path)?;
    let negative = || invalid_log(format!("{location}: {path} has a size below zero"));
    Ok(DeltaFile {
        bytes: u64::try_from(view.size()).map_err(|_| negative())?,
        modified_ms: view.modification_time(),
        rows: view.num_records().map(|rows| rows as u64),
        stats: view.stats(),
        path,
        partition,
        key,
    })
}

/// The newest version at a time.
fn version_at(versions: &LogVersions, ms: i64, log: &DeltaLog) -> Result<i64, Failure> {
    let location = log.location();
    if versions.newest().is_none() {
        return Err(super::error::not_a_table(location));
    }
    let oldest = versions.oldest().unwrap_or_default();
    let times = times(versions);
    let found = times.range(oldest..).filter(|(_, at)| **at <= ms).map(|(version, _)| *version).next_back();
    found.ok_or_else(|| {
        let first = times.range(oldest..).next().map_or_else(|| "?".to_owned(), |(_, at)| shown(*at));
        let cause = format!("the table at {location} has no version of {} or before", shown(ms));
        Failure::user("VERSION_NOT_FOUND", cause).with_hint(format!("Its oldest version is of {first}"))
    })
}

/// The failure of a version that is not there; `None` when it is, so that something else is wrong.
async fn missing_version(log: &DeltaLog, version: i64) -> Option<Failure> {
    let versions = log.versions().await.ok()?;
    let (oldest, newest) = (versions.oldest()?, versions.newest()?);
    if (oldest..=newest).contains(&version) {
        return None;
    }
    let cause = format!("the table at {} has no version {version}", log.location());
    let hint = match version < oldest {
        true => format!("It has versions {oldest} to {newest}; older ones are no longer kept"),
        false => format!("It has versions {oldest} to {newest}"),
    };
    Some(Failure::user("VERSION_NOT_FOUND", cause).with_hint(hint))
}
