//! The ids that travel between executors and scheduler.

use selvedge_model::TaskRef;

use crate::internal;

impl From<TaskRef> for internal::v1::TaskRef {
    fn from(task: TaskRef) -> Self {
        let TaskRef { job_id, stage_id, stage_attempt, task_id } = task;
        Self { job_id, stage_id, stage_attempt, task_id }
    }
}

impl From<internal::v1::TaskRef> for TaskRef {
    fn from(task: internal::v1::TaskRef) -> Self {
        let internal::v1::TaskRef { job_id, stage_id, stage_attempt, task_id } = task;
        Self { job_id, stage_id, stage_attempt, task_id }
    }
}
