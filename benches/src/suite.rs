//! The TPC-H queries of a benchmark and their right results, as DataFusion alone gives them.

use std::collections::BTreeMap;

use selvedge_tests::Outcome;
use selvedge_tests::rows::Rows;
use selvedge_tests::tpch::{QUERIES, Query, query};

use crate::alone::Alone;
use crate::ours::Answer;

/// Those asked for; all 22 when none is.
pub fn queries(numbers: &[u32]) -> Outcome<Vec<Query>> {
    match numbers {
        [] => Ok(QUERIES.to_vec()),
        some => some.iter().map(|number| query(*number)).collect(),
    }
}

/// Right results by query.
pub struct Expected {
    rows: BTreeMap<u32, Rows>,
}

impl Expected {
    /// Runs each query once.
    pub fn of(alone: &Alone, queries: &[Query]) -> Outcome<Self> {
        eprintln!("Right results, by DataFusion alone");
        let result = |query: &Query| Ok((query.number, Rows::from_batches(&alone.run(query.sql)?.0)?));
        Ok(Self { rows: queries.iter().map(result).collect::<Outcome<_>>()? })
    }

    /// What is wrong with an answer; none when nothing is.
    pub fn fault(&self, query: &Query, answer: &Outcome<Answer>) -> Option<String> {
        let got = match answer {
            Ok(answer) => Rows::from_batches(&answer.batches),
            Err(error) => return Some(error.to_string()),
        };
        match (got, self.rows.get(&query.number)) {
            (Ok(got), Some(want)) => got.difference(want, query.order).map(|d| format!("other rows: {d}")),
            (Err(error), _) => Some(error.to_string()),
            (_, None) => Some("nothing to compare with".to_owned()),
        }
    }
}
