//! Commits a write: look at the table as it is, decide, put the next version if nobody else has, and when the answer is lost
//! look again.
//!
//! The loop is ours, not the library's: that one commits stale overwrites over others' rows and the same transaction twice.
//! A put that the store does not answer may still have happened, so no error ends the loop before the transaction was
//! looked for again. Whoever gets an error back may repeat the whole commit with the same `app_id`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use deltalake_core::DeltaTable as LogTable;
use deltalake_core::kernel::{Action, Transaction};
use selvedge_model::Failure;
use selvedge_model::delta::{
    Clash, CommitDecision, CommitFacts, CommitSince, DeltaWrite, FileChange, PartitionSet, TableFile, decide,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::action::{AddFile, LogLine, MetadataChange, Operation, removal};
use super::checkpoint::write_if_due;
use super::history::RUN_KEY;
use super::log::{DeltaLog, Put, version};
use super::metadata::TableInfo;
use super::snapshot::{DeltaFile, data_files};
use crate::store::{Location, ObjectStores};

pub use super::clash::CommitError;

/// Most tries. Each that fails means that another writer's version was made, or that the store gave no answer.
const MAX_TRIES: u32 = 100;
/// Most puts without an answer.
const MAX_UNANSWERED: u32 = 5;
/// Most versions since the base that are looked through.
const MAX_SINCE: i64 = 10_000;
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// A write that is ready: its files are in place and nobody sees them yet.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// Names the statement, the same at every repeat: `selvedge/RUN/STATEMENT`.
    pub app_id: String,
    /// The table that it was planned on, by its own id.
    pub table_id: String,
    /// The version that it was planned on.
    pub base_version: i64,
    /// What it does to what is there.
    pub write: DeltaWrite,
    /// The partitions of this table that the statement read.
    pub reads: PartitionSet,
    /// Those in which it looked for the rows that it rewrites.
    pub searched: PartitionSet,
    /// The files that it adds.
    pub adds: Vec<AddFile>,
    /// Whether rows change; not so when they are only moved between files.
    pub changes_rows: bool,
    /// A change of columns or properties that goes with it.
    pub metadata: Option<MetadataChange>,
    /// What is done, for the history.
    pub operation: Operation,
    /// The run that does it.
    pub run: Option<String>,
    /// What the user says about it.
    pub user_metadata: Option<String>,
}

/// What a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitOutcome {
    /// The version that holds the write.
    pub version: i64,
    /// Whether it was there already.
    pub is_repeated: bool,
    /// Files that it removed; 0 when it was there already.
    pub removed: usize,
}

/// Commits a write to the table at a location.
///
/// # Errors
/// [`CommitError::Rerun`] and [`CommitError::Conflict`] as `selvedge_model::delta` decides, and what the store says: then
/// the write may have been committed or not, and the same request finds out.
pub async fn commit(
    stores: &ObjectStores,
    location: &Location,
    request: &CommitRequest,
) -> Result<CommitOutcome, CommitError> {
    let log = DeltaLog::open(stores, location)?;
    let table = Box::pin(log.load()).await?;
    let mut writer = Writer { log, table, request, since: Vec::new(), unanswered: 0, last: None };
    for attempt in 0..MAX_TRIES {
        if attempt > 0 {
            pause(attempt).await;
            writer.refresh().await?;
        }
        if let Some(outcome) = Box::pin(writer.attempt()).await? {
            return Ok(outcome);
        }
    }
    let cause = format!("{MAX_TRIES} tries to commit to {location} met other writers");
    Err(Failure::external("WRITE_CONTENTION", cause).with_hint("Too many runs write to this table at once").into())
}

/// A commit on its way.
struct Writer<'a> {
    log: DeltaLog,
    table: LogTable,
    request: &'a CommitRequest,
    /// What was committed after the base, as far as looked.
    since: Vec<CommitSince>,
    unanswered: u32,
    /// Why the last put is not known to have happened.
    last: Option<Failure>,
}

impl Writer<'_> {
    async fn refresh(&mut self) -> Result<(), Failure> {
        let updated = Box::pin(self.table.update_state()).await;
        updated.map_err(|e| self.log.failed("reading the log of", &e))
    }

    /// One look, one decision, one put; `None` to try again.
    async fn attempt(&mut self) -> Result<Option<CommitOutcome>, CommitError> {
        let failed = |e| self.log.failed("opening", &e);
        let state = self.table.snapshot().map_err(failed)?.snapshot();
        let info = TableInfo::read(self.log.location(), state.metadata(), state.protocol())?;
        let current = version(state.version());
        let files = match self.request.write {
            DeltaWrite::Append => vec![],
            _ => self.files(&info).await?,
        };
        self.look_back(current, &info).await?;
        let remove = match self.decide(current, &info, &files).await? {
            CommitDecision::Commit { remove } => remove,
            CommitDecision::AlreadyCommitted(version) => {
                return Ok(Some(CommitOutcome { version, is_repeated: true, removed: 0 }));
            }
            CommitDecision::Rerun(clash) => return Err(self.clash(clash, CommitError::Rerun)),
            CommitDecision::Conflict(clash) => return Err(self.clash(clash, CommitError::Conflict)),
        };
        // A put that was answered with a refusal will not be carried out later, as one without an answer may.
        if let Some(failure) = self.last.take_if(|f| !f.is_retryable()) {
            return Err(CommitError::Refused(failure));
        }
        if let Some(failure) = self.last.take_if(|_| self.unanswered >= MAX_UNANSWERED) {
            return Err(failure.into());
        }
        let removes_rows = !remove.is_empty() && self.request.changes_rows;
        info.protocol.check_write(&info.in_use(self.log.location()), removes_rows).map_err(CommitError::Refused)?;
        let bytes = self.actions(&info, &files, &remove).map_err(CommitError::Refused)?;
        match self.log.put(current + 1, bytes).await? {
            Put::Made => {
                write_if_due(&self.log, &mut self.table, current + 1, &info).await;
                Ok(Some(CommitOutcome { version: current + 1, is_repeated: false, removed: remove.len() }))
            }
            Put::Taken => Ok(None),
            Put::Unknown(failure) => {
                self.unanswered += 1;
                self.last = Some(failure);
                Ok(None)
            }
        }
    }

    fn clash(&self, clash: Clash, kind: impl Fn(Location, Clash) -> CommitError) -> CommitError {
        kind(self.log.location().clone(), clash)
    }

    async fn decide(&self, current: i64, info: &TableInfo, files: &[DeltaFile]) -> Result<CommitDecision, Failure> {
        let live: Vec<TableFile> =
            files.iter().map(|f| TableFile { path: f.path.clone(), partition: f.key.clone() }).collect();
        Ok(decide(&CommitFacts {
            write: &self.request.write,
            reads: &self.request.reads,
            searched: &self.request.searched,
            adds: &self.request.adds.iter().map(|f| f.path.clone()).collect::<BTreeSet<_>>(),
            base: self.request.base_version,
            current,
            is_same_table: info.table_id == self.request.table_id,
            committed: self.committed(current).await?,
            live: &live,
            since: &self.since,
        }))
    }

    /// The version that carries our transaction.
    async fn committed(&self, current: i64) -> Result<Option<i64>, Failure> {
        let failed = |e| self.log.failed("reading the transactions of", &e);
        let state = self.table.snapshot().map_err(failed)?;
        let known = state.transaction_version(self.log.logs().as_ref(), &self.request.app_id).await.map_err(failed)?;
        if known.is_none() {
            return Ok(None);
        }
        // Which it was is only told, so a log that is cut short is no reason to fail.
        for version in (0..=current).rev() {
            match self.log.commit_lines(version).await? {
                Some(lines) if is_ours(&lines, &self.request.app_id) => return Ok(Some(version)),
                Some(_) => {}
                None => break,
            }
        }
        Ok(Some(current))
    }

    /// The files of the newest version.
    async fn files(&self, info: &TableInfo) -> Result<Vec<DeltaFile>, Failure> {
        let failed = |e| self.log.failed("reading the files of", &e);
        let views = self.table.snapshot().map_err(failed)?.snapshot().file_views(self.log.logs().as_ref(), None);
        data_files(views, info, &self.log).await
    }

    /// Reads what was committed since the base and is not known yet. A gap stays a gap: the decision sees it.
    async fn look_back(&mut self, current: i64, info: &TableInfo) -> Result<(), Failure> {
        let from = self.since.last().map_or(self.request.base_version, |commit| commit.version) + 1;
        if current - from >= MAX_SINCE {
            return Ok(());
        }
        let fields = info.partition_fields();
        for (version, lines) in self.log.commits(from..=current).await? {
            self.since.push(CommitSince {
                version,
                run: run_of(&lines),
                is_ours: is_ours(&lines, &self.request.app_id),
                changes_table: lines.iter().any(|l| l.meta_data.is_some() || l.protocol.is_some()),
                files: lines.iter().filter_map(|line| file_change(line, &fields)).collect(),
            });
        }
        Ok(())
    }

    /// The commit's lines.
    fn actions(&self, info: &TableInfo, files: &[DeltaFile], remove: &[String]) -> Result<Bytes, Failure> {
        let request = self.request;
        let now_ms = Utc::now().timestamp_millis();
        let is_blind = matches!(request.write, DeltaWrite::Append) && request.reads.is_empty();
        let author = Author {
            operation: &request.operation,
            run: request.run.as_deref(),
            user_metadata: request.user_metadata.as_deref(),
        };
        let mut actions = vec![info_action(&author, Some(request.base_version), is_blind, now_ms)];
        let mut partition_by = &info.partition_by;
        if let Some(change) = &request.metadata {
            actions.extend(info.changed(change)?);
            partition_by = change.partition_by.as_ref().unwrap_or(partition_by);
        }
        let by_path: BTreeMap<&str, &DeltaFile> = files.iter().map(|f| (f.path.as_str(), f)).collect();
        for path in remove {
            let gone = || Failure::internal("INTERNAL", format!("{path} was to be removed and is not there"));
            let file = by_path.get(path.as_str()).ok_or_else(gone)?;
            actions.push(encoded(&Action::Remove(removal(file, &info.partition_by, now_ms, request.changes_rows)))?);
        }
        actions.extend(add_actions(&request.adds, partition_by, now_ms, request.changes_rows)?);
        actions.push(txn_action(&request.app_id, now_ms));
        Ok(commit_bytes(&actions))
    }
}

fn is_ours(lines: &[LogLine], app_id: &str) -> bool {
    lines.iter().any(|line| line.txn.as_ref().is_some_and(|txn| txn.app_id == app_id))
}

fn run_of(lines: &[LogLine]) -> Option<String> {
    let info = lines.iter().find_map(|line| line.commit_info.as_ref())?;
    info.get(RUN_KEY)?.as_str().map(str::to_owned)
}

fn file_change(line: &LogLine, fields: &[arrow::datatypes::FieldRef]) -> Option<FileChange> {
    let (file, is_added) = match (&line.add, &line.remove) {
        (Some(add), _) => (add, true),
        (None, Some(remove)) => (remove, false),
        (None, None) => return None,
    };
    let partition = if fields.is_empty() { Some(vec![]) } else { file.partition(fields) };
    Some(FileChange { path: file.path(), partition, is_added, changes_rows: file.data_change })
}

/// Who did what, for the history.
pub(super) struct Author<'a> {
    pub operation: &'a Operation,
    pub run: Option<&'a str>,
    pub user_metadata: Option<&'a str>,
}

pub(super) fn info_action(author: &Author<'_>, read_version: Option<i64>, is_blind: bool, now_ms: i64) -> Value {
    // Other engines read the values of these maps as strings.
    let texts = |map: &BTreeMap<String, Value>| -> Map<String, Value> {
        let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        map.iter().map(|(k, v)| (k.clone(), text(v).into())).collect()
    };
    let mut info = json!({
        "timestamp": now_ms,
        "operation": author.operation.name,
        "operationParameters": texts(&author.operation.parameters),
        "isolationLevel": "WriteSerializable",
        "isBlindAppend": is_blind,
        "engineInfo": concat!("selvedge ", env!("CARGO_PKG_VERSION")),
    });
    let mut optional = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            info[key] = value;
        }
    };
    optional("readVersion", read_version.map(Value::from));
    let metrics = texts(&author.operation.metrics);
    optional("operationMetrics", (!metrics.is_empty()).then_some(Value::Object(metrics)));
    optional(RUN_KEY, author.run.map(Value::from));
    optional("userMetadata", author.user_metadata.map(Value::from));
    json!({ "commitInfo": info })
}

pub(super) fn txn_action(app_id: &str, now_ms: i64) -> Value {
    json!({ "txn": Transaction::new_with_last_update(app_id, 1, Some(now_ms)) })
}

pub(super) fn add_actions(
    adds: &[AddFile],
    partition_by: &[String],
    now_ms: i64,
    changes_rows: bool,
) -> Result<Vec<Value>, Failure> {
    adds.iter().map(|file| encoded(&Action::Add(file.action(partition_by, now_ms, changes_rows)))).collect()
}

fn encoded(action: &Action) -> Result<Value, Failure> {
    serde_json::to_value(action).map_err(|e| Failure::internal("INTERNAL", format!("cannot write an action: {e}")))
}

pub(super) fn commit_bytes(actions: &[Value]) -> Bytes {
    let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
    Bytes::from(lines.join("\n"))
}

/// Waits a little longer at every try, and never as long as the others do.
pub(super) async fn pause(attempt: u32) {
    let longest = FIRST_PAUSE.saturating_mul(1 << attempt.min(10)).min(LONGEST_PAUSE);
    let random = Uuid::now_v7().as_u64_pair().1 % 1000;
    tokio::time::sleep(longest.mul_f64(0.5 + random as f64 / 1000.0)).await;
}
