//! Random histories of a table, compared with running every statement alone.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What a statement means, whatever the files: the oracle runs it on rows.
#[derive(Debug, Clone)]
enum Statement {
    /// New rows.
    Append { partition: u8, rows: u8 },
    /// New rows in place of a partition, or of the whole table.
    Overwrite { partition: Option<u8>, rows: u8 },
    /// A partition's rows, each plus 1,000, in its place.
    Bump { partition: u8 },
    /// As many rows as a partition has, added to another.
    Copy { from: u8, to: u8 },
    /// Every third row of a partition, or of the whole table, goes.
    Delete { partition: Option<u8> },
    /// Every third row of a partition goes, if another has any row.
    DeleteIf { partition: u8, asked: u8 },
    /// All files of a partition become one.
    Optimize { partition: u8 },
}

type Rows = BTreeMap<u8, Vec<u64>>;

fn wanted(scope: Option<u8>) -> impl Fn(u8) -> bool {
    move |partition| scope.is_none_or(|wanted| wanted == partition)
}

fn fresh(id: usize, rows: u8) -> Vec<u64> {
    (0..u64::from(rows)).map(|i| id as u64 * 1_000_000 + i).collect()
}

fn is_kept(row: u64) -> bool {
    !row.is_multiple_of(3)
}

/// The statement on its own, on rows.
fn run_alone(id: usize, statement: &Statement, table: &mut Rows) {
    match statement {
        Statement::Append { partition, rows } => table.entry(*partition).or_default().extend(fresh(id, *rows)),
        Statement::Overwrite { partition, rows } => {
            table.retain(|p, _| !wanted(*partition)(*p));
            table.entry(partition.unwrap_or(0)).or_default().extend(fresh(id, *rows));
        }
        Statement::Bump { partition } => table.entry(*partition).or_default().iter_mut().for_each(|r| *r += 1_000),
        Statement::Copy { from, to } => {
            let count = u8::try_from(table.get(from).map_or(0, Vec::len)).unwrap_or(u8::MAX);
            table.entry(*to).or_default().extend(fresh(id, count));
        }
        Statement::Delete { partition } => {
            for (_, rows) in table.iter_mut().filter(|(p, _)| wanted(*partition)(**p)) {
                rows.retain(|r| is_kept(*r));
            }
        }
        Statement::DeleteIf { partition, asked } => {
            if table.get(asked).is_some_and(|rows| !rows.is_empty()) {
                run_alone(id, &Statement::Delete { partition: Some(*partition) }, table);
            }
        }
        Statement::Optimize { .. } => {}
    }
}

#[derive(Debug, Clone)]
struct DataFile {
    partition: u8,
    rows: Vec<u64>,
}

type Files = BTreeMap<String, DataFile>;

/// A statement as it was planned and run on one version.
struct Prepared {
    write: DeltaWrite,
    reads: PartitionSet,
    searched: PartitionSet,
    adds: Files,
    changes_rows: bool,
}

fn partition_of(value: u8) -> PartitionKey {
    vec![Some(value.to_string())]
}

fn set_of(partition: Option<u8>) -> PartitionSet {
    partition.map_or_else(PartitionSet::everything, |p| PartitionSet::of([partition_of(p)]))
}

fn prepare(id: usize, attempt: usize, statement: &Statement, files: &Files) -> Prepared {
    let file = |partition: u8, rows: Vec<u64>| {
        let adds = [(format!("{id}-{attempt}-{partition}"), DataFile { partition, rows })];
        Files::from(adds)
    };
    let rows_of = |partition: u8| -> Vec<u64> {
        files.values().filter(|f| f.partition == partition).flat_map(|f| f.rows.clone()).collect()
    };
    let blind = |write, adds| Prepared {
        write,
        reads: PartitionSet::none(),
        searched: PartitionSet::none(),
        adds,
        changes_rows: true,
    };
    match statement {
        Statement::Append { partition, rows } => blind(DeltaWrite::Append, file(*partition, fresh(id, *rows))),
        Statement::Overwrite { partition, rows } => {
            blind(DeltaWrite::Replace(set_of(*partition)), file(partition.unwrap_or(0), fresh(id, *rows)))
        }
        Statement::Bump { partition } => {
            let rows = rows_of(*partition).into_iter().map(|r| r + 1_000).collect();
            let reads = set_of(Some(*partition));
            Prepared { reads: reads.clone(), ..blind(DeltaWrite::Replace(reads), file(*partition, rows)) }
        }
        Statement::Copy { from, to } => {
            let count = u8::try_from(rows_of(*from).len()).unwrap_or(u8::MAX);
            Prepared { reads: set_of(Some(*from)), ..blind(DeltaWrite::Append, file(*to, fresh(id, count))) }
        }
        Statement::Delete { partition } => {
            let hit =
                files.iter().filter(|(_, f)| wanted(*partition)(f.partition) && !f.rows.iter().all(|r| is_kept(*r)));
            let mut adds = Files::new();
            let mut removed = BTreeSet::new();
            for (i, (path, old)) in hit.enumerate() {
                let rows = old.rows.iter().copied().filter(|r| is_kept(*r)).collect();
                adds.insert(format!("{id}-{attempt}-{i}"), DataFile { partition: old.partition, rows });
                removed.insert(path.clone());
            }
            Prepared { searched: set_of(*partition), ..blind(DeltaWrite::Rewrite(removed), adds) }
        }
        Statement::DeleteIf { partition, asked } => {
            let statement = Statement::Delete { partition: Some(*partition) };
            let prepared = match rows_of(*asked).is_empty() {
                true => blind(DeltaWrite::Rewrite(BTreeSet::new()), Files::new()),
                false => prepare(id, attempt, &statement, files),
            };
            Prepared { reads: set_of(Some(*asked)), ..prepared }
        }
        Statement::Optimize { partition } => {
            let paths = files.iter().filter(|(_, f)| f.partition == *partition).map(|(p, _)| p.clone()).collect();
            let prepared = blind(DeltaWrite::Rewrite(paths), file(*partition, rows_of(*partition)));
            Prepared { changes_rows: false, ..prepared }
        }
    }
}

/// A log of versions, kept as commits and as the files of each version.
#[derive(Default)]
struct Log {
    commits: Vec<CommitSince>,
    states: Vec<Files>,
    committed: BTreeMap<usize, i64>,
}

impl Log {
    fn newest(&self) -> usize {
        self.states.len() - 1
    }

    fn decide(&self, id: usize, base: usize, prepared: &Prepared) -> CommitDecision {
        let state = &self.states[self.newest()];
        let file =
            |(path, f): (&String, &DataFile)| TableFile { path: path.clone(), partition: partition_of(f.partition) };
        decide(&CommitFacts {
            write: &prepared.write,
            reads: &prepared.reads,
            searched: &prepared.searched,
            adds: &prepared.adds.keys().cloned().collect(),
            base: i64::try_from(base).unwrap(),
            current: i64::try_from(self.newest()).unwrap(),
            is_same_table: true,
            committed: self.committed.get(&id).copied(),
            live: &state.iter().map(file).collect::<Vec<_>>(),
            since: &self.commits[base..],
        })
    }

    fn commit(&mut self, id: usize, prepared: &Prepared, remove: &[String]) {
        let mut state = self.states[self.newest()].clone();
        let mut files = Vec::new();
        let change = |path: &String, f: &DataFile, is_added| FileChange {
            path: path.clone(),
            partition: Some(partition_of(f.partition)),
            is_added,
            changes_rows: prepared.changes_rows,
        };
        for path in remove {
            let old = state.remove(path).expect("only what is there is removed");
            files.push(change(path, &old, false));
        }
        for (path, file) in &prepared.adds {
            files.push(change(path, file, true));
            assert!(state.insert(path.clone(), file.clone()).is_none(), "a path is added once");
        }
        let version = i64::try_from(self.states.len()).unwrap();
        self.commits.push(CommitSince { version, files, ..Default::default() });
        self.states.push(state);
        self.committed.insert(id, version);
    }
}

fn statement() -> impl Strategy<Value = Statement> {
    let p = || 0..3u8;
    prop_oneof![
        (p(), 1..6u8).prop_map(|(partition, rows)| Statement::Append { partition, rows }),
        (proptest::option::weighted(0.8, p()), 0..6u8)
            .prop_map(|(partition, rows)| Statement::Overwrite { partition, rows }),
        p().prop_map(|partition| Statement::Bump { partition }),
        (p(), p()).prop_map(|(from, to)| Statement::Copy { from, to }),
        proptest::option::weighted(0.7, p()).prop_map(|partition| Statement::Delete { partition }),
        (p(), p()).prop_map(|(partition, asked)| Statement::DeleteIf { partition, asked }),
        p().prop_map(|partition| Statement::Optimize { partition }),
    ]
}

fn sorted(rows: impl IntoIterator<Item = (u8, u64)>) -> Vec<(u8, u64)> {
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_unstable();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Statements are planned on versions that are up to six commits old and are sometimes committed twice; the table must
    /// hold what it would if each had run alone, in the order of the commits.
    #[test]
    fn no_row_is_lost_or_doubled(history in proptest::collection::vec((statement(), 0..6usize, any::<bool>()), 1..25)) {
        let mut log = Log { states: vec![Files::new()], ..Log::default() };
        let mut expected = Rows::new();
        for (id, (statement, lag, is_repeated)) in history.iter().enumerate() {
            let mut base = log.newest().saturating_sub(*lag);
            let mut prepared = prepare(id, 0, statement, &log.states[base]);
            let mut decision = log.decide(id, base, &prepared);
            if let CommitDecision::Rerun(_) = decision {
                base = log.newest();
                prepared = prepare(id, 1, statement, &log.states[base]);
                decision = log.decide(id, base, &prepared);
            }
            let CommitDecision::Commit { remove } = decision else {
                return Err(TestCaseError::fail(format!("{statement:?} on the newest version: {decision:?}")));
            };
            log.commit(id, &prepared, &remove);
            run_alone(id, statement, &mut expected);
            if *is_repeated {
                let again = log.decide(id, base, &prepared);
                prop_assert_eq!(again, CommitDecision::AlreadyCommitted(log.committed[&id]));
            }
            let found = log.states[log.newest()].values().flat_map(|f| f.rows.iter().map(|r| (f.partition, *r)));
            let wanted = expected.iter().flat_map(|(p, rows)| rows.iter().map(|r| (*p, *r)));
            prop_assert_eq!(sorted(found), sorted(wanted), "after {:?}", statement);
        }
    }
}
