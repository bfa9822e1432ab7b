//! Click events as JSON, one object a line: the same ones each time, with pauses that make sessions.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Duration, Utc};

use super::data::Written;
use crate::error::CliError;

const PAGES: [&str; 8] = ["/", "/search", "/product", "/product/reviews", "/cart", "/checkout", "/account", "/help"];
/// Events at scale 1.
const EVENTS_AT_SCALE_1: f64 = 1_000_000.0;
const EVENTS_PER_USER: u64 = 40;

/// Writes events below `dir`.
pub(super) async fn generate(dir: &Path, scale: f64) -> Result<Written, CliError> {
    let dir = dir.to_owned();
    let events = (EVENTS_AT_SCALE_1 * scale) as u64;
    let written = tokio::task::spawn_blocking(move || write(dir, events)).await;
    let written = written.map_err(|e| CliError::local("generating sample data ended abruptly", &e))?;
    written.map_err(|e| CliError::local("cannot write sample events", &e))
}

fn write(dir: PathBuf, events: u64) -> std::io::Result<Written> {
    std::fs::create_dir_all(&dir)?;
    let path = dir.join("events.json");
    let mut out = BufWriter::new(std::fs::File::create(&path)?);
    let mut dice = Dice(42);
    let start = DateTime::<Utc>::from_timestamp(1_767_225_600, 0).unwrap_or_default();
    for user in 0..events.div_ceil(EVENTS_PER_USER) {
        let mut at = start + Duration::seconds(dice.below(86_400) as i64);
        for n in 0..EVENTS_PER_USER.min(events - user * EVENTS_PER_USER) {
            // One step in eight is a pause of hours.
            let pause = if dice.below(8) == 0 { 3_600 + dice.below(36_000) } else { 1 + dice.below(600) };
            at += Duration::seconds(pause as i64);
            let page = PAGES[dice.below(PAGES.len() as u64) as usize];
            let amount =
                if page == "/checkout" { format!("{}.{:02}", dice.below(500), dice.below(100)) } else { "null".into() };
            let (id, time) = (user * EVENTS_PER_USER + n, at.format("%Y-%m-%dT%H:%M:%S"));
            writeln!(
                out,
                r#"{{"event_id":{id},"user_id":{user},"event_time":"{time}","page":"{page}","amount":{amount}}}"#
            )?;
        }
    }
    out.flush()?;
    Ok(Written { rows: events, bytes: std::fs::metadata(&path)?.len() })
}

/// A small generator that gives the same numbers everywhere (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_line_is_an_event_and_the_count_is_right() {
        let dir = tempfile::tempdir().unwrap();
        let written = generate(dir.path(), 0.0001).await.unwrap();
        let text = std::fs::read_to_string(dir.path().join("events.json")).unwrap();
        assert_eq!((written.rows, text.lines().count()), (100, 100));
        for line in text.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(event["event_time"].as_str().unwrap().starts_with("2026-01-"), "{line}");
        }
    }
}
