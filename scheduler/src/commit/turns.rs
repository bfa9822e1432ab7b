//! Turns: one publish at a time for a location and everything below and above it, and for a table's name.
//!
//! A publish lists, adds and removes files. Two at once on one table would each remove what both saw and leave what both
//! wrote: rows doubled. Publishes of unrelated locations do not wait for each other.

use std::sync::Arc;

use parking_lot::Mutex;
use selvedge_engine::catalog::TableName;
use selvedge_engine::store::Location;
use tokio::sync::Notify;

/// Who publishes where.
#[derive(Debug, Default)]
pub struct Turns {
    taken: Mutex<Vec<String>>,
    left: Notify,
}

/// The right to publish at a location or under a name; its drop gives it back.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    place: String,
}

impl Turns {
    /// Waits until nobody publishes at `location`, below it or above it.
    pub async fn take(self: &Arc<Self>, location: &Location) -> Turn {
        self.take_place(location.as_directory().to_string()).await
    }

    /// Waits until nobody publishes a table of this name, wherever it lies. Taken after the location's turn, always: two
    /// that take both cannot wait for each other.
    pub async fn take_name(self: &Arc<Self>, name: &TableName) -> Turn {
        // No location begins so.
        self.take_place(format!("table {name}/")).await
    }

    async fn take_place(self: &Arc<Self>, place: String) -> Turn {
        loop {
            let mut left = std::pin::pin!(self.left.notified());
            left.as_mut().enable();
            {
                let mut taken = self.taken.lock();
                if !taken.iter().any(|other| place.starts_with(other) || other.starts_with(&place)) {
                    taken.push(place.clone());
                    return Turn { turns: Arc::clone(self), place };
                }
            }
            left.await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.turns.taken.lock();
        if let Some(index) = taken.iter().position(|place| *place == self.place) {
            taken.swap_remove(index);
        }
        drop(taken);
        self.turns.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn publishes_that_overlap_wait_and_others_do_not() {
        let turns = Arc::new(Turns::default());
        let at = |path: &str| Location::parse(path).unwrap();
        let table = turns.take(&at("s3://b/t")).await;
        let soon = |path: &str| {
            let (turns, place) = (turns.clone(), at(path));
            async move { tokio::time::timeout(Duration::from_millis(20), turns.take(&place)).await.is_ok() }
        };
        assert!(!soon("s3://b/t/").await);
        assert!(!soon("s3://b/t/ds=1/").await);
        assert!(!soon("s3://b/").await);
        assert!(soon("s3://b/t2/").await);
        drop(table);
        assert!(soon("s3://b/t/").await);
        let name = turns.take_name(&"s.t".parse().unwrap()).await;
        assert!(soon("s3://b/s.t/").await, "a name is no location");
        let same = "s.t".parse().unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), turns.take_name(&same)).await.is_err());
        turns.take_name(&"s.t2".parse().unwrap()).await;
        drop(name);
        turns.take_name(&same).await;
    }
}
