//! Upkeep that nobody asked for: a write that leaves many small files in a partition of a managed table is followed by an
//! `OPTIMIZE` of it. When that is due, `selvedge_model::compaction` says.
//!
//! It is a run of its own, that is seen, waits its turn and fails like any other. It is submitted when the write's run has
//! ended, which need not wait for it, is none the worse when it fails, and does not meet it in its later statements.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use futures::FutureExt as _;
use parking_lot::Mutex;
use selvedge_engine::delta::{AddFile, DeltaSnapshot};
use selvedge_engine::session::Settings;
use selvedge_engine::sql::prepare;
use selvedge_model::commit::WriteKind;
use selvedge_model::compaction::{SizedFile, crowded};
use selvedge_model::delta::PartitionKey;
use selvedge_model::run::{RunState, Submission};
use selvedge_model::{Failure, RunId};

use super::run::OpenRun;
use super::{Driver, RunSpec, Work};
use crate::commit::Proven;
use crate::planning::PlannedWrite;
use crate::runs::{Level, RunLine, now_ms};

/// Partitions that an `OPTIMIZE` names; of more than these it takes the whole table.
const NAMED_PARTITIONS: usize = 100;

/// How long nothing follows for a table after such a run of it has failed: it would fail again.
const REST_MS: i64 = 3_600_000;

/// Who looks whether something follows.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// One at a time: the files of a large table take memory.
    turn: tokio::sync::Mutex<()>,
    /// The tables that are looked at, or are to be.
    pending: Mutex<BTreeSet<String>>,
}

/// What a write leaves in a managed table, as far as small files matter.
#[derive(Debug)]
pub(super) struct Aftermath {
    run: RunId,
    settings: Settings,
    table: String,
    partition_fields: Vec<FieldRef>,
    /// The version whose files are there beside those that were written; none when it left none of them.
    base: Option<Arc<DeltaSnapshot>>,
    /// Files of that version which are gone.
    gone: BTreeSet<String>,
    written: Vec<SizedFile>,
    /// Small files of a partition that are too many.
    many: usize,
}

impl Aftermath {
    /// None when nothing may follow from the write: it is not to a managed table, or it is an `OPTIMIZE` itself.
    ///
    /// # Errors
    /// When a file's partition is none of the table's, which publishing would find, too.
    pub(super) fn of(run: &OpenRun, write: &PlannedWrite, proven: &Proven) -> Result<Option<Self>, Failure> {
        let (Some(log), Some(many)) = (&write.log, run.settings.auto_optimize_files()) else { return Ok(None) };
        if !log.changes_rows || proven.files().is_empty() {
            return Ok(None);
        }
        let sized = |file| {
            let add = AddFile::of_staged(&write.location, &write.schema, &write.partition_by, file)?;
            Ok(SizedFile { path: add.path, partition: add.partition, bytes: add.bytes })
        };
        let field = |column: &String| write.schema.fields().find(column).map(|(_, field)| Arc::clone(field));
        let keeps_others = log.rewrites.is_some() || write.kind == WriteKind::Append;
        Ok(Some(Self {
            run: run.id.clone(),
            settings: run.settings.clone(),
            table: write.target.clone(),
            partition_fields: write.partition_by.iter().filter_map(field).collect(),
            base: log.base.clone().filter(|_| keeps_others),
            gone: log.rewrites.clone().unwrap_or_default(),
            written: proven.files().iter().map(sized).collect::<Result<_, Failure>>()?,
            many,
        }))
    }

    /// The partitions that are worth compacting now.
    async fn crowded(&self) -> Result<BTreeSet<PartitionKey>, Failure> {
        let touched: BTreeSet<PartitionKey> = self.written.iter().map(|file| file.partition.clone()).collect();
        let others = match &self.base {
            Some(base) => base.files().await?,
            None => Arc::default(),
        };
        let others: Vec<SizedFile> = others
            .iter()
            .filter(|file| touched.contains(&file.key) && !self.gone.contains(&file.path))
            .map(|file| SizedFile { path: file.path.clone(), partition: file.key.clone(), bytes: file.bytes })
            .collect();
        Ok(crowded(others.iter().chain(&self.written), &touched, self.settings.target_file_bytes(), self.many))
    }
}

impl Driver {
    /// Sees to it in the background that what writes have left is compacted, if need be. What came last is looked at first:
    /// it knows most.
    pub(super) fn look_after(&self, aftermaths: Vec<Aftermath>) {
        for aftermath in aftermaths.into_iter().rev() {
            let Some(driver) = self.me.upgrade().filter(|_| self.options.upkeep) else { return };
            let table = aftermath.table.clone();
            // Who is late for one look comes with the next write.
            if !driver.is_due(&table) || !driver.upkeep.pending.lock().insert(table.clone()) {
                continue;
            }
            // Boxed: the run that this submits comes here again.
            let looking = async move {
                driver.look_at(&aftermath).await;
                driver.upkeep.pending.lock().remove(&table);
            };
            tokio::spawn(looking.boxed());
        }
    }

    /// Whether an `OPTIMIZE` of a table may follow now: none waits or runs, and the last one has not just failed.
    fn is_due(&self, table: &str) -> bool {
        self.book.newest(&name(table)).is_none_or(|last| match last.state {
            RunState::Queued | RunState::Running => false,
            RunState::Failed => now_ms().saturating_sub(last.ended_ms) > REST_MS,
            RunState::Succeeded | RunState::Cancelled => true,
        })
    }

    async fn look_at(self: &Arc<Self>, aftermath: &Aftermath) {
        let _turn = self.upkeep.turn.lock().await;
        match aftermath.crowded().await {
            Ok(partitions) if partitions.is_empty() || !self.is_due(&aftermath.table) => {}
            Ok(partitions) => self.submit_optimize(aftermath, &partitions),
            Err(failure) => {
                tracing::warn!(table = aftermath.table, %failure, "cannot tell whether a table is worth compacting");
            }
        }
    }

    fn submit_optimize(self: &Arc<Self>, aftermath: &Aftermath, partitions: &BTreeSet<PartitionKey>) {
        let Aftermath { run, table, .. } = aftermath;
        match self.optimize_spec(aftermath, partitions).and_then(|spec| self.submit(spec)) {
            Ok(id) => {
                tracing::info!(%run, table, optimize = %id, partitions = partitions.len(), "compacting small files");
                let message = format!("Run {id} follows, to compact the small files of {table}");
                let line = RunLine {
                    time_ms: now_ms(),
                    level: Level::Info,
                    message,
                    statement: 0,
                    task: None,
                    executor: String::new(),
                };
                self.book.tell(run, line);
            }
            // The next write to the table comes here again.
            Err(failure) => tracing::warn!(%run, table, %failure, "small files of a table are not compacted now"),
        }
    }

    fn optimize_spec(&self, aftermath: &Aftermath, partitions: &BTreeSet<PartitionKey>) -> Result<RunSpec, Failure> {
        let record = self.book.get(&aftermath.run)?;
        let sql = optimize(&aftermath.table, &aftermath.partition_fields, partitions);
        let script = prepare(&sql, &BTreeMap::new())?;
        Ok(RunSpec {
            id: self.book.next_id()?,
            name: name(&aftermath.table),
            queue: record.queue.clone(),
            params: BTreeMap::new(),
            user: record.user.clone(),
            submission: Submission {
                script: sql,
                file_name: String::new(),
                settings: aftermath.settings.entries().clone(),
            },
            settings: aftermath.settings.clone(),
            work: Work::Script(script.statements),
            sink: None,
        })
    }
}

fn name(table: &str) -> String {
    format!("optimize {table}")
}

/// The statement that compacts these partitions.
fn optimize(table: &str, partition_by: &[FieldRef], partitions: &BTreeSet<PartitionKey>) -> String {
    let whole = format!("OPTIMIZE {table}");
    if partition_by.is_empty() || partitions.len() > NAMED_PARTITIONS {
        return whole;
    }
    let one = |key: &PartitionKey| -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let terms = partition_by.iter().zip(key).map(|(field, value)| {
            let column = format!("\"{}\"", field.name().replace('"', "\"\""));
            let data_type = quoted(&field.data_type().to_string());
            match value {
                Some(value) => format!("{column} = arrow_cast({}, {data_type})", quoted(value)),
                None => format!("{column} IS NULL"),
            }
        });
        format!("({})", terms.collect::<Vec<_>>().join(" AND "))
    };
    let sql = format!("{whole} WHERE {}", partitions.iter().map(one).collect::<Vec<_>>().join(" OR "));
    // A value must not be taken for a template.
    if ["{{", "{%", "{#"].iter().any(|opens| sql.contains(opens)) { whole } else { sql }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn the_statement_names_the_partitions_unless_they_are_many_or_odd() {
        let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
        let by = [field("ds", DataType::Date32), field("Who's", DataType::Utf8)];
        let key = |a: &str, b: Option<&str>| vec![Some(a.to_owned()), b.map(str::to_owned)];
        let two = BTreeSet::from([key("2026-01-01", Some("it's")), key("2026-01-02", None)]);
        let sql = "OPTIMIZE public.t WHERE (\"ds\" = arrow_cast('2026-01-01', 'Date32') AND \
                   \"Who's\" = arrow_cast('it''s', 'Utf8')) OR \
                   (\"ds\" = arrow_cast('2026-01-02', 'Date32') AND \"Who's\" IS NULL)";
        assert_eq!(optimize("public.t", &by, &two), sql);
        assert_eq!(prepare(sql, &BTreeMap::new()).unwrap().statements.len(), 1);
        assert_eq!(optimize("public.t", &[], &BTreeSet::from([vec![]])), "OPTIMIZE public.t");
        let odd = BTreeSet::from([key("{{ now }}", None)]);
        assert_eq!(optimize("public.t", &by, &odd), "OPTIMIZE public.t");
        let many: BTreeSet<PartitionKey> = (0..=NAMED_PARTITIONS).map(|i| key(&i.to_string(), None)).collect();
        assert_eq!(optimize("public.t", &by, &many), "OPTIMIZE public.t");
    }
}
