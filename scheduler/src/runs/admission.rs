//! Who runs and who waits: first come, first served, both bounded. Pure; `book` carries out what it grants.

use std::collections::{BTreeSet, VecDeque};

use selvedge_model::RunId;

/// The queue is at its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueFull {
    pub(super) waiting: usize,
}

/// What a run gets on arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted {
    Runs,
    Waits,
}

/// Invariant: somebody waits only while `max_running` run.
#[derive(Debug)]
pub(super) struct Admission {
    max_running: usize,
    max_waiting: usize,
    running: BTreeSet<RunId>,
    waiting: VecDeque<RunId>,
}

impl Admission {
    pub(super) fn new(max_running: usize, max_waiting: usize) -> Self {
        Self { max_running: max_running.max(1), max_waiting, running: BTreeSet::new(), waiting: VecDeque::new() }
    }

    pub(super) fn arrive(&mut self, id: RunId) -> Result<Admitted, QueueFull> {
        if self.running.len() < self.max_running {
            self.running.insert(id);
            return Ok(Admitted::Runs);
        }
        if self.waiting.len() >= self.max_waiting {
            return Err(QueueFull { waiting: self.waiting.len() });
        }
        self.waiting.push_back(id);
        Ok(Admitted::Waits)
    }

    /// A run has ended. Returns the run whose turn has come.
    pub(super) fn release(&mut self, id: &RunId) -> Option<RunId> {
        if !self.running.remove(id) {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.running.insert(next.clone());
        Some(next)
    }

    /// A run no longer waits; nothing happens to one that runs.
    pub(super) fn leave(&mut self, id: &RunId) {
        self.waiting.retain(|waiting| waiting != id);
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> RunId {
        text.parse().unwrap()
    }

    #[test]
    fn turns_come_in_the_order_of_arrival() {
        let mut admission = Admission::new(1, 10);
        assert_eq!(admission.arrive(id("b")), Ok(Admitted::Runs));
        for waiting in ["c", "a", "d"] {
            assert_eq!(admission.arrive(id(waiting)), Ok(Admitted::Waits));
        }
        admission.leave(&id("c"));
        assert_eq!(admission.release(&id("b")), Some(id("a")));
        assert_eq!(admission.release(&id("b")), None, "a second release frees nothing");
        assert_eq!(admission.release(&id("a")), Some(id("d")));
        assert_eq!(admission.release(&id("d")), None);
        assert_eq!((admission.running(), admission.waiting()), (0, 0));
    }

    #[test]
    fn the_queue_is_bounded_but_free_places_are_not_refused() {
        let mut admission = Admission::new(2, 1);
        assert_eq!(admission.arrive(id("a")), Ok(Admitted::Runs));
        assert_eq!(admission.arrive(id("b")), Ok(Admitted::Runs));
        assert_eq!(admission.arrive(id("c")), Ok(Admitted::Waits));
        assert_eq!(admission.arrive(id("d")), Err(QueueFull { waiting: 1 }));
        let mut none_waits = Admission::new(1, 0);
        assert_eq!(none_waits.arrive(id("a")), Ok(Admitted::Runs));
        assert_eq!(none_waits.arrive(id("b")), Err(QueueFull { waiting: 0 }));
    }
}
