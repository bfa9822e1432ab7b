//! Copies of tasks: one at a time, whoever asks, dies or speaks too late.

use proptest::prelude::*;

use super::*;

fn task(stage_id: u32, task_id: u32) -> TaskRef {
    TaskRef { job_id: "j".into(), stage_id, stage_attempt: 0, task_id }
}

fn executor(name: &str) -> ExecutorId {
    name.parse().unwrap()
}

#[test]
fn a_lost_output_is_made_again_once_however_many_readers_ask() {
    let mut copies = Copies::default();
    let e = executor("e1");
    assert_eq!(copies.ask(&task(1, 0)), Answer::Wait);
    assert_eq!(copies.ask(&task(1, 0)), Answer::Wait);
    let (original, copy) = copies.take(&e).unwrap();
    assert_eq!((original, is_copy(&copy)), (task(1, 0), true));
    assert_eq!((copies.original(&copy), copies.original(&task(1, 7))), (task(1, 0), task(1, 7)));
    assert_eq!(copies.take(&e), None, "it runs already");
    assert_eq!(copies.ask(&task(1, 0)), Answer::Wait);
    assert_eq!(copies.succeeded(&copy, &e), Some((task(1, 0), Purpose::Restore)));
    assert_eq!(copies.succeeded(&copy, &e), None, "a repeated word");
    let output = Output { task: copy.clone(), executor: e };
    assert_eq!(copies.ask(&task(1, 0)), Answer::Read(output.clone()));
    // The copy is lost too: who asks for it, and who still asks for the original, get the next one.
    assert_eq!(copies.ask(&copy), Answer::Wait);
    let e2 = executor("e2");
    let (again, second) = copies.take(&e2).unwrap();
    assert_eq!(again, task(1, 0));
    assert_ne!(second, copy, "two copies never share a name");
    copies.succeeded(&second, &e2).unwrap();
    let output = Output { task: second, executor: e2 };
    assert_eq!(copies.ask(&copy), Answer::Read(output.clone()));
    assert_eq!(copies.ask(&task(1, 0)), Answer::Read(output));
}

#[test]
fn earlier_stages_go_first_and_what_is_lost_before_what_is_slow() {
    let mut copies = Copies::default();
    let (e1, e2) = (executor("e1"), executor("e2"));
    assert!(copies.overtake(&task(1, 9), &e1));
    assert!(!copies.overtake(&task(1, 9), &e1), "once");
    copies.ask(&task(3, 0));
    copies.ask(&task(2, 5));
    let mut taken = |e| copies.take(e).map(|(original, _)| original);
    assert_eq!(taken(&e1), Some(task(2, 5)));
    assert_eq!(taken(&e1), Some(task(3, 0)));
    assert_eq!(taken(&e1), None, "the slow one runs there");
    assert_eq!(taken(&e2), Some(task(1, 9)));
}

#[test]
fn an_executor_that_dies_gives_its_copies_back_and_a_zombie_is_not_heard() {
    let mut copies = Copies::default();
    let (e1, e2) = (executor("e1"), executor("e2"));
    copies.ask(&task(1, 0));
    let (_, first) = copies.take(&e1).unwrap();
    copies.lost(&e1);
    assert!(copies.running_on(&e1).is_empty());
    let (_, second) = copies.take(&e2).unwrap();
    assert_eq!(copies.succeeded(&first, &e1), None);
    assert_eq!(copies.running_on(&e2), [second]);
}

#[test]
fn an_output_that_cannot_be_made_again_is_given_up() {
    let mut copies = Copies::default();
    let e = executor("e");
    copies.ask(&task(1, 0));
    for time in 1..=MAX_COPIES {
        let (_, copy) = copies.take(&e).unwrap();
        assert_eq!(copies.failed(&copy, &e, true), time == MAX_COPIES);
    }
    assert_eq!(copies.take(&e), None);
    assert_eq!(copies.ask(&task(1, 0)), Answer::GiveUp);
    copies.forget("j");
    assert_eq!(copies.ask(&task(1, 0)), Answer::Wait);
}

#[test]
fn who_is_overtaken_ends_once() {
    let mut copies = Copies::default();
    let (e1, e2) = (executor("e1"), executor("e2"));
    copies.overtake(&task(1, 0), &e1);
    let (_, copy) = copies.take(&e2).unwrap();
    copies.ended(&task(1, 0));
    assert!(copies.running_on(&e2).is_empty());
    assert_eq!(copies.succeeded(&copy, &e2), None, "the original was first");
    copies.overtake(&task(1, 1), &e1);
    let (_, copy) = copies.take(&e2).unwrap();
    assert!(!copies.failed(&copy, &e2, true), "its original still runs");
    assert_eq!(copies.take(&e2), None);
    assert!(!copies.overtake(&task(1, 1), &e1), "once for each task");
}

#[test]
fn a_lost_output_is_made_again_also_where_its_original_was_slow_and_each_try_has_its_time() {
    let mut copies = Copies::default();
    let (e1, e2) = (executor("e1"), executor("e2"));
    copies.overtake(&task(1, 0), &e1);
    let (_, copy) = copies.take(&e2).unwrap();
    copies.succeeded(&copy, &e2).unwrap();
    assert!(!copies.restores(&copy), "whether it may be repeated was not asked yet");
    assert_eq!(copies.ask(&copy), Answer::Wait);
    assert!(copies.restores(&copy) && copies.restores(&task(1, 0)));
    for time in 2..=MAX_COPIES {
        let (_, again) = copies.take(&e1).unwrap();
        assert_eq!(copies.ask(&copy), Answer::Wait, "try {time} runs");
        copies.failed(&again, &e1, true);
    }
    assert_eq!(copies.ask(&copy), Answer::GiveUp);
}

proptest! {
    /// Whatever happens in whatever order: one copy of a task at a time, no name twice, no answer that is not the last one's.
    #[test]
    fn a_task_has_one_copy_at_a_time(steps in prop::collection::vec((0_u32..6, 0_u32..3, 0_usize..3), 0..200)) {
        let executors = ["a", "b", "c"].map(executor);
        let mut copies = Copies::default();
        let mut running: Vec<(TaskRef, TaskRef, ExecutorId)> = Vec::new();
        let mut names = std::collections::HashSet::new();
        for (what, number, at) in steps {
            let e = &executors[at];
            match what {
                0 => {
                    if let Answer::Read(output) = copies.ask(&task(1, number)) {
                        prop_assert!(names.contains(&output.task));
                        prop_assert!(!running.iter().any(|(original, ..)| *original == task(1, number)));
                    }
                }
                1 => {
                    if let Some((original, copy)) = copies.take(e) {
                        prop_assert!(names.insert(copy.clone()));
                        prop_assert!(!running.iter().any(|(of, ..)| *of == original));
                        running.push((original, copy, e.clone()));
                    }
                }
                2 => {
                    let mine = running.iter().position(|(.., by)| by == e);
                    if let Some((original, copy, by)) = mine.map(|at| running.remove(at)) {
                        prop_assert_eq!(copies.succeeded(&copy, &by).map(|(of, _)| of), Some(original));
                    }
                }
                3 => {
                    let mine = running.iter().position(|(.., by)| by == e);
                    if let Some((_, copy, by)) = mine.map(|at| running.remove(at)) {
                        copies.failed(&copy, &by, true);
                    }
                }
                4 => {
                    copies.lost(e);
                    running.retain(|(.., by)| by != e);
                }
                _ => {
                    copies.overtake(&task(1, number), e);
                }
            }
            let seen: usize = executors.iter().map(|e| copies.running_on(e).len()).sum();
            prop_assert_eq!(seen, running.len());
        }
    }
}
