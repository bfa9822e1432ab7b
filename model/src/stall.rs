//! When a task counts as hanging: for a whole time limit none of its streams moved, and none was computing.
//!
//! The time is counted in looks at even intervals, not by a clock: a process that was frozen, and its looks with it, has not
//! hung.

/// Looks in a row without any movement after which a task hangs. Whoever looks does so at `limit / LOOKS`.
pub const LOOKS: u32 = 20;

/// What one look at a task sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// How often its streams have been asked, or answered, so far.
    pub ticks: u64,
    /// Whether one of them is computing right now: a join may do so for long before its next batch.
    pub is_computing: bool,
}

/// What earlier looks at one task saw.
#[derive(Debug, Default)]
pub struct StallWatch {
    ticks: u64,
    still: u32,
}

impl StallWatch {
    /// Takes one look; whether the task hangs.
    pub fn look(&mut self, look: Look) -> bool {
        let moves = look.is_computing || look.ticks != self.ticks;
        self.ticks = look.ticks;
        self.still = if moves { 0 } else { self.still + 1 };
        self.still >= LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STILL: Look = Look { ticks: 7, is_computing: false };

    /// After how many further looks of this kind it hangs.
    fn looks_until_stalled(watch: &mut StallWatch, look: impl Fn(u32) -> Look) -> Option<u32> {
        (1..=100).find(|number| watch.look(look(*number)))
    }

    #[test]
    fn a_task_hangs_when_nothing_moves_for_all_looks() {
        let mut watch = StallWatch::default();
        assert_eq!(looks_until_stalled(&mut watch, |_| STILL), Some(LOOKS + 1), "the first look sees it move");
    }

    #[test]
    fn what_moves_or_computes_does_not_hang() {
        for look in [
            |n: u32| Look { ticks: u64::from(n), is_computing: false },
            |_| Look { ticks: 7, is_computing: true },
            // One batch in 19 looks is little, but it is something.
            |n: u32| Look { ticks: u64::from(n / (LOOKS - 1)), is_computing: false },
        ] as [fn(u32) -> Look; 3]
        {
            assert_eq!(looks_until_stalled(&mut StallWatch::default(), look), None);
        }
    }

    #[test]
    fn counting_begins_anew_with_each_movement() {
        let mut watch = StallWatch::default();
        for _ in 0..LOOKS {
            assert!(!watch.look(STILL));
        }
        assert!(!watch.look(Look { ticks: 8, is_computing: false }));
        assert_eq!(looks_until_stalled(&mut watch, |_| Look { ticks: 8, is_computing: false }), Some(LOOKS));
    }
}
