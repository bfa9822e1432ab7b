//! Groups the rows of a batch by partition, and remembers the partitions it has seen. Next: `task.rs`.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result;

/// The partitions seen so far, each with a number.
pub(crate) struct Groups {
    converter: RowConverter,
    known: HashMap<Box<[u8]>, usize>,
}

impl Groups {
    /// For partition columns of these types.
    pub(crate) fn new<'a>(types: impl Iterator<Item = &'a arrow::datatypes::DataType>) -> Result<Self> {
        let fields = types.map(|data_type| SortField::new(data_type.clone())).collect();
        Ok(Self { converter: RowConverter::new(fields)?, known: HashMap::new() })
    }

    /// The partitions of a batch, each with its number and its rows. New partitions get the next numbers.
    pub(crate) fn split(&mut self, partition_columns: &[ArrayRef]) -> Result<Vec<(usize, Vec<u32>)>> {
        let keys = self.converter.convert_columns(partition_columns)?;
        let mut found: Vec<(usize, Vec<u32>)> = Vec::new();
        let mut places: HashMap<usize, usize> = HashMap::new();
        let mut last: Option<(&[u8], usize)> = None;
        for (row, key) in keys.iter().enumerate() {
            let key = key.data();
            // Neighbours are often alike.
            let place = match last {
                Some((same, place)) if same == key => place,
                _ => {
                    let group = self.number(key);
                    *places.entry(group).or_insert_with(|| {
                        found.push((group, Vec::new()));
                        found.len() - 1
                    })
                }
            };
            last = Some((key, place));
            found[place].1.push(u32::try_from(row).unwrap_or(u32::MAX));
        }
        Ok(found)
    }

    fn number(&mut self, key: &[u8]) -> usize {
        if let Some(group) = self.known.get(key) {
            return *group;
        }
        let group = self.known.len();
        self.known.insert(key.into(), group);
        group
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, StringArray};
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn rows_are_grouped_and_groups_keep_their_numbers() {
        let mut groups = Groups::new([DataType::Utf8, DataType::Int32].iter()).unwrap();
        let columns = |k: Vec<Option<&str>>, n: Vec<i32>| -> Vec<ArrayRef> {
            vec![Arc::new(StringArray::from(k)), Arc::new(Int32Array::from(n))]
        };
        let first = groups.split(&columns(vec![Some("a"), None, Some("a"), Some("a")], vec![1, 1, 1, 2])).unwrap();
        assert_eq!(first, [(0, vec![0, 2]), (1, vec![1]), (2, vec![3])]);
        let second = groups.split(&columns(vec![Some("b"), None], vec![1, 1])).unwrap();
        assert_eq!(second, [(3, vec![0]), (1, vec![1])]);
    }
}
