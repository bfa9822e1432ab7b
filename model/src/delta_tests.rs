//! The rules of a commit, row by row.

use std::collections::BTreeMap;

use super::*;

fn key(value: &str) -> PartitionKey {
    vec![Some(value.to_owned())]
}

fn part(value: &str) -> PartitionSet {
    PartitionSet::of([key(value)])
}

fn change(path: &str, partition: &str, is_added: bool) -> FileChange {
    FileChange { path: path.to_owned(), partition: Some(key(partition)), is_added, changes_rows: true }
}

/// A table of two files, `a` in partition 1 and `b` in partition 2, planned on at version 4.
fn decided(write: DeltaWrite, reads: PartitionSet, since: Vec<CommitSince>) -> CommitDecision {
    // What a rewrite reads here, it only searches.
    let none = PartitionSet::none();
    match write {
        DeltaWrite::Rewrite(_) => decided_by(write, [none, reads], since),
        _ => decided_by(write, [reads, none], since),
    }
}

/// `[reads, searched]` are what the statement read and where it searched.
fn decided_by(write: DeltaWrite, [reads, searched]: [PartitionSet; 2], since: Vec<CommitSince>) -> CommitDecision {
    let mut live: BTreeMap<String, PartitionKey> = [("a".to_owned(), key("1")), ("b".to_owned(), key("2"))].into();
    for file in since.iter().flat_map(|c| &c.files) {
        if file.is_added {
            live.insert(file.path.clone(), file.partition.clone().unwrap());
        } else {
            live.remove(&file.path);
        }
    }
    let live: Vec<_> = live.into_iter().map(|(path, partition)| TableFile { path, partition }).collect();
    decide(&CommitFacts {
        write: &write,
        reads: &reads,
        searched: &searched,
        adds: &BTreeSet::from(["new".to_owned()]),
        base: 4,
        current: 4 + i64::try_from(since.len()).unwrap(),
        is_same_table: true,
        committed: None,
        live: &live,
        since: &since,
    })
}

fn after(files: Vec<FileChange>) -> Vec<CommitSince> {
    vec![CommitSince { version: 5, run: Some("other".into()), files, ..Default::default() }]
}

fn commit(remove: &[&str]) -> CommitDecision {
    CommitDecision::Commit { remove: remove.iter().map(|p| (*p).to_owned()).collect() }
}

fn rerun(reason: ClashReason) -> CommitDecision {
    CommitDecision::Rerun(Clash { version: 5, run: Some("other".into()), reason })
}

fn read_changed(partition: &str) -> CommitDecision {
    rerun(ClashReason::ReadChanged { partition: Some(key(partition)) })
}

fn rewrite(paths: &[&str]) -> DeltaWrite {
    DeltaWrite::Rewrite(paths.iter().map(|p| (*p).to_owned()).collect())
}

fn restore(paths: &[&str]) -> DeltaWrite {
    DeltaWrite::Restore(paths.iter().map(|p| (*p).to_owned()).collect())
}

/// The file that is added, `new`, is an old one: that somebody else adds it proves nothing.
#[test]
fn a_restore_comes_to_its_version_or_is_run_again() {
    let all = PartitionSet::everything;
    let deleted_2 = || after(vec![change("b", "2", false)]);
    let moved_2 = || {
        let still = |f| FileChange { changes_rows: false, ..f };
        after(vec![still(change("b", "2", false)), still(change("y", "2", true))])
    };
    let rows = [
        ("nothing new", vec![], commit(&["a"])),
        ("rows that came", after(vec![change("x", "2", true)]), read_changed("2")),
        ("rows that went, of a file that it leaves", deleted_2(), read_changed("2")),
        ("another restore of the same file", after(vec![change("new", "1", true)]), read_changed("1")),
        ("files that it leaves were moved", moved_2(), commit(&["a"])),
    ];
    for (what, since, expected) in rows {
        assert_eq!(decided(restore(&["a"]), all(), since), expected, "{what}");
    }
    let gone = decided(restore(&["b"]), all(), moved_2());
    assert_eq!(gone, rerun(ClashReason::FileGone { path: "b".into() }));
}

#[test]
fn partitions_are_found_by_their_leading_values() {
    let two = |a: &str, b: Option<&str>| vec![Some(a.to_owned()), b.map(str::to_owned)];
    let set = PartitionSet::of([key("1"), two("2", None)]);
    assert!(set.contains(&key("1")) && set.contains(&two("1", Some("x"))) && set.contains(&two("2", None)));
    assert!(!set.contains(&two("2", Some("x"))) && !set.contains(&[]) && !set.contains(&two("10", None)));
    assert!(PartitionSet::everything().contains(&[]) && PartitionSet::everything().contains(&two("9", None)));
    assert!(!PartitionSet::none().contains(&[]));
    let both = set.union(PartitionSet::of([key("7")]));
    assert!(both.contains(&key("1")) && both.contains(&key("7")) && !both.contains(&key("8")));
}

#[test]
fn each_write_meets_each_change() {
    let none = PartitionSet::none;
    let added_1 = || after(vec![change("x", "1", true)]);
    let added_2 = || after(vec![change("x", "2", true)]);
    let gone_1 = || after(vec![change("a", "1", false), change("y", "1", true)]);
    let deleted_1 = || after(vec![change("a", "1", false)]);
    let moved_1 = || {
        let still = |f| FileChange { changes_rows: false, ..f };
        after(vec![still(change("a", "1", false)), still(change("y", "1", true))])
    };
    let replace = |p: &str| DeltaWrite::Replace(part(p));
    let rows = [
        // Blind writes take the newest version as it is.
        ("append", DeltaWrite::Append, none(), added_1(), commit(&[])),
        ("append to nothing new", DeltaWrite::Append, none(), vec![], commit(&[])),
        ("blind overwrite of what grew", replace("1"), none(), added_1(), commit(&["a", "x"])),
        ("blind overwrite of what was replaced", replace("1"), none(), gone_1(), commit(&["y"])),
        ("blind overwrite beside a change", replace("1"), none(), added_2(), commit(&["a"])),
        (
            "whole overwrite",
            DeltaWrite::Replace(PartitionSet::everything()),
            none(),
            added_2(),
            commit(&["a", "b", "x"]),
        ),
        ("overwrite of no partition", DeltaWrite::Replace(none()), none(), added_1(), commit(&[])),
        // What was read must still be so.
        ("append that read what grew", DeltaWrite::Append, part("1"), added_1(), read_changed("1")),
        ("append that read elsewhere", DeltaWrite::Append, part("2"), added_1(), commit(&[])),
        ("overwrite of what it read, which grew", replace("1"), part("1"), added_1(), read_changed("1")),
        ("overwrite of what it read, rows deleted", replace("1"), part("1"), deleted_1(), read_changed("1")),
        ("overwrite of what it read, files moved", replace("1"), part("1"), moved_1(), commit(&["y"])),
        ("overwrite that read another partition", replace("1"), part("2"), added_1(), commit(&["a", "x"])),
        // Rewrites hold on to their files.
        ("delete beside a change", rewrite(&["a"]), part("1"), added_2(), commit(&["a"])),
        ("delete of what grew", rewrite(&["a"]), part("1"), added_1(), read_changed("1")),
        ("delete of the whole table, which grew", rewrite(&["a"]), PartitionSet::everything(), added_2(), {
            read_changed("2")
        }),
        ("delete, another's rows deleted", rewrite(&["b"]), PartitionSet::everything(), deleted_1(), commit(&["b"])),
        (
            "delete of moved files",
            rewrite(&["a"]),
            part("1"),
            moved_1(),
            rerun(ClashReason::FileGone { path: "a".into() }),
        ),
        ("optimize beside an append", rewrite(&["a"]), none(), added_1(), commit(&["a"])),
        ("optimize of replaced files", rewrite(&["a"]), none(), gone_1(), {
            rerun(ClashReason::FileGone { path: "a".into() })
        }),
    ];
    for (what, write, reads, since, expected) in rows {
        assert_eq!(decided(write, reads, since), expected, "{what}");
    }
}

#[test]
fn a_rewrite_that_asked_about_other_rows_needs_them_as_they_were() {
    let deleted_2 = || after(vec![change("b", "2", false)]);
    // DELETE FROM t WHERE p = 1 AND EXISTS (SELECT 1 FROM t WHERE p = 2), beside a DELETE of partition 2.
    assert_eq!(decided_by(rewrite(&["a"]), [part("2"), part("1")], deleted_2()), read_changed("2"));
    assert_eq!(decided_by(rewrite(&["a"]), [PartitionSet::none(), part("1")], deleted_2()), commit(&["a"]));
}

#[test]
fn a_removal_in_an_unknown_partition_may_be_in_any() {
    let file = FileChange { path: "z".into(), partition: None, is_added: false, changes_rows: true };
    let got = decided(DeltaWrite::Append, part("1"), after(vec![file]));
    assert_eq!(got, rerun(ClashReason::ReadChanged { partition: None }));
}

#[test]
fn a_changed_table_is_planned_again() {
    let since = vec![CommitSince { version: 5, run: Some("other".into()), changes_table: true, ..Default::default() }];
    for write in [DeltaWrite::Append, DeltaWrite::Replace(part("1")), rewrite(&["a"])] {
        assert_eq!(decided(write, PartitionSet::none(), since.clone()), rerun(ClashReason::TableChanged));
    }
}

#[test]
fn what_was_committed_is_not_committed_again() {
    let (none, adds) = (PartitionSet::none(), BTreeSet::from(["new".to_owned()]));
    let base = CommitFacts {
        write: &DeltaWrite::Append,
        reads: &none,
        searched: &none,
        adds: &adds,
        base: 4,
        current: 5,
        is_same_table: true,
        committed: Some(2),
        live: &[],
        since: &[CommitSince { version: 5, ..Default::default() }],
    };
    assert_eq!(decide(&base), CommitDecision::AlreadyCommitted(2));
    // Its version is found among those since, by the transaction or by its files; a changed table makes no difference.
    let by_txn = [CommitSince { version: 5, is_ours: true, changes_table: true, ..Default::default() }];
    assert_eq!(decide(&CommitFacts { since: &by_txn, ..base }), CommitDecision::AlreadyCommitted(5));
    let by_file = after(vec![change("new", "1", true)]);
    let facts = CommitFacts { since: &by_file, committed: None, ..base };
    assert_eq!(decide(&facts), CommitDecision::AlreadyCommitted(5));
}

#[test]
fn a_log_that_does_not_fit_is_not_written_to() {
    let (none, adds) = (PartitionSet::none(), BTreeSet::new());
    let base = CommitFacts {
        write: &DeltaWrite::Append,
        reads: &none,
        searched: &none,
        adds: &adds,
        base: 4,
        current: 6,
        is_same_table: true,
        committed: None,
        live: &[],
        since: &[CommitSince { version: 6, ..Default::default() }],
    };
    let clash = |version, reason| Clash { version, run: None, reason };
    assert_eq!(decide(&base), CommitDecision::Rerun(clash(6, ClashReason::LogCut)));
    let replaced = CommitFacts { is_same_table: false, ..base };
    assert_eq!(decide(&replaced), CommitDecision::Conflict(clash(6, ClashReason::TableReplaced)));
    let lost = CommitFacts { current: 3, since: &[], ..base };
    assert_eq!(decide(&lost), CommitDecision::Conflict(clash(3, ClashReason::LogLost)));
}
