//! Which files of a table `OPTIMIZE` makes into fewer, and when that is due. The rows stay; only what holds them changes.

use std::collections::{BTreeMap, BTreeSet};

use crate::delta::PartitionKey;

/// A data file of a table, as far as its size matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizedFile {
    /// Its path, relative to the table.
    pub path: String,
    /// Its partition.
    pub partition: PartitionKey,
    /// Its size.
    pub bytes: u64,
}

/// What is to be compacted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compaction {
    /// Paths of the files whose rows are written anew.
    pub rewrite: BTreeSet<String>,
    /// The size of all of them.
    pub bytes: u64,
    /// The size of those in the partition that has most.
    pub largest_bytes: u64,
}

impl Compaction {
    /// How many writers make files of about the target size from them, when each takes an equal share.
    pub fn writers(&self, target_bytes: u64) -> usize {
        usize::try_from(self.bytes.div_ceil(target_bytes.max(1))).unwrap_or(usize::MAX).max(1)
    }
}

impl SizedFile {
    /// Below half the target: any two of them fit into one file of the target size.
    fn is_small(&self, target_bytes: u64) -> bool {
        self.bytes < target_bytes.div_ceil(2)
    }
}

/// The partitions of `touched` in which so many files are small that they are worth compacting, now that something was
/// written there. `many` counts from 2: one file alone cannot become fewer.
pub fn crowded<'a>(
    files: impl IntoIterator<Item = &'a SizedFile>,
    touched: &BTreeSet<PartitionKey>,
    target_bytes: u64,
    many: usize,
) -> BTreeSet<PartitionKey> {
    let mut small: BTreeMap<&PartitionKey, usize> = BTreeMap::new();
    for file in files.into_iter().filter(|f| f.is_small(target_bytes) && touched.contains(&f.partition)) {
        *small.entry(&file.partition).or_default() += 1;
    }
    small.into_iter().filter(|(_, count)| *count >= many.max(2)).map(|(partition, _)| partition.clone()).collect()
}

/// Chooses the small files, below half the target, of every partition that has at least two of them. Any two fit into one
/// file of the target size, so that there are fewer afterwards, and what is left below half of it is one file a partition.
pub fn choose(files: &[SizedFile], target_bytes: u64) -> Compaction {
    let mut small: BTreeMap<&PartitionKey, Vec<&SizedFile>> = BTreeMap::new();
    for file in files.iter().filter(|f| f.is_small(target_bytes)) {
        small.entry(&file.partition).or_default().push(file);
    }
    let mut chosen = Compaction::default();
    for files in small.into_values().filter(|files| files.len() > 1) {
        let bytes = files.iter().fold(0_u64, |sum, f| sum.saturating_add(f.bytes));
        chosen.bytes = chosen.bytes.saturating_add(bytes);
        chosen.largest_bytes = chosen.largest_bytes.max(bytes);
        chosen.rewrite.extend(files.into_iter().map(|f| f.path.clone()));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str, partition: &str, bytes: u64) -> SizedFile {
        SizedFile { path: path.to_owned(), partition: vec![Some(partition.to_owned())], bytes }
    }

    #[test]
    fn small_files_of_a_partition_are_compacted_and_others_kept() {
        let rows: [(&str, Vec<SizedFile>, &[&str]); 7] = [
            ("nothing there", vec![], &[]),
            ("a small file alone", vec![file("a", "1", 1)], &[]),
            ("two small ones", vec![file("a", "1", 1), file("b", "1", 49)], &["a", "b"]),
            ("half the target is not small", vec![file("a", "1", 1), file("b", "1", 50)], &[]),
            ("one in each partition", vec![file("a", "1", 1), file("b", "2", 1)], &[]),
            (
                "large ones stay",
                vec![file("a", "1", 1), file("b", "1", 100), file("c", "1", 9), file("d", "2", 3)],
                &["a", "c"],
            ),
            ("empty ones are small", vec![file("a", "1", 0), file("b", "1", 0)], &["a", "b"]),
        ];
        for (what, files, expected) in rows {
            let chosen = choose(&files, 100);
            assert_eq!(chosen.rewrite.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{what}");
            let bytes: u64 = files.iter().filter(|f| chosen.rewrite.contains(&f.path)).map(|f| f.bytes).sum();
            assert_eq!(chosen.bytes, bytes, "{what}");
        }
        let two = [file("a", "1", 30), file("b", "1", 40), file("c", "2", 9), file("d", "2", 9)];
        assert_eq!((choose(&two, 100).bytes, choose(&two, 100).largest_bytes), (88, 70));
    }

    #[test]
    fn what_was_written_to_is_crowded_once_it_has_many_small_files() {
        let files: Vec<SizedFile> = [("1", 9), ("1", 9), ("1", 9), ("1", 50), ("2", 9), ("2", 9), ("2", 9), ("3", 9)]
            .iter()
            .map(|(partition, bytes)| file("f", partition, *bytes))
            .collect();
        let key = |partition: &str| vec![Some(partition.to_owned())];
        let touched = BTreeSet::from([key("1"), key("3")]);
        for (many, expected) in [(4, vec![]), (3, vec![key("1")]), (0, vec![key("1")])] {
            assert_eq!(crowded(&files, &touched, 100, many).into_iter().collect::<Vec<_>>(), expected, "{many}");
        }
    }

    #[test]
    fn writers_fill_files_of_the_target_size() {
        for (bytes, writers) in [(0, 1), (1, 1), (100, 1), (101, 2), (1_000, 10)] {
            assert_eq!(Compaction { bytes, ..Compaction::default() }.writers(100), writers, "{bytes}");
        }
        assert_eq!(Compaction { bytes: 3, ..Compaction::default() }.writers(0), 3);
    }

    proptest! {
        #[test]
        fn there_are_fewer_files_afterwards_and_then_nothing_more_to_do(
            sizes in prop::collection::vec((0_u8..3, 0_u64..120), 0..40),
        ) {
            let named = |(i, (partition, bytes)): (usize, &(u8, u64))| file(&i.to_string(), &partition.to_string(), *bytes);
            let files: Vec<SizedFile> = sizes.iter().enumerate().map(named).collect();
            let chosen = choose(&files, 100);
            let mut after: Vec<SizedFile> = files.iter().filter(|f| !chosen.rewrite.contains(&f.path)).cloned().collect();
            for partition in 0..3_u8 {
                let key = vec![Some(partition.to_string())];
                let moved = files.iter().filter(|f| f.partition == key && chosen.rewrite.contains(&f.path));
                let count = moved.clone().count() as u64;
                let bytes: u64 = moved.map(|f| f.bytes).sum();
                let made = bytes.div_ceil(100).max(u64::from(count > 0));
                prop_assert!(count == 0 || made < count);
                let full = (0..bytes / 100).map(|i| file(&format!("{partition} {i}"), &partition.to_string(), 100));
                after.extend(full);
                if !bytes.is_multiple_of(100) {
                    after.push(file(&format!("rest of {partition}"), &partition.to_string(), bytes % 100));
                }
            }
            // What was alone and the rest of what was moved may be two: never in one partition.
            prop_assert!(choose(&after, 100).rewrite.is_empty());
            let everywhere = after.iter().map(|f| f.partition.clone()).collect();
            prop_assert!(crowded(&after, &everywhere, 100, 0).is_empty());
        }
    }
}
