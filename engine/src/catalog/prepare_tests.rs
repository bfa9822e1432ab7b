//! Scans as executors run them: broken files are named, dynamic filters still reach the files, compression may be mixed.

use std::collections::BTreeMap;
use std::path::Path;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::physical_plan::{ExecutionPlanProperties, collect, displayable};
use datafusion::prelude::SessionContext;
use selvedge_model::{Domain, Failure, Retry};

use super::*;
use crate::catalog::files::tests::{resolve, sent_to_an_executor, state, write};
use crate::catalog::{Format, TableDef, resolve_files, table_provider};
use crate::error::classify;
use crate::store::Location;

/// A table of CSV files with declared columns: nothing of them is read before a task does.
async fn people(at: &Path) -> TableDef {
    let columns = vec![Field::new("id", DataType::Int64, true), Field::new("name", DataType::Utf8, true)];
    let at = Location::parse(&at.display().to_string()).unwrap();
    let declared = Some(Arc::new(Schema::new(columns)));
    resolve_files(&state(), Format::Csv, &at, &[], &BTreeMap::new(), declared).await.unwrap()
}

async fn failure_of(plan: Arc<dyn ExecutionPlan>) -> Failure {
    classify(&collect(plan, SessionContext::new_with_state(state()).task_ctx()).await.unwrap_err())
}

async fn rows_of(plan: Arc<dyn ExecutionPlan>) -> usize {
    let batches = collect(plan, SessionContext::new_with_state(state()).task_ctx()).await.unwrap();
    batches.iter().map(|b| b.num_rows()).sum()
}

#[tokio::test]
async fn a_bad_row_is_told_with_its_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("people.csv");
    let rows = [
        ("id,name\n1,Ada\n2,Grace,Hopper\n3,Edsger\n", "line 3 of ", "has 3 fields, expected 2"),
        ("id,name\n1,Ada\n2\n3,Edsger\n", "line 3 of ", "1 field, expected 2"),
        ("id,name\n1,Ada\nx,Grace\n3,Edsger\n", "line 3 of ", "'x' in column id is not Int64"),
    ];
    for (text, line, what) in rows {
        std::fs::write(&file, text).unwrap();
        let failure = failure_of(sent_to_an_executor(&people(&file).await).await).await;
        assert_eq!((failure.code.as_str(), failure.domain), ("BAD_DATA", Domain::User), "{failure:?}");
        let wanted = format!("{line}file://{}", file.display());
        assert!(failure.cause.contains(&wanted) && failure.cause.contains(what), "{}", failure.cause);
        assert!(!failure.hint.is_empty());
    }
    std::fs::write(&file, b"id,name\n1,Ada\n2,Gr\xff\xfece\n").unwrap();
    let failure = failure_of(sent_to_an_executor(&people(&file).await).await).await;
    assert!(failure.cause.contains("line 3 of ") && failure.cause.contains("not UTF-8"), "{}", failure.cause);
}

/// A big file is read in parts, each of which counts lines from its own beginning.
#[tokio::test]
async fn lines_are_those_of_the_file_not_of_a_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("people.csv");
    for bad in [2, 5_000, 9_000, 14_321, 19_999] {
        let rows = (2..20_000).map(|line| if line == bad { "1,2,3\n".to_owned() } else { format!("{line},Ada\n") });
        std::fs::write(&file, format!("id,name\n{}", rows.collect::<String>())).unwrap();
        let plan = sent_to_an_executor(&people(&file).await).await;
        assert_eq!(plan.output_partitioning().partition_count(), 4);
        let failure = failure_of(plan).await;
        assert!(failure.cause.starts_with(&format!("line {bad} of ")), "{bad}: {}", failure.cause);
    }
}

#[tokio::test]
async fn damaged_parquet_is_named_by_tasks_and_at_planning() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().display();
    for name in ["a", "b", "c"] {
        write(&format!("COPY (SELECT value AS id FROM generate_series(1, 20000)) TO '{base}/t/{name}.parquet'")).await;
    }
    // The footer is whole: the damage shows only when rows are read.
    let file = dir.path().join("t/b.parquet");
    let mut bytes = std::fs::read(&file).unwrap();
    let whole = bytes.clone();
    let data = bytes.len() / 2;
    bytes[4..data].fill(0);
    std::fs::write(&file, &bytes).unwrap();
    let def = resolve(Format::Parquet, &format!("{base}/t/")).await.unwrap();
    let failure = failure_of(sent_to_an_executor(&def).await).await;
    assert_eq!((failure.code.as_str(), failure.retry), ("CORRUPT_FILE", Retry::Never), "{failure:?}");
    assert!(failure.cause.contains(&format!("file://{base}/t/b.parquet is damaged")), "{}", failure.cause);
    assert!(failure.hint.contains("truncated"), "{}", failure.hint);

    std::fs::write(&file, &whole[..data]).unwrap();
    let truncated = resolve(Format::Parquet, &format!("{base}/t/")).await.unwrap_err();
    assert_eq!(truncated.code, "CORRUPT_FILE");
    assert!(truncated.cause.contains(&format!("file://{base}/t/b.parquet")), "{}", truncated.cause);
}

#[tokio::test]
async fn a_file_that_vanished_or_cannot_be_decompressed_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().display();
    write(&format!("COPY (SELECT 1 AS id) TO '{base}/t/a.parquet'")).await;
    let plan = sent_to_an_executor(&resolve(Format::Parquet, &format!("{base}/t/")).await.unwrap()).await;
    std::fs::remove_file(dir.path().join("t/a.parquet")).unwrap();
    let gone = failure_of(plan).await;
    assert_eq!((gone.code.as_str(), gone.domain), ("FILE_NOT_FOUND", Domain::User), "{gone:?}");
    assert!(gone.cause.contains("/t/a.parquet") && gone.hint.contains("again"), "{gone:?}");

    let file = dir.path().join("people.csv.gz");
    std::fs::write(&file, "id,name\n1,Ada\n").unwrap();
    let plain = failure_of(sent_to_an_executor(&people(&file).await).await).await;
    assert_eq!((plain.code.as_str(), plain.retry), ("CORRUPT_FILE", Retry::Never), "{plain:?}");
    assert!(plain.cause.contains("people.csv.gz"), "{}", plain.cause);
}

/// Rows and bytes that the scans of a plan counted.
fn scanned(plan: &Arc<dyn ExecutionPlan>) -> (usize, usize) {
    let children = plan.children().into_iter().map(scanned).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let Some(metrics) = plan.metrics().filter(|_| plan.is::<DataSourceExec>()) else { return children };
    let bytes = metrics.sum_by_name("bytes_scanned").map_or(0, |sum| sum.as_usize());
    (metrics.output_rows().unwrap_or(0), bytes)
}

#[tokio::test]
async fn scans_of_every_format_count_rows_and_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().display();
    for (format, name, options) in [
        (Format::Csv, "a.csv", ""),
        (Format::Json, "a.json", ""),
        (Format::Csv, "a.csv.gz", "OPTIONS ('format.compression' 'gzip')"),
        (Format::Parquet, "a.parquet", ""),
    ] {
        let at = format!("{base}/{name}");
        let rows = "SELECT value AS id, 'Ada' AS name FROM generate_series(1, 20000)";
        write(&format!("COPY ({rows}) TO '{at}' STORED AS {format} {options}")).await;
        let plan = sent_to_an_executor(&resolve(format, &at).await.unwrap()).await;
        assert_eq!(rows_of(Arc::clone(&plan)).await, 20_000);
        let (rows, bytes) = scanned(&plan);
        assert_eq!(rows, 20_000, "{name}");
        let size = std::fs::metadata(&at).unwrap().len() as usize;
        // A part of a text file reads on to the end of its last line; of Parquet the footer may be known already.
        let least = if format == Format::Parquet { 1 } else { size };
        let expected = least..=2 * size;
        assert!(expected.contains(&bytes), "{name}: {bytes} of {size} bytes");
    }
}

/// A top-k narrows its filter while it runs; the scan must see it through the wrapper.
#[tokio::test]
async fn dynamic_filters_reach_prepared_scans() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().display();
    write(&format!("COPY (SELECT value AS id FROM generate_series(1, 20000)) TO '{base}/t/a.parquet'")).await;
    let def = resolve(Format::Parquet, &format!("{base}/t/")).await.unwrap();
    let state = state();
    // Ballista's sessions have these filters off; DataFusion's own have them on.
    let config = datafusion::prelude::SessionConfig::new().with_target_partitions(1);
    let ctx = SessionContext::new_with_config_rt(config, Arc::clone(state.runtime_env()));
    let df = ctx.read_table(table_provider(&state, &def).unwrap()).unwrap();
    let df = df.filter(datafusion::prelude::col("id").gt(datafusion::prelude::lit(7))).unwrap();
    let df = df.sort(vec![datafusion::prelude::col("id").sort(true, false)]).unwrap().limit(0, Some(3)).unwrap();
    let plan = df.create_physical_plan().await.unwrap();
    let shown = |plan: &Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(true).to_string();
    let prepared = prepare_scans(Arc::clone(&plan)).unwrap();
    assert_eq!(shown(&prepared), shown(&plan));
    assert!(shown(&prepared).contains("DynamicFilter [ empty ]"), "{}", shown(&prepared));
    assert_eq!(rows_of(Arc::clone(&prepared)).await, 3);
    assert!(shown(&prepared).contains("DynamicFilter [ id@0 < 10 ]"), "{}", shown(&prepared));
}

#[tokio::test]
async fn files_of_one_table_may_be_compressed_differently() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().display();
    let rows = |from: u32, to: u32| format!("SELECT value AS id FROM generate_series({from}, {to})");
    for (format, ending) in [(Format::Json, "json"), (Format::Csv, "csv")] {
        let at = format!("{base}/{ending}");
        write(&format!("COPY ({}) TO '{at}/a.{ending}' STORED AS {format}", rows(1, 10))).await;
        for (kind, end) in [("gzip", "gz"), ("zstd", "zst")] {
            let halves = "SELECT value + 0.5 AS id, 'x' AS more FROM generate_series(1, 20)";
            write(&format!(
                "COPY ({halves}) TO '{at}/b.{ending}.{end}' STORED AS {format} OPTIONS ('format.compression' '{kind}')"
            ))
            .await;
        }
        // In CSV, columns are found by position: all files must have the same ones.
        if format == Format::Csv {
            write(&format!("COPY (SELECT value AS id, 'y' AS more FROM generate_series(1, 10)) TO '{at}/a.csv'")).await;
        }
        let def = resolve(format, &at).await.unwrap();
        let types: Vec<_> = def.schema.fields().iter().map(|f| f.data_type().clone()).collect();
        assert_eq!(types, [DataType::Float64, DataType::Utf8], "{format}");
        let plan = sent_to_an_executor(&def).await;
        assert_eq!(plan.schema(), def.schema, "{format}");
        assert_eq!(rows_of(plan).await, 50, "{format}");
    }
    let only = resolve(Format::Csv, &format!("{base}/csv/*.gz")).await.unwrap();
    let plan = sent_to_an_executor(&only).await;
    assert!(plan.is::<DataSourceExec>(), "files of one kind need no union");
}
