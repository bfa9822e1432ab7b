//! What VACUUM takes, row by row; and that whatever it is told, it takes nothing that somebody may need.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 100 * DAY_MS;
const RETENTION: i64 = 7 * DAY_MS;

fn listed(path: &str, days_ago: i64) -> ListedFile {
    ListedFile { path: path.to_owned(), modified_ms: NOW - days_ago * DAY_MS, bytes: 1 }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What goes of these files, when `live` is the newest version's, and what was removed so many days ago.
fn chosen(files: &[ListedFile], live: &[&str], removed: &[(&str, i64)], others: &[&str]) -> Vec<String> {
    let removed: BTreeMap<String, i64> = removed.iter().map(|(p, d)| ((*p).to_owned(), NOW - d * DAY_MS)).collect();
    let garbage = choose(&VacuumFacts {
        listed: files,
        live: &set(live),
        removed: &removed,
        in_flight: &set(&["publishing.parquet"]),
        open_jobs: &BTreeSet::new(),
        others: &set(others),
        now_ms: NOW,
        retention_ms: RETENTION,
    });
    garbage.files.into_iter().map(|file| file.path).collect()
}

#[test]
fn each_file_goes_or_stays() {
    type Row<'a> = (&'a str, ListedFile, &'a [&'a str], &'a [(&'a str, i64)], bool);
    let rows: [Row<'_>; 17] = [
        ("an old orphan", listed("a.parquet", 8), &[], &[], true),
        ("a young orphan", listed("a.parquet", 6), &[], &[], false),
        ("as old as the retention", listed("a.parquet", 7), &[], &[], false),
        ("live", listed("a.parquet", 50), &["a.parquet"], &[], false),
        ("live again after it was removed", listed("a.parquet", 50), &["a.parquet"], &[("a.parquet", 20)], false),
        ("removed of late", listed("a.parquet", 50), &[], &[("a.parquet", 3)], false),
        ("removed as long ago as the retention", listed("a.parquet", 50), &[], &[("a.parquet", 7)], false),
        ("removed long ago", listed("a.parquet", 50), &[], &[("a.parquet", 8)], true),
        ("in a partition", listed("ds=2026-01-01/_r=x/a.parquet", 50), &[], &[], true),
        ("being published", listed("publishing.parquet", 50), &[], &[], false),
        ("no data", listed("notes.txt", 50), &[], &[], false),
        ("a checkpoint", listed("_delta_log/00000000000000000010.checkpoint.parquet", 50), &[], &[], false),
        ("a file of changes", listed("_change_data/a.parquet", 50), &[], &[], false),
        ("hidden", listed("ds=1/.a.parquet", 50), &[], &[], false),
        ("hidden by an underscore", listed("ds=1/_a.parquet", 50), &[], &[], false),
        ("staged", listed(".staging/r-s1-a1/a.parquet", 50), &[], &[], false),
        ("of another table", listed("other/ds=1/a.parquet", 50), &[], &[], false),
    ];
    for (what, file, live, removed, goes) in rows {
        let got = chosen(std::slice::from_ref(&file), live, removed, &["other/"]);
        assert_eq!(got.len(), usize::from(goes), "{what}");
    }
}

#[test]
fn a_table_within_the_table_is_left_alone() {
    let files = [
        listed("a.parquet", 50),
        listed("in/b.parquet", 50),
        listed("in/ds=1/c.parquet", 50),
        listed("inner/d.parquet", 50),
        listed("in/_delta_log/00000000000000000000.json", 50),
        listed("_delta_log/00000000000000000000.json", 50),
    ];
    assert_eq!(chosen(&files, &[], &[], &[]), ["a.parquet", "inner/d.parquet"]);
}

#[test]
fn old_staging_of_jobs_that_have_ended_is_swept() {
    let files = [
        listed(".staging/old-s1-a1/x.parquet", 8),
        listed("_selvedge_staging/old-s2-a1/x.parquet.json", 8),
        listed("_selvedge_staging/long-s1-a1/a.json", 20),
        listed("_selvedge_staging/long-s1-a1/b.json", 1),
        listed("_selvedge_staging/open-s1-a1/a.json", 20),
        listed("_selvedge_staging/probe-1", 20),
        listed("ds=1/.staging/other-s1-a1/x.parquet", 20),
    ];
    let jobs = |retention_ms| {
        choose(&VacuumFacts {
            listed: &files,
            live: &BTreeSet::new(),
            removed: &BTreeMap::new(),
            in_flight: &BTreeSet::new(),
            open_jobs: &set(&["open-s1-a1"]),
            others: &BTreeSet::new(),
            now_ms: NOW,
            retention_ms,
        })
        .jobs
    };
    assert_eq!(jobs(RETENTION), set(&["old-s1-a1", "old-s2-a1"]));
    // However short the retention is made: a task that runs has nothing to do with versions.
    assert_eq!(jobs(0), set(&["old-s1-a1", "old-s2-a1"]));
    assert_eq!(jobs(2 * RETENTION), set(&[]));
}

#[test]
fn spans_are_read_as_properties_write_them() {
    for (text, expected) in [
        ("interval 7 days", Some(7 * DAY_MS)),
        ("INTERVAL 1 WEEK", Some(7 * DAY_MS)),
        ("interval 168 hours", Some(7 * DAY_MS)),
        ("1 day 12 hours", Some(DAY_MS + 12 * HOUR_MS)),
        ("interval 0 hours", Some(0)),
        ("interval 30 minutes", Some(30 * 60_000)),
        ("interval", None),
        ("interval 1 month", None),
        ("interval one day", None),
        ("interval -1 days", None),
        ("7", None),
        ("", None),
    ] {
        assert_eq!(parse_interval(text), expected, "{text}");
    }
    for (ms, text) in [(7 * DAY_MS, "7 days"), (36 * HOUR_MS, "36 hours"), (0, "0 hours"), (90_000, "90 seconds")] {
        assert_eq!(span_text(ms), text);
    }
}

fn paths() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a.parquet",
        "b.parquet",
        "ds=1/a.parquet",
        "ds=1/_r=2/b.parquet",
        "ds=1/.hidden.parquet",
        "_delta_log/1.checkpoint.parquet",
        "_delta_log/1.json",
        ".staging/r-s1-a1/a.parquet",
        "_selvedge_staging/r-s1-a1/a.parquet.json",
        "in/a.parquet",
        "in/_delta_log/1.json",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn nothing_that_a_version_within_the_retention_names_is_chosen(
        files in prop::collection::btree_map(paths(), 0_i64..30, 0..11),
        live in prop::collection::btree_set(paths(), 0..6),
        removed in prop::collection::btree_map(paths(), 0_i64..30, 0..6),
        in_flight in prop::collection::btree_set(paths(), 0..3),
        retention_days in 0_i64..20,
    ) {
        let listed: Vec<ListedFile> = files.iter().map(|(path, age)| listed(path, *age)).collect();
        let times: BTreeMap<String, i64> = removed.iter().map(|(p, age)| (p.clone(), NOW - age * DAY_MS)).collect();
        let garbage = choose(&VacuumFacts {
            listed: &listed,
            live: &live,
            removed: &times,
            in_flight: &in_flight,
            open_jobs: &BTreeSet::new(),
            others: &BTreeSet::new(),
            now_ms: NOW,
            retention_ms: retention_days * DAY_MS,
        });
        for file in garbage.files {
            prop_assert!(!live.contains(&file.path) && !in_flight.contains(&file.path), "{file:?}");
            prop_assert!(files[&file.path] > retention_days, "{file:?} is young");
            prop_assert!(removed.get(&file.path).is_none_or(|age| *age > retention_days), "{file:?} was there of late");
            prop_assert!(!file.path.starts_with(['_', '.']) && !file.path.contains("/."), "{file:?} is hidden");
            prop_assert!(!(file.path.starts_with("in/") && files.contains_key("in/_delta_log/1.json")), "{file:?}");
        }
    }
}
