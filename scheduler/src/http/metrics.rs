//! The numbers of one scheduler, in Prometheus's form. Counters are fed by the driver; gauges are read when asked for.

use std::time::Duration;

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use selvedge_model::Failure;
use selvedge_model::run::{Counters, RunState};

use crate::ballista::{ExecutorState, Host};
use crate::runs::RunBook;

const STATES: [RunState; 5] =
    [RunState::Queued, RunState::Running, RunState::Succeeded, RunState::Failed, RunState::Cancelled];

/// The scheduler's metrics.
pub struct Metrics {
    registry: Registry,
    runs_ended: IntCounterVec,
    statements: IntCounterVec,
    bytes: IntCounterVec,
    rows: IntCounterVec,
    publish_seconds: Histogram,
    runs: IntGaugeVec,
    queue_length: IntGauge,
    executors: IntGaugeVec,
    vcores: IntGaugeVec,
    tasks_running: IntGauge,
    scrapes: IntCounter,
}

impl Metrics {
    /// Metrics, all zero.
    ///
    /// # Errors
    /// Only for a fault of ours: a name that is no metric's name.
    pub fn new() -> Result<Self, Failure> {
        Self::build().map_err(|e| Failure::internal("INTERNAL", format!("The metrics cannot be set up: {e}")))
    }

    fn build() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauges = |name: &str, help: &str, label: &str| {
            let metric = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let publish_seconds = Histogram::with_opts(
            HistogramOpts::new("selvedge_publish_seconds", "Time from the last task's end to visible files.")
                .buckets(prometheus::exponential_buckets(0.01, 2.0, 15)?),
        )?;
        registry.register(Box::new(publish_seconds.clone()))?;
        let scrapes = IntCounter::new("selvedge_scrapes_total", "Times that these metrics were read.")?;
        registry.register(Box::new(scrapes.clone()))?;
        Ok(Self {
            runs_ended: counters("selvedge_runs_ended_total", "Runs by the state they ended in.", &["state"])?,
            statements: counters("selvedge_statements_total", "Statements by kind and outcome.", &["kind", "outcome"])?,
            bytes: counters("selvedge_bytes_total", "Bytes of ended statements by what was done to them.", &["what"])?,
            rows: counters("selvedge_rows_total", "Rows of ended statements by what was done to them.", &["what"])?,
            runs: gauges("selvedge_runs", "Runs in memory by state.", "state")?,
            queue_length: gauge("selvedge_queue_length", "Runs that wait for their turn.")?,
            executors: gauges("selvedge_executors", "Executors by state.", "state")?,
            vcores: gauges("selvedge_vcores", "Vcores of live executors, all and free.", "which")?,
            tasks_running: gauge("selvedge_tasks_running", "Tasks that executors hold.")?,
            publish_seconds,
            scrapes,
            registry,
        })
    }

    /// A run has ended.
    pub fn run_ended(&self, state: RunState) {
        self.runs_ended.with_label_values(&[state_name(state)]).inc();
    }

    /// A statement has ended. Its kind comes from a fixed list, never from the user's text.
    pub fn statement_ended(&self, kind: &str, outcome: &str, counters: &Counters) {
        self.statements.with_label_values(&[kind, outcome]).inc();
        for (what, count) in [
            ("read", counters.bytes_read),
            ("written", counters.bytes_written),
            ("shuffle_written", counters.shuffle_bytes_written),
            ("shuffle_read", counters.shuffle_bytes_read),
            ("spilled", counters.spill_bytes),
        ] {
            self.bytes.with_label_values(&[what]).inc_by(count);
        }
        self.rows.with_label_values(&["read"]).inc_by(counters.rows_read);
        self.rows.with_label_values(&["written"]).inc_by(counters.rows_written);
    }

    /// A publish has ended, well or not.
    pub fn published(&self, took: Duration) {
        self.publish_seconds.observe(took.as_secs_f64());
    }

    /// Everything, in Prometheus's text format.
    pub(super) fn text(&self, book: &RunBook, host: &Host) -> Result<String, prometheus::Error> {
        self.scrapes.inc();
        let counts = book.counts();
        for state in STATES {
            let count = counts.by_state.get(&state).copied().unwrap_or_default();
            self.runs.with_label_values(&[state_name(state)]).set(as_gauge(count));
        }
        self.queue_length.set(as_gauge(counts.waiting));
        self.read_fleet(host);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn read_fleet(&self, host: &Host) {
        let fleet = host.executors();
        for (state, name) in
            [(ExecutorState::Active, "active"), (ExecutorState::Draining, "draining"), (ExecutorState::Lost, "lost")]
        {
            let count = fleet.iter().filter(|e| e.state == state).count();
            self.executors.with_label_values(&[name]).set(as_gauge(count));
        }
        let live = || fleet.iter().filter(|e| e.state != ExecutorState::Lost);
        self.vcores.with_label_values(&["all"]).set(live().map(|e| i64::from(e.vcores)).sum());
        self.vcores.with_label_values(&["free"]).set(live().map(|e| i64::from(e.free_vcores)).sum());
        self.tasks_running.set(live().map(|e| i64::from(e.running_tasks)).sum());
    }
}

fn state_name(state: RunState) -> &'static str {
    match state {
        RunState::Queued => "queued",
        RunState::Running => "running",
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
    }
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_registers_and_counts() {
        let metrics = Metrics::new().unwrap();
        metrics.run_ended(RunState::Failed);
        metrics.statement_ended("INSERT", "succeeded", &Counters { bytes_written: 7, ..Counters::default() });
        metrics.published(Duration::from_millis(20));
        let mut text = Vec::new();
        TextEncoder::new().encode(&metrics.registry.gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "selvedge_runs_ended_total{state=\"failed\"} 1",
            "selvedge_statements_total{kind=\"INSERT\",outcome=\"succeeded\"} 1",
            "selvedge_bytes_total{what=\"written\"} 7",
            "selvedge_publish_seconds_count 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
