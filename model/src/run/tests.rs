//! Runs from event to event.

use super::*;

fn run(statements: u32) -> RunRecord {
    RunRecord {
        id: "r1".parse().unwrap(),
        name: "job".into(),
        queue: "default".into(),
        state: RunState::Queued,
        submitted_ms: 1,
        started_ms: 0,
        ended_ms: 0,
        statements: (1..=statements).map(|i| StatementRecord::pending(i, "SELECT", "SELECT 1", "")).collect(),
        failure: None,
        params: BTreeMap::new(),
        cancel_requested: false,
        user: String::new(),
        submission: Submission::default(),
    }
}

fn done(index: u32) -> RunEvent {
    RunEvent::StatementSucceeded { index, written: Counters::default(), preview: vec![] }
}

#[test]
fn a_run_succeeds_with_its_last_statement() {
    let mut r = run(2);
    assert!(r.apply(RunEvent::Started, 2));
    for index in [1, 2] {
        assert!(r.apply(RunEvent::StatementStarted { index }, 3));
        assert!(r.apply(RunEvent::Publishing { index }, 4));
        assert!(r.apply(done(index), 5));
    }
    assert_eq!((r.state, r.ended_ms), (RunState::Succeeded, 5));
}

#[test]
fn a_failed_statement_fails_the_run_and_the_rest_never_runs() {
    let mut r = run(2);
    r.apply(RunEvent::Started, 2);
    r.apply(RunEvent::StatementStarted { index: 1 }, 3);
    assert!(r.apply(RunEvent::Failed { index: Some(1), failure: Failure::user("X", "no") }, 4));
    assert_eq!(r.state, RunState::Failed);
    assert_eq!(r.statements[0].state, StatementState::Failed);
    assert_eq!(r.statements[1].state, StatementState::Cancelled);
}

#[test]
fn what_an_attempt_found_is_kept_until_the_next_one() {
    let result = ExpectationResult {
        table: "public.t".into(),
        name: "e".into(),
        rule: "ROWS >= 1".into(),
        on_violation: crate::expectation::OnViolation::Warn,
        is_met: false,
        violations: 0,
        found: "0 rows written".into(),
        samples: vec![],
    };
    let mut r = run(1);
    let judged = RunEvent::Judged { index: 1, results: vec![result] };
    r.apply(RunEvent::Started, 2);
    assert!(!r.apply(judged.clone(), 3), "it has not begun");
    r.apply(RunEvent::StatementStarted { index: 1 }, 3);
    assert!(r.apply(judged.clone(), 4) && !r.apply(judged.clone(), 4));
    r.apply(RunEvent::StatementStarted { index: 1 }, 5);
    assert!(r.statements[0].expectations.is_empty());
    r.apply(judged, 6);
    r.apply(RunEvent::Publishing { index: 1 }, 7);
    r.apply(done(1), 8);
    assert_eq!(r.statements[0].expectations.len(), 1);
}

#[test]
fn nothing_goes_on_after_the_end() {
    let mut r = run(1);
    r.apply(RunEvent::Started, 2);
    r.apply(RunEvent::StatementStarted { index: 1 }, 3);
    let stage = StageRecord { started_ms: 4, ..StageRecord::default() };
    r.apply(RunEvent::Progress { index: 1, stages: vec![stage] }, 5);
    r.apply(RunEvent::Cancelled, 6);
    assert_eq!((r.statements[0].ended_ms, r.statements[0].stages[0].ended_ms), (6, 6));
}

#[test]
fn a_statement_waits_only_while_it_runs_and_each_reason_is_news_once() {
    let mut r = run(2);
    let waits = |reason: &str| RunEvent::Waiting { index: 1, reason: reason.into() };
    r.apply(RunEvent::Started, 2);
    assert!(!r.apply(waits("executors"), 3), "it has not begun");
    r.apply(RunEvent::StatementStarted { index: 1 }, 3);
    assert!(!r.apply(waits(""), 4));
    assert!(r.apply(waits("executors"), 4) && !r.apply(waits("executors"), 5));
    assert!(r.apply(waits(""), 6));
    let reason = |r: &RunRecord| r.statements[0].waiting.clone();
    for leaves in [
        RunEvent::StatementStarted { index: 1 },
        RunEvent::Publishing { index: 1 },
        done(1),
        RunEvent::Failed { index: Some(1), failure: Failure::user("X", "no") },
        RunEvent::Failed { index: None, failure: Failure::user("X", "no") },
        RunEvent::Cancelled,
    ] {
        let mut r = r.clone();
        assert!(r.apply(waits("executors"), 7));
        assert_eq!(reason(&r), "executors");
        assert!(r.apply(leaves.clone(), 8));
        assert_eq!(reason(&r), "", "{leaves:?}");
    }
}

#[test]
fn terminal_states_absorb_every_event() {
    let mut r = run(1);
    r.apply(RunEvent::Cancelled, 2);
    let before = r.clone();
    for event in [
        RunEvent::Started,
        RunEvent::StatementStarted { index: 1 },
        RunEvent::Waiting { index: 1, reason: "executors".into() },
        RunEvent::Publishing { index: 1 },
        done(1),
        RunEvent::Failed { index: Some(1), failure: Failure::user("X", "no") },
        RunEvent::CancelRequested,
        RunEvent::Cancelled,
    ] {
        assert!(!r.apply(event, 9));
        assert_eq!(r, before);
    }
}

#[test]
fn only_what_may_pass_is_tried_again() {
    assert_eq!(after_failure(&Failure::external("X", ""), 1, 3), AfterFailure::Again);
    assert_eq!(after_failure(&Failure::external("X", ""), 3, 3), AfterFailure::Fail);
    assert_eq!(after_failure(&Failure::user("X", ""), 1, 3), AfterFailure::Fail);
}
