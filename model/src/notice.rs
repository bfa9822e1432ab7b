//! What follows from the announcement that a machine is about to be taken away.

use std::time::Duration;

/// What is kept of the time that is left, to hand back tasks that have not ended, and to leave.
pub const MARGIN: Duration = Duration::from_secs(15);

/// For how long running tasks may go on, when `usual` is what they get from a drain that nothing hurries and the machine goes in
/// `left`, if that is known.
pub fn drain_time(usual: Duration, left: Option<Duration>) -> Duration {
    left.map_or(usual, |left| usual.min(left.saturating_sub(MARGIN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_ends_before_the_machine_does() {
        for (usual, left, expected) in [
            (90, None, 90),
            (90, Some(120), 90),
            (90, Some(60), 45),
            (90, Some(15), 0),
            (90, Some(0), 0),
            (0, Some(120), 0),
        ] {
            let got = drain_time(Duration::from_secs(usual), left.map(Duration::from_secs));
            assert_eq!(got.as_secs(), expected, "{usual} {left:?}");
        }
    }
}
