//! More room for tasks whose work ran out of memory: they are handed out with more vcores than they ask for, so that fewer run
//! beside them. When that is not to be had, the job ends, to be planned again. The rules are `selvedge_model::pressure`'s.

use ballista_core::serde::protobuf::TaskDefinition;
use selvedge_model::pressure::{AfterExhaustion, after_exhaustion, vcores};
use selvedge_model::{ExecutorId, Failure, TaskRef};
use selvedge_proto::internal::v1::ExecutorInfo;

use super::graph;
use super::host::Host;
use super::poll::task_of_definition;

impl Host {
    /// Takes in a task's failure, before the graph has it. One that ran out of memory with all of its executor ends its job.
    pub(super) async fn note_exhaustion(&self, executor: &ExecutorId, task: &TaskRef, failure: &Failure) {
        if failure.code != "OUT_OF_MEMORY" || !self.book.contains(&task.job_id) {
            return;
        }
        let partitions = graph::partitions_of(&self.server, &self.original(task)).await;
        let before = self.exhaustions.lock().count(&task.job_id, task.stage_id, &partitions);
        match after_exhaustion(before, self.roster.vcores_of(executor)) {
            AfterExhaustion::Widen => tracing::info!(%task, "out of memory: it is run again with more of an executor"),
            AfterExhaustion::Replan => {
                tracing::info!(%task, "out of memory with all of an executor: its statement is to be planned again");
                self.book.end(&task.job_id, failure.clone());
            }
        }
    }

    /// Gives tasks about to be handed out the vcores they need.
    pub(super) async fn widen(&self, tasks: &mut [TaskDefinition], info: &ExecutorInfo) {
        for definition in tasks {
            let task = task_of_definition(definition);
            if !self.exhaustions.lock().concerns(&task.job_id) {
                continue;
            }
            let partitions = graph::partitions_of(&self.server, &self.original(&task)).await;
            let times = self.exhaustions.lock().times(&task.job_id, task.stage_id, &partitions);
            definition.vcores_consumed = vcores(definition.vcores_consumed, times, info.vcores);
        }
    }
}
