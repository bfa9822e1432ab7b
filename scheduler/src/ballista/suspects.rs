//! What ran on an executor that died without a word is suspected of having killed it; work that is found to be poison ends
//! its job, before another executor dies of it. The rule is `selvedge_model::suspects`'.

use selvedge_model::suspects::{Poison, Victim};
use selvedge_model::{Domain, ExecutorId, Failure, Retry};

use super::graph;
use super::host::Host;

impl Host {
    /// Takes in leases that have just run out, before what ran there is given to others. An executor that was on its way out
    /// is no surprise, and nothing is suspected of it.
    pub(super) async fn suspect(&self, died: &[ExecutorId]) {
        for id in died.iter().filter(|id| !self.roster.was_leaving(id)) {
            let mut victims = Vec::new();
            let mut tasks = self.book.without_delivering(graph::tasks_of(&self.server, id.as_str()).await);
            let copies = self.copies.lock().running_on(id);
            tasks.extend(copies.iter().map(|copy| self.original(copy)));
            for task in tasks.into_iter().filter(|task| self.book.contains(&task.job_id)) {
                let partitions = graph::partitions_of(&self.server, &task).await;
                victims.push(Victim { job_id: task.job_id, stage_id: task.stage_id, partitions });
            }
            let poisons = self.suspects.lock().died(id, &victims, died.len() > 1);
            for poison in poisons {
                tracing::error!(
                    job_id = poison.job_id,
                    stage = poison.work.stage_id,
                    partition = poison.work.partition,
                    deaths = poison.executors.len(),
                    "a task kills its executors: its job ends"
                );
                self.book.end(&poison.job_id, poisoned(&poison));
            }
        }
    }

    /// A statement has ended, whichever of its attempts this is: nothing of it is suspected any more.
    pub fn statement_ended(&self, job_id: &str) {
        self.suspects.lock().forget(job_id);
    }
}

/// Never tried again: a further attempt would kill further executors.
fn poisoned(poison: &Poison) -> Failure {
    let executors: Vec<&str> = poison.executors.iter().map(ExecutorId::as_str).collect();
    let cause = format!(
        "A task of stage {} (partition {}) ran on {} executors that died: {}",
        poison.work.stage_id,
        poison.work.partition,
        executors.len(),
        executors.join(", ")
    );
    Failure::new(Domain::User, Retry::Never, "POISONED_TASK", cause).with_hint(
        "See how those executors ended. Killed by the system for want of memory: give them less with --memory than their \
         machine or container has, or raise selvedge.planner.target_partitions. Crashed: look at the rows that this task reads",
    )
}
