//! Pages of runs, newest first. Pure: what is given is sorted by id, and ids sort by time.
//!
//! A page token is the id of the last run given: it stays right while runs are added and while old ones are forgotten.

use std::sync::Arc;

use selvedge_model::run::{RunRecord, RunState};
use selvedge_model::{Failure, RunId};

/// The largest page.
pub const MAX_PAGE_SIZE: usize = 1_000;
const DEFAULT_PAGE_SIZE: usize = 100;

/// Some runs, and where to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPage {
    /// Newest first.
    pub runs: Vec<Arc<RunRecord>>,
    /// For the next page; empty on the last.
    pub next_token: String,
}

/// The id a page token stands for; `None` for the first page.
pub(super) fn parse_token(token: &str) -> Result<Option<RunId>, Failure> {
    if token.is_empty() {
        return Ok(None);
    }
    let id = token.parse::<RunId>().map_err(|_| {
        Failure::user("INVALID_PAGE_TOKEN", "The page token is none of ours")
            .with_hint("Pass next_page_token of the previous response, or nothing for the first page")
    })?;
    Ok(Some(id))
}

/// The size that a requested size means.
pub(super) fn page_size(requested: usize) -> usize {
    if requested == 0 { DEFAULT_PAGE_SIZE } else { requested.min(MAX_PAGE_SIZE) }
}

/// The first `size` of `newest_first` in one of `states` (all when empty).
pub(super) fn page(newest_first: impl Iterator<Item = Arc<RunRecord>>, states: &[RunState], size: usize) -> RunPage {
    let mut matching = newest_first.filter(|run| states.is_empty() || states.contains(&run.state));
    let runs: Vec<_> = matching.by_ref().take(size).collect();
    let more = matching.next().is_some();
    let next_token = runs.last().filter(|_| more).map(|run| run.id.to_string()).unwrap_or_default();
    RunPage { runs, next_token }
}
