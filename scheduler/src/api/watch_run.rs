//! WatchRun: the run now, then again after each change, at most ten times a second, to its end.
//!
//! Previews come with the last message only: they do not change, and repeating them would cost more than all the rest.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use selvedge_model::Failure;
use selvedge_model::run::RunRecord;
use selvedge_proto::v1;
use tokio::sync::watch;

use super::{Answers, Api, request};

const MIN_INTERVAL: Duration = Duration::from_millis(100);

enum Watch {
    /// Send what is there.
    Now(watch::Receiver<Arc<RunRecord>>),
    /// Wait for a change first.
    Next(watch::Receiver<Arc<RunRecord>>),
    Ended,
}

pub(super) fn watch_run(api: &Api, request: v1::WatchRunRequest) -> Result<Answers<v1::WatchRunResponse>, Failure> {
    let id = request::run_id(&request.run_id)?;
    let changes = api.driver.book().watch(&id)?;
    Ok(stream::unfold(Watch::Now(changes), next).map(Ok).boxed())
}

async fn next(watch: Watch) -> Option<(v1::WatchRunResponse, Watch)> {
    let mut changes = match watch {
        Watch::Now(changes) => changes,
        Watch::Next(mut changes) => {
            tokio::time::sleep(MIN_INTERVAL).await;
            // Fails only when the run is forgotten, which happens after its last message.
            changes.changed().await.ok()?;
            changes
        }
        Watch::Ended => return None,
    };
    let record = Arc::clone(&changes.borrow_and_update());
    let ended = record.state.is_final();
    let run = v1::Run::from(if ended { record.as_ref().clone() } else { without_previews(&record) });
    let rest = if ended { Watch::Ended } else { Watch::Next(changes) };
    Some((v1::WatchRunResponse { run: Some(run) }, rest))
}

fn without_previews(run: &RunRecord) -> RunRecord {
    let mut run = run.clone();
    for statement in &mut run.statements {
        statement.preview.clear();
    }
    run
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use selvedge_model::run::{Counters, RunEvent, RunState, StatementRecord};

    use super::*;
    use crate::runs::{BookOptions, RunBook};

    #[tokio::test]
    async fn a_watcher_sees_the_run_now_and_its_end_and_then_the_stream_ends() {
        let book = RunBook::new(BookOptions { max_running: 1, max_queued: 1, retained: 1 });
        let id: selvedge_model::RunId = "r1".parse().unwrap();
        let record = RunRecord {
            id: id.clone(),
            name: String::new(),
            queue: String::new(),
            state: RunState::Queued,
            submitted_ms: 1,
            started_ms: 0,
            ended_ms: 0,
            statements: vec![StatementRecord::pending(1, "SELECT", "SELECT 1", "")],
            failure: None,
            params: BTreeMap::new(),
            cancel_requested: false,
            user: String::new(),
            submission: Default::default(),
        };
        let _turn = book.accept(record).unwrap();
        let watching = stream::unfold(Watch::Now(book.watch(&id).unwrap()), next);
        let driving = async {
            tokio::task::yield_now().await;
            book.apply(&id, RunEvent::Started);
            book.apply(&id, RunEvent::StatementStarted { index: 1 });
            let written = Counters::default();
            book.apply(&id, RunEvent::StatementSucceeded { index: 1, written, preview: vec![7] });
        };
        let (seen, ()) = tokio::join!(watching.map(|r| r.run.unwrap()).collect::<Vec<_>>(), driving);
        let states: Vec<_> = seen.iter().map(v1::Run::state).collect();
        assert_eq!(states, [v1::RunState::Queued, v1::RunState::Succeeded]);
        assert_eq!(seen[1].statements[0].preview.as_ref(), [7]);
    }
}
