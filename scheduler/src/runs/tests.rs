//! The book as its callers see it: bounds, order, paging, forgetting.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge_model::run::{RunEvent, RunRecord, RunState, StatementRecord};
use selvedge_model::{Failure, RunId};

use super::{BookOptions, RunBook};

fn id(text: &str) -> RunId {
    text.parse().unwrap()
}

fn record(text: &str) -> RunRecord {
    RunRecord {
        id: id(text),
        name: "job".into(),
        queue: "default".into(),
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
    }
}

fn book(max_running: usize, max_queued: usize, retained: usize) -> Arc<RunBook> {
    RunBook::new(BookOptions { max_running, max_queued, retained })
}

fn end(book: &RunBook, text: &str) {
    assert!(book.apply(&id(text), RunEvent::Failed { index: None, failure: Failure::user("X", "no") }));
}

#[tokio::test]
async fn a_full_queue_refuses_and_records_nothing() {
    let book = book(1, 1, 10);
    let _running = book.accept(record("r1")).unwrap().come().await.unwrap();
    let _waiting = book.accept(record("r2")).unwrap();
    let refused = book.accept(record("r3")).err().unwrap();
    assert_eq!(refused.code, "QUEUE_FULL");
    assert_eq!(book.get(&id("r3")).unwrap_err().code, "RUN_NOT_FOUND");
}

#[tokio::test]
async fn turns_pass_in_order_and_a_dropped_turn_frees_its_place() {
    let book = book(1, 10, 10);
    let first = book.accept(record("r1")).unwrap().come().await.unwrap();
    let gave_up = book.accept(record("r2")).unwrap();
    let third = book.accept(record("r3")).unwrap();
    let fourth = book.accept(record("r4")).unwrap();
    drop(gave_up);
    drop(first);
    let permit = third.come().await.unwrap();
    assert_eq!((book.counts().running, book.counts().waiting), (1, 1));
    // Granted, but nobody takes it up: the place must not be lost.
    let fifth = book.accept(record("r5")).unwrap();
    drop(permit);
    drop(fourth);
    assert!(fifth.come().await.is_some());
}

#[test]
fn pages_are_newest_first_and_stay_right_while_runs_arrive() {
    let book = book(100, 0, 100);
    let turns: Vec<_> = (1..=5).map(|i| book.accept(record(&format!("r{i}"))).unwrap()).collect();
    end(&book, "r4");
    let ids = |page: &super::RunPage| page.runs.iter().map(|r| r.id.to_string()).collect::<Vec<_>>();
    let first = book.list(2, "", &[]).unwrap();
    assert_eq!(ids(&first), ["r5", "r4"]);
    let _newer = book.accept(record("r6")).unwrap();
    let second = book.list(2, &first.next_token, &[]).unwrap();
    assert_eq!(ids(&second), ["r3", "r2"]);
    let last = book.list(2, &second.next_token, &[]).unwrap();
    assert_eq!((ids(&last), last.next_token.as_str()), (vec!["r1".to_owned()], ""));
    assert_eq!(ids(&book.list(0, "", &[RunState::Failed]).unwrap()), ["r4"]);
    assert_eq!(book.list(1, "../x", &[]).unwrap_err().code, "INVALID_PAGE_TOKEN");
    drop(turns);
}

#[test]
fn only_the_newest_ended_runs_are_kept_and_open_ones_always() {
    let book = book(100, 0, 1);
    let _turns: Vec<_> = (1..=3).map(|i| book.accept(record(&format!("r{i}"))).unwrap()).collect();
    end(&book, "r2");
    end(&book, "r3");
    assert!(book.get(&id("r1")).is_ok() && book.get(&id("r3")).is_ok());
    assert_eq!(book.get(&id("r2")).unwrap_err().code, "RUN_NOT_FOUND");
}

#[tokio::test]
async fn watchers_see_the_end_and_cancel_is_idempotent() {
    let book = book(1, 1, 10);
    let _permit = book.accept(record("r1")).unwrap().come().await.unwrap();
    let mut watch = book.watch(&id("r1")).unwrap();
    assert_eq!(book.cancel(&id("r1")).unwrap(), RunState::Queued);
    assert_eq!(book.cancel(&id("r1")).unwrap(), RunState::Queued);
    assert!(book.cancellation(&id("r1")).unwrap().is_cancelled());
    book.apply(&id("r1"), RunEvent::Cancelled);
    watch.wait_for(|r| r.state == RunState::Cancelled && r.cancel_requested).await.unwrap();
    assert_eq!(book.cancel(&id("r1")).unwrap(), RunState::Cancelled);
    let (lines, _) = book.log(&id("r1")).unwrap().after(0, 10);
    let told: Vec<&str> = lines.iter().map(|l| l.message.as_str()).collect();
    assert_eq!(told, ["Cancel requested", "Run cancelled"]);
}

#[test]
fn a_closed_book_accepts_nothing_and_ends_all_though_nobody_asked() {
    let book = book(1, 1, 10);
    let _turn = book.accept(record("r1")).unwrap();
    assert!(!book.is_closed());
    book.close();
    assert!(book.is_closed() && book.cancellation(&id("r1")).unwrap().is_cancelled());
    assert!(!book.get(&id("r1")).unwrap().cancel_requested);
    assert_eq!(book.accept(record("r2")).err().unwrap().code, "SHUTTING_DOWN");
}
