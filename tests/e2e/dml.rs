//! DELETE, UPDATE and MERGE on managed tables: the same statements in DuckDB leave the same rows.

use selvedge_tests::cli::Output;
use selvedge_tests::readback::duckdb;
use selvedge_tests::rows::{Order, Rows};

use crate::stage::{CLUSTER, LONG, heavy, same, unique};

const COLUMNS: &str = "id BIGINT, name VARCHAR, qty INT, price DECIMAL(10, 2), ds DATE, region VARCHAR";

/// Several files in each partition, NULLs in data and partition columns.
const ROWS: [&str; 2] = [
    "(1, 'a', 1, 1.50, DATE '2026-01-01', 'eu'), (2, 'b', 2, 2.50, DATE '2026-01-01', 'us'),
     (3, NULL, NULL, 3.50, DATE '2026-01-02', NULL), (4, 'd', 9, NULL, DATE '2026-01-02', 'eu'),
     (5, 'x y', 5, 5.00, DATE '2026-01-03', 'a/b'), (6, '', 6, 6.25, DATE '2026-01-03', 'eu')",
    "(7, 'g', NULL, 7.00, DATE '2026-01-01', 'eu'), (8, 'h', 8, 8.00, DATE '2026-01-02', NULL),
     (10, 'j', 10, 10.00, DATE '2026-01-03', 'a/b'), (NULL, 'k', 11, 11.00, DATE '2026-01-03', 'eu')",
];

const SOURCE: &str =
    "(1, 'A', 10, 1.75, DATE '2026-01-01', 'eu', 'u'), (2, 'B', 20, NULL, DATE '2026-01-01', 'us', 'd'),
     (3, 'C', 30, 3.00, DATE '2026-02-01', 'us', 'u'), (4, NULL, NULL, 4.00, DATE '2026-01-02', 'eu', 'n'),
     (20, 'T', 7, 2.00, DATE '2026-02-01', NULL, 'u'), (21, NULL, 1, 2.10, DATE '2026-01-01', 'eu', 'n'),
     (NULL, 'k', 1, 1.00, DATE '2026-01-03', 'eu', 'u')";

/// A managed table and a source of changes, here and in DuckDB. `{t}` and `{s}` in statements are their names.
struct Twins {
    t: String,
    s: String,
    /// What DuckDB is to do.
    script: String,
}

impl Twins {
    fn new() -> Self {
        let (t, s) = (unique("dml"), unique("changes"));
        let mut twins = Self { t, s, script: String::new() };
        let source = format!("{COLUMNS}, op VARCHAR");
        twins.create("{t}", COLUMNS, " PARTITIONED BY (ds, region)");
        twins.create("{s}", &source, "");
        for rows in ROWS {
            twins.run(&format!("INSERT INTO {{t}} VALUES {rows}"));
        }
        twins.run(&format!("INSERT INTO {{s}} VALUES {SOURCE}"));
        twins.check("as inserted");
        twins
    }

    fn named(&self, sql: &str) -> String {
        sql.replace("{t}", &self.t).replace("{s}", &self.s)
    }

    fn create(&mut self, name: &str, columns: &str, ours: &str) {
        let create = self.named(&format!("CREATE TABLE {name} ({columns})"));
        execute(&format!("{create}{ours}")).succeeded().unwrap();
        self.script.push_str(&format!("{create};\n"));
    }

    /// Runs a statement here, and lets DuckDB run it, too. What it said here.
    fn run(&mut self, sql: &str) -> Output {
        let sql = self.named(sql);
        self.script.push_str(&format!("{sql};\n"));
        execute(&sql).succeeded().unwrap()
    }

    /// The rows, NULL told from the empty string.
    fn select(&self) -> String {
        let order =
            "id NULLS LAST, name NULLS LAST, qty NULLS LAST, price NULLS LAST, ds NULLS LAST, region NULLS LAST";
        let sql = format!(
            "SELECT id, name, qty, price, ds, region, name IS NULL AS no_name, region IS NULL AS no_region \
             FROM {{t}} ORDER BY {order}"
        );
        self.named(&sql)
    }

    fn rows(&self) -> Rows {
        CLUSTER.cli().unwrap().query(&self.select()).unwrap()
    }

    #[track_caller]
    fn check(&self, what: &str) {
        let wanted = duckdb(&format!("{}{}", self.script, self.select()), &[], None).unwrap();
        same(&self.rows(), &wanted, Order::Any, what);
    }

    /// Runs a statement in both and compares what it left.
    #[track_caller]
    fn same_after(&mut self, sql: &str) -> Output {
        let output = self.run(sql);
        self.check(sql);
        output
    }

    /// A statement that must fail here and change nothing.
    #[track_caller]
    fn refused(&self, sql: &str, code: &str) {
        let before = self.rows();
        let output = execute(&self.named(sql));
        assert_eq!(output.code, 1, "{sql}: {}", output.report());
        assert!(output.stderr.contains(code), "{sql} is no {code}: {}", output.report());
        same(&self.rows(), &before, Order::Any, sql);
    }
}

fn execute(sql: &str) -> Output {
    CLUSTER.cli().unwrap().run(&["sql", "-c", sql]).unwrap()
}

#[test]
fn deleted_rows_are_those_that_duckdb_deletes() {
    let _turn = heavy();
    let mut twins = Twins::new();
    twins.same_after("DELETE FROM {t} WHERE qty > 9");
    twins.same_after("DELETE FROM {t} WHERE NOT (name = 'a')  AND id = 5");
    twins.same_after("DELETE FROM {t} AS x WHERE x.price > 100");
    twins.same_after("DELETE FROM {t} WHERE ds = DATE '2026-01-01' AND region = 'us'");
    twins.same_after("DELETE FROM {t} WHERE region IS NULL AND name IS NULL");
    twins.same_after("DELETE FROM {t} WHERE id IN (SELECT id FROM {s} WHERE op = 'u')");
    twins.same_after("DELETE FROM {t} AS x WHERE EXISTS (SELECT 1 FROM {s} AS y WHERE y.id = x.id AND y.op = 'n')");
    twins.run(&format!("INSERT INTO {{t}} VALUES {}", ROWS[0]));
    twins.same_after("DELETE FROM {t} WHERE qty = (SELECT max(qty) FROM {t})");
    twins.same_after("DELETE FROM {t}");
    assert!(twins.rows().rows.is_empty());
    twins.same_after("DELETE FROM {t}");
    twins.run(&format!("INSERT INTO {{t}} VALUES {}", ROWS[1]));
    twins.check("and it takes rows again");
}

#[test]
fn a_whole_partition_is_deleted() {
    let _turn = heavy();
    let mut twins = Twins::new();
    twins.same_after("DELETE FROM {t} WHERE ds = DATE '2026-01-01' AND region IN ('eu', 'us')");
    twins.same_after("DELETE FROM {t} WHERE id = 4");
    twins.same_after("DELETE FROM {t} WHERE ds > DATE '2026-01-02' OR region IS NULL");
}

#[test]
fn updated_rows_are_as_duckdb_updates_them() {
    let _turn = heavy();
    let mut twins = Twins::new();
    twins.same_after("UPDATE {t} SET qty = qty + 1, price = price * 2 WHERE region = 'eu' OR name IS NULL");
    twins.same_after("UPDATE {t} AS x SET name = x.region, region = x.name WHERE x.id IN (1, 2)");
    twins.same_after("UPDATE {t} SET ds = DATE '2026-03-01', region = 'moved' WHERE id < 4");
    twins.same_after("UPDATE {t} SET region = NULL WHERE id = 5");
    twins.same_after("UPDATE {t} SET name = 'none' WHERE id > 1000");
    twins.same_after("UPDATE {t} SET qty = 77 WHERE id IN (SELECT id FROM {s} WHERE qty > 15)");
    twins.same_after("UPDATE {t} SET price = (SELECT min(price) FROM {s}) WHERE price IS NULL");
    twins.same_after("UPDATE {t} SET qty = id, price = 0");
}

#[test]
fn merged_rows_are_as_duckdb_merges_them() {
    let _turn = heavy();
    let mut twins = Twins::new();
    twins.same_after(
        "MERGE INTO {t} AS t USING {s} AS s ON t.id = s.id
         WHEN MATCHED AND s.op = 'd' THEN DELETE
         WHEN MATCHED AND s.op = 'u' THEN UPDATE SET name = s.name, qty = t.qty + s.qty, ds = s.ds
         WHEN NOT MATCHED AND s.op = 'u' THEN INSERT (id, name, qty, ds, region) VALUES (s.id, s.name, 0, s.ds, s.region)
         WHEN NOT MATCHED BY SOURCE AND t.qty IS NULL THEN UPDATE SET qty = -1, region = 'unmatched'
         WHEN NOT MATCHED BY SOURCE AND t.qty > 9 THEN DELETE",
    );
    // Only conditions on the table; rows of other partitions are left alone.
    twins.same_after(
        "MERGE INTO {t} AS t USING {s} AS s ON t.id = s.id AND t.ds = DATE '2026-01-02' AND s.op <> 'd'
         WHEN MATCHED THEN UPDATE SET price = s.price",
    );
    let upsert =
        "MERGE INTO {t} AS t USING (SELECT id, name, qty, price, ds, region FROM {s} WHERE id IS NOT NULL) AS s
                  ON s.id = t.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *";
    twins.same_after(upsert);
    let once = twins.rows();
    twins.same_after(upsert);
    same(&twins.rows(), &once, Order::Any, "a MERGE that is repeated");
    // Nothing but new rows: an append.
    twins.same_after(
        "MERGE INTO {t} AS t USING (SELECT id + 18 AS id, ds, region FROM {s}) AS s ON t.id = s.id
         WHEN NOT MATCHED THEN INSERT (id, name, ds, region) VALUES (s.id, 'new', s.ds, s.region)",
    );
    // More than equality, and a clause that is not for every pair.
    twins.same_after(
        "MERGE INTO {t} AS t USING {s} AS s ON t.id = s.id AND s.qty > t.qty
         WHEN MATCHED THEN UPDATE SET qty = s.qty
         WHEN NOT MATCHED BY SOURCE AND t.id > 20 THEN DELETE",
    );
    twins.same_after("MERGE INTO {t} AS t USING {s} AS s ON t.id = s.id WHEN NOT MATCHED BY SOURCE THEN DELETE");
    twins.same_after("MERGE INTO {t} AS t USING {s} AS s ON t.id = s.id WHEN MATCHED THEN DELETE");
}

#[test]
fn a_row_that_several_would_change_fails_the_merge() {
    let _turn = heavy();
    let mut twins = Twins::new();
    twins.run("INSERT INTO {s} VALUES (1, 'again', 11, 1.00, DATE '2026-01-01', 'eu', 'd'), (50, 'p', 1, 1, DATE '2026-01-01', 'eu', 'u'), (50, 'p', 1, 1, DATE '2026-01-01', 'eu', 'u')");
    let merge = |clauses: &str| format!("MERGE INTO {{t}} AS t USING {{s}} AS s ON t.id = s.id {clauses}");
    twins.refused(&merge("WHEN MATCHED THEN UPDATE SET qty = s.qty"), "MERGE_AMBIGUOUS");
    twins.refused(&merge("WHEN MATCHED THEN DELETE"), "MERGE_AMBIGUOUS");
    twins.refused(
        &merge("WHEN MATCHED AND s.qty > 0 THEN UPDATE SET qty = s.qty WHEN NOT MATCHED BY SOURCE THEN DELETE"),
        "MERGE_AMBIGUOUS",
    );
    twins.refused(
        "MERGE INTO {t} AS t USING {s} AS s ON t.id = s.id AND s.qty > t.qty WHEN MATCHED THEN DELETE",
        "MERGE_AMBIGUOUS",
    );
    // Of the two rows that match, one is acted on.
    twins.same_after(&merge("WHEN MATCHED AND s.op = 'd' THEN UPDATE SET name = 'd'"));
    // None is; and what is only inserted may come twice.
    twins.same_after(&merge(
        "WHEN MATCHED AND s.op = 'z' THEN DELETE WHEN NOT MATCHED THEN INSERT (id, ds, region) VALUES (s.id, s.ds, s.region)",
    ));
    twins.same_after(&merge("WHEN NOT MATCHED BY SOURCE THEN UPDATE SET name = 'only here'"));
    twins.same_after("MERGE INTO {t} AS t USING {s} AS s ON t.id = s.id AND s.name <> 'again' WHEN MATCHED AND t.id <> 50 THEN UPDATE SET qty = s.qty");
}

#[test]
fn what_a_column_does_not_take_changes_nothing() {
    let _turn = heavy();
    let table = unique("strict");
    execute(&format!(
        "CREATE TABLE {table} (id BIGINT NOT NULL, n INT); INSERT INTO {table} VALUES (1, 1), (2, 2), (3, NULL)"
    ))
    .succeeded()
    .unwrap();
    for sql in [
        format!("UPDATE {table} SET id = NULL WHERE n = 2"),
        format!("UPDATE {table} SET n = id * 3000000000"),
        format!(
            "MERGE INTO {table} t USING (SELECT 9 AS k, NULL AS id) s ON t.n = s.k WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)"
        ),
    ] {
        let output = execute(&sql);
        assert_eq!(output.code, 1, "{}", output.report());
    }
    let rows = CLUSTER.cli().unwrap().query(&format!("SELECT id, n FROM {table} ORDER BY id")).unwrap();
    assert_eq!(rows.rows, [["1", "1"], ["2", "2"], ["3", ""]]);
}

/// Both rewrite the same file: the second finds it gone and is planned again.
#[test]
fn deletes_at_the_same_time_both_hold() {
    let _turn = heavy();
    let table = unique("both");
    execute(&format!(
        "CREATE TABLE {table} (id BIGINT, name VARCHAR); INSERT INTO {table} SELECT n_nationkey, n_name FROM nation"
    ))
    .succeeded()
    .unwrap();
    let cli = CLUSTER.cli().unwrap();
    let delete = |key: i64| cli.start(&["sql", "-c", &format!("DELETE FROM {table} WHERE id = {key}")]).unwrap();
    let started = [3, 11].map(delete);
    for one in started {
        one.finish(LONG).unwrap().succeeded().unwrap();
    }
    let left = cli.query(&format!("SELECT count(*), count(*) FILTER (WHERE id IN (3, 11)) FROM {table}")).unwrap();
    assert_eq!(left.rows, [["23", "0"]]);
}
