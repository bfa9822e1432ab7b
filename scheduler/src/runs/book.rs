//! The book of runs: accepts, admits, applies events, lets watch and page, forgets old ones.
//!
//! Every change of a run goes through [`RunBook::apply`]. The book never waits and never calls out while it holds its
//! lock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use selvedge_model::run::{RunEvent, RunRecord, RunState};
use selvedge_model::words::counted;
use selvedge_model::{Failure, RunId};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::admission::{Admission, Admitted};
use super::ids::RunIds;
use super::log::{RunLine, RunLog};
use super::now_ms;
use super::page::{self, RunPage};
use super::story::{self, Chapter};

/// The book's bounds.
#[derive(Debug, Clone, Copy)]
pub struct BookOptions {
    /// Runs at the same time.
    pub max_running: usize,
    /// Runs that may wait.
    pub max_queued: usize,
    /// Ended runs kept.
    pub retained: usize,
}

/// How many runs there are, for metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunCounts {
    /// Known runs by state.
    pub by_state: HashMap<RunState, usize>,
    /// Runs that wait for their turn.
    pub waiting: usize,
    /// Runs that hold a place.
    pub running: usize,
}

struct Entry {
    record: watch::Sender<Arc<RunRecord>>,
    cancel: CancellationToken,
    log: Arc<RunLog>,
}

struct State {
    runs: BTreeMap<RunId, Arc<Entry>>,
    admission: Admission,
    turns: HashMap<RunId, oneshot::Sender<RunPermit>>,
    /// Ended runs, oldest first.
    ended: VecDeque<RunId>,
    closed: bool,
}

/// The runs this scheduler knows.
pub struct RunBook {
    options: BookOptions,
    ids: RunIds,
    state: Mutex<State>,
}

/// The right to run; its drop gives the place to the next in line.
pub struct RunPermit {
    book: Arc<RunBook>,
    id: RunId,
}

impl Drop for RunPermit {
    fn drop(&mut self) {
        self.book.release(&self.id);
    }
}

/// A place in the queue; its drop gives it up.
pub struct Turn {
    book: Arc<RunBook>,
    id: RunId,
    granted: oneshot::Receiver<RunPermit>,
}

impl Turn {
    /// Waits for the run's turn; `None` when it will never come.
    pub async fn come(mut self) -> Option<RunPermit> {
        (&mut self.granted).await.ok()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.book.leave(&self.id);
    }
}

impl RunBook {
    /// An empty book.
    pub fn new(options: BookOptions) -> Arc<Self> {
        let state = State {
            runs: BTreeMap::new(),
            admission: Admission::new(options.max_running, options.max_queued),
            turns: HashMap::new(),
            ended: VecDeque::new(),
            closed: false,
        };
        Arc::new(Self { options, ids: RunIds::default(), state: Mutex::new(state) })
    }

    /// Records a run that waits for its turn.
    ///
    /// # Errors
    /// When the queue is full or the scheduler is going down; nothing is recorded then.
    pub fn accept(self: &Arc<Self>, record: RunRecord) -> Result<Turn, Failure> {
        let id = record.id.clone();
        let (grant, granted) = oneshot::channel();
        let permit = {
            let mut state = self.state.lock();
            if state.closed {
                return Err(Failure::external("SHUTTING_DOWN", "The scheduler is shutting down")
                    .with_hint("Submit again in a moment"));
            }
            let admitted = state.admission.arrive(id.clone()).map_err(|full| {
                Failure::user("QUEUE_FULL", format!("The queue is full with {} waiting", counted(full.waiting, "run")))
                    .with_hint("Submit again when some have ended; the scheduler's max_queued_runs sets the bound")
            })?;
            let entry = Entry {
                record: watch::Sender::new(Arc::new(record)),
                cancel: CancellationToken::new(),
                log: Arc::default(),
            };
            state.runs.insert(id.clone(), Arc::new(entry));
            match admitted {
                Admitted::Runs => Some(grant),
                Admitted::Waits => {
                    state.turns.insert(id.clone(), grant);
                    None
                }
            }
        };
        tracing::info!(run_id = %id, run_state = ?RunState::Queued, "Run accepted");
        if let Some(grant) = permit {
            // A failed send hands the permit back, and its drop frees the place.
            let _ = grant.send(RunPermit { book: Arc::clone(self), id: id.clone() });
        }
        Ok(Turn { book: Arc::clone(self), id, granted })
    }

    /// Applies an event, wakes watchers and tells the story. Returns whether anything changed.
    pub fn apply(&self, id: &RunId, event: RunEvent) -> bool {
        let Ok(entry) = self.entry(id) else { return false };
        let now = now_ms();
        let chapter = Chapter::of(&event);
        let changed = entry.record.send_if_modified(|record| Arc::make_mut(record).apply(event, now));
        if !changed {
            return false;
        }
        let record = Arc::clone(&entry.record.borrow());
        for line in chapter.map(|c| story::tell(&record, c, now)).unwrap_or_default() {
            entry.log.push(line);
        }
        if record.state.is_final() {
            self.retire(id);
        }
        true
    }

    /// Asks a run to end. Returns the state it was in when the request was recorded.
    ///
    /// # Errors
    /// When there is no such run.
    pub fn cancel(&self, id: &RunId) -> Result<RunState, Failure> {
        let entry = self.entry(id)?;
        self.apply(id, RunEvent::CancelRequested);
        let state = entry.record.borrow().state;
        entry.cancel.cancel();
        Ok(state)
    }

    /// The run as it is now.
    ///
    /// # Errors
    /// When there is no such run.
    pub fn get(&self, id: &RunId) -> Result<Arc<RunRecord>, Failure> {
        Ok(Arc::clone(&self.entry(id)?.record.borrow()))
    }

    /// An id for a run to come, greater than every one before.
    ///
    /// # Errors
    /// Never in practice.
    pub fn next_id(&self) -> Result<RunId, Failure> {
        self.ids.next().map_err(|error| Failure::internal("INTERNAL", error.to_string()))
    }

    /// The newest run of a job.
    pub fn newest(&self, name: &str) -> Option<Arc<RunRecord>> {
        let state = self.state.lock();
        let mut newest_first = state.runs.values().rev().map(|entry| Arc::clone(&entry.record.borrow()));
        newest_first.find(|record| record.name == name)
    }

    /// Follows a run; the channel closes when the run is forgotten.
    ///
    /// # Errors
    /// When there is no such run.
    pub fn watch(&self, id: &RunId) -> Result<watch::Receiver<Arc<RunRecord>>, Failure> {
        Ok(self.entry(id)?.record.subscribe())
    }

    /// Fires when the run is asked to end.
    ///
    /// # Errors
    /// When there is no such run.
    pub fn cancellation(&self, id: &RunId) -> Result<CancellationToken, Failure> {
        Ok(self.entry(id)?.cancel.clone())
    }

    /// The run's log.
    ///
    /// # Errors
    /// When there is no such run.
    pub fn log(&self, id: &RunId) -> Result<Arc<RunLog>, Failure> {
        Ok(Arc::clone(&self.entry(id)?.log))
    }

    /// Adds a line to a run's log; nothing happens when the run is forgotten.
    pub fn tell(&self, id: &RunId, line: RunLine) {
        if let Ok(entry) = self.entry(id) {
            entry.log.push(line);
        }
    }

    /// A page of runs, newest first, in one of `states` (all when empty).
    ///
    /// # Errors
    /// When the page token is none of ours.
    pub fn list(&self, size: usize, token: &str, states: &[RunState]) -> Result<RunPage, Failure> {
        let before = page::parse_token(token)?;
        let state = self.state.lock();
        let newest_first = match before {
            Some(id) => state.runs.range(..id),
            None => state.runs.range::<RunId, _>(..),
        };
        let records = newest_first.rev().map(|(_, entry)| Arc::clone(&entry.record.borrow()));
        Ok(page::page(records, states, page::page_size(size)))
    }

    /// How many runs there are.
    pub fn counts(&self) -> RunCounts {
        let state = self.state.lock();
        let mut by_state = HashMap::new();
        for entry in state.runs.values() {
            *by_state.entry(entry.record.borrow().state).or_default() += 1;
        }
        RunCounts { by_state, waiting: state.admission.waiting(), running: state.admission.running() }
    }

    /// Refuses further runs and makes every open one end, at nobody's request: see [`Self::is_closed`].
    pub fn close(&self) {
        let open: Vec<CancellationToken> = {
            let mut state = self.state.lock();
            state.closed = true;
            let open = state.runs.values().filter(|entry| !entry.record.borrow().state.is_final());
            open.map(|entry| entry.cancel.clone()).collect()
        };
        for cancel in open {
            cancel.cancel();
        }
    }

    /// Whether the scheduler is going down.
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Completes when no run is open.
    pub async fn idle(&self) {
        let open = || self.state.lock().runs.values().any(|entry| !entry.record.borrow().state.is_final());
        while open() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn entry(&self, id: &RunId) -> Result<Arc<Entry>, Failure> {
        self.state.lock().runs.get(id).cloned().ok_or_else(|| {
            Failure::user("RUN_NOT_FOUND", format!("There is no run '{id}'"))
                .with_hint("`selvedge runs list` shows the runs that this scheduler remembers")
        })
    }

    fn retire(&self, id: &RunId) {
        let mut state = self.state.lock();
        state.ended.push_back(id.clone());
        while state.ended.len() > self.options.retained {
            if let Some(oldest) = state.ended.pop_front() {
                state.runs.remove(&oldest);
            }
        }
    }

    fn release(self: &Arc<Self>, id: &RunId) {
        let next = {
            let mut state = self.state.lock();
            state.admission.release(id).and_then(|next| state.turns.remove(&next).map(|grant| (next, grant)))
        };
        if let Some((id, grant)) = next {
            let _ = grant.send(RunPermit { book: Arc::clone(self), id });
        }
    }

    fn leave(&self, id: &RunId) {
        let mut state = self.state.lock();
        state.admission.leave(id);
        state.turns.remove(id);
    }
}
