//! The log lines of one run: its own story and what its tasks said. Bounded: the oldest lines go first.
//!
//! Lines are numbered, so that a follower asks for those after the last it has seen.

use std::collections::VecDeque;

use parking_lot::Mutex;
use selvedge_model::TaskRef;
use tokio::sync::watch;

const MAX_LINES: usize = 2_000;
const MAX_MESSAGE_CHARS: usize = 4_000;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// What happened.
    Info,
    /// What went wrong and was mended.
    Warn,
    /// What failed.
    Error,
}

impl Level {
    /// As log lines write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }

    /// The level a name means; what is unknown counts as information.
    pub fn parse(name: &str) -> Self {
        match name.to_ascii_uppercase().as_str() {
            "WARN" | "WARNING" => Self::Warn,
            "ERROR" => Self::Error,
            _ => Self::Info,
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLine {
    /// When, in milliseconds since the epoch.
    pub time_ms: i64,
    /// How much it matters.
    pub level: Level,
    /// What happened.
    pub message: String,
    /// The statement, from 1; 0 for the run as a whole.
    pub statement: u32,
    /// The task that said it.
    pub task: Option<TaskRef>,
    /// Its executor; empty when the scheduler speaks.
    pub executor: String,
}

/// The newest lines of a run.
#[derive(Debug)]
pub struct RunLog {
    lines: Mutex<VecDeque<RunLine>>,
    /// Lines ever written: the newest has the number `written`, the first 1.
    written: watch::Sender<u64>,
}

impl Default for RunLog {
    fn default() -> Self {
        Self { lines: Mutex::default(), written: watch::Sender::new(0) }
    }
}

impl RunLog {
    /// Appends a line; a very long message is cut.
    pub fn push(&self, mut line: RunLine) {
        if let Some((end, _)) = line.message.char_indices().nth(MAX_MESSAGE_CHARS) {
            line.message.truncate(end);
            line.message.push_str("...");
        }
        let mut lines = self.lines.lock();
        if lines.len() == MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
        self.written.send_modify(|n| *n += 1);
    }

    /// At most `max` lines after number `after`, oldest first, and the number of the last one given.
    pub fn after(&self, after: u64, max: usize) -> (Vec<RunLine>, u64) {
        let lines = self.lines.lock();
        let written = *self.written.borrow();
        let oldest = written - lines.len() as u64;
        let from = after.clamp(oldest, written);
        let skip = usize::try_from(from - oldest).unwrap_or(usize::MAX);
        let given: Vec<RunLine> = lines.iter().skip(skip).take(max).cloned().collect();
        let last = from + given.len() as u64;
        (given, last)
    }

    /// Wakes at each new line.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> RunLine {
        let message = message.to_owned();
        RunLine { time_ms: 1, level: Level::Info, message, statement: 0, task: None, executor: String::new() }
    }

    #[test]
    fn a_reader_gets_each_line_once_and_the_oldest_are_dropped() {
        let log = RunLog::default();
        for i in 0..3 {
            log.push(line(&i.to_string()));
        }
        let (first, seen) = log.after(0, 2);
        assert_eq!((first.len(), seen), (2, 2));
        let (rest, seen) = log.after(seen, 10);
        assert_eq!((rest[0].message.as_str(), seen), ("2", 3));
        assert!(log.after(seen, 10).0.is_empty());
        for i in 0..MAX_LINES {
            log.push(line(&format!("n{i}")));
        }
        let (all, seen) = log.after(seen, usize::MAX);
        assert_eq!((all.len(), all[0].message.as_str(), seen), (MAX_LINES, "n0", 3 + MAX_LINES as u64));
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let log = RunLog::default();
        log.push(line(&"é".repeat(MAX_MESSAGE_CHARS + 1)));
        assert_eq!(log.after(0, 1).0[0].message.chars().count(), MAX_MESSAGE_CHARS + 3);
    }
}
