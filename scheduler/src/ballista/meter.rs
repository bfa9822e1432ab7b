//! What a stage's tasks counted: folds the metrics of accepted task statuses, which Ballista itself never sees.
//!
//! Pure. Metrics come as one set an operator, in plan order, the stage's root first. Sets carry no operator names, and tasks
//! of one stage may differ in shape, so an operator is known by the metrics it reports.

use ballista_core::serde::protobuf::operator_metric::Metric;
use ballista_core::serde::protobuf::{OperatorMetricsSet, SuccessfulTask};
use selvedge_engine::shuffle::{LOCAL_READS, PEER_READS, REMOTE_READS, SHUFFLE_BYTES_READ};
use selvedge_model::run::Counters;

/// Sums over the accepted task attempts of one stage attempt.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct StageMeter {
    pub(super) attempt: u32,
    pub(super) counters: Counters,
    pub(super) failed: u32,
    /// Time of tasks that came to nothing, or that ran once more.
    pub(super) lost_task_ms: u64,
    pub(super) tasks_rerun: u32,
    pub(super) started_ms: i64,
    pub(super) ended_ms: i64,
    pub(super) task_ms: u64,
    pub(super) slowest_task: u32,
    pub(super) slowest_task_ms: u64,
    pub(super) slowest_task_executor: String,
}

/// When and where a task ran.
#[derive(Debug, Clone)]
pub(super) struct TaskTimes<'a> {
    pub(super) task_id: u32,
    pub(super) executor: &'a str,
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
}

impl StageMeter {
    /// Starts again when the stage does: what an earlier attempt counted is done anew.
    pub(super) fn enter(&mut self, attempt: u32) {
        if attempt > self.attempt {
            *self = Self {
                attempt,
                failed: self.failed,
                lost_task_ms: self.lost_task_ms + self.task_ms,
                tasks_rerun: self.tasks_rerun,
                started_ms: self.started_ms,
                ..Self::default()
            };
        }
    }

    pub(super) fn succeeded(&mut self, times: &TaskTimes<'_>, counters: &Counters) {
        self.counters.add(counters);
        let took_ms = times.end_ms.saturating_sub(times.start_ms);
        self.task_ms += took_ms;
        if took_ms >= self.slowest_task_ms {
            self.slowest_task = times.task_id;
            self.slowest_task_ms = took_ms;
            times.executor.clone_into(&mut self.slowest_task_executor);
        }
        self.span(times);
    }

    pub(super) fn failed(&mut self, times: &TaskTimes<'_>) {
        self.failed += 1;
        self.lost_task_ms += times.end_ms.saturating_sub(times.start_ms);
        self.span(times);
    }

    fn span(&mut self, times: &TaskTimes<'_>) {
        let (start, end) = (times.start_ms as i64, times.end_ms as i64);
        if start > 0 && (self.started_ms == 0 || start < self.started_ms) {
            self.started_ms = start;
        }
        self.ended_ms = self.ended_ms.max(end);
    }
}

/// What one successful task counted.
pub(super) fn count(task: &SuccessfulTask, operators: &[OperatorMetricsSet]) -> Counters {
    let mut total = Counters::default();
    let mut writes = false;
    for (position, operator) in operators.iter().enumerate() {
        writes |= add_operator(&mut total, operator, position == 0);
    }
    total.shuffle_bytes_written = task.partitions.iter().map(|p| p.num_bytes).sum();
    if writes {
        // What leaves such a task by its root is the manifest, one row a file: the rows are in the files.
        total.rows_out = total.rows_written;
    } else if total.rows_out == 0 {
        total.rows_out = task.partitions.iter().map(|p| p.num_rows).sum();
    }
    total
}

/// Returns whether the operator writes a table's files.
fn add_operator(total: &mut Counters, operator: &OperatorMetricsSet, is_root: bool) -> bool {
    let (mut rows, mut is_scan, mut writes) = (0, false, false);
    for metric in operator.metrics.iter().filter_map(|m| m.metric.as_ref()) {
        match metric {
            Metric::OutputRows(n) => rows += n,
            Metric::SpilledBytes(n) => total.spill_bytes += n,
            Metric::Count(count) => match count.name.as_str() {
                "bytes_scanned" => {
                    is_scan = true;
                    total.bytes_read += count.value;
                }
                "spill_bytes" => total.spill_bytes += count.value,
                SHUFFLE_BYTES_READ => total.shuffle_bytes_read += count.value,
                LOCAL_READS => total.shuffle_requests_local += count.value,
                PEER_READS => total.shuffle_requests_peer += count.value,
                REMOTE_READS => total.shuffle_requests_remote += count.value,
                "rows_written" => {
                    writes = true;
                    total.rows_written += count.value;
                }
                "bytes_written" => total.bytes_written += count.value,
                "files_written" => total.files_written += count.value,
                _ => {}
            },
            _ => {}
        }
    }
    if is_scan {
        total.rows_read += rows;
    }
    if is_root {
        total.rows_out += rows;
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;
    use ballista_core::serde::protobuf::{NamedCount, OperatorMetric, ShuffleWritePartition};

    fn operator(metrics: Vec<Metric>) -> OperatorMetricsSet {
        let metrics = metrics.into_iter().map(|m| OperatorMetric { partition: Some(0), metric: Some(m) }).collect();
        OperatorMetricsSet { metrics }
    }

    fn named(name: &str, value: u64) -> Metric {
        Metric::Count(NamedCount { name: name.into(), value })
    }

    #[test]
    fn rows_of_the_root_leave_and_rows_of_scans_are_read() {
        let task = SuccessfulTask {
            partitions: vec![ShuffleWritePartition { num_bytes: 30, num_rows: 3, ..Default::default() }],
            ..Default::default()
        };
        let operators = [
            operator(vec![Metric::OutputRows(3), named("spill_bytes", 5)]),
            operator(vec![Metric::OutputRows(50), Metric::SpilledBytes(7)]),
            operator(vec![Metric::OutputRows(100), named("bytes_scanned", 900)]),
            operator(vec![Metric::OutputRows(11), named("bytes_scanned", 90)]),
        ];
        let got = count(&task, &operators);
        let want = Counters {
            rows_read: 111,
            bytes_read: 990,
            rows_out: 3,
            shuffle_bytes_written: 30,
            spill_bytes: 12,
            ..Counters::default()
        };
        assert_eq!(got, want);
    }

    #[test]
    fn the_rows_of_a_manifest_are_not_the_rows_that_were_written() {
        let task = SuccessfulTask {
            partitions: vec![ShuffleWritePartition { num_bytes: 30, num_rows: 2, ..Default::default() }],
            ..Default::default()
        };
        let root = || operator(vec![Metric::OutputRows(2)]);
        let written = [root(), operator(vec![named("rows_written", 900), named("files_written", 2)])];
        assert_eq!(count(&task, &written).rows_out, 900);
        let nothing = [root(), operator(vec![named("rows_written", 0)])];
        assert_eq!(count(&task, &nothing).rows_out, 0);
    }

    #[test]
    fn a_stage_run_again_counts_from_zero_but_remembers_its_failures() {
        let mut meter = StageMeter::default();
        let times = TaskTimes { task_id: 4, executor: "e1", start_ms: 100, end_ms: 350 };
        meter.failed(&times);
        meter.succeeded(&times, &Counters { rows_out: 9, ..Counters::default() });
        assert_eq!((meter.slowest_task, meter.slowest_task_ms, meter.counters.rows_out), (4, 250, 9));
        meter.enter(1);
        assert_eq!((meter.attempt, meter.failed, meter.counters.rows_out, meter.task_ms), (1, 1, 0, 0));
    }
}
