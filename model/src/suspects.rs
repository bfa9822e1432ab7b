//! Which piece of work kills the executors that it runs on.
//!
//! A task that crashes its process, or makes the kernel kill it, would be handed to one executor after another until none is
//! left. So each death that nobody announced makes what ran there a suspect. Task ids are new with each try, so what counts
//! is the work: stage and partition of a statement, over all attempts of that statement.

use std::collections::HashMap;

use crate::id::{ExecutorId, StatementAttempt};

/// Deaths of executors on which the work was the only one to run: nothing else can be to blame.
pub const DEATHS_ALONE: usize = 2;

/// Deaths of executors that ran other work beside it: twice may be bad luck.
pub const DEATHS_IN_COMPANY: usize = 3;

/// A piece of a statement's work, whichever task does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work {
    /// Stage within the job.
    pub stage_id: u32,
    /// Partition that it reads.
    pub partition: u32,
}

/// A task that was running on an executor when that died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// The engine's job id.
    pub job_id: String,
    /// Its stage.
    pub stage_id: u32,
    /// The partitions it worked on.
    pub partitions: Vec<u32>,
}

/// Work that is run no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// The job that has it now.
    pub job_id: String,
    /// What kills.
    pub work: Work,
    /// The executors that died with it, in order.
    pub executors: Vec<ExecutorId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Death {
    executor: ExecutorId,
    alone: bool,
}

/// Remembers who died of what, by statement.
#[derive(Debug, Default)]
pub struct Suspects {
    deaths: HashMap<String, HashMap<Work, Vec<Death>>>,
}

/// What all attempts of one statement have in common.
fn statement_of(job_id: &str) -> String {
    match StatementAttempt::parse_job_id(job_id) {
        Some(ids) => format!("{}-s{}", ids.run, ids.statement),
        None => job_id.to_owned(),
    }
}

fn is_poison(deaths: &[Death]) -> bool {
    let needed = if deaths.iter().all(|death| death.alone) { DEATHS_ALONE } else { DEATHS_IN_COMPANY };
    deaths.len() >= needed
}

impl Suspects {
    /// Takes in the unannounced death of an executor with all tasks that ran on it; returns what must run no more, at most one
    /// piece of work for each job. `others_died` says that executors died together: then what they ran is not to blame alone.
    pub fn died(&mut self, executor: &ExecutorId, victims: &[Victim], others_died: bool) -> Vec<Poison> {
        let alone = victims.len() == 1 && !others_died;
        let mut poisons: Vec<Poison> = Vec::new();
        for victim in victims {
            let statement = self.deaths.entry(statement_of(&victim.job_id)).or_default();
            for partition in &victim.partitions {
                let work = Work { stage_id: victim.stage_id, partition: *partition };
                let deaths = statement.entry(work).or_default();
                if deaths.iter().all(|death| death.executor != *executor) {
                    deaths.push(Death { executor: executor.clone(), alone });
                }
                if is_poison(deaths) && poisons.iter().all(|known| known.job_id != victim.job_id) {
                    let executors = deaths.iter().map(|death| death.executor.clone()).collect();
                    poisons.push(Poison { job_id: victim.job_id.clone(), work, executors });
                }
            }
        }
        poisons
    }

    /// Forgets a statement that has ended, whichever attempt of it is named.
    pub fn forget(&mut self, job_id: &str) {
        self.deaths.remove(&statement_of(job_id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn victim(job: &str, partitions: &[u32]) -> Victim {
        Victim { job_id: job.to_owned(), stage_id: 1, partitions: partitions.to_vec() }
    }

    /// One death after another: what ran there, and whether others died with it. What the last one leads to.
    fn last(deaths: &[(&[Victim], bool)]) -> Vec<Poison> {
        let (mut suspects, mut last) = (Suspects::default(), Vec::new());
        for (number, (victims, others_died)) in deaths.iter().enumerate() {
            last = suspects.died(&format!("e{number}").parse().unwrap(), victims, *others_died);
        }
        last
    }

    fn partitions(poisons: &[Poison]) -> Vec<(u32, usize)> {
        poisons.iter().map(|poison| (poison.work.partition, poison.executors.len())).collect()
    }

    #[test]
    fn work_is_poison_after_two_deaths_alone_or_three_in_company() {
        let (p0, p1) = (victim("r-s1-a1", &[0]), victim("r-s1-a1", &[1]));
        let (alone, both, other): (&[Victim], &[Victim], &[Victim]) =
            (std::slice::from_ref(&p0), &[p0.clone(), p1.clone()], std::slice::from_ref(&p1));
        for (deaths, expected) in [
            (vec![(alone, false)], vec![]),
            (vec![(alone, false); 2], vec![(0, 2)]),
            // It may be the other one.
            (vec![(both, false); 2], vec![]),
            (vec![(both, false), (alone, false)], vec![]),
            (vec![(both, false), (alone, false), (alone, false)], vec![(0, 3)]),
            // Both are suspect all the time: the job ends for one of them.
            (vec![(both, false); 3], vec![(0, 3)]),
            // Spot instances that are taken back together kill bystanders.
            (vec![(alone, true); 2], vec![]),
            (vec![(alone, true), (alone, true), (alone, true)], vec![(0, 3)]),
            (vec![(other, false), (alone, false)], vec![]),
            (vec![(&[][..], false); 9], vec![]),
        ] {
            assert_eq!(partitions(&last(&deaths)), expected, "{deaths:?}");
        }
    }

    #[test]
    fn attempts_of_a_statement_count_together_and_other_statements_apart() {
        for (jobs, expected) in [
            (["r-s1-a1", "r-s1-a2"], vec![(0, 2)]),
            (["r-s1-a1", "r-s2-a1"], vec![]),
            (["r-s1-a1", "q-s1-a1"], vec![]),
            (["somebody-elses", "somebody-elses"], vec![(0, 2)]),
        ] {
            let victims = jobs.map(|job| [victim(job, &[0])]);
            let poisons = last(&[(&victims[0], false), (&victims[1], false)]);
            assert_eq!(partitions(&poisons), expected, "{jobs:?}");
            assert!(poisons.iter().all(|poison| poison.job_id == jobs[1]), "the attempt that runs is to end");
        }
    }

    #[test]
    fn one_job_ends_for_one_reason_and_another_for_its_own() {
        let victims = [victim("r-s1-a1", &[4, 5]), victim("q-s1-a1", &[7])];
        let poisons = last(&[(&victims, false), (&victims, false), (&victims, false)]);
        assert_eq!(partitions(&poisons), [(4, 3), (7, 3)]);
    }

    #[test]
    fn a_death_told_twice_counts_once_and_a_statement_that_ended_is_forgotten() {
        let (mut suspects, victims) = (Suspects::default(), [victim("r-s1-a1", &[0])]);
        let [first, second]: [ExecutorId; 2] = ["e1", "e2"].map(|id| id.parse().unwrap());
        assert!(suspects.died(&first, &victims, false).is_empty());
        assert!(suspects.died(&first, &victims, false).is_empty());
        suspects.forget("r-s1-a3");
        assert!(suspects.died(&second, &victims, false).is_empty());
        assert_eq!(suspects.died(&first, &victims, false).len(), 1);
    }
}
