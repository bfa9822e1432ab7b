//! `EXPLAIN ANALYZE`: runs a query's job, lets its rows go, and shows what its stages counted: the figures that a run's
//! record keeps.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, UInt32Array, UInt64Array};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use selvedge_model::run::{Counters, StageRecord};
use selvedge_model::{Failure, StatementAttempt};

use super::run::OpenRun;
use super::statement::Done;
use super::{Driver, Stop};

impl Driver {
    pub(super) async fn analyze(
        &self,
        run: &mut OpenRun,
        ids: &StatementAttempt,
        state: SessionState,
        plan: LogicalPlan,
    ) -> Result<Done, Stop> {
        let outcome = self.job(run, ids, state, plan).await;
        self.host.forget(&ids.job_id()).await;
        let shown = table(&outcome?.stages);
        let shown = shown.map_err(|e| Failure::internal("INTERNAL", format!("The stages cannot be shown: {e}")))?;
        self.show(run, shown.schema(), vec![shown]).await
    }
}

/// A row for each stage.
fn table(stages: &[StageRecord]) -> Result<RecordBatch, ArrowError> {
    let counted = |figure: fn(&Counters) -> u64| {
        Arc::new(UInt64Array::from_iter_values(stages.iter().map(|s| figure(&s.counters)))) as ArrayRef
    };
    let number = |figure: fn(&StageRecord) -> u32| {
        Arc::new(UInt32Array::from_iter_values(stages.iter().map(figure))) as ArrayRef
    };
    let time = |figure: fn(&StageRecord) -> u64| {
        Arc::new(UInt64Array::from_iter_values(stages.iter().map(figure))) as ArrayRef
    };
    let operators = StringArray::from_iter_values(stages.iter().map(|s| s.description.as_str()));
    RecordBatch::try_from_iter([
        ("stage", number(|s| s.stage_id)),
        ("tasks", number(|s| s.tasks_total)),
        ("rows_read", counted(|c| c.rows_read)),
        ("bytes_read", counted(|c| c.bytes_read)),
        ("rows_out", counted(|c| c.rows_out)),
        ("shuffle_bytes_read", counted(|c| c.shuffle_bytes_read)),
        ("shuffle_bytes_written", counted(|c| c.shuffle_bytes_written)),
        ("spill_bytes", counted(|c| c.spill_bytes)),
        ("time_ms", time(|s| u64::try_from(s.ended_ms - s.started_ms).unwrap_or(0))),
        ("task_ms", time(|s| s.task_ms)),
        ("operators", Arc::new(operators) as ArrayRef),
    ])
}

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;

    use super::*;

    #[test]
    fn each_stage_is_a_row_with_its_figures() {
        let scan = StageRecord {
            stage_id: 1,
            description: "Aggregate < nation".into(),
            tasks_total: 4,
            counters: Counters {
                rows_read: 25,
                bytes_read: 900,
                rows_out: 5,
                shuffle_bytes_written: 60,
                ..Default::default()
            },
            started_ms: 100,
            ended_ms: 350,
            task_ms: 700,
            ..StageRecord::default()
        };
        let last =
            StageRecord { stage_id: 2, started_ms: 400, description: "Aggregate < stage 1".into(), ..scan.clone() };
        let shown = pretty_format_batches(&[table(&[scan, last]).unwrap()]).unwrap().to_string();
        let cells = |line: usize| -> Vec<String> {
            shown.lines().nth(line).unwrap().split('|').map(|c| c.trim().to_owned()).collect()
        };
        assert_eq!(cells(3)[1..12], ["1", "4", "25", "900", "5", "0", "60", "0", "250", "700", "Aggregate < nation"]);
        // One that has not ended has no time.
        assert_eq!(cells(4)[9], "0");
    }
}
