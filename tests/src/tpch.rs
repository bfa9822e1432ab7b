//! TPC-H: generated Parquet files, the 22 queries with their validation parameters, and the tables' DDL.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RecordBatchIterator, RegionArrow,
    SupplierArrow,
};

use crate::rows::Order;
use crate::{Outcome, cache, fail};

const BATCH_ROWS: usize = 16 * 1024;
const ROW_GROUP_ROWS: usize = 512 * 1024;

/// The eight tables.
pub const TABLES: [&str; 8] = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"];

/// One of the 22 queries.
#[derive(Debug, Clone, Copy)]
pub struct Query {
    /// 1 to 22.
    pub number: u32,
    /// Its text.
    pub sql: &'static str,
    /// Whether its ORDER BY leaves no ties.
    pub order: Order,
}

macro_rules! queries {
    ($($number:literal $order:ident),* $(,)?) => {
        &[$(Query {
            number: $number,
            sql: include_str!(concat!("../queries/q", $number, ".sql")),
            order: Order::$order,
        }),*]
    };
}

/// The 22 queries in order.
pub const QUERIES: &[Query] = queries![
    1 Total, 2 Total, 3 Any, 4 Total, 5 Any, 6 Total, 7 Total, 8 Total, 9 Total, 10 Any, 11 Any, 12 Total, 13 Total,
    14 Total, 15 Total, 16 Total, 17 Total, 18 Any, 19 Total, 20 Total, 21 Total, 22 Total,
];

/// A query by its number.
pub fn query(number: u32) -> Outcome<Query> {
    let found = QUERIES.iter().find(|q| q.number == number);
    found.copied().ok_or_else(|| fail(format!("there is no TPC-H query {number}: they are 1 to 22")))
}

/// `CREATE EXTERNAL TABLE` for all eight over `root`, a directory or URL with one directory a table.
pub fn create_tables(root: &str) -> String {
    let root = root.trim_end_matches('/');
    let ddl = |table: &&str| format!("CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{root}/{table}/';\n");
    TABLES.iter().map(ddl).collect()
}

/// The data at a scale factor as zstd Parquet, `parts` files for each big table; generated once and kept in the cache.
pub fn data(scale: f64, parts: i32) -> Outcome<PathBuf> {
    let root = cache::dir()?.join("tpch");
    let ready = root.join(format!("sf{scale}-p{parts}"));
    if ready.is_dir() {
        return Ok(ready);
    }
    fs::create_dir_all(&root)?;
    let staging = tempfile::Builder::new().prefix(".generating-").tempdir_in(&root)?;
    for table in TABLES {
        generate(table, scale, parts, staging.path())?;
    }
    let staged = staging.keep();
    // Another process may have been faster; its files are the same.
    if fs::rename(&staged, &ready).is_err() {
        fs::remove_dir_all(&staged)?;
    }
    Ok(ready)
}

fn generate(table: &str, scale: f64, parts: i32, root: &Path) -> Outcome<()> {
    let directory = root.join(table);
    fs::create_dir_all(&directory)?;
    let parts = if matches!(table, "region" | "nation") { 1 } else { parts };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let numbers: Vec<i32> = (1..=parts).collect();
    for chunk in numbers.chunks(cores) {
        std::thread::scope(|scope| {
            let writers: Vec<_> =
                chunk.iter().map(|part| scope.spawn(|| write_part(table, scale, *part, parts, &directory))).collect();
            writers.into_iter().try_for_each(|w| w.join().map_err(|_| fail("a TPC-H generator panicked"))?)
        })?;
    }
    Ok(())
}

fn write_part(table: &str, scale: f64, part: i32, parts: i32, directory: &Path) -> Outcome<()> {
    let batches = batches(table, scale, part, parts)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    // Without Arrow's own schema in the file, string columns are plain strings, as other writers leave them.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let file = File::create(directory.join(format!("part-{part:04}.parquet")))?;
    let mut writer = ArrowWriter::try_new_with_options(file, Arc::clone(batches.schema()), options)?;
    for batch in batches {
        writer.write(&batch)?;
    }
    writer.close()?;
    Ok(())
}

fn batches(table: &str, scale: f64, part: i32, parts: i32) -> Outcome<Box<dyn RecordBatchIterator>> {
    macro_rules! rows {
        ($arrow:ident, $generator:ident) => {
            Box::new($arrow::new($generator::new(scale, part, parts)).with_batch_size(BATCH_ROWS))
        };
    }
    Ok(match table {
        "region" => rows!(RegionArrow, RegionGenerator),
        "nation" => rows!(NationArrow, NationGenerator),
        "supplier" => rows!(SupplierArrow, SupplierGenerator),
        "customer" => rows!(CustomerArrow, CustomerGenerator),
        "part" => rows!(PartArrow, PartGenerator),
        "partsupp" => rows!(PartSuppArrow, PartSuppGenerator),
        "orders" => rows!(OrderArrow, OrderGenerator),
        "lineitem" => rows!(LineItemArrow, LineItemGenerator),
        other => return Err(fail(format!("'{other}' is not a TPC-H table"))),
    })
}
