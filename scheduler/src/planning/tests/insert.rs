//! INSERT and INSERT OVERWRITE: columns, casts and partitions.

use super::*;

#[tokio::test]
async fn an_insert_is_cast_and_ordered_to_the_table() {
    let mut bench = Bench::new().await;
    let write = bench.write("INSERT INTO mart SELECT id, name, 7, day, 'eu' FROM orders").await;
    assert_eq!(write.kind, WriteKind::Append);
    assert_eq!(columns(&write), ["id Int64", "name Utf8", "n Int32", "ds Date32", "region Utf8"]);
    let write = bench.write("INSERT OVERWRITE mart (region, ds, id) SELECT 'eu', '2026-01-01', 1").await;
    assert_eq!(write.kind, WriteKind::OverwriteDynamic);
    assert_eq!(columns(&write), ["id Int64", "name Utf8", "n Int32", "ds Date32", "region Utf8"]);
    bench
        .write("INSERT INTO mart SELECT 1, NULL, 1, NULL, NULL UNION ALL SELECT id, name, 2, day, name FROM orders")
        .await;
    let write = bench
        .write("INSERT INTO mart PARTITION (ds = '2026-01-01') BY NAME SELECT 'eu' AS region, id FROM orders")
        .await;
    assert_eq!(columns(&write), ["id Int64", "name Utf8", "n Int32", "ds Date32", "region Utf8"]);
    let refused = bench.refusal("INSERT INTO mart BY NAME SELECT id, day AS ds, 'x' AS regoin FROM orders").await;
    assert!(refused.starts_with("COLUMN_NOT_FOUND 1:13 table public.mart has no column regoin"), "{refused}");
    assert!(refused.contains("Did you mean region?") && refused.contains("WITH SCHEMA EVOLUTION"), "{refused}");
    let evolving =
        "INSERT WITH SCHEMA EVOLUTION INTO mart BY NAME SELECT id, day AS ds, 'x' AS region, 1 AS x FROM orders";
    assert!(bench.refusal(evolving).await.starts_with("NOT_SUPPORTED 1:35 public.mart is a table of PARQUET files"));
    let write = bench.write("INSERT OVERWRITE flat SELECT id, name FROM flat").await;
    assert_eq!(write.kind, WriteKind::Overwrite);
}

#[tokio::test]
async fn partition_values_decide_what_is_overwritten() {
    let mut bench = Bench::new().await;
    let fixed = |v: &[(&str, &str)]| {
        WriteKind::OverwriteStatic(v.iter().map(|(c, v)| ((*c).to_owned(), Some((*v).to_owned()))).collect())
    };
    for (sql, kind) in [
        (
            "INSERT OVERWRITE mart PARTITION (ds = '2026-01-01', region) SELECT 1, 'a', 2, 'eu'",
            fixed(&[("ds", "2026-01-01")]),
        ),
        (
            "INSERT OVERWRITE mart PARTITION (region = 'eu', ds = DATE '2026-01-01') SELECT 1, 'a', 2",
            fixed(&[("ds", "2026-01-01"), ("region", "eu")]),
        ),
        (
            "INSERT OVERWRITE mart PARTITION (region, ds) SELECT 1, 'a', 2, 'eu', DATE '2026-01-01'",
            WriteKind::OverwriteDynamic,
        ),
        ("INSERT INTO mart PARTITION (ds = '2026-01-01') SELECT 1, 'a', 2, 'eu'", WriteKind::Append),
    ] {
        let write = bench.write(sql).await;
        assert_eq!(write.kind, kind, "{sql}");
        assert_eq!(columns(&write), ["id Int64", "name Utf8", "n Int32", "ds Date32", "region Utf8"], "{sql}");
    }
}

#[tokio::test]
async fn an_insert_that_does_not_fit_is_refused_by_name() {
    let mut bench = Bench::new().await;
    for (sql, expected) in [
        (
            "INSERT INTO mart SELECT 1, 'a', 2",
            "SCHEMA_MISMATCH 1:13 the query gives 3 columns, but public.mart takes 5 columns: id, name, n, ds, region | The partition columns come last",
        ),
        (
            "INSERT INTO mart PARTITION (ds = '2026-01-01') SELECT 1, 'a', 2, DATE '2026-01-01', 'x'",
            "SCHEMA_MISMATCH 1:13 the query gives 5 columns, but public.mart takes 4 columns: id, name, n, region | ds has its value in PARTITION already",
        ),
        (
            "INSERT INTO flat SELECT name, id FROM orders",
            "SCHEMA_MISMATCH 1:13 column id of public.flat is Int64, but the query's column 1 (name) is Utf8",
        ),
        (
            "INSERT INTO flat SELECT price, name FROM orders",
            "SCHEMA_MISMATCH 1:13 column id of public.flat is Int64, but the query's column 1 (price) is Float64 | Where",
        ),
        (
            "INSERT INTO flat (id, nam) SELECT 1, 'a'",
            "COLUMN_NOT_FOUND 1:23 table public.flat has no column nam | Did you mean name?",
        ),
        ("INSERT INTO flat (id, id) SELECT 1, 1", "DUPLICATE_COLUMN 1:23 "),
        (
            "INSERT INTO mart (id, name) SELECT 1, 'a'",
            "SCHEMA_MISMATCH 1:13 partition column ds of public.mart is not listed",
        ),
        (
            "INSERT INTO mart PARTITION (ds = '2026-01-01', region = 'x') (name) SELECT 'a'",
            "SCHEMA_MISMATCH 1:13 column id of public.mart is NOT NULL and is not listed",
        ),
        (
            "INSERT OVERWRITE mart PARTITION (ds = 'soon') SELECT 1, 'a', 1, 'x'",
            "INVALID_PARTITION 1:34 'soon' is not a value of partition column ds, a Date32",
        ),
        (
            "INSERT OVERWRITE mart PARTITION (region = 'eu') SELECT 1, 'a', 1, DATE '2026-01-01'",
            "INVALID_PARTITION 1:34 partition column region has a value, but ds before it has none",
        ),
        (
            "INSERT OVERWRITE mart PARTITION (dss = 'x') SELECT 1",
            "INVALID_PARTITION 1:34 dss is not a partition column of public.mart | Did you mean ds?",
        ),
        (
            "INSERT INTO flatt SELECT 1",
            "TABLE_NOT_FOUND 1:13 table public.flatt does not exist | Did you mean public.flat?",
        ),
        ("INSERT INTO orders SELECT 1", "INVALID_LOCATION 1:13 "),
    ] {
        let found = bench.refusal(sql).await;
        assert!(found.starts_with(expected), "{sql}\nexpected {expected}\nfound    {found}");
    }
}
