//! One memory pool for all tasks of a process, in which whoever needs memory may use what others leave.
//!
//! A fair pool gives each spilling consumer its n-th part, so that a lone big sort beside idle ones spills early. Here a
//! consumer may go past its fair share while a reserve stays free for those below theirs. It never promises: who is
//! refused spills, or fails. What it must not do is wait: operators hold locks while they ask.

use std::fmt;

use datafusion::common::{DataFusionError, resources_datafusion_err};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::Mutex;

/// The part of the pool that only consumers below their fair share, and those that cannot spill, may use: 1/5.
const RESERVE_DIVISOR: usize = 5;

/// A bounded pool whose consumers borrow from each other.
#[derive(Debug)]
pub struct BorrowingPool {
    size: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    /// Registered consumers that can spill.
    spilling: usize,
    /// Bytes held by consumers that can spill.
    spillable: usize,
    /// Bytes held by the others.
    unspillable: usize,
}

impl BorrowingPool {
    /// A pool of `size` bytes.
    pub fn new(size: usize) -> Self {
        Self { size, state: Mutex::default() }
    }
}

/// Whether a consumer that holds `held` may have `more`.
fn may_grow(size: usize, state: State, can_spill: bool, held: usize, more: usize) -> bool {
    let used = state.spillable.saturating_add(state.unspillable);
    let free = size.saturating_sub(used);
    if more > free {
        return false;
    }
    if !can_spill {
        return true;
    }
    let fair_share = size.saturating_sub(state.unspillable) / state.spilling.max(1);
    let after = held.saturating_add(more);
    after <= fair_share || free - more >= size / RESERVE_DIVISOR
}

impl MemoryPool for BorrowingPool {
    fn name(&self) -> &str {
        "borrowing"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.state.lock().spilling += 1;
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            let mut state = self.state.lock();
            state.spilling = state.spilling.saturating_sub(1);
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let mut state = self.state.lock();
        *held_by(&mut state, reservation) += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut state = self.state.lock();
        let held = held_by(&mut state, reservation);
        *held = held.saturating_sub(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut state = self.state.lock();
        let can_spill = reservation.consumer().can_spill();
        if !may_grow(self.size, *state, can_spill, reservation.size(), additional) {
            return Err(refused(self.size, *state, reservation, additional));
        }
        *held_by(&mut state, reservation) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let state = self.state.lock();
        state.spillable + state.unspillable
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.size)
    }
}

impl fmt::Display for BorrowingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "borrowing(pool_size: {})", bytesize::ByteSize::b(self.size as u64))
    }
}

fn held_by<'a>(state: &'a mut State, reservation: &MemoryReservation) -> &'a mut usize {
    if reservation.consumer().can_spill() { &mut state.spillable } else { &mut state.unspillable }
}

fn refused(size: usize, state: State, reservation: &MemoryReservation, additional: usize) -> DataFusionError {
    let free = size.saturating_sub(state.spillable + state.unspillable);
    let bytes = |n: usize| bytesize::ByteSize::b(n as u64);
    resources_datafusion_err!(
        "{} needs {} more and holds {}; {} of the pool's {} are free",
        reservation.consumer().name(),
        bytes(additional),
        bytes(reservation.size()),
        bytes(free),
        bytes(size)
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn pool(size: usize) -> Arc<dyn MemoryPool> {
        Arc::new(BorrowingPool::new(size))
    }

    fn spilling(pool: &Arc<dyn MemoryPool>, name: &str) -> MemoryReservation {
        MemoryConsumer::new(name).with_can_spill(true).register(pool)
    }

    #[test]
    fn a_busy_consumer_borrows_from_idle_ones_but_leaves_the_reserve() {
        let pool = pool(1000);
        let busy = spilling(&pool, "sort");
        let idle = spilling(&pool, "idle");
        busy.try_grow(800).unwrap();
        assert!(busy.try_grow(1).is_err(), "the reserve is for the others");
        idle.try_grow(200).unwrap();
        assert!(idle.try_grow(1).is_err(), "nothing is left");
        busy.shrink(700);
        idle.try_grow(300).unwrap();
        assert_eq!(pool.reserved(), 600);
    }

    #[test]
    fn a_consumer_that_cannot_spill_may_use_the_reserve() {
        let pool = pool(1000);
        let sort = spilling(&pool, "sort");
        sort.try_grow(800).unwrap();
        let build = MemoryConsumer::new("hash join").register(&pool);
        build.try_grow(200).unwrap();
        let error = build.try_grow(1).unwrap_err().to_string();
        assert!(error.contains("hash join") && error.contains("free"), "{error}");
    }

    #[test]
    fn never_more_than_the_pool_and_nothing_is_lost() {
        let pool = pool(10_000);
        let consumers: Vec<_> = (0..7).map(|i| spilling(&pool, &format!("c{i}"))).collect();
        for step in 0..5_000_usize {
            let consumer = &consumers[step * 31 % consumers.len()];
            if step % 3 == 0 && consumer.size() > 0 {
                consumer.shrink(consumer.size() / 2 + 1);
            } else {
                let _ = consumer.try_grow(step * 17 % 900);
            }
            let held: usize = consumers.iter().map(MemoryReservation::size).sum();
            assert_eq!(pool.reserved(), held);
            assert!(held <= 10_000);
        }
        drop(consumers);
        assert_eq!(pool.reserved(), 0);
    }
}
