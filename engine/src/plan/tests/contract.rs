//! Expectations are found out while a write runs, in the tasks that write, and travel with it.

use selvedge_model::expectation::{Expectation, OnViolation, Rule, Stated, WriterReport, judge};

use super::*;

fn stated(name: &str, rule: Rule, on_violation: OnViolation) -> Stated {
    Stated { table: "t".into(), expectation: Expectation { name: name.into(), rule, on_violation } }
}

fn check(name: &str, sql: &str, on_violation: OnViolation) -> Stated {
    stated(name, Rule::Check { sql: sql.into() }, on_violation)
}

fn planned(context: &SessionContext, contract: &[Stated], schema: &Schema) -> Vec<PlannedExpectation> {
    let one = |stated: &Stated| PlannedExpectation::new(stated.clone(), &context.state(), schema).unwrap();
    contract.iter().map(one).collect()
}

async fn count(context: &SessionContext, sql: &str) -> u64 {
    rows(context, sql).await[0].trim_end_matches('|').parse().unwrap()
}

#[tokio::test]
async fn what_tasks_find_is_what_a_query_finds_whatever_the_partitions() {
    let context = session();
    let at = "to_timestamp_micros(v * 1000000) AS at";
    let sql = format!("SELECT v, s, {at}, k FROM ({ROWS})");
    let contract = [
        check("even", "v % 2 = 0", OnViolation::Warn),
        check("short", "length(s) < 39", OnViolation::Drop),
        // NULL for a fifth of the rows, which meet it then.
        check("named", "k <> 'plain'", OnViolation::Fail),
        check("past", "at < now()", OnViolation::Fail),
        stated("enough", Rule::Rows { at_least: 30_000, at_most: None }, OnViolation::Warn),
        stated(
            "new",
            Rule::Fresh { column: "at".into(), within_ms: 1000, interval: "INTERVAL '1 second'".into() },
            OnViolation::Warn,
        ),
    ];
    let short = "SELECT count(*) FROM";
    let dropped = count(&context, &format!("{short} ({ROWS}) WHERE length(s) >= 39")).await;
    let odd = count(&context, &format!("{short} ({ROWS}) WHERE length(s) < 39 AND v % 2 <> 0")).await;
    let plain = count(&context, &format!("{short} ({ROWS}) WHERE length(s) < 39 AND k = 'plain'")).await;
    for by in [&[][..], &["k"]] {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan_of(&context, &sql).await;
        let spec = spec(dir.path(), &plan, by);
        let location = spec.location.clone();
        let expected = planned(&context, &contract, &spec.schema);
        let write = with_contract(write_plan(plan, spec).unwrap(), expected).unwrap();
        assert_eq!(contract_of(&write), contract);
        let exec = context.state().create_physical_plan(&write).await.unwrap();
        let accepted = run(&context, exec).await;
        assert_eq!(accepted.rows, 30_000 - dropped);
        assert!(accepted.reports.len() > 1 || by.is_empty());

        // 30,000 s after the epoch is the newest, and 1 s old now.
        let results = judge(&contract, &accepted.reports, accepted.rows, 30_001_000).unwrap();
        let found: Vec<_> = results.iter().map(|r| (r.name.as_str(), r.is_met, r.violations)).collect();
        let expected = [
            ("even", false, odd),
            ("short", false, dropped),
            ("named", false, plain),
            ("past", true, 0),
            ("enough", false, 0),
            ("new", true, 0),
        ];
        assert_eq!(found, expected);
        let late = judge(&contract, &accepted.reports, accepted.rows, 30_002_000).unwrap();
        assert!(!late[5].is_met, "{late:?}");
        assert!(results[2].samples.len() == 20 && results[2].samples.iter().all(|s| s.contains("\"k\":\"plain\"")));
        publish(&location, &accepted).await;
        assert!(written(&accepted, "length(s)").await.iter().all(|row| !row.starts_with("39|")));
    }
}

#[tokio::test]
async fn the_contract_survives_the_codec() {
    let (dir, context) = (tempfile::tempdir().unwrap(), session());
    let values = plan_of(&context, "SELECT * FROM (VALUES (1, 'a', 'x'), (2, 'b', NULL)) AS t(v, s, k)").await;
    let spec = spec(dir.path(), &values, &["k"]);
    let contract = [check("few", "v < 2 OR s IN ('c', 'd')", OnViolation::Drop)];
    let expected = planned(&context, &contract, &spec.schema);
    let write = with_contract(write_plan(values, spec).unwrap(), expected).unwrap();
    let exec = context.state().create_physical_plan(&write).await.unwrap();
    let codec = codec::SelvedgePhysicalCodec::default();
    let bytes = physical_plan_to_bytes_with_extension_codec(exec.clone(), &codec).unwrap();
    let back = physical_plan_from_bytes_with_extension_codec(&bytes, &context.task_ctx(), &codec).unwrap();
    let show = |plan: &Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(true).to_string();
    assert!(show(&back) == show(&exec) && show(&back).contains("checks=["), "{}", show(&back));
    let accepted = run(&context, back).await;
    let all = judge(&contract, &accepted.reports, accepted.rows, 0).unwrap();
    assert_eq!((accepted.rows, all[0].violations, all[0].samples.len()), (1, 1, 1));
}

#[tokio::test]
async fn a_write_of_nothing_reports_all_the_same() {
    let (dir, context) = (tempfile::tempdir().unwrap(), session());
    for sql in ["WHERE false", "WHERE v < 0"] {
        let plan = plan_of(&context, &format!("SELECT v, s, k FROM ({ROWS}) {sql}")).await;
        let spec = spec(dir.path(), &plan, &["k"]);
        let contract = [check("positive", "v > 0", OnViolation::Fail)];
        let expected = planned(&context, &contract, &spec.schema);
        let write = with_contract(write_plan(plan, spec).unwrap(), expected).unwrap();
        let accepted = run(&context, context.state().create_physical_plan(&write).await.unwrap()).await;
        assert!(!accepted.reports.contains(&WriterReport::default()));
        assert!(judge(&contract, &accepted.reports, 0, 0).unwrap()[0].is_met);
    }
}

#[tokio::test]
async fn what_cannot_be_checked_is_refused_in_words() {
    let context = session();
    let plan = plan_of(&context, "SELECT 1 AS a, 'x' AS b").await;
    let refused = |rule: Rule| {
        let stated = stated("e", rule, OnViolation::Fail);
        let planned = PlannedExpectation::new(stated, &context.state(), plan.schema().as_arrow());
        crate::error::classify(&planned.unwrap_err()).cause
    };
    let check = |sql: &str| refused(Rule::Check { sql: sql.into() });
    for (sql, cause) in [
        ("c > 0", "column c does not exist"),
        ("a + 1", "a CHECK must be true or false, and this is Int64"),
        ("sum(a) > 1", "cannot aggregate"),
        ("nosuch(a)", "nosuch"),
    ] {
        assert!(check(sql).contains(cause), "{sql}: {}", check(sql));
    }
    let fresh = |column: &str| refused(Rule::Fresh { column: column.into(), within_ms: 1, interval: String::new() });
    assert!(fresh("c").contains("column c does not exist") && fresh("b").contains("b is Utf8"));
}
