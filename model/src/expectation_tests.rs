//! What a write comes to, as tables and under random splits of its rows over writers.

use proptest::prelude::*;

use super::*;

const HOUR_MS: i64 = 3_600_000;

fn stated(rule: Rule, on_violation: OnViolation) -> Stated {
    let expectation = Expectation { name: "e".into(), rule, on_violation };
    Stated { table: "public.t".into(), expectation }
}

fn check(on_violation: OnViolation) -> Stated {
    stated(Rule::Check { sql: "a > 0".into() }, on_violation)
}

fn fresh() -> Stated {
    let rule = Rule::Fresh { column: "at".into(), within_ms: 2 * 3_600_000, interval: "INTERVAL '2 hours'".into() };
    stated(rule, OnViolation::Fail)
}

fn found(violations: u64, samples: &[&str]) -> WriterReport {
    let mut check = CheckReport::new(0);
    check.add(violations, samples.iter().map(|s| (*s).to_owned()));
    WriterReport { checks: vec![check], newest: vec![] }
}

fn newest(newest_us: Option<i64>) -> WriterReport {
    WriterReport { checks: vec![], newest: vec![NewestReport { index: 0, newest_us }] }
}

#[test]
fn a_check_fails_warns_or_drops_as_it_says() {
    let reports = [found(0, &[]), found(2, &["{\"a\":0}", "{\"a\":-1}"])];
    for (on_violation, fails, text) in [
        (OnViolation::Fail, true, "2 rows violate it"),
        (OnViolation::Warn, false, "2 rows violate it"),
        (OnViolation::Drop, false, "2 rows left out"),
    ] {
        let results = judge(&[check(on_violation)], &reports, 8, 0).unwrap();
        let result = &results[0];
        assert_eq!(
            (result.is_met, result.violations, result.samples.len(), result.found.as_str()),
            (false, 2, 2, text)
        );
        assert_eq!(refusal(&results).is_some(), fails, "{on_violation}");
        let clean = judge(&[check(on_violation)], &reports[..1], 8, 0).unwrap();
        assert!(clean[0].is_met && refusal(&clean).is_none());
    }
}

#[test]
fn a_failure_names_the_expectation_the_count_and_the_rows() {
    let rows: Vec<String> = (0..30).map(|i| format!("{{\"a\":-{i}}}")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let results = judge(&[check(OnViolation::Fail)], &[found(1234, &rows)], 0, 0).unwrap();
    let failure = refusal(&results).unwrap();
    assert_eq!(failure.code, "EXPECTATION_FAILED");
    for part in ["expectation e of public.t", "CHECK (a > 0)", "1,234 rows", "{\"a\":-19}", "and 1,214 rows more"] {
        assert!(failure.cause.contains(part), "{part} is not in {}", failure.cause);
    }
    assert!(!failure.cause.contains("{\"a\":-20}") && !failure.is_retryable());
}

#[test]
fn row_counts_are_bounded_on_one_side_or_both() {
    let rows = |at_least, at_most| stated(Rule::Rows { at_least, at_most }, OnViolation::Fail);
    for (expected, count, is_met) in [
        (rows(1, None), 0, false),
        (rows(1, None), 1, true),
        (rows(2, Some(3)), 1, false),
        (rows(2, Some(3)), 2, true),
        (rows(2, Some(3)), 3, true),
        (rows(2, Some(3)), 4, false),
    ] {
        let results = judge(std::slice::from_ref(&expected), &[], count, 0).unwrap();
        assert_eq!(results[0].is_met, is_met, "{expected:?} of {count}");
    }
}

#[test]
fn the_newest_value_of_all_writers_decides_on_freshness() {
    let now_ms = 100 * HOUR_MS;
    let at = |hours: i64| Some(hours * HOUR_MS * 1000);
    for (reports, rows, is_met, text) in [
        (vec![newest(at(97))], 1, false, "the newest at is 3 h 0 min old"),
        (vec![newest(at(98))], 1, true, "the newest at is 2 h 0 min old"),
        (vec![newest(at(1)), newest(None), newest(at(99))], 3, true, "the newest at is 1 h 0 min old"),
        (vec![newest(at(200))], 1, true, "the newest at is 0 s old"),
        (vec![newest(Some(i64::MIN))], 1, false, "days"),
        (vec![newest(None)], 3, false, "at is NULL in all rows"),
        (vec![newest(None)], 0, true, "no rows written"),
    ] {
        let results = judge(&[fresh()], &reports, rows, now_ms).unwrap();
        assert_eq!(results[0].is_met, is_met, "{reports:?}");
        assert!(results[0].found.contains(text), "{}", results[0].found);
    }
}

#[test]
fn a_writer_that_says_nothing_is_no_good_news() {
    let silent = WriterReport::default();
    assert!(judge(&[check(OnViolation::Warn)], &[found(0, &[]), silent.clone()], 1, 0).is_err());
    assert!(judge(&[fresh()], std::slice::from_ref(&silent), 1, 0).is_err());
    assert!(judge(&[stated(Rule::Rows { at_least: 1, at_most: None }, OnViolation::Fail)], &[silent], 1, 0).is_ok());
}

#[test]
fn ages_are_told_in_two_units() {
    let second = 1000;
    let rows =
        [(12, "12 s"), (75, "1 min 15 s"), (3660, "1 h 1 min"), (93_600, "1 day 2 h"), (8_640_000, "100 days 0 h")];
    for (seconds, text) in rows {
        assert_eq!(age(seconds * second), text);
    }
}

/// What one writer reports of its rows: each has an amount and perhaps a time.
fn reported(rows: &[(i8, Option<i32>)]) -> WriterReport {
    let mut check = CheckReport::new(0);
    let mut newest = NewestReport { index: 1, newest_us: None };
    for (amount, at) in rows {
        if *amount <= 0 {
            check.add(1, [format!("{{\"amount\":{amount}}}")]);
        }
        newest.add(at.map(|at| i64::from(at) * 1_000_000));
    }
    WriterReport { checks: vec![check], newest: vec![newest] }
}

proptest! {
    #[test]
    fn any_split_of_rows_over_writers_gives_the_same_verdict(
        rows in proptest::collection::vec((any::<i8>(), proptest::option::of(any::<i32>())), 0..200),
        cuts in proptest::collection::vec(0..200_usize, 0..8),
    ) {
        let stated = [check(OnViolation::Fail), fresh()];
        let count = rows.len() as u64;
        let whole = judge(&stated, &[reported(&rows)], count, 0).unwrap();

        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).collect();
        cuts.extend([0, rows.len()]);
        cuts.sort_unstable();
        let reports: Vec<WriterReport> = cuts.windows(2).map(|cut| reported(&rows[cut[0]..cut[1]])).collect();
        let split = judge(&stated, &reports, count, 0).unwrap();
        // Writers in the order of the rows show the same ones, too.
        prop_assert_eq!(&split, &whole);

        // In any other order, as many of them, all of which violate it.
        let shuffled: Vec<WriterReport> = reports.into_iter().rev().collect();
        let other = judge(&stated, &shuffled, count, 0).unwrap();
        let verdict = |r: &ExpectationResult| (r.is_met, r.violations, r.found.clone(), r.samples.len());
        prop_assert_eq!(other.iter().map(verdict).collect::<Vec<_>>(), whole.iter().map(verdict).collect::<Vec<_>>());
        let bad: Vec<String> = rows.iter().filter(|r| r.0 <= 0).map(|r| format!("{{\"amount\":{}}}", r.0)).collect();
        prop_assert!(other[0].samples.iter().all(|sample| bad.contains(sample)));
        prop_assert_eq!(refusal(&other).is_some(), refusal(&whole).is_some());
    }
}
