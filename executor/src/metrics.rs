//! What an executor counts, for Prometheus. A registry of its own, since several executors may share a process.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::core::{AtomicU64, GenericCounter, GenericGauge};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};

use crate::error::ExecutorError;

type Counter = GenericCounter<AtomicU64>;
type Gauge = GenericGauge<prometheus::core::AtomicI64>;

/// An executor's metrics.
pub(crate) struct Metrics {
    registry: Registry,
    tasks: IntCounterVec,
    task_seconds: HistogramVec,
    last_poll: Mutex<Option<Instant>>,
    pub(crate) tasks_running: Gauge,
    pub(crate) vcores_free: Gauge,
    pub(crate) memory_used_bytes: Gauge,
    pub(crate) disk_used_bytes: Gauge,
    pub(crate) polls: Counter,
    pub(crate) poll_failures: Counter,
    pub(crate) shuffle_uploaded_bytes: Counter,
    pub(crate) shuffle_served_bytes: Counter,
    pub(crate) spilled_bytes: Counter,
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Result<Self, ExecutorError> {
        Self::try_new().map_err(|e| ExecutorError::Setup { what: "metrics", cause: e.to_string() })
    }

    fn try_new() -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some("selvedge_executor".to_owned()), None)?;
        let counter = |name: &str, help: &str| -> prometheus::Result<Counter> {
            let counter = Counter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<Gauge> {
            let gauge = Gauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let tasks = IntCounterVec::new(Opts::new("tasks_total", "Tasks ended, by outcome"), &["outcome"])?;
        registry.register(Box::new(tasks.clone()))?;
        let buckets = vec![0.01, 0.05, 0.2, 1.0, 5.0, 20.0, 60.0, 300.0, 1200.0];
        let seconds = HistogramOpts::new("task_seconds", "Time of tasks, by outcome").buckets(buckets);
        let task_seconds = HistogramVec::new(seconds, &["outcome"])?;
        registry.register(Box::new(task_seconds.clone()))?;
        Ok(Self {
            tasks,
            task_seconds,
            last_poll: Mutex::default(),
            tasks_running: gauge("tasks_running", "Tasks that run")?,
            vcores_free: gauge("vcores_free", "Vcores no task uses")?,
            memory_used_bytes: gauge("memory_used_bytes", "Memory operators have reserved")?,
            disk_used_bytes: gauge("disk_used_bytes", "Bytes of spill and shuffle files")?,
            polls: counter("polls_total", "Polls the scheduler answered")?,
            poll_failures: counter("poll_failures_total", "Polls that failed")?,
            shuffle_uploaded_bytes: counter("shuffle_uploaded_bytes_total", "Bytes copied to the shuffle location")?,
            shuffle_served_bytes: counter("shuffle_served_bytes_total", "Bytes served to other executors")?,
            spilled_bytes: counter("spilled_bytes_total", "Bytes spilled by tasks")?,
            registry,
        })
    }

    /// The scheduler answered a poll.
    pub(crate) fn polled(&self) {
        self.polls.inc();
        *self.last_poll.lock() = Some(Instant::now());
    }

    /// Time since the scheduler answered; `None` if it never did.
    pub(crate) fn since_poll(&self) -> Option<Duration> {
        self.last_poll.lock().map(|at| at.elapsed())
    }

    /// A task ended.
    pub(crate) fn task_ended(&self, outcome: &str, took: Duration) {
        self.tasks.with_label_values(&[outcome]).inc();
        self.task_seconds.with_label_values(&[outcome]).observe(took.as_secs_f64());
    }

    /// Everything in the text format.
    pub(crate) fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
