//! Runs, statements, stages and counters on the wire and in the model.
//!
//! Both directions carry every field; a test converts a full record there and back, so a field added to one side only
//! fails.

use selvedge_model::expectation::{ExpectationResult, OnViolation};
use selvedge_model::run::{Counters, RunRecord, RunState, StageRecord, StatementRecord, StatementState};

use crate::{WireError, v1};

/// A state and what stands for it on the wire: one table, read both ways.
macro_rules! states {
    ($state:ident, $field:literal, [$($name:ident),+]) => {
        impl From<$state> for v1::$state {
            fn from(state: $state) -> Self {
                match state {
                    $($state::$name => Self::$name,)+
                }
            }
        }

        impl TryFrom<v1::$state> for $state {
            type Error = WireError;
            fn try_from(state: v1::$state) -> Result<Self, WireError> {
                match state {
                    v1::$state::Unspecified => Err(WireError::UnknownEnum { field: $field, value: 0 }),
                    $(v1::$state::$name => Ok(Self::$name),)+
                }
            }
        }
    };
}

states!(RunState, "state", [Queued, Running, Succeeded, Failed, Cancelled]);
states!(StatementState, "statement.state", [Pending, Running, Publishing, Succeeded, Failed, Cancelled]);
states!(OnViolation, "expectation.on_violation", [Fail, Warn, Drop, Reject]);

impl From<ExpectationResult> for v1::ExpectationResult {
    fn from(result: ExpectationResult) -> Self {
        Self {
            table: result.table,
            name: result.name,
            rule: result.rule,
            on_violation: v1::OnViolation::from(result.on_violation).into(),
            is_met: result.is_met,
            violations: result.violations,
            found: result.found,
            samples: result.samples,
        }
    }
}

impl TryFrom<v1::ExpectationResult> for ExpectationResult {
    type Error = WireError;
    fn try_from(result: v1::ExpectationResult) -> Result<Self, WireError> {
        let on_violation = v1::OnViolation::try_from(result.on_violation)
            .map_err(|e| WireError::UnknownEnum { field: "expectation.on_violation", value: e.0 })?;
        Ok(Self {
            table: result.table,
            name: result.name,
            rule: result.rule,
            on_violation: on_violation.try_into()?,
            is_met: result.is_met,
            violations: result.violations,
            found: result.found,
            samples: result.samples,
        })
    }
}

impl From<Counters> for v1::Counters {
    fn from(counters: Counters) -> Self {
        Self {
            rows_read: counters.rows_read,
            bytes_read: counters.bytes_read,
            rows_out: counters.rows_out,
            shuffle_bytes_written: counters.shuffle_bytes_written,
            shuffle_bytes_read: counters.shuffle_bytes_read,
            spill_bytes: counters.spill_bytes,
            rows_written: counters.rows_written,
            bytes_written: counters.bytes_written,
            files_written: counters.files_written,
            shuffle_requests_local: counters.shuffle_requests_local,
            shuffle_requests_peer: counters.shuffle_requests_peer,
            shuffle_requests_remote: counters.shuffle_requests_remote,
            shuffle_put_requests: counters.shuffle_put_requests,
        }
    }
}

impl From<v1::Counters> for Counters {
    fn from(counters: v1::Counters) -> Self {
        Self {
            rows_read: counters.rows_read,
            bytes_read: counters.bytes_read,
            rows_out: counters.rows_out,
            shuffle_bytes_written: counters.shuffle_bytes_written,
            shuffle_bytes_read: counters.shuffle_bytes_read,
            spill_bytes: counters.spill_bytes,
            rows_written: counters.rows_written,
            bytes_written: counters.bytes_written,
            files_written: counters.files_written,
            shuffle_requests_local: counters.shuffle_requests_local,
            shuffle_requests_peer: counters.shuffle_requests_peer,
            shuffle_requests_remote: counters.shuffle_requests_remote,
            shuffle_put_requests: counters.shuffle_put_requests,
        }
    }
}

impl From<StageRecord> for v1::Stage {
    fn from(stage: StageRecord) -> Self {
        Self {
            stage_id: stage.stage_id,
            description: stage.description,
            attempt: stage.attempt,
            tasks_total: stage.tasks_total,
            tasks_running: stage.tasks_running,
            tasks_done: stage.tasks_done,
            tasks_failed: stage.tasks_failed,
            counters: Some(stage.counters.into()),
            started_ms: stage.started_ms,
            ended_ms: stage.ended_ms,
            task_ms: stage.task_ms,
            slowest_task: stage.slowest_task,
            slowest_task_ms: stage.slowest_task_ms,
            slowest_task_executor: stage.slowest_task_executor,
            lost_task_ms: stage.lost_task_ms,
            tasks_rerun: stage.tasks_rerun,
        }
    }
}

impl From<v1::Stage> for StageRecord {
    fn from(stage: v1::Stage) -> Self {
        Self {
            stage_id: stage.stage_id,
            description: stage.description,
            attempt: stage.attempt,
            tasks_total: stage.tasks_total,
            tasks_running: stage.tasks_running,
            tasks_done: stage.tasks_done,
            tasks_failed: stage.tasks_failed,
            counters: stage.counters.map(Into::into).unwrap_or_default(),
            started_ms: stage.started_ms,
            ended_ms: stage.ended_ms,
            task_ms: stage.task_ms,
            slowest_task: stage.slowest_task,
            slowest_task_ms: stage.slowest_task_ms,
            slowest_task_executor: stage.slowest_task_executor,
            lost_task_ms: stage.lost_task_ms,
            tasks_rerun: stage.tasks_rerun,
        }
    }
}

impl From<StatementRecord> for v1::Statement {
    fn from(statement: StatementRecord) -> Self {
        Self {
            index: statement.index,
            kind: statement.kind,
            sql: statement.sql,
            state: v1::StatementState::from(statement.state).into(),
            attempt: statement.attempt,
            stages: statement.stages.into_iter().map(Into::into).collect(),
            counters: Some(statement.counters.into()),
            started_ms: statement.started_ms,
            ended_ms: statement.ended_ms,
            failure: statement.failure.map(Into::into),
            target: statement.target,
            preview: statement.preview.into(),
            waiting: statement.waiting,
            expectations: statement.expectations.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Statement> for StatementRecord {
    type Error = WireError;
    fn try_from(statement: v1::Statement) -> Result<Self, WireError> {
        let state = v1::StatementState::try_from(statement.state)
            .map_err(|e| WireError::UnknownEnum { field: "statement.state", value: e.0 })?;
        Ok(Self {
            index: statement.index,
            kind: statement.kind,
            sql: statement.sql,
            state: state.try_into()?,
            attempt: statement.attempt,
            stages: statement.stages.into_iter().map(Into::into).collect(),
            counters: statement.counters.map(Into::into).unwrap_or_default(),
            started_ms: statement.started_ms,
            ended_ms: statement.ended_ms,
            failure: statement.failure.map(Into::into),
            target: statement.target,
            preview: statement.preview.into(),
            waiting: statement.waiting,
            expectations: statement.expectations.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl From<RunRecord> for v1::Run {
    fn from(run: RunRecord) -> Self {
        Self {
            run_id: run.id.into(),
            name: run.name,
            queue: run.queue,
            state: v1::RunState::from(run.state).into(),
            submitted_ms: run.submitted_ms,
            started_ms: run.started_ms,
            ended_ms: run.ended_ms,
            statements: run.statements.into_iter().map(Into::into).collect(),
            failure: run.failure.map(Into::into),
            params: run.params.into_iter().collect(),
            cancel_requested: run.cancel_requested,
            user: run.user,
        }
    }
}

impl TryFrom<v1::Run> for RunRecord {
    type Error = WireError;
    fn try_from(run: v1::Run) -> Result<Self, WireError> {
        let state =
            v1::RunState::try_from(run.state).map_err(|e| WireError::UnknownEnum { field: "state", value: e.0 })?;
        Ok(Self {
            id: run.run_id.try_into()?,
            name: run.name,
            queue: run.queue,
            state: state.try_into()?,
            submitted_ms: run.submitted_ms,
            started_ms: run.started_ms,
            ended_ms: run.ended_ms,
            statements: run.statements.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            failure: run.failure.map(Into::into),
            params: run.params.into_iter().collect(),
            cancel_requested: run.cancel_requested,
            user: run.user,
            // Does not travel with a run; GetRun answers it beside.
            submission: Default::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use selvedge_model::{Failure, Place};

    use super::*;

    fn counters(from: u64) -> Counters {
        Counters {
            rows_read: from,
            bytes_read: from + 1,
            rows_out: from + 2,
            shuffle_bytes_written: from + 3,
            shuffle_bytes_read: from + 4,
            spill_bytes: from + 5,
            rows_written: from + 6,
            bytes_written: from + 7,
            files_written: from + 8,
            shuffle_requests_local: from + 9,
            shuffle_requests_peer: from + 10,
            shuffle_requests_remote: from + 11,
            shuffle_put_requests: from + 12,
        }
    }

    fn full() -> RunRecord {
        let stage = StageRecord {
            stage_id: 1,
            description: "WriteExec < Parquet".into(),
            attempt: 2,
            tasks_total: 3,
            tasks_running: 4,
            tasks_done: 5,
            tasks_failed: 6,
            counters: counters(7),
            started_ms: 20,
            ended_ms: 21,
            task_ms: 22,
            slowest_task: 23,
            slowest_task_ms: 24,
            slowest_task_executor: "e1".into(),
            lost_task_ms: 25,
            tasks_rerun: 26,
        };
        let place = Place { statement: 1, line: 2, column: 3, line_text: "SELECT".into() };
        let mut statement = StatementRecord::pending(1, "SELECT", "SELECT 1", "public.t");
        statement.state = StatementState::Failed;
        statement.attempt = 3;
        statement.stages = vec![stage];
        statement.counters = counters(40);
        statement.started_ms = 60;
        statement.ended_ms = 61;
        statement.failure = Some(Failure::external("STORE_UNAVAILABLE", "S3 said no").with_hint("Wait").at(place));
        statement.preview = vec![1, 2, 3];
        statement.waiting = "executors: none registered".into();
        statement.expectations = vec![ExpectationResult {
            table: "public.t".into(),
            name: "positive".into(),
            rule: "CHECK (a > 0)".into(),
            on_violation: OnViolation::Drop,
            is_met: true,
            violations: 62,
            found: "62 rows left out".into(),
            samples: vec!["{\"a\":0}".into()],
        }];
        RunRecord {
            id: "r1".parse().unwrap(),
            name: "job".into(),
            queue: "etl".into(),
            state: RunState::Failed,
            submitted_ms: 70,
            started_ms: 71,
            ended_ms: 72,
            statements: vec![statement],
            failure: Some(Failure::internal("INTERNAL", "bug")),
            params: BTreeMap::from([("ds".into(), "2026-01-01".into())]),
            cancel_requested: true,
            user: "me".into(),
            submission: Default::default(),
        }
    }

    #[test]
    fn a_full_run_survives_the_wire_whole() {
        let record = full();
        assert_eq!(RunRecord::try_from(v1::Run::from(record.clone())).unwrap(), record);
    }

    #[test]
    fn every_state_comes_back_as_it_went() {
        use RunState::{Cancelled, Failed, Queued, Running, Succeeded};
        for state in [Queued, Running, Succeeded, Failed, Cancelled] {
            let wire = v1::RunState::from(state);
            assert_eq!((RunState::try_from(wire), format!("{wire:?}")), (Ok(state), format!("{state:?}")));
        }
        let open = [StatementState::Pending, StatementState::Running, StatementState::Publishing];
        let ended = [StatementState::Succeeded, StatementState::Failed, StatementState::Cancelled];
        for state in open.into_iter().chain(ended) {
            let wire = v1::StatementState::from(state);
            assert_eq!((StatementState::try_from(wire), format!("{wire:?}")), (Ok(state), format!("{state:?}")));
        }
        assert!(RunState::try_from(v1::RunState::Unspecified).is_err());
    }

    #[test]
    fn a_state_this_version_does_not_know_is_refused_not_guessed() {
        let mut run = v1::Run::from(full());
        run.state = 99;
        assert_eq!(RunRecord::try_from(run.clone()), Err(WireError::UnknownEnum { field: "state", value: 99 }));
        run.state = v1::RunState::Running.into();
        run.run_id = "../x".into();
        assert!(matches!(RunRecord::try_from(run), Err(WireError::Id(_))));
    }
}
