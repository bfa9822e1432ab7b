//! Which files of a listing readers see, and which partition each belongs to.
//!
//! A directory is read as the catalog reads it, by the types of the partition columns, and its values are written back as a
//! task writes them: `month=01` of an INT, left by another engine, is the partition that we call `month=1`. Listings come
//! from `store.rs`; what an overwrite replaces is decided by `selvedge_model::commit`.

use std::collections::HashMap;

use arrow::datatypes::FieldRef;
use object_store::path::Path;
use selvedge_model::commit::VisibleFile;

use super::rows::{PartitionValues, text};
use crate::catalog::{is_hidden, parse_segment, scalar};

/// The directory of a managed table's log.
const LOG: &str = "_delta_log";

/// Tells data files from all else below a table's root.
pub(crate) struct Visible<'a> {
    root: &'a Path,
    /// Partition columns, in the order of directories.
    fields: &'a [FieldRef],
    /// Directories hold many files: each is read once.
    known: HashMap<Vec<String>, PartitionValues>,
}

impl<'a> Visible<'a> {
    pub(crate) fn new(root: &'a Path, fields: &'a [FieldRef]) -> Self {
        Self { root, fields, known: HashMap::new() }
    }

    /// The data file at a path, or `None` for what readers must not see: names that begin with `_` or `.`.
    pub(crate) fn file(&mut self, path: &Path) -> Option<VisibleFile> {
        let mut directories: Vec<String> = path.prefix_match(self.root)?.map(|part| part.as_ref().to_owned()).collect();
        let file = directories.pop()?;
        if file.starts_with(['.', '_']) || directories.iter().any(|name| is_hidden(name)) {
            return None;
        }
        let fields = self.fields;
        let partition = match self.known.get(&directories) {
            Some(partition) => partition.clone(),
            None => {
                let partition = partition_of(&directories, fields);
                self.known.insert(directories, partition.clone());
                partition
            }
        };
        Some(VisibleFile { path: path.to_string(), partition })
    }
}

/// The managed table below a root, and not at it, whose log a path is of. Those in hidden directories are nobody's to see.
pub(crate) fn nested_table(root: &Path, path: &Path) -> Option<Path> {
    let parts: Vec<_> = path.prefix_match(root)?.collect();
    let log = parts.iter().position(|part| part.as_ref() == LOG)?;
    let above = parts.get(..log).filter(|above| !above.is_empty() && log + 1 < parts.len())?;
    if above.iter().any(|part| is_hidden(part.as_ref())) {
        return None;
    }
    Some(above.iter().fold(root.clone(), |path, part| path.join(part.clone())))
}

fn partition_of(directories: &[String], fields: &[FieldRef]) -> PartitionValues {
    let named = directories.iter().filter_map(|segment| parse_segment(segment));
    let value = |(field, (column, value)): (&FieldRef, (String, Option<String>))| match column == *field.name() {
        true => (column, in_its_form(value, field)),
        false => (column, value),
    };
    fields.iter().zip(named).map(value).collect()
}

/// A value as its type writes it. One that is not of the type is left as it is: no reader takes it.
fn in_its_form(value: Option<String>, field: &FieldRef) -> Option<String> {
    let Ok(typed) = scalar(value.as_deref(), field, "") else { return value };
    match typed.to_array().and_then(|column| text(&column, 0)) {
        Ok(written) => written,
        Err(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, TimeUnit};
    use datafusion::common::ScalarValue;
    use proptest::prelude::*;
    use selvedge_model::commit::{HIVE_NULL, partition_dir};

    use super::*;

    fn field(name: &str, data_type: DataType) -> FieldRef {
        Arc::new(Field::new(name, data_type, true))
    }

    /// The value that a directory `p=...` stands for.
    fn read(data_type: &DataType, spelt: &str) -> Option<String> {
        let fields = [field("p", data_type.clone())];
        let path = Path::parse(format!("wh/t/p={spelt}/f.parquet")).unwrap();
        Visible::new(&Path::from("wh/t"), &fields).file(&path).unwrap().partition.remove(0).1
    }

    #[test]
    fn tables_below_are_known_by_their_logs() {
        let below = |path: &str| nested_table(&Path::from("wh"), &Path::parse(path).unwrap()).map(|p| p.to_string());
        assert_eq!(below("wh/a/t/_delta_log/0.json").as_deref(), Some("wh/a/t"));
        for path in
            ["wh/_delta_log/0.json", "wh/_rejected/_delta_log/0.json", "wh/t/_delta_log", "other/t/_delta_log/0"]
        {
            assert_eq!(below(path), None, "{path}");
        }
    }

    #[test]
    fn a_listing_shows_data_files_only_with_the_values_of_their_directories() {
        let root = Path::from("wh/t");
        let by = [field("ds", DataType::Utf8), field("_r", DataType::Utf8)];
        let mut visible = Visible::new(&root, &by);
        let mut values = |path: &str| {
            let file = visible.file(&Path::parse(format!("wh/t/{path}")).unwrap())?;
            Some(
                file.partition
                    .into_iter()
                    .map(|(c, v)| format!("{c}={}", v.unwrap_or("NULL".into())))
                    .collect::<Vec<_>>(),
            )
        };
        let some = |v: &[&str]| Some(v.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(values("ds=a b/_r=x/f.parquet"), some(&["ds=a b", "_r=x"]));
        assert_eq!(values("ds=a%3ab/f.parquet"), some(&["ds=a:b"]));
        assert_eq!(values("ds=a%3Ab/f.parquet"), some(&["ds=a:b"]));
        assert_eq!(values(&format!("ds={HIVE_NULL}/f.parquet")), some(&["ds=NULL"]));
        assert_eq!(values("f.parquet"), some(&[]));
        for hidden in
            ["_SUCCESS", "ds=1/_SUCCESS", ".staging/j/f.parquet", "_selvedge_staging/j/f.json", "_delta_log/0.json"]
        {
            assert_eq!(values(hidden), None, "{hidden}");
        }
    }

    #[test]
    fn spellings_of_one_value_are_one_partition() {
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        for (data_type, one, other) in [
            (DataType::Int32, "1", "01"),
            (DataType::Int64, "-7", "-007"),
            (DataType::Date32, "2026-01-05", "2026%2D01%2D05"),
            (DataType::Boolean, "true", "TRUE"),
            (DataType::Boolean, "false", "0"),
            (DataType::Decimal128(10, 2), "1.50", "1.5"),
            (DataType::Decimal128(10, 2), "3.00", "3"),
            (DataType::Float64, "1.5", "1.50"),
            (DataType::Float64, "100.0", "1e2"),
            (timestamp, "2026-01-01T00%3A00%3A00", "2026-01-01 00:00:00"),
            (DataType::Utf8, "a:b", "a%3ab"),
        ] {
            assert_eq!(read(&data_type, one), read(&data_type, other), "{data_type}: {one} and {other}");
            assert!(read(&data_type, one).is_some(), "{data_type}: {one}");
        }
        for data_type in [DataType::Int32, DataType::Date32, DataType::Boolean, DataType::Utf8] {
            assert_eq!(read(&data_type, HIVE_NULL), None, "{data_type}");
        }
        assert_ne!(read(&DataType::Utf8, "01"), read(&DataType::Utf8, "1"), "text is taken as it is");
        assert_ne!(read(&DataType::Int32, "10"), read(&DataType::Int32, "1"));
        assert_eq!(read(&DataType::Int32, "soon").as_deref(), Some("soon"), "not of the type: nobody reads it");
    }

    #[test]
    fn a_file_above_its_partition_directories_has_only_the_first_values() {
        let fields = [field("month", DataType::Int32), field("r", DataType::Utf8)];
        let root = Path::from("wh/t");
        let file = Visible::new(&root, &fields).file(&Path::from("wh/t/month=02/f.parquet")).unwrap();
        assert_eq!(file.partition, [("month".to_owned(), Some("2".to_owned()))]);
    }

    fn scalars() -> impl Strategy<Value = ScalarValue> {
        prop_oneof![
            any::<i64>().prop_map(|v| ScalarValue::Int64(Some(v))),
            any::<u8>().prop_map(|v| ScalarValue::UInt8(Some(v))),
            any::<bool>().prop_map(|v| ScalarValue::Boolean(Some(v))),
            (-1e12f64..1e12).prop_map(|v| ScalarValue::Float64(Some(v))),
            (-1_000_000i32..1_000_000).prop_map(|v| ScalarValue::Float32(Some(v as f32 / 64.0))),
            (-700_000i32..2_900_000).prop_map(|v| ScalarValue::Date32(Some(v))),
            (-999_999_999i128..999_999_999).prop_map(|v| ScalarValue::Decimal128(Some(v), 12, 3)),
            (0i64..4_000_000_000_000_000).prop_map(|v| ScalarValue::TimestampMicrosecond(Some(v), None)),
            "[ -~äß€]{1,12}".prop_map(|v| ScalarValue::Utf8(Some(v))),
        ]
    }

    proptest! {
        /// What a task writes is found again: or an overwrite would leave its own earlier files.
        #[test]
        fn a_directory_of_ours_has_the_value_that_it_was_written_for(value in scalars()) {
            let written = text(&value.to_array().unwrap(), 0).unwrap();
            let directory = partition_dir(&[("p".to_owned(), written.clone())]);
            let fields = [field("p", value.data_type())];
            let path = Path::parse(format!("wh/t/{directory}/f.parquet")).unwrap();
            let found = Visible::new(&Path::from("wh/t"), &fields).file(&path).unwrap();
            prop_assert_eq!(found.partition, vec![("p".to_owned(), written)]);
        }
    }
}
