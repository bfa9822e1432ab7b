//! What Ctrl-C means while a run is followed: pure, so that every case is a row in a test. `follow.rs` acts on it.

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ask whether to cancel, and go on meanwhile.
    Ask,
    /// Cancel the run and wait for its end.
    Cancel,
    /// Leave the run going and stop following it.
    Leave,
    /// Go on following.
    GoOn,
}

/// What was asked so far.
#[derive(Debug)]
pub struct Interrupts {
    can_ask: bool,
    embedded: bool,
    asking: bool,
    cancelling: bool,
}

impl Interrupts {
    /// `can_ask`: a person is there. `embedded`: the run ends with this process, so it cannot be left going.
    pub fn new(can_ask: bool, embedded: bool) -> Self {
        Self { can_ask, embedded, asking: false, cancelling: false }
    }

    /// Whether the run ends with this process.
    pub fn is_embedded(&self) -> bool {
        self.embedded
    }

    /// Ctrl-C. A third one, while the run is being cancelled, gives up waiting.
    pub fn pressed(&mut self) -> Action {
        if self.cancelling {
            return Action::Leave;
        }
        match (self.can_ask, self.asking, self.embedded) {
            (true, false, _) => {
                self.asking = true;
                Action::Ask
            }
            (_, _, true) => self.cancel(),
            (_, _, false) => Action::Leave,
        }
    }

    /// An answer to the question.
    pub fn answered(&mut self, yes: bool) -> Action {
        if !std::mem::take(&mut self.asking) {
            return Action::GoOn;
        }
        if yes { self.cancel() } else { Action::GoOn }
    }

    fn cancel(&mut self) -> Action {
        self.cancelling = true;
        Action::Cancel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_terminal_the_first_asks_and_the_second_leaves_the_run_going() {
        let mut i = Interrupts::new(true, false);
        assert_eq!((i.pressed(), i.pressed()), (Action::Ask, Action::Leave));
        let mut i = Interrupts::new(true, false);
        assert_eq!((i.pressed(), i.answered(true), i.pressed()), (Action::Ask, Action::Cancel, Action::Leave));
        let mut i = Interrupts::new(true, false);
        assert_eq!((i.pressed(), i.answered(false), i.pressed()), (Action::Ask, Action::GoOn, Action::Ask));
    }

    #[test]
    fn an_embedded_run_cannot_be_left_going() {
        let mut i = Interrupts::new(true, true);
        assert_eq!((i.pressed(), i.pressed(), i.pressed()), (Action::Ask, Action::Cancel, Action::Leave));
        assert_eq!(Interrupts::new(false, true).pressed(), Action::Cancel);
    }

    #[test]
    fn without_a_terminal_a_cluster_s_run_goes_on() {
        assert_eq!(Interrupts::new(false, false).pressed(), Action::Leave);
    }
}
