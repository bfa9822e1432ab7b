//! Publishes in a small world of staged and visible files: crashed at every step, with lost replies, carried on twice.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::manifest::Staging;

const OLD: [&str; 3] = ["old-0", "old-1", "old-2"];

/// What becomes of the next request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Done,
    /// Done, and nobody hears of it.
    Unheard,
    Refused,
    /// The process ends before the request.
    Crash,
}

/// A store, the journal, and how the next requests go.
#[derive(Debug, Clone)]
struct World {
    staged: BTreeSet<String>,
    visible: BTreeSet<String>,
    journal: Option<PublishState>,
    /// Whether the publish was ever recorded.
    prepared: bool,
    fates: Vec<Fate>,
    kind: PublishKind,
    /// Whether a log names the new files.
    committed: bool,
    /// Whether the log refuses to.
    refuses: bool,
}

struct Crashed;

impl World {
    fn new(files: usize, fates: Vec<Fate>) -> Self {
        Self {
            staged: names(files),
            visible: OLD.map(str::to_owned).into(),
            journal: None,
            prepared: false,
            fates: fates.into_iter().rev().collect(),
            kind: PublishKind::Files,
            committed: false,
            refuses: false,
        }
    }

    fn with_log(self, refuses: bool) -> Self {
        Self { kind: PublishKind::Log, refuses, ..self }
    }

    /// What a reader sees.
    fn seen(&self) -> BTreeSet<String> {
        match (self.kind, self.committed) {
            (PublishKind::Files, _) => self.visible.clone(),
            (PublishKind::Log, true) => self.visible.difference(&before()).cloned().collect(),
            (PublishKind::Log, false) => before(),
        }
    }

    fn commit(&mut self) -> Result<Reply, Crashed> {
        self.request(|world| {
            if world.refuses && !world.committed {
                return Reply::Lost;
            }
            world.committed = true;
            Reply::Done
        })
    }

    /// Does `work` as fate has it.
    fn request(&mut self, work: impl FnOnce(&mut Self) -> Reply) -> Result<Reply, Crashed> {
        match self.fates.pop().unwrap_or(Fate::Done) {
            Fate::Done => Ok(work(self)),
            Fate::Unheard => {
                work(self);
                Ok(Reply::Refused)
            }
            Fate::Refused => Ok(Reply::Refused),
            Fate::Crash => Err(Crashed),
        }
    }

    fn record(&mut self, state: PublishState) -> Result<Reply, Crashed> {
        self.request(|world| {
            world.journal = (state != PublishState::Done).then_some(state);
            world.prepared |= state == PublishState::Prepared;
            Reply::Done
        })
    }

    fn complete(&mut self, file: &str) -> Result<Reply, Crashed> {
        self.request(|world| {
            if world.staged.remove(file) {
                world.visible.insert(file.to_owned());
            }
            if world.visible.contains(file) { Reply::Done } else { Reply::Lost }
        })
    }

    fn remove(&mut self, file: &str) -> Result<Reply, Crashed> {
        self.request(|world| {
            world.visible.remove(file);
            Reply::Done
        })
    }

    fn act(&mut self, action: Action, files: &[String]) -> Result<Vec<Reply>, Crashed> {
        match action {
            Action::Record | Action::Rest => Ok(vec![]),
            Action::Complete => files.iter().map(|file| self.complete(file)).collect(),
            Action::Commit => Ok(vec![self.commit()?]),
            Action::Remove => OLD.iter().map(|file| self.remove(file)).collect(),
            Action::Close => Ok(vec![]),
            Action::TakeBack => {
                self.staged.clear();
                files.iter().map(|file| self.remove(file)).collect()
            }
        }
    }

    /// Carries a publish on from a state, as the scheduler does: until it is done, gives up for now, or crashes.
    fn carry_on(&mut self, mut state: PublishState, files: &[String]) -> Result<PublishState, Crashed> {
        for _ in 0..50 {
            let replies = self.act(state.action(self.kind), files)?;
            let Some(next) = state.after(self.kind, &replies) else { continue };
            if next == state {
                return Ok(state);
            }
            if self.record(next)? == Reply::Done {
                state = next;
            } else if state == PublishState::Nothing {
                // Whether the record is there is not known: nothing begins.
                return Ok(state);
            }
        }
        Ok(state)
    }
}

fn names(files: usize) -> BTreeSet<String> {
    (0..files).map(|i| format!("new-{i}")).collect()
}

fn before() -> BTreeSet<String> {
    OLD.map(str::to_owned).into()
}

#[test]
fn wherever_it_crashes_the_table_is_as_before_or_carried_on_to_after() {
    use PublishState::{Prepared, Published, Removed};
    let files: Vec<String> = names(2).into_iter().collect();
    // Requests of a publish of 2 files that replace 3, in order, and the record that a crash before each leaves behind.
    for (crash, what, record) in [
        (0, "the record", None),
        (1, "the first file", Some(Prepared)),
        (2, "the second file", Some(Prepared)),
        (3, "recording that all are visible", Some(Prepared)),
        (4, "the first removal", Some(Published)),
        (5, "the second removal", Some(Published)),
        (6, "the third removal", Some(Published)),
        (7, "recording that all are removed", Some(Published)),
        (8, "forgetting the record", Some(Removed)),
        (9, "nothing: it has ended", None),
    ] {
        let fates = std::iter::repeat_n(Fate::Done, crash).chain([Fate::Crash]).collect();
        let mut world = World::new(2, fates);
        let ended = world.carry_on(PublishState::Nothing, &files);
        assert_eq!((ended.is_err(), world.journal), (crash < 9, record), "crash before {what}");
        let Some(state) = world.journal else {
            let expected = if crash == 0 { before() } else { names(2) };
            assert_eq!(world.visible, expected, "crash before {what}");
            continue;
        };
        // The next start carries on; another one that had read the record before carries on again.
        for _ in 0..2 {
            assert!(matches!(world.carry_on(state, &files), Ok(PublishState::Done)));
            assert_eq!((&world.visible, world.journal), (&names(2), None), "crash before {what}");
        }
    }
}

#[test]
fn with_a_log_one_commit_shows_all_or_what_was_put_into_place_is_taken_back() {
    let files: Vec<String> = names(2).into_iter().collect();
    // Record, two files, recording that they are in place, the commit, recording it, forgetting.
    for refuses in [false, true] {
        for crash in 0..9 {
            let fates = std::iter::repeat_n(Fate::Done, crash).chain([Fate::Crash]).collect();
            let mut world = World::new(2, fates).with_log(refuses);
            let _ = world.carry_on(PublishState::Nothing, &files);
            let seen = world.seen();
            assert!(seen == before() || seen == names(2), "crash at request {crash}: {seen:?}");
            let is_recorded = crash > 0;
            while let Some(state) = world.journal {
                let _ = world.carry_on(state, &files);
            }
            let expected = if is_recorded && !refuses { names(2) } else { before() };
            assert_eq!(world.seen(), expected, "crash at request {crash}, refused: {refuses}");
            assert!(world.committed || world.visible == before(), "nothing is left in place");
            assert!(before().is_subset(&world.visible), "a commit removes no file");
        }
    }
}

#[test]
fn lost_staging_is_taken_back_whole_wherever_that_crashes() {
    let files: Vec<String> = names(3).into_iter().collect();
    for crash in 0..9 {
        let fates = std::iter::repeat_n(Fate::Done, crash).chain([Fate::Crash]).collect();
        let mut world = World::new(3, fates);
        world.staged.remove("new-1");
        let _ = world.carry_on(PublishState::Nothing, &files);
        while let Some(state) = world.journal {
            let _ = world.carry_on(state, &files);
        }
        assert_eq!(world.visible, before(), "crash at request {crash}");
        assert!(crash == 0 || world.staged.is_empty());
    }
}

#[test]
fn names_read_back_as_their_states() {
    use PublishState::{Done, Nothing, Prepared, Published, Removed, Withdrawn};
    for state in [Nothing, Prepared, Published, Removed, Withdrawn, Done] {
        assert_eq!(state.name().parse::<PublishState>(), Ok(state));
    }
    assert!("prepared".parse::<PublishState>().is_err());
}

#[test]
fn only_files_named_by_the_write_itself_are_taken_back() {
    let file = |path: &str| StagedFile {
        path: path.into(),
        staging: Staging::Temporary { path: "x".into() },
        rows: 1,
        bytes: 1,
        partition: vec![],
        stats: None,
        is_rejected: false,
    };
    let record = PublishRecord {
        id: PublishId { run: "r1".parse().unwrap(), statement: 2 },
        location: "s3://b/t/".into(),
        publish: vec![file("t/r1-s2-a1-0.parquet"), file("t/r1-s2-a10-0.parquet"), file("t/x.csv")],
        remove: vec![],
        jobs: vec!["r1-s2-a1".into()],
        kind: PublishKind::Files,
        marks_success: false,
    };
    assert_eq!(record.withdrawable(), ["t/r1-s2-a1-0.parquet"]);
    assert_eq!(record.id.to_string(), "statement 2 of run r1");
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        5 => Just(Fate::Done),
        2 => Just(Fate::Unheard),
        2 => Just(Fate::Refused),
        1 => Just(Fate::Crash),
    ]
}

proptest! {
    #[test]
    fn any_history_ends_exactly_before_or_exactly_after(
        count in 0usize..5,
        fates in prop::collection::vec(fate(), 0..60),
        stale in any::<bool>(),
        kind in prop_oneof![Just(PublishKind::Files), Just(PublishKind::Log)],
        refuses in any::<bool>(),
    ) {
        let files: Vec<String> = names(count).into_iter().collect();
        let refuses = refuses && kind == PublishKind::Log;
        let mut world = World { kind, refuses, ..World::new(count, fates) };
        let mut seen = Vec::new();
        let _ = world.carry_on(PublishState::Nothing, &files);
        // Starts, each of which may crash again.
        for _ in 0..100 {
            let Some(state) = world.journal else { break };
            seen.push(state);
            let _ = world.carry_on(state, &files);
            if kind == PublishKind::Log {
                let seen = world.seen();
                prop_assert!(seen == before() || seen == names(count));
            }
        }
        prop_assert_eq!(world.journal, None);
        // One that had read an older record, and wakes now.
        if let (true, Some(state)) = (stale, seen.first()) {
            world.fates.clear();
            let _ = world.carry_on(*state, &files);
        }
        prop_assert_eq!(world.seen(), if world.prepared && !refuses { names(count) } else { before() });
    }
}
