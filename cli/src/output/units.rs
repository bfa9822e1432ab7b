//! Numbers for people: counts, sizes, durations, times. The one place that decides how they look.

use chrono::{DateTime, Utc};
pub use selvedge_model::words::grouped as count;

/// `34.1 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} B"),
        _ if value < 10.0 => format!("{value:.2} {}", UNITS[unit]),
        _ if value < 100.0 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// `850 ms`, `3.1 s`, `2 min 05 s`, `1 h 02 min`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {:02} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {:02} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// The time between two moments in milliseconds; `None` where one was not reached.
pub fn elapsed(start_ms: i64, end_ms: i64) -> Option<u64> {
    if start_ms <= 0 || end_ms <= 0 { None } else { Some(u64::try_from(end_ms - start_ms).unwrap_or(0)) }
}

/// `2026-11-23 08:10:17` in UTC; empty where not reached.
pub fn moment(ms: i64) -> String {
    match DateTime::<Utc>::from_timestamp_millis(ms) {
        Some(moment) if ms > 0 => moment.format("%Y-%m-%d %H:%M:%S").to_string(),
        _ => String::new(),
    }
}

/// Now, in milliseconds since the epoch.
pub fn now_ms() -> i64 {
    Utc::now().timestamp_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([bytes(512), bytes(1_536), bytes(35_756_441)], ["512 B", "1.50 KiB", "34.1 MiB"]);
        assert_eq!(bytes(u64::MAX), "16384 PiB");
        assert_eq!(
            [duration(850), duration(3_149), duration(125_000), duration(3_720_000)],
            ["850 ms", "3.1 s", "2 min 05 s", "1 h 02 min"]
        );
        assert_eq!((elapsed(0, 5), elapsed(7, 5), elapsed(5, 7)), (None, Some(0), Some(2)));
    }
}
