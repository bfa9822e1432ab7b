//! When a task's output is copied to the shuffle location, from where its executor's death cannot take it.
//!
//! A copy costs requests, bytes and time; not to have one costs the work again, if the executor dies before the job ends.
//! Most jobs end soon and most executors live, so by default only what has lain for a while, or was dear to make, is copied.

use std::fmt;
use std::str::FromStr;

/// What a task's success promises of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// It is in the shuffle location.
    Eager,
    /// It is on the local disk, and will be copied when it is worth it or when the executor leaves.
    #[default]
    Lazy,
    /// It is on the local disk, and copied only when the executor leaves.
    Local,
}

impl Durability {
    /// As settings spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eager => "eager",
            Self::Lazy => "lazy",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Durability {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Eager, Self::Lazy, Self::Local].into_iter().find(|d| d.as_str().eq_ignore_ascii_case(text)).ok_or(())
    }
}

/// An output that took no time is copied when its job has lived this much longer: shorter jobs pay nothing.
const PATIENCE_MS: u64 = 15_000;
/// A task that ran this long is copied at once.
const DEAR_MS: u64 = 60_000;

/// When to copy an output, if at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copying {
    /// Before the task's success is reported.
    BeforeSuccess,
    /// In the background, once it has lain for so long.
    After {
        /// In milliseconds.
        wait_ms: u64,
    },
    /// When the executor leaves.
    OnLeave,
}

/// Decides when an output is copied that took `cost_ms` to make.
///
/// What could come out differently a second time (`is_repeatable` is false) must not be made again while some readers have
/// seen the first version: it is copied at once, as is what goes to no further stage but to the statement's end.
pub fn copying(durability: Durability, is_repeatable: bool, is_final: bool, cost_ms: u64) -> Copying {
    match durability {
        Durability::Eager => Copying::BeforeSuccess,
        _ if is_final => Copying::BeforeSuccess,
        Durability::Lazy if !is_repeatable => Copying::BeforeSuccess,
        Durability::Lazy => {
            let left = DEAR_MS.saturating_sub(cost_ms);
            Copying::After { wait_ms: PATIENCE_MS * left / DEAR_MS }
        }
        Durability::Local => Copying::OnLeave,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dear_is_copied_sooner_and_what_cannot_be_repeated_at_once() {
        let after = |wait_ms| Copying::After { wait_ms };
        for (durability, is_repeatable, is_final, cost_ms, expected) in [
            (Durability::Eager, true, false, 0, Copying::BeforeSuccess),
            (Durability::Lazy, true, false, 0, after(15_000)),
            (Durability::Lazy, true, false, 30_000, after(7_500)),
            (Durability::Lazy, true, false, 60_000, after(0)),
            (Durability::Lazy, true, false, 9_000_000, after(0)),
            (Durability::Lazy, false, false, 0, Copying::BeforeSuccess),
            (Durability::Lazy, true, true, 0, Copying::BeforeSuccess),
            (Durability::Local, true, false, 90_000, Copying::OnLeave),
            (Durability::Local, false, false, 0, Copying::OnLeave),
            (Durability::Local, true, true, 0, Copying::BeforeSuccess),
        ] {
            assert_eq!(copying(durability, is_repeatable, is_final, cost_ms), expected);
        }
    }

    #[test]
    fn names_read_back() {
        for durability in [Durability::Eager, Durability::Lazy, Durability::Local] {
            assert_eq!(durability.to_string().parse(), Ok(durability));
        }
        assert!("some".parse::<Durability>().is_err());
    }
}
