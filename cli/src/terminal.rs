//! What stdout, stderr and stdin are: decides colours, bars and questions. Looked at once, at the start.

use std::io::IsTerminal as _;

use clap::ValueEnum;

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The terminal, or what stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Results go to a person.
    pub stdout_tty: bool,
    /// Progress and errors go to a person.
    pub stderr_tty: bool,
    /// A person can be asked.
    pub stdin_tty: bool,
}

impl Terminal {
    /// Looks, and tells the printing macros whether colours pass.
    pub fn look(color: ColorChoice) -> Self {
        match color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        Self {
            stdout_tty: std::io::stdout().is_terminal(),
            stderr_tty: std::io::stderr().is_terminal(),
            stdin_tty: std::io::stdin().is_terminal(),
        }
    }

    /// No terminal anywhere.
    #[cfg(test)]
    pub fn plain(_: ColorChoice) -> Self {
        Self { stdout_tty: false, stderr_tty: false, stdin_tty: false }
    }

    /// Whether a person can be asked and sees the question.
    pub fn can_ask(self) -> bool {
        self.stdin_tty && self.stderr_tty
    }
}
