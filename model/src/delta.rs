//! What to do to commit a write to a managed table, given what others committed since the table was read.
//!
//! A managed table is a log of versions, each made whole by one conditional put. A write is planned on one version, its
//! base, and may find later ones when it commits. [`decide`] says whether it may still be committed, and what it then
//! removes. Losing rows or doubling them is decided here and nowhere else; the log itself is read and written by the
//! engine's `delta`.
//!
//! The rules, from the first that applies:
//!
//! 1. A write whose transaction is in the table is never committed again.
//! 2. A table that was made anew since, or a log that lost versions, is a [`CommitDecision::Conflict`]: what the write was
//!    planned on is gone.
//! 3. A change of columns, properties or protocol since the base is a [`CommitDecision::Rerun`]: planning looks again.
//! 4. What the statement read must still be so: rows added to the partitions that it read, or removed from them, are a
//!    `Rerun`. Where it only searched, for the files that it rewrites, rows that were added are; rows that were removed were
//!    in other files, or the next rule finds it. Files that were only rearranged (`OPTIMIZE`) changed no rows and count for
//!    nothing here.
//! 5. A rewrite (`DELETE`, `UPDATE`, `MERGE`, `OPTIMIZE`) removes the files it has read and no others: when one is gone,
//!    somebody else has replaced its rows, and it is a `Rerun`. So it is for a restore, which reads the whole table: what it
//!    leaves must be there, too.
//! 6. Otherwise it is committed. An overwrite removes what lies in its partitions *now*, also what came since the base: when
//!    it did not read them, the last writer wins, as if it had begun after the other. An append removes nothing.
//!
//! So a blind append or overwrite (`INSERT ... SELECT` from other tables) never conflicts with other rows, and writes to
//! disjoint partitions never conflict at all, while `INSERT INTO t SELECT ... WHERE NOT EXISTS (... t ...)` does not double
//! rows when it runs twice at the same time.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The values of a file's partition columns, in the table's order; `None` is NULL. Each value is in the one spelling that
/// the engine gives it, so that equal values are equal texts; there are no empty ones, which are NULL.
pub type PartitionKey = Vec<Option<String>>;

/// Partitions of a table: those whose leading values are among the set's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartitionSet {
    leading: BTreeSet<PartitionKey>,
}

impl PartitionSet {
    /// No partition.
    pub fn none() -> Self {
        Self::default()
    }

    /// The whole table, with or without partitions.
    pub fn everything() -> Self {
        Self::of([vec![]])
    }

    /// The partitions that begin with one of these values. A full key is one partition, a shorter one all below it.
    pub fn of(leading: impl IntoIterator<Item = PartitionKey>) -> Self {
        Self { leading: leading.into_iter().collect() }
    }

    /// The partitions of both.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        self.leading.extend(other.leading);
        self
    }

    /// Whether a partition is among them.
    pub fn contains(&self, key: &[Option<String>]) -> bool {
        (0..=key.len()).any(|n| key.get(..n).is_some_and(|leading| self.leading.contains(leading)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.leading.is_empty()
    }
}

/// What a write does to what is there, apart from the files it adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeltaWrite {
    /// Nothing.
    Append,
    /// Replaces partitions: [`PartitionSet::everything`] for a whole overwrite, the partitions of the result for a dynamic
    /// one, leading values for a static one, also when the result is empty.
    Replace(PartitionSet),
    /// Removes exactly these files, whose remaining rows it has written anew.
    Rewrite(BTreeSet<String>),
    /// Removes exactly these files and names others of an earlier version again, so that with those that stay the table has
    /// that version's rows.
    Restore(BTreeSet<String>),
}

/// A data file of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFile {
    /// Its path, relative to the table.
    pub path: String,
    /// Its partition.
    pub partition: PartitionKey,
}

/// A file that a commit added or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Its path, relative to the table.
    pub path: String,
    /// Its partition; `None` when the log does not say, which stands for any.
    pub partition: Option<PartitionKey>,
    /// Whether it was added, or else removed.
    pub is_added: bool,
    /// Whether rows of the table changed with it; not so when they were only moved between files.
    pub changes_rows: bool,
}

/// A version that was committed after the base.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitSince {
    /// The version.
    pub version: i64,
    /// The run that made it, if it was one of ours.
    pub run: Option<String>,
    /// Whether it carries the transaction of the write that is to be decided.
    pub is_ours: bool,
    /// Whether it changed columns, properties or the protocol.
    pub changes_table: bool,
    /// Files that it added and removed.
    pub files: Vec<FileChange>,
}

/// All that is known when a write is to be committed.
#[derive(Debug, Clone, Copy)]
pub struct CommitFacts<'a> {
    /// What the write does.
    pub write: &'a DeltaWrite,
    /// The partitions of this table that the statement read, at the base. Without what a [`DeltaWrite::Rewrite`] finds in
    /// the files that it removes: but with what it asked about other rows, as in `WHERE EXISTS (SELECT ... FROM t)`.
    pub reads: &'a PartitionSet,
    /// The partitions in which a [`DeltaWrite::Rewrite`] looked for rows. `OPTIMIZE` looks for none.
    pub searched: &'a PartitionSet,
    /// Paths that the write adds.
    pub adds: &'a BTreeSet<String>,
    /// The version that the statement was planned on.
    pub base: i64,
    /// The newest version.
    pub current: i64,
    /// Whether the table is still the one that was planned on, and not one that was made in its place.
    pub is_same_table: bool,
    /// The version that carries the write's transaction, if the newest knows it.
    pub committed: Option<i64>,
    /// The files of the newest version. An append needs none.
    pub live: &'a [TableFile],
    /// The versions after the base, up to the newest.
    pub since: &'a [CommitSince],
}

/// Why a write cannot be committed as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClashReason {
    /// Columns, properties or the protocol were changed.
    TableChanged,
    /// Another table is there now.
    TableReplaced,
    /// The log is shorter than it was.
    LogLost,
    /// The log no longer tells what was committed since.
    LogCut,
    /// Rows were added to or removed from a partition that the statement read.
    ReadChanged {
        /// The partition; `None` when the log does not say.
        partition: Option<PartitionKey>,
    },
    /// A file that the write replaces is gone.
    FileGone {
        /// Its path.
        path: String,
    },
}

/// What a write met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The version that did it, or the newest when that is not known.
    pub version: i64,
    /// The run that made that version, if it was one of ours.
    pub run: Option<String>,
    /// What it did.
    pub reason: ClashReason,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitDecision {
    /// Nothing: the write is in the table since this version.
    AlreadyCommitted(i64),
    /// Commit the version after the newest: the files that are added, and the removal of these paths.
    Commit {
        /// Paths of files that are there now and are to go.
        remove: Vec<String>,
    },
    /// Refuse. Running the statement again would act on something else than what its author saw.
    Conflict(Clash),
    /// Run the statement again from the newest version. Nothing of it may be kept.
    Rerun(Clash),
}

/// Decides what becomes of a write. See the rules at the top.
pub fn decide(facts: &CommitFacts<'_>) -> CommitDecision {
    if let Some(version) = committed(facts) {
        return CommitDecision::AlreadyCommitted(version);
    }
    let at_newest = |reason| Clash { version: facts.current, run: None, reason };
    if !facts.is_same_table {
        return CommitDecision::Conflict(at_newest(ClashReason::TableReplaced));
    }
    if facts.base > facts.current {
        return CommitDecision::Conflict(at_newest(ClashReason::LogLost));
    }
    let known: Vec<i64> = facts.since.iter().map(|c| c.version).collect();
    if !(facts.base + 1..=facts.current).eq(known) {
        return CommitDecision::Rerun(at_newest(ClashReason::LogCut));
    }
    let clash = facts.since.iter().find_map(|commit| {
        let reason = clash_with(facts, commit)?;
        Some(Clash { version: commit.version, run: commit.run.clone(), reason })
    });
    match clash {
        Some(clash) => CommitDecision::Rerun(clash),
        None => removal(facts),
    }
}

/// The version that carries the write: its transaction, or files that only it can have added.
fn committed(facts: &CommitFacts<'_>) -> Option<i64> {
    // The files of a restore are older than it: somebody else may have named them again for another version.
    let is_own = !matches!(facts.write, DeltaWrite::Restore(_));
    let adds_ours =
        |commit: &CommitSince| is_own && commit.files.iter().any(|f| f.is_added && facts.adds.contains(&f.path));
    let seen = facts.since.iter().find(|c| c.is_ours || adds_ours(c)).map(|c| c.version);
    seen.or(facts.committed)
}

fn clash_with(facts: &CommitFacts<'_>, commit: &CommitSince) -> Option<ClashReason> {
    if commit.changes_table {
        return Some(ClashReason::TableChanged);
    }
    let is_in = |set: &PartitionSet, key: &Option<PartitionKey>| match key {
        Some(key) => set.contains(key),
        None => !set.is_empty(),
    };
    let was_read =
        |f: &FileChange| is_in(facts.reads, &f.partition) || (f.is_added && is_in(facts.searched, &f.partition));
    let changed = commit.files.iter().find(|f| f.changes_rows && was_read(f));
    changed.map(|f| ClashReason::ReadChanged { partition: f.partition.clone() })
}

/// What the write removes of what is there now.
fn removal(facts: &CommitFacts<'_>) -> CommitDecision {
    let remove: Vec<String> = match facts.write {
        DeltaWrite::Append => vec![],
        DeltaWrite::Replace(partitions) => {
            facts.live.iter().filter(|f| partitions.contains(&f.partition)).map(|f| f.path.clone()).collect()
        }
        DeltaWrite::Rewrite(files) | DeltaWrite::Restore(files) => {
            let live: BTreeSet<&str> = facts.live.iter().map(|f| f.path.as_str()).collect();
            if let Some(gone) = files.iter().find(|path| !live.contains(path.as_str())) {
                return CommitDecision::Rerun(gone_since(facts, gone));
            }
            files.iter().cloned().collect()
        }
    };
    CommitDecision::Commit { remove }
}

fn gone_since(facts: &CommitFacts<'_>, path: &str) -> Clash {
    let removed = |commit: &&CommitSince| commit.files.iter().any(|f| !f.is_added && f.path == path);
    let by = facts.since.iter().rev().find(removed);
    Clash {
        version: by.map_or(facts.current, |c| c.version),
        run: by.and_then(|c| c.run.clone()),
        reason: ClashReason::FileGone { path: path.to_owned() },
    }
}

#[cfg(test)]
#[path = "delta_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "delta_history_tests.rs"]
mod history_tests;
