//! What keeps managed tables in order, over s3:// and on a disk: OPTIMIZE, VACUUM, RESTORE, ALTER TABLE, DESCRIBE HISTORY; read
//! back by the Python package `deltalake`.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use object_store::ObjectStoreExt as _;
use object_store::path::Path as ObjectPath;
use selvedge_tests::block_on;
use selvedge_tests::cli::Output;
use selvedge_tests::readback::{Source, duckdb};

use crate::stage::{BUCKET, CLUSTER, LONG, S3, heavy, unique};

fn run(sql: &str) -> Output {
    CLUSTER.cli().unwrap().run(&["sql", "-c", sql]).unwrap()
}

fn execute(sql: &str) {
    run(sql).succeeded().unwrap();
}

#[track_caller]
fn refused(sql: &str, code: &str) {
    let output = run(sql);
    assert!(output.code == 1 && output.stderr.contains(code), "{}", output.report());
}

fn query(sql: &str) -> Vec<Vec<String>> {
    CLUSTER.cli().unwrap().query(sql).unwrap().rows
}

/// As the Python package sees it.
fn read_back(sql: &str, location: &str) -> Vec<Vec<String>> {
    duckdb(sql, &[Source::delta("t", location)], Some(&S3.access())).unwrap().rows
}

fn read_at(sql: &str, location: &str, version: i64) -> Vec<Vec<String>> {
    duckdb(sql, &[Source::delta("t", location).at_version(version)], Some(&S3.access())).unwrap().rows
}

fn place(name: &str) -> (String, String) {
    let table = unique(name);
    let location = format!("s3://{BUCKET}/{table}/");
    (table, location)
}

/// Version and number of files, as `DESCRIBE DETAIL` tells.
fn detail(table: &str) -> (i64, usize) {
    let row = query(&format!("DESCRIBE DETAIL {table}")).remove(0);
    (row[4].parse().unwrap(), row[6].parse().unwrap())
}

/// What was done to a table, the newest first: versions and operations.
fn history(table: &str) -> Vec<(String, String)> {
    let rows = query(&format!("DESCRIBE HISTORY {table}"));
    rows.into_iter().map(|row| (row[0].clone(), row[2].clone())).collect()
}

const SUMS: &str = "SELECT p, count(*), count(DISTINCT id), sum(id) FROM t GROUP BY p ORDER BY p";

#[test]
fn optimize_lowers_the_files_and_keeps_the_rows() {
    let _turn = heavy();
    for partitioned in [true, false] {
        let (table, location) = place("small");
        let by = if partitioned { "PARTITIONED BY (p)" } else { "" };
        execute(&format!(
            "CREATE TABLE {table} (id BIGINT NOT NULL, name VARCHAR, p VARCHAR) {by} LOCATION '{location}'"
        ));
        for i in 0..6 {
            let p = "CASE n_regionkey % 3 WHEN 0 THEN 'a/b' WHEN 1 THEN 'é' END";
            execute(&format!("INSERT INTO {table} SELECT n_nationkey + {i} * 100, n_name, {p} FROM nation"));
        }
        let rows = read_back(SUMS, &location);
        let (version, files) = detail(&table);
        let wanted = if partitioned { 3 } else { 1 };
        assert!(version == 6 && files >= 6 * wanted, "{version} {files}");
        if partitioned {
            refused(&format!("OPTIMIZE {table} WHERE id = 1"), "INVALID_PARTITION");
            execute(&format!("OPTIMIZE {table} WHERE p IS NULL"));
            assert!(detail(&table).1 < files && detail(&table).1 > wanted);
        }
        execute(&format!("OPTIMIZE {table}"));
        let after = detail(&table);
        assert_eq!(after.1, wanted, "one file of each partition");
        assert_eq!(read_back(SUMS, &location), rows);
        assert_eq!(query(&SUMS.replace("FROM t", &format!("FROM {table}"))), rows);
        // The files of before are still there for who reads the version of before.
        assert_eq!(read_at(SUMS, &location, 6), rows);
        assert_eq!(history(&table)[0].1, "OPTIMIZE");
        // Nothing to do makes no version.
        execute(&format!("OPTIMIZE {table}"));
        assert_eq!(detail(&table), after);
        // What came since is compacted beside what is there: all of it is small.
        execute(&format!("INSERT INTO {table} VALUES (1000, 'late', 'é'); OPTIMIZE {table}"));
        assert_eq!(detail(&table), (after.0 + 2, wanted));
        assert_eq!(query(&format!("SELECT name, p FROM {table} WHERE id = 1000")), [["late", "é"]]);
    }
}

#[test]
fn many_small_files_are_compacted_by_a_run_that_follows() {
    let _turn = heavy();
    let (table, location) = place("crowded");
    execute(&format!("CREATE TABLE {table} (id BIGINT, p VARCHAR) PARTITIONED BY (p) LOCATION '{location}'"));
    let insert = |id: u32, p: &str| {
        let limit = "SET selvedge.write.auto_optimize_files = 3";
        execute(&format!("{limit}; INSERT INTO {table} VALUES ({id}, '{p}')"));
    };
    for (id, p) in [(1, "it''s"), (2, "b"), (3, "it''s"), (4, "b"), (5, "it''s")] {
        insert(id, p);
    }
    let by_itself = || history(&table).into_iter().filter(|(_, operation)| operation == "OPTIMIZE").count();
    let deadline = Instant::now() + LONG;
    while by_itself() == 0 {
        assert!(Instant::now() < deadline, "nobody compacts {table}: {:?}", history(&table));
        std::thread::sleep(Duration::from_millis(100));
    }
    // Of one partition alone: the other one has few.
    assert_eq!(detail(&table), (6, 3));
    assert_eq!(read_back("SELECT p, sum(id) FROM t GROUP BY p ORDER BY p", &location), [["b", "6"], ["it's", "9"]]);
    let listed = CLUSTER.cli().unwrap().run(&["--format", "csv", "runs", "list"]).unwrap().succeeded().unwrap();
    let follower = listed.stdout.lines().find(|line| line.contains(&format!("optimize public.{table}")));
    assert!(follower.is_some(), "{}", listed.stdout);
}

#[test]
fn columns_go_by_name_and_new_ones_are_taken_when_asked() {
    let _turn = heavy();
    let (table, location) = place("evolving");
    execute(&format!(
        "CREATE TABLE {table} (id BIGINT NOT NULL, n INT DEFAULT 5, p VARCHAR) PARTITIONED BY (p) LOCATION '{location}';
         INSERT INTO {table} BY NAME SELECT 'a' AS p, 1 AS id;
         INSERT OVERWRITE {table} PARTITION (p = 'b') BY NAME SELECT * FROM (VALUES (2, 3)) AS v(n, id)"
    ));
    refused(&format!("INSERT INTO {table} BY NAME SELECT 4 AS id, 'a' AS p, 1.5 AS price"), "COLUMN_NOT_FOUND");
    // A script knows the new columns from the statement on that brings them.
    execute(&format!(
        "INSERT WITH SCHEMA EVOLUTION INTO {table} BY NAME
           SELECT 5 AS id, 'a' AS p, CAST(1.5 AS DECIMAL(9, 2)) AS price, 'new' AS \"Note\";
         INSERT INTO {table} (id, p, price) VALUES (6, 'a', 2)"
    ));
    let sql = "SELECT id, n, p, CAST(price AS VARCHAR), \"Note\" FROM t ORDER BY id";
    let expected =
        [["1", "5", "a", "", ""], ["3", "2", "b", "", ""], ["5", "5", "a", "1.50", "new"], ["6", "5", "a", "2.00", ""]];
    assert_eq!(read_back(sql, &location), expected);
    assert_eq!(query(&sql.replace("FROM t", &format!("FROM {table}"))), expected);
    assert_eq!(read_at("SELECT count(*) FROM t", &location, 2), [["2"]]);
    refused(
        &format!("INSERT WITH SCHEMA EVOLUTION INTO {table} BY NAME SELECT 7 AS id, 'a' AS p, 1 AS \"PRICE\""),
        "DUPLICATE_COLUMN",
    );
    refused(&format!("INSERT WITH SCHEMA EVOLUTION INTO {table} SELECT 7, 1, 'a'"), "SYNTAX_ERROR");
    // Two at once that each bring a column of their own.
    std::thread::scope(|scope| {
        for name in ["x", "y"] {
            let table = &table;
            scope.spawn(move || {
                execute(&format!(
                    "INSERT WITH SCHEMA EVOLUTION INTO {table} BY NAME SELECT 8 AS id, 'c' AS p, 1 AS {name}"
                ));
            });
        }
    });
    assert_eq!(query(&format!("SELECT sum(x), sum(y) FROM {table} WHERE id = 8")), [["1", "1"]]);
}

#[test]
fn appends_beside_optimize_lose_nothing() {
    let _turn = heavy();
    let (table, location) = place("busy");
    execute(&format!("CREATE TABLE {table} (id BIGINT, p BIGINT) PARTITIONED BY (p) LOCATION '{location}'"));
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let table = &table;
            scope.spawn(move || {
                for i in 0..3 {
                    let first = writer * 1_000 + i * 100;
                    execute(&format!("INSERT INTO {table} SELECT {first} + n_nationkey, n_regionkey FROM nation"));
                }
            });
        }
        scope.spawn(|| (0..3).for_each(|_| execute(&format!("OPTIMIZE {table}"))));
    });
    execute(&format!("OPTIMIZE {table}"));
    assert_eq!(read_back("SELECT count(*), count(DISTINCT id) FROM t", &location), [["225", "225"]]);
    assert_eq!(detail(&table).1, 5);
}

#[test]
fn a_version_is_restored_with_its_columns_and_others_stay_readable() {
    let _turn = heavy();
    let (table, location) = place("restored");
    execute(&format!(
        "CREATE TABLE {table} PARTITIONED BY (p) LOCATION '{location}' AS
           SELECT n_nationkey AS id, n_name AS name, n_regionkey AS p FROM nation;
         INSERT INTO {table} VALUES (100, 'one', 1), (101, 'two', NULL);
         INSERT OVERWRITE {table} PARTITION (p = 1) SELECT 7, 'seven';
         ALTER TABLE {table} ADD COLUMN extra INT;
         INSERT INTO {table} (id, extra, p) VALUES (200, 5, 3)"
    ));
    let all = "SELECT id, name, p FROM t ORDER BY id, name";
    let (first, second, third) = (read_at(all, &location, 0), read_at(all, &location, 1), read_back(all, &location));
    assert!(first != second && second != third);
    execute(&format!("RESTORE TABLE {table} TO VERSION AS OF 1"));
    assert_eq!(read_back(all, &location), second);
    assert_eq!(query(&all.replace("FROM t", &format!("FROM {table}"))), second);
    refused(&format!("SELECT extra FROM {table}"), "COLUMN_NOT_FOUND");
    let rows = query(&format!("DESCRIBE HISTORY {table} LIMIT 1"));
    assert_eq!((rows[0][0].as_str(), rows[0][2].as_str()), ("5", "RESTORE"));
    assert!(!rows[0][5].is_empty(), "the run is named: {rows:?}");
    // What was there before the restore can be had again, by its time.
    let at = query(&format!("DESCRIBE HISTORY {table} LIMIT 2"))[1][1].clone();
    assert_eq!(read_at(all, &location, 4), third);
    execute(&format!("RESTORE {table} TO TIMESTAMP AS OF '{at}'"));
    assert_eq!(read_back(all, &location), third);
    assert_eq!(query(&format!("SELECT id, extra FROM {table} WHERE extra IS NOT NULL")), [["200", "5"]]);
    // The same again is nothing; and further back goes, too, in one script with what follows from it.
    execute(&format!("RESTORE {table} TO VERSION AS OF 4"));
    assert_eq!(detail(&table).0, 6);
    execute(&format!("RESTORE {table} TO VERSION AS OF 0; INSERT INTO {table} VALUES (300, 'three', 3)"));
    assert_eq!(read_back("SELECT id, name, p FROM t WHERE id < 300 ORDER BY id", &location), first);
    refused(&format!("RESTORE {table} TO VERSION AS OF 99"), "VERSION_NOT_FOUND");
}

#[test]
fn columns_and_properties_are_changed() {
    let _turn = heavy();
    let (table, location) = place("altered");
    execute(&format!(
        "CREATE TABLE {table} (id BIGINT COMMENT 'the key', p INT) PARTITIONED BY (p) LOCATION '{location}';
         INSERT INTO {table} VALUES (1, 1);
         ALTER TABLE {table} ADD COLUMNS (name STRING COMMENT 'late', price DECIMAL(9, 2));
         INSERT INTO {table} VALUES (2, 'two', 1.5, 1)"
    ));
    let sql = "SELECT id, name, CAST(price AS VARCHAR), p FROM t ORDER BY id";
    let expected = [["1", "", "", "1"], ["2", "two", "1.50", "1"]];
    assert_eq!(read_back(sql, &location), expected);
    assert_eq!(query(&sql.replace("FROM t", &format!("FROM {table}"))), expected);
    assert_eq!(history(&table)[1].1, "ADD COLUMNS");
    let comments: Vec<String> = query(&format!("DESCRIBE {table}")).into_iter().map(|row| row[5].clone()).collect();
    assert_eq!(comments, ["the key", "late", "", ""]);
    refused(&format!("ALTER TABLE {table} ADD COLUMN NAME INT"), "DUPLICATE_COLUMN");
    execute(&format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS name INT"));
    execute(&format!("ALTER TABLE {table} SET TBLPROPERTIES ('delta.appendOnly' = 'true', 'owner' = 'us')"));
    refused(&format!("INSERT OVERWRITE {table} SELECT 3, 'three', 1, 1"), "APPEND_ONLY");
    let properties = query(&format!("DESCRIBE DETAIL {table}")).remove(0).pop().unwrap();
    assert!(properties.contains(r#""owner":"us""#), "{properties}");
    execute(&format!(
        "ALTER TABLE {table} UNSET TBLPROPERTIES ('delta.appendOnly');
         INSERT OVERWRITE {table} SELECT 3, 'three', 1, 1"
    ));
    assert_eq!(read_back("SELECT count(*) FROM t", &location), [["1"]]);
}

#[test]
fn columns_that_are_not_named_take_their_defaults() {
    let _turn = heavy();
    let (table, location) = place("defaults");
    execute(&format!(
        "CREATE TABLE {table} (id BIGINT, n INT NOT NULL DEFAULT 5, s STRING DEFAULT 'it''s', p INT) PARTITIONED BY (p)
           LOCATION '{location}';
         INSERT INTO {table} (id, p) VALUES (1, 1);
         INSERT INTO {table} VALUES (2, 6, NULL, 1);
         ALTER TABLE {table} ADD COLUMN late INT;
         INSERT INTO {table} (id, s, p) VALUES (3, 'own', 1)"
    ));
    let rows = [["1", "5", "it's", ""], ["2", "6", "", ""], ["3", "5", "own", ""]];
    assert_eq!(read_back("SELECT id, n, s, late FROM t ORDER BY id", &location), rows);
    let described = query(&format!("DESCRIBE {table}"));
    let defaults: Vec<&str> = described.iter().map(|row| row[4].as_str()).collect();
    assert_eq!(defaults, ["", "5", "'it''s'", "", ""]);
    // A table that is made anew has those that it declares, and no others.
    execute(&format!(
        "CREATE OR REPLACE TABLE {table} (id BIGINT, n INT, s STRING DEFAULT 'new') LOCATION '{location}'"
    ));
    execute(&format!("INSERT INTO {table} (id) VALUES (1)"));
    assert_eq!(read_back("SELECT id, n, s FROM t", &location), [["1", "", "new"]]);
    // They come back with a version that has them.
    let then = detail(&table).0;
    execute(&format!(
        "CREATE OR REPLACE TABLE {table} (id BIGINT, n INT, s STRING DEFAULT 'other') LOCATION '{location}';
         RESTORE {table} TO VERSION AS OF {then};
         INSERT INTO {table} (id) VALUES (2)"
    ));
    assert_eq!(read_back("SELECT id, n, s FROM t ORDER BY id", &location), [["1", "", "new"], ["2", "", "new"]]);
}

const SOON: &str = "SET selvedge.vacuum.allow_short_retention = true";

#[test]
fn vacuum_deletes_what_no_version_of_late_names_and_nothing_else() {
    let _turn = heavy();
    let (table, location) = place("vacuumed");
    execute(&format!(
        "CREATE TABLE {table} PARTITIONED BY (p) LOCATION '{location}' AS
           SELECT n_nationkey AS id, n_name AS name, CASE n_regionkey WHEN 0 THEN 'a/b ü' ELSE '1%' END AS p FROM nation;
         INSERT OVERWRITE {table} SELECT n_nationkey AS id, 'new', '1%' FROM nation WHERE n_regionkey > 1;
         INSERT INTO {table} VALUES (100, 'last', NULL)"
    ));
    let client = S3.access().client(BUCKET).unwrap();
    for name in ["p=x/orphan.parquet", "orphan.parquet", "_notes/kept.parquet", "kept.txt"] {
        let path = ObjectPath::parse(format!("{table}/{name}")).unwrap();
        block_on(client.put(&path, "not a file of ours".into())).unwrap().unwrap();
    }
    // Timestamps of the store are whole seconds.
    std::thread::sleep(Duration::from_secs(2));
    let below = || S3.keys(BUCKET, &format!("{table}/")).unwrap();
    let before = below();
    let rows = read_back(SUMS, &location);
    execute(&format!("VACUUM {table}"));
    assert_eq!(below(), before, "all of it is younger than a week");
    refused(&format!("VACUUM {table} RETAIN 0 HOURS"), "RETENTION_TOO_SHORT");
    let dry = query(&format!("{SOON}; VACUUM {table} RETAIN 0 HOURS DRY RUN"));
    let mut listed: Vec<String> = dry.iter().map(|row| format!("{table}/{}", row[0])).collect();
    assert_eq!(below(), before, "a dry run deletes nothing");
    execute(&format!("{SOON}; VACUUM {table} RETAIN 0 HOURS"));
    let after = below();
    let mut gone: Vec<String> = before.iter().filter(|key| !after.contains(key)).cloned().collect();
    gone.sort();
    listed.sort();
    assert_eq!(gone, listed, "what the dry run told");
    assert!(gone.iter().filter(|key| key.ends_with("orphan.parquet")).count() == 2 && gone.len() > 2, "{gone:?}");
    assert!(after.iter().any(|key| key.ends_with("kept.parquet")) && after.iter().any(|key| key.ends_with("kept.txt")));
    assert_eq!(read_back(SUMS, &location), rows);
    assert_eq!(query(&SUMS.replace("FROM t", &format!("FROM {table}"))), rows);
    // Versions that lost files say so; the one before last has lost none.
    refused(&format!("RESTORE {table} TO VERSION AS OF 0"), "FILES_DELETED");
    execute(&format!("RESTORE {table} TO VERSION AS OF 1"));
    assert_eq!(read_back("SELECT count(*) FROM t WHERE name = 'new'", &location), [["15"]]);
}

fn walk(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

fn age(path: &Path, days: u32) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(86_400) * days).unwrap();
}

#[test]
fn vacuum_takes_old_files_by_itself_and_leaves_young_ones() {
    let _turn = heavy();
    let table = unique("aged");
    let root = CLUSTER.dir().join(&table);
    execute(&format!(
        "CREATE TABLE {table} (id BIGINT, p INT) PARTITIONED BY (p) LOCATION '{}/';
         INSERT INTO {table} VALUES (1, 1), (2, 2);
         INSERT OVERWRITE {table} SELECT 3, 1",
        root.display()
    ));
    let everything = || {
        let mut found = Vec::new();
        walk(&root, &mut found);
        found
    };
    everything().iter().for_each(|path| age(path, 8));
    // As if a scheduler without a store had died: nobody knows of it any more.
    let staged = root.join(".staging/somebody-s1-a1");
    std::fs::create_dir_all(&staged).unwrap();
    std::fs::write(staged.join("x.parquet"), b"x").unwrap();
    age(&staged.join("x.parquet"), 8);
    let (old, young) = (root.join("p=2/old.parquet"), root.join("p=2/young.parquet"));
    std::fs::write(&old, b"x").unwrap();
    std::fs::write(&young, b"x").unwrap();
    age(&old, 8);
    let count = everything().len();
    execute(&format!("VACUUM {table}"));
    assert!(!old.exists() && young.exists() && !staged.exists());
    assert_eq!(everything().len(), count - 3, "the old orphan, the staged file, and the file that was replaced");
    assert_eq!(query(&format!("SELECT id, p FROM {table} ORDER BY id")), [["2", "2"], ["3", "1"]]);
    // Replaced just now, however long ago it was written: a reader of the version before may still be at it.
    execute(&format!("INSERT OVERWRITE {table} SELECT 4, 1; VACUUM {table}"));
    assert_eq!(query(&format!("SELECT id FROM {table} FOR VERSION AS OF 2 ORDER BY id")), [["2"], ["3"]]);
}
