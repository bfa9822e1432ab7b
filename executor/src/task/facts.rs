//! What about a task is worth a user's eye: that it failed, spilled or took long. Few lines, since they travel to the
//! scheduler and are kept there; everything else is in this process' own log.

use std::time::Duration;

use bytesize::ByteSize;
use datafusion::physical_plan::metrics::MetricsSet;
use selvedge_model::Failure;

/// A task that takes longer is named.
const SLOW: Duration = Duration::from_secs(60);

/// A line for the user: its level and text.
pub(super) type Fact = (&'static str, String);

/// Bytes that operators wrote to local disk for want of memory.
pub(super) fn spilled_bytes(metrics: &[MetricsSet]) -> u64 {
    let of_set = |set: &MetricsSet| {
        // Operators of DataFusion count under one name, Ballista's sort shuffle under another.
        set.spilled_bytes().unwrap_or(0) + set.sum_by_name("spill_bytes").map_or(0, |sum| sum.as_usize())
    };
    metrics.iter().map(of_set).sum::<usize>() as u64
}

/// What to say of a task that succeeded.
pub(super) fn of_success(took: Duration, metrics: &[MetricsSet]) -> Vec<Fact> {
    let mut facts = Vec::new();
    let spilled = spilled_bytes(metrics);
    if spilled > 0 {
        facts.push(("info", format!("spilled {} to local disk for want of memory", ByteSize::b(spilled))));
    }
    if took > SLOW {
        facts.push(("info", format!("took {} s", took.as_secs())));
    }
    facts
}

/// What to say of a task that failed.
pub(super) fn of_failure(failure: &Failure) -> Fact {
    let then = if failure.is_retryable() { "; it may be tried again" } else { "" };
    ("error", format!("failed with {}: {failure}{then}", failure.code))
}
