//! Table tests of the statements that look after managed tables: each form, and each error with its place.

use std::collections::BTreeMap;

use crate::delta::VersionSpec;
use crate::sql::{Maintenance, MaintenanceTask, StatementKind, prepare};

fn one(text: &str) -> StatementKind {
    let mut script = prepare(text, &BTreeMap::new()).unwrap_or_else(|f| panic!("{text}\n{f}\n{:?}", f.others));
    assert_eq!(script.statements.len(), 1, "{text}");
    script.statements.remove(0).kind
}

fn task(text: &str) -> MaintenanceTask {
    match one(text) {
        StatementKind::Maintain(maintenance) => maintenance.task,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn every_form_is_recognised() {
    for (sql, label, target) in [
        ("DESCRIBE HISTORY m.t", "DESCRIBE HISTORY", ""),
        ("desc history t limit 5", "DESCRIBE HISTORY", ""),
        ("DESCRIBE DETAIL TABLE t", "DESCRIBE DETAIL", ""),
        ("OPTIMIZE m.t", "OPTIMIZE", "m.t"),
        ("OPTIMIZE TABLE t WHERE ds >= DATE '2026-01-01' AND region IN ('eu', 'us')", "OPTIMIZE", "t"),
        ("VACUUM t", "VACUUM", "t"),
        ("VACUUM TABLE m.t RETAIN 168 HOURS DRY RUN", "VACUUM", "m.t"),
        ("RESTORE TABLE m.t TO VERSION AS OF 3", "RESTORE", "m.t"),
        ("RESTORE t VERSION AS OF 3", "RESTORE", "t"),
        ("RESTORE t TO TIMESTAMP AS OF '2026-01-31 10:00:00'", "RESTORE", "t"),
        ("ALTER TABLE m.t ADD COLUMN a INT", "ALTER TABLE", "m.t"),
        ("ALTER TABLE t ADD COLUMNS (a INT COMMENT 'x', b ARRAY<STRING>)", "ALTER TABLE", "t"),
        ("ALTER TABLE t SET TBLPROPERTIES ('a.b' = 'c')", "ALTER TABLE", "t"),
        ("ALTER TABLE t UNSET TBLPROPERTIES IF EXISTS (a.b, c)", "ALTER TABLE", "t"),
        // Tables may be called so.
        ("DESCRIBE history", "DESCRIBE", ""),
        ("DESCRIBE detail.t", "DESCRIBE", ""),
        ("DESCRIBE TABLE t", "DESCRIBE", ""),
    ] {
        let kind = one(sql);
        assert_eq!((kind.label(), kind.target().as_str()), (label, target), "{sql}");
    }
}

#[test]
fn what_they_say_is_kept() {
    assert_eq!(task("DESCRIBE HISTORY t LIMIT 5"), MaintenanceTask::History { limit: Some(5) });
    assert_eq!(task("DESCRIBE HISTORY t"), MaintenanceTask::History { limit: None });
    assert_eq!(task("VACUUM t"), MaintenanceTask::Vacuum { retain_hours: None, is_dry_run: false });
    let dry = MaintenanceTask::Vacuum { retain_hours: Some(0), is_dry_run: true };
    assert_eq!(task("VACUUM t RETAIN 0 HOURS DRY RUN"), dry);
    assert_eq!(task("RESTORE t TO VERSION AS OF 3"), MaintenanceTask::Restore { to: VersionSpec::Version(3) });
    let second = MaintenanceTask::Restore { to: VersionSpec::Timestamp(1_000) };
    assert_eq!(task("RESTORE t TO TIMESTAMP AS OF '1970-01-01 00:00:01'"), second);
    let MaintenanceTask::Optimize { filter: Some(filter) } = task("OPTIMIZE t WHERE ds > 'a'") else { panic!() };
    assert_eq!(filter.to_string(), "ds > 'a'");
    let StatementKind::Maintain(maintenance) = one("RESTORE s.\"T\" TO VERSION AS OF 1") else { panic!() };
    let Maintenance { table, .. } = *maintenance;
    assert_eq!(table.to_string(), "s.\"T\"", "the version is no part of the name");
}

#[test]
fn properties_keep_the_case_of_their_keys() {
    let set =
        "ALTER TABLE t SET TBLPROPERTIES ('delta.appendOnly' = 'true', delta.checkpointInterval = 20, \"a b\" TRUE)";
    let MaintenanceTask::Properties(properties) = task(set) else { panic!() };
    let pairs: Vec<_> = properties.iter().map(|p| (p.key.value.as_str(), p.value.as_deref())).collect();
    assert_eq!(
        pairs,
        [("delta.appendOnly", Some("true")), ("delta.checkpointInterval", Some("20")), ("a b", Some("true"))]
    );
    let MaintenanceTask::Properties(properties) = task("ALTER TABLE t UNSET TBLPROPERTIES (delta.appendOnly, 'x')")
    else {
        panic!()
    };
    let pairs: Vec<_> = properties.iter().map(|p| (p.key.value.as_str(), p.value.as_deref())).collect();
    assert_eq!(pairs, [("delta.appendOnly", None), ("x", None)]);
}

#[test]
fn columns_are_added_with_their_types() {
    let columns = |sql: &str| match task(sql) {
        MaintenanceTask::AddColumns { columns, if_not_exists } => {
            let shown: Vec<_> = columns.iter().map(|c| format!("{} {}", c.name, c.data_type)).collect();
            (shown.join(", "), if_not_exists)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(columns("ALTER TABLE t ADD COLUMN a INT"), ("a INT".to_owned(), false));
    assert_eq!(columns("ALTER TABLE t ADD a INT"), ("a INT".to_owned(), false));
    let two = "ALTER TABLE t ADD COLUMNS IF NOT EXISTS (a DECIMAL(9, 2), b DATE)";
    assert_eq!(columns(two), ("a DECIMAL(9,2), b DATE".to_owned(), true));
}

#[test]
fn errors_say_where_and_what() {
    for (sql, expected) in [
        ("DESCRIBE HISTORY t LIMIT x", "SYNTAX_ERROR 1:26 expected a number of versions, found x"),
        ("OPTIMIZE", "SYNTAX_ERROR 1:9 expected identifier, found the end of the statement"),
        ("OPTIMIZE t ZORDER BY (a)", "NOT_SUPPORTED 1:12 OPTIMIZE ... ZORDER is not supported"),
        ("OPTIMIZE t RETAIN", "SYNTAX_ERROR 1:12 expected the end of the statement, found RETAIN"),
        ("VACUUM t RETAIN x HOURS", "SYNTAX_ERROR 1:17 expected a number of hours, found x"),
        ("VACUUM t RETAIN -1 HOURS", "SYNTAX_ERROR 1:17 expected a number of hours, found -"),
        ("VACUUM t RETAIN 7 DAYS", "SYNTAX_ERROR 1:19 expected HOURS, found DAYS"),
        ("VACUUM t DRY", "SYNTAX_ERROR 1:13 expected RUN, found the end of the statement"),
        ("RESTORE t", "SYNTAX_ERROR 1:10 expected TO VERSION AS OF or TO TIMESTAMP AS OF, found the end"),
        ("RESTORE t TO VERSION AS OF x", "SYNTAX_ERROR 1:28 expected a number after AS OF, found x"),
        ("RESTORE t TO TIMESTAMP AS OF 3", "SYNTAX_ERROR 1:30 expected a time in quotes after AS OF, found 3"),
        ("RESTORE t TO TIMESTAMP AS OF 'soon'", "SYNTAX_ERROR 1:30 'soon' is not a version of a table"),
        ("RESTORE t TO VERSION AS OF 1.5", "SYNTAX_ERROR 1:28 '1.5' is not a version of a table"),
        ("ALTER VIEW v AS SELECT 1", "NOT_SUPPORTED 1:7 ALTER VIEW is not supported"),
        ("ALTER t ADD COLUMN a INT", "SYNTAX_ERROR 1:7 expected TABLE, found t"),
        ("ALTER TABLE t", "SYNTAX_ERROR 1:14 expected ADD COLUMN, SET or UNSET, found the end of the statement"),
        ("ALTER TABLE t DROP COLUMN a", "NOT_SUPPORTED 1:15 ALTER TABLE ... DROP is not supported"),
        ("ALTER TABLE t RENAME TO u", "NOT_SUPPORTED 1:15 ALTER TABLE ... RENAME is not supported"),
        ("ALTER TABLE t SET LOCATION '/x'", "NOT_SUPPORTED 1:15 ALTER TABLE ... SET is not supported"),
        ("ALTER TABLE t ADD PARTITION (a = 1)", "NOT_SUPPORTED 1:19 ALTER TABLE ... PARTITION is not supported"),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)", "NOT_SUPPORTED 1:19 ALTER TABLE ... CONSTRAINT is not"),
        ("ALTER TABLE t ADD COLUMNS (a)", "SYNTAX_ERROR 1:28 expected a type for column a"),
        ("ALTER TABLE t ADD COLUMN a INT DEFAULT 1", "NOT_SUPPORTED 1:26 column a cannot have a default: the rows"),
        ("ALTER TABLE t ADD COLUMN a INT AFTER b", "NOT_SUPPORTED 1:32 a column is added after all others"),
        ("ALTER TABLE t SET TBLPROPERTIES ('a')", "SYNTAX_ERROR 1:37 expected a value for a, found )"),
        ("ALTER TABLE t SET TBLPROPERTIES ('a' = b)", "SYNTAX_ERROR 1:40 expected a value for a, found b"),
        ("ALTER TABLE t SET TBLPROPERTIES (a = 1, a = 2)", "SYNTAX_ERROR 1:41 property a is named twice"),
        ("EXPLAIN OPTIMIZE t", "NOT_SUPPORTED 1:9 OPTIMIZE has no plan to explain"),
    ] {
        let failure = prepare(sql, &BTreeMap::new()).map(|s| format!("{:?}", s.statements)).expect_err(sql);
        let place = failure.place.as_ref().map(|p| format!("{}:{}", p.line, p.column)).unwrap_or_default();
        let found = format!("{} {place} {}", failure.code, failure.cause);
        assert!(found.starts_with(expected), "{sql}\nexpected {expected}\nfound    {found}");
    }
}
