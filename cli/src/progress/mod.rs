//! How a run goes, on stderr: bars on a terminal, plain lines elsewhere. Both are drawn from the same pure model (`model`).

mod bars;
mod model;
mod plain;
#[cfg(test)]
pub mod samples;

use selvedge::model::RunRecord;

use crate::output::units;
use crate::terminal::Terminal;

/// Shows a run as it goes.
pub enum Progress {
    /// One bar a stage.
    Bars(bars::Bars),
    /// Lines.
    Plain(plain::Plain),
}

impl Progress {
    /// Bars for a person, lines for a pipe.
    pub fn new(terminal: Terminal) -> Self {
        if terminal.stderr_tty { Self::Bars(bars::Bars::new()) } else { Self::Plain(plain::Plain::default()) }
    }

    /// The run as it is now.
    pub fn update(&mut self, run: &RunRecord) {
        match self {
            Self::Bars(bars) => bars.update(run, units::now_ms()),
            Self::Plain(plain) => {
                for line in plain.lines(run, units::now_ms()) {
                    anstream::eprintln!("{line}");
                }
            }
        }
    }

    /// Prints a line without tearing the bars.
    pub fn say(&self, line: &str) {
        match self {
            Self::Bars(bars) => bars.say(line),
            Self::Plain(_) => anstream::eprintln!("{line}"),
        }
    }

    /// Takes the bars away; what was said stays.
    pub fn finish(&mut self) {
        if let Self::Bars(bars) = self {
            bars.clear();
        }
    }
}
