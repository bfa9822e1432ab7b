//! Runs for tests: one that waits, one in the middle, one at its end.

use std::collections::BTreeMap;

use selvedge::model::{Counters, RunRecord, RunState, StageRecord, StatementRecord, StatementState};

fn statement(index: u32, kind: &str, target: &str) -> StatementRecord {
    StatementRecord::pending(index, kind, &format!("{kind} {target}"), target)
}

fn stage(stage_id: u32, description: &str, tasks: (u32, u32), times: (i64, i64)) -> StageRecord {
    StageRecord {
        stage_id,
        description: description.into(),
        tasks_done: tasks.0,
        tasks_total: tasks.1,
        started_ms: times.0,
        ended_ms: times.1,
        ..StageRecord::default()
    }
}

/// Waits in its queue.
pub fn queued() -> RunRecord {
    RunRecord {
        id: "r1".parse().unwrap(),
        name: "revenue".into(),
        queue: "default".into(),
        state: RunState::Queued,
        submitted_ms: 1_000,
        started_ms: 0,
        ended_ms: 0,
        statements: vec![
            statement(1, "CREATE EXTERNAL TABLE", "orders"),
            statement(2, "INSERT OVERWRITE", "mart.revenue"),
        ],
        failure: None,
        params: BTreeMap::from([("ds".into(), "2026-01-01".into())]),
        cancel_requested: false,
        user: String::new(),
        submission: Default::default(),
    }
}

/// Its second statement runs.
pub fn running() -> RunRecord {
    let mut run = queued();
    run.state = RunState::Running;
    run.started_ms = 1_500;
    let first = &mut run.statements[0];
    first.state = StatementState::Succeeded;
    (first.attempt, first.started_ms, first.ended_ms) = (1, 2_000, 3_000);
    let second = &mut run.statements[1];
    second.state = StatementState::Running;
    (second.attempt, second.started_ms) = (1, 3_000);
    second.stages = vec![
        stage(1, "ShuffleWriter < Parquet(orders)", (8, 8), (3_000, 7_000)),
        stage(2, "WriteExec < HashJoinExec", (1, 4), (7_000, 0)),
        stage(3, "Manifest", (0, 1), (0, 0)),
    ];
    second.stages[1].counters = Counters { rows_out: 250_000, bytes_read: 8 << 20, ..Counters::default() };
    run
}

/// All done.
pub fn succeeded() -> RunRecord {
    let mut run = running();
    run.state = RunState::Succeeded;
    run.ended_ms = 12_000;
    let second = &mut run.statements[1];
    second.state = StatementState::Succeeded;
    second.ended_ms = 12_000;
    second.counters =
        Counters { rows_written: 1_000_000, bytes_written: 34 << 20, files_written: 12, ..Counters::default() };
    second.stages = vec![
        stage(1, "ShuffleWriter < Parquet(orders)", (8, 8), (3_000, 7_000)),
        stage(2, "WriteExec < HashJoinExec", (4, 4), (7_000, 11_800)),
    ];
    let slow = &mut second.stages[1];
    (slow.slowest_task, slow.slowest_task_ms, slow.slowest_task_executor) = (3, 4_000, "e2".into());
    run
}
