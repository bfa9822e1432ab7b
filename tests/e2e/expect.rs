//! What tables expect of writes: checked while the rows are written, on managed tables and on external Parquet ones.

use selvedge_tests::cli::{Output, Selvedge};
use selvedge_tests::cluster::ClusterOptions;
use selvedge_tests::readback::{Source, duckdb};

use crate::stage::{BUCKET, CLUSTER, S3, heavy, tpch_cluster, unique};

fn cli() -> Selvedge {
    CLUSTER.cli().unwrap()
}

fn sql(text: &str) -> Output {
    cli().run(&["sql", "-c", text]).unwrap()
}

fn execute(text: &str) {
    sql(text).succeeded().unwrap();
}

fn single(text: &str) -> String {
    cli().query(text).unwrap().single().unwrap().to_owned()
}

/// A statement that must fail because of an expectation; what it said.
fn refused(text: &str) -> String {
    let output = sql(text);
    assert_eq!(output.code, 1, "{text} was not refused\n{}", output.report());
    assert!(output.stderr.contains("EXPECTATION_FAILED"), "{}", output.report());
    output.stderr
}

/// Two tables with two rows each: one of ours, and one of files at a place of its own.
fn tables() -> [String; 2] {
    let (managed, external) = (unique("managed"), unique("external"));
    execute(&format!(
        "CREATE TABLE {managed} (id BIGINT NOT NULL, amount INT, ds VARCHAR) PARTITIONED BY (ds);
         CREATE EXTERNAL TABLE {external} (id BIGINT, amount INT, ds VARCHAR) STORED AS PARQUET PARTITIONED BY (ds)
           LOCATION '{}';",
        location(&external)
    ));
    for table in [&managed, &external] {
        execute(&format!("INSERT INTO {table} VALUES (1, 10, 'a'), (2, 20, 'b')"));
    }
    [managed, external]
}

fn location(table: &str) -> String {
    format!("s3://{BUCKET}/{table}/")
}

fn ids(table: &str) -> Vec<String> {
    let rows = cli().query(&format!("SELECT id FROM {table} ORDER BY id")).unwrap().rows;
    rows.into_iter().map(|mut row| row.remove(0)).collect()
}

#[test]
fn fail_publishes_nothing_and_shows_the_rows() {
    let _turn = heavy();
    for table in tables() {
        execute(&format!("EXPECT positive ON {table} CHECK (amount > 0)"));
        let said =
            refused(&format!("INSERT INTO {table} VALUES (3, 30, 'a'), (4, -5, 'a'), (5, 0, 'c'), (6, NULL, 'c')"));
        for part in
            ["positive", &table, "2 rows", "CHECK (amount > 0)", r#"{"id":4,"amount":-5,"ds":"a"}"#, r#""id":5"#]
        {
            assert!(said.contains(part), "{part} is not in:\n{said}");
        }
        assert!(!said.contains(r#""id":6"#) && !said.contains(r#""id":3"#), "{said}");
        refused(&format!("INSERT OVERWRITE {table} VALUES (7, -7, 'a')"));
        assert_eq!(ids(&table), ["1", "2"]);
        // NULL is not false.
        execute(&format!("INSERT INTO {table} VALUES (6, NULL, 'c')"));
        execute(&format!("INSERT OVERWRITE {table} VALUES (7, 7, 'a')"));
        assert_eq!(ids(&table), ["2", "6", "7"]);
    }
}

#[test]
fn rows_that_are_left_out_are_kept_beside_the_table() {
    let _turn = heavy();
    let [_, external] = tables();
    let managed = unique("keeping");
    execute(&format!(
        "CREATE TABLE {managed} (id BIGINT NOT NULL, amount INT, ds VARCHAR) PARTITIONED BY (ds) LOCATION '{}';
         INSERT INTO {managed} VALUES (1, 10, 'a'), (2, 20, 'b')",
        location(&managed)
    ));
    let expect = |table: &str| format!("EXPECT positive ON {table} CHECK (amount > 0) DROP INTO REJECTED");
    let output = sql(&expect(&external));
    assert!(output.code == 1 && output.stderr.contains("NOT_SUPPORTED"), "{}", output.report());
    let kept = format!("{managed}__rejected");
    execute(&format!(
        "{}; EXPECT named ON {managed} CHECK (ds <> 'z') DROP INTO REJECTED; SELECT * FROM {kept}",
        expect(&managed)
    ));
    assert_eq!(cli().query(&format!("SELECT count(*) FROM {kept}")).unwrap().single().unwrap(), "0");
    // A failed write keeps nothing.
    execute(&format!("EXPECT few ON {managed} ROWS BETWEEN 0 AND 3"));
    refused(&format!("INSERT INTO {managed} SELECT n_nationkey, n_nationkey - 3, 'a' FROM nation"));
    execute(&format!("INSERT INTO {managed} VALUES (3, 30, 'a'), (4, -5, 'z'), (5, 0, 'c'), (6, 1, 'z')"));
    let run = single(&format!("SELECT DISTINCT run FROM {kept}"));
    let shown = cli().run(&["runs", "show", &run]).unwrap().succeeded().unwrap().stdout;
    assert!(shown.contains("2 rows left out and kept") && shown.contains("rejected"), "{shown}");
    execute(&format!("INSERT OVERWRITE {managed} PARTITION (ds = 'a') SELECT 7, -1"));
    assert_eq!(ids(&managed), ["2"]);
    let rows = "SELECT expectation, rejected_row, statement FROM t ORDER BY rejected_row";
    let expected = [
        ["named, positive", r#"{"id":4,"amount":-5,"ds":"z"}"#, "1"],
        ["positive", r#"{"id":5,"amount":0,"ds":"c"}"#, "1"],
        ["named", r#"{"id":6,"amount":1,"ds":"z"}"#, "1"],
        ["positive", r#"{"id":7,"amount":-1,"ds":"a"}"#, "1"],
    ];
    assert_eq!(cli().query(&rows.replace("FROM t", &format!("FROM {kept}"))).unwrap().rows, expected);
    let source = Source::delta("t", &format!("{}_rejected/", location(&managed)));
    assert_eq!(duckdb(rows, &[source], Some(&S3.access())).unwrap().rows, expected);
    let runs = cli().query(&format!("SELECT count(DISTINCT run) FROM {kept} WHERE rejected_at <= now()")).unwrap();
    assert_eq!(runs.single().unwrap(), "2");
    // Nobody who looks after it keeps it from what is to come.
    execute(&format!(
        "ALTER TABLE {kept} SET TBLPROPERTIES ('team' = 'us'); OPTIMIZE {kept};
         DELETE FROM {kept} WHERE false; ALTER TABLE {kept} ADD COLUMN seen BOOLEAN"
    ));
    // VACUUM of the table leaves it alone, and it outlives the table.
    execute(&format!(
        "SET selvedge.vacuum.allow_short_retention = true; VACUUM {managed} RETAIN 0 HOURS;
         DROP TABLE {managed}; CREATE OR REPLACE TABLE {managed} LOCATION '{}' AS SELECT 1 AS id, 1 AS amount, 'a' AS ds",
        location(&managed)
    ));
    execute(&format!("{}; INSERT INTO {managed} VALUES (8, -8, 'a')", expect(&managed)));
    assert_eq!(cli().query(&format!("SELECT count(*) FROM {kept}")).unwrap().single().unwrap(), "5");
    // As a table of plain files it could not keep them, and does not say that it does.
    let plain =
        format!("CREATE OR REPLACE TABLE {managed} STORED AS PARQUET LOCATION 's3://{BUCKET}/{managed}_plain/' AS");
    let output = sql(&format!("{plain} SELECT 1 AS id, -1 AS amount, 'a' AS ds"));
    assert!(output.code == 1 && output.stderr.contains("EXPECTATION_NOT_APPLICABLE"), "{}", output.report());
    // Its log is found again, where its name was given up.
    execute(&format!("DROP TABLE {kept}; INSERT INTO {managed} VALUES (9, -9, 'a')"));
    execute(&expect(&managed));
    assert_eq!(cli().query(&format!("SELECT count(*) FROM {kept}")).unwrap().single().unwrap(), "6");
}

#[test]
fn it_counts_where_a_statement_writes_and_not_how_it_says_so() {
    let _turn = heavy();
    let [managed, external] = tables();
    for table in [&managed, &external] {
        execute(&format!("EXPECT positive ON {table} CHECK (amount > 0)"));
    }
    refused(&format!(
        "COPY (SELECT 9 AS id, -1 AS amount, 'a' AS ds) TO '{}' PARTITIONED BY (ds) OPTIONS (mode 'append')",
        location(&external)
    ));
    refused(&format!("CREATE OR REPLACE TABLE {managed} AS SELECT 9 AS id, -1 AS amount, 'a' AS ds"));
    let changed = sql(&format!("CREATE OR REPLACE TABLE {managed} AS SELECT 9 AS id"));
    assert!(changed.code == 1 && changed.stderr.contains("EXPECTATION_NOT_APPLICABLE"), "{}", changed.report());
    assert_eq!((ids(&managed), ids(&external)), (vec!["1".into(), "2".into()], vec!["1".into(), "2".into()]));

    // A table that is replaced keeps them; one that is dropped does not.
    execute(&format!("CREATE OR REPLACE TABLE {managed} AS SELECT 9 AS id, 1 AS amount"));
    refused(&format!("INSERT INTO {managed} VALUES (10, -1)"));
    execute(&format!("DROP EXPECT positive ON {managed}; INSERT INTO {managed} VALUES (10, -1)"));
    assert_eq!(ids(&managed), ["9", "10"]);
    let again = format!(
        "DROP TABLE {external};
         CREATE EXTERNAL TABLE {external} STORED AS PARQUET PARTITIONED BY (ds) LOCATION '{}';
         INSERT INTO {external} VALUES (3, -1, 'a');",
        location(&external)
    );
    execute(&again);
}

#[test]
fn a_null_in_a_column_that_takes_none_is_refused_by_name() {
    let _turn = heavy();
    let [managed, _] = tables();
    let output = sql(&format!("INSERT INTO {managed} SELECT nullif(n_nationkey, 3), 1, 'a' FROM nation"));
    assert_eq!(output.code, 1, "{}", output.report());
    for part in ["NOT_NULL_VIOLATED", "column id", r#"{"id":null,"amount":1,"ds":"a"}"#] {
        assert!(output.stderr.contains(part), "{part} is not in:\n{}", output.report());
    }
    assert_eq!(ids(&managed), ["1", "2"]);
}

#[test]
fn warn_publishes_and_the_run_tells() {
    let _turn = heavy();
    for table in tables() {
        let script = CLUSTER.dir().join(format!("{table}.sql"));
        let text = format!(
            "EXPECT positive ON {table} CHECK (amount > 0) WARN;
             EXPECT some ON {table} ROWS >= 1;
             INSERT INTO {table} SELECT n_nationkey + 100, n_nationkey - 3, 'n' FROM nation;"
        );
        std::fs::write(&script, text).unwrap();
        let submitted = cli().run(&["--format", "json", "submit", &script.to_string_lossy(), "--wait"]).unwrap();
        let run = submitted.succeeded().unwrap().run_id().unwrap();
        assert_eq!(single(&format!("SELECT count(*) FROM {table}")), "27");

        let shown = cli().run(&["runs", "show", &run]).unwrap().succeeded().unwrap().stdout;
        for part in ["positive", "WARN", "4 rows violate it", "some", r#"{"id":100,"amount":-3,"ds":"n"}"#] {
            assert!(shown.contains(part), "{part} is not in:\n{shown}");
        }
        let json = cli().run(&["--format", "json", "runs", "show", &run]).unwrap().succeeded().unwrap().json().unwrap();
        let results = &json["statements"][2]["expectations"];
        assert_eq!((&results[0]["name"], &results[0]["violations"]), (&"positive".into(), &4.into()), "{json}");
        assert_eq!(results[0]["samples"].as_array().unwrap().len(), 4);
        assert_eq!((&results[1]["name"], &results[1]["is_met"]), (&"some".into(), &true.into()), "{json}");
        let logs = cli().run(&["runs", "logs", &run]).unwrap().succeeded().unwrap().stdout;
        assert!(logs.contains("does not meet positive") && logs.contains("4 rows violate it"), "{logs}");
    }
}

#[test]
fn drop_leaves_out_exactly_the_rows_that_violate() {
    let _turn = heavy();
    for table in tables() {
        execute(&format!(
            "EXPECT positive ON {table} CHECK (amount > 0) DROP;
             EXPECT odd_parts ON {table} CHECK (ds <> 'z') DROP;
             EXPECT small ON {table} CHECK (amount < 1000);"
        ));
        // What is left out is not looked at by the others.
        execute(&format!(
            "INSERT INTO {table} VALUES (3, 30, 'a'), (4, -5, 'a'), (5, 5000, 'z'), (6, NULL, NULL), (7, 0, 'z'), (8, 8, 'b')"
        ));
        assert_eq!(ids(&table), ["1", "2", "3", "6", "8"]);
        // Over many tasks, too: of 25 nations in 5 regions.
        execute(&format!(
            "INSERT INTO {table} SELECT n_nationkey + 100, n_nationkey - 10, 'r' || n_regionkey FROM nation"
        ));
        let sum = format!("SELECT count(*) || ' ' || sum(amount) FROM {table} WHERE id >= 100");
        assert_eq!(single(&sum), format!("14 {}", (1..=14).sum::<i32>()));
        // Nothing is left: nothing is written.
        execute(&format!("INSERT INTO {table} VALUES (9, -1, 'a')"));
        assert_eq!(single(&sum), format!("14 {}", (1..=14).sum::<i32>()));
    }
}

#[test]
fn rows_and_freshness_are_about_the_whole_write() {
    let _turn = heavy();
    let (managed, external) = (unique("managed"), unique("external"));
    execute(&format!(
        "CREATE TABLE {managed} (id BIGINT, day DATE);
         CREATE EXTERNAL TABLE {external} (id BIGINT, day DATE) STORED AS PARQUET LOCATION '{}';",
        location(&external)
    ));
    let rows = |from: u32, to: u32, day: &str| {
        format!("SELECT n_nationkey, {day} FROM nation WHERE n_nationkey >= {from} AND n_nationkey < {to}")
    };
    for table in [managed, external] {
        execute(&format!(
            "EXPECT few ON {table} ROWS BETWEEN 2 AND 10;
             EXPECT fresh ON {table} FRESH day WITHIN INTERVAL '36 hours';"
        ));
        let insert = |source: &str| format!("INSERT INTO {table} {source}");
        let (today, past) = ("current_date()", "CAST(current_date() - INTERVAL '3 days' AS DATE)");
        let said = refused(&insert(&rows(0, 1, today)));
        assert!(said.contains("few") && said.contains("1 row written"), "{said}");
        refused(&insert(&rows(0, 11, today)));
        let said = refused(&insert(&rows(0, 3, past)));
        assert!(said.contains("fresh") && said.contains("the newest day is 3 days"), "{said}");
        let both = refused(&insert(&rows(0, 11, past)));
        assert!(both.contains("few") && both.contains("fresh"), "{both}");
        let newest = format!("CASE WHEN n_nationkey = 4 THEN {today} ELSE {past} END");
        execute(&insert(&rows(0, 10, &newest)));
        assert_eq!(single(&format!("SELECT count(*) FROM {table}")), "10");
        // An overwrite is counted as a write, too.
        refused(&format!("INSERT OVERWRITE {table} {}", rows(0, 1, today)));
        assert_eq!(single(&format!("SELECT count(*) FROM {table}")), "10");
    }
}

#[test]
fn changes_of_rows_are_writes_too() {
    let _turn = heavy();
    let [table, _] = tables();
    let stated = format!(
        "INSERT INTO {table} VALUES (3, -3, 'c'), (4, 4, 'c');
         EXPECT positive ON {table} CHECK (amount > 0);
         EXPECT part ON {table} CHECK (ds <> 'z') DROP;
         EXPECT few ON {table} ROWS BETWEEN 3 AND 9;"
    );
    execute(&stated);
    let said = refused(&format!("UPDATE {table} SET amount = -1 WHERE id = 1"));
    assert!(said.contains(r#"{"id":1,"amount":-1,"ds":"a"}"#), "{said}");
    // To leave a row out would delete it.
    refused(&format!("UPDATE {table} SET ds = 'z' WHERE id = 2"));
    let merge = |amount: i32| {
        format!(
            "MERGE INTO {table} AS t USING (SELECT 1 AS id, {amount} AS amount) AS s
               ON t.id = s.id AND t.ds = 'a'
               WHEN MATCHED THEN UPDATE SET amount = s.amount"
        )
    };
    refused(&merge(-5));
    execute(&merge(5));
    execute(&format!("UPDATE {table} SET amount = 6 WHERE id = 2"));
    // What is left was there before.
    execute(&format!("DELETE FROM {table} WHERE id = 4"));
    let rows = cli().query(&format!("SELECT id, amount FROM {table} ORDER BY id")).unwrap().rows;
    assert_eq!(rows, [["1", "5"], ["2", "6"], ["3", "-3"]]);
}

#[test]
fn what_a_refused_write_has_staged_is_thrown_away() {
    let _turn = heavy();
    let [_, external] = tables();
    let before = S3.keys(BUCKET, &external).unwrap();
    execute(&format!("EXPECT positive ON {external} CHECK (amount > 0)"));
    refused(&format!("INSERT INTO {external} SELECT n_nationkey, n_nationkey, 'n' FROM nation"));
    assert_eq!(S3.keys(BUCKET, &external).unwrap(), before);
}

#[test]
fn expectations_outlive_the_scheduler() {
    let _turn = heavy();
    let mut cluster = tpch_cluster(ClusterOptions::default());
    let cli = cluster.cli().unwrap();
    let (schema, place) = (unique("kept"), unique("place"));
    let script = format!(
        "CREATE SCHEMA {schema};
         CREATE TABLE {schema}.ours (id BIGINT, amount INT);
         CREATE EXTERNAL TABLE {schema}.theirs (id BIGINT, amount INT) STORED AS PARQUET LOCATION '{}';
         EXPECT positive ON {schema}.ours CHECK (amount > 0 AND amount <> 13);
         EXPECT positive ON {schema}.theirs CHECK (amount > 0) DROP;
         EXPECT enough ON {schema}.ours ROWS >= 1 WARN;
         EXPECT gone ON {schema}.ours ROWS >= 5;
         DROP EXPECT gone ON {schema}.ours;
         DROP EXPECT IF EXISTS gone ON {schema}.ours;",
        location(&place)
    );
    cli.run(&["sql", "-c", &script]).unwrap().succeeded().unwrap();
    let expected = [
        vec![format!("{schema}.ours"), "enough".into(), "ROWS >= 1".into(), "WARN".into()],
        vec![format!("{schema}.ours"), "positive".into(), "CHECK (amount > 0 AND amount <> 13)".into(), "FAIL".into()],
        vec![format!("{schema}.theirs"), "positive".into(), "CHECK (amount > 0)".into(), "DROP".into()],
    ];
    assert_eq!(cli.query("SHOW EXPECTS").unwrap().rows, expected);
    cluster.restart_scheduler(&[]).unwrap();
    assert_eq!(cli.query("SHOW EXPECTS").unwrap().rows, expected);
    assert_eq!(cli.query(&format!("SHOW EXPECTS ON {schema}.theirs")).unwrap().rows, expected[2..]);
    let insert = |table: &str, values: &str| {
        cli.run(&["sql", "-c", &format!("INSERT INTO {schema}.{table} VALUES {values}")]).unwrap()
    };
    let refused = insert("ours", "(1, 13)");
    assert!(refused.code == 1 && refused.stderr.contains("EXPECTATION_FAILED"), "{}", refused.report());
    insert("ours", "(1, 1)").succeeded().unwrap();
    insert("theirs", "(1, -1), (2, 2)").succeeded().unwrap();
    assert_eq!(cli.query(&format!("SELECT id FROM {schema}.theirs")).unwrap().single().unwrap(), "2");
}
