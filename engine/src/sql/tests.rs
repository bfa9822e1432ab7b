//! Table tests of scripts: each form, each error with its line and column, and that no text brings the parser down.

use std::collections::BTreeMap;

use proptest::prelude::*;
use selvedge_model::Failure;

use super::*;

fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn script(text: &str) -> Script {
    prepare(text, &BTreeMap::new()).unwrap_or_else(|f| panic!("{text}\n{f}\n{:?}", f.others))
}

fn one(text: &str) -> StatementKind {
    let mut statements = script(text).statements;
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0).kind
}

/// `code line:column cause` of every problem.
fn problems(text: &str, params: &[(&str, &str)]) -> Vec<String> {
    let failure = prepare(text, &given(params)).map(|s| format!("{:?}", s.statements)).expect_err(text);
    let line = |f: &Failure| match &f.place {
        Some(p) => format!("{} {}:{} {} | {}", f.code, p.line, p.column, f.cause, f.hint),
        None => format!("{} {} | {}", f.code, f.cause, f.hint),
    };
    std::iter::once(&failure).chain(&failure.others).map(line).collect()
}

#[test]
fn every_form_is_recognised() {
    for (sql, label, target) in [
        ("SELECT 1", "SELECT", ""),
        ("(SELECT 1) UNION ALL (SELECT 2)", "SELECT", ""),
        ("WITH a AS (SELECT 1 AS x) SELECT * FROM a", "SELECT", ""),
        ("VALUES (1, 'a'), (2, 'b')", "SELECT", ""),
        ("EXPLAIN SELECT 1", "EXPLAIN", ""),
        ("EXPLAIN ANALYZE VERBOSE INSERT INTO t SELECT 1", "EXPLAIN ANALYZE", ""),
        ("CREATE SCHEMA IF NOT EXISTS mart LOCATION 's3://b/mart'", "CREATE SCHEMA", "mart"),
        ("CREATE TABLE m.t (a INT, b STRING NOT NULL)", "CREATE TABLE", "m.t"),
        ("CREATE TABLE t (a INT) PARTITIONED BY (ds DATE, region) LOCATION '/x'", "CREATE TABLE", "t"),
        (
            "CREATE OR REPLACE TABLE t PARTITIONED BY (ds) LOCATION '/x' AS SELECT 1 AS a, 2 AS ds",
            "CREATE TABLE AS",
            "t",
        ),
        ("CREATE TABLE t (a, b) AS SELECT 1, 2", "CREATE TABLE AS", "t"),
        ("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://b/t/'", "CREATE EXTERNAL TABLE", "t"),
        (
            "CREATE EXTERNAL TABLE IF NOT EXISTS t (a INT, ds DATE) STORED AS csv PARTITIONED BY (ds) LOCATION '/t' \
             OPTIONS (has_header true, 'format.delimiter' = '|')",
            "CREATE EXTERNAL TABLE",
            "t",
        ),
        ("CREATE OR REPLACE VIEW v (x) AS SELECT 1", "CREATE VIEW", "v"),
        ("DROP TABLE IF EXISTS m.t", "DROP TABLE", "m.t"),
        ("DROP VIEW v", "DROP VIEW", "v"),
        ("DROP SCHEMA m CASCADE", "DROP SCHEMA", "m"),
        ("INSERT INTO t VALUES (1)", "INSERT INTO", "t"),
        ("INSERT INTO TABLE t (a, b) SELECT 1, 2", "INSERT INTO", "t"),
        ("INSERT INTO t BY NAME SELECT 1 AS a", "INSERT INTO", "t"),
        ("insert with schema evolution overwrite t partition (p = 1) by name select 1 as a", "INSERT OVERWRITE", "t"),
        ("INSERT OVERWRITE TABLE t PARTITION (ds = '2026-01-01', region) SELECT 1", "INSERT OVERWRITE", "t"),
        ("INSERT OVERWRITE t WITH a AS (SELECT 1) SELECT * FROM a", "INSERT OVERWRITE", "t"),
        ("DELETE FROM m.t", "DELETE FROM", "m.t"),
        ("UPDATE t SET a = 1", "UPDATE", "t"),
        ("EXPLAIN UPDATE t SET a = 1", "EXPLAIN", ""),
        ("MERGE INTO m.t USING s ON t.a = s.a WHEN MATCHED THEN DELETE", "MERGE INTO", "m.t"),
        ("COPY (SELECT 1) TO 's3://b/x.parquet'", "COPY", "s3://b/x.parquet"),
        ("COPY m.t TO '/x/' STORED AS CSV PARTITIONED BY (a) OPTIONS (header true)", "COPY", "/x/"),
        ("SET selvedge.write.target_file_bytes = 256MiB", "SET", ""),
        ("SHOW TABLES IN m", "SHOW", ""),
        ("SHOW COLUMNS FROM m.t", "SHOW", ""),
        ("SHOW ALL", "SHOW", ""),
        ("DESCRIBE m.t", "DESCRIBE", ""),
        ("REFRESH TABLE m.t", "REFRESH", ""),
        ("REFRESH t", "REFRESH", ""),
        ("MSCK REPAIR TABLE t", "REFRESH", ""),
    ] {
        let kind = one(sql);
        assert_eq!((kind.label(), kind.target().as_str()), (label, target), "{sql}");
    }
}

#[test]
fn an_overwrite_keeps_its_partition_values_and_columns() {
    let kind = one("INSERT OVERWRITE m.t PARTITION (ds = '2026-01-01', n = -3, z = NULL, region) (b, a) SELECT 1, 2");
    let StatementKind::Insert(insert) = kind else { panic!("{kind:?}") };
    let values: Vec<_> = insert.partition.iter().map(|p| (p.column.value.as_str(), p.value.clone())).collect();
    let fixed = |text: &str| PartitionValue::Static(Some(text.into()));
    assert_eq!(
        values,
        [
            ("ds", fixed("2026-01-01")),
            ("n", fixed("-3")),
            ("z", PartitionValue::Static(None)),
            ("region", PartitionValue::Dynamic)
        ]
    );
    assert_eq!(insert.columns.iter().map(|c| c.value.as_str()).collect::<Vec<_>>(), ["b", "a"]);
}

#[test]
fn partition_columns_join_the_declared_ones() {
    let StatementKind::CreateTable(create) = one("CREATE TABLE t (a INT, ds DATE) PARTITIONED BY (ds, n INT, r)")
    else {
        panic!()
    };
    let names: Vec<_> = create.columns.columns.iter().map(|c| format!("{} {}", c.name, c.data_type)).collect();
    assert_eq!(names, ["a INT", "ds DATE", "n INT", "r STRING"]);
    assert_eq!(create.columns.partition_by.len(), 3);
}

#[test]
fn settings_take_values_with_and_without_quotes() {
    for (sql, expected) in [
        ("SET a.B = 'x y'", "x y"),
        ("SET a.b = 256MiB", "256MiB"),
        ("SET a.b TO -1.5", "-1.5"),
        ("SET a.b = true", "true"),
    ] {
        let kind = one(sql);
        assert_eq!(kind, StatementKind::Set { key: "a.b".into(), value: expected.into() }, "{sql}");
    }
}

#[test]
fn statements_keep_their_text_and_place() {
    let text = "-- a job\n\nSELECT 'a;b' -- one; still one\n  ;\n\n  /* two */ SELECT 2;;\n";
    let statements = script(text).statements;
    let seen: Vec<_> = statements.iter().map(|s| (s.index, s.sql.as_str(), s.place.line, s.place.column)).collect();
    assert_eq!(seen, [(1, "SELECT 'a;b'", 3, 1), (2, "SELECT 2", 6, 13)]);
    assert_eq!(statements[1].place.line_text, "  /* two */ SELECT 2;;");
}

#[test]
fn syntax_errors_say_where_and_what() {
    for (sql, expected) in [
        ("SELEC 1", "SYNTAX_ERROR 1:1 no statement begins with 'SELEC' | Did you mean SELECT?"),
        ("SELECT 1\nFROM", "SYNTAX_ERROR 2:5 expected identifier, found the end of the statement | "),
        ("SELECT (1", "SYNTAX_ERROR 1:10 expected ), found the end of the statement | "),
        ("SELECT 1 SELECT 2", "SYNTAX_ERROR 1:10 expected the end of the statement, found SELECT | Statements are"),
        ("SELECT 'abc", "SYNTAX_ERROR 1:8 unterminated string literal | Close it"),
        ("INSERT t SELECT 1", "SYNTAX_ERROR 1:8 expected INTO or OVERWRITE, found t"),
        ("INSERT WITH SCHEMA CHANGE INTO t SELECT 1", "SYNTAX_ERROR 1:20 expected WITH SCHEMA EVOLUTION, found CHANGE"),
        (
            "INSERT WITH SCHEMA EVOLUTION INTO t SELECT 1",
            "SYNTAX_ERROR 1:8 WITH SCHEMA EVOLUTION needs columns that go by",
        ),
        ("INSERT INTO t BY NAME (a) SELECT 1", "SYNTAX_ERROR 1:"),
        (
            "INSERT INTO t\n  PARTITION (ds = now()) SELECT 1",
            "SYNTAX_ERROR 2:19 expected a partition's value, found now",
        ),
        ("INSERT INTO t SELEC 1", "SYNTAX_ERROR 1:15 expected SELECT, WITH or VALUES, found SELEC"),
        ("INSERT INTO t PARTITION (a, a) SELECT 1", "SYNTAX_ERROR 1:29 partition column a is named twice"),
        ("COPY t '/x'", "SYNTAX_ERROR 1:8 expected TO, found '/x'"),
        ("COPY t TO x", "SYNTAX_ERROR 1:11 expected a location in quotes, found x"),
        ("CREATE INDEX i", "SYNTAX_ERROR 1:8 expected SCHEMA, TABLE, EXTERNAL TABLE or VIEW, found INDEX"),
        ("CREATE TABLE t", "SYNTAX_ERROR 1:15 expected columns or AS and a query, found the end of the statement"),
        ("CREATE TABLE t (a)", "SYNTAX_ERROR 1:17 expected a type for column a"),
        ("CREATE TABLE t (a INT, PRIMARY KEY (a))", "NOT_SUPPORTED 1:24 PRIMARY constraints are not supported"),
        ("CREATE TABLE t (a INT UNIQUE)", "NOT_SUPPORTED 1:23 'UNIQUE' is not supported for a column"),
        (
            "CREATE EXTERNAL TABLE t (a INT DEFAULT 1) STORED AS PARQUET LOCATION '/x'",
            "NOT_SUPPORTED 1:26 column a cannot have a default",
        ),
        (
            "CREATE TABLE t (a INT) STORED AS CSV",
            "NOT_SUPPORTED 1:14 tables are written as Delta or plain Parquet only",
        ),
        ("CREATE EXTERNAL TABLE t LOCATION '/x'", "SYNTAX_ERROR 1:23 CREATE EXTERNAL TABLE needs STORED AS"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV", "SYNTAX_ERROR 1:23 CREATE EXTERNAL TABLE needs LOCATION"),
        ("CREATE OR REPLACE TABLE IF NOT EXISTS t (a INT)", "SYNTAX_ERROR 1:25 OR REPLACE and IF NOT EXISTS"),
        ("CREATE TEMPORARY TABLE t (a INT)", "NOT_SUPPORTED 1:8 temporary tables"),
        ("DROP INDEX i", "SYNTAX_ERROR 1:6 expected TABLE, VIEW or SCHEMA, found INDEX"),
        ("SET a", "SYNTAX_ERROR 1:6 expected '=' after a, found the end of the statement"),
        ("EXPLAIN SET a = 1", "NOT_SUPPORTED 1:9 SET has no plan to explain"),
        ("EXPLAIN", "SYNTAX_ERROR 1:8 expected a statement, found the end of the statement"),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", "NOT_SUPPORTED 1:1 a WITH clause cannot be followed"),
        ("MERGE INTO t USING s ON t.a = s.a", "SYNTAX_ERROR 1:34 expected WHEN, found the end of the statement"),
        ("UPDATE t SET a = 1 FROM s", "NOT_SUPPORTED 1:20 UPDATE takes its values from one table"),
        ("DELETE FROM t USING s", "NOT_SUPPORTED 1:15 DELETE takes its rows from one table"),
        ("DELETE FROM t LIMIT 1 OFFSET 2", "SYNTAX_ERROR"),
        ("  ANALYZE TABLE t", "NOT_SUPPORTED 1:3 ANALYZE is not supported yet"),
        ("-- nothing", "EMPTY_SCRIPT 1:1 the script has no statement"),
    ] {
        let found = problems(sql, &[]);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{sql}\nexpected {expected}\nfound {found:#?}");
    }
}

#[test]
fn every_statement_reports_its_own_error() {
    let found = problems("SELECT 1;\nSELECT FROM;\nDROP t;\nANALYZE t;\nSELECT 'x", &[]);
    let places: Vec<_> = found.iter().map(|f| f.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(places[1..], ["SYNTAX_ERROR 3:6", "NOT_SUPPORTED 4:1", "SYNTAX_ERROR 5:8"], "{found:#?}");
    assert!(places[0].starts_with("SYNTAX_ERROR 2:"), "{found:#?}");
}

#[test]
fn a_header_declares_the_job() {
    let text = "-- Daily revenue.\n-- @job revenue.daily\n--@queue etl\n\n-- @param ds date\n-- @param n int = 3\n\
                -- @param note string = 'a = b'\nSELECT {{ n }}";
    let script = prepare(text, &given(&[("ds", "2026-01-31")])).unwrap();
    assert_eq!(script.header.name.as_deref(), Some("revenue.daily"));
    assert_eq!(script.header.queue.as_deref(), Some("etl"));
    assert_eq!(script.params, given(&[("ds", "2026-01-31"), ("n", "3"), ("note", "a = b")]));
    assert_eq!(script.statements[0].sql, "SELECT 3");
}

#[test]
fn header_errors_say_where_and_what() {
    for (header, expected) in [
        ("-- @parm ds date", "BAD_HEADER 1:4 unknown header word '@parm' | Did you mean @param?"),
        ("-- @owner me", "BAD_HEADER 1:4 unknown header word '@owner' | A header knows"),
        ("-- @param ds", "BAD_HEADER 1:4 '@param ds' is not a declaration"),
        ("-- @param ds dat", "BAD_HEADER 1:4 parameter 'ds' has the unknown type 'dat' | Did you mean date?"),
        ("-- @param 1x int = 1", "BAD_HEADER 1:4 '1x' cannot name a parameter"),
        ("-- @param a int = 1\n-- @param a int = 2", "BAD_HEADER 2:4 parameter 'a' is declared twice"),
        ("-- @job a b", "BAD_HEADER 1:4 'a b' is not a job name"),
        ("-- @job a\n-- @job b", "BAD_HEADER 2:4 @job is given twice"),
        ("-- @param ds date", "PARAM_MISSING 1:4 parameter 'ds' (date) is missing: give it with -p ds="),
        ("-- @param ds date = soon", "PARAM_ILL_TYPED 1:4 parameter 'ds' must be a date"),
        ("SELECT 2;\n-- @param ds date", "BAD_HEADER 2:4 @param stands after the first statement"),
    ] {
        let found = problems(&format!("{header}\nSELECT 1"), &[]);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{header}\n{found:#?}");
    }
}

#[test]
fn problems_of_all_parts_come_together() {
    let text = "-- @jbo x\n-- @param ds date\n-- @param num int = x\nSELECT '{{ ds }}';\nSELEC 1";
    let found = problems(text, &[("nmu", "1"), ("num", "2")]);
    let codes: Vec<_> = found.iter().map(|f| f.split(' ').next().unwrap()).collect();
    assert_eq!(codes, ["BAD_HEADER", "PARAM_MISSING", "PARAM_UNDECLARED", "PARAM_ILL_TYPED", "SYNTAX_ERROR"]);
    assert!(found[2].contains("Did you mean 'num'?"), "{found:#?}");
}

#[test]
fn jinja_fills_in_typed_values_as_plain_text() {
    let text = "-- @param ds date\n-- @param full bool = false\n-- @param n int = 2\n-- @param f float = 0.5\n\
                SELECT '{{ ds }}', {{ full }}, {{ n + 1 }}, {{ f }}, '{{ \"<&>\" }}'\n\
                {% if full %}, never{% endif %}{% for i in range(n) %}, {{ i }}{% endfor %}";
    let script = prepare(text, &given(&[("ds", "2026-01-31")])).unwrap();
    assert_eq!(script.statements[0].sql, "SELECT '2026-01-31', false, 3, 0.5, '<&>'\n, 0, 1");
}

#[test]
fn jinja_errors_say_where_and_what() {
    for (text, expected) in [
        ("SELECT 1,\n  {{ dss }}", "PARAM_UNDECLARED 2:6 'dss' is used but not declared as a parameter | Declare it"),
        ("-- @param ds date = 2026-01-31\nSELECT {{ dss }}", "PARAM_UNDECLARED 2:11 'dss' is used but not"),
        ("SELECT dss,\n{% if dss %}1{% endif %}", "PARAM_UNDECLARED 2:7 'dss'"),
        ("SELECT 1\n{{ 1 +", "TEMPLATE_ERROR 2:"),
        ("SELECT\n\n{% if %}", "TEMPLATE_ERROR 3:"),
        ("SELECT\n{{ range(3).nothing.more }}", "TEMPLATE_ERROR 2:"),
        ("SELECT {% include 'x' %}", "TEMPLATE_ERROR 1:"),
        ("{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}", "TEMPLATE_ERROR 1:"),
    ] {
        let found = problems(text, &[]);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text}\n{found:#?}");
    }
}

#[test]
fn places_lead_back_through_jinja() {
    let text = "-- @param table string = a_very_long_name\n{# two\nlines #}SELECT 1;\n{% for i in [1, 2] %}\n\
                SELECT {{ i }};\n{% endfor %}\nSELECT '{{ table }}', é, FROM x WHERE )";
    let failure = prepare(text, &BTreeMap::new()).unwrap_err();
    let place = failure.place.unwrap();
    assert_eq!((place.statement, place.line, place.column), (4, 7, 39), "{place:?}");
    assert_eq!(place.line_text, "SELECT '{{ table }}', é, FROM x WHERE )");
    let fine = text.replace(" WHERE )", "");
    let places: Vec<_> = script(&fine).statements.iter().map(|s| (s.place.line, s.place.column)).collect();
    assert_eq!(places, [(3, 9), (5, 1), (5, 1), (7, 1)]);
}

#[test]
fn a_text_without_end_is_refused() {
    let found = problems(&"SELECT 1;".repeat(MAX_SCRIPT_BYTES / 9 + 1), &[]);
    assert!(found[0].starts_with("SCRIPT_TOO_LONG"), "{found:?}");
    assert!(problems(&"SELECT 1;".repeat(MAX_STATEMENTS + 1), &[])[0].starts_with("SCRIPT_TOO_LONG"));
    assert_eq!(problems(&"X;".repeat(MAX_STATEMENTS + 1), &[]).len(), MAX_PROBLEMS);
    let deep = format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500));
    assert!(problems(&deep, &[])[0].contains("too deeply"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_brings_it_down(text in "\\PC*|[ \\n\\r\\t;'\"`(){}%#=@,.*/é-]{0,60}") {
        let _ = prepare(&text, &BTreeMap::new());
    }

    #[test]
    fn no_order_of_words_brings_it_down(words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..25)) {
        for separator in [" ", "\n"] {
            let text = words.join(separator);
            if let Err(failure) = prepare(&text, &BTreeMap::new()) {
                for f in std::iter::once(&failure).chain(&failure.others) {
                    prop_assert!(f.place.as_ref().is_none_or(|p| p.line > 0 && p.column > 0), "{text}: {f:?}");
                    prop_assert!(f.place.is_some(), "{}: {:?}", text, f);
                }
            }
        }
    }
}

const WORDS: [&str; 60] = [
    "SELECT",
    "FROM",
    "WITH",
    "AS",
    "VALUES",
    "INSERT",
    "INTO",
    "OVERWRITE",
    "TABLE",
    "PARTITION",
    "PARTITIONED",
    "BY",
    "CREATE",
    "OR",
    "REPLACE",
    "EXTERNAL",
    "SCHEMA",
    "VIEW",
    "IF",
    "NOT",
    "EXISTS",
    "LOCATION",
    "STORED",
    "OPTIONS",
    "DROP",
    "CASCADE",
    "COPY",
    "TO",
    "SET",
    "SHOW",
    "TABLES",
    "COLUMNS",
    "DESCRIBE",
    "EXPLAIN",
    "ANALYZE",
    "(",
    ")",
    ",",
    ";",
    "=",
    "t",
    "s.t",
    "'x'",
    "1",
    "-",
    "*",
    "a",
    "INT",
    "NULL",
    "-- @param a int",
    "-- @job",
    "{{",
    "}}",
    "{%",
    "%}",
    "{{ a }}",
    "{% if a %}",
    "{% endif %}",
    "'",
    "é",
];
